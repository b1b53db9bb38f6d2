"""`residuum calibrate`: the shipped problem in; its ensemble, validation and calibration page out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..simulator.errors import InputError
from ..simulator.words import read_folder
from .fit import fit_into
from .options import ProgressOption
from .terminal import INTERRUPTED, say, show_progress, status_line

if TYPE_CHECKING:
    import numpy.typing as npt

    from .. import Ensemble, Problem

JOINT_DRAWS = 25
SHIPPED = "shipped"

app = typer.Typer()


@app.command()
def calibrate(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for ensemble, tables and the page.")] = (
        "calibration"
    ),
    starts: Annotated[int, typer.Option(metavar="N", help="Starting points of the search.", min=1)] = 20,
    members: Annotated[int, typer.Option(metavar="N", help="Members of the ensemble.", min=2)] = 100,
    ensemble: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Take the members from what `residuum sample` wrote, or from the ensemble that is `shipped`, instead "
            "of drawing them.",
        ),
    ] = None,
    checked: Annotated[
        int,
        typer.Option(metavar="N", help="Members for which behaviours and joint draws are computed.", min=2),
    ] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="Of starts, members and draws.", min=0)] = 1,
    processes: Annotated[int, typer.Option(metavar="N", help="Starts searched from at a time.", min=1)] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take up finished starts, members and groups left out.")
    ] = False,
    progress: ProgressOption = None,
) -> None:
    """Calibrate the shipped model: fit, draw an ensemble, leave groups out, and write the calibration page.

    Takes about an hour on two cores. The page says how each read-out is fitted, what is predicted that was left out
    beside null models, which parameters the data determine, in how many members each behaviour is shown (a check of the
    prior and the fit, no validation), and how much of the spread of predictions is still prior. For example

    `residuum calibrate --starts 20 --members 100 --processes 2 --out calibration`

    `residuum calibrate --starts 6 --ensemble shipped --processes 2 --out calibration`
    """
    from .. import (
        aml_left_out,
        aml_problem,
        aml_raf_mek_draws,
        leave_out,
        left_out_summary,
        plot_data_bands,
        saved_point,
    )
    from ..simulator.report import write_report, write_whole
    from . import calibration_page as page
    from .members import QUESTIONS, answers, answers_under, behaviours_of, first, prior_shares

    folder, shown, problem = read_folder(out), show_progress(progress), aml_problem()
    given = None if ensemble is None else _given(ensemble, problem)
    sections = fit_into(folder, folder, shown, starts=starts, seed=seed, checkpoint=folder / "starts",
                        resume=resume, processes=processes)  # fmt: skip
    theta = saved_point(problem, folder)
    fitted = _drawn(folder, problem, theta, members, seed, resume, shown) if given is None else given
    figure = plot_data_bands(fitted, problem).flat[0].figure
    sections.append(page.ensemble_section(folder, figure, fitted))
    kept = folder / "left_out.json"
    try:
        rows = leave_out(problem, theta, aml_left_out(), seed=seed, checkpoint=kept, resume=resume, progress=shown)
    except KeyboardInterrupt:
        say(f"stopped; go on by the same command with --resume ({kept} holds the groups that are finished)")
        raise typer.Exit(INTERRUPTED) from None
    say(f"wrote {write_whole(folder / 'left_out.csv', lambda part: rows.to_csv(part, index=False))}")
    sections.append(page.left_out_section(folder, rows, left_out_summary(rows)))
    prior = type(fitted).from_prior(problem, len(fitted), seed)
    with status_line("predictions"):
        under_draws = answers_under(aml_raf_mek_draws(JOINT_DRAWS, seed), first(fitted, checked))
        sections.append(
            page.predictions_section(folder, QUESTIONS, answers(prior), answers(fitted), under_draws,
                                     prior_shares(problem, theta))
        )  # fmt: skip
    few = {"prior": first(prior, checked), "fitted": first(fitted, checked)}
    sections.append(page.behaviours_section(behaviours_of(few, shown)))
    title = "residuum: calibration of the shipped model"
    say(f"wrote {write_report(folder / 'calibration.html', title, sections, contents=True)}")


def _given(name: str, problem: Problem) -> Ensemble:
    """Return the ensemble that is shipped or in a file; refuse one of other data."""
    from .. import aml_ensemble, load_ensemble

    found = aml_ensemble() if name == SHIPPED else load_ensemble(name)
    there, here = found.provenance.get("data_hash"), problem.provenance()["data_hash"]
    if there != here:
        raise InputError(f"{name} was drawn for data with hash {there}, the shipped problem has {here}; draw it again")
    return found


def _drawn(folder: Path, problem: Problem, theta: npt.ArrayLike, members: int, seed: int, resume: bool,
           progress: bool) -> Ensemble:  # fmt: skip
    """Return an ensemble of refits, written into the folder; a stop ends the command."""
    from .. import refitted_posterior

    kept = folder / "members.json"
    drawn = refitted_posterior(problem, theta, members=members, seed=seed, checkpoint=kept, resume=resume,
                               progress=progress)  # fmt: skip
    if drawn.provenance["diagnostics"].startswith("stopped"):
        say(f"stopped; go on by the same command with --resume ({kept} holds what is finished)")
        raise typer.Exit(INTERRUPTED)
    say(f"wrote {drawn.save(folder / 'ensemble.nc')}: {drawn.provenance['diagnostics']}")
    return drawn
