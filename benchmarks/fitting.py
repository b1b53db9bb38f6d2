"""Time the shipped fit, exact gradients against differences. `python benchmarks/fitting.py --help`.

Writes `FITTING.md`. Everything is measured in one run, in turns: ratios hold where the machine is busy, times do not.
"""

from __future__ import annotations

import one_thread  # noqa: F401  (before anything that loads numpy)

# isort: split

import argparse
import datetime
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from problems import PROJECT
from problems import Problem as Model
from report import processor, versions
from scalar import Scalar, scalar_code

import residuum
from residuum.fitting import Problem, fit
from residuum.fitting.objective import STEP

Float = npt.NDArray[np.float64]
HERE = Path(__file__).resolve().parent
RTOLS = (1e-4, 1e-6)
"""Of SciPy's BDF; the first is the default of our engine."""


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU time of `work`, and what it returns."""
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


def in_one_thread(problem: Problem) -> Problem:
    """Return the same problem, simulated in one thread."""
    resolve, options, _, inner = problem._settings
    return Problem(problem.compiled, problem.tables, resolve=resolve, options=options, threads=1, inner=inner)


# ---- one objective with its gradient ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One simulated experiment: parameters at rest and after, and when it is measured last."""

    before: Float
    after: Float
    end: float


def runs_of(problem: Problem, thetas: Sequence[Float]) -> list[Run]:
    """Return the distinct runs that the fitted rows need at all these points."""
    experiments, frame = problem.experiments, problem.tables.measurements.frame.loc[problem.fit_rows]
    ends = frame.groupby("experimentId", sort=False)["time"].max().to_dict()
    found: dict[Any, Run] = {}
    for theta in thetas:
        for name, end in ends.items():
            course = experiments._course(name, problem.values(theta), slopes=False)
            before, after = course.parameters
            found.setdefault((experiments._timetable[name], course.key), Run(before, after, float(end)))
    return list(found.values())


@dataclass(frozen=True)
class Bdf:
    """SciPy's BDF with our jitted right-hand side and sparse Jacobian; a long run replaces the steady state."""

    model: Model
    code: Scalar
    rtol: float

    def solve(self, p: Float, amounts: Float | None, end: float) -> Float:
        """Return the amounts at `end`, NaN where it failed."""
        from scipy.integrate import solve_ivp
        from scipy.sparse import csc_matrix

        member, code, n = self.model.members(p[None])[0], self.code, self.model.compiled.n_species
        constants, entries = code.constants(member), np.empty(len(code.rows))

        def rhs(t: float, y: Float) -> Float:
            out = np.empty(n)
            code.rhs(t, y, *constants, out)
            return out

        def jacobian(t: float, y: Float) -> Any:
            code.jacobian(t, y, *constants, entries)
            return csc_matrix((entries, (code.rows, code.columns)), shape=(n, n))

        start = member.amounts if amounts is None else amounts
        atol = min(1e-10, 1e-6 * self.rtol) * self.model.scale  # as our engine's default
        done = solve_ivp(rhs, (0.0, end), start, "BDF", [end], jac=jacobian, rtol=self.rtol, atol=atol)
        return done.y[:, -1] if done.success else np.full(n, np.nan)


class Sample:
    """Some of the runs of a difference quotient, solved by others; times are extrapolated to all of them."""

    def __init__(self, problem: Problem, n: int) -> None:
        compiled = problem.compiled
        model, code = Model("aml", compiled, np.empty(0), compiled.nominal), scalar_code(compiled)
        moved = problem.scaling.step(problem.nominal, STEP)[:, None] * np.eye(problem.n_free)
        self.all = runs_of(problem, [problem.nominal, *(problem.nominal + moved)])
        self.at_one = runs_of(problem, [problem.nominal])
        self.rests = len({run.before.tobytes() for run in self.all})
        self.rests_at_one = len({run.before.tobytes() for run in self.at_one})
        chosen = np.random.default_rng(0).choice(len(self.all), n, replace=False)
        self.runs = [self.all[i] for i in chosen]
        self.tools = {rtol: Bdf(model, code, rtol) for rtol in RTOLS}
        self.rest = (problem.experiments.options or residuum.SolverOptions()).equilibration_time
        short = Bdf(model, code, RTOLS[0])
        short.solve(self.runs[0].before, None, 1e-6)  # machine code is made
        self.amounts: dict[float, list[Float]] = {}

    def seconds(self, rtol: float) -> tuple[float, float]:
        """Return the CPU time of the median run: to its rest, and from there to the end."""
        tool, rests, ends, amounts = self.tools[rtol], [], [], []
        for run in self.runs:
            to_rest, y = cpu_seconds(partial(tool.solve, run.before, None, self.rest))
            to_end, y = cpu_seconds(partial(tool.solve, run.after, y, run.end))
            rests.append(to_rest)
            ends.append(to_end)
            amounts.append(y)
        self.amounts[rtol] = amounts
        return median(rests), median(ends)

    def errors(self, problem: Problem) -> dict[str, float]:
        """Return, per tool, the largest error of a fitted readout over its largest value; rtol 1e-9 is exact."""
        names = [name for name in problem.observation.readouts if name in problem.compiled.observables]
        groups = [problem.compiled.network.observables[name] for name in names]
        species = sorted({i for group in groups for i, _ in group})
        weights = np.zeros((len(names), problem.compiled.n_species))
        for row, group in zip(weights, groups, strict=True):
            for i, weight in group:
                row[i] += weight

        def ours(rtol: float) -> Float:
            values = np.zeros((len(self.runs), problem.compiled.n_species))
            for of, run in zip(values, self.runs, strict=True):
                at_rest = residuum.Segment(
                    -math.inf, 0.0, dict(zip(problem.compiled.parameters, run.before, strict=True))
                )
                conditions = residuum.Conditions(("run",), run.after[None], (at_rest,))
                kept = [problem.compiled.species[i] for i in species]
                result = residuum.simulate(problem.compiled, [run.end], conditions, observables=kept,
                                           options=residuum.SolverOptions(rtol), threads=1)  # fmt: skip
                of[species] = result.values[0, 0]
            return values @ weights.T

        exact = ours(1e-9)
        found = {"ours": ours(1e-4)}
        found |= {f"BDF {rtol:g}": np.array(amounts) @ weights.T for rtol, amounts in self.amounts.items()}
        with np.errstate(all="ignore"):
            return {
                name: float(np.nanmax(np.abs(values - exact) / np.abs(exact).max(axis=0)))
                for name, values in found.items()
            }


@dataclass(frozen=True)
class Costs:
    """CPU seconds of the objective and of its derivatives, by the way they are had."""

    value: float
    gradient: float
    differences: float
    bdf: Mapping[float, tuple[float, float]]
    """rtol -> extrapolated: the objective, and all its forward differences."""


def objective(problem: Problem, repeats: int, runs: int, say: Callable[..., None]) -> Costs:
    """Measure one objective with its gradient, in turns, and say it."""
    sample = Sample(problem, runs)
    generator = np.random.default_rng(1)
    ways: dict[str, Callable[[Float], Any]] = {
        "value": problem.loss, "gradient": problem.loss_and_gradient,
        "differences": lambda theta: problem.jacobian(theta, differences=True),
    }  # fmt: skip
    for way in ways.values():
        way(problem.nominal)  # machine code is loaded
    taken: dict[str, list[float]] = {name: [] for name in ways}
    by_bdf: dict[float, list[tuple[float, float]]] = {rtol: [] for rtol in RTOLS}
    for _ in range(repeats):
        for name, way in ways.items():  # each at a point that has not been simulated before
            theta = problem.nominal + generator.uniform(-0.01, 0.01, problem.n_free)
            taken[name].append(cpu_seconds(partial(way, theta))[0])
        for rtol in RTOLS:
            by_bdf[rtol].append(sample.seconds(rtol))
    middle = {name: median(times) for name, times in taken.items()}
    extrapolated = {}
    for rtol, times in by_bdf.items():
        to_rest, to_end = (median(part) for part in zip(*times, strict=True))
        extrapolated[rtol] = (
            sample.rests_at_one * to_rest + len(sample.at_one) * to_end,
            sample.rests * to_rest + len(sample.all) * to_end,
        )
    errors = sample.errors(problem)
    gradient = middle["gradient"]
    say("## One objective with its gradient", "",
        f"The shipped problem: {problem.n_data} fitted rows, {problem.n_free} free parameters, {len(sample.at_one)} "
        f"runs of {problem.compiled.n_species} species at one point, {len(sample.all)} for forward differences "
        f"({sample.rests} distinct steady states), {problem.experiments.n_directions} directions of derivatives per "
        f"run. CPU s in one thread, medians of {repeats}.", "",
        "| what | how | CPU s | over the exact gradient | largest error of a readout |", "|---|---|---|---|---|",
        f"| objective | our engine, rtol 1e-4 | {middle['value']:.2g} | {middle['value'] / gradient:.2g} "
        f"| {errors['ours']:.1e} |",
        f"| objective and gradient | exact, our engine | {gradient:.2g} | 1 | {errors['ours']:.1e} |",
        f"| objective and gradient | forward differences, our engine | {middle['differences']:.2g} "
        f"| {middle['differences'] / gradient:.2g} | {errors['ours']:.1e} |",
        *(f"| objective and gradient | forward differences, SciPy BDF, rtol {rtol:g}, extrapolated | {whole:.3g} "
          f"| {whole / gradient:.3g} | {errors[f'BDF {rtol:g}']:.1e} |" for rtol, (_, whole) in extrapolated.items()),
        "",
        f"BDF solved {runs} of the {len(sample.all)} runs, drawn at random; its rows are the median CPU time of those "
        "times the number of runs (and of distinct steady states, each solved once), an extrapolation. It has our "
        f"right-hand side and sparse Jacobian as machine code; for the steady state it runs {sample.rest:.0e} s, "
        "as SciPy has no other way. Errors are those of the sampled runs, over the largest value of the readout, "
        "against rtol 1e-9. Forward steps of 1e-3 ask for errors well below 1e-3 and have an error of curvature "
        "besides; the exact gradient has neither.", "")  # fmt: skip
    return Costs(middle["value"], gradient, middle["differences"], extrapolated)


# ---- searches --------------------------------------------------------------------------------------------------------


def counted(problem: Problem, *, differences: bool = False) -> tuple[Problem, list[int]]:
    """Return the problem, its Jacobian by differences if wanted, and a list that gets the runs of each Jacobian."""
    jacobian, runs = problem.jacobian, list[int]()

    def counting(theta: Float, **settings: Any) -> Float:
        before = problem.experiments.n_simulated
        slopes = jacobian(theta, **({"differences": True} if differences else {}), **settings)
        runs.append(problem.experiments.n_simulated - before)
        return slopes

    problem.jacobian = counting  # type: ignore[method-assign]
    return problem, runs


def search(problem: Problem, starts: int, costs: Costs, limit: int, say: Callable[..., None]) -> None:
    """Time a multi-start fit of the shipped problem, and say what 50 starts take."""
    each = len(runs_of(problem, [problem.nominal]))
    problem, of_jacobians = counted(problem)
    seconds, done = cpu_seconds(lambda: fit(problem, starts=starts, seed=1, max_evaluations=limit, progress=False))
    jacobians = sum(of_jacobians) / each  # some need no run: they are to parameters of observables only
    points = problem.experiments.n_simulated / each - jacobians
    scale = 50 / starts
    say("## A fit of the shipped problem from 50 starts", "",
        f"{starts} starts, each of at most {limit} steps, took {seconds:.0f} CPU s in one thread, with the runs of "
        f"{points:.0f} objectives and {jacobians:.0f} Jacobians; "
        f"{int(done.starts['converged'].sum())} of the starts converged, lowest loss {done.loss:.4g}. "
        + ("" if starts == 50 else "All other numbers are extrapolated: 50 starts from these, the other ways from the "
           "same numbers of objectives and Jacobians at the costs above."), "",
        "| how | CPU s, 50 starts | over exact |", "|---|---|---|",
        f"| exact gradients, our engine{'' if starts == 50 else ' (extrapolated)'} | {scale * seconds:.3g} | 1 |",
        *(f"| {how} (extrapolated) | {scale * t:.3g} | {t / seconds:.3g} |" for how, t in (
            ("forward differences, our engine", points * costs.value + jacobians * costs.differences),
            *((f"forward differences, SciPy BDF, rtol {rtol:g}", points * value + jacobians * slopes)
              for rtol, (value, slopes) in costs.bdf.items()))),
        "")  # fmt: skip


def recovery(name: str, starts: int, say: Callable[..., None]) -> None:
    """Time a multi-start fit of a problem whose true parameters are known, with exact gradients and differences."""
    sys.path.insert(0, str(PROJECT / "tests"))
    from helpers import recovery_problem

    rows, times = [], []
    for how in ("exact gradients", "forward differences"):
        problem, calls = counted(recovery_problem(name)[0], differences=how != "exact gradients")
        fit(problem, starts=1, progress=False)  # machine code is made
        calls.clear()
        seconds, done = cpu_seconds(partial(fit, problem, starts=starts, seed=1, progress=False))
        ended = done.starts["converged"] & ~done.starts["failed"]
        found = int((done.starts["loss"][ended] < done.loss + 0.1).sum())
        times.append(seconds)
        rows.append(
            f"| {how} | {seconds:.3g} | {seconds / times[0]:.2g} | {sum(n > 0 for n in calls)} | {int(ended.sum())} "
            f"| {found} |"
        )
    n = f"{problem.n_free} parameters, {problem.n_data} data, {len(problem.compiled.species)} species"
    say(f"## A recovery problem from {starts} starts", "",
        f"`{name}` of the tests ({n}, rtol 1e-8), one after the other; all measured.", "",
        "| how | CPU s | over exact | Jacobians | starts that converge | of these within 0.1 of the lowest loss |",
        "|---|---|---|---|---|---|", *rows, "")  # fmt: skip


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runs", type=int, default=8, help="runs that SciPy's BDF solves of those of a difference")
    parser.add_argument(
        "--starts", type=int, default=2, help="of the shipped problem; with 50 that fit is measured to its end"
    )
    parser.add_argument("--max-evaluations", type=int, default=200, help="per start of the shipped problem")
    parser.add_argument("--recovery", default="turnover", help="which recovery problem")
    parser.add_argument("--recovery-starts", type=int, default=50)
    parser.add_argument("--out", type=Path, default=HERE / "FITTING.md")
    given = parser.parse_args()
    began, lines = time.monotonic(), list[str]()

    def say(*more: str) -> None:
        lines.extend(more)
        print("\n".join(more), flush=True)
        minutes = (time.monotonic() - began) / 60
        head = ["# Time of fitting", "",
                f"`{' '.join(['python benchmarks/fitting.py', *sys.argv[1:]])}`, {datetime.date.today().isoformat()}, "
                f"{minutes:.0f} min. {processor()}.", ", ".join(versions()) + ".", "",
                "Other work went on on the machine meanwhile: compare ratios, not times.", ""]  # fmt: skip
        given.out.write_text("\n".join([*head, *lines]).rstrip() + "\n", encoding="utf-8")

    problem = in_one_thread(residuum.aml_problem())
    costs = objective(problem, given.repeats, given.runs, say)
    recovery(given.recovery, given.recovery_starts, say)
    search(in_one_thread(problem), given.starts, costs, given.max_evaluations, say)


if __name__ == "__main__":
    main()
