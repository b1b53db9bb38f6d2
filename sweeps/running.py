"""A design and a folder in; the same folder with the shards that were missing out, whatever stopped earlier calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..simulator.errors import InputError
from ..simulator.progress import progress_bar
from .computing import Outcome, Task, in_processes, in_turn, on_cluster
from .design import SweepDesign
from .folder import SweepFolder, say
from .result import Sweep


def sweep(
    design: SweepDesign,
    folder: str | os.PathLike[str],
    *,
    workers: int = 1,
    threads: int | None = None,
    shard_size: int | None = None,
    shard: tuple[int, int] | None = None,
    resume: bool = True,
    client: Any = None,
    start_method: str = "spawn",
    max_seconds: float | None = None,
    progress: bool = False,
) -> Sweep:
    """Run the points of a design and keep what they give in a folder, shard by shard.

    Whatever stops it (Ctrl-C, kill -9, a full disk, the wall time of a batch job), the same call goes on where it was:
    each point is computed once, and the files are the same, to the last bit, for any number of workers and threads and
    any order, on one kind of processor.

    Parameters
    ----------
    design
        The runs.
    folder
        Where the shards are kept; made if it is not there.
    workers
        Number of processes that compute; with 1, this process does. In a script, several need the call to stand under
        `if __name__ == "__main__":`.
    threads
        Threads of each process; if None, they share the cores available to this one.
    shard_size
        Points per file, and the most that a stop loses per worker; of the folder, or 1024, if None.
    shard
        `(i, n)`: compute part i of n only, counted from 0, as one of the jobs of a scheduler's array. Jobs may run at
        any time, on any machine that sees the folder.
    resume
        Take up a sweep that was begun. Otherwise the folder may hold no shard.
    client
        A `dask.distributed.Client`: its workers compute, and this process writes.
    start_method
        How processes are started: `"spawn"`, `"fork"` or `"forkserver"`.
    max_seconds
        Begin no shard after so much wall time.
    progress
        Show a bar with rate and remaining time on standard error.

    Returns
    -------
    Sweep
        What is in the folder; `stopped` says why points are pending, if there are any. After Ctrl-C it is returned,
        too.

    Raises
    ------
    InputError
        If the folder cannot be used, holds another sweep or shards of one, or another process is computing there.
    OSError
        If a shard cannot be written, as on a full disk. The shards before are kept.
    """
    for name, number in (("workers", workers), ("threads", threads), ("shard_size", shard_size)):
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}, expected at least 1")
    kept = SweepFolder.of(folder, design, shard_size)
    numbers = kept.part(shard)
    if not resume and (there := [number for number in numbers if kept.file(number).exists()]):
        raise InputError(f"{kept.path} holds {len(there)} shards already; resume that sweep, or choose another folder")
    with kept.locked(numbers):
        tasks = [Task(number, *kept.bounds(number)) for number in kept.missing(numbers)]
        if not tasks:
            return Sweep(kept, design)
        stop = _clock(max_seconds)
        if client is not None:
            outcomes = on_cluster(client, design, kept.hash, tasks, threads)
        elif workers > 1:
            outcomes = in_processes(design, kept.hash, tasks, threads, workers, start_method)
        else:
            outcomes = in_turn(design, kept.hash, tasks, threads)
        try:
            stopped = _collect(kept, numbers, tasks, outcomes, stop, progress)
        finally:
            outcomes.close()
    return Sweep(kept, design, stopped)


def _clock(max_seconds: float | None) -> Callable[[], bool]:
    end = None if max_seconds is None else time.monotonic() + max_seconds
    return lambda: end is not None and time.monotonic() > end


def _collect(
    kept: SweepFolder, numbers: range, tasks: list[Task], outcomes: Iterator[Outcome], late: Callable[[], bool],
    progress: bool,
) -> str:  # fmt: skip
    """Write the shards as they come; return why some are missing."""
    sizes = {task.number: task.last - task.first for task in tasks}
    n = sum(last - first for first, last in map(kept.bounds, numbers))
    done, left = n - sum(sizes.values()), 0
    with progress_bar(n, "sweep", shown=progress) as advance:
        advance(done)
        try:
            for outcome in outcomes:
                if outcome.content is None and not outcome.reason:
                    return "stopped by the user"
                if outcome.content is None:
                    say(f"{kept.file(outcome.number).name} is not computed: {outcome.reason}")
                    left += 1
                    continue
                try:
                    kept.keep(outcome.number, outcome.content)
                except OSError as error:
                    raise OSError(
                        error.errno,
                        f"{error.strerror}; {done:,} of {n:,} points are kept: make room, and run the same again",
                        str(kept.path),
                    ) from error
                advance(done := done + sizes[outcome.number])
                if late() and done < n:
                    return "its wall time is used up"
        except KeyboardInterrupt:
            return "stopped by the user"
    return f"{left} {'shard' if left == 1 else 'shards'} could not be computed" if left else ""
