"""Records of finished starts: whole or not there, sound or said to be damaged, of this fit or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import recovery_problem

from residuum.fitting import Problem, fit
from residuum.fitting.checkpoint import Checkpoint
from residuum.fitting.minimise import Start
from residuum.simulator import InputError

FIT = {"model": "m", "seed": 1}


def search(problem: Problem, folder: Path, **settings: Any) -> Any:
    return fit(problem, **{"starts": 3, "seed": 3, "progress": False, "checkpoint": folder, **settings})


@pytest.fixture(scope="module")
def problem() -> Problem:
    return recovery_problem("decay")[0]


@pytest.fixture
def kept(problem: Problem, tmp_path: Path) -> Path:
    search(problem, tmp_path / "kept")
    return tmp_path / "kept"


def test_a_record_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    there = Checkpoint(tmp_path, FIT, resume=False)
    starts = [
        Start(0, np.array([0.1, 1 / 3]), np.array([np.pi, -1e-300]), 7.0, 0.1 + 0.2, False, 12, 3, True, "converged"),
        Start(1, np.array([0.0, 2.0])),  # broke down before its first point
    ]
    for start in starts:
        there.keep(start)
    back = Checkpoint(tmp_path, FIT, resume=True).read()
    assert list(back) == [0, 1]
    for start in starts:
        for name, value in vars(start).items():
            np.testing.assert_array_equal(getattr(back[start.index], name), value)
    assert back[1].theta is None


def test_resuming_searches_only_what_is_missing(
    problem: Problem, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = search(problem, kept, starts=5, resume=True, checkpoint=kept)
    assert "3 of 5 starts were already searched" in capsys.readouterr().err
    assert whole.starts.equals(fit(problem, starts=5, seed=3, progress=False).starts)
    (kept / "start-00002.json").unlink()
    searched = []
    from residuum.fitting import workers

    minimise = workers.minimise
    monkeypatch.setattr(
        workers, "minimise", lambda p, start, *rest: (searched.append(start.index), minimise(p, start, *rest))
    )
    assert search(problem, kept, starts=5, resume=True).starts.equals(whole.starts)
    assert searched == [2]


DAMAGE: dict[str, Callable[[str], str]] = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "no JSON": lambda text: "\x00" * len(text),
    "a digit changed": lambda text: text.replace('"loss": 0.', '"loss": 1.'),
    "a field lost": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "start"}),
    "another schema": lambda text: text.replace("residuum-start-1", "residuum-start-0"),
    "of another start": lambda text: text.replace('"index": 1', '"index": 2'),
    "a list": lambda text: f"[{text}]",
}


@pytest.mark.fault
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_named_and_searched_again(
    damage: str, problem: Problem, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kept / "start-00001.json"
    sound = path.read_text()
    path.write_text(DAMAGE[damage](sound))
    assert path.read_text() != sound
    done = search(problem, kept, resume=True)
    said = capsys.readouterr().err
    assert f"{path} is damaged" in said and "2 of 3 starts were already searched" in said
    assert done.starts.equals(fit(problem, starts=3, seed=3, progress=False).starts)
    assert path.read_text() == sound


@pytest.mark.fault
def test_a_record_under_a_false_name_does_not_count(
    problem: Problem, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kept / "start-00002.json").write_text((kept / "start-00001.json").read_text())
    search(problem, kept, resume=True)
    assert "start-00002.json is damaged (it is the record of start 1)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 4}, "seed was 3, is 4"),
        ({"tolerance": 1e-6}, "tolerance was 1e-05, is 1e-06"),
        ({"max_evaluations": 50}, "max_evaluations was 200, is 50"),
        ({"sampling": "latin_hypercube"}, "sampling was sobol, is latin_hypercube; starts was not given, is 3"),
    ],
)
def test_other_options_are_refused_by_name(problem: Problem, kept: Path, changed: Any, said: str) -> None:
    before = {path: path.read_bytes() for path in kept.iterdir()}
    with pytest.raises(InputError, match="holds starts of another fit") as error:
        search(problem, kept, resume=True, **changed)
    assert said in str(error.value)
    assert {path: path.read_bytes() for path in kept.iterdir()} == before


def test_other_data_are_refused_by_the_table(kept: Path) -> None:
    other, _ = recovery_problem("decay", seed=9)
    with pytest.raises(
        InputError, match=r"another fit: table of measurements was 8 rows \(\w+\), is 8 rows \(\w+\)\. "
    ):
        search(other, kept, resume=True)


def test_another_model_is_refused(kept: Path) -> None:
    with pytest.raises(InputError, match="another fit: model was test"):
        search(recovery_problem("turnover")[0], kept, resume=True)


def test_conditions_that_mean_something_else_are_refused(frames: Any, make: Callable, tmp_path: Path) -> None:
    frames["conditions"].loc[frames["conditions"]["conditionId"] == "none", ["targetId", "targetValue"]] = ["cell", "x"]
    search(make(frames, resolve=lambda named: {"dose": 0.0}), tmp_path, starts=1)
    with pytest.raises(InputError, match="another fit: what the conditions stand for was"):
        search(make(frames, resolve=lambda named: {"dose": 0.1}), tmp_path, starts=1, resume=True)


def test_other_parameters_solved_for_on_the_way_are_refused(frames: Any, make: Callable, tmp_path: Path) -> None:
    frames["observables"]["noiseDistribution"] = "normal"
    search(make(frames), tmp_path, starts=1)
    with pytest.raises(InputError, match="parameters searched for was offset, scale, gain_a, gain_b, kd, is gain_a"):
        search(make(frames, inner=True), tmp_path, starts=1, resume=True)


def test_starts_of_an_earlier_fit_are_not_overwritten_unasked(problem: Problem, kept: Path) -> None:
    with pytest.raises(InputError, match=r"holds finished starts of an earlier fit \(3\); resume it \(--resume\)"):
        search(problem, kept)


def test_resuming_from_nothing_begins_anew(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(problem, tmp_path / "new", starts=1, resume=True)
    assert "0 of 1 starts were already searched" in capsys.readouterr().err


def test_another_platform_is_said_not_refused(
    problem: Problem, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import platform

    monkeypatch.setattr(platform, "python_version", lambda: "4.0.0")
    search(problem, kept, resume=True)
    assert "may differ in the last digits: python was 3." in capsys.readouterr().err


def test_a_place_that_cannot_be_a_folder_is_refused(problem: Problem, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"cannot keep starts in .*file"):
        search(problem, tmp_path / "file")
    with pytest.raises(InputError, match="no checkpoint is given"):
        search(problem, None, resume=True)  # type: ignore[arg-type]
