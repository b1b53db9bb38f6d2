"""`residuum find` and `report`, and what ensembles, dosing and designs make of `residuum matrix`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import command as residuum

from residuum import InputError, aml_ensemble, aml_model, find_dose, load_matrix
from residuum.commands.search import read_until

SMALL = ["--drug", "gilteritinib=0,100", "--drug", "trametinib=0,3", "-c", "blast-itd+erk-stroma", "-r", "pERK"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a matrix of three members on stroma, 2 h after the drugs."""
    folder = tmp_path_factory.mktemp("matrix")
    assert residuum("matrix", *SMALL, "--ensemble", "shipped", "--members", "3", "--out", str(folder)) == 0
    return folder


def test_a_matrix_of_an_ensemble_keeps_its_members(saved: Path) -> None:
    m = load_matrix(saved / "matrix.nc")
    assert m.members == aml_ensemble().members()[:3] and m.contexts == ("blast-itd+erk-stroma",)
    report = (saved / "report.html").read_text()
    assert "medians over 3 members" in report and re.search(r">0\.\d+ \[0\.\d+, 0\.\d+\]<", report)


def test_find_says_dose_interval_stroma_excess_and_reach(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--drug", "trametinib", "--given", "gilteritinib=100nM", "--until", "pERK < 10% of untreated"]
    assert residuum("find", str(saved), *words, "--prob", "0.9", "--out", str(tmp_path / "t.csv")) == 0
    first, line, note = capsys.readouterr().out.splitlines()
    assert first == "trametinib with gilteritinib 100 nM: pERK below 10% of untreated with probability 0.9"
    assert note.startswith("note: the drugs act in one line on the way to pERK")
    assert line.startswith("blast-itd+erk-stroma, 2 h: trametinib ")
    for part in (
        "(members, 5-95 %: ",
        "off stroma ",
        "excess over Bliss ",
        "reachable (highest free",
        "left in cd34+erk",
    ):
        assert part in line
    table = pd.read_csv(tmp_path / "t.csv")
    assert list(table["context"]) == ["blast-itd+erk-stroma", "blast-itd"]
    assert table["dose"][1] < table["dose"][0] < 100 and (table["share"] >= 0.9).all() and (table["left"] < 0.1).all()


def test_find_takes_all_from_a_design(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.toml").write_text(
        'contexts = ["blast-itd"]\nreadouts = ["pERK"]\ntimes = "2h"\n[drugs]\ntrametinib = "0, 3"\n'
        'gilteritinib = "0, 100"\n[find]\ndrug = "trametinib"\nreadout = "pERK"\nbelow = 0.25\n'
        "[find.given]\ngilteritinib = 3\n"
    )
    assert residuum("find", str(tmp_path / "d.toml")) == 0
    said = capsys.readouterr().out
    found = find_dose(aml_model(), "trametinib", ("pERK", 0.25), contexts=["blast-itd"], times=[7200.0],
                      given={"gilteritinib": 3.0})  # fmt: skip
    assert said == f"{found}\n" and "below 25%" in said
    assert residuum("matrix", "--design", str(tmp_path / "d.toml"), "--out", str(tmp_path / "m")) == 0
    assert load_matrix(tmp_path / "m" / "matrix.nc").drugs == ("trametinib", "gilteritinib")


def test_report_draws_a_saved_matrix_again_with_pdf(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    assert residuum("report", str(saved / "matrix.nc"), "--out", str(out), "--pdf") == 0
    names = {path.name for path in out.iterdir()}
    assert {"report.html", "matrix.nc", "matrix.csv", "arms_2h.png", "arms_2h.pdf", "matrix_pERK_2h.pdf"} <= names
    assert "data:image/png;base64," in (out / "report.html").read_text()
    np.testing.assert_array_equal(
        load_matrix(out / "matrix.nc").residual(), load_matrix(saved / "matrix.nc").residual()
    )


def test_drugs_of_a_matrix_come_and_go_as_told(tmp_path: Path) -> None:
    words = ["--drug", "gilteritinib=0,100@0h:1h", "-c", "blast-itd", "-r", "pERK", "--at", "1h,20h"]
    assert residuum("matrix", *words, "--out", str(tmp_path)) == 0
    m = load_matrix(tmp_path / "matrix.nc")
    left = m.residual().sel(gilteritinib=100).squeeze()
    assert left[0] < 0.3 and left[1] > 0.8 and "gilteritinib on [0, 3600)" in m.dataset.attrs["protocol"]
    assert "gilteritinib on [0, 3600)" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "meant"),
    [("pERK < 10% of untreated", ("pERK", 0.1)), ("pERK<0.25", ("pERK", 0.25)), ("pS6 < 5 % of DMSO", ("pS6", 0.05))],
)
def test_what_shall_be_left_in_words(text: str, meant: tuple[str, float]) -> None:
    assert read_until(text) == meant


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("find nowhere.nc --drug trametinib --until pERK<0.1", "nowhere.nc does not exist"),
        ("find {saved}", "say whose dose is searched"),
        ("find {saved} --drug trametinib --until pERK", "cannot read 'pERK': expected READOUT < FRACTION"),
        ("find {saved} --drug trametinb --until pERK<0.1", "Did you mean 'trametinib'"),
        ("find {saved} --drug trametinib --until pERK<0.1 --given trametinib=1", "searched and given at once"),
        ("find {saved} --drug trametinib --until pERK<0.1 --given gilteritinib=1,2", "needs one dose"),
        ("find {saved} --drug trametinib --until pERK<0.1 --prob 90", "the probability is 90"),
        ("find {saved} --drug trametinib --until pERKK<0.1", "did you mean 'pERK'"),
        ("find {saved} --drug trametinib --until pERK<0.1 --members 3", "--members belongs to --ensemble"),
        ("find {saved} --drug trametinib --until pERK<0.1 --ensemble shipped --members 3000", "the ensemble has"),
        ("matrix --drug gilteritinib=0,1@noon", "noon"),
        ("matrix", "no drug was given"),
        ("report {saved}/report.html", "cannot be read as netCDF"),
    ],
)
def test_wrong_words_are_refused_in_one_line(
    words: str, says: str, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert residuum(*words.format(saved=saved).split(" ")) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


def test_a_reference_in_words_is_the_untreated_cell() -> None:
    with pytest.raises(InputError, match="fraction of the untreated cell"):
        read_until("pERK < 10% of blast-wt")
