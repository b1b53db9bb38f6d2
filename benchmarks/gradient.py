"""Nothing goes in; CPU time of one objective and of its gradient, exact and by differences, out, for the shipped fit.

The fit is timed as it is, and with more rate constants free: `python benchmarks/gradient.py 0 20 60`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

import residuum
from residuum.fitting import Problem, Tables
from residuum.fitting.tables import Table

REPEATS = 5


def with_more_free(problem: Problem, n: int) -> Problem:
    """Return the problem with `n` more parameters of the model estimated, within a factor of 10 of the nominal."""
    compiled, table = problem.compiled, problem.tables.parameters
    periods = [period for of in problem.experiments._periods.values() for period in of]
    taken = set().union(*(period.settled for period in periods)) | compiled.frozen | compiled.switch_parameters
    nominal = dict(zip(compiled.parameters, map(float, compiled.nominal), strict=True))
    names = [name for name, value in nominal.items() if value > 0 and name not in taken][:n]
    row = table.frame[table.frame["estimate"]].iloc[0].to_dict() | {
        "priorDistribution": "uniform",
        "priorParameters": "",
    }
    rows = [
        row | {"parameterId": name, "parameterScale": "log10", "nominalValue": nominal[name],
               "lowerBound": nominal[name] / 10, "upperBound": nominal[name] * 10}
        for name in names
    ]  # fmt: skip
    frame = pd.concat([table.frame, pd.DataFrame(rows)], ignore_index=True) if rows else table.frame
    tables = Tables(**{**vars(problem.tables), "parameters": Table(table.name, table.file, frame)})
    resolve, options, threads, inner = problem._settings
    return Problem(compiled, tables, resolve=resolve, options=options, threads=threads, inner=inner)


def cpu_seconds(work: Callable[[np.ndarray], object], problem: Problem) -> float:
    """Return the median CPU time of `work` at points that have not been simulated before."""
    taken = []
    generator = np.random.default_rng(time.monotonic_ns())
    for _ in range(REPEATS):
        theta = problem.nominal + generator.uniform(-0.01, 0.01, problem.n_free)
        began = time.process_time()
        work(theta)
        taken.append(time.process_time() - began)
    return float(np.median(taken))


def main() -> None:
    """Print one line per number of additional free parameters."""
    shipped = residuum.aml_problem()
    print("free  rows  value/ms  gradient/ms  differences/ms  differences/gradient  largest deviation of differences")
    for n in map(int, sys.argv[1:] or ("0", "20", "60")):
        problem = with_more_free(shipped, n)
        problem.loss_and_gradient(problem.nominal)  # machine code is loaded
        value = cpu_seconds(problem.loss, problem)
        gradient = cpu_seconds(problem.loss_and_gradient, problem)
        differences = cpu_seconds(lambda theta, p=problem: p.jacobian(theta, differences=True), problem)
        theta = problem.nominal + 0.005
        exact = problem.jacobian(theta)
        deviation = np.abs(problem.jacobian(theta, differences=True) - exact).max() / np.abs(exact).max()
        print(
            f"{problem.n_free:4d}  {problem.n_data:4d}  {1e3 * value:8.0f}  {1e3 * gradient:11.0f}  "
            f"{1e3 * differences:14.0f}  {differences / gradient:20.2f}  {deviation:.1e}"
        )


if __name__ == "__main__":
    main()
