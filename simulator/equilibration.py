"""Steady states: runs and where they start in, the steady states that their trajectories lead to and a status each out.

Which steady state is reached is decided by integration: Newton's method by itself may end in another basin of
attraction. The integration is a rough one, Newton makes its end exact, and what is then in any doubt is integrated
again at full tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import newton, rosenbrock
from .status import Status
from .tableaux import RODAS5P
from .totals import Totals, totals_of_runs

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .kernels import Tables
    from .rosenbrock import Runs, Settings, Workspace
    from .sensitivity import SlopeRuns
    from .slopes import Forward

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
InThreads = Callable[[Callable[["Workspace"], None]], None]
"""Calls a function with a workspace in each of several threads; they take runs from one queue."""

ROUGH, ROUGHLY_STEADY = 1e-4, 1e-3
"""Tolerance of the rough integration, and the change still to come, relative, at which it ends. A start nearer than
about ROUGH to the border between two basins of attraction may be taken to the other one."""
WORTH_ANOTHER_TRY = tuple(map(int, (Status.TOO_STIFF, Status.NOT_FINITE, Status.NEGATIVE, Status.SINGULAR)))


def equilibrate(batch: Equilibration, in_threads: InThreads) -> None:
    """Bring the runs that are RUNNING to steady state, in place, and their sensitivities.

    A steady state in which some deviation would grow fails as UNSTABLE. If it has to be isolated, one that depends
    on the start beyond what is conserved fails as NOT_ISOLATED, and deviations in species that the run does not
    reach count too. Runs that are equal, bit by bit, are done once.
    """
    runs, slopes = batch.runs, batch.slopes
    status = runs.status
    begun = status == int(Status.RUNNING)
    leader = first_equals(batch, begun)
    follows = begun & (leader != np.arange(len(status)))
    status[follows] = int(Status.PENDING)
    _equilibrate(batch, in_threads)
    for array in (runs.y, status, runs.reached, runs.counts, runs.elapsed, *([slopes.s] if slopes else [])):
        array[follows] = array[leader[follows]]


def first_equals(batch: Equilibration, begun: Flags) -> Index:
    """Return, for each run that has `begun`, the first of these with the same numbers; for the others, themselves."""
    runs, slopes = batch.runs, batch.slopes
    leader = np.arange(len(begun))
    parts = [runs.k, runs.values, runs.y, *([slopes.s, slopes.values, slopes.scale] if slopes else [])]
    numbers = np.hstack([part.reshape(len(begun), -1)[begun] for part in parts])
    if len(numbers):
        rows = np.ascontiguousarray(numbers).view(np.dtype((np.void, numbers.itemsize * numbers.shape[1])))
        _, first, of_run = np.unique(rows, return_index=True, return_inverse=True)
        leader[begun] = np.flatnonzero(begun)[first[of_run.reshape(-1)]]
    return leader


def _equilibrate(batch: Equilibration, in_threads: InThreads) -> None:
    compiled, settings, runs = batch.compiled, batch.settings, batch.runs
    status, start, asked = runs.status, runs.y.copy(), runs.stop.copy()
    running, present = runs.k != 0.0, start != 0.0
    own = kept = totals_of_runs(compiled, running, present)
    near = totals_of_runs(compiled, running, np.ones_like(present)) if batch.isolated else own
    if batch.forward is not None and batch.slopes is not None:
        rates, amounts = batch.forward.moves(batch.slopes)  # what is zero, and is about to change, keeps no total
        kept = totals_of_runs(compiled, running | rates, present | amounts)
    rough = settings._replace(rtol=ROUGH, steady_tolerance=ROUGHLY_STEADY)
    todo = status == int(Status.RUNNING)
    spread = np.zeros_like(todo)
    for tolerances in [rough, settings] if settings.rtol < ROUGH else [settings]:
        last = tolerances is settings
        batch.integrate(tolerances, in_threads)
        doubtful = todo & np.isin(status, WORTH_ANOTHER_TRY)
        ended = _begin_again(runs, todo, asked)
        batch.settle(start, own, in_threads)
        astray = ended & (status == int(Status.NO_STEADY_STATE))  # Newton left these where integration ended
        if last:
            status[astray] = int(Status.OK)
        ended = _begin_again(runs, ended, asked)
        growth, left = batch.examine(near, kept, in_threads)
        unstable = ended & ~(growth <= newton.GROWS)
        for i in np.flatnonzero(unstable):
            unstable[i] = batch.grows(int(i), near)
        status[unstable] = int(Status.UNSTABLE)
        spread[todo] = (ended & ~unstable & (left > newton.STAYS))[todo]
        if batch.isolated:
            status[spread] = int(Status.NOT_ISOLATED)
        todo = doubtful | astray | unstable | (spread & todo)
        if last or not todo.any():
            break
        runs.y[todo], runs.stop[todo] = start[todo], np.maximum(asked, runs.stop)[todo]
        status[todo] = int(Status.RUNNING)
    if batch.slopes is not None:
        batch.respond(start, kept, spread, asked, in_threads)


def _begin_again(runs: Runs, among: Flags, asked: Index) -> Flags:
    """Put the runs `among` these that have ended well to work once more, and return which they are.

    They are not stopped any more: what Newton's method adds takes less time than a person waits for after Ctrl-C.
    `asked` remembers the stops that were asked for, for what takes longer.
    """
    np.maximum(asked, runs.stop, out=asked)
    well = among & (runs.status == int(Status.OK))
    runs.status[well] = int(Status.RUNNING)
    runs.stop[well] = 0
    return well


@dataclass(frozen=True)
class Equilibration:
    """The runs of one call and what can be done with them, eight at a time in several threads."""

    compiled: CompiledModel
    settings: Settings
    runs: Runs
    parameters: Float
    """(n, n_parameters)"""
    isolated: bool
    """Whether the steady states must not depend on the start beyond what is conserved."""
    forward: Forward | None = None
    slopes: SlopeRuns | None = None

    @cached_property
    def tables(self) -> Tables:
        """The network."""
        return self.compiled.plan[0]

    def integrate(self, settings: Settings, in_threads: InThreads) -> None:
        """Integrate the runs until they are steady, as far as `settings` say."""
        method = rosenbrock.method_of(RODAS5P)
        rates, partials, _ = self.compiled.compiled_rates
        in_threads(
            lambda w: rosenbrock.integrate(self.tables, method, NOTHING, settings, self.runs, rates, partials, w)
        )

    def settle(self, start: Float, totals: Totals, in_threads: InThreads) -> None:
        """Bring the runs to the steady state beside them: see `newton.settle`."""
        rates, partials, _ = self.compiled.compiled_rates
        in_threads(
            lambda w: newton.settle(
                self.tables, NOTHING, self.settings, self.runs, start, totals, rates, partials, w
            )
        )  # fmt: skip

    def examine(self, near: Totals, own: Totals, in_threads: InThreads) -> tuple[Float, Float]:
        """Return, per run, the growth of a deviation and the part of one that stays: see `newton.examine`."""
        rates, partials, _ = self.compiled.compiled_rates
        probe = np.random.default_rng(0).uniform(-1, 1, self.tables.n_species)
        growth, left = np.zeros(len(self.runs.status)), np.zeros(len(self.runs.status))
        in_threads(
            lambda w: newton.examine(
                self.tables, NOTHING, self.settings, self.runs, near, own, probe, growth, left, rates, partials, w
            )
        )
        return growth, left

    def grows(self, run: int, totals: Totals) -> bool:
        """Return whether the Jacobian of a run, within its totals, has an eigenvalue that grows within the span.

        One that is not finite, as of a square root at zero, tells nothing.
        """
        order = self.compiled.plan[1]
        y = self.runs.y[run, order.position]
        if self.settings.nonnegative:
            y = np.maximum(y, 0.0)  # what rounding made negative may have no power
        j = self.compiled.jacobian(0.0, y, self.parameters[run]).toarray()
        j = j[np.ix_(order.permutation, order.permutation)]
        if not np.isfinite(j).all():
            return False
        weights, free = totals.of(run, len(y))
        rest = np.setdiff1d(np.arange(len(y)), free)  # these vary, and the free ones follow
        modes = np.linalg.eigvals(j[np.ix_(rest, rest)] - j[np.ix_(rest, free)] @ weights[:, rest])
        return bool(modes.size and modes.real.max() > max(1.0 / self.settings.span, 1e-10 * np.abs(modes).max()))

    def respond(self, start: Float, totals: Totals, spread: Flags, asked: Index, in_threads: InThreads) -> None:
        """Turn the sensitivities of the start into those of the steady states: see `response.respond`.

        For runs whose end depends on the whole start (`spread`) they are integrated along the trajectory, unless they
        were `asked` to stop.
        """
        from . import response, sensitivity

        assert self.forward is not None and self.slopes is not None
        forward, slopes, status = self.forward, self.slopes, self.runs.status
        method = rosenbrock.method_of(RODAS5P)
        addresses = (*self.compiled.compiled_rates[:2], *self.compiled.compiled_slopes[:2])
        before, solved = slopes.s.copy(), np.ones(len(status), bool)
        status[spread & (status == int(Status.OK))] = int(Status.PENDING)
        at_rest = _begin_again(self.runs, status == int(Status.OK), asked)

        def respond(w: Workspace) -> None:
            z = forward.workspace(len(method.gamma_sums))
            response.respond(
                self.tables, NOTHING, self.settings, self.runs, totals, forward.inputs, slopes, solved, addresses, w, z
            )

        def integrate(w: Workspace) -> None:
            z = forward.workspace(len(method.gamma_sums))
            sensitivity.integrate_slopes(
                self.tables, method, NOTHING, self.settings, self.runs, forward.inputs, slopes, addresses, w, z
            )

        in_threads(respond)
        left = (spread & (status == int(Status.PENDING))) | (at_rest & ~solved & (status == int(Status.OK)))
        if self.isolated:
            status[left] = int(Status.NOT_ISOLATED)
        elif left.any():
            slopes.s[left], self.runs.y[left] = before[left], start[left]
            status[left] = int(Status.RUNNING)
            self.runs.stop[left] = np.maximum(asked, self.runs.stop)[left]
            in_threads(integrate)


_NONE = np.zeros(0, np.int64)
NOTHING = rosenbrock.Output(np.zeros(0), np.zeros(1, np.int64), _NONE, np.zeros(0))
"""No outputs on the way."""
