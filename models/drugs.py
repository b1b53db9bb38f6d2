"""A drug, one of the four drug slots and a context go in; the parameter values that put it there come out.

A drug is a row per target, never a monomer of its own. A pair of drug and target without a row is unknown: it is
treated as not binding, and listed by `unknown_pairs`.

An affinity in the table is that of the assay it was measured in; the model uses `kd_nM * cell_shift`, the
dissociation constant towards the state of the target that the drug binds in the cell (type II: the inactive kinase
only, so that its apparent value is larger by 1 + active/inactive). How far it may be off is `prior_log10_sd`: 0.48
(a factor of 3 at one standard deviation) where cells say something, 0.9 (a factor of 30 at the ends of the 90 %
range) where only a cell-free assay does. A residence time is 1 / (kon kd).

Exposure (how much drug is free, what patients have in their plasma) stands in a table of its own.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from os import PathLike, fspath
from pathlib import Path

from . import alleles, contexts, tables
from .names import UnknownNameError, checked
from .parameters import ALLELE_SLOTS, DRUG_SLOTS, nominal

FILE = "drugs.tsv"
COLUMNS = (
    "drug",
    "target",
    "binding",
    "kd_nM",
    "kon_per_nM_s",
    "cell_shift",
    "pMEK_kd_factor",
    "residual_phosphorylation",
    "prior_log10_sd",
    "source",
    "note",
)
REQUIRED = ("drug", "target", "kd_nM")
DEFAULTS = {
    "kon_per_nM_s": "1e-3",  # usual for a small molecule, and that of the FLT3 inhibitors
    "cell_shift": "1",
    "pMEK_kd_factor": "1",
    "residual_phosphorylation": "0",
    "prior_log10_sd": "0.9",
    "source": "unchecked",
}
"""What an empty or missing cell stands for."""
DOES_NOT_BIND = ">10000"
UNKNOWN = "unknown"
POSITIVE = (math.ulp(0.0), math.inf, "a number above 0")
NUMBERS = {
    "kd_nM": (*POSITIVE[:2], f"nM above 0, {DOES_NOT_BIND} or {UNKNOWN}"),
    "kon_per_nM_s": POSITIVE,
    "cell_shift": POSITIVE,
    "pMEK_kd_factor": POSITIVE,
    "residual_phosphorylation": (0.0, 1.0, "a number from 0 to 1"),
    "prior_log10_sd": (0.0, math.inf, "a number that is not negative"),
}
"""Column -> lowest value, highest value, and both in words."""
FLT3_POCKETS = {"type I": "typeI", "type II": "typeII"}
KINASE_DOMAIN_MUTANTS = ("FLT3-D835Y", "FLT3-F691L")
FLT3_TARGETS = ("FLT3", "FLT3-ITD", *KINASE_DOMAIN_MUTANTS)
POCKET_TARGETS = ("FGFR1", "KIT", "AXL", "JAK1", "JAK2", "SRC", "MEK", "PI3K", "MTORC1", "CXCR4", "CYP3A4")
TARGETS = (*FLT3_TARGETS, *POCKET_TARGETS)

EXPOSURE_FILE = "exposure.tsv"
EXPOSURE_COLUMNS = ("drug", "quantity", "value", "unit", "source", "note")

_RECEPTORS = ("TKI", "FGFR inhibitor", "CXCR4 antagonist")
_TO_ERK = (_RECEPTORS, ("MEK inhibitor",))
_TO_S6 = (_RECEPTORS, ("PI3K inhibitor",), ("MTORC1 inhibitor",))
LINES = {
    **dict.fromkeys(("pERK", "pCEBPA", "DUSP6", "SPRY"), _TO_ERK),
    **dict.fromkeys(("pAKT", "pGSK3B"), _TO_S6[:2]),
    **dict.fromkeys(("pS6K", "pS6"), _TO_S6),
}
"""Read-out -> steps in line on the way to it, each the classes of drugs that block it. Side branches are left out."""


class DrugError(ValueError):
    """A drug table, or a question about a drug, that cannot be worked with; says where, why and what to do."""


@dataclass(frozen=True)
class Affinity:
    """What one drug does to one target."""

    drug: str
    target: str
    binding: str
    """`type I` or `type II` on FLT3; elsewhere in words."""
    kd: float | None
    """Dissociation constant in the cell, nM; None if it does not bind, or if nothing is known."""
    kon: float | None
    """1/(nM s); None where `kd` is None."""
    known: bool
    """False if no value was found: the pair is then treated as not binding, and listed by `unknown_pairs`."""
    pMEK_kd_factor: float
    """Of a drug on MEK: dissociation constant of pMEK over that of unphosphorylated MEK."""
    residual_phosphorylation: float
    """Of a drug on MEK: rate at which RAF phosphorylates drug-bound MEK, relative to free MEK."""
    prior_log10_sd: float
    """Standard deviation of log10(kd) before any fit; 0 where `kd` is None."""
    source: str
    note: str


@dataclass(frozen=True)
class Exposure:
    """How much of a drug reaches the cells of a patient; None for what is unknown."""

    drug: str
    drug_class: str | None = None
    molecular_weight: float | None = None
    """g/mol."""
    free_fraction: float | None = None
    """Unbound over total concentration in plasma."""
    clinical_total: float | None = None
    """Highest total concentration in plasma at steady state, nM."""
    clinical_trough: float | None = None
    """Total concentration in plasma before the next dose, nM."""
    half_life: float | None = None
    """In plasma, s."""
    CYP3A4_clearance: float | None = None
    """How fast CYP3A4 of the stroma clears the drug, 1/(nM s)."""


def table() -> tuple[Affinity, ...]:
    """Return all drug-target pairs: those of the shipped table, then those that were added."""
    return (*_shipped(), *(row for rows in _added.values() for row in rows))


def cells() -> list[dict[str, str]]:
    """Return the rows of `table` as text, column -> cell, as they stand in the tables."""
    return [*tables.read(FILE, COLUMNS), *(row for rows in _added_cells.values() for row in rows)]


def names() -> tuple[str, ...]:
    """Return the names of all drugs."""
    return tuple(dict.fromkeys(row.drug for row in table()))


def unknown_pairs(drug: str | None = None) -> tuple[tuple[str, str], ...]:
    """Return the (drug, target) pairs without a known affinity, of one drug or of all.

    The model treats them as not binding. FLT3 stands for all its alleles.

    Raises
    ------
    UnknownNameError
        If there is no such drug.
    """
    pairs = []
    for name in names() if drug is None else (drug,):
        known = {_family(row.target) for row in _rows(name).values() if row.known}
        pairs += [(name, target) for target in ("FLT3", *POCKET_TARGETS) if target not in known]
    return tuple(pairs)


def off_targets(drug: str) -> tuple[Affinity, ...]:
    """Return what `drug` binds besides the target that it binds best in the cell, tightest first.

    Raises
    ------
    UnknownNameError
        If there is no such drug.
    """
    bound = sorted((row.kd, row.target) for row in _rows(drug).values() if row.kd is not None)
    main = _family(bound[0][1]) if bound else None
    return tuple(_rows(drug)[target] for _, target in bound if _family(target) != main)


def dose_parameter(slot: int) -> str:
    """Return the name of the parameter that sets the free extracellular concentration (nM) of a slot's drug.

    Raises
    ------
    UnknownNameError
        If there is no such slot.

    Examples
    --------
    >>> from residuum.models import drugs
    >>> drugs.dose_parameter(1)
    'drug1_dose'
    """
    return f"drug{_checked_slot(slot)}_dose"


def slot_overrides(slot: int, drug: str, context: str) -> dict[str, float]:
    """Return parameter name -> value for `drug` in `slot` of a cell in `context`; the dose is not among them.

    Every other parameter of the slot is set, those of targets that the drug does not bind to their empty value,
    so that one drug can follow another in a slot. Which FLT3 row holds depends on the context's alleles.

    Raises
    ------
    UnknownNameError
        If there is no such slot, drug or context.
    """
    rows = _rows(drug)
    values = _empty_slot(_checked_slot(slot))
    for allele_slot in ALLELE_SLOTS:
        values |= _flt3_binding(f"drug{slot}_FLT3{allele_slot}", rows, contexts.allele_of(context, allele_slot))
    for target in POCKET_TARGETS:
        if target in rows:
            values |= _binding(f"drug{slot}_{target}", rows[target])
    if "MEK" in rows and rows["MEK"].kd is not None:
        values[f"drug{slot}_MEK_pMEK_factor"] = rows["MEK"].pMEK_kd_factor
        values[f"drug{slot}_MEK_residual"] = rows["MEK"].residual_phosphorylation
    values[f"drug{slot}_CYP3A4_clearance"] = exposure(drug).CYP3A4_clearance or 0.0
    return values


def kd_parameters(slot: int, drug: str, context: str) -> dict[str, str]:
    """Return the parameters that hold the dissociation constants of `drug` in `slot`, each -> the target of its row.

    For FLT3 these are the rows that hold for the alleles of `context`; pairs that do not bind are absent.

    Raises
    ------
    UnknownNameError
        If there is no such slot, drug or context.
    """
    rows = _rows(drug)
    prefix = f"drug{_checked_slot(slot)}"
    found = {f"{prefix}_{name}_kd": name for name in POCKET_TARGETS if name in rows and rows[name].kd is not None}
    for allele_slot in ALLELE_SLOTS:
        row = _flt3_row(rows, contexts.allele_of(context, allele_slot))
        if row is not None:
            found[f"{prefix}_FLT3{allele_slot}_{FLT3_POCKETS[row.binding]}_kd"] = row.target
    return found


def exposure(drug: str) -> Exposure:
    """Return free fraction, plasma concentrations and clearance of `drug`, None for what is unknown.

    Raises
    ------
    UnknownNameError
        If there is no such drug.
    """
    return _exposures().get(checked("drug", drug, names()), Exposure(drug))


def in_one_line(drugs: Iterable[str]) -> tuple[str, ...] | None:
    """Return the read-outs on the way to which the drugs block more than one step; None if a drug's class is unknown.

    Raises
    ------
    UnknownNameError
        If there is no such drug.

    Examples
    --------
    >>> from residuum.models import drugs
    >>> drugs.in_one_line(["gilteritinib", "rapamycin"])
    ('pS6K', 'pS6')
    """
    classes = {exposure(drug).drug_class for drug in drugs}
    if None in classes:
        return None
    return tuple(readout for readout, steps in LINES.items() if sum(not classes.isdisjoint(step) for step in steps) > 1)


def free_concentration(drug: str, total_nM: float) -> float:
    """Return the free concentration (nM) of `drug` at a total concentration (nM) in plasma.

    Raises
    ------
    UnknownNameError
        If there is no such drug.
    DrugError
        If its free fraction is unknown.
    """
    fraction = exposure(drug).free_fraction
    if fraction is None:
        raise DrugError(f"The free fraction of {drug} is unknown; give its free concentration as the dose instead.")
    return fraction * total_nM


def clinical_free(drug: str) -> float | None:
    """Return the highest free concentration (nM) in patients at steady state; None if either factor is unknown.

    Raises
    ------
    UnknownNameError
        If there is no such drug.
    """
    known = exposure(drug)
    if known.free_fraction is None or known.clinical_total is None:
        return None
    return known.free_fraction * known.clinical_total


def add(path: str | PathLike[str]) -> tuple[str, ...]:
    """Make the drugs of a table of one's own known until this process ends, and return their names.

    The table is tab-separated, with the header of `data/drugs.tsv`, of which `drug`, `target` and `kd_nM` must be
    there (and `binding` for FLT3). `kd_nM` is a number, `>10000` or `unknown`. What is left out has the values of
    `DEFAULTS`; exposure is unknown. Either all rows are taken or, after an error, none.

    Raises
    ------
    DrugError
        If the file cannot be read or a cell cannot be used; names file, line, column and remedy.
    """
    drugs: dict[str, dict[str, Affinity]] = {}
    given: dict[str, list[dict[str, str]]] = {}
    taken = {name.casefold(): name for name in names()}
    for where, row, cells in _read(Path(path)):
        if row.drug.casefold() in taken:
            raise DrugError(
                f"{where}, column drug: {taken[row.drug.casefold()]} exists already; choose another name, "
                "or remove it first if it was added"
            )
        if row.target in drugs.setdefault(row.drug, {}):
            raise DrugError(f"{where}, column target: {row.target} of {row.drug} occurs twice; leave one row")
        drugs[row.drug][row.target] = row
        filled = ("kon_per_nM_s", "cell_shift", "prior_log10_sd", "source") if row.kd is not None else ("source",)
        given.setdefault(row.drug, []).append(cells | {c: cells[c] or DEFAULTS[c] for c in filled})
    if not drugs:
        raise DrugError(f"{fspath(path)}: no row under the header; give one row per drug and target")
    _added.update({drug: tuple(rows.values()) for drug, rows in drugs.items()})
    _added_cells.update(given)
    return tuple(drugs)


def remove(drug: str) -> None:
    """Forget a drug that was added.

    Raises
    ------
    UnknownNameError
        If no such drug was added; those of the shipped table stay.
    """
    del _added[checked("added drug", drug, _added)]
    del _added_cells[drug]


_added: dict[str, tuple[Affinity, ...]] = {}
_added_cells: dict[str, list[dict[str, str]]] = {}
"""The same rows as they stand in their tables, defaults filled in."""


@cache
def _shipped() -> tuple[Affinity, ...]:
    return tuple(row for _, row, _ in _read(tables.DATA / FILE))


def _rows(drug: str) -> dict[str, Affinity]:
    """Return target -> row of one drug."""
    checked("drug", drug, names())
    return {row.target: row for row in table() if row.drug == drug}


def _family(target: str) -> str:
    return "FLT3" if target in FLT3_TARGETS else target


def _flt3_binding(pocket: str, rows: Mapping[str, Affinity], allele: str) -> dict[str, float]:
    """Return the values of the pocket that the drug has in `allele`.

    The first target of the allele with a known row holds. A row of a kinase-domain mutant is that mutant's own;
    any other is corrected for what the allele costs drugs of its type.
    """
    row = _flt3_row(rows, allele)
    if row is None:
        return {}
    pocket_type = FLT3_POCKETS[row.binding]
    factors = {"typeI": alleles.typeI_kd_factor, "typeII": alleles.typeII_kd_factor}
    factor = 1.0 if row.target in KINASE_DOMAIN_MUTANTS else factors[pocket_type](allele)
    return _binding(f"{pocket}_{pocket_type}", row, factor)


def _flt3_row(rows: Mapping[str, Affinity], allele: str) -> Affinity | None:
    known = [rows[target] for target in alleles.drug_targets(allele) if target in rows and rows[target].known]
    return known[0] if known and known[0].kd is not None else None


def _binding(pocket: str, row: Affinity, kd_factor: float = 1.0) -> dict[str, float]:
    if row.kd is None or row.kon is None:
        return {}
    return {f"{pocket}_kon": row.kon, f"{pocket}_kd": row.kd * kd_factor}


def _empty_slot(slot: int) -> dict[str, float]:
    """Return the nominal values of a slot's parameters: nothing binds."""
    prefix = f"drug{slot}_"
    return {name: value for name, value in nominal().items() if name.startswith(prefix) and name != f"drug{slot}_dose"}


def _checked_slot(slot: int) -> int:
    checked("drug slot", str(slot), [str(known) for known in DRUG_SLOTS])
    return slot


@cache
def _exposures() -> dict[str, Exposure]:
    known: dict[str, dict[str, str]] = {}
    for cells in tables.read(EXPOSURE_FILE, EXPOSURE_COLUMNS):
        of_drug = known.setdefault(cells["drug"], {})
        if cells["quantity"] in of_drug:
            raise ValueError(f"{EXPOSURE_FILE}: {cells['quantity']} of {cells['drug']} occurs twice")
        of_drug[cells["quantity"]] = cells["value"]
    return {
        drug: Exposure(
            drug,
            values.pop("class"),
            **{quantity: None if value == UNKNOWN else float(value) for quantity, value in values.items()},
        )
        for drug, values in known.items()
    }


# Reading a drug table, shipped or a user's own.


def _read(path: Path) -> Iterator[tuple[str, Affinity, dict[str, str]]]:
    """Yield where each row stands ("own.tsv, line 3"), the row, and its cells."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DrugError(f"{path}: cannot be read ({reason}); expected a tab-separated table of drugs") from None
    lines = list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    header = [name.strip() for name in lines[0]] if lines else []
    _check_header(path, header)
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        where = f"{path}, line {number}"
        if len(line) != len(header):
            raise DrugError(f"{where}: {len(line)} cells, expected {len(header)} as in the header, separated by tabs")
        cells = dict.fromkeys(COLUMNS, "") | {name: cell.strip() for name, cell in zip(header, line, strict=True)}
        yield where, _affinity(where, cells), cells


def _check_header(path: Path, header: list[str]) -> None:
    where = f"{path}, line 1"
    if missing := [name for name in REQUIRED if name not in header]:
        raise DrugError(f"{where}: no column {', '.join(missing)}; the header names the columns, separated by tabs")
    for name in header:
        _known_name(where, "column", name, COLUMNS)
    if len(set(header)) < len(header):
        raise DrugError(f"{where}: a column occurs twice; leave one of it")


def _affinity(where: str, cells: dict[str, str]) -> Affinity:
    """Return one row, its empty cells filled with the defaults."""
    drug, binding = cells["drug"], cells.get("binding", "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", drug):
        raise DrugError(f"{where}, column drug: {drug!r}; expected a name of letters, digits, '-', '_' and '.'")
    target = _known_name(f"{where}, column target", "target", cells["target"], TARGETS)
    binds = cells["kd_nM"] not in (DOES_NOT_BIND, UNKNOWN)
    if binds and target in FLT3_TARGETS:
        _known_name(f"{where}, column binding", "binding to FLT3", binding, FLT3_POCKETS)
    values = {column: cells.get(column) or default for column, default in DEFAULTS.items()}
    numbers = {column: _number(where, column, text) for column, text in values.items() if column in NUMBERS}
    return Affinity(
        drug=drug,
        target=target,
        binding=binding,
        kd=_number(where, "kd_nM", cells["kd_nM"]) * numbers["cell_shift"] if binds else None,
        kon=numbers["kon_per_nM_s"] if binds else None,
        known=cells["kd_nM"] != UNKNOWN,
        pMEK_kd_factor=numbers["pMEK_kd_factor"],
        residual_phosphorylation=numbers["residual_phosphorylation"],
        prior_log10_sd=numbers["prior_log10_sd"] if binds else 0.0,
        source=values["source"],
        note=cells.get("note", ""),
    )


def _known_name(where: str, kind: str, name: str, allowed: Iterable[str]) -> str:
    try:
        return checked(kind, name, allowed)
    except UnknownNameError as error:
        raise DrugError(f"{where}: {error}") from None


def _number(where: str, column: str, text: str) -> float:
    lowest, highest, expected = NUMBERS[column]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and lowest <= value <= highest):
        raise DrugError(f"{where}, column {column}: {text!r}; expected {expected}")
    return value
