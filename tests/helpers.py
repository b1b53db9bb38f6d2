"""What several tests share: the error measure, small networks with known solutions, and models with a reference."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from residuum.doses import DoseMatrix, dose_matrix
from residuum.fitting import Problem, read_problem
from residuum.simulator import CompiledModel, SolverOptions, compile_model, parse_net

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]

EXAMPLES = {"robertson": 1e5, "michment": 100.0, "tyson_oscillator": 150.0, "earm_1_0": 30_000.0}
"""PySB's example models and an end time that shows what they do (three periods of the oscillator)."""


def global_error(values: Float, reference: Float) -> float:
    """Return E, the largest |value - reference| over times (axis 0) and species, each against its peak.

    A species' peak counts as at least 1e-6 of the largest peak.
    """
    peaks = np.abs(reference).max(axis=0)
    return float(np.max(np.abs(values - reference) / np.maximum(peaks, 1e-6 * peaks.max())))


def example(name: str) -> Any:
    """Return the PySB model `pysb.examples.<name>`."""
    return importlib.import_module(f"pysb.examples.{name}").model


def net(parameters: str, species: str, reactions: str, groups: str = "", functions: str = "") -> CompiledModel:
    """Return the compiled model of a `.net` text given block by block, entries separated by semicolons."""
    blocks = {"parameters": parameters, "functions": functions, "species": species, "reactions": reactions}
    text = ""
    for name, body in {**blocks, "groups": groups}.items():
        lines = [f"    {i} {entry.strip()}" for i, entry in enumerate(filter(str.strip, body.split(";")), start=1)]
        text += "\n".join([f"begin {name}", *lines, f"end {name}", ""])
    return compile_model(parse_net(text, "test"))


def decay() -> CompiledModel:
    """A -> B with rate constant k = 0.5: A = exp(-k t)."""
    return net("k 0.5; A0 1", "A() A0; B() 0", "1 2 k", "A 1; B 2; total 1,2")


def dimerisation() -> CompiledModel:
    """2 A -> B with dA/dt = -k A^2: A = A0 / (1 + k A0 t). Nonlinear and autonomous."""
    return net("k 1; A0 1", "A() A0; B() 0", "1,1 2 0.5*k", "A 1; B 2")


def pulsed() -> CompiledModel:
    """A -> 0 with rate constant k (1 + sin t / 2): A = exp(-k (t + (1 - cos t) / 2)). Not autonomous."""
    return net("k 1", "A() 1", "1 0 rate", "A 1", "rate() k*(1+0.5*sin(time()))")


def saturating() -> CompiledModel:
    """Turnover of A with saturable loss vmax A / (km + A), written as a rate function of an observable."""
    return net("ks 0.2; vmax 1; km 0.5", "A() 1", "0 1 ks; 1 0 loss", "A_total 1", "loss() vmax/(km+A_total)")


def conserved_totals(compiled: CompiledModel) -> Float:
    """Return a basis of the conserved totals, shape (n_totals, n_species): combinations no reaction changes."""
    n = compiled.n_species
    changes = np.zeros((n, len(compiled.network.reactions)))
    for r, reaction in enumerate(compiled.network.reactions):
        for i in reaction.reactants:
            changes[i, r] -= not compiled.network.fixed[i]
        for i in reaction.products:
            changes[i, r] += not compiled.network.fixed[i]
    u, s, _ = np.linalg.svd(changes)
    rank = int(np.sum(s > 1e-10 * s.max()))
    return u[:, rank:].T


GRID = [0.0, 1.0, 3.0]


def two_independent_drugs() -> CompiledModel:
    """S at steady state ks / kd; drug 1 blocks synthesis, drug 2 adds to nothing that drug 1 touches.

    P = S1 S2 is read out, with S1 = 1 / (1 + d1) and S2 = 1 / (1 + d2): actions multiply, Bliss excess is zero.
    """
    return net(
        "d1 0; d2 0; kd 1", "S1() 1; S2() 1", "0 1 make1; 1 0 kd; 0 2 make2; 2 0 kd", "one 1; two 2",
        "make1() kd/(1+d1); make2() kd/(1+d2); P() one*two",
    )  # fmt: skip


def small_matrix(**changes: Any) -> DoseMatrix:
    arguments: dict[str, Any] = {
        "drugs": {"d1": GRID, "d2": GRID},
        "contexts": {"slow": {"kd": 0.5}, "fast": {"kd": 2.0}},
        "readouts": ["P", "one"],
        "times": [1.0, 100.0],
        **changes,
    }
    return dose_matrix(two_independent_drugs(), **arguments)


def linear_frames(design: Float, measured: Float, *, sd: float, priors: Mapping[int, tuple[float, float]] | None = None,
                  bound: float = 50.0) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return tables of a fit in which `design @ x` is measured with normal noise: a linear-Gaussian problem.

    They belong to a model with the observable `pX` and the parameter `dose`. `priors` maps the number of a parameter
    to mean and sd of its normal prior.
    """
    import pandas as pd

    n, d = design.shape
    formulas = [" + ".join([*(f"({float(c)!r})*x{j}" for j, c in enumerate(row)), "0*pX"]) for row in design]
    cells = [("normal", "{}; {}".format(*priors[j])) if j in (priors or {}) else ("uniform", "") for j in range(d)]
    text = {
        "conditions": (("conditionId", "targetId", "targetValue"), [("none", "dose", "0")]),
        "experiments": (("experimentId", "time", "conditionId"), [("only", "0", "none")]),
        "measurements": (
            ("observableId", "experimentId", "time", "measurement", "role"),
            [(f"y{i}", "only", "1", repr(float(y)), "fit") for i, y in enumerate(measured)],
        ),
        "observables": (
            ("observableId", "observableFormula", "noiseFormula", "noiseDistribution"),
            [(f"y{i}", formulas[i], "noise", "normal") for i in range(n)],
        ),
        "parameters": (
            ("parameterId", "lowerBound", "upperBound", "nominalValue", "estimate", "parameterScale",
             "priorDistribution", "priorParameters"),
            [*((f"x{j}", -bound, bound, 0, "true", "lin", *cells[j]) for j in range(d)),
             ("noise", "", "", sd, "false", "", "", "")],
        ),
    }  # fmt: skip
    return {name: pd.DataFrame(rows, columns=list(columns)).astype(object) for name, (columns, rows) in text.items()}


# ---- fitting problems whose true parameters are known --------------------------------------------------------------

RECOVERY = ("decay", "switch", "turnover")


def recovery_problem(name: str, seed: int = 0, noise: float = 0.1) -> tuple[Problem, Float]:
    """Return a problem and its true point on the search scale; log-normal noise of known sd, nominal values far off."""
    model, truth, settings, times, formula = {
        "decay": (decay, {"k": 0.5, "A0": 3.0}, [{}], np.linspace(0.25, 6, 8), "A"),
        "switch": (
            _switch,
            {"kf": 0.02, "kr": 0.01, "kd": 4.0, "scale": 2.0, "offset": 3.0},
            [{"dose": dose} for dose in (0.0, 1.0, 5.0, 50.0)],
            np.array([0.0, 20.0, 60.0, 200.0, 600.0]),
            "offset + scale * pX",
        ),
        "turnover": (
            _turnover,
            {"ks": 0.2, "vmax": 1.0, "km": 0.5},
            [{"A0": amount} for amount in (0.05, 0.5, 5.0)],
            np.array([0.3, 1.0, 2.0, 4.0, 8.0, 16.0]),
            "A_total",
        ),
    }[name]
    experiments = [f"e{i}" for i in range(len(settings))]
    frames = {
        "conditions": [
            (e, target, value) for e, s in zip(experiments, settings, strict=True) for target, value in s.items()
        ],
        "experiments": [(e, 0.0, e if s else "") for e, s in zip(experiments, settings, strict=True)],
        "measurements": [("seen", e, t, 1.0) for e in experiments for t in times],
        "observables": [("seen", formula, noise, "log-normal")],
        "parameters": [
            (
                parameter,
                value / 1e3,
                value * 1e3,
                value * 30,
                "true",
                "log10",
                "log-normal",
                f"{np.log(value) + 0.5}; 2",
            )
            for parameter, value in truth.items()
        ],
    }
    columns = {
        "conditions": ("conditionId", "targetId", "targetValue"),
        "experiments": ("experimentId", "time", "conditionId"),
        "measurements": ("observableId", "experimentId", "time", "measurement"),
        "observables": ("observableId", "observableFormula", "noiseFormula", "noiseDistribution"),
        "parameters": ("parameterId", "lowerBound", "upperBound", "nominalValue", "estimate", "parameterScale",
                       "priorDistribution", "priorParameters"),
    }  # fmt: skip
    tables = {table: pd.DataFrame(rows, columns=list(columns[table])).astype(object) for table, rows in frames.items()}
    options, theta = SolverOptions(rtol=1e-8), np.log10(list(truth.values()))
    compiled = model()
    exact = read_problem(compiled, tables, options=options, threads=1).evaluate(theta).predicted
    tables["measurements"]["measurement"] = exact * np.exp(
        noise * np.random.default_rng(seed).standard_normal(len(exact))
    )
    return read_problem(compiled, tables, options=options, threads=1), theta


def _switch() -> CompiledModel:
    """X is phosphorylated at kf / (1 + dose / kd) and dephosphorylated at kr."""
    return net("kf 0.02; kr 0.01; dose 0; kd 10", "X(y~u) 100; X(y~p) 0", "1 2 activate; 2 1 kr", "pX 2",
               "activate() kf/(1+dose/kd)")  # fmt: skip


def _turnover() -> CompiledModel:
    """As `saturating`, from an amount A0."""
    return net("ks 0.2; vmax 1; km 0.5; A0 1", "A() A0", "0 1 ks; 1 0 loss", "A_total 1", "loss() vmax/(km+A_total)")


# ---- the command line -------------------------------------------------------------------------------------------


def command(*words: str) -> int:
    """Run the command line in this process; return its exit code."""
    from residuum.commands import main

    before = sys.argv
    sys.argv = ["residuum", *words]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0
