"""A small model with known answers, and a problem on it whose data can be made as wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from residuum.fitting import Problem, read_problem
from residuum.simulator import CompiledModel, SolverOptions, compile_model, parse_net

Frames = dict[str, pd.DataFrame]

# X is phosphorylated at kf / (1 + dose / kd) and dephosphorylated at kr; amounts in nM, times in s
NET = """
begin parameters
    1 kf 0.02
    2 kr 0.01
    3 dose 0
    4 kd 10
    5 total 100
end parameters
begin functions
    1 activate() kf/(1+dose/kd)
end functions
begin species
    1 X(y~u) total
    2 X(y~p) 0
end species
begin reactions
    1 1 2 activate
    2 2 1 kr
end reactions
begin groups
    1 pX 2
    2 sumX 1,2
end groups
"""

TRUE = {"offset": 3.0, "scale": 2.0, "gain_a": 0.5, "gain_b": 3.0, "kd": 4.0}
DOSES = {"none": 0.0, "low": 5.0, "high": 50.0}
TIMES = (0.0, 60.0, 600.0)


@pytest.fixture(scope="session")
def model() -> CompiledModel:
    """Return the compiled model."""
    return compile_model(parse_net(NET, "switch"))


@pytest.fixture(name="exact")
def closed_form() -> Callable[[float, float, float, float], float]:
    """Return `exact`."""
    return exact


def exact(gain: float, dose: float, time: float, kd: float) -> float:
    """Return pX at `time` after the inhibitor came on to the steady state without it: the closed form, in nM."""
    kf, kr, total = 0.02 * gain, 0.01, 100.0
    before, inhibited = total * kf / (kf + kr), kf / (1 + dose / kd)
    after = total * inhibited / (inhibited + kr)
    return after + (before - after) * float(np.exp(-(inhibited + kr) * time))


@pytest.fixture
def frames() -> Frames:
    """Return tables of two cell lines, a and b, under three doses, with noiseless data made from `TRUE`."""
    conditions = [(line, "kf", f"kf * gain_{line}") for line in "ab"] + [(d, "dose", v) for d, v in DOSES.items()]
    experiments, measurements = [], []
    for line in "ab":
        for dose, amount in DOSES.items():
            name = f"{line}_{dose}"
            experiments += [(name, -np.inf, line), (name, -np.inf, "none"), (name, 0.0, dose)]
            for time in TIMES:
                shown = TRUE["offset"] + TRUE["scale"] * exact(TRUE[f"gain_{line}"], amount, time, TRUE["kd"])
                measurements.append(("bead", name, time, shown, "fit"))
    parameters = [
        ("offset", 0.01, 100, 1, "true", "log10", "uniform", ""),
        ("scale", 0.01, 100, 1, "true", "log10", "uniform", ""),
        ("gain_a", 0.01, 100, 1, "true", "log10", "log-normal", "0; 5"),
        ("gain_b", 0.01, 100, 1, "true", "log10", "log-normal", "0; 5"),
        ("kd", 0.1, 1000, 10, "true", "log10", "log-normal", "2.3; 5"),
        ("noise", "", "", 0.1, "false", "", "", ""),
    ]
    observables = [("bead", "offset + scale * pX", "noise", "log-normal")]
    text = {
        "conditions": (("conditionId", "targetId", "targetValue"), conditions),
        "experiments": (("experimentId", "time", "conditionId"), experiments),
        "measurements": (("observableId", "experimentId", "time", "measurement", "role"), measurements),
        "observables": (("observableId", "observableFormula", "noiseFormula", "noiseDistribution"), observables),
        "parameters": (
            ("parameterId", "lowerBound", "upperBound", "nominalValue", "estimate", "parameterScale",
             "priorDistribution", "priorParameters"),
            parameters,
        ),
    }  # fmt: skip
    return {name: pd.DataFrame(rows, columns=list(columns)).astype(object) for name, (columns, rows) in text.items()}


@pytest.fixture
def make(model: CompiledModel) -> Callable[..., Problem]:
    """Return a function that makes a problem from tables, on the small model, to tight tolerances."""

    def problem(frames: Frames, **settings: Any) -> Problem:
        return read_problem(model, frames, **{"options": SolverOptions(rtol=1e-9), "threads": 1, **settings})

    return problem


@pytest.fixture
def truth() -> dict[str, float]:
    """Return the parameters that the data of `frames` were made with."""
    return dict(TRUE)


@pytest.fixture
def true_theta(truth: dict[str, float]) -> np.ndarray:
    """Return the true parameters on the search scale, (n_free,)."""
    return np.log10(list(truth.values()))
