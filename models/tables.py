"""The name of a shipped table goes in; its rows, or the quantities of the things it names, come out."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .names import checked

DATA = Path(__file__).parent / "data"
QUANTITY_COLUMNS = ("quantity", "value", "unit", "prior_log10_sd", "source", "note")
BASED_ON = "based_on"
NAME = "name"
"""The unit of what is one or several names instead of a number."""


def read(filename: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a tab-separated table of `models/data`, as dictionaries of stripped text.

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


@dataclass(frozen=True)
class Quantity:
    """One quantity of a cell, a stroma or an allele."""

    value: str
    """A number in `unit`, or one or several names."""
    unit: str
    prior_log10_sd: float
    """Standard deviation of log10(value) before any fit; 0 for definitions, zeros and names."""
    source: str
    """Citation key of `data/references.bib`, `assumed`, or `unchecked`."""
    note: str


@cache
def quantities(filename: str, kind: str) -> dict[str, dict[str, Quantity]]:
    """Read a table with one row per quantity of a named thing, for example of a cell.

    The first row of a thing may say `based_on`: it then has every quantity of another one above it, and its own
    rows replace them.

    Parameters
    ----------
    filename
        Name of the file, for example "cells.tsv".
    kind
        What is being named, which is also the head of the first column: "cell".

    Raises
    ------
    ValueError
        If a quantity occurs twice, or `based_on` is not the first row.
    UnknownNameError
        If a thing is based on one that is not above it.
    """
    things: dict[str, dict[str, Quantity]] = {}
    seen = set()
    for cells in read(filename, (kind, *QUANTITY_COLUMNS)):
        name, quantity, value = cells[kind], cells["quantity"], cells["value"]
        if (name, quantity) in seen:
            raise ValueError(f"{filename}: {quantity} of {name} occurs twice")
        seen.add((name, quantity))
        if quantity != BASED_ON:
            sd = float(cells["prior_log10_sd"] or 0)
            things.setdefault(name, {})[quantity] = Quantity(value, cells["unit"], sd, cells["source"], cells["note"])
        elif name in things:
            raise ValueError(f"{filename}: {BASED_ON} must be the first row of {name}")
        else:
            things[name] = dict(things[checked(kind, value, things)])
    return things
