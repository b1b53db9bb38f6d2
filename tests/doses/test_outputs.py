"""The report of a matrix: what it says of synergy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from helpers import GRID, small_matrix

from residuum.doses import DoseMatrix, synergy_scores
from residuum.doses.outputs import write_matrix

MEMBERS = {
    "members": [{"kd": 0.5}, {"kd": 2.0}],
    "weights": [0.75, 0.25],
    "contexts": {"cell": {}},
    "times": [1.0, 9.0],
}


def rows(page: Path, title: str) -> list[list[str]]:
    """Return the cells of the table under a title, its head first."""
    text = page.read_text()
    table = text[text.index(title) :].split("</table>")[0]
    return [re.findall(r"<t[hd][^>]*>\s*(.*?)\s*</t[hd]>", row, re.DOTALL) for row in table.split("<tr>")[1:]]


def with_synergy(**changes: Any) -> DoseMatrix:
    """Return a matrix of two members, in the lighter of which any two doses together leave nothing of P."""
    matrix = small_matrix(**{**MEMBERS, **changes})
    for d1 in GRID[1:]:
        for d2 in GRID[1:]:
            matrix.dataset["value"].loc[{"member": 1, "d1": d1, "d2": d2, "readout": "P"}] = 0.0
    return matrix


def test_synergy_has_interval_and_probability_for_every_readout_at_the_last_time(tmp_path: Path) -> None:
    matrix = with_synergy()
    page = write_matrix(tmp_path, matrix, {}, structural=["one"])
    low, middle, high = (
        synergy_scores(matrix)["mean_bands"].sel(readout="P", model="bliss").isel(time=-1, context=0).values
    )
    assert low == middle < 0.01 < high
    head, first, second = rows(page, "Mean excess, 9 model time after the drugs")
    assert head == ["context", "readout", "Bliss excess", "HSA excess", "models disagree at"]
    assert first[:3] == ["cell", "P", f"+0.00 [+0.00, +{high:.2f}]"] and first[-1] == "0 of 4 doses"
    assert second[:3] == ["cell", "one", "+0.00 [+0.00, +0.00]"]
    head, first, second = rows(page, "Probability of synergy (mean excess above 0.02)")
    assert first[2:] == ["25%, 0%", "100%, 0%"] and second[2] == "0%, 0%"
    text = page.read_text()
    assert "act in one line on the way to one:" in text and "loewe needs 3 doses above 0" in text
    assert {path.name for path in tmp_path.glob("synergy*")} == {
        "synergy_P_9modeltime.png",
        "synergy_one_9modeltime.png",
    }


def test_a_single_parameter_set_has_numbers_without_interval_and_failed_runs_none(tmp_path: Path) -> None:
    matrix = small_matrix(times=[9.0], readouts=["P"])
    matrix.dataset["value"].loc[{"context": "fast", "d1": 3.0, "d2": 3.0}] = np.nan
    page = write_matrix(tmp_path, matrix, {}, models=["bliss"])
    assert rows(page, "Mean excess") == [
        ["context", "readout", "Bliss excess", "models disagree at"],
        ["slow", "P", "+0.00", "0 of 4 doses"],
        ["fast", "P", "not known", "0 of 4 doses"],
    ]
    assert "Probability of synergy" not in page.read_text()


def test_a_third_drug_at_one_dose_is_the_background_of_two(tmp_path: Path) -> None:
    matrix = small_matrix(drugs={"d1": GRID, "d2": GRID, "kd": [1.0]}, contexts={"cell": {}}, times=[9.0])
    page = write_matrix(tmp_path, matrix, {})
    assert "All beside kd 1 model units." in page.read_text() and (tmp_path / "synergy_P_9modeltime.png").is_file()


def test_members_without_a_number_are_told(tmp_path: Path) -> None:
    matrix = small_matrix(**MEMBERS)
    matrix.dataset["value"].loc[{"member": 1, "d1": 3.0, "d2": 3.0, "readout": "P"}] = np.nan
    page = write_matrix(tmp_path, matrix, {})
    assert "the others have at least 75% of the weight" in page.read_text()
    assert rows(page, "Mean excess")[1][:3] == ["cell", "P", "+0.00 [+0.00, +0.00]"]
