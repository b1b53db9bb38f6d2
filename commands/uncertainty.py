"""`residuum profile`, `sample`, `predict`: what the data determine, ensembles, and what they predict, as files."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..simulator.errors import InputError
from ..simulator.options import SolverOptions
from ..simulator.words import read_file, read_folder, read_times
from .options import (
    CONTEXTS,
    ContextOption,
    DrugOption,
    DrugTableOption,
    ProgressOption,
    ReadoutOption,
    RtolOption,
    ThreadsOption,
    check_size,
    distinct,
    doses_of,
    know_drugs,
    readouts_of,
)
from .terminal import FAILED_RUNS, INTERRUPTED, say, show_progress

app = typer.Typer()

FitOption = Annotated[
    str | None,
    typer.Option(
        "--fit", metavar="FOLDER", help="Begin at the optimum that `residuum fit` left here; else it is searched."
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with what a stopped run of the same command left in the folder.")
]


@app.command()
def profile(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for table, curves and figure.")] = "profile",
    fit: FitOption = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME", help="Of the problem; all if not given; repeat for more."),
    ] = None,
    level: Annotated[float, typer.Option(metavar="NUMBER", help="Confidence of the intervals.")] = 0.95,
    resume: ResumeOption = False,
    progress: ProgressOption = None,
) -> None:
    """Tell which parameters of the shipped problem the data determine, and how well.

    Each parameter is moved away from its best value with all others fitted anew, with and without the priors, until the
    misfit says no; the verdict is a line of words. Minutes per parameter; each finished one is kept, and `--resume`
    goes on after a stop. For example

    `residuum profile --fit fit --parameter shift_U0126_MEK --out profile`

    `residuum profile --fit fit --resume --out profile`
    """
    from .. import aml_problem, profile_likelihood, saved_point
    from ..simulator import plots

    folder, problem = read_folder(out), aml_problem()
    kept = folder / "profiles.checkpoint.json"
    theta = None if fit is None else saved_point(problem, fit)
    result = profile_likelihood(
        problem, theta, None if parameter is None else distinct(parameter, "--parameter"), level=level,
        checkpoint=kept, resume=resume, progress=show_progress(progress),
    )  # fmt: skip
    if result.stopped:
        say(f"stopped: {len(result.profiles)} profiles are kept in {kept}; go on with --resume")
        raise typer.Exit(INTERRUPTED)
    written = result.save(folder)
    written.append(plots.save(result.plot().flat[0].figure, folder / "profiles.png"))
    kept.unlink(missing_ok=True)
    print(result.report())
    say(f"wrote {', '.join(map(str, written))}")


class Draws(StrEnum):
    """Where `residuum sample` takes members from."""

    walk = "walk"
    refit = "refit"
    laplace = "laplace"
    prior = "prior"


@app.command()
def sample(
    out: Annotated[str, typer.Option(metavar="FILE", help="The ensemble, netCDF.")] = "ensemble.nc",
    fit: FitOption = None,
    members: Annotated[int, typer.Option(metavar="N", help="Parameter sets to keep.", min=2)] = 200,
    method: Annotated[
        Draws,
        typer.Option(
            help="refit: one fit per member, to data and priors with noise added; walk: an ensemble of walkers, which "
            "needs `pip install 'residuum[fit]'` and days; laplace: the normal approximation, weighted; prior: no data."
        ),
    ] = Draws.refit,
    steps: Annotated[int, typer.Option(metavar="N", help="Limit on the steps of each walker.", min=1)] = 5000,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of all draws.", min=0)] = 0,
    resume: ResumeOption = False,
    progress: ProgressOption = None,
) -> None:
    """Draw parameter sets of the shipped problem from the posterior, for `residuum predict`.

    The last line says what the draws are worth. What is done is kept, and `--resume` goes on after a stop. For example

    `residuum sample --fit fit --members 200 --seed 1 --out ensemble.nc`

    `residuum sample --method laplace --fit fit --out rough.nc`
    """
    from .. import Ensemble, aml_problem, laplace_posterior, refitted_posterior, sample_posterior, saved_point

    path = read_file(out, "--out", (".nc",))
    if resume and method in (Draws.laplace, Draws.prior):
        raise InputError("--resume belongs to the methods that take long: --method refit or walk")
    problem = aml_problem()
    theta = None if fit is None else saved_point(problem, fit)
    kept = path.with_suffix(".checkpoint.npz")
    if method == Draws.prior:
        ensemble = Ensemble.from_prior(problem, members, seed)
    elif method == Draws.laplace:
        ensemble = laplace_posterior(problem, theta, members=members, seed=seed)
    elif method == Draws.refit:
        ensemble = refitted_posterior(problem, theta, members=members, seed=seed, checkpoint=kept, resume=resume,
                                      progress=show_progress(progress))  # fmt: skip
    else:
        ensemble = sample_posterior(problem, theta, members=members, max_steps=steps, seed=seed, checkpoint=kept,
                                    resume=resume, progress=show_progress(progress))  # fmt: skip
    told = str(ensemble.provenance.get("diagnostics", "drawn from the priors: no data"))
    if told.startswith("stopped"):
        say(f"{told}; kept in {kept}; go on with --resume")
        raise typer.Exit(INTERRUPTED)
    say(f"wrote {ensemble.save(path)}")
    if method == Draws.walk and told.startswith("too short"):
        told += f"; the chain is kept in {kept}: go on with --resume and more --steps"
    else:
        kept.unlink(missing_ok=True)
    say(told)


@app.command()
def predict(
    ensemble: Annotated[str, typer.Argument(metavar="FILE", help="What `residuum sample` wrote.")],
    context: ContextOption = None,
    drug: DrugOption = None,
    drug_table: DrugTableOption = None,
    times: Annotated[
        str,
        typer.Option("--at", "--times", metavar="TIMES", help="`2h,24h` or START:END/N; units s (if none), min, h, d."),
    ] = "0:24h/49",
    readout: ReadoutOption = None,
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for predictions.nc, bands.csv, bands.png.")] = (
        "prediction"
    ),
    rtol: RtolOption = SolverOptions.rtol,
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Predict any context under any drugs from an ensemble, with bands.

    Every parameter set is run; contexts and drugs need not have been in the fit. Contexts, if none is given: blast-itd
    and blast-itd+erk-stroma. For example

    `residuum predict ensemble.nc --drug gilteritinib=100 --context blast-itd --context blast-itd+erk-stroma`

    `residuum predict ensemble.nc --drug quizartinib=10 --drug trametinib=3 --at 2h,24h --out both`
    """
    from .. import aml_model, aml_predictions, bands, load_ensemble, plot_bands
    from ..simulator import plots
    from ..simulator.report import write_whole

    folder, t, options = read_folder(out), read_times(times), SolverOptions(rtol=rtol)
    doses = doses_of(drug or [])
    if any(len(values) != 1 for values in doses.values()):
        raise InputError("predict takes one dose per drug; ask once for each dose")
    members, compiled = load_ensemble(ensemble), aml_model()
    know_drugs(drug_table)
    contexts, names = distinct(context or CONTEXTS[:2], "--context"), readouts_of(readout, compiled)
    check_size(len(members) * len(contexts), len(t), len(names), compiled.n_parameters)
    given = {name: values[0] for name, values in doses.items()}
    result = aml_predictions(members, contexts, given, t, names, options=options, threads=threads,
                             progress=show_progress(progress))  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    if result.attrs["interrupted"]:  # what an earlier run finished stays
        path = folder / "predictions.partial.nc"
        say(f"stopped; wrote {write_whole(path, lambda part: result.to_netcdf(part, engine='h5netcdf'))}")
        raise typer.Exit(INTERRUPTED)
    found = bands(result)
    frame = found.to_dataframe().reset_index()
    written = [
        write_whole(folder / "predictions.nc", lambda part: result.to_netcdf(part, engine="h5netcdf")),
        write_whole(folder / "bands.csv", lambda part: frame.to_csv(part, index=False)),
        plots.save(plot_bands(result).flat[0].figure, folder / "bands.png"),
    ]
    (folder / "predictions.partial.nc").unlink(missing_ok=True)
    say(f"wrote {', '.join(map(str, written))}")
    say(str(result.attrs["failures"]))
    say(str(members.provenance.get("diagnostics", "")))
    if result.attrs["n_failed"]:
        raise typer.Exit(FAILED_RUNS)
