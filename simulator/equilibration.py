"""Steady states: runs and where they start in, the steady states that their trajectories lead to and a status each out.

Which steady state is reached is decided by integration: Newton's method by itself may end in another basin of
attraction. The integration is a rough one, Newton makes its end exact, and what is then in any doubt is integrated
again at full tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import newton, rosenbrock
from .status import Status
from .tableaux import RODAS5P
from .totals import Totals, totals_of_runs

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .rosenbrock import Runs, Settings, Workspace

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
InThreads = Callable[[Callable[["Workspace"], None]], None]
"""Calls a function with a workspace in each of several threads; they take runs from one queue."""

ROUGH, ROUGHLY_STEADY = 1e-4, 1e-3
"""Tolerance of the rough integration, and the change still to come, relative, at which it ends. A start nearer than
about ROUGH to the border between two basins of attraction may be taken to the other one."""
WORTH_ANOTHER_TRY = tuple(map(int, (Status.TOO_STIFF, Status.NOT_FINITE, Status.NEGATIVE, Status.SINGULAR)))


def equilibrate(
    compiled: CompiledModel, settings: Settings, runs: Runs, parameters: Float, in_threads: InThreads, *, isolated: bool
) -> None:
    """Bring the `runs` that are RUNNING to steady state, in place; `parameters` (n, n_parameters) belong to them.

    A steady state in which some deviation would grow fails as UNSTABLE. If it has to be `isolated`, one that depends
    on the start beyond what is conserved fails as NOT_ISOLATED, and deviations in species that the run does not
    reach count too. Runs that are equal, bit by bit, are done once.
    """
    status = runs.status
    begun = status == int(Status.RUNNING)
    leader = first_equals(runs, begun)
    follows = begun & (leader != np.arange(len(status)))
    status[follows] = int(Status.PENDING)
    _equilibrate(compiled, settings, runs, parameters, in_threads, isolated)
    for array in (runs.y, status, runs.reached, runs.counts, runs.elapsed):
        array[follows] = array[leader[follows]]


def first_equals(runs: Runs, begun: Flags) -> Index:
    """Return, for each run that has `begun`, the first of these with the same numbers; for the others, themselves."""
    leader = np.arange(len(begun))
    numbers = np.hstack([runs.k, runs.values, runs.y])[begun]
    if len(numbers):
        rows = np.ascontiguousarray(numbers).view(np.dtype((np.void, numbers.itemsize * numbers.shape[1])))
        _, first, of_run = np.unique(rows, return_index=True, return_inverse=True)
        leader[begun] = np.flatnonzero(begun)[first[of_run.reshape(-1)]]
    return leader


def _equilibrate(
    compiled: CompiledModel, settings: Settings, runs: Runs, parameters: Float, in_threads: InThreads, isolated: bool
) -> None:
    status, start = runs.status, runs.y.copy()
    rough = settings._replace(rtol=ROUGH, steady_tolerance=ROUGHLY_STEADY)
    passes = [rough, settings] if settings.rtol < ROUGH else [settings]
    todo = status == int(Status.RUNNING)
    present = np.ones_like(start, bool)
    own = totals_of_runs(compiled, runs.k, start != 0.0)
    near = totals_of_runs(compiled, runs.k, present) if isolated else own
    for tolerances in passes:
        last = tolerances is settings
        _integrate(compiled, tolerances, runs, in_threads)
        doubtful = todo & np.isin(status, WORTH_ANOTHER_TRY)
        ended = todo & (status == int(Status.OK))
        status[ended] = int(Status.RUNNING)
        _settle(compiled, settings, runs, start, own, in_threads)
        astray = ended & (status == int(Status.NO_STEADY_STATE))  # Newton left these where integration ended
        status[astray] = int(Status.RUNNING if last else Status.NO_STEADY_STATE)
        ended &= np.isin(status, (int(Status.OK), int(Status.RUNNING)))
        status[ended] = int(Status.RUNNING)
        growth, left = _examine(compiled, settings, runs, near, own, in_threads)
        unstable = ended & ~(growth <= newton.GROWS)
        for i in np.flatnonzero(unstable):
            unstable[i] = _grows(compiled, runs.y[i], parameters[i], near, i, settings.span)
        spread = ended & ~(left <= newton.STAYS)
        status[unstable] = int(Status.UNSTABLE)
        if isolated:
            status[spread & ~unstable] = int(Status.NOT_ISOLATED)
        todo = doubtful | astray | unstable | spread
        if last or not todo.any():
            return
        runs.y[todo] = start[todo]
        status[todo] = int(Status.RUNNING)


def _integrate(compiled: CompiledModel, settings: Settings, runs: Runs, in_threads: InThreads) -> None:
    tables, _ = compiled.plan
    rates, partials, _ = compiled.compiled_rates
    method = rosenbrock.method_of(RODAS5P)
    in_threads(lambda w: rosenbrock.integrate(tables, method, NOTHING, settings, runs, rates, partials, w))


def _settle(
    compiled: CompiledModel, settings: Settings, runs: Runs, start: Float, own: Totals, in_threads: InThreads
) -> None:
    tables, _ = compiled.plan
    rates, partials, _ = compiled.compiled_rates
    in_threads(lambda w: newton.settle(tables, NOTHING, settings, runs, start, own, rates, partials, w))


def _examine(
    compiled: CompiledModel, settings: Settings, runs: Runs, near: Totals, own: Totals, in_threads: InThreads
) -> tuple[Float, Float]:
    """Return, per run, the growth of a deviation and the part of one that stays: see `newton.examine`."""
    tables, _ = compiled.plan
    rates, partials, _ = compiled.compiled_rates
    probe = np.random.default_rng(0).uniform(-1, 1, tables.n_species)
    growth, left = np.zeros(len(runs.status)), np.zeros(len(runs.status))
    in_threads(
        lambda w: newton.examine(
            tables, NOTHING, settings, runs, near, own, probe, growth, left, rates, partials, w
        )
    )  # fmt: skip
    return growth, left


def _grows(compiled: CompiledModel, y: Float, parameters: Float, totals: Totals, run: int, span: float) -> bool:
    """Return whether the Jacobian at `y`, within the run's totals, has an eigenvalue that grows within `span`."""
    order = compiled.plan[1]
    j = compiled.jacobian(0.0, y[order.position], parameters).toarray()[np.ix_(order.permutation, order.permutation)]
    mine = range(totals.first[run], totals.last[run])
    free = totals.free[totals.first[run] : totals.last[run]]
    weights = np.zeros((len(free), len(y)))
    for row, t in zip(weights, mine, strict=True):
        members = slice(totals.pointer[t], totals.pointer[t + 1])
        row[totals.species[members]] = totals.weight[members]
    rest = np.setdiff1d(np.arange(len(y)), free)  # these vary, and the free ones follow
    modes = np.linalg.eigvals(j[np.ix_(rest, rest)] - j[np.ix_(rest, free)] @ weights[:, rest])
    return bool(modes.size and modes.real.max() > max(1.0 / span, 1e-10 * np.abs(modes).max()))


_NONE = np.zeros(0, np.int64)
NOTHING = rosenbrock.Output(np.zeros(0), np.zeros(1, np.int64), _NONE, np.zeros(0))
"""No outputs on the way."""
