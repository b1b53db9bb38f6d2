"""One table of measurements in, a value per row; the tables of a problem out.

Luminex, phospho-flow and densitometry come as rows of a CSV file with the columns

* `readout`, `value` (a number, `<0.5` below the detection limit, `>10` above where the assay saturates)
* `time_s`, `time_min` or `time_h`: since the drugs came on
* `drug`, and with it `dose_nM` (or pM, uM, mM, M): several drugs of one well are joined by `+`, as are their doses
* `cell`, `stimulus`, `plate`, `replicate`, `role`, each of which may be absent

or as MIDAS (Saez-Rodriguez et al., Bioinformatics 24, 840, 2008), with a column per treatment (`TR:`), time (`DA:`)
and read-out (`DV:`).

Each well becomes an experiment: at rest with its cell, then, from time 0 on, under its drugs. An assay shows
`offset + scale * readout`, with an offset and a scale of each plate. Divided by the control of their plate, values of
one cell share these over the plates; the error of the control itself is then passed over.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from . import noise as noises
from .tables import OPTIONAL, REQUIRED, ROLES, Table, Tables, checked, read_raw

if TYPE_CHECKING:
    import pandas as pd

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Unit of time -> seconds."""
NANOMOLAR = {"pM": 1e-3, "nM": 1.0, "uM": 1e3, "µM": 1e3, "μM": 1e3, "mM": 1e6, "M": 1e9}
"""Unit of concentration -> nM."""
COLUMNS = ("cell", "drug", "stimulus", "readout", "value", "replicate", "plate", "role")
"""Columns without a unit."""
VEHICLES = ("", "none", "control", "vehicle", "DMSO", "untreated")
"""What stands in the column `drug` where there is none; capitals do not count."""
UNUSED = ("NOINHIB", "NO-INHIB", "NOCYTO", "NO-CYTO", "NOLIG", "NO-LIG")
"""Treatments of MIDAS files that are none."""
MISSING = ("", "NA", "NaN", "nan")
"""Values of MIDAS files that are none."""

AMOUNTS = (1e-3, 1e6)
"""Signal of a read-out, in nM, between which bounds of scales are set. Assumed: wider than any protein is abundant."""
SIGMA = (0.01, 3.0)
"""Bounds of sigma of a logarithm. Assumed: 1 % is finer than any immunoassay, a factor of 20 no measurement."""
USUAL_SIGMA = 0.2
"""Sigma to start from, of a logarithm or relative to the largest value, where there are no replicates. Assumed."""
LEAST_SHARE = 1e-6
"""Lower bound of an offset that is searched in its logarithm, relative to the least value: nothing, in effect."""

Settings = Mapping[str, "float | str"]
Doses = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Well:
    """One row: what was done to which cells, and what was seen. Times in seconds, doses in nM."""

    row: int
    cell: str
    stimulus: str
    drugs: Doses
    time: float
    readout: str
    value: float
    censoring: str
    plate: str
    role: str

    @property
    def treatment(self) -> tuple[str, str, Doses]:
        """Equal for wells of one experiment."""
        return self.cell, self.stimulus, self.drugs


def read_table(
    source: str | Path | pd.DataFrame | Table,
    *,
    readouts: Mapping[str, str],
    contexts: Mapping[str, str | Settings] | None = None,
    stimuli: Mapping[str, Settings] | None = None,
    drugs: Mapping[str, str] | None = None,
    parameters: str | Path | pd.DataFrame | None = None,
    control: Mapping[str, str] | None = None,
    noise: str = "log-normal",
    sigma: float | None = None,
    offset: bool = True,
    equilibrate: bool = True,
    stimulus_at_start: bool = False,
) -> Tables:
    """Return the tables of a problem from one table of measurements, for `read_problem`.

    Parameters
    ----------
    source
        CSV file (`.tsv` or `.txt`: tabs between columns) or DataFrame; for its columns see the module.
        Also a `Table` of such rows, which knows the lines of the file that they were made from.
    readouts
        Read-out in the file -> read-out of the model, or a formula of such: `{"p-ERK1/2": "pERK"}`.
    contexts
        Cell in the file -> name of a context, or what it sets: `{"MV4;11": "blast-itd"}`, `{"A": {"kf": "kf*gain"}}`.
        A cell under a stimulus is looked up as `cell+stimulus`; what is not listed is a name itself.
    stimuli
        Stimulus -> parameters of the model that it sets, beside those of the cell: then it is no part of the
        context's name. Several stimuli of one well are joined by `+`.
    drugs
        Drug in the file -> its name, or the parameter of the model that is its dose; unchanged if not listed.
    parameters
        Table of parameters to add to the offsets, scales and sigmas, with the columns of a problem's parameters.
    control
        Column -> cell of the rows by whose mean the values of the same plate and read-out are divided, of the same
        cell too unless it is named: `{"drug": "DMSO"}`. A geometric mean if the noise is that of the logarithm.
    noise
        Distribution of the noise: normal, log-normal, laplace, log-laplace or student-t.
    sigma
        Standard deviation of all rows (of the natural logarithm in log-noise). Estimated per read-out if None.
    offset
        Whether the assay may show something where there is nothing.
    equilibrate
        Bring the cells to rest without drugs first. Otherwise they start from the model's initial amounts.
    stimulus_at_start
        Whether the stimulus comes with the drugs. Otherwise it is there before, as stroma or serum is.

    Raises
    ------
    InputError
        For columns, units or values that are missing, unknown or cannot be, duplicated rows, zeros on a logarithmic
        scale, read-outs and plates without values, controls that are not there: with file, line, column and remedy.

    Notes
    -----
    Names of contexts and drugs of the shipped model are resolved by
    `read_problem(aml_model(), tables, resolve=aml_problem().resolve)`; what it does not know is refused with the line
    of this file.

    Examples
    --------
    >>> import pandas as pd
    >>> import residuum
    >>> wells = pd.DataFrame({
    ...     "cell": "MV4;11", "drug": ["DMSO", "AC220"], "dose_nM": ["", "20"], "time_h": 2,
    ...     "readout": "p-ERK1/2", "value": [1850.0, 240.0],
    ... })
    >>> tables = residuum.read_table(
    ...     wells, readouts={"p-ERK1/2": "pERK"}, contexts={"MV4;11": "blast-itd"}, drugs={"AC220": "quizartinib"}
    ... )
    >>> problem = residuum.read_problem(residuum.aml_model(), tables, resolve=residuum.aml_problem().resolve)
    >>> problem.names
    ('sigma_p_ERK1_2', 'offset_p_ERK1_2', 'scale_p_ERK1_2')
    """
    sheet = source if isinstance(source, Table) else _sheet(source)
    if noise not in noises.DISTRIBUTIONS:
        raise unknown_name("noise distribution", noise, noises.DISTRIBUTIONS)
    if sigma is not None and not (math.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma is {sigma}, expected a positive number, or None to estimate it")
    logarithmic = noises.is_logarithmic(noise)
    wells = _wells(sheet, readouts, drugs or {})
    _check_repeats(sheet, wells)
    if control is not None:
        wells = _normalised(sheet, wells, control, logarithmic=logarithmic)
    _check_positive(sheet, wells, noise)
    names = _experiment_names(wells)
    assays = _assays(wells, "plate" if control is None else "" if "cell" in control else "cell")
    observables, nuisances = _observables(sheet, assays, readouts, noise, sigma, offset=offset)
    assay_of = {well.row: name for name, of in assays.items() for well in of}
    return checked({
        **_protocols(sheet, wells, names, contexts or {}, stimuli or {}, equilibrate=equilibrate,
                     stimulus_at_start=stimulus_at_start),
        "measurements": _measurements(sheet, wells, names, assay_of),
        "observables": observables,
        "parameters": _with_own(nuisances, parameters),
    })  # fmt: skip


def read_midas(
    source: str | Path | pd.DataFrame,
    *,
    time_unit: str,
    doses: Mapping[str, float] | None = None,
    **settings: Any,
) -> Tables:
    """Return the tables of a problem from a MIDAS file, which has no units: these are asked for.

    Rows that agree in everything are replicates; values that are not there (`NA`, `NaN` or nothing) are passed over.

    Parameters
    ----------
    source
        CSV file or DataFrame with the columns `TR:<cell>:CellLine` (one of them 1), `TR:<name>` (0 where absent; all
        that `doses` does not list are stimuli), `DA:<readout>` or `DA:ALL`, `DV:<readout>`.
    time_unit
        Of the columns `DA:`: s, min, h or d.
    doses
        Treatment that is a drug -> nM that a 1 in its column stands for.
    settings
        As in `read_table`; `readouts` is needed.

    Raises
    ------
    InputError
        As `read_table`; for inhibitors (`TR:MEKi`, `TR:MEK:Inhibitors`) without a dose.
    """
    if time_unit not in SECONDS:
        raise unknown_name("unit of time", time_unit, SECONDS)
    if "readouts" not in settings:
        raise InputError("read_midas needs readouts: column DV: -> read-out of the model, as read_table does")
    return read_table(_tidied(_sheet(source), SECONDS[time_unit], doses or {}), **settings)


# ---- files to rows ------------------------------------------------------------------------------------------------


def _sheet(source: str | Path | pd.DataFrame) -> Table:
    """Return the rows of a file or frame as stripped text, blank ones left out."""
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        file, header = "table data", [str(column).strip() for column in source.columns]
        lines = [
            (number, ["" if pd.isna(cell) else str(cell).strip() for cell in row])
            for number, row in enumerate(source.itertuples(index=False), start=2)
        ]
    else:
        path = Path(source)
        file, header, lines = path.name, *_lines(path)
    for column in header:
        if header.count(column) > 1:
            raise InputError(f"{file}: has {header.count(column)} columns {column!r}; rename or remove one")
    kept = [(number, row) for number, row in lines if any(row)]
    for number, row in kept:
        if len(row) != len(header):
            told = f"has {len(row)} cells under a header of {len(header)}; quote cells that hold the separator"
            raise InputError(f"{file}, line {number}: {told}")
    if not kept:
        raise InputError(f"{file}: has no rows below its header; give one row per value")
    frame = pd.DataFrame([row for _, row in kept], columns=header, dtype=object)
    return Table("data", file, frame, tuple((file, number) for number, _ in kept))


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header of a file, and the rows with their line numbers."""
    separator = "\t" if path.suffix.lower() in (".tsv", ".txt") else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except OSError as error:
        raise InputError(f"cannot read the table: {error}") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path.name} is no text table; save it as CSV in UTF-8: {error}") from None
    if not rows:
        raise InputError(f"{path.name} is empty; give a header and one row per value")
    return rows[0][1], rows[1:]


def _unit_column(sheet: Table, quantity: str, units: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the column of a quantity and what its unit stands for; None if there is no such column."""
    known = [f"{quantity}_{unit}" for unit in units]
    found = [column for column in sheet.frame.columns if column in known]
    if len(found) > 1:
        raise InputError(f"{sheet.file}: has the columns {' and '.join(found)}; keep one of them")
    if found:
        return found[0], units[found[0].removeprefix(f"{quantity}_")]
    for column in sheet.frame.columns:
        if column == quantity or column.startswith(f"{quantity}_"):
            told = f"the column {column!r} has no unit that is known; rename it to one of {', '.join(known)}"
            raise InputError(f"{sheet.file}: {told}")
    return None


def _check_columns(sheet: Table) -> None:
    """Raise InputError for a column that is missing or misspelt."""
    columns = list(sheet.frame.columns)
    for column in columns:
        absent = [name for name in COLUMNS if name not in columns]
        if column not in COLUMNS and (near := difflib.get_close_matches(column.lower(), absent, n=1, cutoff=0.8)):
            raise InputError(f"{sheet.file}: column {column!r} is not known; rename it to {near[0]!r}")
    for column in ("readout", "value"):
        if column not in columns:
            raise InputError(
                f"{sheet.file}: column {column!r} is missing; add it to the header (columns are {', '.join(columns)})"
            )


def _wells(sheet: Table, readouts: Mapping[str, str], names: Mapping[str, str]) -> list[Well]:
    _check_columns(sheet)
    time, dose = _unit_column(sheet, "time", SECONDS), _unit_column(sheet, "dose", NANOMOLAR)
    if time is None:
        known = ", ".join(f"time_{unit}" for unit in SECONDS)
        raise InputError(f"{sheet.file}: the column of times is missing; add one of {known}")
    if ("drug" in sheet.frame) != (dose is not None):
        known = ", ".join(f"dose_{unit}" for unit in ("nM", "uM", "mM"))
        told = "'drug' is there without doses" if dose is None else f"{dose[0]!r} is there without 'drug'"
        raise InputError(f"{sheet.file}: the column {told}; add {known if dose is None else 'the column drug'}")
    wells = []
    for row in range(len(sheet.frame)):
        cells = {column: _cell(sheet, row, column) for column in COLUMNS}
        if cells["readout"] not in readouts:
            unknown = unknown_name("readout", cells["readout"], readouts)
            raise sheet.error(row, "readout", f"{unknown}; list it in readouts or remove the row")
        after = sheet.number(row, time[0], sheet.frame[time[0]][row])
        if after < 0:
            raise sheet.error(row, time[0], f"is {after:g}; give times from the moment the drugs come on, 0 or later")
        value, censoring = _value(sheet, row, cells["value"])
        wells.append(
            Well(row, cells["cell"], cells["stimulus"], _drugs(sheet, row, dose, names), _rounded(after * time[1]),
                 cells["readout"], value, censoring, cells["plate"], cells["role"] or ROLES[0])
        )  # fmt: skip
    found = {well.readout for well in wells}
    for name in readouts:
        if name not in found:
            raise InputError(f"{sheet.file}: no row has the readout {name!r}; leave it out of readouts")
    return wells


def _cell(sheet: Table, row: int, column: str) -> str:
    """Return a cell, empty if its column is absent; raises InputError where a group has no name."""
    if column not in sheet.frame:
        return ""
    text = str(sheet.frame[column][row])
    if not text and column in ("cell", "readout", "value", "plate"):
        raise sheet.error(row, column, "is empty; fill it in or remove the row")
    return text


def _value(sheet: Table, row: int, text: str) -> tuple[float, str]:
    """Return a number and how it is censored."""
    censoring = {"<": "left", ">": "right"}.get(text[0], "")
    return sheet.number(row, "value", text[1:].lstrip("=").strip() if censoring else text), censoring


def _drugs(sheet: Table, row: int, column: tuple[str, float] | None, names: Mapping[str, str]) -> Doses:
    """Return the drugs of a well with doses in nM, in alphabetical order; a drug at dose 0 is none."""
    if column is None:
        return ()
    dose, unit = column
    given = [part.strip() for part in str(sheet.frame["drug"][row]).split("+")]
    amounts = [part.strip() for part in str(sheet.frame[dose][row]).split("+")]
    if len(given) == 1 and given[0].lower() in {name.lower() for name in VEHICLES}:
        if any(amounts) and any(sheet.number(row, dose, amount) for amount in amounts):
            raise sheet.error(row, dose, f"is {amounts[0]} without a drug; name the drug or leave the dose empty")
        return ()
    if len(given) != len(amounts):
        told = f"has {len(amounts)} doses for {len(given)} drugs; give one per drug, joined by + in the same order"
        raise sheet.error(row, dose, told)
    doses: dict[str, float] = {}
    for name, amount in zip(given, amounts, strict=True):
        if not name:
            raise sheet.error(row, "drug", "has a + with nothing beside it; name the drugs on both sides")
        if not amount:
            raise sheet.error(row, dose, f"is empty; give the dose of {name}, 0 if it is absent")
        number = sheet.number(row, dose, amount)
        if number < 0:
            raise sheet.error(row, dose, f"is {number:g}; a dose is 0 or more")
        if names.get(name, name) in doses:
            raise sheet.error(row, "drug", f"{name} is there twice; give it once with the sum of its doses")
        doses[names.get(name, name)] = _rounded(number * unit)
    return tuple(sorted((name, number) for name, number in doses.items() if number))


def _rounded(number: float) -> float:
    """Return a number without what a change of units adds in its last digits."""
    return float(f"{number:.12g}")


def _check_repeats(sheet: Table, wells: Iterable[Well]) -> None:
    """Raise InputError for rows that agree in everything but the value."""
    seen: dict[tuple[Any, ...], int] = {}
    for well in wells:
        as_given = tuple(_cell(sheet, well.row, column) for column in ("drug", "replicate"))
        key = (well.treatment, well.time, well.readout, well.plate, as_given)
        if key in seen:
            told = f"repeats line {sheet.line(seen[key])} in all but the value; remove one, or number them here"
            raise sheet.error(well.row, "replicate", told)
        seen[key] = well.row


def _check_positive(sheet: Table, wells: Iterable[Well], noise: str) -> None:
    for well in wells:
        if noises.is_logarithmic(noise) and well.value <= 0:
            told = f"is {well.value:g}, which has no logarithm; give it as below the detection limit (`<0.5`), leave"
            raise sheet.error(well.row, "value", f"{told} the row out or read the table with noise='normal'")


# ---- normalisation ------------------------------------------------------------------------------------------------


def _normalised(sheet: Table, wells: Sequence[Well], control: Mapping[str, str], *, logarithmic: bool) -> list[Well]:
    """Return the wells with values as ratios to the mean of the controls on their plate."""
    for column in control:
        if column not in sheet.frame:
            raise InputError(f"{sheet.file}: {unknown_name('column of control', column, sheet.frame.columns)}")
    told = ", ".join(f"{column} {cell or 'empty'}" for column, cell in control.items())

    def group(well: Well) -> tuple[str, str, str]:
        return well.readout, well.plate, "" if "cell" in control else well.cell

    controls: dict[tuple[str, str, str], list[Well]] = {}
    for well in wells:
        if all(_same(str(sheet.frame[column][well.row]), cell) for column, cell in control.items()):
            controls.setdefault(group(well), []).append(well)
    kinds: dict[tuple[str, str], Well] = {}
    means = {}
    for key, found in controls.items():
        first = kinds.setdefault((key[0], key[2]), found[0])
        for well in found:
            if (well.treatment, well.time) != (first.treatment, first.time):
                raise sheet.error(
                    well.row, "readout",
                    f"is a control of {well.readout} ({told}) unlike that of line {sheet.line(first.row)} in cell, "
                    "stimulus, drug or time; let control name one of them",
                )  # fmt: skip
            if well.censoring or (well.value <= 0):
                raise sheet.error(well.row, "value", "is that of a control and no positive number; leave the row out")
        values = np.array([well.value for well in found])
        means[key] = float(np.exp(np.log(values).mean()) if logarithmic else values.mean())
    for well in wells:
        if group(well) not in means:
            readout, plate, cell = group(well)
            where = (f" on plate {plate}" if plate else "") + (f" of {cell}" if cell else "")
            message = f"{readout} has no control row{where} ({told}); add one or change control"
            raise sheet.error(well.row, "readout", message)
    return [replace(well, value=well.value / means[group(well)]) for well in wells]


def _same(text: str, wanted: object) -> bool:
    try:
        return float(text) == float(str(wanted))
    except ValueError:
        return text == str(wanted).strip()


# ---- rows to tables -----------------------------------------------------------------------------------------------


def _experiment_names(wells: Iterable[Well]) -> dict[tuple[str, str, Doses], str]:
    """Return treatment -> name of its experiment."""
    names: dict[tuple[str, str, Doses], str] = {}
    for well in wells:
        if well.treatment not in names:
            plain = "_".join(
                filter(None, (well.cell, well.stimulus, *(f"{drug}_{dose:g}" for drug, dose in well.drugs)))
            )
            names[well.treatment] = _apart(_identifier(plain or "untreated"), names.values())
    return names


def _identifier(text: str) -> str:
    """Return a text as a name that formulas and PEtab can have."""
    plain = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return plain if plain and not plain[0].isdigit() else f"_{plain}"


def _apart(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number behind it if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _table(name: str, sheet: Table, rows: Sequence[tuple[int, Mapping[str, Any]]], called: Mapping[str, str]) -> Table:
    """Return a table of (row of the sheet, column -> cell)."""
    import pandas as pd

    columns = (*REQUIRED[name], *OPTIONAL[name])
    frame = pd.DataFrame([[str(cells.get(c, "")) for c in columns] for _, cells in rows], columns=columns, dtype=object)
    places = tuple((sheet.file, sheet.line(row)) for row, _ in rows)
    return Table(name, sheet.file, frame, places, called)


def _protocols(
    sheet: Table,
    wells: Iterable[Well],
    names: Mapping[tuple[str, str, Doses], str],
    contexts: Mapping[str, str | Settings],
    stimuli: Mapping[str, Settings],
    *,
    equilibrate: bool,
    stimulus_at_start: bool,
) -> dict[str, Table]:
    """Return conditions and experiments: an experiment has conditions of its own, which have the line of its well."""
    first: dict[tuple[str, str, Doses], Well] = {}
    for well in wells:
        first.setdefault(well.treatment, well)
    conditions, experiments = [], []
    for treatment, well in first.items():
        name, about = names[treatment], _label(well)
        doses = dict(well.drugs)
        start = _surroundings(sheet, well, contexts, stimuli, stimulus=True)
        rest = _surroundings(sheet, well, contexts, stimuli, stimulus=not stimulus_at_start)
        _add(sheet, well, start, doses)
        _add(sheet, well, rest, dict.fromkeys(doses, 0.0))
        periods = [("-inf", f"{name}.before", rest)] if equilibrate else []
        for time, condition, given in [*periods, ("0", name, start)]:
            conditions += [
                (well.row, {"conditionId": condition, "targetId": target, "targetValue": value})
                for target, value in given.items()
            ]
            cells = {"experimentId": name, "time": time, "conditionId": condition if given else ""}
            experiments.append((well.row, {**cells, **about}))
    targets = "cell, stimulus and drug"
    return {
        "conditions": _table("conditions", sheet, conditions, dict.fromkeys(("targetId", "targetValue"), targets)),
        "experiments": _table("experiments", sheet, experiments, {}),
    }


def _label(well: Well) -> dict[str, str]:
    drugs = " + ".join(f"{drug} {dose:g} nM" for drug, dose in well.drugs)
    return {"panel": well.cell, "label": ", ".join(filter(None, (well.stimulus, drugs))) or "no drug"}


def _surroundings(
    sheet: Table, well: Well, contexts: Mapping[str, str | Settings], stimuli: Mapping[str, Settings], *, stimulus: bool
) -> dict[str, Any]:
    """Return what the cell and, if asked for, its stimuli set: by themselves, or as part of the context's name."""
    parts = [part.strip() for part in well.stimulus.split("+") if part.strip()] if stimulus else []
    with_cell = [part for part in parts if part not in stimuli]
    name = "+".join(filter(None, (well.cell, *with_cell)))
    found = contexts.get(name)
    if found is None:
        alone = contexts.get(well.cell, well.cell)
        if not isinstance(alone, str):
            told = (
                f"contexts says what {well.cell} sets, not what {name} does; list it there, or the stimulus in stimuli"
            )
            raise sheet.error(well.row, "stimulus", told)
        found = "+".join(filter(None, (alone, *with_cell)))
    settings: dict[str, Any] = {}
    for own in ({"context": found} if isinstance(found, str) else found, *(stimuli[p] for p in parts if p in stimuli)):
        _add(sheet, well, settings, own)
    return {target: value for target, value in settings.items() if value != ""}


def _add(sheet: Table, well: Well, settings: dict[str, Any], own: Mapping[str, Any]) -> None:
    """Add settings to those of a well; raises InputError where both set the same."""
    for target, value in own.items():
        if target in settings:
            told = f"{target!r} is set twice, by the cell, its stimuli or its drugs; let one of them set it"
            raise sheet.error(well.row, "cell, stimulus and drug", told)
        settings[target] = value


def _measurements(
    sheet: Table, wells: Iterable[Well], names: Mapping[tuple[str, str, Doses], str], assay_of: Mapping[int, str]
) -> Table:
    rows, replicates = [], dict[tuple[Any, ...], int]()
    for well in wells:
        key = assay_of[well.row], names[well.treatment], well.time
        replicates[key] = replicates.get(key, 0) + 1
        rows.append((well.row, {
            "observableId": key[0], "experimentId": key[1], "time": repr(well.time),
            "measurement": repr(well.value), "replicateId": replicates[key], "censoring": well.censoring,
            "role": well.role,
        }))  # fmt: skip
    called = {"observableId": "readout", "measurement": "value", "experimentId": "drug"}
    return _table("measurements", sheet, rows, called)


def _assays(wells: Iterable[Well], by: str) -> dict[str, list[Well]]:
    """Return name -> wells that share offset and scale: of one readout, and one plate or cell if `by` says so."""
    groups: dict[tuple[str, str], list[Well]] = {}
    for well in wells:
        groups.setdefault((well.readout, getattr(well, by) if by else ""), []).append(well)
    assays: dict[str, list[Well]] = {}
    several = len({group for _, group in groups}) > 1
    for (readout, group), of in groups.items():
        assays[_apart(_identifier(f"{readout}_{group}" if several else readout), assays)] = of
    return assays


def _observables(
    sheet: Table, assays: Mapping[str, Sequence[Well]], readouts: Mapping[str, str], noise: str,
    sigma: float | None, *, offset: bool,
) -> tuple[Table, Table]:  # fmt: skip
    """Return the observables, and their offsets, scales and sigmas with bounds from the data."""
    observables, parameters = [], []
    sigmas: dict[str, str] = {}
    for name, wells in assays.items():
        first = wells[0]
        values = np.array([well.value for well in wells if not well.censoring])
        if not len(values):
            told = f"all values of {name} are censored, so that they have no scale; leave these rows out"
            raise sheet.error(first.row, "value", told)
        if not np.any(values):
            told = f"all values of {name} are 0, so that they have no scale; leave these rows out"
            raise sheet.error(first.row, "value", told)
        scale, floor = f"scale_{name}", f"offset_{name}"
        if first.readout not in sigmas:
            sigmas[first.readout] = _apart(f"sigma_{_identifier(first.readout)}", sigmas.values())
            of_readout = [well for of in assays.values() for well in of if well.readout == first.readout]
            row = _sigma(of_readout, noise) if sigma is None else _fixed(sigma)
            parameters.append((first.row, {"parameterId": sigmas[first.readout], **row}))
        observables.append((first.row, {
            "observableId": name, "observableName": first.readout,
            "observableFormula": f"{floor} + {scale}*({readouts[first.readout]})" if offset
            else f"{scale}*({readouts[first.readout]})",
            "noiseFormula": sigmas[first.readout], "noiseDistribution": noise,
        }))  # fmt: skip
        if offset:
            parameters.append((first.row, {"parameterId": floor, **_offset(values)}))
        largest = float(np.abs(values).max())
        low, high = largest / AMOUNTS[1], largest / AMOUNTS[0]
        parameters.append((first.row, {"parameterId": scale, **_free(low, high, math.sqrt(low * high))}))
    called = {"observableId": "readout", "observableFormula": "readout", "parameterId": "readout"}
    return _table("observables", sheet, observables, called), _table("parameters", sheet, parameters, called)


def _offset(values: npt.NDArray[np.float64]) -> dict[str, str]:
    """Return the bounds of an offset: positive and below the largest value if all values are positive."""
    least, largest = float(values.min()), float(values.max())
    if least > 0:
        return _free(least * LEAST_SHARE, largest, least / 2)
    width = max(largest - least, abs(least), abs(largest))
    return _free(least - width, largest + width, least, "lin")


def _sigma(wells: Sequence[Well], noise: str) -> dict[str, str]:
    """Return the bounds of sigma, and where to start: at the spread of replicates, if there are any."""
    values = np.array([well.value for well in wells if not well.censoring])
    logarithmic = noises.is_logarithmic(noise)
    unit = 1.0 if logarithmic else float(np.abs(values).max())
    groups: dict[tuple[Any, ...], list[float]] = {}
    for well in wells:
        if not well.censoring:
            seen = math.log(well.value) if logarithmic else well.value
            groups.setdefault((well.treatment, well.time, well.plate), []).append(seen)
    squares = sum(float(np.sum((np.array(of) - np.mean(of)) ** 2)) for of in groups.values())
    degrees = sum(len(of) - 1 for of in groups.values())
    spread = math.sqrt(squares / degrees) if degrees else USUAL_SIGMA * unit
    low, high = SIGMA[0] * unit, SIGMA[1] * unit
    return _free(low, high, min(max(spread, low), high))


def _free(low: float, high: float, nominal: float, scale: str = "log10") -> dict[str, str]:
    return {"lowerBound": repr(low), "upperBound": repr(high), "nominalValue": repr(nominal), "estimate": "true",
            "parameterScale": scale, "source": "bounds from the data"}  # fmt: skip


def _fixed(value: float) -> dict[str, str]:
    return {"nominalValue": repr(float(value)), "estimate": "false"}


def _with_own(nuisances: Table, parameters: Any) -> Table:
    """Return the parameters of the assay with the caller's own before them."""
    import pandas as pd

    if parameters is None:
        return nuisances
    own = read_raw("parameters", parameters)
    places = (*((own.file, own.line(row)) for row in range(len(own.frame))), *nuisances.places)
    frame = pd.concat([own.frame, nuisances.frame], ignore_index=True).fillna("")
    return Table("parameters", own.file, frame, places)


# ---- MIDAS --------------------------------------------------------------------------------------------------------


def _tidied(sheet: Table, seconds: float, doses: Mapping[str, float]) -> Table:
    """Return the rows of a MIDAS file as a tidy table, each with the line that it came from."""
    import pandas as pd

    cells, treatments, readouts = _midas_columns(sheet, doses)
    rows, lines = [], []
    seen: dict[tuple[Any, ...], int] = {}
    for row in range(len(sheet.frame)):
        levels = {column: sheet.number(row, column, sheet.frame[column][row] or 0) for column in (*cells, *treatments)}
        for column, level in levels.items():
            if level < 0:
                raise sheet.error(row, column, f"is {level:g}; 0 says absent, 1 present")
        present = [name for column, name in cells.items() if levels[column]]
        if cells and len(present) != 1:
            told = f"{len(present)} of the columns {', '.join(cells)} are 1; each row is of one cell line"
            raise sheet.error(row, next(iter(cells)), told)
        given = {name: levels[column] for column, name in treatments.items() if levels[column]}
        drugs = {name: level * doses[name] for name, level in given.items() if name in doses}
        about = {
            "cell": "".join(present),
            "stimulus": "+".join(name for name in given if name not in doses),
            "drug": "+".join(drugs),
            "dose_nM": "+".join(map(repr, drugs.values())),
        }
        for readout, time in readouts.items():
            value = str(sheet.frame[f"DV:{readout}"][row])
            if value in MISSING:
                continue
            key = (*about.values(), readout, str(sheet.frame[time][row]))
            seen[key] = seen.get(key, 0) + 1
            after = sheet.number(row, time, sheet.frame[time][row]) * seconds
            rows.append({**about, "time_s": repr(after), "readout": readout, "value": value,
                         "replicate": str(seen[key])})  # fmt: skip
            lines.append((sheet.file, sheet.line(row)))
    if not rows:
        raise InputError(f"{sheet.file}: the columns DV: have no values; fill in one at least")
    frame = pd.DataFrame(rows, dtype=object)
    empty = [column for column in ("cell", "stimulus") if not frame[column].any()]
    called = {"value": "DV:", "readout": "DV:", "time_s": "DA:", "drug": "TR:", "dose_nM": "TR:", "cell": "TR:"}
    return Table("data", sheet.file, frame.drop(columns=empty), tuple(lines), called)


def _midas_columns(sheet: Table, doses: Mapping[str, float]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return column -> cell line, column -> treatment, and read-out -> column of its times."""
    columns = list(sheet.frame.columns)
    cells, treatments = {}, {}
    for column in columns:
        kind, name, field = (*column.split(":"), "", "")[:3]
        if kind.upper() != "TR" or name.upper() in UNUSED:
            continue
        if field.replace(" ", "").lower() in ("cellline", "celltype"):
            cells[column] = name
            continue
        treatments[column] = name
        inhibitor = field.lower().startswith("inhibitor") or (not field and re.fullmatch(r"\w*[A-Z0-9]i", name))
        if inhibitor and name not in doses:
            told = f"the treatment {column!r} is an inhibitor without a dose; give it as doses={{{name!r}: nM}}"
            raise InputError(f"{sheet.file}: {told}")
    for name, dose in doses.items():
        if name not in treatments.values():
            raise InputError(f"{sheet.file}: {unknown_name('treatment in doses', name, treatments.values())}")
        if not (math.isfinite(dose) and dose > 0):
            raise InputError(f"the dose of {name} is {dose}, expected a positive number of nM")
    readouts = {}
    for column in columns:
        if column.startswith("DV:"):
            name = column.removeprefix("DV:")
            time = next((known for known in (f"DA:{name}", "DA:ALL") if known in columns), None)
            if time is None:
                raise InputError(f"{sheet.file}: {column!r} has no column of times; add 'DA:{name}' or 'DA:ALL'")
            readouts[name] = time
    for kind, found in (("TR:", treatments or cells), ("DV:", readouts)):
        if not found:
            raise InputError(f"{sheet.file}: no column begins with {kind}; MIDAS needs TR:, DA: and DV: columns")
    return cells, treatments, readouts
