"""`residuum rank` in this process: what it writes, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from residuum.commands import main

SMALL = ("--context", "blast-itd+erk-stroma", "--tki", "gilteritinib", "--partner", "trametinib", "--dose",
         "gilteritinib=30", "--dose", "trametinib=1nM", "--members", "2")  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    """Return the exit code of `residuum rank` with these words."""
    monkeypatch.setattr(sys, "argv", ["residuum", "rank", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.mark.slow
def test_a_ranking_is_written_as_tables_figures_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *SMALL, "--out", str(tmp_path)) == 0
    assert "8 runs, 0 failed" in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "rank.csv", keep_default_na=False)
    assert set(table.readout) == {"pERK", "pSTAT5", "survival_score"}
    assert table[table.readout == "pERK"].treatment.tolist()[0] == "gilteritinib + trametinib"
    assert set(table.basis) == {"given"}
    shares = pd.read_csv(tmp_path / "spread.csv")
    assert {"fit", "stroma", "cell", "drugs"} <= set(shares.columns)
    assert set(shares.treatment) == {"gilteritinib", "gilteritinib + trametinib"}
    assert pd.read_csv(tmp_path / "doses.csv").dose_nM.tolist() == [30.0, 1.0]
    with xr.open_dataset(tmp_path / "rank.nc", engine="h5netcdf") as kept:
        assert kept.sizes == {"member": 2, "context": 1, "treatment": 3, "readout": 3}
        assert kept.attrs["priors"] == "stroma, cell, drugs"
    page = (tmp_path / "rank.html").read_text(encoding="utf-8")
    assert page.count("<img") == 9
    assert "no advice" in page


def test_nominal_parameters_have_no_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *SMALL, "--ensemble", "nominal", "--prior", "none", "--out", str(tmp_path)) == 0
    assert not (tmp_path / "spread.csv").exists()
    assert (pd.read_csv(tmp_path / "rank.csv").n == 1).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--at", "2h,24h"), "--at takes one time"),
        (("--prior", "none", "--prior", "cell"), "--prior none stands alone"),
        (("--dose", "gilteritinib=0,30"), "gilteritinib has 2"),
        (("--tki", "gilteritinip"), "gilteritinib"),
        (("--context", "blast-itd", "--context", "blast-itd"), "given twice"),
        (("--ensemble", "nowhere.nc"), "nowhere.nc"),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(monkeypatch, *words, "--members", "1", "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
