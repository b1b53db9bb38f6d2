"""Tools and members in; CPU time and error of every setting out, and from them the time at equal error."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from problems import Member, Problem, global_error
from tools import Tool

Float = npt.NDArray[np.float64]
TARGETS = (1e-3, 1e-5)
"""Errors E at which tools are compared."""
AGREEMENT = 0.1 * min(TARGETS)
"""Two integrators have to agree to this E for a reference to count."""
TIGHT_RTOL, TIGHT_ATOL_FACTOR, TIGHT_STEPS = 1e-10, 1e-6, 1_000_000
"""Tolerances of a reference: relative, and absolute as in `Setting`; steps it may take."""
BATCH = 48
"""Members that a tool made for many solves per setting, before the settings of interest are known."""
HOPELESS = 10.0
"""A setting that costs this many times what rtol 1e-5 does is too loose for the tool: it is not tried further."""
SLOW = 0.15
"""A tool that takes longer than this per trajectory (s) is tried at fewer settings."""


class Setting(NamedTuple):
    """Tolerances: relative, and absolute as a fraction of rtol times the largest amount at the start."""

    rtol: float
    atol_factor: float


FEW_SETTINGS = tuple(Setting(10.0**-e, 1e-6) for e in (3, 5, 7))


def all_settings(loosest: float) -> tuple[Setting, ...]:
    """Return six decades of rtol, each with two absolute tolerances."""
    return tuple(Setting(loosest * 10.0**-e, factor) for e in range(6) for factor in (1e-3, 1e-6))


@dataclass
class Point:
    """One tool at one setting."""

    tool: Tool
    setting: Setting
    n: int
    """Trajectories per timing."""
    cpu: list[float] = field(default_factory=list)
    """CPU time per trajectory (s), one per repeat."""
    wall: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    """E of each member that has a reference; infinite where the run failed."""

    def error(self, share: float) -> float:
        """Return the error that `share` of the members stay below."""
        return float(np.quantile(self.errors, share, method="higher"))

    @property
    def cost(self) -> float:
        """Median CPU time per trajectory (s)."""
        return median(self.cpu)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what compiled libraries print, which also takes time."""
    kept, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1), os.dup2(nowhere, 2)
    try:
        yield
    finally:
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream), os.close(copy)
        os.close(nowhere)


def prepared(tools: Sequence[Tool], problem: Problem) -> tuple[list[Tool], dict[str, str]]:
    """Return the tools that can solve the problem, and why the others cannot."""
    ready, reasons = [], {}
    for tool in tools:
        try:
            with quiet():
                tool.prepare(problem)
            _try_in_child(tool, problem)
            ready.append(tool)
        except ModuleNotFoundError as error:
            reasons[tool.name] = f"not installed ({error})"
        except Exception as error:
            reasons[tool.name] = f"{type(error).__name__}: {error}"[:200]
    return ready, reasons


def _try_in_child(tool: Tool, problem: Problem) -> None:
    """Raise if one run fails, or crashes, in a process of its own."""
    member = problem.members(problem.nominal[None])[0]
    child = os.fork()
    if child == 0:
        with quiet(), contextlib.suppress(BaseException):
            values = tool.run(member, problem.times, 1e-6, 1e-9 * problem.scale)
            os._exit(0 if np.all(np.isfinite(values)) else 3)
        os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise RuntimeError({2: "the run raises", 3: "the run is not finite"}.get(code, f"crashes (signal {-code})"))


def references(
    first: Tool, second: Tool, problem: Problem, members: Sequence[Member], agreement: float = AGREEMENT
) -> list[Float | None]:
    """Return a tight solution per member; None where two integrators do not agree on it to E = `agreement`."""
    atol = TIGHT_RTOL * TIGHT_ATOL_FACTOR * problem.scale
    pair = []
    for tool in (first, second):
        tool.most_steps, tool.most_seconds = TIGHT_STEPS, None
        with quiet():
            pair.append(tool.run_all(list(members), problem.times, TIGHT_RTOL, atol))
        del tool.most_steps, tool.most_seconds
    return [a if global_error(b, a) <= agreement else None for a, b in zip(*pair, strict=True)]


def timed(point: Point, problem: Problem, members: Sequence[Member], reference: Sequence[Float | None],
          seconds: float = math.inf) -> None:  # fmt: skip
    """Solve the point's members once more; add the times, and the errors if this is the first time."""
    setting = point.setting
    chosen = list(members[: point.n])
    atol = setting.rtol * setting.atol_factor * problem.scale
    with quiet():
        wall, cpu = time.perf_counter(), time.process_time()
        results = point.tool.run_all(chosen, problem.times, setting.rtol, atol, seconds)
        point.cpu.append((time.process_time() - cpu) / point.n)
        point.wall.append((time.perf_counter() - wall) / point.n)
    if not point.errors:
        pairs = zip(results, reference, strict=False)
        point.errors = [global_error(values, tight) for values, tight in pairs if tight is not None]


def scan(tool: Tool, problem: Problem, members: Sequence[Member], reference: Sequence[Float | None],
         seconds: float, settings: Sequence[Setting] | None = None) -> list[Point]:  # fmt: skip
    """Return the tool's work-precision curve from one run per setting, each of about `seconds`."""
    least = len(reference)
    for _ in range(2):  # the first call may still load or compile something
        trial = Point(tool, Setting(1e-5, 1e-6), 1)
        timed(trial, problem, members, [])
    each = trial.cost
    if settings is None:
        settings = FEW_SETTINGS if each > SLOW else all_settings(tool.loosest)
    n = min(BATCH, len(members)) if tool.batches else int(np.clip(seconds / each, least, len(members)))
    points = []
    for setting in settings:
        point = Point(tool, setting, least)
        timed(point, problem, members, reference, HOPELESS * each * least)
        if n > least and point.cost < HOPELESS * each:
            point = Point(tool, setting, n)
            timed(point, problem, members, reference)
        points.append(point)
    return points


def front(points: Sequence[Point], share: float) -> list[Point]:
    """Return the points that no other beats in both time and error, the most accurate first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.error(share), p.cost)):
        if math.isfinite(point.error(share)) and (not best or point.cost < best[-1].cost):
            best.append(point)
    return best


def bracket(points: Sequence[Point], share: float, target: float) -> list[Point]:
    """Return the one or two points of the front from which the time at an error of `target` follows."""
    best = front(points, share)
    inside = [point for point in best if point.error(share) <= target]
    outside = [point for point in best if point.error(share) > target]
    return inside[-1:] + outside[:1] if inside else []


class AtError(NamedTuple):
    """CPU time per trajectory (s) at an error; `bound` if the tool is more accurate than that at any setting tried."""

    cost: float
    bound: bool


def cost_at(points: Sequence[Point], share: float, target: float) -> AtError | None:
    """Return the time at an error of `target`, on straight lines between points in logarithms; None if not reached."""
    near = bracket(points, share, target)
    if not near:
        return None
    if len(near) == 1:
        return AtError(near[0].cost, True)
    (e1, c1), (e2, c2) = ((math.log(max(p.error(share), 1e-16)), math.log(p.cost)) for p in near)
    return AtError(math.exp(c1 + (c2 - c1) * (math.log(target) - e1) / (e2 - e1)), False)
