"""What a fit hands over: tables, null models, files that are whole, a figure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from residuum.fitting import Fit, fit
from residuum.fitting.result import folds
from residuum.simulator import InputError


@pytest.fixture
def done(frames: Any, make: Callable) -> Fit:
    table = frames["measurements"]
    table["source"], table["singleAgents"] = "made", ""
    held_out = (table["experimentId"] == "b_high") & (table["time"] == 600.0)
    table.loc[held_out, ["role", "singleAgents"]] = ["validation", "b_none; b_low"]
    frames["experiments"]["panel"] = ["line " + name[0] for name in frames["experiments"]["experimentId"]]
    frames["notes"] = pd.DataFrame({"subject": ["noise"], "note": ["assumed"]})
    return fit(make(frames), progress=False)


def test_the_null_models_are_measured_values(done: Fit, frames: Any) -> None:
    table = frames["measurements"].set_index(["experimentId", "time"])["measurement"]
    row = done.validation.iloc[0]
    assert len(done.validation) == 1
    assert row["copy_of_first"] == table["b_none", 600.0]
    assert row["best_single_agent"] == table["b_low", 600.0]
    assert row["predicted"] == pytest.approx(row["measured"], rel=0.02)
    folds = done.typical_fold()
    assert folds["predicted"] < 1.02 < folds["best_single_agent"] < folds["copy_of_first"]


def test_rows_without_a_positive_fold_have_no_say_and_are_counted(done: Fit) -> None:
    first = done.fitted.copy()
    first.loc[0, "fitted"], first.loc[1, "fitted"] = -1.0, np.nan
    changed = replace(done, fitted=first)
    assert changed.without_fold()["fitted"] == 2 and changed.without_fold()["at_nominal"] == 0
    others = np.log(first["fitted"][2:] / first["measured"][2:])
    assert changed.typical_fold()["fitted"] == pytest.approx(np.exp(np.sqrt(np.mean(others**2))))
    assert "(without 2 rows of no positive fold)" in changed.report() and "without" not in done.report()


def test_a_censored_row_is_off_only_beyond_its_limits(done: Fit) -> None:
    table = pd.DataFrame(
        [("", 2.0, 4.0, np.nan, 2.0), ("left", 2.0, 4.0, np.nan, 2.0), ("left", 2.0, 1.0, np.nan, 1.0),
         ("right", 2.0, 4.0, np.nan, 1.0), ("right", 2.0, 1.0, np.nan, 0.5), ("interval", 2.0, 3.0, 4.0, 1.0),
         ("interval", 2.0, 1.0, 4.0, 0.5), ("interval", 2.0, 8.0, 4.0, 2.0)],
        columns=["censoring", "measured", "fitted", "upper", "expected"],
    )  # fmt: skip
    assert list(folds(table, "fitted")) == list(table["expected"])
    assert list(done.fitted["fold"]) == list(done.fitted["fitted"] / done.fitted["measured"])


def test_the_tables_agree_with_the_counts(done: Fit) -> None:
    assert (len(done.fitted), len(done.parameters)) == (done.n_data, done.n_free)
    assert done.chi2_data + done.chi2_priors == pytest.approx(2 * done.loss)
    assert done.chi2_data == pytest.approx(np.sum(done.fitted["residual"] ** 2))
    assert list(done.to_frame()["role"].value_counts()) == [17, 1]


def test_the_report_says_what_is_data_and_what_is_prior(done: Fit) -> None:
    report = done.report()
    for words in (
        "17 measurements, 5 estimated parameters, 3 priors",
        "determined_by",
        "held out",
        "best single",
        "assumed",
    ):
        assert words in report


def test_files_hold_everything_and_leave_no_rest(done: Fit, tmp_path: Path) -> None:
    paths = done.save(tmp_path / "fit")
    assert sorted(path.name for path in paths) == sorted(path.name for path in (tmp_path / "fit").iterdir())
    content = json.loads((tmp_path / "fit" / "fit.json").read_text())
    assert content["schema"] == "residuum-fit-1"
    assert content["loss"] == done.loss
    assert content["provenance"]["seed"] == 0
    for key in ("residuum", "numpy", "scipy", "model_hash", "data_hash", "unit_time"):
        assert content["provenance"][key]
    table = pd.read_csv(tmp_path / "fit" / "parameters.tsv", sep="\t")
    assert table["value"].to_numpy() == pytest.approx(done.parameters["value"].to_numpy())


@pytest.mark.fault
def test_a_failed_write_leaves_the_old_file(done: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    done.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        done.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_figure_marks_what_was_held_out(done: Fit) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    axes = done.plot()
    assert axes.shape == (1, 2)
    labels = [axis.get_legend_handles_labels()[1] for axis in axes.flat]
    assert not any("held out" in label for label in labels[0])
    assert any("held out" in label for label in labels[1])
    with pytest.raises(InputError, match=r"axes of shape \(1, 2\)"):
        done.plot(axes[:, :1])
    plt.close(axes[0, 0].figure)


def test_importing_fitting_loads_nothing_that_is_slow(tmp_path: Path) -> None:
    slow = ("pandas", "matplotlib", "scipy", "numba")
    code = f"import sys, residuum.fitting; print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "[]"


def searched(losses: list[float], ends: np.ndarray, frames: Any, make: Callable, **changes: Any) -> Fit:
    """Return a fit whose starts ended as told."""
    starts = pd.DataFrame({"start": range(len(losses)), "loss": losses, "converged": True, "failed": False, **changes})
    return replace(fit(make(frames), progress=False), starts=starts, ends=ends)


def test_starts_are_listed_best_first_with_their_values(frames: Any, make: Callable) -> None:
    ends = np.array([[0.0] * 5, [1.0] * 5, [np.nan] * 5, [-1.0] * 5])
    done = searched([3.0, 1.0, np.inf, 0.5], ends, frames, make, failed=[False, False, True, True])
    table = done.starts_frame()
    assert list(table["start"]) == [1, 0, 3, 2]
    assert list(table["kd"][:3]) == [10.0, 1.0, 0.1] and np.isnan(table["kd"][3])


def test_the_waterfall_counts_what_found_the_best_loss(frames: Any, make: Callable) -> None:
    ends = np.zeros((5, 5))
    done = searched([2.05, 2.0, 2.2, np.inf, 50.0], ends, frames, make, converged=[True, True, False, False, True])
    axis = done.plot_waterfall()
    assert axis.get_title(loc="left") == "2 of 5 starts found the best loss, 1 gave nothing"
    drawn = {line.get_label(): line.get_xydata() for line in axis.lines}
    assert drawn["converged"] == pytest.approx(np.array([[1, 0], [2, 0.05], [4, 48]]))
    assert drawn["ended before it converged"] == pytest.approx(np.array([[3, 0.2]]))
    assert drawn["nominal start"] == pytest.approx(np.array([[2, 0.05]]))
    assert "(2)" in axis.get_ylabel()


def test_parameters_are_drawn_between_their_bounds(frames: Any, make: Callable) -> None:
    ends = np.array([[0.0] * 5, [-2.0] * 4 + [3.0], [np.nan] * 5])
    done = searched([1.0, 2.0, np.inf], ends, frames, make)
    axis = done.plot_parameters()
    drawn = {line.get_label(): line.get_xdata() for line in axis.lines}
    # kd lies between 0.1 and 1000, the others between 0.01 and 100
    assert drawn[f"best start, loss {done.loss:.4g}"] == pytest.approx([0.5] * 4 + [0.25])
    assert drawn["other starts"] == pytest.approx([0, 0, 0, 0, 1])
    assert axis.get_title(loc="left") == "the 2 best of 3 starts"
    assert [text.get_text() for text in axis.get_yticklabels()] == list(done.parameters["parameter"])
