"""`residuum calibrate` on a small problem: every promised file, and a page that says what came out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import command, recovery_problem

import residuum
from residuum.commands import calibration_page, members
from residuum.commands.members import Answers

PRIORS = "prior", "prior, RAF-MEK-DUSP nominal"
FILES = {"calibration.html", "left_out.csv", "left_out.png", "bands.png", "predictions.png", "fit.json", "fit.png"}


def calibrate(folder: Path, *words: str) -> int:
    return command("calibrate", "--starts", "1", "--checked", "3", "--out", str(folder), *words)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a small problem, and members that answer at once, in the place of the shipped ones."""
    problem = recovery_problem("switch")[0]
    first, second, *others = dict.fromkeys(problem.tables.experiments.frame["experimentId"])
    groups = (
        residuum.Group("one", (second,), {"control": {second: (first,)}}),
        residuum.Group("two", (others[0],), {"Bliss": {others[0]: (second, others[1], first)}}),
    )
    monkeypatch.setattr(residuum, "aml_problem", lambda: problem)
    monkeypatch.setattr(residuum, "aml_left_out", lambda: groups)
    monkeypatch.setattr(residuum, "aml_behaviours", lambda ids, fitted: {i: SimpleNamespace(reproduced=1) for i in ids})

    def answers(ensemble: Any) -> Answers:
        share = np.arange(1, len(ensemble) + 1)[:, None] / (len(ensemble) + 1)
        return Answers(np.tile(share, (1, len(members.QUESTIONS))), np.ones((len(ensemble), len(members.QUESTIONS))))

    monkeypatch.setattr(members, "answers", answers)
    return problem


def test_a_calibration_leaves_every_promised_file(
    small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(tmp_path, "--members", "4") == 0
    assert {path.name for path in tmp_path.iterdir()} >= FILES | {"ensemble.nc"}
    page = (tmp_path / "calibration.html").read_text()
    for title in ("The ensemble", "Left out and predicted", "Predictions, and what", "Behaviours B6-B12"):
        assert title in page
    assert "no validation" in page and page.count("3 of 3") == 2 * len(members.BEHAVIOURS)
    assert {"one", "two"} == set(pd.read_csv(tmp_path / "left_out.csv")["left_out"])

    again = tmp_path / "again"
    assert calibrate(again, "--ensemble", str(tmp_path / "ensemble.nc")) == 0
    assert {path.name for path in again.iterdir()} >= FILES and not (again / "ensemble.nc").exists()


def test_members_of_other_data_are_refused_before_any_work(
    small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(tmp_path / "out", "--ensemble", "shipped") == 2
    assert "was drawn for data with hash" in capsys.readouterr().err
    assert calibrate(tmp_path / "out", "--ensemble", str(tmp_path / "nowhere.nc")) == 2
    assert "does not exist" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_shares_of_the_variance_sum_to_the_whole_and_lost_draws_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(2)
    left = generator.uniform(0.2, 0.8, (4, 5, 2))
    left[:, 1] = np.nan
    untreated = np.ones_like(left)
    untreated[:, 3] = 0.01
    drawn = Answers(left * untreated, untreated)
    plain = Answers(left[:, 0], untreated[:, 0])
    section = calibration_page.predictions_section(
        tmp_path, ["a, b, c", "d, e, f"], plain, plain, drawn, np.array([1.0, 0.25])
    )
    (_, values), (_, shares) = section.tables
    numbers = shares.drop(columns=["left after 24 h", *PRIORS]).map(lambda text: int(text.rstrip("%")))
    assert numbers.sum(axis=1).between(98, 102).all()
    assert shares["data"][0] == "0%" and shares["prior"][0] == "100%" and numbers["data"][1] > 0
    assert list(shares["prior, RAF-MEK-DUSP nominal"]) == ["100%", "25%"]
    assert list(values["failed runs"]) == ["0, 0, 4", "0, 0, 4"]
    told = " ".join(section.paragraphs)
    assert "in a steady state: 1;" in told and "of its usual signal: 1." in told
