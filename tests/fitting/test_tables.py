"""Bad tables are refused with file, line, column and what to do; good ones are read the same from files and frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from residuum.fitting import read_tables
from residuum.simulator import InputError


def saved(frames: dict[str, pd.DataFrame], folder: Path) -> Path:
    for name, frame in frames.items():
        frame.to_csv(folder / f"small_{name}.tsv", sep="\t", index=False)
    return folder


def test_files_and_frames_give_the_same_problem(frames: Any, make: Callable, tmp_path: Path) -> None:
    folder = saved(frames, tmp_path)
    from_frames, from_folder, from_prefix = make(frames), make(folder), make(folder / "small")
    theta = from_frames.nominal
    assert np.array_equal(from_frames.residuals(theta), from_folder.residuals(theta))
    assert np.array_equal(from_frames.residuals(theta), from_prefix.residuals(theta))
    assert from_folder.tables.hash == from_prefix.tables.hash


def test_the_hash_changes_with_any_cell(frames: Any) -> None:
    before = read_tables(frames).hash
    frames["measurements"].loc[3, "measurement"] *= 1.0000001
    assert read_tables(frames).hash != before


def test_notes_are_read(frames: Any) -> None:
    frames["notes"] = pd.DataFrame({"subject": ["noise"], "note": ["assumed"]})
    assert read_tables(frames).notes == (("noise", "assumed"),)


WRONG_CELLS = [
    # table, row, column, cell -> words of the error
    ("measurements", 2, "measurement", "much", ("line 4", "column measurement", "'much' is not a number")),
    ("measurements", 2, "measurement", "nan", ("line 4", "not a finite number")),
    ("measurements", 2, "measurement", "", ("line 4", "is empty")),
    ("measurements", 2, "measurement", -1.0, ("line 4", "log-normal")),
    ("measurements", 0, "time", "inf", ("line 2", "column time", "not a finite number")),
    ("measurements", 0, "time", -1.0, ("line 2", "column time", "measure at 0 or later")),
    ("measurements", 1, "experimentId", "a_non", ("line 3", "unknown experiment 'a_non'", "did you mean 'a_none'")),
    ("measurements", 1, "observableId", "beat", ("line 3", "unknown observable 'beat'", "did you mean 'bead'")),
    ("measurements", 1, "role", "fitted", ("line 3", "unknown role 'fitted'", "'fit'")),
    ("measurements", 1, "noiseParameters", "0.1", ("line 3", "1 numbers", "0 noise placeholders")),
    ("measurements", 1, "singleAgents", "a_none; lo", ("line 3", "unknown experiment 'lo'")),
    ("experiments", 0, "conditionId", "aa", ("line 2", "unknown condition 'aa'", "did you mean 'a'")),
    ("experiments", 2, "time", "soon", ("line 4", "'soon' is not a number")),
    ("experiments", 2, "time", 5.0, ("table experiments", "begins at 5", "let it begin at 0")),
    ("conditions", 2, "targetId", "dos", ("line 4", "column targetId", "unknown parameter", "did you mean 'dose'")),
    ("conditions", 0, "targetValue", "kf * gain_c", ("line 2", "targetValue", "'gain_c'", "did you mean 'gain_")),
    ("conditions", 0, "targetValue", "kf *", ("line 2", "cannot read the expression")),
    ("observables", 0, "observableFormula", "offset + scale * pY", ("line 2", "readout or parameter 'pY'", "'pX'")),
    ("measurements", 1, "censoring", "lef", ("line 3", "unknown kind of censoring 'lef'", "did you mean 'left'")),
    ("measurements", 1, "censoring", "interval", ("line 3", "column measurementUpper", "is empty")),
    ("measurements", 1, "measurementUpper", "9", ("line 3", "column measurementUpper", "not censored")),
    ("observables", 0, "noiseFormula", "nois", ("line 2", "did you mean 'noise'")),
    ("observables", 0, "noiseFormula", "noise - 1", ("line 2", "column noiseFormula", "positive number")),
    ("observables", 0, "noiseDistribution", "lognormal", ("line 2", "did you mean 'log-normal'")),
    ("parameters", 1, "lowerBound", 200, ("line 3", "column lowerBound", "200 is not below upperBound 100")),
    ("parameters", 1, "lowerBound", 0, ("line 3", "column lowerBound", "log10", "positive bound")),
    ("parameters", 1, "lowerBound", "", ("line 3", "column lowerBound", "needs")),
    ("parameters", 1, "nominalValue", 1000, ("line 3", "column nominalValue", "outside the bounds")),
    ("parameters", 1, "estimate", "perhaps", ("line 3", "neither true nor false")),
    ("parameters", 1, "parameterScale", "log2", ("line 3", "unknown scale 'log2'", "log10")),
    ("parameters", 1, "priorDistribution", "gamma", ("line 3", "unknown prior distribution 'gamma'", "known")),
    ("parameters", 2, "priorParameters", "0; 0", ("line 4", "sd > 0")),
    ("parameters", 2, "priorParameters", "0", ("line 4", "`mean; sd`")),
    ("parameters", 2, "parameterId", "gain_c", ("gain_c", "gain_a")),
]  # fmt: skip


@pytest.mark.parametrize(("table", "row", "column", "cell", "words"), WRONG_CELLS)
def test_a_wrong_cell_is_named_with_its_place(
    frames: Any, make: Callable, table: str, row: int, column: str, cell: object, words: tuple[str, ...]
) -> None:
    if column not in frames[table]:
        frames[table][column] = pd.Series("", index=frames[table].index, dtype=object)
    frames[table].loc[row, column] = cell
    with pytest.raises(InputError) as error:
        make(frames)
    assert f"table {table}" in str(error.value) or table in ("parameters",)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("measurements", "experimentId", "column 'experimentId' is missing"),
        ("parameters", "upperBound", "column 'upperBound' is missing"),
    ],
)
def test_a_missing_column_is_named(frames: Any, table: str, column: str, words: str) -> None:
    frames[table] = frames[table].drop(columns=column)
    with pytest.raises(InputError, match=words):
        read_tables(frames)


def test_a_misspelt_column_is_refused_rather_than_passed_over(frames: Any) -> None:
    frames["parameters"] = frames["parameters"].rename(columns={"priorDistribution": "priorDistributon"})
    with pytest.raises(InputError, match="did you mean 'priorDistribution'"):
        read_tables(frames)


@pytest.mark.parametrize("table", ["conditions", "experiments", "measurements", "observables", "parameters"])
def test_a_duplicate_row_is_named_with_the_line_it_repeats(frames: Any, table: str) -> None:
    frames[table] = pd.concat([frames[table], frames[table].iloc[[0]]], ignore_index=True)
    with pytest.raises(InputError, match=rf"line {len(frames[table]) + 1}, .*repeats line 2 .*remove one"):
        read_tables(frames)


def test_replicates_are_told_apart_by_their_name(frames: Any, make: Callable) -> None:
    rows = frames["measurements"]
    again = rows.iloc[[0]].assign(replicateId="second")
    frames["measurements"] = pd.concat([rows.assign(replicateId=""), again], ignore_index=True)
    assert make(frames).n_data == len(rows) + 1


def test_a_missing_table_or_file_is_named(frames: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks the table 'observables'"):
        read_tables({name: frame for name, frame in frames.items() if name != "observables"})
    with pytest.raises(InputError, match=r"holds no file \*conditions.tsv"):
        read_tables(tmp_path)
    with pytest.raises(InputError, match=r"nothing_conditions.tsv does not exist"):
        read_tables(tmp_path / "nothing")


def test_two_problems_in_one_folder_need_the_beginning_of_the_name(frames: Any, tmp_path: Path) -> None:
    saved(frames, tmp_path)
    (tmp_path / "other_parameters.tsv").write_text("")
    with pytest.raises(InputError, match="several tables of parameters"):
        read_tables(tmp_path)
    assert len(read_tables(tmp_path / "small").parameters.frame) == 6


def test_an_estimated_parameter_without_effect_is_refused(frames: Any, make: Callable) -> None:
    row = dict(parameterId="dose", lowerBound=0.1, upperBound=10, nominalValue=1, estimate="true", parameterScale="lin")
    frames["parameters"] = pd.concat([frames["parameters"], pd.DataFrame([row])], ignore_index=True)
    with pytest.raises(InputError, match="line 8, column parameterId: 'dose': every condition sets this parameter"):
        make(frames)
