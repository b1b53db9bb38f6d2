"""The name of a shipped table goes in; its rows, as dictionaries of stripped text, come out."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

DATA = Path(__file__).parent / "data"


def read(filename: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a tab-separated table of `models/data`.

    Parameters
    ----------
    filename
        Name of the file, for example "drugs.tsv".
    columns
        The header the caller relies on, in order; units are part of the column names.

    Raises
    ------
    ValueError
        If the header differs, or a row has another number of cells than the header.
    """
    with (DATA / filename).open(encoding="utf-8", newline="") as lines:
        cells = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    header, body = cells[0], cells[1:]
    if header != list(columns):
        raise ValueError(f"{filename}: columns are {header}, expected {list(columns)}")
    rows = []
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise ValueError(f"{filename}, line {number}: {len(row)} cells, expected {len(header)}")
        rows.append({name: cell.strip() for name, cell in zip(header, row, strict=True)})
    return rows
