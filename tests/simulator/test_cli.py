"""The command line: files as promised, one clear error and exit code 2 for wrong input, nothing half-written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from residuum.simulator import InputError
from residuum.simulator.cli import main, read_doses, read_quantity, read_times

NET = """begin parameters
1 k 0.5
end parameters
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


@pytest.mark.parametrize(
    ("text", "doses"),
    [
        ("a=0,3,10", [0, 3, 10]),
        ("a=0, 0.1 uM", [0, 100]),
        ("a=1:100/3", [0, 1, 10, 100]),
        ("a=1:10/2 nM", [0, 1, 10]),
        ("a = 5", [5]),
    ],
)
def test_doses_are_read_in_nanomolar(text: str, doses: list[float]) -> None:
    drug, values = read_doses(text)
    assert drug == "a" and values == pytest.approx(doses)


@pytest.mark.parametrize("text", ["a", "a=", "a=x", "a=1:10", "a=0:10/3", "a=10:1/3", "a=1:10/1"])
def test_doses_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_doses(text)


def test_times_are_read_in_seconds() -> None:
    assert read_times("90s,2h,1d") == [90, 7200, 86400]
    assert read_times("0:1h/3") == [0, 1800, 3600]
    assert read_quantity("5 min", {"s": 1.0, "min": 60.0}, "time") == 300


def test_a_matrix_leaves_every_promised_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    words = "--drug gilteritinib=0,100 --drug trametinib=0,30 --context flt3-itd --readout pERK --at 10min --rtol 1e-4"
    assert residuum("matrix", *words.split(), "--out", str(out)) == 0
    frame = pd.read_csv(out / "matrix.csv")
    expected = ["context", "gilteritinib_nM", "trametinib_nM", "time_s", "readout", "residual", "status"]
    assert list(frame.columns) == expected and len(frame) == 4 and set(frame["status"]) == {"OK"}
    with xr.open_dataset(out / "matrix.nc", engine="h5netcdf") as matrix:
        np.testing.assert_allclose(matrix.residual.values.ravel(), frame["residual"])
    assert {"arms.png", "report.html", "synergy_pERK.png"} <= {path.name for path in out.iterdir()}
    assert not [path for path in out.iterdir() if path.name.endswith(".part")]
    assert "5 runs, 0 failed" in capsys.readouterr().err


def test_a_simulation_is_printed_as_a_tidy_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.net").write_text(NET)
    assert residuum("simulate", str(tmp_path / "small.net"), "--times", "0:2s/3", "--set", "k=1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "condition,time,observable,value,status"
    assert float(lines[-1].split(",")[3]) == pytest.approx(np.exp(-2), rel=1e-5)


def test_a_simulation_may_go_to_files(tmp_path: Path) -> None:
    (tmp_path / "small.net").write_text(NET)
    csv, png = tmp_path / "sub" / "out.csv", tmp_path / "sub" / "out.png"
    words = ["simulate", str(tmp_path / "small.net"), "--times", "0:2s/3", "--out", str(csv), "--plot", str(png)]
    assert residuum(*words) == 0
    assert len(pd.read_csv(csv)) == 3 and png.stat().st_size > 1000


def test_a_pysb_file_is_a_model(tmp_path: Path, bionetgen: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = (
        "from pysb import *\nModel()\nMonomer('A')\nParameter('k', 1.0)\nParameter('A0', 2.0)\n"
        "Initial(A(), A0)\nRule('loss', A() >> None, k)\nObservable('A_total', A())\n"
    )
    (tmp_path / "mine.py").write_text(source)
    assert residuum("simulate", str(tmp_path / "mine.py"), "--times", "0:1s/2") == 0
    assert float(capsys.readouterr().out.splitlines()[-1].split(",")[3]) == pytest.approx(2 / np.e, rel=1e-5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("matrix --drug gilteritinb=0,1", "Did you mean 'gilteritinib'"),
        ("matrix --drug gilteritinib=0,-1", "doses of gilteritinib must not be negative"),
        ("matrix --drug gilteritinib=0,nan", "doses of gilteritinib must be"),
        ("matrix --drug gilteritinib=1 --drug gilteritinib=2", "given twice"),
        ("matrix --drug gilteritinib=0,1 --context flt3-idt", "Did you mean 'flt3-itd'"),
        ("matrix --drug gilteritinib=0,1 --readout pERC", "did you mean 'pERK'"),
        ("matrix --drug gilteritinib=0,1 --at 2h,1h", "times must increase"),
        ("matrix --drug gilteritinib=0,1 --rtol 0", "rtol is 0"),
        ("matrix --drug gilteritinib=0,1 --reference wt", "unknown reference 'wt'"),
        ("simulate --set recruit_SOS_kn=1", "did you mean 'recruit_SOS_kon'"),
        ("simulate --set kon", "expected NAME=NUMBER"),
        ("simulate --drug gilteritinib=-3", "not negative"),
        ("simulate --drug gilteritinib=1,3", "one dose per drug"),
        ("simulate missing.py", "no model file"),
        ("simulate missing.net", "cannot read the network file"),
        ("simulate no_such_module_anywhere", "cannot load"),
        ("simulate --times soon", "cannot read the time"),
    ],
)
def test_wrong_input_gives_one_line_and_exit_code_2(
    words: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert residuum(*words.split()) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.startswith("error:") and captured.err.count("\n") == 1
    assert captured.out == "" and not list(tmp_path.rglob("*.*"))


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


@pytest.mark.parametrize("what", ["contexts", "drugs", "readouts", "parameters"])
def test_models_lists_units_and_sources(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("models", what, "--csv") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert "source" in header and len(rows) >= 4


def test_doctor_tells_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("doctor") == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("numba", "threads", "cache", "BioNetGen", "shipped model"))


@pytest.mark.parametrize("command", ["simulate", "matrix", "fit", "models", "doctor", "demo"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum(command, "--help") == 0
    assert "Usage" in capsys.readouterr().out
