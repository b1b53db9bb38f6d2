"""PEtab files: what is wrong is said with file, line and remedy; what is written reads the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import residuum
from residuum.fitting import Problem, lint_petab, read_petab, read_problem, write_petab
from residuum.simulator import InputError, SolverOptions

pytest.importorskip("petab.v2", reason="the extra `petab` is not installed")

MODEL = """
from pysb import *
Model()
Compartment("cell", size=Parameter("cell_size", 2.0))
Monomer("A_"), Monomer("B_")
Parameter("k1", 0.8), Parameter("k2", 0.6), Parameter("a0", 1.0), Parameter("b0", 0.5)
Expression("twice", 2 * k1)
Rule("conversion", A_() ** cell | B_() ** cell, k1, k2)
Initial(A_() ** cell, a0), Initial(B_() ** cell, b0)
Observable("A", A_()), Observable("total", A_() + B_())
"""
FILES = {  # "|" is a tab in tables
    "problem.yaml": """format_version: 2.0.0
model_files:
  small:
    language: pysb
    location: model.py
condition_files: [conditions.tsv]
experiment_files: [experiments.tsv]
mapping_files: [mapping.tsv]
measurement_files: [measurements.tsv]
observable_files: [observables.tsv]
parameter_files: [parameters.tsv]
""",
    "model.py": MODEL,
    "conditions.tsv": """conditionId|targetId|targetValue
rest|k1|0.3
on|k1|k_on / 2
on|b|start
on|shift|2
late|b|0.1
late|shift|raised
""",
    "experiments.tsv": """experimentId|time|conditionId
e|-inf|rest
e|0|on
e|5|late
""",
    "mapping.tsv": """petabEntityId|modelEntityId
b|B_() ** cell
""",
    "measurements.tsv": """observableId|experimentId|time|measurement|observableParameters|noiseParameters
a|e|1|0.7||0.2
a|e|9|0.5||sd
log_b|e|1|0.4|2
log_b|e|1|0.5|2
log_b|e|9|0.5|factor
""",
    "observables.tsv": """\
observableId|noiseDistribution|observableFormula|observablePlaceholders|noiseFormula|noisePlaceholders
a|normal|A + shift||s|s
log_b|log-normal|f * b + log(exp(1)) - 1|f|0.3
""",
    "parameters.tsv": """parameterId|lowerBound|upperBound|nominalValue|estimate|priorDistribution|priorParameters
k_on|0.1|10|1.6|true|log-uniform|0.1;10
start|0|10|1|true|normal|1;0.5
sd|0.01|1|0.2|true
raised|0|9|3|true|uniform|0;9
factor|0.1|10|1.5|false
""",
}

pytestmark = pytest.mark.usefixtures("bionetgen")


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the problem, with a text replaced in one file, and returns the YAML file."""

    def written(file: str = "", old: str = "", new: str = "") -> Path:
        for name, text in FILES.items():
            assert name != file or old in text
            changed = text.replace(old, new, 1) if name == file else text
            (tmp_path / name).write_text(changed.replace("|", "\t") if name.endswith("tsv") else changed)
        return tmp_path / "problem.yaml"

    return written


def exact(problem: Problem) -> list[float]:
    """Return what is to be predicted at the nominal parameters."""
    k1, k2 = 0.8, 0.6

    def after(a: float, b: float, time: float) -> tuple[float, float]:
        end = (a + b) * k2 / (k1 + k2)
        at = end + (a - end) * float(np.exp(-(k1 + k2) * time))
        return at, a + b - at

    a = 1.5 * k2 / (0.3 + k2)
    first, before = after(a, 1, 1), after(a, 1, 5)
    late = after(before[0], 0.1, 4)
    return [first[0] + 2, late[0] + 3, 2 * first[1], 2 * first[1], 1.5 * late[1]]


def test_a_problem_reads_as_what_it_means(files: Callable[..., Path]) -> None:
    problem = read_petab(files(), options=SolverOptions(rtol=1e-9), threads=1)
    evaluation = problem.evaluate(problem.nominal)
    np.testing.assert_allclose(evaluation.predicted, exact(problem), atol=1e-7)
    np.testing.assert_array_equal(evaluation.sigma, [0.2, 0.2, 0.3, 0.3, 0.3])
    assert problem.names == ("k_on", "start", "sd", "raised")
    assert problem.lower[0] == -1.0  # log-uniform: the search is in log10
    assert list(problem.tables.measurements.frame["replicateId"]) == ["", "", "1", "2", ""]
    assert lint_petab(files()) == []


def test_conditions_that_set_nothing_in_the_model_may_share_a_period(files: Callable[..., Path]) -> None:
    path = files("conditions.tsv", "on|shift|2", "shown|shift|2\nsized|cell|3")
    table = path.with_name("experiments.tsv")
    table.write_text(table.read_text() + "e\t0\tshown\ne\t0\tsized\n")
    problem = read_petab(path, options=SolverOptions(rtol=1e-9), threads=1)
    np.testing.assert_allclose(problem.evaluate(problem.nominal).predicted, exact(problem), atol=1e-7)


def test_gradients_go_through_amounts_that_are_set(files: Callable[..., Path]) -> None:
    problem = read_petab(files(), options=SolverOptions(rtol=1e-11, atol=1e-13), threads=1)
    theta, step = problem.nominal + 0.05, 1e-4
    _, gradient, _ = problem.loss_and_gradient(theta)
    moved = [[problem.loss(theta + sign * step * row) for sign in (-1, 1)] for row in np.eye(problem.n_free)]
    # the error of the difference, step squared, and of the solver, rtol over step
    np.testing.assert_allclose(gradient, [(high - low) / (2 * step) for low, high in moved], rtol=1e-5, atol=1e-6)
    assert np.abs(gradient).min() > 1e-3


def test_what_is_written_reads_the_same(files: Callable[..., Path], tmp_path: Path) -> None:
    problem = read_petab(files(), threads=1)
    again = read_petab(write_petab(problem, tmp_path / "written", tmp_path / "model.py"), threads=1)
    theta = problem.nominal + 0.03
    assert again.names == problem.names
    np.testing.assert_array_equal(again.residuals(theta), problem.residuals(theta))
    assert again.log_likelihood(theta) == problem.log_likelihood(theta)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["written"]  # no draft is left


@pytest.mark.slow
def test_the_problem_that_ships_reads_the_same_with_its_drugs_resolved(tmp_path: Path) -> None:
    from residuum.models import assemble

    problem = residuum.aml_problem()
    again = read_petab(write_petab(problem, tmp_path / "written", assemble.build()))
    # PySB writes numbers of its own model with fewer digits
    assert again.loss(again.nominal) == pytest.approx(problem.loss(problem.nominal), rel=1e-6)


NARROW = "raised|0|9|3|true|uniform|0;9"
WRONG = [
    # file, text, what stands there instead -> words of the error
    ("measurements.tsv", "|time|", "|when|", ("measurements.tsv", "column 'time' is missing")),
    ("measurements.tsv", "a|e|1", "a|f|1", ("measurements.tsv, line 2", "unknown experiment 'f'")),
    ("measurements.tsv", "log_b|e|1|0.5", "log_b|e|1|0.4", ("line 5", "repeats line 4", "replicateId")),
    ("measurements.tsv", "log_b|e|1|0.4", "log_b|e|1|0", ("measurements.tsv, line 4", "is 0", "log-normal")),
    ("measurements.tsv", "0.4|2", "0.4|", ("line 4, column observableParameters", "0 entries", "1 placeholders")),
    ("measurements.tsv", "0.4|2", "0.4|facto", ("line 4", "unknown number or parameter 'facto'", "'factor'")),
    ("measurements.tsv", "|sd", "|noise", ("measurements.tsv, line 3", "column noiseParameters", "'noise'")),
    ("measurements.tsv", "e|9|0.5||sd", "e|5|0.5||sd", ("line 3", "is 5, when 'e' sets @cell::B_()")),
    ("measurements.tsv", "a|e|9", "a||9", ("line 3", "needs 'shift'", "'unchanged'", "set it there")),
    ("conditions.tsv", "rest|k1", "rest|k3", ("conditions.tsv, line 2", "unknown target of a condition 'k3'")),
    ("conditions.tsv", "rest|k1", "rest|twice", ("conditions.tsv, line 2", "'twice' is an expression")),
    ("conditions.tsv", "k_on / 2", "k_off / 2", ("conditions.tsv, line 3", "'k_off'", "did you mean 'k_on'")),
    ("conditions.tsv", "b|start", "b|begin", ("conditions.tsv, line 4", "unknown parameter 'begin'")),
    ("conditions.tsv", "on|shift|2", "on|k1|2", ("conditions.tsv, line 5", "repeats line 3")),
    ("mapping.tsv", "B_()", "B_(site=None)", ("mapping.tsv, line 2", "is not one species")),
    ("mapping.tsv", "B_() ** cell", "B_()", ("mapping.tsv, line 2", "'B_()' is not one species")),
    ("mapping.tsv", "b|B", "total|B", ("mapping.tsv, line 2", "'total' stands for", "another name")),
    ("observables.tsv", "A + shift", "C + shift", ("observables.tsv, line 2", "readout or parameter 'C'")),
    ("observables.tsv", "normal", "gauss", ("observables.tsv, line 2", "unknown noise distribution 'gauss'")),
    ("parameters.tsv", "0.1|10|1.6|true|log-uniform|0.1", "0|10|1.6|true|log-uniform|0",
     ("line 2", "log10", "positive bound")),
    ("parameters.tsv", NARROW, NARROW[:-1] + "8", ("parameters.tsv, line 5", "[0, 9]", "narrow the bounds")),
    ("parameters.tsv", "normal|1;0.5", "cauchy|1;0.5", ("parameters.tsv, line 3", "unknown prior", "'cauchy'")),
    ("problem.yaml", "2.0.0", "1", ("problem.yaml, format_version", "expected 2")),
    ("problem.yaml", "pysb", "sbml", ("problem.yaml, model small", "'sbml', expected 'pysb'")),
    ("problem.yaml", "model.py", "modle.py", ("modle.py does not exist",)),
    ("problem.yaml", "[measurements.tsv]", "[]", ("problem.yaml, measurement_files", "needs a table of measurements")),
    ("problem.yaml", "[mapping.tsv]", "[map.tsv]", ("cannot read the table mapping", "map.tsv")),
    ("model.py", "Model()", "Modell()", ("model.py defines no PySB model", "NameError")),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "words"), WRONG)
def test_what_is_wrong_is_named_with_its_place(
    files: Callable[..., Path], file: str, old: str, new: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as error:
        read_petab(files(file, old, new))
    assert [word for word in words if word not in str(error.value)] == []


def test_what_only_the_linter_sees_is_refused_too(files: Callable[..., Path]) -> None:
    path = files("observables.tsv", "log_b|", "log-b|")
    measurements = path.with_name("measurements.tsv")
    measurements.write_text(measurements.read_text().replace("log_b", "log-b"))
    with pytest.raises(InputError, match=r"problem.yaml is no valid PEtab problem: .*log-b"):
        read_petab(path)
    with pytest.raises(InputError, match=r"nothing.yaml does not exist"):
        read_petab(path.with_name("nothing.yaml"))


def test_the_size_of_a_compartment_is_refused_where_a_rate_has_it_in(files: Callable[..., Path]) -> None:
    sized = "rest|cell|4\nrest|k1"
    assert read_petab(files("conditions.tsv", "rest|k1", sized)).n_free == 4  # acts on nothing
    path = files("conditions.tsv", "rest|k1", sized)
    dimers = 'Rule("dimers", A_() ** cell + A_() ** cell >> B_() ** cell, k1)\nInitial(A_()'
    path.with_name("model.py").write_text(MODEL.replace("Initial(A_()", dimers, 1))
    with pytest.raises(InputError, match=r"conditions.tsv, line 2.*size of 'cell' is worked into rate constants"):
        read_petab(path)
    named = path.with_name("conditions.tsv")
    named.write_text(named.read_text().replace("rest\tcell\t", "rest\tcell_size\t"))
    with pytest.raises(InputError, match=r"conditions.tsv, line 2.*'cell_size' is, or decides, the volume"):
        read_petab(path)


def test_what_petab_cannot_say_is_not_written(frames: dict[str, pd.DataFrame], model: object, tmp_path: Path) -> None:
    folder, source = tmp_path / "written", tmp_path / "model.py"
    source.write_text(MODEL)
    frames["observables"]["noiseDistribution"] = "student-t"
    with pytest.raises(InputError, match="line 2, column noiseDistribution: PEtab has no student-t noise"):
        write_petab(read_problem(model, frames), folder, source)
    frames["observables"]["noiseDistribution"] = "normal"
    frames["measurements"]["censoring"] = ["left", *[""] * (len(frames["measurements"]) - 1)]
    with pytest.raises(InputError, match="line 2, column censoring: is 'left', which PEtab cannot say"):
        write_petab(read_problem(model, frames), folder, source)
    frames["measurements"]["censoring"] = ""
    with pytest.raises(InputError, match=r"is no species of the PySB model|'pX' is no observable"):
        write_petab(read_problem(model, frames), folder, source)
    assert list(tmp_path.iterdir()) == [source]  # nothing half written
    with pytest.raises(InputError, match="is there already"):
        write_petab(read_problem(model, frames), tmp_path, source)
