"""`residuum matrix`: every promised file, nothing stale beside them, and what is missing is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import GRID, small_matrix
from helpers import command as residuum

import residuum as package
from residuum.doses import DoseAxis, DoseMatrix, load_matrix, runs
from residuum.simulator import simulate


def of(drug: list[float], other: list[float], **changes: Any) -> DoseMatrix:
    """Return a small matrix under the names of the shipped model's drugs."""
    drugs = {"gilteritinib": DoseAxis("d1", drug), "trametinib": DoseAxis("d2", other)}
    return hours(small_matrix(drugs=drugs, times=[7200.0], **changes))


def hours(matrix: DoseMatrix) -> DoseMatrix:
    """Return the matrix with its time in seconds, as that of the shipped model is."""
    matrix.dataset["time"].attrs["units"] = "s"
    return matrix


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes `residuum matrix` find a given dataset instead of computing one."""
    return lambda matrix: monkeypatch.setattr(package, "dose_matrix", lambda *_, **__: matrix)


MATRIX = ["matrix", "--drug", "gilteritinib=0,1,3", "--drug", "trametinib=0,1,3"]


def test_a_matrix_leaves_every_promised_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    words = "--drug gilteritinib=0,100 --drug trametinib=0,30 --context blast-itd --readout pERK --at 10min --rtol 1e-4"
    assert residuum("matrix", *words.split(), "--out", str(out)) == 0
    frame = pd.read_csv(out / "matrix.csv")
    expected = ["context", "gilteritinib_nM", "trametinib_nM", "time_s", "readout", "residual", "status"]
    assert list(frame.columns) == expected and len(frame) == 4 and set(frame["status"]) == {"OK"}
    np.testing.assert_allclose(load_matrix(out / "matrix.nc").residual().values.ravel(), frame["residual"])
    names = {path.name for path in out.iterdir()}
    assert {"arms_10min.png", "report.html", "synergy_pERK_10min.png", "matrix_pERK_10min.png"} <= names
    assert not [name for name in names if name.endswith(".part")]
    assert "5 runs, 0 failed" in capsys.readouterr().err
    report = (out / "report.html").read_text()
    said = (
        "0, 100 nM",
        "10 min",
        "residuum matrix",
        "UTC",
        "untreated cell in the same",
        "one line on the way to pERK",
    )
    assert all(text in report for text in said)


def test_a_design_says_which_null_models_are_reported(tmp_path: Path, computed: Any) -> None:
    computed(of(GRID, GRID))
    design = {
        "contexts": '["blast-itd"]', "readouts": '["pERK"]', "times": '"2h"', "synergy": '["hsa"]',
        "drugs": '{gilteritinib = "0, 1, 3", trametinib = "0, 1, 3"}',
    }  # fmt: skip
    (tmp_path / "d.toml").write_text("\n".join(f"{key} = {value}" for key, value in design.items()))
    assert residuum("matrix", "--design", str(tmp_path / "d.toml"), "--out", str(tmp_path / "m")) == 0
    report = (tmp_path / "m" / "report.html").read_text()
    assert "HSA excess" in report and "Bliss excess</th>" not in report


def test_a_new_run_removes_what_it_makes_stale_and_nothing_else(tmp_path: Path, computed: Any) -> None:
    computed(of(GRID, GRID))
    stale = ["matrix_pX_24h.png", "contour_pX_24h.png", "synergy_pX.png", "arms.png", "dose_response_2h.png"]
    stale += ["matrix.partial.nc", "matrix.partial.csv"]
    mine = ["matrix_of_mine.png", "notes.txt", "fit.png", "report.pdf"]
    for name in (*stale, *mine, "report.html"):
        (tmp_path / name).write_text("old")
    assert residuum(*MATRIX, "--out", str(tmp_path)) == 0
    assert not any((tmp_path / name).exists() for name in stale)
    assert all((tmp_path / name).read_text() == "old" for name in mine)
    assert "old" != (tmp_path / "report.html").read_text()
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o666 & ~mask


def test_an_interrupted_matrix_leaves_finished_results_alone(
    tmp_path: Path, computed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = of(GRID, GRID)
    stopped.dataset["value"][..., 1:, :, :, :] = np.nan
    stopped.dataset["status"][..., 1:, :] = 10
    stopped.dataset.attrs.update(interrupted=1, n_pending=30, n_failed=0)
    computed(stopped)
    (tmp_path / "matrix.csv").write_text("finished")
    (tmp_path / "report.html").write_text("finished")
    assert residuum(*MATRIX, "--out", str(tmp_path)) == 130
    said = capsys.readouterr().err
    assert "10 of 40 runs done; partial results in" in said and said.count("\n") == 1 and "failed" not in said
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"matrix.csv", "report.html", "matrix.partial.nc", "matrix.partial.csv"}
    assert (tmp_path / "matrix.csv").read_text() == (tmp_path / "report.html").read_text() == "finished"
    assert set(pd.read_csv(tmp_path / "matrix.partial.csv")["status"]) == {"OK", "PENDING"}


def test_doses_without_zero_have_bars_at_the_lowest_and_no_synergy(tmp_path: Path, computed: Any) -> None:
    computed(of([1.0, 3.0], [0.0, 3.0]))
    assert residuum(*MATRIX, "--out", str(tmp_path)) == 0
    report = (tmp_path / "report.html").read_text()
    assert "0 is not among the doses of gilteritinib" in report and "gilteritinib 1 nM (lowest)" in report
    assert {"arms_2h.png"} <= {path.name for path in tmp_path.iterdir()} and not list(tmp_path.glob("synergy*"))


def test_a_control_without_signal_is_not_called_a_failure(
    tmp_path: Path, computed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = of(GRID, GRID, reference="fast")
    silent.dataset["control"].loc[{"context": "fast", "readout": "P"}] = 0.0
    computed(silent)
    assert residuum(*MATRIX, "--out", str(tmp_path)) == 0
    report = (tmp_path / "report.html").read_text()
    assert "no control signal" in report and "untreated cell of fast" in report and "Failed" not in report
    assert "no signal in the control, so no fraction of it: slow: P; fast: P" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("drugs", "says", "figures"),
    [
        ({"d1": GRID}, "Dose response", {"arms_2h.png", "dose_response_2h.png"}),
        ({"d1": GRID, "d2": [1.0]}, "Dose response", {"arms_2h.png", "dose_response_2h.png"}),
        ({"d1": GRID, "d2": GRID, "kd": [0.5, 1.0]}, "a matrix of 3 drugs", {"arms_2h.png"}),
    ],
)
def test_one_drug_gives_curves_and_three_give_bars(
    drugs: dict[str, Any], says: str, figures: set[str], tmp_path: Path, computed: Any
) -> None:
    computed(hours(small_matrix(drugs=drugs, contexts={"cell": {}}, readouts=["P"], times=[7200.0])))
    assert residuum(*MATRIX, "--out", str(tmp_path)) == 0
    assert says in (tmp_path / "report.html").read_text()
    assert {path.name for path in tmp_path.glob("*.png")} == figures


@pytest.mark.fault
def test_a_matrix_that_was_stopped_goes_on_with_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["matrix", "--drug", "gilteritinib=0,100", "--context", "blast-itd", "--context", "blast-wt",
             "--readout", "pERK", "--at", "10min"]  # fmt: skip
    assert residuum(*words, "--out", str(tmp_path / "whole")) == 0
    monkeypatch.setattr(runs, "BLOCK", 3)  # one context
    calls: list[Any] = []

    def stopped(*arguments: Any, **settings: Any) -> Any:
        calls.append(simulate(*arguments, **settings))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(runs, "simulate", stopped)
    out = tmp_path / "out"
    assert residuum(*words, "--out", str(out)) == 130
    assert "3 of 6 runs done" in (told := capsys.readouterr().err) and "go on with --resume" in told
    assert residuum(*words, "--out", str(out)) == 2 and "--resume" in capsys.readouterr().err
    assert residuum(*words[:-1], "20min", "--resume", "--out", str(out)) == 2
    assert "another job: times was [600.0], is [1200.0]" in capsys.readouterr().err
    assert residuum(*words, "--resume", "--out", str(out)) == 0 and len(calls) == 3
    assert (out / "matrix.csv").read_bytes() == (tmp_path / "whole" / "matrix.csv").read_bytes()
    assert not (out / "blocks").exists() and not (out / "matrix.partial.nc").exists()
