"""A tool and a file in; time to the first result, peak memory, and what threads gain, from processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

FIRST_RESULT = {
    "residuum": "import residuum; m = residuum.compile_model(FILE)\n"
    "r = residuum.simulate(m, np.linspace(0, END, 51), threads=1); assert r.ok.all()",
    "bngsim": "import bngsim; m = bngsim.Model.from_net(FILE)\n"
    "s = bngsim.Simulator(m, method='ode', codegen=True, net_path=FILE)\n"
    "s.run(t_span=(0, END), n_points=51, rtol=1e-6, atol=1e-3)",
    "bngsim interpreted": "import bngsim; m = bngsim.Model.from_net(FILE)\n"
    "bngsim.Simulator(m, method='ode', codegen=False).run(t_span=(0, END), n_points=51, rtol=1e-6, atol=1e-3)",
    "libRoadRunner": "import roadrunner; m = roadrunner.RoadRunner(SBML); m.simulate(0, END, 51)",
    "PySB": "from pysb.simulator import ScipyOdeSimulator; from pysb.examples.earm_1_0 import model\n"
    "ScipyOdeSimulator(model, np.linspace(0, END, 51), compiler='cython', integrator='lsoda').run()",
}
"""What each tool's user writes."""
_MEMORY = "\nprint(next((line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')), 0))"
"""Linux's own count: what `getrusage` returns starts from the memory of the parent."""

_ENSEMBLE = """
import sys
from pathlib import Path
import problems, residuum
problem = problems.MODELS[MODEL](Path(SHARED))
parameters = problem.spread(N, 3.0, 1)
def conditions(n): return residuum.Conditions(tuple(map(str, range(n))), parameters[:n])
residuum.simulate(problem.compiled, problem.times, conditions(8), threads=1)
for line in sys.stdin:
    n, threads = map(int, line.split())
    result = residuum.simulate(problem.compiled, problem.times, conditions(n), threads=threads)
    print(int(result.ok.sum()), flush=True)
"""


def time_to_first_result(
    tool: str, end: float, files: Mapping[str, Path], *, cache: Path | None = None
) -> dict[str, float]:
    """Return wall and CPU time (ms) of a process that imports the tool and solves once, and its peak memory (MiB)."""
    values = {"FILE": str(files["net"]), "SBML": str(files.get("sbml", "")), "END": end}
    text = "import numpy as np\n" + "".join(f"{name} = {value!r}\n" for name, value in values.items())
    environment = os.environ | ({"RESIDUUM_CACHE": str(cache)} if cache else {})
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text + FIRST_RESULT[tool] + _MEMORY],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200])
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_ms": 1e3 * wall, "cpu_ms": 1e3 * cpu, "peak_mib": int(done.stdout.split()[-1]) / 1024}


class _Worker:
    """A process that holds a model and solves as many members as it is told."""

    def __init__(self, model: str, shared: Path, n: int, core: int | None) -> None:
        code = f"MODEL, SHARED, N = {model!r}, {str(shared)!r}, {n}\n{_ENSEMBLE}"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent)}
        pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=pin,
        )  # fmt: skip

    def begin(self, n: int, threads: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{n} {threads}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def thread_gain(model: str, shared: Path, n: int, repeats: int) -> dict[str, Any]:
    """Return wall times (s) of `n` members: in one thread, in two, and in two processes pinned to a core each.

    Interleaved; medians. `share` is what two threads reach of the speed of two processes, which share nothing.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("one core only")
    free, pinned = _Worker(model, shared, n, None), [_Worker(model, shared, n, core) for core in cores[:2]]
    walls: dict[str, list[float]] = {"one thread": [], "two threads": [], "two processes": []}

    def timed(name: str, jobs: Sequence[tuple[_Worker, int, int]]) -> None:
        start = time.perf_counter()
        for worker, members, threads in jobs:
            worker.begin(members, threads)
        for worker, *_ in jobs:
            worker.end()
        walls[name].append(time.perf_counter() - start)

    try:
        for _ in range(repeats + 1):  # the first round warms up
            timed("one thread", [(free, n, 1)])
            timed("two threads", [(free, n, 2)])
            timed("two processes", [(worker, n // 2, 1) for worker in pinned])
    finally:
        for worker in (free, *pinned):
            worker.close()
    medians = {name: median(times[1:]) for name, times in walls.items()}
    shares = [p / t for p, t in zip(walls["two processes"][1:], walls["two threads"][1:], strict=True)]
    return medians | {"share": median(shares), "shares": shares}
