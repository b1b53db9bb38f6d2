"""The command line: files as promised, one clear error and exit code 2 for wrong input, nothing half-written."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import GRID, linear_frames, net, recovery_problem, small_matrix

import residuum as package
from residuum.commands import main, options
from residuum.doses import DoseAxis, DoseMatrix, load_matrix
from residuum.simulator import InputError, memory
from residuum.simulator.cache import CacheNotice
from residuum.simulator.words import load_model, read_doses, read_quantity, read_times

NET = """begin parameters
1 k 0.5
end parameters
begin functions
1 loss() k*A_total
end functions
begin species
1 A() 1
end species
begin reactions
1 1 0 k
end reactions
begin groups
1 A_total 1
end groups
"""


def residuum(*words: str) -> int:
    """Run the command line in this process; return its exit code."""
    before = sys.argv
    sys.argv = ["residuum", *words]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


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


# ---- reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "doses"),
    [
        ("a=0,3,10", [0, 3, 10]),
        ("a=0, 0.1 uM", [0, 100]),
        ("a=1:100/3", [0, 1, 10, 100]),
        ("a=1:10/2 nM", [0, 1, 10]),
        ("a = 5", [5]),
        ("a=0,0.1nM,0.5uM", [0, 0.1, 500]),
        ("a=10,100 nM", [10, 100]),
        ("a=1,10uM", [1000, 10000]),
        ("a=1:100/2 uM", [0, 1000, 100_000]),
        ("a=1nM:1uM/2", [0, 1, 1000]),
        ("a=1µM,2μM,3nmol/L", [1000, 2000, 3]),
        ("a=5pM,1mM,1M", [0.005, 1e6, 1e9]),
    ],
)
def test_doses_are_read_in_nanomolar(text: str, doses: list[float]) -> None:
    drug, values = read_doses(text)
    assert drug == "a" and values == pytest.approx(doses)


@pytest.mark.parametrize(
    "text",
    (
        "a|a=|=1|a=x|a=1:10|a=0:10/3|a=10:1/3|a=1:10/1|a=1:10/²|a=1:10/9999999|a=1nm|a=,|a=1nM,10,1uM|a=10nM,100"
        "|a=1:2:3/4|a=1:inf/3"
    ).split("|"),
)
def test_doses_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_doses(text)


def test_a_bare_dose_among_units_is_told_what_to_write() -> None:
    with pytest.raises(InputError, match=r"'10' has no unit where others have one; .*10nM,100nM"):
        read_doses("a=1nM,10,1uM")


def test_times_are_read_in_seconds() -> None:
    assert read_times("90s,2h,1d") == [90, 7200, 86400]
    assert read_times("0:1h/3") == [0, 1800, 3600]
    assert read_times("2,24h") == [7200, 86400]
    assert read_quantity("5 min", {"s": 1.0, "min": 60.0}, "time") == 300


# ---- matrix -----------------------------------------------------------------------------------------------------


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
    assert all(
        text in report for text in ("0, 100 nM", "10 min", "residuum matrix", "UTC", "untreated cell in the same")
    )


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


def test_an_interrupted_simulation_leaves_finished_results_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = package.simulate

    def stopped(*arguments: Any, **settings: Any) -> Any:
        result = run(*arguments, **settings)
        result.status[:] = 10
        return result

    monkeypatch.setattr(package, "simulate", stopped)
    (tmp_path / "small.net").write_text(NET)
    (tmp_path / "out.csv").write_text("finished")
    words = ["--times", "0:2s/3", "--out", str(tmp_path / "out.csv"), "--plot", str(tmp_path / "out.png")]
    assert residuum("simulate", str(tmp_path / "small.net"), *words) == 130
    assert {path.name for path in tmp_path.iterdir()} == {"small.net", "out.csv", "out.partial.csv"}
    assert (tmp_path / "out.csv").read_text() == "finished"
    assert "stopped: 0 of 1 runs done" in (said := capsys.readouterr().err) and "failed" not in said


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


# ---- profile, sample, predict -----------------------------------------------------------------------------------


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
    assert set(found.columns) >= {"quantile", "condition", "time", "readout", "value", "left"}
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


# ---- simulate ---------------------------------------------------------------------------------------------------


def test_a_simulation_is_printed_as_a_tidy_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.net").write_text(NET)
    words = ["--times", "0:2s/3", "--set", "k=1", "--readout", "A_total"]
    assert residuum("simulate", str(tmp_path / "small.net"), *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "condition,time,observable,value,status" and lines[1].startswith("k=1,")
    assert float(lines[-1].split(",")[3]) == pytest.approx(np.exp(-2), rel=1e-5)


def test_a_simulation_may_go_to_files(tmp_path: Path) -> None:
    (tmp_path / "small.net").write_text(NET)
    csv, svg = tmp_path / "sub" / "out.csv", tmp_path / "sub" / "out.svg"
    words = ["simulate", str(tmp_path / "small.net"), "--times", "0:2s/3", "--out", str(csv), "--plot", str(svg)]
    assert residuum(*words, "--readout", "A_total", "--readout", "loss") == 0
    assert len(pd.read_csv(csv)) == 6 and svg.stat().st_size > 1000


def test_a_figure_of_many_observables_shows_some_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = "".join(f"{i} A{i} 1\n" for i in range(2, 15))
    (tmp_path / "wide.net").write_text(NET.replace("end groups", f"{groups}end groups"))
    words = ["simulate", str(tmp_path / "wide.net"), "--times", "0:2s/3", "--plot", str(tmp_path / "wide.png")]
    assert residuum(*words) == 0
    assert "the figure shows 12 of 15 observables; choose others with --readout" in capsys.readouterr().err
    assert residuum(*words, "--readout", "A14") == 0
    assert "shows" not in capsys.readouterr().err


def test_the_survival_score_is_drawn_without_a_unit(tmp_path: Path) -> None:
    words = ["--context", "blast-itd", "--readout", "survival_score", "--readout", "pERK", "--times", "0,10s"]
    svg = tmp_path / "courses.svg"
    assert residuum("simulate", *words, "--rtol", "1e-3", "--plot", str(svg)) == 0
    text = svg.read_text()
    assert "<!-- survival_score -->" in text and "<!-- pERK (nM) -->" in text


# ---- drugs of one's own -----------------------------------------------------------------------------------------

OWN = "drug\ttarget\tbinding\tkd_nM\nmine\tFLT3\ttype I\t2\n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """Return a table of one drug; what it adds is forgotten afterwards."""
    shipped = set(package.aml_tables()["drugs"]["drug"])
    (tmp_path / "own.tsv").write_text(OWN)
    yield tmp_path / "own.tsv"
    for drug in set(package.aml_tables()["drugs"]["drug"]) - shipped:
        package.remove_drug(drug)


def test_a_drug_of_ones_own_is_a_drug_like_any_other(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--context mv4-11 --drug mine=1000 --readout pFLT3 --times 0,1h --rtol 1e-3"
    assert residuum("simulate", *words.split(), "--drug-table", str(own)) == 0
    before, after = (float(line.split(",")[-2]) for line in capsys.readouterr().out.splitlines()[1:])
    assert after < 0.1 * before


def test_a_drug_of_ones_own_is_listed_with_what_its_empty_cells_stand_for(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert residuum("models", "drugs", "--csv", "--drug-table", str(own)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "mine,FLT3,type I,2,1e-3,1,,,0.9,unchecked,"
    package.remove_drug("mine")
    assert residuum("models", "drugs", "--drug-table", str(own)) == 0
    listed = " ".join(capsys.readouterr().out.partition("\nmine\n")[2].split())
    assert listed.startswith("in patients: not known: highest in plasma") and "FLT3 type I 2 1e-3" in listed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (OWN.replace("type I", "type1"), "own.tsv, line 2, column binding: Unknown binding to FLT3 'type1'. Did you"),
        (OWN.replace("\t2", "\ttight"), "own.tsv, line 2, column kd_nM: 'tight'; expected nM above 0"),
        (OWN.replace("mine", "Quizartinib"), "own.tsv, line 2, column drug: quizartinib exists already; choose"),
        (OWN + "mine\tFLT3\ttype I\t3\n", "own.tsv, line 3, column target: FLT3 of mine occurs twice; leave one row"),
    ],
)
def test_a_bad_table_of_drugs_is_one_line_with_place_and_remedy(
    text: str, says: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own.write_text(text)
    assert residuum("matrix", "--drug", "mine=0,1", "--drug-table", str(own)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error:") and says in said and said.count("\n") == 1


def test_a_table_of_drugs_can_be_added_once_until_its_drugs_are_removed(own: Path) -> None:
    assert package.add_drugs(own) == ("mine",)
    with pytest.raises(InputError, match="mine exists already; choose another name, or remove it first"):
        package.add_drugs(own)
    package.remove_drug("mine")
    assert package.add_drugs(own) == ("mine",)
    with pytest.raises(package.UnknownNameError, match="quizartinib"):
        package.remove_drug("quizartinib")


def test_a_simulation_records_drugs_and_doses(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--context blast-itd --drug gilteritinib=0.03uM --set recruit_SOS_kon=0.1 --times 0,10s --rtol 1e-3"
    assert residuum("simulate", *words.split(), "--readout", "pERK") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith('"blast-itd, gilteritinib 30 nM, recruit_SOS_kon=0.1",')


# ---- models of one's own ----------------------------------------------------------------------------------------

MINE = (
    "from pysb import *\nfrom beside import RATE\nModel()\nMonomer('A')\nParameter('k', RATE)\nParameter('A0', 2.0)\n"
    "Initial(A(), A0)\nRule('loss', A() >> None, k)\nObservable('A_total', A())\n"
)


@pytest.mark.parametrize("word", ["mine.py", "mine"])
def test_a_pysb_file_is_a_model_and_may_import_its_neighbours(
    word: str, tmp_path: Path, bionetgen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "beside.py").write_text("RATE = 1.0\n")
    path = list(sys.path)
    assert residuum("simulate", word, "--times", "0:1s/2") == 0
    assert float(capsys.readouterr().out.splitlines()[-1].split(",")[3]) == pytest.approx(2 / np.e, rel=1e-5)
    assert sys.path == path


def test_a_model_file_called_like_a_module_in_use_does_not_replace_it(tmp_path: Path, bionetgen: str) -> None:
    (tmp_path / "json.py").write_text(MINE.replace("from beside import RATE", "RATE = 1.0"))
    assert load_model(str(tmp_path / "json.py")).name == "json"
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = (", "mine.py, line 1: SyntaxError"),
        ("\nraise ValueError('no\\nmore')", "mine.py, line 2: ValueError: no"),
        ("import no_such_neighbour", "mine.py, line 1: ModuleNotFoundError"),
        ("import sys\nsys.exit(3)", "mine.py, line 2: SystemExit: 3"),
        ("x = 1", "defines no `model`"),
        ("model = 1", "cannot compile int"),
    ],
)
@pytest.mark.parametrize("word", ["mine.py", "mine"])
def test_a_model_file_that_cannot_be_loaded_gives_file_and_line(
    text: str, says: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(text)
    assert residuum("simulate", word) == 2
    said = capsys.readouterr().err
    assert says in said and said.startswith("error:") and said.count("\n") == 1


# ---- wrong input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("matrix --drug gilteritinb=0,1", "Did you mean 'gilteritinib'"),
        ("matrix --drug gilteritinib=0,-1", "doses of gilteritinib must not be negative"),
        ("matrix --drug gilteritinib=0,nan", "doses of gilteritinib must be"),
        ("matrix --drug gilteritinib=1 --drug gilteritinib=2", "--drug gilteritinib was given twice"),
        ("matrix --drug gilteritinib=0,1 -r pERK -r pERK", "--readout pERK was given twice"),
        ("matrix --drug gilteritinib=0,1 -c blast-wt -c blast-wt", "--context blast-wt was given twice"),
        ("matrix --drug gilteritinib=0,1 --context blast-idt", "Did you mean 'blast-itd'"),
        ("matrix --drug gilteritinib=0,1 --readout pSTAT", "did you mean 'pSTAT5'"),
        ("matrix --drug gilteritinib=0,1 --readout perk", "did you mean 'pERK'"),
        ("matrix --drug gilteritinib=0,1 --readout zzz", "known: pFLT3, surface_FLT3, pERK"),
        ("matrix --drug gilteritinib=0,1 --drug-table mine.tsv", "mine.tsv: cannot be read"),
        ("simulate small.net --drug-table mine.tsv", "belong to the shipped model"),
        ("models drug", "'drug' is not one of 'contexts', 'drugs'"),
        ("matrix --drug gilteritinib=0,1 --at 2h,1h", "times must increase"),
        ("matrix --drug gilteritinib=0,1 --rtol 0", "rtol is 0"),
        ("matrix --drug gilteritinib=0,1 --reference wt", "unknown reference 'wt'"),
        ("matrix --drug gilteritinib=0,1 --out=", "--out is empty"),
        ("matrix mymodel.py --drug k=0,1", "residuum.dose_matrix in Python"),
        (
            "matrix --drug gilteritinib=1:100/2000 --drug trametinib=1:100/2000",
            "asks for 16,016,008 runs and 48,048,024 numbers",
        ),
        ("matrix", "Missing option '--drug'"),
        ("matrix --drag gilteritinib=1", "--drag"),
        ("models --csv", "--csv prints one kind"),
        ("simulate --set recruit_SOS_kn=1", "did you mean 'recruit_SOS_kon'"),
        ("simulate --set recruit_SOS_kon=-1", "not negative"),
        ("simulate --set kon", "expected NAME=NUMBER"),
        ("simulate --set recruit_SOS_kon=1 --set recruit_SOS_kon=2", "was set twice"),
        ("simulate --set drug1_dose=3", "use --drug DRUG=DOSE"),
        ("simulate --drug gilteritinib=-3", "not negative"),
        ("simulate --drug gilteritinib=1,3", "one dose per drug"),
        ("simulate missing.py", "no model file"),
        ("simulate missing.net", "cannot read the network file"),
        ("simulate no_such_module_anywhere", "cannot load"),
        ("simulate .relative", "cannot load"),
        ("simulate --times soon", "cannot read the time"),
        ("simulate --times 0:24h/1000000000", "more than 1,000,000"),
        ("simulate --plot courses.xyz", "ends in .png, .pdf, .svg"),
        ("simulate --plot courses", "ends in .png, .pdf, .svg"),
        ("simulate --out .", "no file name"),
    ],
)
def test_wrong_input_gives_one_line_and_exit_code_2(
    words: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert residuum(*words.split()) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.startswith("error:") and captured.err.count("\n") == 1
    assert captured.out == "" and not list(tmp_path.iterdir())


def test_a_result_larger_than_half_of_the_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1e6)
    assert residuum("simulate", "--times", "0:24h/1000") == 2
    said = capsys.readouterr().err
    assert "2 runs and 6,000 numbers, about 0.0006" in said and "split by context" in said


def test_a_negative_rate_of_an_own_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.net").write_text(NET)
    assert residuum("simulate", str(tmp_path / "small.net"), "--set", "k=-1") == 2
    assert "k is -1" in capsys.readouterr().err


@pytest.mark.fault
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert residuum("matrix", "--drug", "gilteritinib=0,1", "--out", str(tmp_path / "file" / "out")) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.fault
def test_failed_runs_show_in_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.net").write_text(NET.replace("1 1 0 k", "1 1,1 1,1,1 k"))
    assert residuum("simulate", str(tmp_path / "bad.net"), "--times", "0:9s/4") == 3
    captured = capsys.readouterr()
    assert "1 failed" in captured.err and captured.out.splitlines()[-1].split(",")[3] == ""


@pytest.mark.fault
def test_a_notice_of_the_cache_is_one_plain_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed() -> dict[str, pd.DataFrame]:
        warnings.warn("the cache cannot be written", CacheNotice, stacklevel=1)
        raise InputError("nothing to list")

    monkeypatch.setattr(package, "aml_tables", listed)
    assert residuum("models") == 2
    assert capsys.readouterr().err.splitlines() == ["note: the cache cannot be written", "error: nothing to list"]


# ---- what is there ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["contexts", "drugs", "exposure", "readouts", "parameters"])
def test_models_lists_units_and_sources(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("models", what, "--csv") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert "source" in header and len(rows) >= 4


@pytest.mark.parametrize("what", ["", "contexts", "drugs", "exposure", "readouts", "parameters"])
def test_lists_fit_a_terminal(what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert residuum("models", *what.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 20 and max(map(len, lines)) <= 80


def test_the_overview_says_what_contexts_drugs_and_readouts_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("models") == 0
    text = re.sub(" +", " ", capsys.readouterr().out)
    assert "blast-itd primary AML blast; FLT3 ITD and wild type; FL 0.014 nM" in text
    assert "--context CELL+STROMA" in text and "erk-stroma FL 0.09 nM, FGF2 0.58 nM" in text
    assert "trametinib MEK (allosteric)" in text and "pMEK MAP2K1 and MAP2K2: S217/S221" in text
    assert "PIM1 PIM1 (protein)" in text and "survival_score a score from 0 to 1, assumed" in text


def test_the_list_of_drugs_says_what_is_free_in_patients_and_what_is_not_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert residuum("models", "drugs") == 0
    text = " ".join(capsys.readouterr().out.split())
    free = "in patients: free 25.5 nM at most; highest in plasma 510 nM; free fraction 0.05"  # 510 nM times 0.05
    assert f"gilteritinib {free}" in text and "quizartinib in patients: half-life 81 h; not known: highest in" in text


def test_doctor_tells_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("doctor") == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("numba", "threads", "cache", "BioNetGen", "shipped model"))


def test_doctor_fails_where_something_required_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr("residuum.simulator.bngl.missing_for_bionetgen", lambda: "Perl")
    assert residuum("doctor") == 1
    out = capsys.readouterr().out
    assert "missing scipy" in re.sub(" +", " ", out) and "Perl was not found" in out


COMMANDS = ("simulate", "matrix", "fit", "profile", "sample", "predict", "models", "doctor", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum(command, "--help") == 0
    text = capsys.readouterr().out
    assert "Usage" in text and "example" in text and text.count(f"residuum {command}") > 1
    assert "<list" not in text and "<path>" not in text


def test_no_words_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum() == 0
    captured = capsys.readouterr()
    assert "Commands" in captured.out + captured.err and "error" not in captured.err


def test_the_defaults_exist() -> None:
    tables = package.aml_tables()
    things = {kind: set(rows["name"]) for kind, rows in tables["contexts"].groupby("kind")}
    for context in options.CONTEXTS:
        cell, _, stroma = context.partition("+")
        assert cell in things["cell"] and stroma in {"", *things["stroma"]}
    assert set(options.READOUTS) <= set(tables["readouts"]["readout"])
