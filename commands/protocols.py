"""Words that say when drugs are there in; conditions under that protocol out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..simulator.errors import InputError
from ..simulator.words import read_doses
from .terminal import say

if TYPE_CHECKING:
    from .. import CompiledModel, Conditions, Design, Dosing

DosingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dosing",
        metavar="DRUG=DOSE@WHEN",
        help="A drug that is not there all the time: `gilteritinib=100@0h:48h`, `trametinib=3@48h:`, "
        "`'gilteritinib=100@every 24h x 7, half-life patient'`; repeat for more.",
    ),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="FILE",
        help="A design file (TOML) with contexts, drugs, doses and when they are there, stroma, read-outs and times.",
    ),
]


def read_dosings(texts: Sequence[str]) -> dict[str, tuple[float, str]]:
    """Return drug -> (dose in nM, when it is there in checked words) from words such as `gilteritinib=100@0h:48h`."""
    from ..doses import read_dosing

    found: dict[str, tuple[float, str]] = {}
    for text in texts:
        given, at, when = text.partition("@")
        if not at:
            raise InputError(f"cannot read {text!r}: expected DRUG=DOSE@WHEN, e.g. gilteritinib=100@0h:48h")
        drug, doses = read_doses(given)
        if len(doses) != 1:
            raise InputError(f"cannot read {text!r}: expected one dose, e.g. {drug}=100@{when}")
        if drug in found:
            raise InputError(f"--dosing {drug} was given twice; write its intervals behind one @: 0h:24h, 72h:96h")
        read_dosing(when)
        found[drug] = doses[0], when.strip()
    return found


def read_alone(path: str, option: str, others: Mapping[str, object]) -> Design:
    """Return the design of a file given by `option`: refuse other options that say what is run."""
    from .. import read_design

    if given := [other for other, value in others.items() if value]:
        raise InputError(f"{option} says what is run; leave {given[0]} out, or write it into {path}")
    return read_design(path)


def read_protocol(path: str, others: Mapping[str, object]) -> Design:
    """Return the design of a time course."""
    design = read_alone(path, "--protocol", others)
    if left := [key for key in ("ensemble", "synergy", "find") if getattr(design, key)]:
        say(f"note: {path}: {left[0]} is not for time courses and passed over")
    return design


def designed_conditions(design: Design, compiled: CompiledModel, until: float) -> Conditions:
    """Return one condition per context of a design, each drug at its dose when it is there."""
    from .. import aml_protocol

    if not isinstance(design.contexts, Mapping):
        return aml_protocol(
            design.contexts, design.single_doses(), before=design.before, moves=design.moves,
            changes=design.parameters, until=until,
        )  # fmt: skip
    rows = {name: {**design.parameters, **values} for name, values in design.contexts.items()}
    if design.before is not None or design.moves or design.medium != "free":
        raise InputError(f"{design.file}: before, moves and medium belong to the shipped model; leave them out")
    return own_conditions(compiled, rows, design.single_doses(), until)


def own_conditions(
    compiled: CompiledModel, rows: Mapping[str, Mapping[str, float]], drugs: Mapping[str, tuple[float, Dosing | str]],
    until: float,
) -> Conditions:  # fmt: skip
    """Return conditions of a model of one's own, whose doses are parameters, from its initial amounts on."""
    import numpy as np

    from .. import Conditions
    from ..doses import dosing_segments, read_dosing

    for drug in drugs:
        compiled.parameter_index(drug)
        if any(drug in row for row in rows.values()):
            raise InputError(f"{drug} is given as a drug and as a parameter; give it once")
    doses = np.tile([dose for dose, _ in drugs.values()], (len(rows), 1))
    timed = {drug: (drug, read_dosing(when) if isinstance(when, str) else when) for drug, (_, when) in drugs.items()}
    return Conditions.from_rows(compiled, rows, dosing_segments(timed, doses, until, equilibrate=False))
