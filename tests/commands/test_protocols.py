"""`residuum simulate --drug` and `--design`: drugs that come and go, from words and from a design file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from residuum.commands import main

NET = """begin parameters
1 dose 0
2 k 1
end parameters
begin species
1 $D() dose
2 A() 1
end species
begin reactions
1 0 2 k
2 1 1,2 k
3 2 0 k
end reactions
begin groups
1 drug 1
2 A 2
end groups
"""
DESIGN = """
contexts = ["blast-itd", "blast-itd+erk-stroma"]
readouts = ["pERK"]
times = "24h, 48h, 72h"
before = "off"
find = { drug = "trametinib", readout = "pERK", below = 0.1 }

[drugs]
gilteritinib = { dose = "100 nM", dosing = "0h:48h" }
trametinib = { dose = "3 nM", dosing = "48h:" }

[moves]
"60h" = "off"
"""
OWN = """
model = "{}"
readouts = ["drug", "A"]
times = "1, 2, 3"
contexts = {{ slow = {{ k = 0.5 }}, fast = {{ k = 2 }} }}
drugs.dose = {{ dose = 4, dosing = "1:2" }}
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
def model(tmp_path: Path) -> str:
    path = tmp_path / "own.net"
    path.write_text(NET)
    return str(path)


def series(csv: Path, condition: str, readout: str) -> np.ndarray:
    frame = pd.read_csv(csv)
    return frame[frame.condition.str.startswith(condition) & (frame.observable == readout)]["value"].to_numpy()


def test_a_design_file_runs_as_a_time_course(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    design, csv, words_csv = (tmp_path / name for name in ("switch.toml", "design.csv", "words.csv"))
    design.write_text(DESIGN)
    assert residuum("simulate", "--design", str(design), "--out", str(csv)) == 0
    assert "note: " in (said := capsys.readouterr().err) and "find is not for time courses" in said
    on = series(csv, "blast-itd+erk-stroma", "pERK")
    assert len(on) == 3 and on[1] > 5 * on[2]  # kept by stroma under the TKI, until the MEK inhibitor
    words = ["--drug", "gilteritinib=100@0h:48h", "--drug", "trametinib=3@48h:", "--readout", "pERK"]
    times = ["--at", "24h,48h,72h", "--context", "blast-itd"]
    assert residuum("simulate", *words, *times, "--out", str(words_csv)) == 0
    assert pd.read_csv(words_csv).condition[0] == "blast-itd, gilteritinib 100 nM 0h:48h, trametinib 3 nM 48h:"
    np.testing.assert_allclose(series(csv, "blast-itd", "pERK")[:3], series(words_csv, "blast-itd", "pERK"), rtol=1e-4)


def test_drugs_of_a_model_of_ones_own_come_and_go(tmp_path: Path, model: str) -> None:
    csv, designed, design = (tmp_path / name for name in ("words.csv", "designed.csv", "own.toml"))
    words = ["--drug", "dose=4@1:2", "--at", "1,2,3", "--set", "k=0.5", "--readout", "drug", "--readout", "A"]
    assert residuum("simulate", model, *words, "--out", str(csv)) == 0
    np.testing.assert_array_equal(series(csv, "k=0.5", "drug"), [0, 4, 0])
    rise = 4 * (1 - np.exp(-0.5))
    np.testing.assert_allclose(series(csv, "k=0.5", "A"), [1, 1 + rise, 1 + rise * np.exp(-0.5)], rtol=1e-4)
    assert set(pd.read_csv(csv).condition) == {"k=0.5, dose=4@1:2"}
    design.write_text(OWN.format(model))
    assert residuum("simulate", "--design", str(design), "--out", str(designed)) == 0
    np.testing.assert_array_equal(series(designed, "slow", "A"), series(csv, "k=0.5", "A"))


def test_a_dose_of_a_model_of_ones_own_without_a_time_is_always_there(tmp_path: Path, model: str) -> None:
    drug, parameter = tmp_path / "drug.csv", tmp_path / "parameter.csv"
    assert residuum("simulate", model, "--at", "1,2", "--drug", "dose=4", "--out", str(drug)) == 0
    assert residuum("simulate", model, "--at", "1,2", "--set", "dose=4", "--out", str(parameter)) == 0
    assert drug.read_text() == parameter.read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--drug gilteritinib=100@", "cannot read the dosing ''; expected intervals START:END"),
        ("--drug gilteritinib=1,2@0:1", "simulate takes one dose per drug; `residuum matrix` takes several"),
        ("--drug gilteritinib=1@0:1 --drug gilteritinib=1", "given twice; write its intervals behind one @"),
        ("--drug gilteritinib=1@4h:2h", "does not end after it starts"),
        ("--drug gilteritinib=1@0h:4h,2h:6h", "overlap"),
        ("--drug gilteritnib=1@0h:4h", "Did you mean 'gilteritinib'"),
        ("--design design.toml --drug gilteritinib=1", "--design says what is run; leave --drug out, or write it"),
        ("--design design.toml", "the design design.toml cannot be read: No such file"),
    ],
)
def test_wrong_words_end_in_one_line(
    words: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert residuum("simulate", *words.split()) == 2
    said = capsys.readouterr().err
    assert says in said and said.startswith("error:") and said.count("\n") == 1


def test_several_doses_are_a_matrix(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    design = tmp_path / "own.toml"
    design.write_text(OWN.format(model).replace("dose = 4,", 'doses = "0, 4",'))
    assert residuum("simulate", "--design", str(design)) == 2
    assert "dose has 2 doses, but a time course takes one of each drug" in capsys.readouterr().err
    assert residuum("simulate", model, "--drug", "dose=4@1:2", "--set", "dose=1") == 2
    assert "dose is given as a drug and as a parameter" in capsys.readouterr().err
