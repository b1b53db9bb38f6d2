"""`residuum profile`, `sample`, `predict`: lines of words, files, and stops that are gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import command as residuum
from helpers import linear_frames, net

import residuum as package


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a linear problem of two parameters, of which the data see one, in the place of the shipped one."""
    from residuum.fitting import read_problem

    frames = linear_frames(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([1.0, 2.1]), sd=0.1, priors={1: (3.0, 1.0)})
    problem = read_problem(net("dose 0; k 1", "X() 1", "1 0 k", "pX 1"), frames)
    monkeypatch.setattr(package, "aml_problem", lambda: problem)
    return problem


def test_profiles_are_a_line_of_words_each_and_files(
    small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert residuum("profile", "--out", str(tmp_path)) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("x0  identified: ") and said[1].startswith("x1  not seen by the data: the prior alone, ")
    assert {path.name for path in tmp_path.iterdir()} == {"profiles.tsv", "profiles.json", "profiles.png"}


def test_stopped_profiles_are_kept_and_gone_on_with(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate, calls = small.evaluate, []

    def until(theta: Any) -> Any:
        calls.append(1)
        if len(calls) > 70:
            raise KeyboardInterrupt
        return evaluate(theta)

    monkeypatch.setattr(small, "evaluate", until)
    assert residuum("profile", "--out", str(tmp_path)) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["profiles.checkpoint.json"]
    assert "go on with --resume" in capsys.readouterr().err
    monkeypatch.setattr(small, "evaluate", evaluate)
    assert residuum("profile", "--out", str(tmp_path), "--resume") == 0
    assert "profiles.checkpoint.json" not in {path.name for path in tmp_path.iterdir()}


def test_an_ensemble_is_drawn_and_predicts_contexts_and_drugs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members, folder = tmp_path / "members.nc", tmp_path / "predicted"
    assert residuum("sample", "--method", "prior", "--members", "3", "--out", str(members)) == 0
    words = ["--drug", "gilteritinib=100", "--context", "blast-itd", "--readout", "pERK", "--out", str(folder)]
    assert residuum("predict", str(members), "--times", "0,2h", *words) == 0
    assert {path.name for path in folder.iterdir()} == {"predictions.nc", "bands.csv", "bands.png"}
    found = pd.read_csv(folder / "bands.csv")
    assert set(found.columns) >= {"quantile", "condition", "time", "readout", "value", "known"}
    assert not found["value"].isna().any() and set(found["time"]) == {0.0, 7200.0}
    kept = xr.load_dataset(folder / "predictions.nc", engine="h5netcdf")
    assert kept.sizes["member"] == 3 and kept.attrs["drugs"] == "gilteritinib 100 nM"
    assert "3 runs of 3 members, 0 failed" in capsys.readouterr().err
    assert residuum("predict", str(members), "--context", "blast", *words[:2]) == 2
    assert residuum("predict", str(members), "--drug", "gilteritinib=1,3") == 2
    assert residuum("predict", str(members), "--drug", "gilteritinb=1") == 2


def test_members_are_refitted_by_default(small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("sample", "--members", "4", "--out", str(tmp_path / "members.nc")) == 0
    assert "4 fits to data and priors with noise added, 0 left out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["members.nc"]


def test_a_stopped_prediction_leaves_finished_results_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members, folder = tmp_path / "members.nc", tmp_path / "predicted"
    assert residuum("sample", "--method", "prior", "--members", "2", "--out", str(members)) == 0
    predict = package.aml_predictions
    monkeypatch.setattr(package, "aml_predictions", lambda *a, **k: predict(*a, **k).assign_attrs(interrupted=1))
    words = ["--context", "blast-itd", "--times", "60", "--out", str(folder)]
    assert residuum("predict", str(members), *words) == 130
    assert [path.name for path in folder.iterdir()] == ["predictions.partial.nc"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["profile", "--parameter", "x"], "unknown estimated parameter 'x'"),
        (["profile", "--parameter", "x0", "--parameter", "x0"], "given twice"),
        (["profile", "--level", "95"], "between 0 and 1"),
        (["profile", "--fit", "nowhere"], "residuum fit"),
        (["sample", "--fit", "nowhere"], "residuum fit"),
        (["sample", "--out", "members.txt"], "ends in .nc"),
        (["sample", "--method", "laplace", "--resume"], "--resume belongs to"),
        (["sample", "--members", "1"], "members"),
        (["predict", "nowhere.nc"], "does not exist"),
        (["predict"], "Missing argument"),
    ],
)
def test_wrong_words_about_uncertainty_are_named(
    words: list[str], says: str, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert residuum(*words) == 2
    assert says in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_fit_of_other_tables_is_refused(small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    origin = {"model_hash": small.compiled.hash, "data_hash": "0"}
    (tmp_path / "fit.json").write_text(json.dumps({"theta": [1.0, 3.0], "provenance": origin}))
    assert residuum("profile", "--fit", str(tmp_path), "--out", str(tmp_path / "out")) == 2
    assert "another state of the tables: 0, now" in capsys.readouterr().err
