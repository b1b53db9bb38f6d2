"""`residuum sweep`, `status`, `collect`, `verify` and `inspect`: many points of one model into a folder, and out of it.

Exit codes: 3 where runs failed, or are not confirmed; 130 where points are pending because the command was stopped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ..simulator.errors import InputError
from ..simulator.options import SolverOptions
from ..simulator.words import SECONDS, load_model, read_file, read_folder, read_quantity, read_settings, read_times
from .options import (
    ContextOption,
    DrugOption,
    DrugTableOption,
    ProgressOption,
    ReadoutOption,
    RtolOption,
    ThreadsOption,
    distinct,
    doses_of,
    know_drugs,
    readouts_of,
)
from .terminal import FAILED_RUNS, INTERRUPTED, say, show_progress

if TYPE_CHECKING:
    from ..simulator.compiled import CompiledModel
    from ..simulator.protocol import Segment
    from ..sweeps import Points, Sweep, SweepDesign

FEW = 512
"""Points that are run without an estimate first."""

app = typer.Typer()

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="`aml` (shipped), FILE.net, FILE.bngl, or a PySB model as FILE.py or module."),
]
FolderArgument = Annotated[str, typer.Argument(metavar="FOLDER", help="The folder of a sweep.")]


@app.command()
def sweep(
    source: ModelArgument = "aml",
    out: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where the sweep is kept; one that was begun there goes on.")
    ] = "s.sweep",
    sample: Annotated[
        str | None, typer.Option(metavar="sobol:N", help="N points that cover the distributions of --priors evenly.")
    ] = None,
    priors: Annotated[
        str | None, typer.Option(metavar="FILE", help="Distributions of parameters, TOML; needed by --sample.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the sample.")] = 0,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES", help="`kf=0.1,0.2`, `=0:1/11` (evenly) or `=0.01:1/11log`; repeat for a grid."
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(metavar="FILE", help="Points from a CSV file, one column per parameter.")
    ] = None,
    context: ContextOption = None,
    drug: DrugOption = None,
    drug_table: DrugTableOption = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=NUMBER", help="A parameter at all points; repeat.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIMES", help="`2h,24h` or START:END/N; units s (if none), min, h, d.")
    ] = None,
    readout: ReadoutOption = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help="Numbers to keep of each run, in place of all read-outs: `pERK@1h,auc(pERK),max(pERK)`; `auc` and "
            "the like along the times of --at.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that compute.")] = 1,
    threads: ThreadsOption = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Part I of N only, from 0: for the jobs of a scheduler's array.")
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option(metavar="N", help="Points per file, and the most that a stop loses (1024).")
    ] = None,
    max_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin nothing after so much wall time, e.g. `8h`.")
    ] = None,
    check: Annotated[
        int | None, typer.Option("--verify", metavar="N", help="Solve N points again by SciPy, as `residuum verify`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the estimate of time and size, and stop.")] = False,
    rtol: RtolOption = SolverOptions.rtol,
    progress: ProgressOption = None,
) -> None:
    """Run a model at many points of its parameters; what is finished survives whatever stops it.

    Where the folder holds a sweep, --out alone goes on with it. For example

    `residuum sweep mymodel.py --sample sobol:1e6 --priors priors.toml --keep "pERK@1h" --out s.sweep`

    `residuum sweep --out s.sweep --shard 3/200`

    `residuum sweep --context blast-itd --drug gilteritinib=0 --grid drug1_dose=1:300/50log --at 2h --readout pERK`
    """
    from .. import estimate_sweep, open_sweep
    from .. import sweep as run

    chosen = [option for option, given in (("--sample", sample), ("--grid", grid), ("--table", table)) if given]
    part, limit = _part(shard), None if max_time is None else read_quantity(max_time, SECONDS, "time")
    folder = read_folder(out)
    if not chosen:
        design = _begun(out)
    else:
        if len(chosen) > 1:
            raise InputError(f"{' and '.join(chosen)} were given; the points of a sweep come from one of these")
        points = _points(sample, priors, seed, grid, table)
        compiled, fixed, protocol = _model(source, context, drug, drug_table, read_settings(set_ or []))
        design = _design(compiled, points, fixed, protocol, at, readout, keep, rtol, shipped=source == "aml")
    there = (folder / "design.json").exists()
    left = open_sweep(folder).status().n_pending if there else len(design)
    if dry_run or left > FEW:
        alongside = None if threads is None else threads * workers
        shown = left if part is None else -(-left // part[1])
        say(str(estimate_sweep(design, n_points=shown, threads=alongside)))
    if dry_run:
        return
    done = run(
        design, folder, workers=workers, threads=threads, shard_size=shard_size, shard=part, max_seconds=limit,
        progress=show_progress(progress),
    )  # fmt: skip
    status = done.status()
    print(status)
    if done.stopped:
        say(f"{done.stopped}; go on by `residuum sweep --out {folder}`")
        raise typer.Exit(INTERRUPTED)
    confirmed = check is None or _verified(done, check, progress)
    if status.n_failed or not confirmed:
        raise typer.Exit(FAILED_RUNS)


@app.command()
def status(folder: FolderArgument) -> None:
    """Tell how far a sweep is: runs that finished, failed, and why, and points still to be computed.

    Reads and checks every shard. For example

    `residuum status s.sweep`
    """
    from .. import open_sweep

    print(found := open_sweep(folder).status())
    if found.damaged or found.foreign:
        raise typer.Exit(FAILED_RUNS)


@app.command()
def collect(
    folder: FolderArgument,
    out: Annotated[str, typer.Option(metavar="FILE", help="The file to write, .nc (netCDF) or .csv.")],
) -> None:
    """Write what a sweep gave into one file; points still to be computed are missing values there, and say so.

    Takes little memory, whatever the size. For example

    `residuum collect s.sweep --out s.nc`
    """
    from .. import open_sweep

    path = read_file(out, "--out", (".nc", ".csv"))
    done = open_sweep(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    say(f"wrote {done.write(path)}")
    print(done.status())


@app.command()
def verify(
    folder: FolderArgument,
    n: Annotated[int, typer.Option("--n", metavar="N", help="Points, drawn at random.")] = 64,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the draw.")] = 0,
    limit: Annotated[
        float, typer.Option(metavar="NUMBER", help="Units of the tolerance up to which a point is confirmed.")
    ] = 100.0,
    progress: ProgressOption = None,
) -> None:
    """Solve points of a sweep again, by SciPy's solvers at a tight tolerance, and tell how far they are off.

    Exit code 3 if one is off by more than --limit. For example

    `residuum verify s.sweep --n 500`
    """
    from .. import open_sweep

    if not _verified(open_sweep(folder), n, progress, seed=seed, limit=limit):
        raise typer.Exit(FAILED_RUNS)


@app.command()
def inspect(source: ModelArgument = "aml") -> None:
    """Tell what a model is made of, what it conserves, and what in it nothing uses or reaches.

    For example

    `residuum inspect mymodel.py`
    """
    from .. import aml_model
    from ..simulator.inspection import inspect_model

    print(inspect_model(aml_model() if source == "aml" else load_model(source)))


def _verified(done: Sweep, n: int, progress: bool | None, **settings: Any) -> bool:
    """Print how far points are off from what SciPy gives; return whether that is in order."""
    from .. import verify_sweep

    print(found := verify_sweep(done, n, progress=show_progress(progress), **settings))
    return found.passed


# ---- words ------------------------------------------------------------------------------------------------------


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not found:
        raise InputError(f"cannot read --shard {text!r}: expected I/N, e.g. 0/200 for the first of 200 parts")
    return int(found[1]), int(found[2])


def _begun(out: str) -> SweepDesign:
    """Return the design of the sweep that a folder holds."""
    from .. import open_sweep

    try:
        design = open_sweep(out).design
    except InputError as error:
        raise InputError(f"{error}; to begin one, give --sample sobol:N, --grid NAME=VALUES or --table FILE") from None
    if design is None:
        raise InputError(f"{out} was begun by a script, and only that can go on with it")
    return design


def _points(sample: str | None, priors: str | None, seed: int, grid: Sequence[str] | None, table: str | None) -> Points:
    from .. import Grid, PointTable, Sobol, read_priors

    if (sample is None) != (priors is None):
        raise InputError("--sample and --priors belong together: points are drawn from distributions")
    if sample is not None and priors is not None:
        kind, _, count = sample.partition(":")
        try:
            n = float(count)
        except ValueError:
            n = np.nan
        if kind != "sobol" or n != np.floor(n):
            raise InputError(f"cannot read --sample {sample!r}: expected sobol:N, e.g. sobol:1e6")
        return Sobol(int(n), read_priors(priors), seed)
    if grid is not None:
        axes = [_axis(text) for text in grid]
        distinct([name for name, _ in axes], "--grid")
        return Grid(dict(axes))
    import pandas as pd

    try:
        return PointTable(pd.read_csv(str(table)))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{table}: {error}") from None
        raise InputError(f"cannot read the table {table}: {getattr(error, 'strerror', None) or error}") from None


def _axis(text: str) -> tuple[str, list[float]]:
    """Return name and values of `"kf=0.1,0.2"`, `"kf=0:1/11"` or `"kf=0.01:1/11log"`."""
    name, _, values = (part.strip() for part in text.partition("="))
    found = re.fullmatch(r"([^:/]+):([^:/]+)/(\d+)(log)?", values)
    try:
        if not name or not found:
            if not name or ":" in values:
                raise ValueError
            return name, [float(value) for value in values.split(",")]
        low, high, count = float(found[1]), float(found[2]), int(found[3])
        if count < 2 or count > 1_000_000 or (found[4] and not low > 0) or not low < high < np.inf:
            raise ValueError
    except ValueError:
        raise InputError(
            f"cannot read --grid {text!r}: expected NAME=VALUES, e.g. kf=0.1,0.2 or kf=0:1/11 or kf=0.01:1/11log"
        ) from None
    return name, (np.geomspace if found[4] else np.linspace)(low, high, count).tolist()


def _model(
    source: str, contexts: Sequence[str] | None, drugs: Sequence[str] | None, drug_tables: Sequence[str] | None,
    settings: Mapping[str, float],
) -> tuple[CompiledModel, dict[str, float], tuple[Segment, ...]]:  # fmt: skip
    """Return the model, the parameters that are not nominal at any point, and the protocol."""
    from .. import aml_conditions, aml_model

    if source != "aml":
        if contexts or drugs or drug_tables:
            raise InputError("--context, --drug and --drug-table belong to the shipped model; use --set with your own")
        return load_model(source), dict(settings), ()
    know_drugs(drug_tables)
    doses: dict[str, Any] = doses_of(drugs or [])
    if len(contexts or ()) > 1 or any(len(values) != 1 for values in doses.values()):
        raise InputError("a sweep is of one --context, and of one dose of each --drug; what varies is given by --grid")
    given = {name: values[0] for name, values in doses.items()}
    compiled = aml_model()
    conditions = aml_conditions(contexts or ["blast-itd"], given, changes=settings)
    values = dict(zip(compiled.parameters, conditions.parameters[0].tolist(), strict=True))
    fixed = {name: value for name, value in values.items() if value != compiled.nominal[compiled.parameter_index(name)]}
    return compiled, fixed, conditions.protocol


def _design(
    compiled: CompiledModel, points: Points, fixed: Mapping[str, float], protocol: Sequence[Segment], at: str | None,
    readout: Sequence[str] | None, keep: str | None, rtol: float, *, shipped: bool,
) -> SweepDesign:  # fmt: skip
    from .. import SweepDesign
    from ..sweeps.keeping import split_words

    times = None if at is None else read_times(at)
    words = None if keep is None else split_words(keep)
    names = None if words else readouts_of(readout, compiled) if shipped else readout
    if words and readout:
        raise InputError("--keep names the read-outs itself; leave out --readout")
    if words is None and times is None:
        raise InputError('give the times at which to read out, --at 2h, or what to keep of each run, --keep "pERK@1h"')
    own = {name: value for name, value in fixed.items() if name not in points.names}
    return SweepDesign(
        compiled, points, times, names, keep=words, protocol=protocol, fixed=own, options=SolverOptions(rtol=rtol)
    )
