"""`residuum fit`: every promised file, and a stop that loses the running starts only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers import command as residuum
from helpers import recovery_problem

import residuum as package
from residuum.commands.fit import _left_open


def test_an_interrupted_fit_leaves_finished_results_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stopped:
        stopped = True

        def save(self, folder: Path) -> None:
            folder.mkdir()

    monkeypatch.setattr(package, "fit", lambda *_, **__: Stopped())
    assert residuum("fit", "--out", str(tmp_path)) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["partial"]
    assert "the best point so far is in" in capsys.readouterr().err


@pytest.fixture
def small_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `residuum fit` fit a problem that takes no time."""
    monkeypatch.setattr(package, "aml_problem", lambda: recovery_problem("decay")[0])


@pytest.mark.usefixtures("small_fit")
def test_a_fit_leaves_every_promised_file_and_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "fit.json").write_text("of an earlier stop")
    assert residuum("fit", "--starts", "3", "--seed", "1", "--out", str(tmp_path)) == 0
    tables = {"fit.json", "parameters.tsv", "fitted.tsv", "validation.tsv", "starts.tsv"}
    figures = {"fit.png", "waterfall.png", "parameters.png"}
    assert {path.name for path in tmp_path.iterdir()} == {*tables, *figures, "report.html"}
    assert "Starts, best first" in (tmp_path / "report.html").read_text()
    assert len(pd.read_csv(tmp_path / "starts.tsv", sep="\t")) == 3
    assert residuum("fit", "--out", str(tmp_path)) == 0
    assert {path.name for path in tmp_path.iterdir()} == {*tables, "fit.png", "report.html"}


@pytest.mark.usefixtures("small_fit")
def test_a_fit_goes_on_from_a_named_checkpoint_with_more_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--seed", "1", "--checkpoint", str(tmp_path / "starts"), "--out", str(tmp_path / "out")]
    assert residuum("fit", "--starts", "2", *words) == 0
    assert residuum("fit", "--starts", "3", *words) == 2
    assert "holds finished starts of an earlier fit (2); resume it (--resume)" in capsys.readouterr().err
    assert residuum("fit", "--starts", "3", "--resume", *words) == 0
    assert "2 of 3 starts were already searched" in capsys.readouterr().err
    assert residuum("fit", "--starts", "3", "--resume", *words, "--seed", "2") == 2
    assert "seed was 1, is 2" in capsys.readouterr().err
    assert len(list((tmp_path / "starts").iterdir())) == 3


@pytest.mark.fault
@pytest.mark.usefixtures("small_fit")
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from residuum.fitting import workers

    minimise = workers.minimise

    def stopped(problem: Any, start: Any, *rest: Any) -> None:
        if start.index == 2:
            raise KeyboardInterrupt
        minimise(problem, start, *rest)

    monkeypatch.setattr(workers, "minimise", stopped)
    words = ["fit", "--starts", "4", "--seed", "1", "--out", str(tmp_path)]
    assert residuum(*words) == 130
    said = capsys.readouterr().err
    kept = tmp_path / "checkpoint"
    assert f"starts kept in {kept}: 2 of 4; go on by `residuum {' '.join(words)} --resume`" in said
    monkeypatch.undo()
    monkeypatch.setattr(package, "aml_problem", lambda: recovery_problem("decay")[0])
    assert residuum(*words, "--resume") == 0
    assert "2 of 4 starts were already searched" in capsys.readouterr().err
    assert not kept.exists() and not (tmp_path / "partial").exists()


@pytest.mark.fault
@pytest.mark.usefixtures("small_fit")
def test_ctrl_c_before_the_first_point_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from residuum.fitting import workers

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "minimise", stopped)
    assert residuum("fit", "--out", str(tmp_path)) == 130
    said = capsys.readouterr().err
    assert "stopped before the first point" in said and "Traceback" not in said and "go on by" not in said


def test_what_the_data_leave_open_is_named() -> None:
    table = pd.DataFrame(
        {
            "parameter": ["known", "of_the_prior", "unseen", "as_wide_as_its_bounds", "on_a_linear_scale"],
            "determined_by": ["data", "prior", "nothing", "data", "both"],
            "scale": ["log10"] * 4 + ["lin"],
            "lower": [0.1, 0.1, 0.1, 0.1, -1.0],
            "upper": [10.0, 10.0, 10.0, 10.0, 1.0],
            "fit_sd": [0.1, 0.5, float("inf"), 0.6, 0.5],  # uniform between these bounds: 2 / sqrt(12) = 0.58
        }
    )
    assert _left_open(table) == "of_the_prior, unseen, as_wide_as_its_bounds"
    assert _left_open(table[:1]) == "none of the estimated parameters"
