"""`residuum simulate`: tables and figures of the shipped model, of one's own drugs and of one's own models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import command as residuum

import residuum as package
from residuum.simulator import InputError
from residuum.simulator.words import load_model

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
