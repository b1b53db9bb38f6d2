"""A design file (TOML) in; the arguments of a dose matrix or protocol that it means, checked, out.

    model = "aml"                       # or FILE.net, FILE.bngl, FILE.py
    contexts = ["blast-itd", "blast-itd+erk-stroma"]
    readouts = ["pERK", "pSTAT5"]
    times = "2h, 24h"                   # or 0:72h/37

    [drugs.gilteritinib]
    doses = "0, 10, 100 nM"             # or 1:100/5, or [0, 10, "0.1uM"]; bare numbers are nM
    dosing = "0h:48h"                   # from time 0 on if not given

    [drugs]
    trametinib = "0, 3, 30"             # doses alone, there from time 0 on

Times are in seconds if bare. All other keys may be left out: `medium` ("free" or "plasma"), `before` and the table
`[moves]` ("48h" = "erk-stroma") as in `residuum.aml_protocol`, `[parameters]` (changes), `reference`, `ensemble`
("shipped" or a file), `members`, `synergy` (models) and the table `[find]` (drug, given, readout, below, probability,
at). With a model of one's own, drugs are parameters and `[contexts.NAME]` tables of parameter values.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from ..simulator.errors import InputError, UnknownNameError, unknown_name
from ..simulator.words import SECONDS, read_doses, read_quantity, read_times
from .dosing import Dosing, read_dosing
from .matrix import UNTREATED, DoseAxis
from .synergy import MODELS, unfit

MODEL = "aml"
KEYS = (
    "model", "contexts", "readouts", "times", "drugs", "medium", "before", "moves", "parameters", "reference",
    "ensemble", "members", "synergy", "find",
)  # fmt: skip
NEEDED = ("contexts", "readouts", "times", "drugs")
MEDIA = ("free", "plasma")
FIND_KEYS = ("drug", "given", "readout", "below", "probability", "at")


@dataclass(frozen=True)
class Find:
    """The `[find]` table: the smallest dose of `drug` that leaves less than `below` of `readout`."""

    drug: str
    readout: str
    below: float
    """Fraction of the control."""
    probability: float | None = None
    given: Mapping[str, float] = field(default_factory=dict)
    """Doses (nM) of the other drugs."""
    at: float | None = None
    """Time, s."""


@dataclass(frozen=True)
class Design:
    """What a design file asks for: doses in nM, times in seconds."""

    file: str
    contexts: Sequence[str] | Mapping[str, Mapping[str, float]]
    readouts: tuple[str, ...]
    times: tuple[float, ...]
    drugs: Mapping[str, tuple[float, ...]]
    dosing: Mapping[str, Dosing] = field(default_factory=dict)
    """Of the drugs that are not there all the time."""
    model: str = MODEL
    medium: str = "free"
    before: str | None = None
    moves: Mapping[float, str] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    reference: str = UNTREATED
    ensemble: str | None = None
    members: int | None = None
    synergy: tuple[str, ...] = ()
    find: Find | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `dose_matrix` besides model and ensemble.

        Raises
        ------
        InputError
            For what a dose matrix does not do: cells that are moved, doses in plasma that nobody converted.
        """
        if self.before is not None or self.moves or self.parameters:
            key = "moves" if self.moves else "before" if self.before is not None else "parameters"
            raise InputError(
                f"{self.file}: {key} belongs to time courses of single doses; leave it out of a dose matrix, or use "
                "the design with `residuum simulate --design`"
            )
        if self.medium != "free":
            raise InputError(f"{self.file}: doses in plasma need drugs of the shipped model; read the design by "
                             "`residuum.read_design`")  # fmt: skip
        plain = {"drugs": dict(self.drugs), "contexts": self.contexts, "readouts": list(self.readouts),
                 "times": list(self.times), "reference": self.reference}  # fmt: skip
        return plain | ({"dosing": dict(self.dosing)} if self.dosing else {})

    def single_doses(self) -> dict[str, tuple[float, Dosing]]:
        """Return drug -> (dose, when it is there), as `residuum.aml_protocol` takes it.

        Raises
        ------
        InputError
            If a drug has several doses.
        """
        for drug, doses in self.drugs.items():
            if len(doses) != 1:
                raise InputError(
                    f"{self.file}: {drug} has {len(doses)} doses, but a time course takes one of each drug; give one, "
                    "or use the design with `residuum matrix`"
                )
        return {drug: (doses[0], self.dosing.get(drug, Dosing.constant())) for drug, doses in self.drugs.items()}


def read_design(path: str | PathLike[str], known: Mapping[str, Sequence[str]] | None = None) -> Design:
    """Return the checked design of a TOML file.

    Parameters
    ----------
    path
        The file.
    known
        Names of the shipped model, by kind: `"context"`, `"stroma"`, `"drug"`, `"readout"`, `"parameter"`; kinds that
        are missing are not checked.

    Raises
    ------
    InputError
        If the file cannot be read or a key cannot be used: names file and key, what was given and what is expected,
        with the nearest name.
    """
    file = Path(path)
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the design {file} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML file: {error}") from None
    with _at(str(file)):
        _check_keys("key", given, KEYS, NEEDED)
        return _design(str(file), given, dict(known or {}) if given.get("model", MODEL) == MODEL else {})


def _design(file: str, given: Mapping[str, Any], known: Mapping[str, Sequence[str]]) -> Design:
    texts = {key: _text(key, given[key]) for key in ("model", "medium", "before", "reference", "ensemble")
             if key in given}  # fmt: skip
    drugs, dosing = _drugs(given["drugs"], known)
    readouts = tuple(_names("readouts", given["readouts"], known.get("readout")))
    contexts = _contexts(given["contexts"], texts.get("model", MODEL), known)
    with _at("times"):
        times = tuple(_times(given["times"]))
    _check_name("medium", "medium", texts.get("medium", "free"), MEDIA)
    _check_name("before", "stroma", texts.get("before"), known.get("stroma"))
    _check_name("reference", "reference", texts.get("reference"), (UNTREATED, *contexts))
    members = given.get("members")
    if members is not None and (isinstance(members, bool) or not isinstance(members, int) or members < 1):
        raise InputError(f"members: {members!r}, expected how many parameter sets of the ensemble to take, 1 or more")
    if members is not None and "ensemble" not in texts:
        raise InputError('members: there is no ensemble to take them from; add ensemble = "shipped" or a file')
    return Design(
        file, contexts, readouts, times, drugs, dosing,
        moves=_moves(given.get("moves", {}), known),
        parameters=_numbers("parameters", given.get("parameters", {}), "parameter", known.get("parameter")),
        members=members,
        synergy=_null_models(given["synergy"], drugs) if "synergy" in given else (),
        find=_find(given["find"], drugs, readouts) if "find" in given else None,
        **texts,
    )  # fmt: skip


def _drugs(given: Any, known: Mapping[str, Sequence[str]]) -> tuple[dict[str, tuple[float, ...]], dict[str, Dosing]]:
    doses: dict[str, tuple[float, ...]] = {}
    dosing: dict[str, Dosing] = {}
    table = _table("drugs", given)
    if not table:
        raise InputError('drugs: no drug; give one table or line per drug, e.g. trametinib = "0, 3, 30 nM"')
    for drug, entry in table.items():
        key = f"drugs.{drug}"
        _check_name(key, "drug", drug, known.get("drug"))
        if not isinstance(entry, Mapping):
            entry = {"doses": entry}
        with _at(key):
            _check_keys("key", entry, ("doses", "dose", "dosing"))
            if ("doses" in entry) == ("dose" in entry):
                raise InputError('expected one of the keys doses and dose, e.g. doses = "0, 10, 100 nM"')
        kind = "doses" if "doses" in entry else "dose"
        with _at(f"{key}.{kind}"):
            doses[drug] = _doses(drug, entry[kind])
            if kind == "dose" and len(doses[drug]) > 1:
                raise InputError(f"{entry[kind]!r} is several doses; call the key doses")
        if "dosing" in entry:
            with _at(f"{key}.dosing"):
                dosing[drug] = read_dosing(_text("", entry["dosing"]))
    return doses, dosing


def _doses(drug: str, given: Any) -> tuple[float, ...]:
    listed = given if isinstance(given, list) else [given]
    if not listed or not all(_is_plain(dose) for dose in listed):
        raise InputError(f'{given!r}, expected doses such as "0, 10, 100 nM", "1:100/5" or [0, 10, "0.1uM"]')
    doses = [dose for entry in listed for dose in read_doses(f"{drug}={entry}")[1]]  # a bare number in a list is nM
    DoseAxis(drug, doses)  # says what cannot be
    return tuple(doses)


def _null_models(given: Any, drugs: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    models = tuple(_names("synergy", given, MODELS))
    n_doses = {drug: sum(dose > 0 for dose in doses) for drug, doses in drugs.items() if len(doses) > 1}
    if len(n_doses) < 2:
        raise InputError(f"synergy: it needs two drugs with several doses, the design has {len(n_doses)}; leave it out")
    for model in models:
        if reason := unfit(n_doses, model):
            raise InputError(f"synergy: {model} {reason}; leave it out")
    return models


def _times(given: Any) -> list[float]:
    listed = given if isinstance(given, list) else [given]
    if not listed or not all(_is_plain(time) for time in listed):
        raise InputError(f'{given!r}, expected times such as "2h, 24h", "0:72h/37" or ["2h", 7200]')
    times = [time for entry in listed for time in read_times(str(entry))]
    if bad := [t for t in times if not 0 <= t < math.inf]:
        raise InputError(f"{bad[0]:g} s, expected times that are not negative")
    if any(after <= before for before, after in itertools.pairwise(times)):
        raise InputError(f"{given!r}, expected times that increase")
    return times


def _contexts(given: Any, model: str, known: Mapping[str, Sequence[str]]) -> Any:
    if model != MODEL:
        if not isinstance(given, Mapping) or not given:
            raise InputError(f"contexts: {given!r}, expected tables [contexts.NAME] of parameter values of {model}")
        return {name: _numbers(f"contexts.{name}", values, "parameter", None) for name, values in given.items()}
    return tuple(_names("contexts", given, known.get("context")))


def _moves(given: Any, known: Mapping[str, Sequence[str]]) -> dict[float, str]:
    moves: dict[float, str] = {}
    for when, stroma in _table("moves", given).items():
        key = f"moves.{when!r}"
        with _at(key):
            time = read_quantity(when, SECONDS, "time of a move")
            if not 0 < time < math.inf:
                raise InputError("expected a time after 0; where cells were before that is the key before")
            if time in moves:
                raise InputError("cells are moved twice at this time; leave one of the moves")
        moves[time] = _text(key, stroma)
        _check_name(key, "stroma", stroma, known.get("stroma"))
    return moves


def _find(given: Any, drugs: Mapping[str, Any], readouts: Sequence[str]) -> Find:
    table = _table("find", given)
    with _at("find"):
        _check_keys("key", table, FIND_KEYS, ("drug", "readout", "below"))
    drug, readout = _text("find.drug", table["drug"]), _text("find.readout", table["readout"])
    _check_name("find.drug", "drug of this design", drug, tuple(drugs))
    _check_name("find.readout", "readout of this design", readout, readouts)
    fractions: dict[str, float] = {}
    for key in ("below", "probability"):
        if key in table:
            fractions[key] = value = table[key]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < (1 + (key == "below")):
                raise InputError(f"find.{key}: {value!r}, expected a number above 0 and below {1 + (key == 'below')}")
    held: dict[str, float] = {}
    for other, dose in _table("find.given", table.get("given", {})).items():
        _check_name(f"find.given.{other}", "drug of this design", other, tuple(d for d in drugs if d != drug))
        with _at(f"find.given.{other}"):
            doses = _doses(other, dose)
            if len(doses) != 1:
                raise InputError(f"{dose!r}, expected one dose")
        held[other] = doses[0]
    at = None
    if "at" in table:
        with _at("find.at"):
            (at,) = _times(table["at"])[:1]
    return Find(drug, readout, fractions["below"], fractions.get("probability"), held, at)


# ---- one key ----------------------------------------------------------------------------------------------------


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the place in front of what an error says."""
    try:
        yield
    except InputError as error:
        kind = UnknownNameError if isinstance(error, UnknownNameError) else InputError
        raise kind(f"{place}: {error}") from None


def _check_keys(kind: str, given: Mapping[str, Any], known: Sequence[str], needed: Sequence[str] = ()) -> None:
    for key in given:
        if key not in known:
            raise unknown_name(kind, key, known)
    if missing := [key for key in needed if key not in given]:
        raise InputError(f"the key {missing[0]} is missing; keys that are needed: {', '.join(needed)}")


def _check_name(key: str, kind: str, name: str | None, known: Sequence[str] | None) -> None:
    if name is not None and known is not None and name not in known:
        with _at(key):
            raise unknown_name(kind, name, known)


def _names(key: str, given: Any, known: Sequence[str] | None) -> list[str]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise InputError(f'{key}: {given!r}, expected names, e.g. ["pERK", "pSTAT5"]')
    for name in names:
        _check_name(key, key.removesuffix("s"), name, known)
        if names.count(name) > 1:
            raise InputError(f"{key}: {name} stands there twice; give it once")
    return names


def _text(key: str, given: Any) -> str:
    if not isinstance(given, str) or not given.strip():
        raise InputError(f"{key + ': ' if key else ''}{given!r}, expected a text in quotation marks")
    return given


def _table(key: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise InputError(f"{key}: {given!r}, expected a table: [{key}]")
    return given


def _numbers(key: str, given: Any, kind: str, known: Sequence[str] | None) -> dict[str, float]:
    for name, value in _table(key, given).items():
        _check_name(f"{key}.{name}", kind, name, known)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(f"{key}.{name}: {value!r}, expected a number")
    return {name: float(value) for name, value in given.items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
