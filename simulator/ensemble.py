"""Ensembles: a compiled model, conditions and times in, a Result with a status per run out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import batch as batches
from .batch import Batch
from .directions import Directions
from .errors import InputError
from .memory import require_memory
from .options import SolverOptions
from .progress import progress_bar
from .protocol import Conditions, Interval, check_protocol, checked_times, timeline
from .readout import Readout
from .result import Result

if TYPE_CHECKING:
    from .compiled import CompiledModel

Float = npt.NDArray[np.float64]


def simulate(
    compiled: CompiledModel,
    times: npt.ArrayLike,
    conditions: Conditions | None = None,
    *,
    observables: Sequence[str] | None = None,
    sensitivities: Sequence[str] | Directions = (),
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool | Callable[[int], None] = False,
) -> Result:
    """Integrate every condition and return the observables at `times`.

    Parameters
    ----------
    compiled
        The model.
    times : (n_times,)
        Strictly increasing model times; without a protocol the clock starts at 0.
    conditions
        Parameters and protocol of the runs; the nominal parameters if None.
    observables
        Names of observables, named expressions or species to keep; all observables if None.
    sensitivities
        Names of parameters, or of species (their initial amounts), to which derivatives are computed, on the natural
        scale. A parameter that a segment of the protocol sets is not the condition's own there: while the segment
        holds, the derivative to it gains nothing. `Directions` say instead how parameters move together, segments'
        values included. The derivatives take part in the choice of the step size.
    options
        Tolerances and limits.
    threads
        Number of threads; all cores available to the process if None.
    progress
        Show a bar with rate and remaining time on standard error; or a function that is told how many runs are done.

    Returns
    -------
    Result
        Failed runs carry a status and NaN; nothing is raised for them. Ctrl-C returns the runs done so far,
        the others marked STOPPED or PENDING.

    Raises
    ------
    InputError
        For anything wrong with the input, before any run starts.
    """
    options = options or SolverOptions()
    if conditions is None:
        conditions = Conditions(("nominal",), compiled.nominal[None, :])
    t = checked_times(times)
    intervals = timeline(conditions.protocol, t)
    return _run(compiled, conditions, t, intervals, observables, sensitivities, options, threads, progress, "simulate")


def steady_state(
    compiled: CompiledModel,
    conditions: Conditions | None = None,
    *,
    observables: Sequence[str] | None = None,
    sensitivities: Sequence[str] = (),
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Result:
    """Bring every condition to the steady state that its initial amounts lead to; one time, `inf`, is returned.

    The trajectory is integrated until it has nearly come to rest, and Newton's method makes its end exact: to rounding,
    whatever rtol is, with the conserved totals of the start. The integration is a rough one, which is repeated at
    rtol where its end is in doubt; a start within about 1e-4 of the border between two basins of attraction may
    be taken to either side.

    A protocol is not allowed here. Otherwise arguments, result and errors are those of `simulate`, and a run may fail
    in three more ways:

    NO_STEADY_STATE
        `options.equilibration_time` passes, and at the present rates some amount would still change by more than rtol
        (plus atol) in as long a time.
    UNSTABLE
        The smallest disturbance would grow, of species that are absent at the start too.
    NOT_ISOLATED
        Beyond what is conserved, where the model comes to rest depends on where it started, as after irreversible
        reactions that compete. The end of one trajectory is then found by `simulate`, and sensitivities too. With
        sensitivities to a parameter that is zero, this includes what depends on the start as soon as it is not.

    A pre-equilibration asks for the end of the trajectory, and takes it where species that are absent could grow, and
    where it is not isolated.
    """
    options = options or SolverOptions()
    if conditions is None:
        conditions = Conditions(("nominal",), compiled.nominal[None, :])
    if conditions.protocol:
        raise InputError("steady_state takes conditions without a protocol; put the values into the conditions")
    intervals = [Interval(-np.inf, 0.0, None, equilibrate=True)]
    t = np.array([np.inf])
    return _run(
        compiled, conditions, t, intervals, observables, sensitivities, options, threads, progress, "steady state"
    )


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(compiled: CompiledModel, conditions: Conditions, times: Float, intervals: Sequence[Interval],
         observables: Sequence[str] | None, sensitivities: Sequence[str] | Directions, options: SolverOptions,
         threads: int | None, progress: bool | Callable[[int], None], label: str) -> Result:  # fmt: skip
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    check_protocol(compiled, conditions)
    if compiled.depends_on_time and any(interval.equilibrate for interval in intervals):
        raise InputError(
            f"{compiled.name} has rates that depend on time(): it has no steady state to start from or to find; "
            "leave out the segment that starts at -inf"
        )
    if isinstance(sensitivities, Directions):
        sensitivities.check(conditions)
        acting = sensitivities.parameters
    else:
        acting = tuple(sensitivities)
    if moving := sorted(compiled.switch_parameters & set(acting)):
        raise InputError(
            f"the sensitivity to {moving[0]!r} is not available: it decides a time at which a rate function switches, "
            "where sensitivities jump"
        )
    compiled.check_restriction(conditions)
    readout = Readout(compiled, observables)
    n = len(conditions)
    _require_memory(compiled, n, len(times), readout, len(sensitivities))
    batch = Batch(compiled, conditions, times, intervals, readout, options, sensitivities)
    steady = any(interval.equilibrate for interval in intervals)
    _announce_compilation(steady=steady, sensitivities=len(sensitivities) > 0)
    if batch.forward is not None:
        per_run = batch.forward.bytes_per_run(len(times) * len(readout.kept))
        require_memory(
            float(min(n, 2 * batch.block) * per_run),
            f"{min(n, 2 * batch.block):,} conditions at once with {len(sensitivities):,} sensitivities",
            "ask for fewer sensitivities, observables or times",
        )
    batch.prepare()
    with nullcontext(progress) if callable(progress) else progress_bar(n, label, shown=progress) as advance:
        batch.run(min(threads or available_threads(), max(n, 1)), advance)
    return batch.result()


def _require_memory(compiled: CompiledModel, n: int, n_times: int, readout: Readout, n_slopes: int) -> None:
    """Raise InputError if the numbers of the result, and what one block of runs needs meanwhile, will not fit."""
    n_names, n_kept = len(readout.names), len(readout.kept)
    per_run = n_times * (n_kept + 2 * n_names) + 4 * (compiled.n_parameters + compiled.n_species)
    derivatives = f" and their derivatives to {n_slopes:,} names" if n_slopes else ""
    require_memory(
        8.0 * (n * n_times * n_names * (1 + n_slopes) + min(n, 2 * batches.BLOCK) * per_run),
        f"the result of {n:,} conditions x {n_times:,} times x {n_names:,} observables{derivatives}",
        f"ask for fewer {'sensitivities, ' if n_slopes else ''}observables or times, or run the conditions in parts "
        "and keep of each what is needed",
    )


@lru_cache(maxsize=4)
def _announce_compilation(*, steady: bool, sensitivities: bool) -> None:
    """Say, once per machine, that machine code is being made; a person should not wonder why nothing happens."""
    from .kernel_cache import kernels_are_cached

    parts = [("rosenbrock.integrate", "the integrator")]
    parts += [("newton.examine", "the search for steady states")] if steady else []
    if sensitivities:
        parts.append(("response.respond" if steady else "sensitivity.integrate_slopes", "the sensitivities"))
    if missing := [what for kernel, what in parts if not kernels_are_cached(kernel)]:
        print(
            f"residuum: compiling {' and '.join(missing)}, once for this machine (about half a minute; "
            "`residuum warmup` does it ahead of time) ...",
            file=sys.stderr,
            flush=True,
        )
