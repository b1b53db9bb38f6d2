"""Random parameter sets in; how many runs fail, and how wrong the others are at default tolerance, out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from measure import references
from problems import Problem, global_error
from tools import Tool

import residuum

AGREEMENT = 2e-4


def robustness(problem: Problem, n: int, n_checked: int, first: Tool, second: Tool, seed: int = 2024) -> dict[str, Any]:
    """Solve `n` sets (every parameter x/÷10) at default tolerance; compare `n_checked` with a tight solution.

    The tight solution is one on which `first` and `second` agree to a tenth of the error that is allowed; where they do
    not, the run is not judged and counted in `unjudged`.
    """
    parameters = problem.spread(n, 10.0, seed)
    names = tuple(map(str, range(n)))
    result = residuum.simulate(
        problem.compiled, problem.times, residuum.Conditions(names, parameters),
        observables=problem.compiled.species, threads=1,
    )  # fmt: skip
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:n_checked])
    chosen = [int(i) for i in chosen if result.ok[i]]
    tight = references(first, second, problem, problem.members(parameters[chosen]), AGREEMENT)
    pairs = [(i, values) for i, values in zip(chosen, tight, strict=True) if values is not None]
    errors = [global_error(result.values[i], values) for i, values in pairs]
    statuses = Counter(residuum.Status(int(code)).name for code in result.status)
    return {
        "model": problem.name, "n": n, "statuses": dict(statuses), "failed": 1 - statuses["OK"] / n,
        "judged": len(errors), "unjudged": len(chosen) - len(errors),
        "p50": float(np.quantile(errors, 0.5)), "p99": float(np.quantile(errors, 0.99)), "max": max(errors),
        "attempts_p99": float(np.quantile(result.statistics["attempts"], 0.99)),
    }  # fmt: skip
