"""Drugs that come and go, stroma that comes and goes, a design file in; conditions with their time segments out."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from .cells import aml_conditions, aml_model, checked_changes, contexts_of, dose_parameters, model_names

if TYPE_CHECKING:
    from ..doses import Design, Dosing
    from ..simulator import Conditions, Segment


def aml_protocol(
    contexts: Sequence[str],
    drugs: Mapping[str, float | tuple[float, Dosing | str]],
    *,
    before: str | None = None,
    moves: Mapping[float, str] | None = None,
    medium: str = "free",
    changes: Mapping[str, float] | None = None,
    until: float = math.inf,
) -> Conditions:
    """Return one condition of the shipped model per context: at rest without drugs, then treated as a protocol says.

    Parameters
    ----------
    contexts
        As in `aml_conditions`. From time 0 on each cell is in its context, under the drugs.
    drugs
        Drug name -> dose in nM, or (dose, when it is there): `(100.0, Dosing.pulse(0, 48 * 3600))`, or the same in
        words, `(100.0, "0h:48h")`. At most four drugs in all. Repeated doses: the dose is the peak after the first.
        The half-life `"patient"` stands for that of the drug in plasma (`aml_tables()["exposure"]`).
    before
        Stroma on which the cells came to rest before time 0, `"off"` for none; if not given, that of the context.
    moves
        Time (s, after 0) -> stroma on which all cells are from then on, `"off"` for none. The cell stays the same; the
        enzyme of the new stroma has no drug bound yet.
    medium
        `"free"`: doses are free concentrations. `"plasma"`: total concentrations in plasma, of which the free fraction
        of the drug acts.
    changes
        As in `aml_conditions`; they hold throughout.
    until
        Last time that is asked for; without it, a protocol of many doses is worked out to its end.

    Raises
    ------
    UnknownNameError
        For an unknown context, drug, stroma or parameter, with the nearest name.
    InputError
        For doses and times that cannot be, more than four drugs, and a free fraction or half-life that is not known.

    Examples
    --------
    >>> import residuum
    >>> cells = residuum.aml_protocol(["blast-itd"], {"gilteritinib": (100.0, "0h:48h"), "trametinib": (3.0, "48h:")})
    >>> [segment.start / 3600 for segment in cells.protocol]
    [-inf, 0.0, 48.0]
    """
    import numpy as np

    from .. import models
    from ..doses import dosing_segments, overlaid
    from ..simulator import Conditions

    contexts = [contexts] if isinstance(contexts, str) else list(dict.fromkeys(contexts))
    given = _timed(drugs)
    aml_conditions(contexts, {drug: dose for drug, (dose, _) in given.items()}, changes=changes)  # says what cannot be
    doses = _free({drug: dose for drug, (dose, _) in given.items()}, medium)
    parameters = dose_parameters(tuple(doses))
    dosings = {drug: (parameters[drug], dosing_of(drug, dosing)) for drug, (_, dosing) in given.items()}

    with model_names():
        start = [context if before is None else models.contexts.moved(context, before) for context in contexts]
        places = {0.0: contexts} | {
            time: [models.contexts.moved(context, stroma) for context in contexts]
            for time, stroma in sorted(_moves(moves or {}).items())
        }
    rows = {
        context: {**contexts_of([first], tuple(doses))[first], **checked_changes(changes or {})}
        for context, first in zip(contexts, start, strict=True)
    }
    return Conditions.from_rows(
        aml_model(),
        rows,
        overlaid(
            dosing_segments(dosings, np.tile(list(doses.values()), (len(rows), 1)), until),
            _moving(list(rows.values()), places, changes or {}),
        ),
    )


def read_design(path: str | PathLike[str]) -> Design:
    """Return the checked design of a TOML file: see `doses.design` for its keys.

    With the shipped model, names are checked, half-lives of patients looked up, and doses in plasma become free ones.

    Raises
    ------
    InputError
        If the file cannot be read or a key cannot be used: names file and key, what was given and what is expected,
        with the nearest name.
    """
    from .. import models
    from ..doses import read_design as read
    from ..simulator import InputError

    known = {
        "context": models.contexts.names(),
        "stroma": (models.contexts.OFF, *models.contexts.stromas()),
        "drug": models.drugs.names(),
        "readout": tuple(dict.fromkeys((*models.observables.READOUTS, *aml_model().observables))),
        "parameter": aml_model().parameters,
    }
    design = read(path, known)
    if design.model != "aml":
        return design
    doses, dosing = dict(design.drugs), dict(design.dosing)
    for drug in doses:
        try:
            doses[drug] = tuple(_free({drug: dose}, design.medium)[drug] for dose in doses[drug])
            dosing |= {drug: dosing_of(drug, dosing[drug])} if drug in dosing else {}
        except InputError as error:
            raise InputError(f"{design.file}: drugs.{drug}: {error}") from None
    return dataclasses.replace(design, drugs=doses, dosing=dosing, medium="free")


def _timed(drugs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return dose and dosing of each drug; one that is given by its dose alone is there from time 0 on."""
    from ..simulator import InputError

    if not isinstance(drugs, Mapping):
        raise InputError(f"drugs maps a name to a dose in nM or (dose, dosing); given {drugs!r}")
    timed = {drug: given if isinstance(given, tuple) else (given, "0:") for drug, given in drugs.items()}
    if bad := [drug for drug, given in timed.items() if len(given) != 2]:
        raise InputError(
            f"{bad[0]} is given as {timed[bad[0]]!r}, expected (dose in nM, dosing), e.g. (100.0, '0h:48h')"
        )
    return timed


def _free(doses: Mapping[str, float], medium: str) -> dict[str, float]:
    """Return free concentrations (nM) of doses in a medium."""
    from .. import models
    from ..simulator.errors import unknown_name

    if medium not in ("free", "plasma"):
        raise unknown_name("medium", medium, ("free", "plasma"))
    if medium == "free":
        return dict(doses)
    with model_names():
        return {drug: models.drugs.free_concentration(drug, dose) for drug, dose in doses.items()}


def dosing_of(drug: str, dosing: Dosing | str) -> Dosing:
    """Return when a drug is there, from words too, with its half-life in patients where that is meant."""
    from .. import models
    from ..doses import Dosing, read_dosing
    from ..simulator import InputError

    when = read_dosing(dosing) if isinstance(dosing, str) else dosing
    if not isinstance(when, Dosing):
        raise InputError(f"when {drug} is there is {dosing!r}, expected a Dosing, e.g. Dosing.pulse(0, 48 * 3600)")
    if not when.needs_half_life:
        return when
    with model_names():
        half_life = models.drugs.exposure(drug).half_life
    if half_life is None:
        known = [name for name in models.drugs.names() if models.drugs.exposure(name).half_life is not None]
        raise InputError(
            f"the half-life of {drug} in patients is unknown; give a time instead. It is known for {', '.join(known)}"
        )
    return when.with_half_life(half_life)


def _moves(moves: Mapping[float, str]) -> dict[float, str]:
    from ..simulator import InputError

    for time in moves:
        if not (isinstance(time, (int, float)) and 0 < time < math.inf):
            raise InputError(
                f"cells are moved at {time!r}, expected seconds after 0; where they were before that is `before`"
            )
    return {float(time): stroma for time, stroma in moves.items()}


def _moving(
    rows: Sequence[Mapping[str, float]], places: Mapping[float, Sequence[str]], changes: Mapping[str, float]
) -> list[Segment]:
    """Return what differs between contexts at which cells are in turn and `rows`, in which they start.

    An amount belongs to the enzyme of the stroma, which comes without drug: a segment sets its species.
    """
    from .. import models
    from ..simulator import Segment

    with model_names():
        values = {time: [models.contexts.overrides(context) for context in at] for time, at in places.items()}
    differing = sorted({
        name
        for of_cells in values.values()
        for now, row in zip(of_cells, rows, strict=True)
        for name in now
        if name not in changes and now[name] != row[name]
    })  # fmt: skip
    compiled = aml_model()
    free = dict(zip(compiled.network.initials, compiled.species, strict=True))
    segments = []
    for start, end in itertools.pairwise((*places, math.inf)):
        given: dict[str, Any] = {}
        for name in differing:
            now = [of_cell[name] for of_cell in values[start]]
            if name.startswith("amount_"):
                monomer = free[name].partition("(")[0]
                given |= {species: 0.0 for species in compiled.species if species.startswith(f"{monomer}(")}
                given[free[name]] = now
            else:
                given[name] = now
        segments.append(Segment(start, end, given))
    return segments
