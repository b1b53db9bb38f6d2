"""`residuum models`: what the shipped model knows, as lists or as the model page."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..simulator.errors import InputError
from ..simulator.words import read_folder
from .options import DrugTableOption, ProgressOption, know_drugs
from .terminal import say, show_progress, status_line

if TYPE_CHECKING:
    from ..simulator.description import Shown

app = typer.Typer()


class Listing(StrEnum):
    """What `residuum models` lists, and the page on the whole model."""

    contexts = "contexts"
    drugs = "drugs"
    exposure = "exposure"
    readouts = "readouts"
    parameters = "parameters"
    describe = "describe"


@app.command()
def models(
    what: Annotated[
        Listing | None,
        typer.Argument(
            help="One kind, with every number and source, or `describe`: the model page, which runs its known "
            "behaviours (about a minute). An overview if not given."
        ),
    ] = None,
    drug_table: DrugTableOption = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print one kind as comma-separated values, complete.")] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="With `describe`: folder for model.html and its figures.")
    ] = None,
    progress: ProgressOption = None,
) -> None:
    """List contexts, drugs, exposure of patients, readouts and parameters of the shipped model.

    For example

    `residuum models`

    `residuum models drugs`

    `residuum models parameters --csv > parameters.csv`

    `residuum models describe --out model`
    """
    from .. import aml_tables
    from ..simulator.listing import full, overview

    know_drugs(drug_table)
    if csv and what in (None, Listing.describe):
        kinds = "|".join(kind for kind in Listing if kind != Listing.describe)
        raise InputError(f"--csv prints one kind: residuum models {kinds} --csv")
    if what == Listing.describe:
        _describe(None if out is None else read_folder(out), show_progress(progress))
        return
    if out is not None:
        raise InputError("--out belongs to the model page: residuum models describe --out FOLDER")
    tables = aml_tables()
    if what is None:
        print(overview(tables))
    else:
        print(tables[what].to_csv(index=False).rstrip("\n") if csv else full(what, tables))


def _describe(folder: Path | None, progress: bool) -> None:
    """Print the page on the shipped model, or write it with its figures into a folder."""
    from .. import __version__, aml_model, aml_modules, aml_tables
    from ..simulator.description import Description, text, write_page

    compiled = aml_model()
    behaviours = _behaviours(progress)
    page = Description(compiled.name, __version__, compiled.network, aml_modules(), aml_tables(), behaviours)
    if folder is None:
        print(text(page))
        return
    with status_line("drawing"):
        written = write_page(folder, page)
    say(f"wrote {written} and its figures")


def _behaviours(progress: bool) -> list[Shown]:
    """Run the known behaviours on the nominal parameters of the shipped model, one after the other."""
    from .. import aml_behaviours, aml_tables
    from ..simulator.description import Shown
    from ..simulator.progress import progress_bar

    ids = list(aml_tables()["behaviours"].id)
    shown = []
    with progress_bar(len(ids), "behaviours", shown=progress) as advance:
        for n, id_ in enumerate(ids, start=1):
            outcome = aml_behaviours([id_])[id_]
            b = outcome.behaviour
            found = outcome.findings, outcome.curves
            shown.append(Shown(id_, b.statement, b.tolerance, b.source, b.tuned, *found))
            advance(n)
    return shown
