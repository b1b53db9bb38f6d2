"""`residuum fit`: the shipped problem in; its best parameters, as tables, figures and a section of a report, out."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..simulator.words import read_folder
from .options import ProgressOption
from .terminal import INTERRUPTED, say, show_progress

if TYPE_CHECKING:
    import pandas as pd

    from ..simulator.report import Section

app = typer.Typer()


class Method(StrEnum):
    """How `residuum fit` searches from each start."""

    least_squares = "least_squares"
    fides = "fides"


@app.command()
def fit(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for tables, figures and report.html.")] = "fit",
    starts: Annotated[
        int,
        typer.Option(metavar="N", help="Starting points: the nominal one first, the others from the priors.", min=1),
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the other starting points.", min=0)] = 0,
    method: Annotated[
        Method, typer.Option(help="How to search from each start; fides needs `pip install 'residuum[fit]'`.")
    ] = Method.least_squares,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep every finished start here. If not given: in OUT/checkpoint, until the results are written.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take up the starts kept there; search only from those that are missing.")
    ] = False,
    processes: Annotated[
        int, typer.Option(metavar="N", help="Starts searched from at a time, each in its own process.", min=1)
    ] = 1,
    progress: ProgressOption = None,
) -> None:
    """Fit gains, inputs and drug shifts of the shipped model to published phospho-values (Ba/F3 lines) and IC50s.

    Every start is kept as soon as it is finished: a stop, even kill -9, loses the running ones only. The same command
    with `--resume` goes on and ends, to the last digit, as if nothing had happened; it refuses, with the difference, if
    model, data, options or seed have changed. More starts may be asked for than before. Ctrl-C ends with code 130 and
    the best point so far. For example

    `residuum fit --starts 4 --seed 1 --out fit`

    `residuum fit --starts 50 --seed 1 --processes 8 --checkpoint starts --out fit`

    `residuum fit --starts 100 --seed 1 --processes 8 --checkpoint starts --resume --out fit`
    """
    from ..simulator.report import write_report

    folder = read_folder(out)
    kept = folder / "checkpoint" if checkpoint is None else read_folder(checkpoint)
    sections = fit_into(folder, folder, show_progress(progress), starts=starts, seed=seed, method=method.value,
                        checkpoint=kept, resume=resume, processes=processes)  # fmt: skip
    say(f"wrote {write_report(folder / 'report.html', 'residuum: fit to phospho-values', sections)}")
    if checkpoint is None:
        remove(kept.glob("start-*.json"))


def fit_into(folder: Path, tables_folder: Path, progress: bool, **search: Any) -> list[Section]:
    """Fit the shipped problem, write its figures and tables, and return the report's section about it."""
    from .. import aml_problem
    from .. import fit as run
    from ..simulator import plots
    from ..simulator.report import Section

    problem = aml_problem()
    try:
        result = run(problem, progress=progress, **search)
    except KeyboardInterrupt:
        say(f"stopped before the first point was evaluated{_how_to_resume(search)}")
        raise typer.Exit(INTERRUPTED) from None
    if result.stopped:  # what an earlier run finished stays
        result.save(partial := tables_folder / "partial")
        say(f"the fit was stopped; the best point so far is in {partial}{_how_to_resume(search)}")
        raise typer.Exit(INTERRUPTED)
    written = result.save(tables_folder)
    remove(tables_folder / "partial" / path.name for path in written)
    path = folder / "fit.png"
    plots.save(result.plot().flat[0].figure, path)
    images = [("Measured and fitted, raw values.", path)]
    if len(result.starts) > 1:
        images += [
            ("Where the starts ended: losses.",
             plots.save(result.plot_waterfall().figure, folder / "waterfall.png")),
            ("Where the best starts ended: parameters between their bounds.",
             plots.save(result.plot_parameters().figure, folder / "parameters.png")),
        ]  # fmt: skip
    else:  # of an earlier fit
        for name in ("waterfall.png", "parameters.png"):
            (folder / name).unlink(missing_ok=True)
    say(f"wrote {', '.join(str(p) for p in (*written, *(image for _, image in images)))}")
    if not result.converged:
        say(f"the fit did not converge: {result.message}; the best point was written")
    typical = {name: f"{fold:.2f}" for name, fold in result.typical_fold().items()}
    words = [
        f"{result.n_data} published values (two Ba/F3 lines, IC50s) and {result.n_free} estimated parameters, "
        f"{result.n_priors} of them with informative priors: the table says which of them the data determine. "
        f"Search: {result.message}.",
        f"Typical factor between model and measurement: {typical['at_nominal']} before, {typical['fitted']} after.",
        f"Left open by these data: {_left_open(result.parameters)}.",
        "Dose matrices use the nominal parameters of their contexts, not this fit.",
        *(f"{subject}: {note}" for subject, note in result.notes),
    ]
    tables = [("Estimated parameters", _parameters_of(result)), ("Fitted values", _values_of(result.fitted, "fitted"))]
    if len(result.validation):
        words.append(
            f"Held out (both inhibitors together), typical factor: model {typical['predicted']}, copy of the first "
            f"single agent {typical['copy_of_first']}, best single agent {typical['best_single_agent']}."
        )
        held_out = _values_of(result.validation, "predicted", "copy_of_first", "best_single_agent")
        tables.append(("Held out: not fitted", held_out))
    if len(result.starts) > 1:
        tables.append(("Starts, best first", result.starts_frame()[list(result.starts)]))
    return [Section("Fit to published phospho-values", words, images, tables)]


def remove(paths: Iterable[Path]) -> None:
    """Remove files that are there, and their folders if nothing else is in them."""
    paths = list(paths)
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        with suppress(OSError):  # it holds something else, or is not there
            folder.rmdir()


def _how_to_resume(search: Mapping[str, Any]) -> str:
    """Return how many starts of a stopped fit are kept and what to type to go on; empty if none is."""
    import shlex

    kept = search.get("checkpoint")
    n_kept = 0 if kept is None else len(list(kept.glob("start-*.json")))
    if not n_kept:
        return ""
    typed = [word for word in sys.argv[1:] if word != "--resume"]
    again = shlex.join(["residuum", *typed, "--resume"])
    return f"; starts kept in {kept}: {n_kept} of {search['starts']}; go on by `{again}`"


def _left_open(parameters: pd.DataFrame) -> str:
    """Return, in words, the parameters of which the fit knows no more than their priors, or their bounds."""
    import numpy as np

    low, high = parameters["lower"], parameters["upper"]
    with np.errstate(all="ignore"):
        width = np.where(parameters["scale"] == "log10", np.log10(high) - np.log10(low), high - low)
    of_bounds = parameters["fit_sd"] > width / math.sqrt(12)  # the standard deviation of a uniform prior
    found = parameters[parameters["determined_by"].isin(["prior", "nothing"]) | of_bounds]
    return ", ".join(found["parameter"]) or "none of the estimated parameters"


def _parameters_of(result: Any) -> pd.DataFrame:
    """Return the estimated parameters under headings a person reads, with units."""
    scales = result.parameters["scale"].unique()
    scale = scales[0] if len(scales) == 1 else "search scale"
    headings = {
        "parameter": "parameter", "unit": "unit", "value": "fitted value", "nominal": "nominal value",
        "prior_sd": f"prior sd ({scale})", "fit_sd": f"sd after the fit ({scale})", "determined_by": "determined by",
        "source": "source",
    }  # fmt: skip
    unit = result.parameters["note"].str.partition(";")[0]  # the notes of the shipped problem begin with it
    return result.parameters.assign(unit=unit)[list(headings)].rename(columns=headings)


def _values_of(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return measured and modelled values under headings a person reads, each row with its unit."""
    kept = ["observable", "unit", "panel", "label", "measured", "at_nominal", *columns, "fold"]
    headings = {
        "label": "sample", "at_nominal": "nominal model", "copy_of_first": "copy of first agent",
        "best_single_agent": "best single agent", "fold": "model / measured",
    }  # fmt: skip
    return frame[kept].rename(columns=headings)
