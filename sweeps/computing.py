"""Numbers of shards to compute in; the content of each, or why there is none, out: in turn, in processes, on a cluster.

Whoever computes, the bytes are the same. Only the caller writes files: what a killed process was at is nowhere.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from ..simulator.ensemble import available_threads
from ..simulator.errors import InputError, unknown_name
from ..simulator.status import Status
from .shards import Block, pack

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from .design import SweepDesign

START_METHODS = ("spawn", "fork", "forkserver")
MOST_DEATHS = 2
"""After so many processes that ended over it, a shard is left."""


class Task(NamedTuple):
    """A shard to compute."""

    number: int
    first: int
    last: int


class Outcome(NamedTuple):
    """What became of a shard: its content, or why it is still to be computed. Neither after Ctrl-C."""

    number: int
    content: bytes | None
    reason: str = ""


def compute(design: SweepDesign, key: str, task: Task, threads: int | None) -> Outcome:
    """Return a shard's content under the hash `key`; none if a run was stopped, by the user or for its wall time."""
    block = design.run(task.first, task.last, threads)
    statuses = {int(status) for status in block.status}
    if statuses & {Status.STOPPED, Status.PENDING}:
        return Outcome(task.number, None)
    if Status.TIME_LIMIT in statuses:
        return Outcome(task.number, None, _late(block))
    return Outcome(task.number, pack(block, key))


def _late(block: Block) -> str:
    late = [i for i, status in enumerate(block.status, start=block.first) if status == Status.TIME_LIMIT]
    return f"{len(late)} runs used up max_seconds, the first of point {late[0]}; allow more, or limit max_steps"


def in_turn(design: SweepDesign, key: str, tasks: Iterable[Task], threads: int | None) -> Generator[Outcome]:
    """Yield each shard when it is computed, in this process."""
    for task in tasks:
        yield compute(design, key, task, threads)


# ---- processes ----------------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    ready: bool = False
    task: Task | None = None


def in_processes(
    design: SweepDesign, key: str, tasks: Sequence[Task], threads: int | None, workers: int, start_method: str
) -> Generator[Outcome]:
    """Yield each shard when it is computed; `workers` processes share the cores, each with its threads.

    A shard whose process is killed (by the system, for lack of memory) is given to another one; after the second time
    it is left, with the reason.

    Raises
    ------
    InputError
        If a process ends before it has begun.
    """
    if start_method not in START_METHODS:
        raise unknown_name("start_method", start_method, START_METHODS)
    context: Any = multiprocessing.get_context(start_method)
    packed, waiting, deaths = pickle.dumps(design), list(reversed(tasks)), Counter[int]()
    threads = threads or max(1, available_threads() // workers)
    crew: list[_Worker] = []
    hired: list[BaseProcess] = []

    def hire() -> None:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, packed, key, threads), daemon=True)
        process.start()
        hired.append(process)
        there.close()  # so that the end of the process is the end of the connection
        crew.append(_Worker(process, here))

    def employ(worker: _Worker) -> None:
        worker.task = waiting.pop() if waiting else None
        with suppress(OSError):  # it has just died: the next round notices
            worker.connection.send(worker.task)
        if worker.task is None:
            crew.remove(worker)
            worker.connection.close()

    try:
        for _ in range(min(workers, len(tasks))):
            hire()
        while crew:
            talking = wait([worker.connection for worker in crew])
            for worker in [worker for worker in crew if worker.connection in talking]:
                try:
                    news = worker.connection.recv()
                except (EOFError, OSError):
                    crew.remove(worker)
                    worker.connection.close()
                    worker.process.join()
                    if lost := _lost(worker):
                        deaths[lost.number] += 1
                        if deaths[lost.number] < MOST_DEATHS:
                            waiting.append(lost)
                        else:
                            yield Outcome(lost.number, None, f"{MOST_DEATHS} processes {_ended(worker)}")
                    if waiting:
                        hire()
                    continue
                if isinstance(news, Exception):
                    raise news
                worker.ready = True
                employ(worker)  # before the caller writes what was computed
                if isinstance(news, Outcome):
                    yield news
    finally:
        for worker in crew:
            worker.process.terminate()
            worker.connection.close()
        for process in hired:
            process.join()


def _lost(worker: _Worker) -> Task | None:
    """Return the shard at which a process was that has ended unasked."""
    if not worker.ready:
        raise InputError(
            f"a process of the sweep {_ended(worker)} before it began; in a script, call sweep under "
            "`if __name__ == '__main__':`, or use workers=1"
        )
    return worker.task


def _ended(worker: _Worker) -> str:
    code = worker.process.exitcode
    return f"ended with code {code}" + (", perhaps for lack of memory" if code == -signal.SIGKILL else "")


def _work(connection: Connection, packed: bytes, key: str, threads: int) -> None:
    """Compute each shard that is sent, until there are no more or the process that sends them is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that hired this one decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        try:
            design = pickle.loads(packed)
            connection.send("ready")
            while (task := connection.recv()) is not None:
                connection.send(compute(design, key, task, threads))
        except (EOFError, OSError):
            raise
        except InputError as error:
            connection.send(InputError(str(error)))
        except Exception as error:
            connection.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    """End this process, in the middle of whatever it does, as soon as its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


# ---- cluster ------------------------------------------------------------------------------------------------------


def on_cluster(
    client: Any, design: SweepDesign, key: str, tasks: Sequence[Task], threads: int | None
) -> Generator[Outcome]:
    """Yield each shard when it is computed, by the workers of a `dask.distributed.Client`; one thread each if None.

    A few more tasks than there are threads are under way at a time. A task whose worker dies is done by another one;
    a shard over which several die is left, with the reason.
    """
    from distributed import KilledWorker, as_completed

    packed, waiting = pickle.dumps(design), list(reversed(tasks))
    at_once = 2 * max(1, sum(client.nthreads().values()))
    numbers: dict[Any, int] = {}

    def submit() -> Any:
        task = waiting.pop()
        future = client.submit(_compute_packed, packed, key, task, threads or 1, pure=False)
        numbers[future] = task.number
        return future

    ended = as_completed([submit() for _ in range(min(at_once, len(waiting)))])
    try:
        for future in ended:
            if waiting:
                ended.add(submit())
            number = numbers.pop(future)
            try:
                yield Outcome(*future.result())
            except KilledWorker:
                yield Outcome(number, None, "the workers of the cluster died over it, perhaps for lack of memory")
    finally:
        client.cancel(list(numbers))


def _compute_packed(packed: bytes, key: str, task: tuple[int, int, int], threads: int) -> tuple[Any, ...]:
    return tuple(compute(_opened(packed), key, Task(*task), threads))


@lru_cache(maxsize=1)
def _opened(packed: bytes) -> SweepDesign:
    design: SweepDesign = pickle.loads(packed)
    return design
