"""Wrong input and what fails: one line on standard error, an exit code, nothing half-written."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest
from helpers import command as residuum

import residuum as package
from residuum.simulator import InputError, memory
from residuum.simulator.cache import CacheNotice

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
        ("matrix", "no drug was given; name one with --drug DRUG=DOSES"),
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
