"""Time a large dose matrix, and some of its runs by others. `python benchmarks/matrix.py --help`.

Writes `MATRIX.md`. The whole matrix is measured; what others would take for it follows from runs drawn at random.
"""

from __future__ import annotations

import one_thread  # noqa: F401  (before anything that loads numpy)

# isort: split

import argparse
import dataclasses
import datetime
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from measure import TARGETS, TIGHT_ATOL_FACTOR, TIGHT_RTOL, Point, Setting, cost_at, prepared, quiet
from problems import Member, Problem
from report import processor, versions
from tools import TOOLS, Lsoda, Residuum, Tool

import residuum

Float = npt.NDArray[np.float64]
HERE = Path(__file__).resolve().parent
HIGHEST = {"gilteritinib": 300.0, "trametinib": 100.0}
"""Free concentrations in nM; the other doses go down from these over two and a half decades, and to none."""
GENOTYPES = ("blast-itd", "blast-wt", "blast-itd-nras", "blast-d835y")
STROMA = ("", "+erk-stroma", "+stat5-stroma")
READOUTS = ("pERK", "pSTAT5")
TIMES = (7200.0, 86_400.0)
RTOLS = (1e-2, 1e-3, 1e-4, 1e-6)
"""Of residuum; 1e-4 is its default."""
OF_OTHERS = (1e-4, 1e-6)
"""Of others, with absolute tolerances that follow the rule of our default; LSODA's own default is 1.5e-8."""
SLICE = 2
"""Members and contexts of the part of the matrix on which residuum is measured at several tolerances."""


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU time of `work`, and what it returns."""
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


@dataclass(frozen=True)
class Job:
    """The matrix: which cells, which doses."""

    n_doses: int
    contexts: Sequence[str]
    members: int

    @cached_property
    def ensemble(self) -> residuum.Ensemble:
        """The first members of the shipped ensemble, with equal weights."""
        shipped = residuum.aml_ensemble()
        return dataclasses.replace(shipped, values=shipped.values[: self.members], weights=np.ones(self.members))

    @property
    def doses(self) -> dict[str, Float]:
        """Drug -> doses."""
        return {
            drug: np.array([0.0, *np.geomspace(highest / 300, highest, self.n_doses - 1)])
            for drug, highest in HIGHEST.items()
        }

    @property
    def n_cells(self) -> int:
        """Members in contexts: so many steady states."""
        return self.members * len(self.contexts)

    @property
    def n_runs(self) -> int:
        """Runs under drugs, the untreated controls left out."""
        return self.n_cells * self.n_doses ** len(HIGHEST)

    def run(self, threads: int, *, rtol: float = 1e-4, progress: bool = False) -> residuum.DoseMatrix:
        """Return the matrix."""
        return residuum.dose_matrix(
            residuum.aml_model(), self.doses, list(self.contexts), READOUTS, TIMES, ensemble=self.ensemble,
            options=residuum.SolverOptions(rtol), threads=threads, progress=progress,
        )  # fmt: skip

    def part(self) -> Job:
        """Return a part with all doses, small enough to be measured several times."""
        return Job(self.n_doses, self.contexts[:SLICE], min(self.members, SLICE))


class Sample:
    """Some runs of the matrix: their parameters at rest and under drugs."""

    def __init__(self, job: Job, n: int) -> None:
        self.compiled, self.job = residuum.aml_model(), job
        shape = (job.members, len(job.contexts), *([job.n_doses] * len(HIGHEST)))
        chosen = np.random.default_rng(0).choice(job.n_runs, min(n, job.n_runs), replace=False)
        self.places = list(zip(*map(np.ndarray.tolist, np.unravel_index(chosen, shape)), strict=True))
        conditions = [self._condition(*place) for place in self.places]
        dosed = np.vstack([c.parameters for c in conditions])
        rest = dosed.copy()
        for name in conditions[0].protocol[0].set:
            rest[:, self.compiled.parameter_index(name)] = 0.0
        self.problem = Problem("aml", self.compiled, np.array([0.0, *TIMES]), dosed[0], large=True)
        self.at_rest, self.dosed = self.problem.members(rest), self.problem.members(dosed)
        self.conditions = residuum.Conditions(tuple(map(str, self.places)), dosed, conditions[0].protocol)
        self.fixed = np.array(self.compiled.network.fixed)
        self.weights = np.zeros((len(READOUTS), self.compiled.n_species))
        for row, name in zip(self.weights, READOUTS, strict=True):
            for i, weight in self.compiled.network.observables[name]:
                row[i] += weight

    def _condition(self, member: int, context: int, *doses: int) -> residuum.Conditions:
        name, values = self.job.contexts[context], self.job.ensemble.members()[member]
        given = {drug: float(axis[i]) for (drug, axis), i in zip(self.job.doses.items(), doses, strict=True)}
        return residuum.aml_conditions([name], given, changes=residuum.aml_fitted(values, name, tuple(given)))

    def solved(
        self, tool: Tool, members: Sequence[Member], times: Sequence[float], setting: Setting
    ) -> tuple[float, list[Float]]:
        """Return the CPU time per run, and the amounts (n_times, n_species) of each; NaN where it failed.

        Of a tool that solves many in one call, what the call costs by itself does not count.
        """
        atol = min(1e-10, setting.atol_factor * setting.rtol) * self.problem.scale

        def called(these: Sequence[Member], at: Sequence[float]) -> tuple[float, list[Float]]:
            with quiet():
                return cpu_seconds(lambda: tool.run_all(list(these), np.array(at), setting.rtol, atol))

        call = called(members[:1], (0.0, 1e-3))[0] if tool.batches else 0.0
        seconds, amounts = called(members, times)
        return (seconds - call) / len(members), amounts

    def rests(self, tool: Tool, setting: Setting) -> tuple[float, Float]:
        """Return the CPU time per run, and the amounts (n, n_species) at rest.

        That is where a run of the longest time granted to our equilibration ends: others have no shorter way.
        """
        seconds, amounts = self.solved(tool, self.at_rest, (0.0, residuum.SolverOptions().equilibration_time), setting)
        return seconds, np.array([course[-1] for course in amounts])

    def ends(self, tool: Tool, setting: Setting, rest: Float) -> tuple[float, Float]:
        """Return the CPU time per run and the readouts (n, n_times, n_readouts) under drugs, from the rest on."""
        starts = [
            member._replace(amounts=np.where(self.fixed, member.amounts, y))
            for member, y in zip(self.dosed, rest, strict=True)
        ]
        seconds, amounts = self.solved(tool, starts, (0.0, *TIMES), setting)
        return seconds, np.array([course[1:] @ self.weights.T for course in amounts])

    def ours(self, rtol: float) -> Float:
        """Return the readouts by residuum (n, n_times, n_readouts)."""
        result = residuum.simulate(self.compiled, TIMES, self.conditions, observables=READOUTS,
                                   options=residuum.SolverOptions(rtol), threads=1)  # fmt: skip
        return result.values

    @cached_property
    def controls(self) -> Float:
        """Readouts of the untreated cells (n, 1, n_readouts)."""
        rest = np.array([member.parameters for member in self.at_rest])
        found = residuum.steady_state(self.compiled, residuum.Conditions(self.conditions.names, rest),
                                      observables=READOUTS, options=residuum.SolverOptions(TIGHT_RTOL))  # fmt: skip
        return found.values

    def errors(self, values: Float, exact: Float) -> list[float]:
        """Return, per run, the largest error of a readout as a fraction of its control; infinite where it failed."""
        off = np.max(np.abs(values - exact) / self.controls, axis=(1, 2))
        return np.where(np.isfinite(off), off, np.inf).tolist()


# ---- what is measured ------------------------------------------------------------------------------------------------


def peak() -> float:
    """Return the largest memory that the process has held (MiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def whole(job: Job, threads: int, say: Callable[..., None]) -> tuple[float, residuum.DoseMatrix]:
    """Run the whole matrix, say what it took, and return its CPU time and the matrix."""
    job.part().run(1)  # machine code is loaded
    before, began = peak(), time.perf_counter()
    seconds, matrix = cpu_seconds(lambda: job.run(threads, progress=sys.stderr.isatty()))
    wall, after, told = time.perf_counter() - began, peak(), matrix.dataset.attrs
    n = int(told["n_runs"])
    failures = f"{int(told['n_failed'])} of {n:,} runs failed, {int(told['n_pending'])} were not done"
    say("## The whole matrix", "",
        f"{' x '.join(str(len(axis)) for axis in job.doses.values())} doses ({', '.join(job.doses)}) x "
        f"{len(job.contexts)} contexts ({', '.join(job.contexts)}) x {job.members} members of the shipped ensemble: "
        f"{job.n_runs:,} runs and {job.n_cells:,} untreated controls of {residuum.aml_model().n_species} species; "
        f"steady state without drugs, then {TIMES[-1] / 3600:g} h with them; {', '.join(READOUTS)} at "
        f"{' and '.join(f'{t / 3600:g} h' for t in TIMES)}. One call of `residuum.dose_matrix` with default options "
        f"in {threads} {'thread' if threads == 1 else 'threads'}; all measured.", "",
        "| CPU s | CPU ms per run | wall s | peak memory, MiB | of that before the call | failures |",
        "|---|---|---|---|---|---|",
        f"| {seconds:.4g} | {1e3 * seconds / n:.3g} | {wall:.4g} | {after:.0f} | {before:.0f} | {failures} |",
        "", f"In the words of the matrix: {told['failures']}.", "")  # fmt: skip
    return seconds, matrix


def beside(job: Job, seconds: float, matrix: residuum.DoseMatrix, sample: Sample, names: Sequence[str], turns: int,
           say: Callable[..., None]) -> None:  # fmt: skip
    """Solve the sample by others, in turns with ours, and say what the whole matrix would take at equal error."""
    ours, checker, part = Residuum(), Lsoda(), job.part()
    asked = [TOOLS[name]() for name in names]
    for tool in (*asked, checker):
        tool.most_steps, tool.most_seconds = 100_000, None
    checker.prepare(sample.problem)
    sample.solved(checker, sample.dosed[:1], (0.0, 1.0), Setting(1e-4, 1e-6))  # machine code is made
    tools, reasons = prepared(asked, sample.problem)
    for tool in tools:
        sample.solved(tool, sample.dosed[:1], (0.0, 1.0), Setting(1e-4, 1e-6))
    exact, tight = sample.ours(TIGHT_RTOL), Setting(TIGHT_RTOL, TIGHT_ATOL_FACTOR)
    agreement = max(sample.errors(sample.ends(checker, tight, sample.rests(checker, tight)[1])[1], exact))

    points = [Point(ours, Setting(rtol, 1e-6), job.n_runs, errors=sample.errors(sample.ours(rtol), exact))
              for rtol in RTOLS]  # fmt: skip
    by_others = [Point(tool, Setting(rtol, 1e-6), job.n_runs) for tool in tools for rtol in OF_OTHERS]
    rests = {id(point): sample.rests(point.tool, point.setting) for point in by_others}
    ends: dict[int, list[float]] = {id(point): [] for point in by_others}
    for _ in range(turns):
        for point in points:
            rtol = point.setting.rtol
            point.cpu.append(cpu_seconds(lambda rtol=rtol: part.run(1, rtol=rtol))[0] / part.n_runs)
        for point in by_others:
            to_rest, amounts = rests[id(point)]
            to_end, values = sample.ends(point.tool, point.setting, amounts)
            ends[id(point)].append(to_end)
            point.cpu.append(to_end + to_rest * job.n_cells / job.n_runs)
            point.errors = sample.errors(values, exact)

    made = points[RTOLS.index(1e-4)].cost
    rows = []
    for point in (*points, *by_others):
        name, cost, apart = f"{point.tool.name}, rtol {point.setting.rtol:g}", point.cost, "- | -"
        if id(point) in ends:
            apart = f"{1e3 * median(ends[id(point)]):.3g} | {1e3 * rests[id(point)][0]:.3g}"
        failed = sum(not np.isfinite(e) for e in point.errors)
        rows.append(f"| {name} | {apart} | {1e3 * cost:.3g} | {cost * job.n_runs / 3600:.3g} "
                    f"| {cost / made:.3g} | {point.error(0.5):.1e} | {point.error(1.0):.1e} | {failed} |")  # fmt: skip
    of_whole = _errors_of(matrix, sample, exact)
    say("## Beside others, on a sample", "",
        f"{len(sample.dosed)} of the {job.n_runs:,} runs, drawn at random, by each tool in one thread; means over the "
        f"runs, medians of {turns} turns (1 for the way to the rest), extrapolated to all. Each of the "
        f"{job.n_cells:,} cells is counted as brought to its rest once, by all. residuum (one thread) is measured on "
        f"all doses of {part.members} members in {len(part.contexts)} contexts, {part.n_runs} runs with their "
        "equilibrations and controls in one call, as it is used.", "",
        "| tool | ms from rest to end | ms to rest, per cell | CPU ms per run, rest included "
        "| CPU h for all | over residuum's default | median error | largest error | failed |",
        "|---|---|---|---|---|---|---|---|---|", *rows, "",
        "The error of a run is the largest of a readout at a time over the untreated control: an error of the "
        f"residual. Exact is residuum at rtol {TIGHT_RTOL:g}; SciPy's LSODA with our rates at the same, from its own "
        f"rest, differs by {agreement:.1e} at most. The whole matrix above is off by {max(of_whole):.1e} "
        "at most at these runs.", "",
        *_at_equal_error([*points, *by_others], tools),
        *_extrapolated(points[RTOLS.index(1e-4)], by_others, job, seconds),
        f"Others are given {residuum.SolverOptions().equilibration_time:.0e} s to come to rest, as long as ours may "
        "take: they have no other way to a steady state. PySB is its `ScipyOdeSimulator` with LSODA and the right-hand "
        "side compiled by Cython, without a Jacobian, as its users have it; all runs in one call, whose own cost "
        "(seconds of symbolic work) does not count; derived parameters are numbers for it. Absolute tolerances are "
        "1e-6 rtol of the largest amount, at most 1e-10 "
        "of it.", *(f"Left out: {name}: {reason}." for name, reason in reasons.items()), "")  # fmt: skip


def _errors_of(matrix: residuum.DoseMatrix, sample: Sample, exact: Float) -> list[float]:
    values = matrix.dataset["value"].to_numpy()
    return sample.errors(np.array([values[place] for place in sample.places]), exact)


def _at_equal_error(points: Sequence[Point], tools: Sequence[Tool]) -> list[str]:
    """Return the table of times at equal largest errors, read off the lines between the settings above."""
    found: Mapping[str, list[Any]] = {
        name: [cost_at([p for p in points if p.tool.name == name], 1.0, target) for target in TARGETS]
        for name in ("residuum", *(tool.name for tool in tools))
    }
    rows = []
    for name, costs in found.items():
        cells = []
        for cost, mine in zip(costs, found["residuum"], strict=True):
            if cost is None or mine is None:
                cells += ["-", "-"]
                continue
            ratio = f"{'≤ ' * cost.bound}{'≥ ' * mine.bound}{cost.cost / mine.cost:.3g}"
            cells += [f"{'≤ ' * cost.bound}{1e3 * cost.cost:.3g}", "-" if cost.bound and mine.bound else ratio]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    heads = " | ".join(f"ms at E {target:g} | ratio" for target in TARGETS)
    return ["At equal largest error E, CPU ms per run:", "", f"| tool | {heads} |", "|---|" + "---|" * 2 * len(TARGETS),
            *rows, "",
            '"≤": more accurate than E at any setting tried; "-": not known, or never there.', ""]  # fmt: skip


def _extrapolated(default: Point, by_others: Sequence[Point], job: Job, seconds: float) -> list[str]:
    """Return what the whole would take by each tool over what it took, at its fastest setting that is exact enough."""
    allowed = max(default.error(1.0), min(TARGETS))
    best: dict[str, Point] = {}
    for point in sorted(by_others, key=lambda point: -point.cost):
        if point.error(1.0) <= allowed:
            best[point.tool.name] = point
    return [
        line
        for name, point in best.items()
        for line in (
            f"For the whole matrix {name} at rtol {point.setting.rtol:g}, its fastest setting with errors up to "
            f"{allowed:.1e}, would take {point.cost * job.n_runs / 3600:.3g} CPU h: "
            f"**{point.cost * job.n_runs / seconds:.3g} times** what the whole took above.",
            "",
        )
    ]


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doses", type=int, default=10, help="of each drug")
    parser.add_argument("--genotypes", type=int, default=4, choices=range(1, 5))
    parser.add_argument("--stroma", type=int, default=3, choices=range(1, 4), help="the first is none")
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for the whole matrix")
    parser.add_argument("--sample", type=int, default=12, help="runs that are solved by others")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tools", nargs="+", default=["PySB", "CVODE sparse + our rates"], choices=TOOLS)
    parser.add_argument("--out", type=Path, default=HERE / "MATRIX.md")
    given = parser.parse_args()
    began, lines = time.monotonic(), list[str]()

    def say(*more: str) -> None:
        lines.extend(more)
        print("\n".join(more), flush=True)
        minutes, busy = (time.monotonic() - began) / 60, os.getloadavg()[2]
        head = ["# A large dose matrix", "",
                f"`{' '.join(['python benchmarks/matrix.py', *sys.argv[1:]])}`, {datetime.date.today().isoformat()}, "
                f"{minutes:.0f} min. {processor()}, {os.cpu_count()} cores.", ", ".join(versions()) + ".", "",
                f"On average {busy:.0f} processes wanted the cores meanwhile. CPU times are those of the process "
                "alone, but beside others it computes more slowly: compare ratios.", ""]  # fmt: skip
        given.out.write_text("\n".join([*head, *lines]).rstrip() + "\n", encoding="utf-8")

    contexts = [genotype + stroma for genotype in GENOTYPES[: given.genotypes] for stroma in STROMA[: given.stroma]]
    job = Job(given.doses, contexts, given.members)
    seconds, matrix = whole(job, given.threads, say)
    beside(job, seconds, matrix, Sample(job, given.sample), given.tools, given.turns, say)


if __name__ == "__main__":
    main()
