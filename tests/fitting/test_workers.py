"""Processes that search: a copy of the problem is the problem, and a process that dies takes one start with it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from residuum.fitting import Problem
from residuum.fitting.minimise import Settings, Start
from residuum.fitting.workers import in_processes


@pytest.fixture
def resolved(frames: Any, make: Callable) -> Problem:
    """Return a problem whose conditions are resolved by a function that no other process can find."""
    frames["conditions"].loc[frames["conditions"]["conditionId"] == "low", ["targetId", "targetValue"]] = ["cell", "x"]
    return make(frames, resolve=lambda named: {"dose": 5.0})


def test_a_copy_gives_the_same_residuals_to_the_last_bit(resolved: Problem, true_theta: np.ndarray) -> None:
    copy = pickle.loads(pickle.dumps(resolved))
    for theta in (true_theta, true_theta + 0.3):
        assert np.array_equal(copy.residuals(theta), resolved.residuals(theta))
    assert (copy.experiments.threads, copy.experiments.options) == (1, resolved.experiments.options)


def test_a_copy_solves_for_the_same_parameters(frames: Any, make: Callable) -> None:
    frames["observables"]["noiseDistribution"] = "normal"
    problem = make(frames, inner=True)
    copy = pickle.loads(pickle.dumps(problem))
    assert copy.names == problem.names == ("gain_a", "gain_b", "kd")
    assert np.array_equal(copy.residuals(problem.nominal), problem.residuals(problem.nominal))


def test_a_copy_of_a_copy_is_one_too(resolved: Problem, true_theta: np.ndarray) -> None:
    copy = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(resolved))))
    assert np.array_equal(copy.residuals(true_theta), resolved.residuals(true_theta))


@pytest.mark.fault
@pytest.mark.slow
def test_a_process_that_is_killed_takes_one_start_with_it(resolved: Problem) -> None:
    starts, told = [Start(i, resolved.nominal) for i in range(3)], []

    def kill_one(start: Start) -> None:
        if not told:
            import multiprocessing

            (process,) = multiprocessing.active_children()
            os.kill(process.pid or 0, signal.SIGKILL)
        told.append(start.index)

    finished = [start.index for start in in_processes(resolved, starts, Settings(), kill_one, 1)]
    assert finished == [1, 2]
    assert starts[0].message == "its process ended with code -9, perhaps for lack of memory"
    assert [start.message for start in starts[1:]] == ["converged"] * 2
    assert starts[0].theta is not None  # what it had told of is kept


@pytest.mark.fault
@pytest.mark.slow
def test_a_script_without_its_guard_is_told_what_to_write(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from helpers import recovery_problem\nfrom residuum.fitting import fit\n"
        "fit(recovery_problem('decay')[0], starts=2, processes=2, progress=False)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1
    assert "call fit under `if __name__ == '__main__':`" in done.stderr
