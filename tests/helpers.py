"""What several tests share: the error measure, small networks with known solutions, and models with a reference."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from residuum.simulator import CompiledModel, compile_model, dose_matrix, parse_net

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

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


def small_matrix(**changes: Any) -> xr.Dataset:
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
