"""Measure residuum and its peers side by side: CPU time at equal error. `python benchmarks/run.py --help`.

Writes `results.jsonl` (one line per measurement), `RESULTS.md` (what follows from them) and `figures/`. Everything is
measured in one run: tools take turns within each repeat, so that a slow minute of the machine is slow for all.
"""

from __future__ import annotations

import one_thread  # noqa: F401  (before anything that loads numpy)

# isort: split

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from exports import sbml
from fresh import FIRST_RESULT, thread_gain, time_to_first_result
from measure import TARGETS, Point, Setting, bracket, prepared, quiet, references, scan, timed
from problems import MODELS, SHARED, Problem
from report import write_report
from robustness import robustness
from tools import TOOLS, Cvode, Lsoda, OneByOne, Residuum, Tool

import residuum

HERE = Path(__file__).resolve().parent
SHARES = (0.5, 0.9)
"""Times are given at the error that this share of the members stay below."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    members: int
    checked: int
    """Members with a reference, solved by every tool."""
    repeats: int
    seconds: float
    """Per tool, setting and repeat."""


SMALL = Effort(members=1000, checked=20, repeats=5, seconds=0.1)
LARGE = Effort(members=100, checked=6, repeats=3, seconds=0.3)
QUICK = Effort(members=16, checked=2, repeats=1, seconds=0.01)


@dataclass
class Measurements:
    """Everything that was measured."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    """(case, model) -> every tool at every setting, once."""
    chosen: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    """(case, model) -> the settings next to the errors of interest, repeated."""
    checked: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """(case, model) -> how many references count, of how many."""
    attempts: dict[tuple[str, str], Any] = field(default_factory=dict)
    """(case, model) -> attempted steps of each member: how hard it is for residuum."""
    left_out: list[str] = field(default_factory=list)
    others: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Cases without an error: name -> numbers."""

    def add(self, case: str, **numbers: Any) -> None:
        """Keep the numbers of a case that has no work-precision curve."""
        self.others.setdefault(case, []).append(numbers)
        self.rows.append({"case": case, **numbers})

    def attempt(self, what: str, job: Callable[[], Any]) -> Any:
        """Return what `job` returns, or None after noting why it could not."""
        try:
            start = time.perf_counter()
            result = job()
            print(f"{what}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            return result
        except Exception as error:
            self.left_out.append(f"{what}: {type(error).__name__}: {error}"[:300])
            print(self.left_out[-1], file=sys.stderr, flush=True)
            return None


def compare(found: Measurements, case: str, problem: Problem, parameters: Any, tools: Sequence[Tool], second: Tool,
            effort: Effort, settings: dict[str, Sequence[Setting]] | None = None) -> None:  # fmt: skip
    """Measure every tool on the same parameter sets: all settings once, those near the targets again in turns."""
    members = problem.members(parameters)
    first = tools[0]
    checked = references(first, second, problem, members[: 1 if case == "single run" else effort.checked])
    key = case, problem.name
    found.checked[key] = sum(tight is not None for tight in checked), len(checked)
    if not found.checked[key][0]:
        raise RuntimeError("no reference: two integrators do not agree on any member")
    curve = [
        point
        for tool in tools
        for point in scan(tool, problem, members, checked, effort.seconds, (settings or {}).get(tool.name))
    ]
    chosen: dict[tuple[str, Setting], Point] = {}
    for tool in tools:
        mine = [point for point in curve if point.tool is tool]
        for share in SHARES:
            for target in TARGETS:
                for p in bracket(mine, share, target):
                    n = len(members) if tool.batches else p.n
                    chosen[tool.name, p.setting] = Point(tool, p.setting, n, errors=p.errors)
    for _ in range(effort.repeats):
        for point in chosen.values():
            timed(point, problem, members, checked)
    names = tuple(map(str, range(len(members))))
    found.attempts[key] = residuum.simulate(
        problem.compiled, problem.times, residuum.Conditions(names, parameters), threads=1
    ).statistics["attempts"]
    found.curves[key], found.chosen[key] = curve, list(chosen.values())
    found.rows += [
        {
            "case": case, "model": problem.name, "tool": p.tool.name, "version": p.tool.version, "threads": 1,
            "n": p.n, "cpu_ms": 1e3 * p.cost, "wall_ms": 1e3 * float(np.median(p.wall)), "error": p.error(0.5),
            "error_90": p.error(0.9), "rtol": p.setting.rtol, "atol_factor": p.setting.atol_factor,
            "failed": sum(not np.isfinite(e) for e in p.errors), "repeats": len(p.cpu),
            "cpu_ms_all": [1e3 * cpu for cpu in p.cpu],
        }
        for p in (*curve, *chosen.values())
    ]  # fmt: skip


def measure_model(found: Measurements, name: str, arguments: argparse.Namespace, folder: Path) -> Problem | None:
    """Measure single run, ensemble and dose matrix of one model."""
    problem = found.attempt(f"{name}: load", lambda: MODELS[name](arguments.shared))
    if problem is None:
        return None
    effort = QUICK if arguments.quick else LARGE if problem.large else SMALL
    problem.files["net"] = folder / f"{name}.net"
    problem.files["net"].write_text(problem.compiled.network.text, encoding="utf-8")
    names = [tool for tool in TOOLS if tool in arguments.tools]
    tools, reasons = prepared([TOOLS[tool]() for tool in names], problem)
    found.left_out += [f"{name}: {tool}: {reason}" for tool, reason in reasons.items()]
    if problem.name == "earm_1_0":
        problem.files["sbml"] = folder / f"{name}.xml"
        found.attempt(f"{name}: SBML", lambda: problem.files["sbml"].write_text(sbml(problem.compiled)))
    second = next(tool for kind in (Cvode, Lsoda) for tool in tools if type(tool) is kind)
    alone = OneByOne()
    alone.prepare(problem)
    few = Effort(200, 1, effort.repeats, effort.seconds / 3)
    nominal = np.tile(problem.nominal, (few.members, 1))
    one_by_one = [alone if isinstance(tool, Residuum) else tool for tool in tools]
    found.attempt(f"{name}: single run",
                  lambda: compare(found, "single run", problem, nominal, one_by_one, second, few))  # fmt: skip
    spread = problem.spread(effort.members, 3.0, seed=1)
    found.attempt(f"{name}: ensemble",
                  lambda: compare(found, "ensemble", problem, spread, tools, second, effort))  # fmt: skip
    if problem.matrix is not None:
        settings: dict[str, list[Setting]] = {}
        for point in found.chosen.get(("ensemble", name), []):
            settings.setdefault(point.tool.name, []).append(point.setting)
        rows = np.random.default_rng(1).permutation(len(problem.matrix))  # the first ones are checked: any doses
        doses, known = problem.matrix[rows], [tool for tool in tools if tool.name in settings]
        found.attempt(f"{name}: dose matrix",
                      lambda: compare(found, "dose matrix", problem, doses, known, second, effort, settings),
                      )  # fmt: skip
    return problem


def steady_states(found: Measurements, problem: Problem, n: int, repeats: int) -> None:
    """Bring random members to steady state; this package only."""
    names = tuple(map(str, range(n)))
    conditions = residuum.Conditions(names, problem.spread(n, 3.0, seed=1))
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = residuum.steady_state(problem.compiled, conditions, threads=1)
        times.append(1e3 * (time.process_time() - start) / n)
    found.add("steady state", model=problem.name, tool="residuum", n=n, cpu_ms=float(np.median(times)),
              reached=int(result.ok.sum()))  # fmt: skip


def gradients(found: Measurements, problem: Problem, n: int, n_parameters: int, repeats: int) -> None:
    """Time forward sensitivities against the same runs without, at default tolerance; this package only."""
    model, names = problem.compiled, tuple(map(str, range(n)))
    conditions = residuum.Conditions(names, problem.spread(n, 1.5, seed=1))
    free = [
        name
        for name, value in zip(model.parameters, problem.nominal, strict=True)
        if value and name not in model.frozen
    ]
    wanted = free[:n_parameters]
    times: dict[bool, list[float]] = {False: [], True: []}
    attempts: dict[bool, int] = {}
    for repeat in range(repeats + 1):  # the first one may load or compile
        for slopes, kept in times.items():
            start = time.process_time()
            result = residuum.simulate(
                model, problem.times, conditions, sensitivities=wanted if slopes else (), threads=1
            )
            attempts[slopes] = int(result.statistics["attempts"].sum())
            kept += [1e3 * (time.process_time() - start) / n] if repeat else []
    plain, with_slopes = (float(np.median(times[slopes])) for slopes in (False, True))
    found.add("gradient", model=problem.name, tool="residuum", n=n, n_parameters=len(wanted), cpu_ms=with_slopes,
              cpu_ms_without=plain, per_parameter=(with_slopes / plain - 1) / len(wanted),
              attempts=attempts[True] / attempts[False], failed=int((~result.ok).sum()))  # fmt: skip


def whole_matrix(found: Measurements, repeats: int) -> None:
    """Time `residuum.dose_matrix` as a user calls it, pre-equilibration and labels included."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        matrix = residuum.dose_matrix(
            residuum.aml_model(),
            {"gilteritinib": [0.0, *np.geomspace(1, 300, 9)], "trametinib": [0.0, *np.geomspace(0.3, 100, 9)]},
            ["blast-itd", "blast-itd+erk-stroma"], ["pERK", "pSTAT5"], [7200.0, 86_400.0], threads=1,
        )  # fmt: skip
        times.append(1e3 * (time.process_time() - start))
    found.add("dose_matrix call", model="aml", tool="residuum", n=200, cpu_ms=float(np.median(times)),
              failed=int(matrix.dataset.attrs["n_failed"]))  # fmt: skip


def first_results(found: Measurements, problem: Problem, folder: Path, repeats: int) -> None:
    """Time fresh processes: residuum without and with cached machine code, its peers on EARM as they come."""
    cases = [("residuum", "warm")]
    if problem.name == "earm_1_0":
        cases = [("residuum", "cold"), *((tool, "warm") for tool in FIRST_RESULT)]
    for tool, caches in cases:
        cold = Path(tempfile.mkdtemp(dir=folder)) if caches == "cold" else None
        for _ in range(repeats if cold is None else 1):
            numbers = time_to_first_result(tool, float(problem.times[-1]), problem.files, cache=cold)
            found.add("time to first result", model=problem.name, tool=tool, caches=caches, n=1, **numbers)


def robust(found: Measurements, problem: Problem, n: int, n_checked: int, second: Tool) -> None:
    """Solve wide random parameter sets at default tolerance and judge them."""
    first = Residuum()
    with quiet():
        first.prepare(problem), second.prepare(problem)
    found.add("robustness", tool="residuum", **robustness(problem, n, n_checked, first, second))


def measure_others(
    found: Measurements, problems: dict[str, Problem], arguments: argparse.Namespace, folder: Path
) -> None:
    """Measure what has no work-precision curve."""
    quick = arguments.quick
    repeats = 1 if quick else 5
    second = Cvode if Cvode.name in arguments.tools else Lsoda
    checks = {"robertson": (8, 8)} if quick else {"earm_1_0": (10_000, 500), "aml": (200, 200)}
    for name, problem in problems.items():
        jobs: dict[str, Callable[[], None]] = {}
        if name in ("multistate", "egfr_net", "aml"):
            jobs["steady state"] = lambda p=problem: steady_states(found, p, 8 if quick else 100, min(repeats, 3))
        if name in ("earm_1_0", "egfr_net", "aml"):
            jobs["gradient"] = lambda p=problem: gradients(found, p, 8 if quick else 48, 32, min(repeats, 3))
        if name == "aml":
            jobs["dose_matrix"] = lambda: whole_matrix(found, min(repeats, 3))
        if name in checks:
            jobs["robustness"] = lambda p=problem: robust(found, p, *checks[p.name], second())
        if name in ("earm_1_0", "egfr_net", "aml") and not quick:
            jobs["time to first result"] = lambda p=problem: first_results(found, p, folder, repeats)
        if name in ("earm_1_0", "aml") and not quick:
            n = 400 if problem.large else 4000
            jobs["threads"] = lambda p=problem, n=n: found.add(
                "threads", model=p.name, tool="residuum", n=n, **thread_gain(p.name, arguments.shared, n, repeats)
            )
        for job, measure in jobs.items():
            found.attempt(f"{name}: {job}", measure)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its numbers mean nothing")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--shared", type=Path, default=HERE.parent / SHARED, help="folder of published networks")
    parser.add_argument("--out", type=Path, default=HERE, help="where results.jsonl, RESULTS.md and figures/ go")
    arguments = parser.parse_args(argv)
    arguments.tools = list(dict.fromkeys([Residuum.name, Lsoda.name, *arguments.tools]))
    found, started = Measurements(), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        problems = {name: measure_model(found, name, arguments, folder) for name in arguments.models}
        measure_others(found, {name: p for name, p in problems.items() if p is not None}, arguments, folder)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "results.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in found.rows)
    command = " ".join(["python benchmarks/run.py", *(argv if argv is not None else sys.argv[1:])])
    write_report(found, arguments.out, command, time.perf_counter() - started)
    return 0


if __name__ == "__main__":
    sys.exit(main())
