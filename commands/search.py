"""`residuum find`: a matrix or a design, a drug and what shall be left in; the smallest dose that does it out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..simulator.errors import InputError
from ..simulator.words import CONCENTRATIONS, read_file, read_quantity, read_times
from .matrix import saved_matrix
from .options import (
    DrugTableOption,
    EnsembleOption,
    MembersOption,
    ProgressOption,
    ThreadsOption,
    distinct,
    doses_of,
    ensemble_of,
    know_drugs,
)
from .terminal import say, show_progress

if TYPE_CHECKING:
    from .. import Design, DoseSearch

ON = "+"
"""Between a cell and its stroma in the name of a context."""
UNTIL = re.compile(r"\s*(?P<readout>\S+?)\s*<\s*(?P<number>[0-9.eE+-]+)\s*(?P<percent>%?)\s*(of\s+(?P<of>.+?))?\s*")
CONTROLS = ("untreated", "control", "dmso", "vehicle")

app = typer.Typer()


@app.command()
def find(
    source: Annotated[
        str,
        typer.Argument(metavar="MATRIX|DESIGN", help="matrix.nc, the folder that it is in, or a design file (TOML)."),
    ],
    drug: Annotated[str | None, typer.Option("--drug", "-d", metavar="DRUG", help="Whose dose is searched.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WORDS", help="What shall be left: `'pERK < 10% of untreated'`.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--given", metavar="DRUG=DOSE", help="A drug that is there beside: `gilteritinib=100nM`; repeat."),
    ] = None,
    prob: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="Share of the members in which the dose has to be enough. Default: 0.9."),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", "-c", metavar="NAME", help="Those of the source if not given; repeat."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIMES", help="`2h,24h` after the drugs; those of the source if not given.")
    ] = None,
    highest: Annotated[
        str | None,
        typer.Option(
            metavar="DOSE",
            help="Where the search ends; ten times the highest free concentration in patients if not given.",
        ),
    ] = None,
    drug_table: DrugTableOption = None,
    ensemble: EnsembleOption = None,
    members: MembersOption = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Write the numbers here, as CSV.")] = None,
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Find the smallest dose of a drug that leaves less of a read-out than asked for, in a share of the members.

    Every number is that of a run, none is interpolated. On stroma, the dose off stroma stands beside, and at each dose
    what is left in the normal CD34+ cell. For example

    `residuum find matrix --drug trametinib --given gilteritinib=100nM --until "pERK < 10% of untreated" --prob 0.9`
    """
    from .. import aml_model, find_dose, read_design

    table = None if out is None else read_file(out, "--out", (".csv",))
    know_drugs(drug_table)
    settings: dict[str, Any] = {"threads": threads, "progress": show_progress(progress)}
    start: Any
    if Path(source).suffix == ".toml":
        design = read_design(source)
        start, asked = aml_model(), _of_design(design)
        settings["dosing"] = design.dosing
        members = members or design.members
        ensemble = ensemble or design.ensemble
    else:
        _, start = saved_matrix(source)
        asked = {"contexts": start.contexts, "times": list(start.times)}
    drug, until = drug or asked.get("drug"), until or asked.get("until")
    if drug is None or until is None:
        raise InputError("say whose dose is searched and what shall be left: --drug DRUG --until 'pERK < 10%'")
    contexts = distinct(context or asked["contexts"], "--context")
    if prob is None:
        prob = asked.get("probability", 0.9)
    if highest is not None:
        settings["highest"] = read_quantity(highest, CONCENTRATIONS, "dose")
    found = find_dose(
        start, drug, read_until(until), contexts=_with_cells_alone(contexts), probability=prob,
        times=read_times(at) if at else asked["times"], given=_single(given) or asked.get("given"),
        ensemble=ensemble_of(ensemble, members), **settings,
    )  # fmt: skip
    print("\n".join(lines_of(found, contexts)))
    if table is not None:
        found.table.to_csv(table, index=False)
        say(f"wrote {table}")


def read_until(text: str) -> tuple[str, float]:
    """Return readout and fraction from `"pERK < 10% of untreated"` or `"pERK < 0.1"`."""
    match = UNTIL.fullmatch(text)
    number = math.nan
    if match is not None:
        try:
            number = float(match["number"]) / (100 if match["percent"] else 1)
        except ValueError:
            match = None
    if match is None:
        raise InputError(f"cannot read {text!r}: expected READOUT < FRACTION, e.g. 'pERK < 10% of untreated'")
    if match["of"] and match["of"].lower() not in CONTROLS:
        raise InputError(f"{text!r}: what is left is told as a fraction of the untreated cell in the same context")
    return match["readout"], number


def lines_of(found: DoseSearch, contexts: Sequence[str]) -> list[str]:
    """Return what was found in `contexts`, in a line each; on stroma with the dose for the cell alone."""
    doses = {(row.context, row.time): row.dose for row in found.table.itertuples()}
    lines = [str(found).partition("\n")[0]]
    for i, row in enumerate(found.table.itertuples()):
        if row.context in contexts:
            cell, on, _ = row.context.partition(ON)
            alone = f"; off stroma {found.dose_words(doses[cell, row.time])} {found.unit}" if on else ""
            lines.append(found.words(i) + alone)
    return [*lines, f"note: {found.note}"] if found.note else lines


def _with_cells_alone(contexts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for context in contexts for name in (context, context.partition(ON)[0])))


def _single(texts: Sequence[str] | None) -> dict[str, float]:
    doses = doses_of(texts or [])
    if several := [drug for drug, values in doses.items() if len(values) != 1]:
        raise InputError(f"--given {several[0]} needs one dose, e.g. {several[0]}=100nM")
    return {drug: values[0] for drug, values in doses.items()}


def _of_design(design: Design) -> dict[str, Any]:
    if isinstance(design.contexts, Mapping):
        raise InputError(
            f"{design.file}: `residuum find` is for the shipped model; call residuum.find_dose for your own"
        )
    asked: dict[str, Any] = {"contexts": design.contexts, "times": list(design.times)}
    if design.find is not None:
        wanted = design.find
        asked |= {"drug": wanted.drug, "until": f"{wanted.readout} < {wanted.below!r}", "given": wanted.given}
        asked |= {} if wanted.probability is None else {"probability": wanted.probability}
        asked |= {} if wanted.at is None else {"times": [wanted.at]}
    return asked
