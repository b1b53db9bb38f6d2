"""`residuum calibrate`: the shipped problem in; its ensemble, validation and calibration page out."""

from __future__ import annotations

from typing import Annotated

import typer

from ..simulator.words import read_folder
from .fit import fit_into
from .members import behaviours_of, key_predictions
from .options import ProgressOption
from .terminal import INTERRUPTED, say, show_progress

app = typer.Typer()


@app.command()
def calibrate(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for ensemble, tables and the page.")] = (
        "calibration"
    ),
    starts: Annotated[int, typer.Option(metavar="N", help="Starting points of the search.", min=1)] = 20,
    members: Annotated[int, typer.Option(metavar="N", help="Members of the ensemble.", min=2)] = 100,
    checked: Annotated[
        int, typer.Option(metavar="N", help="Members for which behaviours and predictions are computed.", min=2)
    ] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="Of starts, members and draws.", min=0)] = 1,
    processes: Annotated[int, typer.Option(metavar="N", help="Starts searched from at a time.", min=1)] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take up finished starts, and the members if they are there.")
    ] = False,
    progress: ProgressOption = None,
) -> None:
    """Calibrate the shipped model: fit, draw an ensemble, leave groups out, and write the calibration page.

    Takes about an hour on two cores. The page says how each read-out is fitted, what is predicted that was left out
    beside null models, which parameters the data determine, in how many members each behaviour is shown (a check of the
    prior and the fit, no validation), and how much of the spread of predictions is still prior. For example

    `residuum calibrate --starts 20 --members 100 --processes 2 --out calibration`
    """
    from .. import (
        aml_left_out,
        aml_problem,
        leave_out,
        left_out_summary,
        plot_data_bands,
        refitted_posterior,
        saved_point,
    )
    from ..simulator import plots
    from ..simulator.report import write_report, write_whole
    from . import calibration_page as page

    folder, shown = read_folder(out), show_progress(progress)
    sections = fit_into(folder, folder, shown, starts=starts, seed=seed, checkpoint=folder / "starts",
                        resume=resume, processes=processes)  # fmt: skip
    problem = aml_problem()
    theta = saved_point(problem, folder)
    drawn = refitted_posterior(problem, theta, members=members, seed=seed, progress=shown,
                               checkpoint=folder / "members.json", resume=resume)  # fmt: skip
    if drawn.provenance["diagnostics"].startswith("stopped"):
        say(f"stopped; go on by the same command with --resume ({folder / 'members.json'} holds what is finished)")
        raise typer.Exit(INTERRUPTED)
    say(f"wrote {drawn.save(folder / 'ensemble.nc')}: {drawn.provenance['diagnostics']}")
    rows = leave_out(problem, theta, aml_left_out(), seed=seed, progress=shown)
    say(f"wrote {write_whole(folder / 'left_out.csv', lambda part: rows.to_csv(part, index=False))}")
    sections.append(page.left_out_section(folder, rows, left_out_summary(rows)))
    bands_path = plots.save(plot_data_bands(drawn, problem).flat[0].figure, folder / "bands.png")
    sections.append(page.ensemble_section(bands_path, drawn))
    prior = type(drawn).from_prior(problem, checked, seed)
    sections.append(page.predictions_section(key_predictions(drawn, checked), key_predictions(prior, checked)))
    sections.append(page.behaviours_section(behaviours_of(drawn, checked, shown)))
    say(f"wrote {write_report(folder / 'calibration.html', 'residuum: calibration of the shipped model', sections)}")
