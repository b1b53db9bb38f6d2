"""A problem in, its best parameters out: searched from several starts, which survive a stop."""

from __future__ import annotations

import os
import sys
import time as wall
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from ..simulator.errors import InputError
from .minimise import STOPPED, Settings, Start
from .starting import starting_points

if TYPE_CHECKING:
    from .objective import Problem
    from .result import Fit


def fit(
    problem: Problem,
    *,
    starts: int = 1,
    seed: int = 0,
    method: str = "least_squares",
    sampling: str = "sobol",
    max_evaluations: int = Settings.max_evaluations,
    tolerance: float = Settings.tolerance,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    processes: int = 1,
    progress: bool = True,
) -> Fit:
    """Minimise the loss of `problem` within its bounds.

    Parameters
    ----------
    problem
        Data, experiments and parameters.
    starts
        Number of starting points: the nominal point first, the others spread over the priors.
    seed
        Of the starting points. Where a start ends depends on nothing but the problem, the settings, the seed and its
        number: not on the number of starts (but with `latin_hypercube`), of processes or of interruptions.
    method
        `least_squares`: SciPy's, on residuals and Jacobian. `fides`: trust region on loss and gradient (the extra
        `residuum[fit]`).
    sampling
        `sobol`, or `latin_hypercube`, whose points are others for another number of starts.
    max_evaluations
        Limit on accepted and rejected steps per start (each accepted step also costs one Jacobian).
    tolerance
        Relative change of loss, point and gradient below which a search has converged.
    checkpoint
        Folder in which every start is kept as soon as it is finished; None keeps nothing.
    resume
        Take up the starts in `checkpoint` and search only from those that are missing or damaged.
    processes
        Number of starts searched from at a time, each in a process of its own. In a script, call `fit` under
        `if __name__ == "__main__":` then.
    progress
        Show starts done, best loss and the running step on standard error.

    Returns
    -------
    Fit
        The best point over all starts. After Ctrl-C the best so far, with `stopped` set.

    Raises
    ------
    InputError
        For settings that cannot be used; if `checkpoint` holds starts and `resume` is not set; on resumption if model,
        tables, options or seed are not those of the starts kept: names what differs.
    KeyboardInterrupt
        After Ctrl-C before the first point was evaluated.
    RuntimeError
        If no start could evaluate a single point.
    """
    from .checkpoint import Checkpoint, identity
    from .result import assemble
    from .workers import in_processes, in_turn

    if starts < 1 or processes < 1:
        raise InputError(f"starts is {starts} and processes {processes}; both must be at least 1")
    if resume and checkpoint is None:
        raise InputError("resume is set, but no checkpoint is given; name the folder that holds the finished starts")
    settings = Settings(method, max_evaluations, tolerance)
    settings.check()
    began = wall.monotonic()
    tries = [Start(i, point) for i, point in enumerate(starting_points(problem, starts, seed, sampling))]
    kept = None
    if checkpoint is not None:
        drawn = {"seed": seed, "sampling": sampling, **({} if sampling == "sobol" else {"starts": starts})}
        kept = Checkpoint(checkpoint, identity(problem, **asdict(settings), **drawn), resume=resume)
    known = kept.read() if kept is not None else {}
    tries = [known.get(each.index, each) for each in tries]
    if resume:
        print(f"{len(known.keys() & range(starts))} of {starts} starts were already searched", file=sys.stderr)
    missing = [each for each in tries if each.index not in known]
    finished = {each.index for each in tries} & known.keys()
    stopped = False
    with _line(tries, finished, shown=progress) as tell:
        if processes == 1:
            searched = in_turn(problem, missing, settings, tell)
        else:
            searched = in_processes(problem, missing, settings, tell, processes)
        try:
            for each in searched:
                if kept is not None:
                    kept.keep(each)
                finished.add(each.index)
        except KeyboardInterrupt:
            stopped = True
            searched.close()  # its processes end with it
            print(STOPPED, file=sys.stderr)
    winner = min(tries, key=lambda each: each.rank)
    if winner.theta is None:
        if stopped:
            raise KeyboardInterrupt
        raise RuntimeError(f"no start could evaluate a single point; the first {tries[0].message}")
    table = [
        {"start": e.index, "loss_at_start": e.loss_first, "loss": e.loss, "evaluations": e.n_evaluations,
         "converged": e.converged, "failed": e.failed, "message": e.message}
        for e in tries
    ]  # fmt: skip
    return assemble(
        problem,
        winner.theta,
        starts=table,
        ends=np.array([np.full(problem.n_free, np.nan) if e.theta is None else e.theta for e in tries]),
        seed=seed,
        stopped=stopped,
        converged=winner.converged and not stopped,
        message=STOPPED if stopped else winner.message,
        n_failures=sum(each.n_failures for each in tries),
        began=began,
        search={"method": method, "sampling": sampling, "tolerance": tolerance, "max_evaluations": max_evaluations},
    )


@contextmanager
def _line(tries: list[Start], finished: set[int], *, shown: bool) -> Iterator[Callable[[Start], None]]:
    """Yield a function that shows, in one line in place on standard error, how far the search has come."""
    if not shown:
        yield lambda start: None
        return
    from rich.console import Console

    with Console(stderr=True).status("fit") as status:
        yield lambda start: status.update(_so_far(tries, finished, start))


def _so_far(tries: Sequence[Start], finished: set[int], running: Start) -> str:
    """Return how many starts are done, the best loss of all and where the running one is, in one line."""
    best = min(tries, key=lambda each: each.rank)
    failures = f", {running.n_failures} points failed" if running.n_failures else ""
    return (
        f"{len(finished)} of {len(tries)} starts done, best loss {best.loss:.4g} (start {best.index}); "
        f"start {running.index}, step {running.n_evaluations}: loss {running.loss:.4g}{failures}"
    )
