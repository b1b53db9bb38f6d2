"""The PEtab test suite (version 2, PySB): simulations, chi2 and log-likelihood, as given and in closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from residuum.fitting import Problem, lint_petab, read_petab
from residuum.simulator import SolverOptions

pytestmark = pytest.mark.external
pytest.importorskip("petab.v2", reason="the extra `petab` is not installed")

CASES = [f"{number:04}" for number in (*range(1, 16), 17)]
CLOSED_FORM = 1e-6
K1, K2 = 0.8, 0.6


def conversion(a0: float, b0: float, time: float) -> tuple[float, float]:
    """Return A and B of A <-> B, at K1 and K2, `time` after they were a0 and b0."""
    end = (a0 + b0) * K2 / (K1 + K2)
    a = end + (a0 - end) * float(np.exp(-(K1 + K2) * time))
    return a, a0 + b0 - a


def resting(total: float, k1: float) -> tuple[float, float]:
    """Return A and B at rest under another k1."""
    return total * K2 / (k1 + K2), total * k1 / (k1 + K2)


def a(a0: float, b0: float, *times: float) -> list[float]:
    return [conversion(a0, b0, time)[0] for time in times]


EXACT: dict[str, Callable[[], list[float]]] = {
    # b0 is 0 where the parameter table has it, else 1, as in the model
    "0001": lambda: a(1, 0, 0, 10),
    "0002": lambda: a(0.8, 1, 0, 10) + a(0.9, 1, 0, 10),
    "0003": lambda: [0.5 * x + 2 for x in a(1, 0, 0, 10)],
    "0004": lambda: [0.5 * x + 2 for x in a(1, 0, 0, 10)],
    "0005": lambda: [a(1, 0, 10)[0] + 2, a(1, 0, 10)[0] + 3],
    "0006": lambda: [10 * a(1, 0, 0)[0], 15 * a(1, 0, 10)[0]],
    "0007": lambda: list(conversion(1, 0, 10)),
    "0008": lambda: a(1, 0, 0, 10, 10),
    "0009": lambda: a(*resting(1, 0.3), 1, 10),
    "0010": lambda: a(resting(1, 0.3)[0], 1, 1, 10),
    "0011": lambda: a(1, 2, 0, 10),
    "0012": lambda: a(1, 1, 0, 10),
    "0013": lambda: a(1, 7, 0, 10),
    "0014": lambda: a(1, 0, 0, 10),
    "0015": lambda: a(1, 0, 0, 10),
    "0017": lambda: a(1, resting(2, 0.3)[1], 1, 10),
}
SIGMA = {"0002": 1.0, "0004": 1.0, "0005": 1.0, "0006": 1.0, "0014": 2.5, "0015": 5.0}
"""Where it is not 0.5."""


@pytest.fixture
def folder(shared: Path, bionetgen: str) -> Path:
    found = shared / "suites/petab_test_suite/v2.0.0/pysb"
    if not found.is_dir():
        pytest.skip(f"no {found.name} of the PEtab test suite in the folder `shared`")
    return found


def problem(folder: Path, case: str, **settings: Any) -> Problem:
    return read_petab(folder / case / f"_{case}.yaml", threads=1, **settings)


def scores(problem: Problem) -> tuple[float, float, np.ndarray]:
    """Return the log-likelihood, chi2 and the simulations at the nominal parameters."""
    evaluation = problem.evaluate(problem.nominal)
    assert not evaluation.failed
    chi2 = float(np.sum(evaluation.residuals[: problem.n_data] ** 2))
    return problem.log_likelihood(problem.nominal), chi2, evaluation.predicted


def test_the_suite_has_no_other_cases(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == CASES


@pytest.mark.parametrize("case", CASES)
def test_a_case_as_the_suite_has_it(folder: Path, case: str) -> None:
    import pandas as pd
    import yaml

    expected = yaml.safe_load((folder / case / f"_{case}_solution.yaml").read_text())
    rows = pd.concat(pd.read_csv(folder / case / name, sep="\t") for name in expected["simulation_files"])
    llh, chi2, simulations = scores(problem(folder, case))
    assert llh == pytest.approx(expected["llh"], abs=expected["tol_llh"])
    assert chi2 == pytest.approx(expected["chi2"], abs=expected["tol_chi2"])
    np.testing.assert_allclose(simulations, rows["simulation"], rtol=0, atol=expected["tol_simulations"])


@pytest.mark.parametrize("case", CASES)
def test_a_case_in_closed_form(folder: Path, case: str) -> None:
    read = problem(folder, case, options=SolverOptions(rtol=1e-9))
    llh, chi2, simulations = scores(read)
    exact, measured = np.array(EXACT[case]()), read.measured
    np.testing.assert_allclose(simulations, exact, rtol=0, atol=CLOSED_FORM)
    sigma = np.full(len(exact), SIGMA.get(case, 0.5))
    z, jacobian = (exact - measured) / sigma, np.zeros(len(exact))
    if case == "0007":  # obs_b is log-normal
        sigma[1] = 0.6
        z[1], jacobian[1] = np.log(exact[1] / measured[1]) / 0.6, np.log(measured[1])
    assert chi2 == pytest.approx(np.sum(z**2), abs=CLOSED_FORM)
    density = -0.5 * z**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi) - jacobian
    assert llh == pytest.approx(density.sum(), abs=CLOSED_FORM)


@pytest.mark.parametrize("case", ["0009", "0010", "0013", "0015", "0017"])
def test_gradients_are_exact(folder: Path, case: str) -> None:
    """Through pre-equilibration, amounts that are set, to a parameter too, and estimated noise."""
    read = problem(folder, case, options=SolverOptions(rtol=1e-11, atol=1e-13))
    theta = read.nominal + 0.1
    _, gradient, failed = read.loss_and_gradient(theta)
    assert not failed
    step = 1e-4
    moved = [[read.loss(theta + sign * step * row) for sign in (-1, 1)] for row in np.eye(read.n_free)]
    # the error of the difference, step squared, and of the solver, rtol over step
    np.testing.assert_allclose(gradient, [(high - low) / (2 * step) for low, high in moved], rtol=1e-5, atol=1e-6)


def test_the_linter_finds_nothing(folder: Path) -> None:
    assert lint_petab(folder / "0017/_0017.yaml") == []
