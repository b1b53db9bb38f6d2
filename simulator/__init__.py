"""The simulator: reaction networks in, trajectories, steady states and dose matrices with a status per run out.

What is not listed here is private. Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adjoint import steady_state_gradient
    from .compiled import CompiledModel, compile_model
    from .directions import Directions
    from .ensemble import simulate, steady_state
    from .errors import InputError, MissingBioNetGenError, ModelNotice, UnknownNameError
    from .first_use import warmup
    from .gradient_check import check_gradient
    from .network import ReactionNetwork, from_bngl, from_pysb, parse_net, read_bngl, read_net
    from .options import SolverOptions
    from .protocol import Conditions, Segment
    from .result import Result
    from .status import Status

_HOME = {
    "CompiledModel": "compiled", "compile_model": "compiled",
    "check_gradient": "gradient_check",
    "Directions": "directions",
    "SolverOptions": "options", "simulate": "ensemble", "steady_state": "ensemble",
    "InputError": "errors", "MissingBioNetGenError": "errors", "ModelNotice": "errors", "UnknownNameError": "errors",
    "warmup": "first_use", "steady_state_gradient": "adjoint",
    "ReactionNetwork": "network", "from_bngl": "network", "from_pysb": "network", "parse_net": "network",
    "read_bngl": "network", "read_net": "network",
    "Conditions": "protocol", "Segment": "protocol",
    "Result": "result", "Status": "status",
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
