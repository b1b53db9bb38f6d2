"""Tables of the shipped model in; lists that a person reads in a terminal of 80 columns out."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NOT_BOUND, UNKNOWN = ">10000", "unknown"
NAMES = "name"
"""The unit of what is one or several names instead of a number."""
NONE = "none"
"""Of a readout that is no phosphosite, or of no one protein."""
WILD_TYPE = "wt"
EXPOSURE = {
    "clinical_total": ("highest in plasma", 1.0, " nM"),
    "clinical_trough": ("lowest in plasma", 1.0, " nM"),
    "free_fraction": ("free fraction", 1.0, ""),
    "half_life": ("half-life", 3600.0, " h"),
}
"""Quantity of the table of exposure -> in words, divided by, unit after that."""
PRIOR = "prior sd: of log10(value), 0 where a parameter is not to be fitted"


def overview(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the names of cells, stroma presets, drugs and readouts, each with one line on what it is."""
    cells, stromas = (_things(tables["contexts"], kind) for kind in ("cell", "stroma"))
    parts = {
        "cells (--context CELL)": {name: _cell(quantities) for name, quantities in cells.items()},
        "stroma (--context CELL+STROMA, each cell with each)": {
            name: ", ".join(_signals(quantities)) for name, quantities in stromas.items()
        },
        "drugs (--drug)": _drugs(tables["drugs"]),
        "readouts (--readout)": {r.readout: _readout(r) for r in tables["readouts"].itertuples()},
    }
    lines = []
    for title, entries in parts.items():
        width = max(map(len, entries))
        lines += [title, *(line for name, text in entries.items() for line in entry(name.ljust(width), text)), ""]
    lines += _wrapped(
        "Every number with its source: residuum models contexts (cells, stroma and alleles), drugs, exposure, readouts "
        "or parameters; with --csv as a table.",
        "",
    )
    return "\n".join(lines)


def full(kind: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return one table of the shipped model with every number, unit and source, notes below the rows."""
    frame = tables[kind]
    if kind == "readouts":
        entries = {
            r.readout: f"{_readout(r)}. Assay: {r.assay}. Source: {r.source}. {r.note}" for r in frame.itertuples()
        }
        return "\n".join(line for name, text in entries.items() for line in (name, *_wrapped(text, "    ")))
    if kind == "contexts":
        headings = {"quantity": "quantity", "value": "value", "unit": "unit", "prior_log10_sd": "prior sd",
                    "source": "source"}  # fmt: skip
        return f"{_grouped(_named(frame), 'name', headings)}\n\n{PRIOR}"
    if kind == "drugs":
        headings = {"target": "target", "binding": "binding", "kd_nM": "Kd (nM)", "kon_per_nM_s": "kon (1/nM/s)",
                    "cell_shift": "cell shift", "source": "source"}  # fmt: skip
        words = {"pMEK_kd_factor": "Kd of pMEK over that of MEK", "residual_phosphorylation": "phosphorylation left"}
        notes = [
            "; ".join([*(f"{words[c]}: {row[c]}" for c in words if row[c]), *([row["note"]] if row["note"] else [])])
            for _, row in frame.iterrows()
        ]
        exposed = {str(drug): _exposure(tables["exposure"], str(drug)) for drug in frame.drug.unique()}
        return _grouped(frame.assign(note=notes), "drug", headings, exposed)
    if kind == "exposure":
        headings = {"quantity": "quantity", "value": "value", "unit": "unit", "source": "source"}
        return _grouped(frame, "drug", headings)
    value = [f"{v:g}" + "*" * bool(by_context) for v, by_context in zip(frame.value, frame.set_by_context, strict=True)]
    headings = {"name": "parameter", "value": "value", "unit": "unit", "prior_log10_sd": "prior sd"}
    note = [": ".join(filter(None, both)) for both in zip(frame.source, frame.note, strict=True)]  # too wide beside it
    notes = ["* set by the context", PRIOR]
    return "\n".join([*_columns(frame.assign(value=value, note=note), headings), "", *notes])


def _things(frame: pd.DataFrame, kind: str) -> dict[str, dict[str, str]]:
    """Return name -> quantity -> value of one kind of the table of contexts, with what it takes from another."""
    things: dict[str, dict[str, str]] = {}
    for row in frame[frame.kind == kind].itertuples():
        own = things.setdefault(row.name, {})
        own.update(things[row.value] if row.quantity == "based_on" else {row.quantity: row.value})
    return things


def _cell(quantities: Mapping[str, str]) -> str:
    """Return what a cell is, has and sees: `primary AML blast; FLT3 ITD and wild type; RAS mutant; FL 0.014 nM`."""
    held = dict.fromkeys(quantities[f"allele_{slot}"] for slot in "AB" if float(quantities[f"amount_FLT3{slot}_total"]))
    alleles = " and ".join("wild type" if allele == WILD_TYPE else allele.upper() for allele in held)
    others = ["RAS mutant"] if float(quantities["amount_RASmut_total"]) else []
    others += [f"NF1 {nf1:g} of normal"] if (nf1 := float(quantities["amount_NF1_total"])) != 1 else []
    seen = ", ".join(_signals(quantities)) or "no ligand"
    return "; ".join([quantities["cell_system"], f"FLT3 {alleles}", *others, seen])


def _signals(quantities: Mapping[str, str]) -> list[str]:
    """Return what comes from outside the cell: ligands, unresolved input to SRC, metabolism of drugs."""
    patterns = {r"ligand_(\w+)_dose": "{} {} nM", r"drive_SRC_stroma()": "{}SRC input {} nM",
                r"amount_(CYP3A4)_total": "{}"}  # fmt: skip
    return [
        words.format(found[1], value)
        for name, value in quantities.items()
        for pattern, words in patterns.items()
        if (found := re.fullmatch(pattern, name)) and float(value)
    ]


def _readout(row: Any) -> str:
    """Return what is read out: `MAP2K1 and MAP2K2: S217/S221`, `PIM1 (protein)`, or what a score is."""
    if row.protein == NONE:
        return f"{row.assay.removeprefix(f'{NONE}: ')}, {row.source}"
    site = row.site.removeprefix(NONE)
    return row.protein + (f": {site}" if site == row.site else site)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table of contexts with the kind beside the name, and lists of names in the note, where they fit."""
    several = (frame.unit == NAMES) & frame.value.str.contains(" ")
    return frame.assign(
        name=frame.kind + " " + frame.name,
        note=frame.note.where(~several, frame.value.str.replace(" ", ", ") + ": " + frame.note),
        value=frame.value.where(~several, ""),
    )


def _drugs(frame: pd.DataFrame) -> dict[str, str]:
    described = {}
    for drug, rows in frame.groupby("drug", sort=False):
        bound = rows[~rows.kd_nM.isin((NOT_BOUND, UNKNOWN))]
        kinds = [
            f"{', '.join(of_kind.target)} ({kind})" if kind else ", ".join(of_kind.target)
            for kind, of_kind in bound.groupby("binding", sort=False)
        ]
        unknown = ", ".join(rows.target[rows.kd_nM == UNKNOWN])
        described[str(drug)] = ", ".join(kinds) + (f"; not known: {unknown}" if unknown else "")
    return described


def _exposure(frame: pd.DataFrame, drug: str) -> str:
    """Return what is known of a drug in patients: `in patients: free 25.5 nM at most; ...; not known: trough`."""
    rows = frame[frame.drug == drug]
    known = {row.quantity: float(row.value) for row in rows.itertuples() if row.quantity in EXPOSURE
             and row.value != UNKNOWN}  # fmt: skip
    said = []
    if {"free_fraction", "clinical_total"} <= known.keys():
        said = [f"free {known['free_fraction'] * known['clinical_total']:.3g} nM at most"]
    said += [f"{what} {value / scale:.3g}{unit}" for name, (what, scale, unit) in EXPOSURE.items()
            if (value := known.get(name)) is not None]  # fmt: skip
    missing = ", ".join(what for name, (what, _, _) in EXPOSURE.items() if name not in known)
    return "in patients: " + "; ".join([*said, *([f"not known: {missing}"] if missing else [])])


def _grouped(frame: pd.DataFrame, by: str, headings: Mapping[str, str], about: Mapping[str, str] | None = None) -> str:
    """Return one block per value of the column `by`, begun with what is said about it; columns are aligned."""
    header, *lines = _columns(frame, headings)
    blocks, group = [header], None
    starts = [i for i, line in enumerate(lines) if not line.startswith("    ")]
    for row, (start, end) in enumerate(zip(starts, [*starts[1:], len(lines)], strict=True)):
        if frame[by].iloc[row] != group:
            group = frame[by].iloc[row]
            blocks += ["", str(group), *_wrapped((about or {}).get(str(group), ""), "  ")]
        blocks += lines[start:end]
    return "\n".join(blocks)


def _columns(frame: pd.DataFrame, headings: Mapping[str, str]) -> list[str]:
    """Return a header and, per row, a line of aligned cells, then the row's note, wrapped and indented."""
    cells = [[h, *(f"{v:g}" if isinstance(v, float) else str(v) for v in frame[c])] for c, h in headings.items()]
    widths = [max(map(len, column)) for column in cells]
    lines = []
    for note, row in zip(["", *frame.note], zip(*cells, strict=True), strict=True):
        lines.append("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
        lines += _wrapped(note, "      ") if note else []
    return lines


def entry(name: str, text: str) -> list[str]:
    """Return `name` and `text` beside it, wrapped."""
    return _wrapped(f"{name}  {text}", "  ", " " * (len(name) + 4))


def _wrapped(text: str, indent: str, subsequent: str | None = None) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 100)
    rest = indent if subsequent is None else subsequent
    return textwrap.wrap(text.strip(), width, initial_indent=indent, subsequent_indent=rest, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip
