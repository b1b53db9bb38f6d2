"""residuum: residual signalling under drug combinations, from rule-based models to dose matrices.

The public surface of the package. Drug and context names of the shipped model are resolved here, so that the
simulator knows parameters only. Names are loaded when they are first used: `import residuum` costs milliseconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .simulator import (
        CompiledModel,
        Conditions,
        InputError,
        MissingBioNetGenError,
        ReactionNetwork,
        Result,
        Segment,
        SolverOptions,
        Status,
        UnknownNameError,
        bliss_excess,
        compile_model,
        hsa_excess,
        parse_net,
        read_net,
        simulate,
        steady_state,
    )

_SIMULATOR = (
    "CompiledModel", "Conditions", "InputError", "MissingBioNetGenError", "ReactionNetwork", "Result", "Segment",
    "SolverOptions", "Status", "UnknownNameError", "bliss_excess", "compile_model", "hsa_excess", "parse_net",
    "read_net", "simulate", "steady_state",
)  # fmt: skip

__all__ = ["__version__", *_SIMULATOR]


def __getattr__(name: str) -> Any:
    if name not in _SIMULATOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(".simulator", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
