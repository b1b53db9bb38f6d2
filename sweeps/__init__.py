"""Sweeps: a compiled model and many points of its parameters in; a folder of finished shards, and what is in it, out.

Whatever stops a sweep, the same call takes it up: every point is computed once, to the same bits. `sweeps` knows
parameters of compiled models only. What is not listed here is private. Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .design import SweepDesign
    from .estimation import Estimate, estimate_sweep
    from .points import Computed, Grid, Points, PointTable, Sobol
    from .priors import Prior, read_priors
    from .result import Sweep, SweepStatus, open_sweep
    from .running import sweep
    from .verification import Verification, verify_sweep

_HOME = {
    "SweepDesign": "design",
    "Estimate": "estimation", "estimate_sweep": "estimation",
    "Computed": "points", "Grid": "points", "PointTable": "points", "Points": "points", "Sobol": "points",
    "Prior": "priors", "read_priors": "priors",
    "Sweep": "result", "SweepStatus": "result", "open_sweep": "result",
    "sweep": "running",
    "Verification": "verification", "verify_sweep": "verification",
}  # fmt: skip

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
