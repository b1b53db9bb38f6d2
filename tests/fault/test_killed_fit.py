"""A fit that is killed (kill -9), at whatever moment, and resumed ends as one that nothing disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import recovery_problem

from residuum.fitting import Fit, fit

pytestmark = pytest.mark.fault

STARTS = 8
HEAD = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers import recovery_problem
from residuum.fitting import checkpoint, fit, minimise, objective
from residuum.simulator import report

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def after(n, function, then=kill):
    calls = []
    def counted(*arguments, **settings):
        calls.append(1)
        if len(calls) == n:
            then()
        return function(*arguments, **settings)
    return counted
"""
RUN = f"""
if __name__ == "__main__":
    problem, _ = recovery_problem("decay")
    fit(problem, starts={STARTS}, seed=3, checkpoint=sys.argv[1], progress=False, processes=int(sys.argv[2]))
"""
MOMENTS = {
    "in the first start": "objective.Problem.evaluate = after(2, objective.Problem.evaluate)",
    "between two steps of a later start": "objective.Problem.jacobian = after(17, objective.Problem.jacobian)",
    "before a record is written": "checkpoint.Checkpoint.keep = after(3, checkpoint.Checkpoint.keep)",
    "while a record is written": "os.fsync = after(4, os.fsync)",
    "before a record has its name": "os.replace = after(5, os.replace)",
}


def resumed(folder: Path) -> Fit:
    return fit(recovery_problem("decay")[0], starts=STARTS, seed=3, checkpoint=folder, resume=True, progress=False)


@pytest.fixture(scope="module")
def undisturbed() -> Fit:
    return fit(recovery_problem("decay")[0], starts=STARTS, seed=3, progress=False)


def assert_same(done: Fit, other: Fit) -> None:
    # to the last bit: a start depends on nothing but problem, settings, seed and its number
    assert done.starts.equals(other.starts)
    assert np.array_equal(done.ends, other.ends) and np.array_equal(done.theta, other.theta)
    assert (done.loss, done.message, done.n_failures) == (other.loss, other.message, other.n_failures)


@pytest.mark.parametrize(
    "moment",
    [pytest.param(m, marks=() if m.startswith(("between", "while")) else pytest.mark.slow) for m in MOMENTS],
)
def test_a_fit_killed_at_any_moment_is_resumed_to_the_same_end(
    moment: str, undisturbed: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(HEAD + MOMENTS[moment] + RUN)
    kept = tmp_path / "kept"
    done = subprocess.run(
        [sys.executable, script, kept, "1"], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = {path: path.read_bytes() for path in kept.glob("start-*.json")}
    assert len(before) < STARTS
    assert all(json.loads(record)["start"]["message"] == "converged" for record in before.values())
    assert_same(resumed(kept), undisturbed)
    said = capsys.readouterr().err
    assert f"{len(before)} of {STARTS} starts were already searched" in said and "damaged" not in said
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(kept.glob("start-*.json"))) == STARTS


@pytest.mark.slow
def test_a_fit_in_processes_killed_from_outside_is_resumed_and_leaves_no_process(
    undisturbed: Fit, tmp_path: Path
) -> None:
    script, kept = tmp_path / "killed.py", tmp_path / "kept"
    # what the searching processes do for each start takes a second, so that the blow falls in the middle
    slow = "import time\nminimise.observation_fitted = after(1, minimise.observation_fitted, lambda: time.sleep(1))\n"
    script.write_text(HEAD + slow + RUN)
    process = subprocess.Popen([sys.executable, script, kept, "2"], cwd=tmp_path, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (kept.is_dir() and any(kept.glob("start-*.json"))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    while processes_of(process.pid):  # each notices that nobody listens when it has something to tell
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert_same(resumed(kept), undisturbed)


def processes_of(session: int) -> list[int]:
    """Return the numbers of the processes that run in a session."""
    found = subprocess.run(["ps", "-eo", "pid=,sess=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, sess, state in rows if int(sess) == session and not state.startswith("Z")]


def test_ctrl_c_loses_the_running_start_only(undisturbed: Fit, tmp_path: Path) -> None:
    script, kept = tmp_path / "stopped.py", tmp_path / "kept"
    ctrl_c = "lambda: os.kill(os.getpid(), signal.SIGINT)"
    stop = f"objective.Problem.jacobian = after(17, objective.Problem.jacobian, {ctrl_c})"
    script.write_text(HEAD + stop + RUN + '    print("went on")\n')
    done = subprocess.run(
        [sys.executable, script, kept, "1"], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0 and "stopped by the user" in done.stderr and done.stdout == "went on\n"
    assert 0 < len(list(kept.glob("start-*.json"))) < STARTS
    assert_same(resumed(kept), undisturbed)


def test_a_full_disk_does_not_end_the_fit(
    undisturbed: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = fit(recovery_problem("decay")[0], starts=STARTS, seed=3, checkpoint=tmp_path, progress=False)
    assert_same(done, undisturbed)
    said = capsys.readouterr().err
    assert said.count("No space left") == 1 and "goes on without" in said
    assert list(tmp_path.iterdir()) == []
