"""What the tests of sweeps share: a toy design of many points, and what is in the folder of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers import two_independent_drugs

from residuum.sweeps import Prior, Sobol, SweepDesign

PRIORS = {"d1": Prior.log_uniform(0.1, 10.0), "d2": Prior.log_normal(1.0, 3.0), "kd": Prior.uniform(0.5, 2.0)}


def toy_design(n: int = 1000, **changes: Any) -> SweepDesign:
    """Return `n` points in the doses and the turnover of two drugs."""
    settings = {"parameters": Sobol(n, PRIORS, seed=1), "times": [1.0, 100.0], "readouts": ["P", "one"], **changes}
    return SweepDesign(two_independent_drugs(), **settings)


def shards(folder: Path) -> dict[str, bytes]:
    """Return the content of all shards by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*"))}
