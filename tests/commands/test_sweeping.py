"""`residuum sweep` and what goes with it: from words to a folder, on with it, and out of it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import net
from sweeping import shards

from residuum.commands import main
from residuum.simulator.inspection import inspect_model
from residuum.sweeps import open_sweep

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
PRIORS = """
[k]
distribution = "log-uniform"
lower = 0.1
upper = 1.0
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


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder with a model and priors, and work in it."""
    (tmp_path / "m.net").write_text(NET)
    (tmp_path / "priors.toml").write_text(PRIORS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SAMPLE = ("sweep", "m.net", "--sample", "sobol:1e3", "--priors", "priors.toml", "--keep", "A_total@2, auc(A_total)",
          "--at", "0:2/201", "--out", "s.sweep", "--shard-size", "100")  # fmt: skip


def test_a_sweep_goes_from_words_to_one_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum(*SAMPLE) == 0
    out, err = capsys.readouterr()
    assert "1,000 points: 1,000 ok, 0 failed, 0 pending (10 of 10 shards)" in out
    assert "1,000 points: about" in err and "kB" in err  # the estimate comes first
    assert residuum("collect", "s.sweep", "--out", "all.csv") == 0
    frame = pd.read_csv("all.csv")
    np.testing.assert_allclose(frame["A_total@2"], np.exp(-2 * frame["k"]), rtol=1e-3)
    np.testing.assert_allclose(frame["auc(A_total)"], (1 - np.exp(-2 * frame["k"])) / frame["k"], rtol=1e-3)
    assert residuum("collect", "s.sweep", "--out", "all.nc") == 0
    with xr.open_dataset("all.nc") as found:
        assert found.sizes["point"] == 1000 and list(found.kept.values) == ["A_total@2", "auc(A_total)"]


def test_jobs_of_an_array_and_then_the_folder_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum(*SAMPLE, "--shard", "1/3") == 0
    assert "pending (3 of 10 shards)" in capsys.readouterr().out
    assert residuum("status", "s.sweep") == 0
    assert "300 ok, 0 failed, 700 pending" in capsys.readouterr().out
    assert residuum("sweep", "--out", "s.sweep") == 0
    assert "0 pending" in capsys.readouterr().out
    first = shards(here / "s.sweep")
    assert residuum(*SAMPLE[:-4], "--out", "t.sweep", "--shard-size", "100") == 0
    assert shards(here / "t.sweep") == first


def test_an_estimate_alone_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum(*SAMPLE, "--dry-run") == 0
    assert "1,000 points: about" in capsys.readouterr().err
    assert not (here / "s.sweep").exists()


def test_a_sweep_is_verified(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum(*SAMPLE, "--verify", "3") == 0
    assert "3 points solved again by SciPy" in capsys.readouterr().out
    assert residuum("verify", "s.sweep", "--n", "5") == 0
    assert "5 points solved again by SciPy" in capsys.readouterr().out
    assert residuum("verify", "s.sweep", "--n", "5", "--limit", "1e-9") == 3


def test_a_stopped_sweep_says_how_to_go_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum(*SAMPLE, "--max-time", "1e-9") == 130
    assert "its wall time is used up; go on by `residuum sweep --out s.sweep`" in capsys.readouterr().err
    assert residuum("sweep", "--out", "s.sweep") == 0


def test_grids_and_tables_of_points(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("sweep", "m.net", "--grid", "k=0.01:1/3log", "--at", "1", "--out", "grid") == 0
    frame = open_sweep("grid").to_frame()
    np.testing.assert_allclose(frame["k"], [0.01, 0.1, 1.0])
    np.testing.assert_allclose(frame["A_total"], np.exp(-frame["k"]), rtol=1e-3)
    pd.DataFrame({"k": [0.3, 0.2]}).to_csv("points.csv", index=False)
    assert residuum("sweep", "m.net", "--table", "points.csv", "--at", "1,2", "--out", "table") == 0
    assert open_sweep("table").to_frame()["k"].tolist() == [0.3, 0.3, 0.2, 0.2]


def test_failed_runs_are_told_by_the_exit_code(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert residuum("sweep", "m.net", "--grid", "k=-1,1", "--at", "1", "--out", "failing") == 3
    assert "1 bad start, e.g. point 0: could not start" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--out none", "none holds no sweep"),
        ("--sample sobol:9 --at 1", "--sample and --priors belong together"),
        ("--sample sobol:9 --priors none.toml --at 1", "cannot read none.toml"),
        ("--sample sobol:2.5 --priors priors.toml --at 1", "expected sobol:N"),
        ("--sample uniform:9 --priors priors.toml --at 1", "expected sobol:N"),
        ("--grid k=1:2 --at 1", "cannot read --grid 'k=1:2'"),
        ("--grid k=0:2/5log --at 1", "cannot read --grid"),
        ("--grid k=a --at 1", "cannot read --grid"),
        ("--grid k=1 --grid k=2 --at 1", "--grid k was given twice"),
        ("--grid k=1 --table p.csv --at 1", "--grid and --table were given"),
        ("--table p.csv --at 1", "cannot read the table p.csv"),
        ("--grid q=1 --at 1", "unknown parameter 'q'"),
        ("--grid k=1", "give the times at which to read out"),
        ("--grid k=1 --keep A_total", "expected what to keep"),
        ("--grid k=1 --keep A_total@1 --readout A_total", "leave out --readout"),
        ("--grid k=1 --at 1 --context blast-itd", "belong to the shipped model"),
        ("--grid k=1 --at 1 --shard 3", "expected I/N"),
        ("--grid k=1 --at 1 --shard 3/3", "counted from 0 to 2"),
    ],
)
def test_bad_words_are_refused_in_one_line(
    words: str, told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert residuum("sweep", "m.net", *words.split()) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_a_sweep_of_the_shipped_model_begins_in_its_context(tmp_path: Path) -> None:
    out = tmp_path / "s"
    words = "--context blast-itd --drug gilteritinib=0 --grid drug1_dose=0,100 --at 10min --readout pERK"
    assert residuum("sweep", *words.split(), "--out", str(out)) == 0
    frame = open_sweep(out).to_frame()
    assert frame["status"].tolist() == ["OK", "OK"] and frame["pERK"][1] < 0.8 * frame["pERK"][0]


def test_a_model_is_inspected(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = net("k 1; spare 2; off 0", "A() 1; B() 0; C() 0; $D() 1", "1 2 k; 2 1 k; 2 3 off", "A_total 1")
    found = inspect_model(model)
    assert (found.n_species, found.n_fixed, found.n_reactions) == (4, 1, 3)
    assert found.unused == ("spare",) and found.unreached == ("C()",)
    assert [set(total.split(" + ")) for total in found.totals] == [{"A()", "B()", "C()"}]
    assert residuum("inspect", "m.net") == 0
    assert "1 species, 1 reactions" in capsys.readouterr().out
