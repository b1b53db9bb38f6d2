"""First use: nothing in; all kernels compiled and kept, and how long each kind of work took to get ready, out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .adjoint import steady_state_gradient
from .cache import CacheNotice
from .compiled import CompiledModel, compile_model
from .ensemble import simulate, steady_state
from .errors import InputError
from .kernel_cache import kernel_folder
from .network import parse_net

# mass action of orders 0 to 3, a rate function, a fixed species
_SMALL = """begin parameters
 1 k 1
end parameters
begin functions
 1 rate() k/(1+A_total)
end functions
begin species
 1 A() 1
 2 B() 1
 3 $C() 1
end species
begin reactions
 1 0 1 k
 2 1 2 rate
 3 1,2 2,3 k
 4 2,2,3 3 k
end reactions
begin groups
 1 A_total 1
end groups
"""

_KINDS: dict[str, Callable[[CompiledModel], object]] = {
    "time courses": lambda compiled: simulate(compiled, [1.0], threads=1),
    "steady states": lambda compiled: steady_state(compiled, threads=1),
    "sensitivities": lambda compiled: (
        simulate(compiled, [1.0], sensitivities=["k"], threads=1),
        steady_state(compiled, sensitivities=["k"], threads=1),
        steady_state_gradient(compiled, None, ["A_total"], np.ones_like, ["k"], threads=1),
    ),
    "slopes and Jacobians": lambda compiled: (
        compiled.rhs(0.0, compiled.initial_amounts()), compiled.jacobian(0.0, compiled.initial_amounts()),
    ),
}  # fmt: skip
"""Every kind of work that needs machine code."""


class Readied(NamedTuple):
    """A kind of work, how many pieces of machine code it still lacked, and the seconds it took to get ready."""

    kind: str
    n_compiled: int
    seconds: float


def warmup(report: Callable[[Readied], None] = lambda _: None) -> tuple[Readied, ...]:
    """Compile all kernels into the cache, so that no later process waits for them.

    Parameters
    ----------
    report
        Called with each kind of work when it is ready.

    Returns
    -------
    tuple of Readied
        One per kind of work; `n_compiled` is 0 for what was there already.

    Raises
    ------
    InputError
        If the cache folder cannot be written: nothing would be kept.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheNotice)  # the error says it
        folder = kernel_folder()
    if folder is None:
        raise InputError(
            "the cache folder cannot be written, so that no machine code would be kept; "
            "set RESIDUUM_CACHE to a folder that can"
        )
    compiled = compile_model(parse_net(_SMALL, "first use"))
    done = []
    for kind, run in _KINDS.items():
        before, start = _kernels_in(folder), time.monotonic()
        run(compiled)
        made = _kernels_in(folder) - before
        done.append(Readied(kind, len(made), time.monotonic() - start))
        report(done[-1])
    return tuple(done)


def _kernels_in(folder: Path) -> set[Path]:
    """Return the compiled kernels, without the rate functions of models, which other processes may add at any time."""
    return {path for path in folder.glob("*.nbc") if not path.name.startswith("rates_")}
