"""The command line `residuum`: words in, tables, figures and one-line errors out. It sees the root facade only."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import numpy as np
import typer

from . import memory
from .cache import CacheNotice
from .errors import InputError, ModelNotice, unknown_name
from .options import SolverOptions
from .words import FIGURES, load_model, read_doses, read_file, read_folder, read_settings, read_times

if TYPE_CHECKING:
    import pandas as pd

    from .compiled import CompiledModel
    from .description import Shown
    from .first_use import Readied
    from .report import Section

MISSING_PARTS, BAD_INPUT, FAILED_RUNS, INTERRUPTED = 1, 2, 3, 130
CONTEXTS = ("blast-itd", "blast-itd+erk-stroma", "blast-wt", "blast-wt+erk-stroma")
READOUTS = ("pERK", "pSTAT5", "pFLT3")
MOST_RUNS = 2_000_000
MOST_PANELS = 12
"""Of a figure of time courses whose observables nobody chose."""
BYTES_PER_NUMBER = 100
"""Of memory, for one number of a result and its row in the table; 85 were measured at the peak."""

app = typer.Typer(
    name="residuum",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Residual signalling under drug combinations, from rule-based models.\n\n"
    "Start with `residuum models` to see contexts, drugs and readouts, and `residuum doctor` if something is missing.",
)


def main() -> None:
    """Run the command line; wrong input ends with one line on standard error and exit code 2."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CacheNotice)
        warnings.simplefilter("always", ModelNotice)
        warnings.showwarning = _note
        try:
            code = app(standalone_mode=False)
        except InputError as error:
            _say(f"error: {error}")
            code = BAD_INPUT
        except OSError as error:
            _say(f"error: {error.filename or 'a file'} could not be read or written: {error.strerror or error}")
            code = BAD_INPUT
        except Exception as error:
            if not hasattr(error, "format_message"):  # typer's errors of usage; where their class lives has changed
                raise
            command = getattr(getattr(error, "ctx", None), "command_path", "residuum")
            message = error.format_message().rstrip(".")  # empty after a bare `residuum`, which has printed its help
            message = message.replace("Value error, ", "")  # put before a choice that is none
            code = BAD_INPUT if message else 0
            if message:
                _say(f"error: {message}; see {command} --help")
    sys.exit(code if isinstance(code, int) else 0)


def _note(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """Show a notice about the cache or the model file as one line, any other warning as Python does."""
    if issubclass(category, (CacheNotice, ModelNotice)):
        _say(f"note: {message}")
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


# ---- shared options ---------------------------------------------------------------------------------------------

ContextOption = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        "-c",
        metavar="NAME",
        help="`CELL` or `CELL+STROMA`, as `residuum models` lists them; repeat for more.",
    ),
]
ReadoutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--readout",
        "-r",
        metavar="NAME",
        help="What is read out, as `residuum models` lists it; repeat for more. "
        f"Shipped model, if not given: {', '.join(READOUTS)}.",
    ),
]
DrugOption = Annotated[
    list[str] | None,
    typer.Option(
        "--drug",
        "-d",
        metavar="DRUG=DOSE",
        help="`gilteritinib=30` (nM) or `=0.1uM`; drugs as `residuum models` lists them; repeat for more.",
    ),
]
DrugTableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--drug-table",
        metavar="FILE",
        help="Drugs of your own, one tab-separated row per target (README: A drug of your own); repeat for more.",
    ),
]
RtolOption = Annotated[float, typer.Option(metavar="NUMBER", help="Relative tolerance of the integration.")]
ThreadsOption = Annotated[int | None, typer.Option(metavar="N", help="Threads; all cores if not given.")]
ProgressOption = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="Progress bar (default: on a terminal).")
]


def _shown(progress: bool | None) -> bool:
    return sys.stderr.isatty() if progress is None else progress


@contextmanager
def _status(text: str) -> Iterator[None]:
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        yield


def _say(text: str) -> None:
    print(" ".join(text.split()), file=sys.stderr)


def _distinct(names: Sequence[str], option: str) -> list[str]:
    """Return the names; raises InputError if one was given twice."""
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise InputError(f"{option} {twice[0]} was given twice; give it once")
    return list(names)


def _drugs(texts: Sequence[str]) -> dict[str, list[float]]:
    doses = [read_doses(text) for text in texts]
    _distinct([drug for drug, _ in doses], "--drug")
    return dict(doses)


def _readouts(names: Sequence[str] | None, compiled: CompiledModel) -> list[str]:
    """Return the readouts of the shipped model; an unknown one is compared with the listed ones."""
    from .. import aml_tables

    chosen, listed = _distinct(names or READOUTS, "--readout"), list(aml_tables()["readouts"]["readout"])
    for name in chosen:
        if name not in (*listed, *compiled.observables, *compiled.network.functions, *compiled.species):
            raise unknown_name("readout", name, listed)
    return chosen


def _add_drugs(paths: Sequence[str] | None) -> None:
    """Make the drugs of the user's own tables known to the shipped model."""
    from .. import add_drugs

    for path in _distinct(paths or (), "--drug-table"):
        add_drugs(path)


def _check_size(n_runs: int, n_times: int, n_readouts: int, n_parameters: int) -> None:
    """Refuse, before any work, what would take days or more memory than there is."""
    numbers = n_runs * n_times * n_readouts
    needed = numbers * BYTES_PER_NUMBER + n_runs * (3 * 8 * n_parameters + 500)
    available = memory.available_bytes()
    if n_runs > MOST_RUNS or needed > available / 2:
        raise InputError(
            f"this asks for {n_runs:,} runs and {numbers:,} numbers, about {needed / 1e9:.3g} GB of memory; the limits "
            f"are {MOST_RUNS:,} runs and half of the {available / 1e9:.3g} GB available. Ask for fewer doses or times, "
            "or split by context, readout or time into several commands, each with its own --out"
        )


# ---- commands ---------------------------------------------------------------------------------------------------


@app.command()
def simulate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="`aml` (shipped), FILE.net, FILE.bngl, or a PySB model as FILE.py or module."
        ),
    ] = "aml",
    context: ContextOption = None,
    drug: DrugOption = None,
    drug_table: DrugTableOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=NUMBER", help="A parameter (shipped: `residuum models parameters`); repeat."
        ),
    ] = None,
    times: Annotated[
        str, typer.Option(metavar="TIMES", help="`2h,24h` or START:END/N; units s (if none), min, h, d.")
    ] = "0:24h/97",
    readout: ReadoutOption = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a tidy CSV here; printed if neither is given.")
    ] = None,
    plot: Annotated[str | None, typer.Option(metavar="FILE", help="Write a figure here (.png, .pdf, .svg).")] = None,
    rtol: RtolOption = SolverOptions.rtol,
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Simulate time courses.

    Shipped model, if no context is given: blast-itd and blast-itd+erk-stroma. For example

    `residuum simulate --context blast-itd --context blast-itd+erk-stroma --drug gilteritinib=100 --plot courses.png`

    `residuum simulate mymodel.py --times 0:100/51 --set kf=0.2 --out mymodel.csv`
    """
    from .. import aml_model
    from .. import simulate as run
    from .plots import courses_figure, save
    from .report import write_whole

    if source != "aml" and (context or drug or drug_table):
        raise InputError(
            "--context, --drug and --drug-table belong to the shipped model; use --set NAME=NUMBER with your own"
        )
    options = SolverOptions(rtol=rtol)
    t, settings = read_times(times), read_settings(set_ or [])
    table = None if out is None else read_file(out, "--out")
    figure = None if plot is None else read_file(plot, "--plot", FIGURES)
    compiled = aml_model() if source == "aml" else load_model(source)
    _check_settings(settings, compiled, shipped=source == "aml")
    if source == "aml":
        _add_drugs(drug_table)
        names = _readouts(readout, compiled)
        conditions = _aml_conditions(context, drug, settings)
    else:
        from .. import Conditions

        label = ", ".join(f"{name}={value:g}" for name, value in settings.items()) or "nominal"
        conditions = Conditions.from_rows(compiled, {label: settings})
        names = _distinct(readout or list(compiled.observables), "--readout")
    _check_size(len(conditions), len(t), len(names), compiled.n_parameters)
    result = run(
        compiled, t, conditions, observables=names, options=options, threads=threads, progress=_shown(progress)
    )
    frame = result.to_frame()
    if result.interrupted:  # what an earlier run finished stays
        table = None if table is None else table.with_name(f"{table.stem}.partial{table.suffix}")
        figure = None
    for path in (table, figure):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if table is None and plot is None:
        print(frame.to_csv(index=False), end="")
    if table is not None:
        _say(f"wrote {write_whole(table, lambda path: frame.to_csv(path, index=False))}")
    if figure is not None:
        amounts = {*compiled.network.observables, *compiled.species}
        units = {name: None if name in amounts else "" for name in names}
        shown = tuple(readout or names[:MOST_PANELS])
        _say(f"wrote {save(courses_figure(result, units, shown), figure)}")
        if len(shown) < len(names):
            _say(f"note: the figure shows {len(shown)} of {len(names)} observables; choose others with --readout")
    if result.interrupted:
        _say(f"stopped: {np.count_nonzero(result.ok)} of {len(conditions)} runs done")
        raise typer.Exit(INTERRUPTED)
    _say(result.summary())
    if not result.ok.all():
        raise typer.Exit(FAILED_RUNS)


def _check_settings(settings: Mapping[str, float], compiled: CompiledModel, *, shipped: bool) -> None:
    """Refuse negative amounts and rate constants, and doses of the shipped model that bypass its drugs."""
    network = compiled.network
    rates = {*network.initials, *(reaction.rate for reaction in network.reactions)}
    for name, value in settings.items():
        compiled.parameter_index(name)
        if shipped and name.startswith("drug") and name.endswith("_dose"):
            raise InputError(f"{name} is the dose of a drug slot: use --drug DRUG=DOSE, which also sets what it binds")
        if value < 0 and (shipped or name in rates):
            raise InputError(f"{name} is {value:g}, but amounts and rate constants are not negative")


def _aml_conditions(contexts: Sequence[str] | None, drugs: Sequence[str] | None, settings: Mapping[str, float]) -> Any:
    """Return one condition per context, named after cell, doses and settings."""
    import dataclasses

    from .. import aml_conditions

    doses = _drugs(drugs or [])
    if any(len(values) != 1 for values in doses.values()):
        raise InputError("simulate takes one dose per drug; `residuum matrix` takes several")
    given = {name: values[0] for name, values in doses.items()}
    conditions = aml_conditions(_distinct(contexts or CONTEXTS[:2], "--context"), given, changes=settings)
    added = [f"{name} {dose:g} nM" for name, dose in given.items()]
    added += [f"{name}={value:g}" for name, value in settings.items()]
    names = tuple(", ".join([name, *added]) for name in conditions.names)
    return dataclasses.replace(conditions, names=names)


@app.command(context_settings={"allow_extra_args": True})
def matrix(
    given: typer.Context,
    drug: Annotated[
        list[str],
        typer.Option(
            "--drug",
            "-d",
            metavar="DRUG=DOSES",
            help="`=0,10,100` (nM), `=0,0.1uM,1uM` or `=1:100/5` (0 and 5 log-spaced); drugs as `residuum models` "
            "lists them; repeat for more, at most four.",
        ),
    ],
    context: ContextOption = None,
    drug_table: DrugTableOption = None,
    readout: ReadoutOption = None,
    at: Annotated[
        str, typer.Option(metavar="TIMES", help="Times after the drugs are added; units s (if none), min, h, d.")
    ] = "2h",
    reference: Annotated[
        str, typer.Option(metavar="NAME", help="`untreated`, or a context whose untreated cell is the control.")
    ] = "untreated",
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="Folder for matrix.nc, matrix.csv, figures and report.html.")
    ] = "matrix",
    rtol: RtolOption = SolverOptions.rtol,
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Compute a dose matrix of the shipped model: the signalling left under every combination of doses.

    Contexts, if none is given: blast-itd, blast-itd+erk-stroma, blast-wt, blast-wt+erk-stroma. Figures and report of
    an earlier run in the same folder are replaced. For example

    `residuum matrix --drug gilteritinib=1:300/6 --drug trametinib=0.3:100/6 --context blast-itd+erk-stroma --at 24h`

    `residuum matrix --drug midostaurin=0,10nM,0.1uM,1uM --readout pERK --at 2h,24h --out midostaurin`
    """
    if given.args and given.args != ["aml"]:
        raise InputError(
            f"the command matrix is for the shipped model, given {given.args[0]!r}; for a model of your own call "
            "residuum.dose_matrix in Python (README: Your own model)"
        )
    _add_drugs(drug_table)
    _matrix_into(read_folder(out), _drugs(drug), _distinct(context or CONTEXTS, "--context"), readout, read_times(at),
                 reference, rtol, threads, _shown(progress))  # fmt: skip


@app.command()
def demo(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for the results.")] = "demo",
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Run the main job on real input: the fit to published phospho-values, and gilteritinib x trametinib matrices.

    For example

    `residuum demo --out demo`
    """
    folder = read_folder(out)
    sections = _fit_into(folder, folder / "fit", _shown(progress))
    doses = {"gilteritinib": [0, 0.3, 1, 3, 10, 30, 100], "trametinib": [0, 0.3, 1, 3, 10, 30]}
    _matrix_into(folder, doses, list(CONTEXTS), None, [7200.0, 86400.0], "untreated", SolverOptions.rtol, threads,
                 _shown(progress), extra=sections)  # fmt: skip


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
    from .report import write_report

    folder = read_folder(out)
    kept = folder / "checkpoint" if checkpoint is None else read_folder(checkpoint)
    sections = _fit_into(folder, folder, _shown(progress), starts=starts, seed=seed, method=method.value,
                         checkpoint=kept, resume=resume, processes=processes)  # fmt: skip
    _say(f"wrote {write_report(folder / 'report.html', 'residuum: fit to phospho-values', sections)}")
    if checkpoint is None:
        _remove(kept.glob("start-*.json"))


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
    from . import plots

    folder, problem = read_folder(out), aml_problem()
    kept = folder / "profiles.checkpoint.json"
    theta = None if fit is None else saved_point(problem, fit)
    result = profile_likelihood(
        problem, theta, None if parameter is None else _distinct(parameter, "--parameter"), level=level,
        checkpoint=kept, resume=resume, progress=_shown(progress),
    )  # fmt: skip
    if result.stopped:
        _say(f"stopped: {len(result.profiles)} profiles are kept in {kept}; go on with --resume")
        raise typer.Exit(INTERRUPTED)
    written = result.save(folder)
    written.append(plots.save(result.plot().flat[0].figure, folder / "profiles.png"))
    kept.unlink(missing_ok=True)
    print(result.report())
    _say(f"wrote {', '.join(map(str, written))}")


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
                                      progress=_shown(progress))  # fmt: skip
    else:
        ensemble = sample_posterior(problem, theta, members=members, max_steps=steps, seed=seed, checkpoint=kept,
                                    resume=resume, progress=_shown(progress))  # fmt: skip
    told = str(ensemble.provenance.get("diagnostics", "drawn from the priors: no data"))
    if told.startswith("stopped"):
        _say(f"{told}; kept in {kept}; go on with --resume")
        raise typer.Exit(INTERRUPTED)
    _say(f"wrote {ensemble.save(path)}")
    if method == Draws.walk and told.startswith("too short"):
        told += f"; the chain is kept in {kept}: go on with --resume and more --steps"
    else:
        kept.unlink(missing_ok=True)
    _say(told)


@app.command()
def predict(
    ensemble: Annotated[str, typer.Argument(metavar="FILE", help="What `residuum sample` wrote.")],
    context: ContextOption = None,
    drug: DrugOption = None,
    drug_table: DrugTableOption = None,
    times: Annotated[
        str, typer.Option(metavar="TIMES", help="`2h,24h` or START:END/N; units s (if none), min, h, d.")
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

    `residuum predict ensemble.nc --drug quizartinib=10 --drug trametinib=3 --times 2h,24h --out both`
    """
    from .. import aml_model, aml_predictions, bands, load_ensemble, plot_bands
    from . import plots
    from .report import write_whole

    folder, t, options = read_folder(out), read_times(times), SolverOptions(rtol=rtol)
    doses = _drugs(drug or [])
    if any(len(values) != 1 for values in doses.values()):
        raise InputError("predict takes one dose per drug; ask once for each dose")
    members, compiled = load_ensemble(ensemble), aml_model()
    _add_drugs(drug_table)
    contexts, names = _distinct(context or CONTEXTS[:2], "--context"), _readouts(readout, compiled)
    _check_size(len(members) * len(contexts), len(t), len(names), compiled.n_parameters)
    given = {name: values[0] for name, values in doses.items()}
    result = aml_predictions(members, contexts, given, t, names, options=options, threads=threads,
                             progress=_shown(progress))  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    if result.attrs["interrupted"]:  # what an earlier run finished stays
        path = folder / "predictions.partial.nc"
        _say(f"stopped; wrote {write_whole(path, lambda part: result.to_netcdf(part, engine='h5netcdf'))}")
        raise typer.Exit(INTERRUPTED)
    found = bands(result)
    frame = found.to_dataframe().reset_index()
    written = [
        write_whole(folder / "predictions.nc", lambda part: result.to_netcdf(part, engine="h5netcdf")),
        write_whole(folder / "bands.csv", lambda part: frame.to_csv(part, index=False)),
        plots.save(plot_bands(result).flat[0].figure, folder / "bands.png"),
    ]
    (folder / "predictions.partial.nc").unlink(missing_ok=True)
    _say(f"wrote {', '.join(map(str, written))}")
    _say(str(result.attrs["failures"]))
    _say(str(members.provenance.get("diagnostics", "")))
    if result.attrs["n_failed"]:
        raise typer.Exit(FAILED_RUNS)


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
    from . import calibration, plots
    from .report import write_report, write_whole

    folder, shown = read_folder(out), _shown(progress)
    sections = _fit_into(folder, folder, shown, starts=starts, seed=seed, checkpoint=folder / "starts",
                         resume=resume, processes=processes)  # fmt: skip
    problem = aml_problem()
    theta = saved_point(problem, folder)
    drawn = refitted_posterior(problem, theta, members=members, seed=seed, progress=shown,
                               checkpoint=folder / "members.json", resume=resume)  # fmt: skip
    if drawn.provenance["diagnostics"].startswith("stopped"):
        _say(f"stopped; go on by the same command with --resume ({folder / 'members.json'} holds what is finished)")
        raise typer.Exit(INTERRUPTED)
    _say(f"wrote {drawn.save(folder / 'ensemble.nc')}: {drawn.provenance['diagnostics']}")
    rows = leave_out(problem, theta, aml_left_out(), seed=seed, progress=shown)
    _say(f"wrote {write_whole(folder / 'left_out.csv', lambda part: rows.to_csv(part, index=False))}")
    sections.append(calibration.left_out_section(folder, rows, left_out_summary(rows)))
    bands_path = plots.save(plot_data_bands(drawn, problem).flat[0].figure, folder / "bands.png")
    sections.append(calibration.ensemble_section(bands_path, drawn))
    prior = type(drawn).from_prior(problem, checked, seed)
    sections.append(calibration.predictions_section(_key_predictions(drawn, checked), _key_predictions(prior, checked)))
    sections.append(calibration.behaviours_section(_behaviours_of(drawn, checked, shown)))
    _say(f"wrote {write_report(folder / 'calibration.html', 'residuum: calibration of the shipped model', sections)}")


KEY_PREDICTIONS = (
    ("blast-itd+erk-stroma", {"quizartinib": 10.0}, "pERK"),
    ("blast-itd+erk-stroma", {"gilteritinib": 30.0}, "pERK"),
    ("blast-wt+erk-stroma", {"gilteritinib": 30.0}, "pERK"),
    ("blast-itd+stat5-stroma", {"quizartinib": 10.0}, "pSTAT5"),
    ("blast-itd+stat5-stroma", {"gilteritinib": 30.0}, "pSTAT5"),
    ("blast-itd-nras", {"quizartinib": 10.0}, "pERK"),
    ("molm-13", {"quizartinib": 10.0}, "pERK"),
    ("blast-itd+erk-stroma", {"quizartinib": 10.0, "trametinib": 3.0}, "pERK"),
)
"""What is left 24 h after the drugs: the questions of the model page that no data set here answers."""


def _key_predictions(ensemble: Any, n: int) -> dict[str, list[float]]:
    """Return what is left of the untreated control, per prediction and member; NaN where a run failed."""
    import dataclasses

    from .. import aml_predictions

    few = dataclasses.replace(ensemble, values=ensemble.values[:n], weights=ensemble.weights[:n])
    found = {}
    for context, doses, readout in KEY_PREDICTIONS:
        treated, untreated = (
            aml_predictions(few, [context], given, [86_400.0], [readout])["value"].to_numpy().ravel()
            for given in (doses, dict.fromkeys(doses, 0.0))
        )
        drugs = " + ".join(f"{drug} {dose:g} nM" for drug, dose in doses.items())
        found[f"{readout} left, {context}, {drugs}"] = list(treated / untreated)
    return found


def _behaviours_of(ensemble: Any, n: int, progress: bool) -> pd.DataFrame:
    """Return, per behaviour, in how many of `n` members it is shown; members act by the model's own parameters."""
    import pandas as pd

    from .. import aml_behaviours
    from .progress import progress_bar

    ids, n = [f"B{i}" for i in range(6, 13)], min(n, len(ensemble))
    counts = dict.fromkeys(ids, 0)
    with progress_bar(n, "behaviours of members", shown=progress) as advance:
        for i in range(n):
            changes = {name: float(ensemble[name][i]) for name in ensemble.direct}
            outcomes = aml_behaviours(ids, changes=changes)
            for name in ids:
                counts[name] += outcomes[name].reproduced
            advance(i + 1)
    statement = {name: outcome.behaviour.statement for name, outcome in outcomes.items()}
    return pd.DataFrame(
        [{"behaviour": k, "statement": statement[k], "members": f"{v} of {n}"} for k, v in counts.items()]
    )


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
    from .listing import full, overview

    _add_drugs(drug_table)
    if csv and what in (None, Listing.describe):
        kinds = "|".join(kind for kind in Listing if kind != Listing.describe)
        raise InputError(f"--csv prints one kind: residuum models {kinds} --csv")
    if what == Listing.describe:
        _describe(None if out is None else read_folder(out), _shown(progress))
        return
    if out is not None:
        raise InputError("--out belongs to the model page: residuum models describe --out FOLDER")
    tables = aml_tables()
    if what is None:
        print(overview(tables))
    else:
        print(tables[what].to_csv(index=False).rstrip("\n") if csv else full(what, tables))


@app.command()
def doctor() -> None:
    """Tell what is installed, where caches lie, and what is missing for which purpose.

    Exit code 1 if something is missing that every use needs. For example

    `residuum doctor`
    """
    import importlib.metadata
    import platform

    from .. import __version__, aml_model
    from . import bngl
    from .cache import cache_root
    from .cache import writable_folder as cache_folder
    from .ensemble import available_threads
    from .kernel_cache import kernels_are_cached
    from .listing import entry

    marks = []

    def line(good: bool | None, what: str, detail: str) -> None:
        marks.append(good)
        mark = {True: "ok", False: "missing", None: "note"}[good]
        print("\n".join(entry(f"{mark:<7} {what:<13}", detail)))

    line(True, "residuum", f"{__version__}, Python {platform.python_version()}, {platform.machine()}")
    for package in ("numpy", "scipy", "numba", "pysb", "pandas", "xarray", "h5netcdf", "matplotlib", "jinja2"):
        try:
            line(True, package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            line(False, package, f"python -m pip install {package}")
    line(True, "threads", str(available_threads()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheNotice)  # the line says it
        kept = cache_folder("kernels") is not None
        compiled = kernels_are_cached()
    line(kept or None, "cache", f"{cache_root()}" + ("" if kept else " cannot be written: set RESIDUUM_CACHE"))
    line(
        compiled or None,
        "integrator",
        "compiled" if compiled else "is compiled on first use (half a minute), or now by `residuum warmup`",
    )
    helps = {"BioNetGen": f"{bngl.INSTALL_BIONETGEN}, and Perl on the PATH", "Perl": "install Perl"}
    missing = bngl.missing_for_bionetgen()
    need = f"{missing} was not found; only new models of your own need it: {helps[missing]}" if missing else ""
    line(None if missing else True, "BioNetGen", need or str(bngl.find_bionetgen()))
    try:
        line(True, "shipped model", repr(aml_model()).strip("<>"))
    except (InputError, OSError) as error:
        line(False, "shipped model", str(error))
    if False in marks:
        raise typer.Exit(MISSING_PARTS)


@app.command()
def warmup() -> None:
    """Compile the solver's machine code and keep it, so that no later command or script waits for it.

    Needed once per machine, for each version of residuum and numba; else the first run does it. What is made lies in
    the cache folder that `residuum doctor` names. RESIDUUM_CACHE moves it: into the image of a container, or to a place
    that all nodes of a cluster see (nodes with other CPUs make their own beside it). For example

    `residuum warmup`

    `RESIDUUM_CACHE=/scratch/residuum residuum warmup`
    """
    from .. import warmup as ready
    from .cache import cache_root

    def line(done: Readied) -> None:
        made = f"compiled ({done.n_compiled} kernels)" if done.n_compiled else "already there"
        print(f"{done.kind:<32}{made}, {done.seconds:.1f} s", flush=True)

    ready(line)
    print(f"{'kept in':<32}{cache_root()}")


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        from .. import __version__

        print(f"residuum {__version__}")
        raise typer.Exit


# ---- the model page ---------------------------------------------------------------------------------------------


def _describe(folder: Path | None, progress: bool) -> None:
    """Print the page on the shipped model, or write it with its figures into a folder."""
    from .. import __version__, aml_model, aml_modules, aml_tables
    from .description import Description, text, write_page

    compiled = aml_model()
    behaviours = _behaviours(progress)
    page = Description(compiled.name, __version__, compiled.network, aml_modules(), aml_tables(), behaviours)
    if folder is None:
        print(text(page))
        return
    with _status("drawing"):
        written = write_page(folder, page)
    _say(f"wrote {written} and its figures")


def _behaviours(progress: bool) -> list[Shown]:
    """Run the known behaviours on the nominal parameters of the shipped model, one after the other."""
    from .. import aml_behaviours, aml_tables
    from .description import Shown
    from .progress import progress_bar

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


# ---- results into a folder --------------------------------------------------------------------------------------


def _matrix_into(folder: Path, drugs: dict[str, list[float]], contexts: list[str], readout: Sequence[str] | None,
                 times: list[float], reference: str, rtol: float, threads: int | None, progress: bool,
                 extra: Sequence[Section] = ()) -> None:  # fmt: skip
    """Compute a matrix of the shipped model and write matrix.nc, matrix.csv, figures and report.html."""
    from .. import aml_model, dose_matrix
    from ..doses.outputs import write_matrix, write_tables

    compiled = aml_model()
    readouts = _readouts(readout, compiled)
    n_runs = len(contexts) * (1 + math.prod(map(len, drugs.values())))
    _check_size(n_runs, len(times), len(readouts), compiled.n_parameters)
    result = dose_matrix(compiled, drugs, contexts, readouts, times, reference=reference,
                         options=SolverOptions(rtol=rtol), threads=threads, progress=progress)  # fmt: skip
    n_failed, n_pending = (int(result.dataset.attrs[name]) for name in ("n_failed", "n_pending"))
    if n_pending:
        done = f"{n_runs - n_pending} of {n_runs} runs done"
        if n_pending < n_runs:
            written = " and ".join(map(str, write_tables(folder, "matrix.partial", result)))
            _say(f"{done}; partial results in {written}")
        else:
            _say(f"{done}; nothing was written")
        raise typer.Exit(INTERRUPTED)
    with _status("drawing"):
        report = write_matrix(folder, result, _provenance(drugs, contexts, readouts, times), extra)
    _say(f"wrote {folder / 'matrix.nc'}, {folder / 'matrix.csv'}, figures and {report}")
    _say(result.summary())
    if silent := result.without_control():
        _say(f"note: no signal in the control, so no fraction of it: {'; '.join(silent)}")
    if n_failed:
        raise typer.Exit(FAILED_RUNS)


def _provenance(
    drugs: Mapping[str, Sequence[float]], contexts: Sequence[str], readouts: Sequence[str], times: Sequence[float]
) -> dict[str, str]:
    """Return what was asked for, in words."""
    import datetime
    import shlex

    from .plots import duration

    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "command": shlex.join(["residuum", *sys.argv[1:]]),
        **{drug: f"{', '.join(f'{dose:g}' for dose in doses)} nM" for drug, doses in drugs.items()},
        "contexts": ", ".join(contexts),
        "readouts": ", ".join(readouts),
        "times after the drugs": ", ".join(map(duration, times)),
    }


def _fit_into(folder: Path, tables_folder: Path, progress: bool, **search: Any) -> list[Section]:
    """Fit the shipped problem, write its figures and tables, and return the report's section about it."""
    from .. import aml_problem
    from .. import fit as run
    from . import plots
    from .report import Section

    problem = aml_problem()
    try:
        result = run(problem, progress=progress, **search)
    except KeyboardInterrupt:
        _say(f"stopped before the first point was evaluated{_how_to_resume(search)}")
        raise typer.Exit(INTERRUPTED) from None
    if result.stopped:  # what an earlier run finished stays
        result.save(partial := tables_folder / "partial")
        _say(f"the fit was stopped; the best point so far is in {partial}{_how_to_resume(search)}")
        raise typer.Exit(INTERRUPTED)
    written = result.save(tables_folder)
    _remove(tables_folder / "partial" / path.name for path in written)
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
    _say(f"wrote {', '.join(str(p) for p in (*written, *(image for _, image in images)))}")
    if not result.converged:
        _say(f"the fit did not converge: {result.message}; the best point was written")
    typical = {name: f"{fold:.2f}" for name, fold in result.typical_fold().items()}
    words = [
        f"{result.n_data} published values (two Ba/F3 lines, IC50s) and {result.n_free} estimated parameters, "
        f"{result.n_priors} of them with informative priors: the table says which of them the data determine. "
        f"Search: {result.message}.",
        f"Typical factor between model and measurement: {typical['at_nominal']} before, {typical['fitted']} after.",
        "The dose matrices here use the nominal parameters of their contexts, not this fit.",
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


def _remove(paths: Iterable[Path]) -> None:
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
