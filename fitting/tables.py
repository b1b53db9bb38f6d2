"""PEtab tables of one fit in; the same tables, checked and with numbers as numbers, out.

The form is PEtab version 2 (https://petab.readthedocs.io), with columns of our own where PEtab has none:

* conditions: `targetId` is a parameter of the model, a species by its name in the network (its amount as the period
  starts), or a name for the caller to resolve
* measurements: `role` (`fit` or `validation`; validation rows never enter a fit), `source` (citation key),
  `singleAgents` (of a validation row: the experiments whose measured values serve as null models, `;` between them),
  `censoring` (`left`: at or below the measurement; `right`: at or above it; `interval`: up to `measurementUpper`)
* experiments: `panel` and `label` (how figures group and name an experiment)
* parameters: `parameterScale` (`lin` or `log10`, the scale of the search; `lin` if absent), `source`, `note`
* notes: an optional sixth table, `subject` and `note`

Of an observable whose `observablePlaceholders` the measurements fill in differently (`observableParameters`), each
filling becomes an observable of its own, called `name`, `name__2` and so on.

Times are seconds and amounts nM in the problems that ship; otherwise they are those of the model.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from . import noise

if TYPE_CHECKING:
    import pandas as pd

Source = "str | Path | pd.DataFrame"

REQUIRED: dict[str, tuple[str, ...]] = {
    "conditions": ("conditionId", "targetId", "targetValue"),
    "experiments": ("experimentId", "time", "conditionId"),
    "measurements": ("observableId", "experimentId", "time", "measurement"),
    "observables": ("observableId", "observableFormula", "noiseFormula"),
    "parameters": ("parameterId", "lowerBound", "upperBound", "nominalValue", "estimate"),
}
"""Columns without which a table cannot be read."""

OPTIONAL: dict[str, dict[str, str]] = {
    "conditions": {},
    "experiments": {"panel": "", "label": ""},
    "measurements": {
        "replicateId": "",
        "observableParameters": "",
        "noiseParameters": "",
        "role": "fit",
        "source": "",
        "singleAgents": "",
        "censoring": "",
        "measurementUpper": "",
    },
    "observables": {
        "observableName": "",
        "noiseDistribution": "normal",
        "observablePlaceholders": "",
        "noisePlaceholders": "",
        "unit": "",
    },
    "parameters": {
        "parameterScale": "lin",
        "priorDistribution": "uniform",
        "priorParameters": "",
        "source": "",
        "note": "",
    },
}
"""Columns with the value that an absent column or an empty cell stands for."""

KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("conditionId", "targetId"),
    "experiments": ("experimentId", "time", "conditionId"),
    "measurements": ("observableId", "experimentId", "time", "replicateId"),
    "observables": ("observableId",),
    "parameters": ("parameterId",),
}
"""No two rows of a table agree in all of these."""

ROLES = ("fit", "validation")
SCALES = ("lin", "log10")
NOISE_DISTRIBUTIONS = tuple(noise.DISTRIBUTIONS)
PRIOR_DISTRIBUTIONS = ("uniform", "normal", "log-normal")
MAY_BE_EMPTY = {"conditionId", "lowerBound", "upperBound", "nominalValue"}
"""Required columns of which single cells may be empty (see the checks of each table)."""


@dataclass(frozen=True)
class Table:
    """One table: its name in the problem, where it came from, and its rows (cells are stripped text at first)."""

    name: str
    file: str
    frame: pd.DataFrame
    places: tuple[tuple[str, int], ...] = ()
    """(file, line) of each row, where the rows are not simply the lines of `file` below the header."""
    called: Mapping[str, str] = field(default_factory=dict)
    """Column -> what it is called in the file that it was made from, where that differs."""

    def with_frame(self, frame: pd.DataFrame) -> Table:
        """Return the table with other cells in the same rows, or more rows below them."""
        return replace(self, frame=frame)

    def only(self, kept: npt.ArrayLike) -> Table:
        """Return the table with the rows flagged in `kept`, which keep their places."""
        rows = [row for row, flag in enumerate(np.asarray(kept, bool)) if flag]
        places = tuple(self.places[row] if row < len(self.places) else (self.file, row + 2) for row in rows)
        return replace(self, frame=self.frame.iloc[rows].reset_index(drop=True), places=places)

    def line(self, row: int) -> int:
        """Return the line in its file of data row `row` (0 is the first below the header, which is line 1)."""
        return self.places[row][1] if row < len(self.places) else row + 2

    def error(self, row: int, column: str, message: str) -> InputError:
        """Return the error for the cell `column` of data row `row` (see `line`)."""
        file = self.places[row][0] if row < len(self.places) else self.file
        return InputError(f"{file}, line {self.line(row)}, column {self.called.get(column, column)}: {message}")

    def unknown(self, row: int, column: str, kind: str, given: str, known: Collection[str]) -> InputError:
        """Return the error for an unknown name in a cell, with the nearest known name."""
        return self.error(row, column, str(unknown_name(kind, given, known)))

    def cells(self, column: str) -> Iterator[tuple[int, Any]]:
        """Yield (row, cell) of one column."""
        yield from enumerate(self.frame[column])

    def number(self, row: int, column: str, text: Any, *, infinite: bool = False) -> float:
        """Return the number in a cell; raises InputError for text, NaN and, unless allowed, infinity."""
        try:
            value = float(text)
        except ValueError:
            raise self.error(row, column, f"{text!r} is not a number; write it with a decimal point") from None
        if math.isnan(value) or (math.isinf(value) and not infinite):
            raise self.error(row, column, f"{text} is not a finite number; leave the row out if there is no value")
        return value

    def numbers(self, row: int, column: str, text: str) -> tuple[float, ...]:
        """Return the numbers of a cell that holds several, separated by `;`."""
        return tuple(self.number(row, column, part.strip()) for part in text.split(";")) if text else ()


@dataclass(frozen=True)
class Tables:
    """The checked tables of one problem.

    Attributes
    ----------
    conditions, experiments, measurements, observables, parameters
        Tables whose columns of numbers are floats: `time`, `measurement`, `lowerBound`, `upperBound`,
        `nominalValue`; `estimate` is bool; absent optional columns are there with their defaults.
    notes
        (subject, note) of the optional sixth table.
    hash
        sha256 of all cells as read, 64 hex digits.
    """

    conditions: Table
    experiments: Table
    measurements: Table
    observables: Table
    parameters: Table
    notes: tuple[tuple[str, str], ...]
    hash: str


def read_tables(source: str | Path | Mapping[str, str | Path | pd.DataFrame]) -> Tables:
    """Read and check the tables of a problem.

    Parameters
    ----------
    source
        A folder that holds one file `*conditions.tsv`, one `*experiments.tsv` and so on; or the common beginning
        of their names (`folder/aml` for `folder/aml_conditions.tsv`, ...); or table name -> path or DataFrame.

    Raises
    ------
    InputError
        For a missing file or column, an empty or non-numeric cell, duplicate rows, references to what another
        table does not define, bounds the wrong way round, non-positive numbers on a log scale: with file, line
        (the header is line 1), column and remedy.
    """
    return checked({name: read_raw(name, place) for name, place in _places(source).items()})


def checked(raw: dict[str, Table]) -> Tables:
    """Return the checked tables of what `read_raw` gave, by name; errors are those of `read_tables`."""
    digest = hashlib.sha256()
    for name in sorted(raw):
        digest.update(f"{name}\n{raw[name].frame.to_csv(sep=chr(9), index=False)}".encode())
    notes = raw.get("notes")
    tables = {name: _complete(table) for name, table in raw.items() if name != "notes"}
    check_duplicates(tables.values())
    _check_references(tables)
    _fill_in(tables)
    tables["experiments"] = _with_numbers(tables["experiments"], ("time",), infinite=True)
    tables["measurements"] = _with_numbers(tables["measurements"], ("time", "measurement"))
    tables["parameters"] = _parameters(tables["parameters"])
    _check_choices(tables)
    told = () if notes is None else tuple(zip(notes.frame["subject"], notes.frame["note"], strict=True))
    return Tables(**tables, notes=told, hash=digest.hexdigest())


def _places(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Return table name -> path or frame."""
    if isinstance(source, Mapping):
        for name in source:
            if name not in (*REQUIRED, "notes"):
                raise unknown_name("table", name, (*REQUIRED, "notes"))
        if missing := [name for name in REQUIRED if name not in source]:
            raise InputError(f"the problem lacks the table {missing[0]!r}; it needs {', '.join(REQUIRED)}")
        return dict(source)
    path = Path(source)
    if not path.is_dir():
        found = {name: path.with_name(f"{path.name}_{name}.tsv") for name in (*REQUIRED, "notes")}
        for name in REQUIRED:
            if not found[name].is_file():
                raise InputError(
                    f"{found[name]} does not exist; {path} is no folder, so it is read as the beginning of file names"
                )
        return {name: place for name, place in found.items() if place.is_file()}
    places = {}
    for name in (*REQUIRED, "notes"):
        files = sorted(path.glob(f"*{name}.tsv"))
        if len(files) > 1:
            shown = ", ".join(file.name for file in files)
            raise InputError(
                f"{path} holds several tables of {name} ({shown}); give the common beginning of one problem's files"
            )
        if files:
            places[name] = files[0]
        elif name in REQUIRED:
            raise InputError(f"{path} holds no file *{name}.tsv; a problem needs {', '.join(REQUIRED)}")
    return places


def read_raw(name: str, place: Any, required: Sequence[str] = ()) -> Table:
    """Read one table from a path or a DataFrame, as stripped text; raises InputError for a missing column."""
    import pandas as pd

    if isinstance(place, pd.DataFrame):
        text = place.map(lambda cell: "" if pd.isna(cell) else str(cell).strip())
        file = f"table {name}"
    else:
        try:
            text = pd.read_csv(place, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig", quoting=3)
        except OSError as error:
            raise InputError(f"cannot read the table {name}: {error}") from None
        except (ValueError, pd.errors.ParserError) as error:
            raise InputError(f"{Path(place).name} is no table with tabs between its columns: {error}") from None
        text = text.fillna("").map(str.strip)
        file = Path(place).name
    text.columns = [str(column).strip() for column in text.columns]
    table = Table(name, file, text.reset_index(drop=True))
    for column in required or (REQUIRED[name] if name in REQUIRED else ("subject", "note")):
        if column not in text:
            near = difflib.get_close_matches(column, text.columns, n=1)
            hint = f"; rename {near[0]!r}" if near else "; add it to the header"
            raise InputError(f"{file}: column {column!r} is missing{hint} (columns are {', '.join(text.columns)})")
    return table


def _complete(table: Table) -> Table:
    """Add absent optional columns, refuse empty required cells and misspelt optional columns."""
    frame, known = table.frame.copy(), OPTIONAL[table.name]
    for column in frame.columns:
        others = [name for name in known if name not in frame]
        if column not in REQUIRED[table.name] and column not in known:
            if near := difflib.get_close_matches(column, others, n=1, cutoff=0.8):
                raise InputError(f"{table.file}: column {column!r} is not known; did you mean {near[0]!r}?")
    for column in REQUIRED[table.name]:
        for row, cell in enumerate(frame[column]):
            if not cell and column not in MAY_BE_EMPTY:
                raise table.error(row, column, "is empty; fill it in or remove the row")
    for column, default in known.items():
        cells = frame[column] if column in frame else ""
        frame[column] = cells
        frame.loc[frame[column] == "", column] = default
    if not len(frame) and table.name != "conditions":
        raise InputError(f"{table.file}: has no rows below its header")
    return table.with_frame(frame)


def _with_numbers(table: Table, columns: Sequence[str], *, infinite: bool = False) -> Table:
    frame = table.frame.copy()
    for column in columns:
        frame[column] = [table.number(row, column, cell, infinite=infinite) for row, cell in table.cells(column)]
    return table.with_frame(frame)


def check_duplicates(tables: Iterable[Table]) -> None:
    """Raise InputError for a row that agrees with an earlier one in all of `KEYS`."""
    for table in tables:
        seen: dict[tuple[Any, ...], int] = {}
        columns = (table.frame[column] for column in KEYS[table.name])
        for row, key in enumerate(zip(*columns, strict=True)):
            if key in seen:
                remedy = "; give replicates different replicateIds" if table.name == "measurements" else ""
                raise table.error(
                    row,
                    KEYS[table.name][0],
                    f"repeats line {table.line(seen[key])} ({', '.join(filter(None, key))}); remove one{remedy}",
                )
            seen[key] = row


def _check_references(tables: Mapping[str, Table]) -> None:
    """Raise InputError for a row that refers to what another table does not define."""
    for table, column, kind, home in (
        ("experiments", "conditionId", "condition", "conditions"),
        ("measurements", "experimentId", "experiment", "experiments"),
        ("measurements", "observableId", "observable", "observables"),
    ):
        known = list(dict.fromkeys(tables[home].frame[column]))
        for row, cell in tables[table].cells(column):
            if cell and cell not in known:
                raise tables[table].unknown(row, column, kind, cell, known)
    known = list(dict.fromkeys(tables["experiments"].frame["experimentId"]))
    for row, cell in tables["measurements"].cells("singleAgents"):
        for name in split(cell):
            if name not in known:
                raise tables["measurements"].unknown(row, "singleAgents", "experiment", name, known)


def _fill_in(tables: dict[str, Table]) -> None:
    """Give each filling of the placeholders of an observable an observable of its own; see the module."""
    import pandas as pd

    observables, measurements = tables["observables"], tables["measurements"]
    rows, names = observables.frame.copy(), list(measurements.frame["observableId"])
    parameters = tuple(tables["parameters"].frame["parameterId"])
    place = {name: row for row, name in observables.cells("observableId")}
    placeholders = {name: split(observables.frame["observablePlaceholders"][row]) for name, row in place.items()}
    fillings: dict[str, dict[tuple[str, ...], str]] = {name: {} for name in place}
    added = []
    for row, (name, cell) in enumerate(zip(list(names), measurements.frame["observableParameters"], strict=True)):
        given, known = tuple(split(cell)), fillings[name]
        if len(given) != len(placeholders[name]):
            told = f"has {len(given)} entries, but the observable {name} has {len(placeholders[name])} placeholders"
            raise measurements.error(row, "observableParameters", told)
        for part in given:
            if part not in parameters and not is_number(part):
                raise measurements.unknown(row, "observableParameters", "number or parameter", part, parameters)
        if given and given not in known:
            known[given] = f"{name}__{len(known) + 1}" if known else name
            filled = observables.frame.iloc[place[name]].copy()
            filled["observableId"] = known[given]
            for column in ("observableFormula", "noiseFormula"):
                by = dict(zip(placeholders[name], given, strict=True))
                filled[column] = replace_names(filled[column], by)
            if len(known) == 1:
                rows.loc[place[name]] = filled
            elif known[given] in place:
                told = f"{known[given]!r} also names a filling of the placeholders of {name}; rename it"
                raise observables.error(place[known[given]], "observableId", told)
            else:
                added.append(filled)
        names[row] = known.get(given, name)
    if added:  # behind the others, whose lines stay those of the file
        rows = pd.concat([rows, pd.DataFrame(added)], ignore_index=True)
    tables["observables"] = observables.with_frame(rows)
    tables["measurements"] = measurements.with_frame(measurements.frame.assign(observableId=names))


def replace_names(formula: str, by: Mapping[str, str]) -> str:
    """Return a formula with names replaced, what stands for them in brackets."""
    return re.sub(r"(?<![\w.])[A-Za-z_]\w*", lambda found: f"({by[found[0]]})" if found[0] in by else found[0], formula)


def rows_beside(tables: Tables, row: int, experiment: str) -> npt.NDArray[np.intp]:
    """Return the measurement rows of `experiment` that show at the same time what `row` shows.

    They are those of the same observable or, if there are none, of other fillings of its placeholders.
    """
    frame = tables.measurements.frame
    here = frame.iloc[row]
    at = ((frame["experimentId"] == experiment) & (frame["time"] == here["time"])).to_numpy()
    same = at & (frame["observableId"] == here["observableId"]).to_numpy()
    if not same.any():
        unfilled = _unfilled(tables)
        same = at & (frame["observableId"].map(unfilled) == unfilled[here["observableId"]]).to_numpy()
    return np.flatnonzero(same)


def _unfilled(tables: Tables) -> dict[str, str]:
    """Return observable -> the one whose placeholders it fills in, or itself; see `_fill_in`."""
    table = tables.observables.frame
    placeholders = dict(zip(table["observableId"], table["observablePlaceholders"], strict=True))
    of = {name: re.sub(r"__\d+$", "", name) for name in placeholders}
    return {name: base if placeholders.get(base) and placeholders[name] else name for name, base in of.items()}


def is_number(text: str) -> bool:
    """Tell whether a cell is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def split(cell: str) -> list[str]:
    """Return the names in a cell that holds several, separated by `;`."""
    return [part.strip() for part in cell.split(";") if part.strip()]


def _check_choices(tables: Mapping[str, Table]) -> None:
    for table, column, kind, known in (
        ("measurements", "role", "role", ROLES),
        ("observables", "noiseDistribution", "noise distribution", NOISE_DISTRIBUTIONS),
    ):
        for row, cell in tables[table].cells(column):
            if cell not in known:
                raise tables[table].unknown(row, column, kind, cell, known)
    distribution = dict(
        zip(
            tables["observables"].frame["observableId"],
            tables["observables"].frame["noiseDistribution"],
            strict=True,
        )
    )
    measurements = tables["measurements"]
    _check_censoring(measurements)
    for row, (observable, value) in enumerate(
        zip(measurements.frame["observableId"], measurements.frame["measurement"], strict=True)
    ):
        if noise.is_logarithmic(distribution[observable]) and value <= 0:
            raise measurements.error(
                row,
                "measurement",
                f"is {value:g}, but the noise of {observable} is {distribution[observable]}; "
                "leave the row out or choose normal noise",
            )


def _check_censoring(measurements: Table) -> None:
    """Raise InputError for an unknown word in `censoring` and for an interval without an upper end above its lower."""
    for row, word in measurements.cells("censoring"):
        upper = measurements.frame["measurementUpper"][row]
        if word and word not in noise.CENSORING:
            raise measurements.unknown(row, "censoring", "kind of censoring", word, noise.CENSORING)
        if (word == "interval") != bool(upper):
            told = "is empty" if word == "interval" else f"is {upper!r} in a row that is not censored as an interval"
            raise measurements.error(row, "measurementUpper", f"{told}; give it with the censoring `interval` only")
        lower = measurements.frame["measurement"][row]
        if upper and not measurements.number(row, "measurementUpper", upper) > lower:
            raise measurements.error(row, "measurementUpper", f"{upper} is not above the measurement {lower:g}")


def _parameters(table: Table) -> Table:
    """Return the parameter table with numbers and flags, after checking bounds, scales and priors."""
    frame = table.frame.copy()
    truth = {"true": True, "1": True, "false": False, "0": False}
    estimate = []
    for row, cell in table.cells("estimate"):
        if cell.lower() not in truth:
            raise table.error(row, "estimate", f"{cell!r} is neither true nor false")
        estimate.append(truth[cell.lower()])
    frame["estimate"] = estimate
    for column, kind, known in (
        ("parameterScale", "scale", SCALES),
        ("priorDistribution", "prior distribution", PRIOR_DISTRIBUTIONS),
    ):
        for row, cell in table.cells(column):
            if cell not in known:
                raise table.unknown(row, column, kind, cell, known)
    for column, default in (("lowerBound", -math.inf), ("upperBound", math.inf), ("nominalValue", math.nan)):
        numbers = []
        for row, cell in table.cells(column):
            if not cell and (estimate[row] or column == "nominalValue"):
                raise table.error(
                    row,
                    column,
                    "is empty; every parameter needs a nominal value, an estimated one also bounds",
                )
            numbers.append(table.number(row, column, cell) if cell else default)
        frame[column] = numbers
    checked = table.with_frame(frame)
    for row in range(len(frame)):
        if estimate[row]:
            _check_estimated(checked, row)
    return checked


def _check_estimated(table: Table, row: int) -> None:
    cells = table.frame.iloc[row]
    lower, upper, nominal = cells["lowerBound"], cells["upperBound"], cells["nominalValue"]
    if not lower < upper:
        raise table.error(row, "lowerBound", f"{lower:g} is not below upperBound {upper:g}; exchange or widen them")
    if cells["parameterScale"] == "log10" and lower <= 0:
        raise table.error(
            row, "lowerBound", f"is {lower:g}, but the scale is log10; give a positive bound or the scale lin"
        )
    if not lower <= nominal <= upper:
        raise table.error(row, "nominalValue", f"{nominal:g} is outside the bounds [{lower:g}, {upper:g}]; widen them")
    distribution = cells["priorDistribution"]
    numbers = table.numbers(row, "priorParameters", cells["priorParameters"])
    if distribution == "uniform":
        return  # the bounds are the prior
    if len(numbers) != 2 or not numbers[1] > 0:
        raise table.error(
            row,
            "priorParameters",
            f"{cells['priorParameters']!r}: a {distribution} prior needs `mean; sd` with sd > 0",
        )
    if distribution == "log-normal" and lower <= 0:
        raise table.error(row, "lowerBound", f"is {lower:g}, but a log-normal prior needs positive values")
