"""The name of a model goes in; the model, its output times and its random parameter sets come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import residuum

Float = npt.NDArray[np.float64]
PROJECT = Path(__file__).resolve().parent.parent
SHARED = Path("..") / "shared"
"""Where published networks are looked for, from the project's folder."""
NETWORKS = Path("suites") / "networks"
FLOOR = 1e-6
"""A species' error is measured against its peak, or against this fraction of the largest peak if that is more."""

ROBERTSON = """begin parameters
    1 k1 0.04
    2 k2 3e7
    3 k3 1e4
    4 A_0 1
end parameters
begin species
    1 A() A_0
    2 B() 0
    3 C() 0
end species
begin reactions
    1 1 2 k1
    2 2,2 2,3 k2
    3 2,3 1,3 k3
end reactions
begin groups
    1 A_total 1
    2 B_total 2
    3 C_total 3
end groups
"""


class Member(NamedTuple):
    """One parameter set, with what follows from it, so that no tool pays for our bookkeeping."""

    parameters: Float
    """(n_parameters,)"""
    values: dict[str, float]
    """Free and derived parameters by name."""
    rates: Float
    """Distinct rate constants (n_rates,), as in `compiled.rate_table`."""
    amounts: Float
    """At the start (n_species,)."""


@dataclass
class Problem:
    """A model, and what is asked of it."""

    name: str
    compiled: residuum.CompiledModel
    times: Float
    nominal: Float
    """Parameters (n_parameters,) around which the random sets lie."""
    large: bool = False
    """Few members and repeats are enough, and all that is affordable."""
    matrix: Float | None = None
    """Parameter sets of a dose matrix (n, n_parameters)."""
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """The largest nominal amount at the start: absolute tolerances are fractions of it."""
        return float(np.max(self.compiled.initial_amounts(self.nominal)))

    def members(self, parameters: Float) -> list[Member]:
        """Return the members for parameter sets (n, n_parameters)."""
        model = self.compiled
        values = model.values(parameters)
        names = (*model.parameters, *model.derived)
        return [
            Member(p, dict(zip(names, map(float, v), strict=True)), k, y)
            for p, v, k, y in zip(
                parameters, values, model.rate_constants(values), model.initial_amounts(parameters), strict=True
            )
        ]

    def spread(self, n: int, factor: float, seed: int) -> Float:
        """Return `n` parameter sets, every parameter multiplied by a log-uniform number in [1/factor, factor]."""
        logarithm = np.random.default_rng(seed).uniform(-1.0, 1.0, (n, len(self.nominal)))
        return self.nominal * factor**logarithm


def global_error(values: Float, reference: Float) -> float:
    """Return E, the largest |value - reference| over times (axis 0) and species (axis 1), each against its peak."""
    peaks = np.abs(reference).max(axis=0)
    error = np.max(np.abs(values - reference) / np.maximum(peaks, FLOOR * peaks.max()))
    return float(error) if np.isfinite(error) else np.inf


def earm(shared: Path) -> Problem:
    """Apoptosis by a death ligand: slow, then a snap."""
    from pysb.examples.earm_1_0 import model

    compiled = residuum.compile_model(model)
    return Problem("earm_1_0", compiled, np.linspace(0.0, 30_000.0, 51), compiled.nominal)


def robertson(shared: Path) -> Problem:
    """Three species, rate constants over nine decades (Robertson 1966; Hairer & Wanner II, IV.1)."""
    compiled = residuum.compile_model(residuum.parse_net(ROBERTSON, "robertson"))
    return Problem("robertson", compiled, np.concatenate([[0.0], np.geomspace(1e-2, 1e5, 50)]), compiled.nominal)


def _published(name: str, end: float, *, large: bool = False) -> Callable[[Path], Problem]:
    def load(shared: Path) -> Problem:
        compiled = residuum.compile_model(shared / NETWORKS / f"{name}.net")
        return Problem(name, compiled, np.linspace(0.0, end, 51), compiled.nominal, large)

    return load


def aml(shared: Path) -> Problem:
    """The shipped model, FLT3-ITD on stroma under gilteritinib; matrix: gilteritinib by trametinib."""
    drugs = {"gilteritinib": 30.0, "trametinib": 3.0}
    model = residuum.aml_model()

    def parameters(doses: dict[str, float]) -> Float:
        return residuum.aml_conditions(["blast-itd+erk-stroma"], doses, equilibrate=False).parameters[0]

    doses = [(g, t) for g in (0.0, *np.geomspace(1, 300, 9)) for t in (0.0, *np.geomspace(0.3, 100, 9))]
    matrix = np.array([parameters(dict(zip(drugs, map(float, dose), strict=True))) for dose in doses])
    return Problem("aml", model, np.linspace(0.0, 86_400.0, 51), parameters(drugs), large=True, matrix=matrix)


MODELS: dict[str, Callable[[Path], Problem]] = {
    "robertson": robertson,
    "multistate": _published("multistate", 20.0),
    "multisite2": _published("multisite2", 100.0),
    "earm_1_0": earm,
    "aml": aml,
    "egfr_net": _published("egfr_net", 120.0, large=True),
}
