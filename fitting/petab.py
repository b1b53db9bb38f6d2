"""A PEtab problem (version 2, PySB model) in, a `Problem` out; and back. The `petab` library checks both.

What PEtab has and these tables have not is said in their words when a problem is read:

* measurements without an experiment belong to one that changes nothing; replicates are numbered
* species come by the mapping table, and a condition that names one sets its amount as the period starts
* what conditions set for the observables alone becomes a placeholder that each measurement fills in
* PySB counts amounts, so the size of a compartment acts through rate constants only; a condition may change it
  where no rate constant has it in, which changes nothing, and is refused where one has

Not read: periods that start before 0 or of which the first starts after 0, measurements at infinity, several models,
prior distributions other than those of `tables`. A log-normal prior is a density over ln x here, over x in PEtab.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..simulator import network as networks
from ..simulator.compiled import CompiledModel, compile_model
from ..simulator.errors import InputError
from ..simulator.expressions import names_in
from ..simulator.options import SolverOptions
from .objective import Problem
from .observation import parsed
from .tables import KEYS, REQUIRED, Table, check_duplicates, checked, read_raw, replace_names, split

if TYPE_CHECKING:
    import pandas as pd
    import pysb

NO_EXPERIMENT = "unchanged"
"""Name of the experiment of measurements that name none."""
FILES = {name: f"{name.removesuffix('s')}_files" for name in REQUIRED}
"""Table -> key of its files in the YAML file."""


def read_petab(path: str | Path, *, options: SolverOptions | None = None, threads: int | None = None,
               cache: bool = True) -> Problem:  # fmt: skip
    """Return the problem that a PEtab file states.

    Parameters
    ----------
    path
        The YAML file of a problem in version 2 of PEtab, with one model in the language `pysb`: a Python file that
        defines `model`, **which is run**.
    options, threads
        Passed on to `simulate`.
    cache
        Keep and use the generated network in the user's cache folder.

    Raises
    ------
    InputError
        For what is wrong with a table or cannot be read, with file, line, column and remedy; for what the linter of
        the `petab` library calls an error; where that library is not installed.
    """
    path = Path(path)
    config = _config(path)
    raw = {name: _joined(path, name, config.get(key) or ()) for name, key in FILES.items()}
    mapping = _joined(path, "mapping", config.get("mapping_files") or ())
    check_duplicates(table for name, table in raw.items() if name != "measurements")
    model = _model(path, config)
    compiled = compile_model(model, cache=cache)
    compiled = _with_mapped(model, compiled, mapping)
    _name_experiments(raw)
    _number_replicates(raw["measurements"])
    _read_priors(raw["parameters"])
    _use_own_words(model, compiled, mapping, raw)
    tables = checked(raw)
    problem = Problem(compiled, tables, options=options, threads=threads)
    if errors := [said for said in lint_petab(path) if not said.startswith(("WARNING", "INFO"))]:
        raise InputError(f"{path.name} is no valid PEtab problem: {'; '.join(errors)}")
    return problem


def lint_petab(path: str | Path) -> list[str]:
    """Return what the linter of the `petab` library says of a problem, most of it `ERROR: ...` or `WARNING: ...`.

    Raises InputError where the library is not installed.
    """
    petab = _petab()
    try:
        found = petab.Problem.from_yaml(str(path)).validate()
    except Exception as error:  # the library raises whatever the parser of a table happens to raise
        return [f"CRITICAL: {' '.join(str(error).split())}"]
    return [" ".join(str(issue).split()) for issue in found]


def _errors(path: Path) -> list[str]:
    return [said for said in lint_petab(path) if not said.startswith(("WARNING", "INFO"))]


def _petab() -> Any:
    try:
        import petab.v2
    except ImportError as error:
        raise InputError(f"PEtab problems need the `petab` library: pip install 'residuum[petab]' ({error})") from None
    return petab.v2


# ---- files ------------------------------------------------------------------------------------------------------


def _config(path: Path) -> dict[str, Any]:
    """Return the YAML file as a dictionary."""
    _petab()
    from petab.v1.yaml import load_yaml

    if not path.is_file():
        raise InputError(f"{path} does not exist; give the YAML file of a PEtab problem")
    try:
        config = load_yaml(str(path))
        version = str(config["format_version"])
    except Exception as error:  # the parser's own kinds of errors
        raise InputError(f"{path.name} is no YAML file of a PEtab problem: {error}") from None
    if version.partition(".")[0] != "2":
        raise InputError(f"{path.name}, format_version: is {version}, expected 2; convert it with `petab.v2.petab1to2`")
    return dict(config)


def _joined(path: Path, name: str, files: Sequence[str]) -> Table:
    """Return the table in one or several files; an empty one where there is none and none is needed."""
    import pandas as pd

    required = REQUIRED.get(name, ("petabEntityId", "modelEntityId"))
    if not files:
        if name not in ("conditions", "experiments", "mapping"):
            raise InputError(f"{path.name}, {FILES[name]}: is empty; a problem needs a table of {name}")
        return Table(name, f"table {name}", pd.DataFrame(columns=list(required), dtype=object))
    parts = [read_raw(name, path.parent / file, required) for file in files]
    if len(parts) == 1:
        return parts[0]
    frame = pd.concat([part.frame for part in parts], ignore_index=True).fillna("")
    places = tuple((part.file, part.line(row)) for part in parts for row in range(len(part.frame)))
    return Table(name, " + ".join(part.file for part in parts), frame, places)


def _model(path: Path, config: Mapping[str, Any]) -> pysb.Model:
    models = config.get("model_files") or {}
    if len(models) != 1:
        raise InputError(f"{path.name}, model_files: holds {len(models)} models, expected one; split the problem")
    ((name, entry),) = models.items()
    if entry.get("language") != "pysb":
        raise InputError(f"{path.name}, model {name}: the language is {entry.get('language')!r}, expected 'pysb'")
    place = path.parent / str(entry.get("location"))
    return _loaded(place)


def _loaded(place: Path) -> pysb.Model:
    """Return the model that a Python file defines."""
    from petab.v1.models.pysb_model import PySBModel

    if not place.is_file():
        raise InputError(f"{place} does not exist; give the Python file of a PySB model")
    try:
        return PySBModel.from_file(str(place), model_id="model").model
    except Exception as error:  # it runs a file of the user's
        raise InputError(f"{place.name} defines no PySB model: {type(error).__name__}: {error}") from None


# ---- PEtab to tables --------------------------------------------------------------------------------------------


def _with_mapped(model: pysb.Model, compiled: CompiledModel, mapping: Table) -> CompiledModel:
    """Return the model with an observable for each species that the mapping table names."""
    observables = dict(compiled.network.observables)
    for row, name in mapping.cells("petabEntityId"):
        if species := _mapped_species(model, compiled, mapping, row):
            alone = ((compiled.species_index[species], 1.0),)
            if name in compiled.parameters or observables.get(name, alone) != alone:
                told = f"{name!r} stands for {species}, but is another quantity of the model; choose another name"
                raise mapping.error(row, "petabEntityId", told)
            observables[name] = alone
    network = dataclasses.replace(compiled.network, observables=observables)
    return CompiledModel(network, compiled.units)


def _mapped_species(model: pysb.Model, compiled: CompiledModel, mapping: Table, row: int) -> str | None:
    """Return the species that a row of the mapping table names; None for one that names no species."""
    from petab.v1.models.pysb_model import pattern_from_string

    text = mapping.frame["modelEntityId"][row]
    if "(" not in text:
        return None
    try:
        species = networks.species_of(model, compiled.network, pattern_from_string(text, model))
    except Exception as error:  # PySB refuses patterns in several ways
        raise mapping.error(row, "modelEntityId", f"{text!r} is not one species, sites and all: {error}") from None
    if species is None:
        known = [networks.pattern_text(model, name) for name in compiled.species]
        raise mapping.unknown(row, "modelEntityId", "species", text, known)
    return species


def _name_experiments(raw: dict[str, Table]) -> None:
    """Give measurements that name no experiment one that changes nothing."""
    import pandas as pd

    measurements, experiments = raw["measurements"], raw["experiments"]
    nameless = measurements.frame["experimentId"] == ""
    if nameless.any():
        taken, name = set(experiments.frame["experimentId"]), NO_EXPERIMENT
        while name in taken:
            name += "_"
        measurements.frame.loc[nameless, "experimentId"] = name
        row = pd.DataFrame([{"experimentId": name, "time": "0", "conditionId": ""}])
        raw["experiments"] = experiments.with_frame(pd.concat([experiments.frame, row], ignore_index=True).fillna(""))


def _number_replicates(measurements: Table) -> None:
    """Number the rows that measure the same thing with different results; raises InputError if these are the same."""
    frame = measurements.frame
    if "replicateId" not in frame:
        frame["replicateId"] = ""
    whole = frame.drop(columns="replicateId").agg("\t".join, axis=1)
    seen: dict[tuple[str, ...], list[int]] = {}
    columns = (frame[c] for c in ("observableId", "experimentId", "time", "replicateId"))
    for row, key in enumerate(zip(*columns, strict=True)):
        for before in seen.setdefault(key, []):
            if whole[before] == whole[row]:
                told = f"repeats line {measurements.line(before)}; remove one, or tell them apart by a replicateId"
                raise measurements.error(row, "measurement", told)
        seen[key].append(row)
    for (*_, replicate), rows in seen.items():
        if not replicate and len(rows) > 1:
            for number, row in enumerate(rows, start=1):
                frame.loc[row, "replicateId"] = str(number)


def _read_priors(parameters: Table) -> None:
    """Turn uniform priors into bounds and log-uniform ones into the scale log10."""
    frame = parameters.frame
    if "priorDistribution" not in frame:
        return
    for column in ("parameterScale", "priorParameters"):
        if column not in frame:
            frame[column] = ""
    for row, kind in list(parameters.cells("priorDistribution")):
        if kind not in ("uniform", "log-uniform"):
            continue
        limits = parameters.numbers(row, "priorParameters", frame["priorParameters"][row])
        if limits:
            lower, upper = (parameters.number(row, c, frame[c][row]) for c in ("lowerBound", "upperBound"))
            if len(limits) != 2 or limits[0] > lower or limits[1] < upper:
                told = f"the {kind} prior does not cover the bounds [{lower:g}, {upper:g}]; narrow the bounds to it"
                raise parameters.error(row, "priorParameters", told)
        if kind == "log-uniform":
            frame.loc[row, ["priorDistribution", "parameterScale"]] = "uniform", "log10"


def _use_own_words(model: pysb.Model, compiled: CompiledModel, mapping: Table, raw: dict[str, Table]) -> None:
    """Rewrite conditions and observables, in place, with names of the network, parameters and placeholders only."""
    conditions, observables = raw["conditions"], raw["observables"]
    names: dict[str, str] = {}
    """PEtab's names -> those of species in the network."""
    for row, name in mapping.cells("petabEntityId"):
        # PEtab gives second names to nothing but species: what has an identifier keeps it
        names[name] = _mapped_species(model, compiled, mapping, row) or name
    for frame, column in (
        (conditions.frame, "targetValue"), (observables.frame, "observableFormula"),
        (observables.frame, "noiseFormula"),
    ):  # fmt: skip
        frame[column] = [_formula(cell) for cell in frame[column]]
    used = _symbols(observables)
    compartments = set(model.compartments.keys())
    observed: dict[str, dict[str, str]] = {}
    """What conditions set for the observables alone: name -> condition -> value."""
    for row, target in conditions.cells("targetId"):
        entity, value = names.get(target, target), conditions.frame["targetValue"][row]
        condition = conditions.frame["conditionId"][row]
        if entity in compiled.derived:
            told = f"{entity!r} is an expression of parameters; set what it is made of"
            raise conditions.error(row, "targetId", told)
        if entity in compiled.parameters:
            if entity in used:
                observed.setdefault(entity, {})[condition] = value
        elif entity in compartments:
            if compiled.network.depends_on_volumes:
                told = (
                    f"the size of {entity!r} is worked into rate constants of the network and cannot be set by a "
                    "condition; set it in the model file"
                )
                raise conditions.error(row, "targetId", told)
        elif entity in compiled.species_index:
            continue
        elif target in used:
            observed.setdefault(target, {})[condition] = value
        else:
            known = (*compiled.parameters, *names, *compartments, *sorted(used))
            raise conditions.unknown(row, "targetId", "target of a condition", target, known)
    entities = [names.get(target, target) for target in conditions.frame["targetId"]]
    kept = np.array([entity in (*compiled.parameters, *compiled.species) for entity in entities], bool)
    # what no condition of a measurement sets in the model stays as the model has it
    listed = set(raw["parameters"].frame["parameterId"])
    for symbol in used & set(compiled.parameters) - listed:
        observed.setdefault(symbol, {})
    _make_placeholders(raw, observed, dict(zip(compiled.parameters, compiled.nominal, strict=True)))
    frame = conditions.frame.assign(targetId=entities)
    # a condition that sets nothing in the model is still named by experiments
    idle = set(frame["conditionId"]) - set(frame.loc[kept, "conditionId"])
    experiments = raw["experiments"]
    given = ["" if name in idle else name for name in experiments.frame["conditionId"]]
    periods = experiments.frame.assign(conditionId=given)
    raw["experiments"] = experiments.with_frame(periods).only(~periods.duplicated(list(KEYS["experiments"])))
    raw["conditions"] = conditions.with_frame(frame).only(kept)


def _symbols(observables: Table) -> set[str]:
    """Return the names in all formulas of the observables but the placeholders."""
    symbols: set[str] = set()
    for row in range(len(observables.frame)):
        placeholders = {
            name
            for column in ("observablePlaceholders", "noisePlaceholders") if column in observables.frame
            for name in split(observables.frame[column][row])
        }  # fmt: skip
        for column in ("observableFormula", "noiseFormula"):
            if text := observables.frame[column][row]:
                symbols |= names_in(parsed(observables, row, column, text)) - placeholders
    return symbols


def _make_placeholders(
    raw: dict[str, Table], observed: Mapping[str, Mapping[str, str]], nominal: Mapping[str, float]
) -> None:
    """Turn names in formulas of observables that conditions set into placeholders that measurements fill in."""
    observables, measurements, experiments = raw["observables"], raw["measurements"], raw["experiments"]
    for table, column in ((observables, "observablePlaceholders"), (measurements, "observableParameters")):
        if column not in table.frame:
            table.frame[column] = ""
    periods: dict[str, list[tuple[float, str]]] = {}
    for row, name in experiments.cells("experimentId"):
        start = experiments.number(row, "time", experiments.frame["time"][row], infinite=True)
        periods.setdefault(name, []).append((start, experiments.frame["conditionId"][row]))
    for of in periods.values():
        of.sort(key=lambda period: period[0])
    for name, values in observed.items():
        mine = set()
        for row, observable in observables.cells("observableId"):
            formulas = (observables.frame[c][row] for c in ("observableFormula", "noiseFormula"))
            if any(re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", formula) for formula in formulas):
                mine.add(observable)
                _append(observables, row, "observablePlaceholders", name)
        for row, observable in measurements.cells("observableId"):
            if observable not in mine or measurements.frame["experimentId"][row] not in periods:
                continue
            time = measurements.number(row, "time", measurements.frame["time"][row])
            value = _value_at(periods[measurements.frame["experimentId"][row]], time, values)
            if value is None and name not in nominal:
                experiment = measurements.frame["experimentId"][row]
                told = f"{observable} needs {name!r}, which no condition of {experiment!r} sets by then; set it there"
                raise measurements.error(row, "observableId", told)
            _append(measurements, row, "observableParameters", repr(float(nominal[name])) if value is None else value)


def _value_at(periods: Sequence[tuple[float, str]], time: float, values: Mapping[str, str]) -> str | None:
    """Return what the conditions that hold at `time` set: those of the latest period that sets anything."""
    found = [values[condition] for start, condition in periods if start <= time and condition in values]
    return found[-1] if found else None


def _append(table: Table, row: int, column: str, text: str) -> None:
    table.frame.loc[row, column] = "; ".join([*split(table.frame[column][row]), text])


def _formula(text: str) -> str:
    """Return a formula of PEtab in the words of `expressions`: PEtab's `log` is the natural one."""
    return re.sub(r"\blog\s*\(", "ln(", text)


# ---- tables to PEtab --------------------------------------------------------------------------------------------


def write_petab(problem: Problem, folder: str | Path, model: pysb.Model | str | Path) -> Path:
    """Write a problem as PEtab files into a new folder; return the path of the YAML file in it.

    Conditions are written as what they set in the model: names of drugs and contexts are resolved. PEtab knows no
    validation: only the rows to fit are written. Scales of the search go into a column of our own, `parameterScale`.

    Parameters
    ----------
    problem
        What to write.
    folder
        Does not exist yet, or is empty; it appears when all files have passed the linter of the `petab` library.
    model
        The PySB model of the problem, or the Python file that defines it.

    Raises
    ------
    InputError
        For a folder that holds files; for what PEtab cannot say: censoring, Student-t noise, and what its linter calls
        an error.
    """
    _petab()
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; name a new or an empty folder")
    defined = _loaded(Path(model)) if isinstance(model, (str, Path)) else model
    frames = _frames(problem, defined)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as parent:
        draft = Path(parent) / folder.name
        draft.mkdir()
        (draft / "model.py").write_text(_source(model), encoding="utf-8")
        lines = ["format_version: 2.0.0", "model_files:", "  model:", "    language: pysb", "    location: model.py"]
        for name, frame in frames.items():
            frame.to_csv(draft / f"{name}.tsv", sep="\t", index=False)
            lines += [f"{FILES.get(name, f'{name}_files')}:", f"- {name}.tsv"]
        (draft / "problem.yaml").write_text("\n".join([*lines, ""]), encoding="utf-8")
        if errors := _errors(draft / "problem.yaml"):
            raise InputError(f"the problem cannot be written as PEtab: {'; '.join(errors)}")
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    return folder / "problem.yaml"


def _source(model: pysb.Model | str | Path) -> str:
    if isinstance(model, (str, Path)):
        return Path(model).read_text(encoding="utf-8")
    from petab.v1.models.pysb_model import PySBModel

    return str(PySBModel(model, model_id="model").to_str())


def _frames(problem: Problem, model: pysb.Model) -> dict[str, pd.DataFrame]:
    """Return PEtab's tables by name, without those that would be empty."""
    import pandas as pd

    tables = problem.tables
    rows = tables.measurements.frame.iloc[problem.fit_rows]
    for row, word in zip(problem.fit_rows.tolist(), rows["censoring"], strict=True):
        if word:
            told = f"is {word!r}, which PEtab cannot say; leave the row out or measure it otherwise"
            raise tables.measurements.error(row, "censoring", told)
    used = tables.observables.frame["observableId"].isin(rows["observableId"])
    for row, noise in tables.observables.cells("noiseDistribution"):
        if used[row] and noise == "student-t":
            raise tables.observables.error(row, "noiseDistribution", "PEtab has no student-t noise; choose laplace")
    observables = tables.observables.frame[used]
    ids = {name: _identifier(name) for name in (*problem.experiments.names, *observables["observableId"])}
    if len(set(ids.values())) < len(ids):
        raise InputError("two experiments or observables differ only in signs that PEtab's identifiers may not have")
    species = _species_ids(problem, model)
    conditions, experiments = _conditions(problem, dict.fromkeys(rows["experimentId"]), species)
    frames = {
        "conditions": pd.DataFrame(conditions, columns=["conditionId", "targetId", "targetValue"]),
        "experiments": pd.DataFrame(
            [(ids[name], time, condition) for name, time, condition in experiments],
            columns=["experimentId", "time", "conditionId"],
        ),
        "measurements": pd.DataFrame({
            "observableId": [ids[name] for name in rows["observableId"]],
            "experimentId": [ids[name] for name in rows["experimentId"]],
            "time": rows["time"], "measurement": rows["measurement"],
            "noiseParameters": [";".join(split(cell)) for cell in rows["noiseParameters"]],
            "replicateId": rows["replicateId"],
        }),
        "observables": pd.DataFrame({
            "observableId": [ids[name] for name in observables["observableId"]],
            "observableFormula": observables["observableFormula"], "noiseFormula": observables["noiseFormula"],
            "noiseDistribution": observables["noiseDistribution"],
            "noisePlaceholders": [";".join(split(cell)) for cell in observables["noisePlaceholders"]],
        }),
        "parameters": _parameter_frame(problem),
        "mapping": pd.DataFrame(
            [(identifier, networks.pattern_text(model, name)) for name, identifier in species.items()],
            columns=["petabEntityId", "modelEntityId"],
        ),
    }  # fmt: skip
    return {name: frame for name, frame in frames.items() if len(frame)}


def _parameter_frame(problem: Problem) -> pd.DataFrame:
    frame = problem.tables.parameters.frame.copy()
    for column in ("lowerBound", "upperBound"):
        frame[column] = [repr(value) if math.isfinite(value) else "" for value in frame[column]]
    frame["nominalValue"] = [repr(value) for value in frame["nominalValue"]]
    informative = frame["estimate"] & (frame["priorDistribution"] != "uniform")
    frame["priorDistribution"] = frame["priorDistribution"].where(informative, "")
    frame["priorParameters"] = [
        ";".join(split(cell)) if told else "" for cell, told in zip(frame["priorParameters"], informative, strict=True)
    ]
    frame["estimate"] = ["true" if estimate else "false" for estimate in frame["estimate"]]
    return frame[["parameterId", "lowerBound", "upperBound", "nominalValue", "estimate", "priorDistribution",
                  "priorParameters", "parameterScale"]]  # fmt: skip


def _species_ids(problem: Problem, model: pysb.Model) -> dict[str, str]:
    """Return species -> identifier, of those that conditions set and those that observables name by themselves."""
    compiled, known = problem.compiled, {component.name for component in model.components}
    ids: dict[str, str] = {}
    for name in problem.observation.readouts:
        if name in known:
            continue
        members = compiled.network.observables.get(name, ())
        if len(members) != 1 or members[0][1] != 1.0:
            raise InputError(f"{name!r} is no observable or expression of the PySB model; give the problem's own model")
        ids[compiled.species[members[0][0]]] = name
    for name in problem.experiments.names:
        for period in problem.experiments.periods(name):
            for species, *_ in period.amounts:
                ids.setdefault(species, f"amount_{compiled.species_index[species] + 1}")
    return ids


def _conditions(
    problem: Problem, names: Iterable[str], species: Mapping[str, str]
) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Return the rows of the conditions (equal ones once) and of the experiments."""
    compiled, own = problem.compiled, {*problem.fixed, *problem.names}
    ids: dict[tuple[tuple[str, str], ...], str] = {}
    experiments = []
    for name in names:
        periods = problem.experiments.periods(name)
        # what any period sets is said in each: in PEtab, too, it holds until it is set anew
        changed = {
            parameter: None
            for period in periods
            for j, parameter in enumerate(compiled.parameters)
            if period.base[j] != compiled.nominal[j] or parameter in period.texts
        }
        for period in periods:
            numbers = {p: repr(float(x)) for p, x in zip(compiled.parameters, period.base, strict=True) if p not in own}
            rows = []
            for parameter in changed:
                if parameter in period.settled or parameter not in own:
                    text = period.texts.get(parameter, numbers.get(parameter, ""))
                    rows.append((parameter, replace_names(text, numbers)))
            rows += [(species[s], replace_names(period.texts[s], numbers)) for s, *_ in period.amounts]
            key = tuple(rows)
            if key and key not in ids:
                ids[key] = f"condition_{len(ids) + 1}"
            experiments.append((name, repr(period.start), ids.get(key, "")))
    return [(condition, *row) for rows, condition in ids.items() for row in rows], experiments


def _identifier(name: str) -> str:
    """Return a name with the signs that PEtab's identifiers may not have as underscores."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if plain[:1].isalpha() or plain[:1] == "_" else f"_{plain}"
