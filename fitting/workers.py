"""Starts to search from in; the same, finished, out, in the order in which they end: in turn, or in several processes.

Processes are spawned, not forked: threads and machine code do not survive a fork. In a script the call must therefore
stand under `if __name__ == "__main__":`.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from ..simulator.ensemble import available_threads
from .minimise import Settings, Start, minimise

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from .objective import Problem

Tell = Callable[[Start], None]


def in_turn(problem: Problem, starts: Sequence[Start], settings: Settings, tell: Tell) -> Generator[Start]:
    """Yield each start when it is finished; after an interruption the running one holds its best point."""
    for start in starts:
        minimise(problem, start, settings, tell)
        yield start


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    start: Start | None = None


def in_processes(
    problem: Problem, starts: Sequence[Start], settings: Settings, tell: Tell, processes: int
) -> Generator[Start]:
    """Yield each start when it is finished; `processes` are searched from at a time, sharing the cores.

    After an interruption the running ones hold the best points that they have told of. A start whose process is killed
    (by the system, for lack of memory) is not yielded; its message says so.

    Raises
    ------
    RuntimeError
        If a process ends before it has begun.
    """
    context = multiprocessing.get_context("spawn")
    packed, waiting = pickle.dumps(problem), list(reversed(starts))
    threads = problem.experiments.threads or max(1, available_threads() // processes)
    workers: list[_Worker] = []

    def hire() -> None:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, packed, settings, threads), daemon=True)
        process.start()
        there.close()  # so that the end of the process is the end of the connection
        workers.append(_Worker(process, here))

    try:
        for _ in range(min(processes, len(starts))):
            hire()
        while workers:
            for worker in _with_news(workers):
                connection = worker.connection
                try:
                    what, news = connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    worker.process.join()
                    _account_for(worker)
                    if waiting:
                        hire()
                    continue
                if what == "failed":
                    raise news
                worker.ready = True
                if worker.start is not None:
                    vars(worker.start).update(vars(news))
                    if what == "at":
                        tell(worker.start)
                        continue
                    yield worker.start
                worker.start = waiting.pop() if waiting else None
                if worker.start is None:
                    workers.remove(worker)
                    connection.close()
                else:
                    with suppress(OSError):  # it has just died: the next round notices
                        connection.send(worker.start)
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.connection.close()


def _with_news(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait; return the workers that have sent something or ended."""
    talking = wait([worker.connection for worker in workers])
    return [worker for worker in workers if worker.connection in talking]


def _account_for(worker: _Worker) -> None:
    """Say what became of the start of a process that has ended unasked."""
    code = worker.process.exitcode
    if not worker.ready:
        raise RuntimeError(
            f"a process of the fit ended with code {code} before it began; in a script, call fit under "
            "`if __name__ == '__main__':`, or use processes=1"
        )
    if worker.start is not None:
        worker.start.message = f"its process ended with code {code}, perhaps for lack of memory"


def _work(connection: Connection, packed: bytes, settings: Settings, threads: int) -> None:
    """Search from each start that is sent, until there are no more or the process that sends them is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that hired this one decides
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            problem: Problem = pickle.loads(packed)
            problem.experiments.threads = threads
            connection.send(("ready", None))
            while True:
                start = connection.recv()
                minimise(problem, start, settings, lambda start: connection.send(("at", start)))
                connection.send(("finished", start))
        except (EOFError, OSError):
            raise
        except Exception as error:
            connection.send(("failed", error))
