"""The command line `residuum`: words in, tables, figures and one-line errors out. It sees the root facade only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from .errors import InputError

if TYPE_CHECKING:
    from .compiled import CompiledModel

BAD_INPUT, INTERRUPTED, FAILED_RUNS = 2, 130, 3
UNITS = {"nM": 1.0, "uM": 1e3, "pM": 1e-3}
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
CONTEXTS = ("flt3-itd", "flt3-itd+stroma", "flt3-wt", "flt3-wt+stroma")
READOUTS = ("pERK", "pSTAT5", "pFLT3")

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
    from rich.console import Console

    try:
        app()
    except InputError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print("error:", str(error), markup=False)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


# ---- reading words ----------------------------------------------------------------------------------------------


def read_quantity(text: str, units: dict[str, float], what: str) -> float:
    """Return a number with a unit in the first unit of `units`: `"2h"` is 7200 s, `"0.1 uM"` is 100 nM."""
    text = text.strip()
    unit = next((u for u in sorted(units, key=len, reverse=True) if text.endswith(u)), "")
    try:
        return float(text.removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError:
        raise InputError(f"cannot read the {what} {text!r}: expected a number, with {' or '.join(units)}") from None


def read_doses(text: str) -> tuple[str, list[float]]:
    """Return drug and doses (nM) from `"gilteritinib=0,10,100 nM"` or `"gilteritinib=1:100/5"` (0 and 5 log-spaced)."""
    drug, separator, values = text.partition("=")
    if not separator or not values.strip():
        raise InputError(
            f"cannot read {text!r}: expected DRUG=DOSES, e.g. gilteritinib=0,10,100 or gilteritinib=1:100/5"
        )
    values = values.strip()
    unit = next((u for u in UNITS if values.endswith(u)), "nM")
    values = values.removesuffix(unit).strip()
    if ":" in values:
        bounds, _, count = values.partition("/")
        low, high = (read_quantity(v, UNITS, "dose") for v in bounds.split(":", 1))
        if not count.strip().isdigit() or int(count) < 2 or not 0 < low < high:
            raise InputError(
                f"cannot read the doses {values!r}: expected LOW:HIGH/N with 0 < LOW < HIGH and N of 2 or more"
            )
        doses = [0.0, *np.geomspace(low, high, int(count)).tolist()]
    else:
        doses = [read_quantity(v, UNITS, "dose") for v in values.split(",")]
    return drug.strip(), [float(f"{dose * UNITS[unit]:.6g}") for dose in doses]


def read_times(text: str) -> list[float]:
    """Return times (s) from `"2h,24h"` or `"0:24h/49"` (evenly spaced)."""
    if ":" not in text:
        return [read_quantity(v, SECONDS, "time") for v in text.split(",")]
    bounds, _, count = text.partition("/")
    start, end = (read_quantity(v, SECONDS, "time") for v in bounds.split(":", 1))
    if not count.strip().isdigit() or int(count) < 2:
        raise InputError(f"cannot read the times {text!r}: expected START:END/N, e.g. 0:24h/49")
    return np.linspace(start, end, int(count)).tolist()


def read_settings(texts: Sequence[str]) -> dict[str, float]:
    """Return parameter values from `["name=value", ...]`."""
    settings = {}
    for text in texts:
        name, separator, value = text.partition("=")
        try:
            settings[name.strip()] = float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise InputError(f"cannot read {text!r}: expected NAME=NUMBER")
    return settings


def load_model(source: str) -> CompiledModel:
    """Return the model that a word on the command line means: `aml`, a `.net` file, or a Python file or module."""
    import importlib.util

    from .. import aml_model, compile_model

    if source == "aml":
        return aml_model()
    path = Path(source)
    if path.suffix == ".net":
        return compile_model(path)
    if path.suffix == ".py":
        if not path.is_file():
            raise InputError(f"there is no model file {source}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # PySB looks up the module that defines a model
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(source)
        except ImportError as error:
            raise InputError(
                f"cannot load {source!r}: expected aml, FILE.net, FILE.py or a Python module ({error})"
            ) from None
    if not hasattr(module, "model"):
        raise InputError(f"{source} defines no `model`; a PySB model file ends up with a variable of that name")
    return compile_model(module.model)


def writable_folder(path: Path) -> Path:
    """Return the folder, created; raises InputError before any work is done if nothing can be written there."""
    import tempfile

    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise InputError(f"the output folder {path} cannot be written: {error.strerror or error}") from None


# ---- shared options ---------------------------------------------------------------------------------------------

ContextOption = Annotated[
    list[str] | None, typer.Option("--context", "-c", help="Cell and environment; repeat for more.")
]
ReadoutOption = Annotated[list[str] | None, typer.Option("--readout", "-r", help="What is read out; repeat for more.")]
RtolOption = Annotated[float, typer.Option(help="Relative tolerance of the integration.")]
ThreadsOption = Annotated[int | None, typer.Option(help="Threads; all cores if not given.")]
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
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False).print(text, markup=False)


def _finish(n_failed: int, interrupted: bool, summary: str) -> None:
    """Say how the runs ended, and end the process accordingly."""
    _say(summary)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if n_failed:
        raise typer.Exit(FAILED_RUNS)


# ---- commands ---------------------------------------------------------------------------------------------------


@app.command()
def simulate(
    source: Annotated[
        str, typer.Argument(help="`aml` (shipped), FILE.net, or a PySB model as FILE.py or module.")
    ] = "aml",
    context: ContextOption = None,
    drug: Annotated[
        list[str] | None, typer.Option("--drug", "-d", help="DRUG=DOSE, e.g. `gilteritinib=30`; repeat.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of a model parameter; repeat.")] = None,
    times: Annotated[str, typer.Option(help="`2h,24h` or START:END/N; units s, min, h, d.")] = "0:24h/97",
    readout: ReadoutOption = None,
    out: Annotated[Path | None, typer.Option(help="Write a tidy CSV here; printed if not given.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a figure here (.png, .pdf, .svg).")] = None,
    rtol: RtolOption = 1e-6,
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Simulate time courses.

    For example

    `residuum simulate --context flt3-itd --context flt3-itd+stroma --drug gilteritinib=100 --plot courses.png`

    `residuum simulate mymodel.py --times 0:100/51 --set kf=0.2 --out mymodel.csv`
    """
    from .. import Conditions, SolverOptions, aml_conditions
    from .. import simulate as run
    from .plots import new_figure, save, time_course

    options = SolverOptions(rtol=rtol)
    compiled = load_model(source)
    t = read_times(times)
    settings = read_settings(set_ or [])
    for path in (out, plot):
        if path is not None:
            writable_folder(path.parent)
    if source == "aml":
        doses = dict(read_doses(text) for text in drug or [])
        if any(len(values) != 1 for values in doses.values()):
            raise InputError("simulate takes one dose per drug; `residuum matrix` takes several")
        conditions = aml_conditions(context or CONTEXTS[:2], {name: values[0] for name, values in doses.items()})
        for name, value in settings.items():
            conditions.parameters[:, compiled.parameter_index(name)] = value
        names = list(readout or READOUTS)
    else:
        if context or drug:
            raise InputError("--context and --drug belong to the shipped model; use --set NAME=VALUE with your own")
        conditions = Conditions.from_rows(compiled, {"nominal": settings})
        names = list(readout or compiled.observables)
    result = run(
        compiled, t, conditions, observables=names, options=options, threads=threads, progress=_shown(progress)
    )
    frame = result.to_frame()
    if out is None and plot is None:
        print(frame.to_csv(index=False), end="")
    if out is not None:
        frame.to_csv(out, index=False)
        _say(f"wrote {out}")
    if plot is not None:
        figure, axes = new_figure(min(len(names), 3), -(-len(names) // 3), width=4)
        for name, ax in zip(names, axes.flat, strict=False):
            time_course(result, name, ax)
        _say(f"wrote {save(figure, plot)}")
    _finish(int(np.count_nonzero(~result.ok)), result.interrupted, result.summary())


@app.command()
def matrix(
    drug: Annotated[
        list[str],
        typer.Option("--drug", "-d", help="DRUG=DOSES in nM: `=0,10,100` or `=1:100/5` (0 and 5 log-spaced); repeat."),
    ],
    context: ContextOption = None,
    readout: ReadoutOption = None,
    at: Annotated[str, typer.Option(help="Times after the drugs are added; units s, min, h, d.")] = "2h",
    reference: Annotated[
        str, typer.Option(help="`untreated`, or a context whose untreated cell is the control.")
    ] = "untreated",
    out: Annotated[Path, typer.Option(help="Folder for matrix.nc, matrix.csv, figures and report.html.")] = Path(
        "matrix"
    ),
    rtol: RtolOption = 1e-6,
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Compute a dose matrix of the shipped model: the signalling left under every combination of doses.

    For example

    `residuum matrix --drug gilteritinib=1:300/6 --drug trametinib=0.3:100/6 --context flt3-itd+stroma --at 24h`
    """
    doses = [read_doses(text) for text in drug]
    if len({name for name, _ in doses}) < len(doses):
        raise InputError("a drug was given twice; give all its doses at once")
    folder, contexts, readouts = writable_folder(out), list(context or CONTEXTS), list(readout or READOUTS)
    _matrix_into(folder, dict(doses), contexts, readouts, read_times(at), reference, rtol, threads, _shown(progress))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Run the main job on real input: the fit to published phospho-values, and gilteritinib x trametinib matrices."""
    folder = writable_folder(out)
    sections = _fit_into(folder, folder / "fit", starts=1, seed=0, progress=_shown(progress))
    doses = {"gilteritinib": [0, 0.3, 1, 3, 10, 30, 100], "trametinib": [0, 0.3, 1, 3, 10, 30]}
    _matrix_into(folder, doses, list(CONTEXTS), list(READOUTS), [7200.0, 86400.0], "untreated", 1e-6, threads,
                 _shown(progress), extra=sections)  # fmt: skip


@app.command()
def fit(
    out: Annotated[Path, typer.Option(help="Folder for the tables, the figure and report.html.")] = Path("fit"),
    starts: Annotated[int, typer.Option(help="Starting points, the nominal one first.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the other starting points.")] = 0,
    progress: ProgressOption = None,
) -> None:
    """Fit the lumped gains of the shipped model to published phospho-values (Ba/F3 FLT3-ITD lines)."""
    from .report import write_report

    folder = writable_folder(out)
    sections = _fit_into(folder, folder, starts, seed, _shown(progress))
    _say(f"wrote {write_report(folder / 'report.html', 'residuum: fit to phospho-values', sections)}")


class Listing(StrEnum):
    """What `residuum models` lists."""

    contexts = "contexts"
    drugs = "drugs"
    readouts = "readouts"
    parameters = "parameters"


@app.command()
def models(
    what: Annotated[Listing | None, typer.Argument(help="One kind only; all but parameters if not given.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of a table.")] = False,
) -> None:
    """List contexts, drugs, readouts and parameters of the shipped model, with units and sources."""
    from rich.console import Console
    from rich.table import Table

    from .. import aml_tables

    tables = aml_tables()
    chosen = [what.value] if what else ["contexts", "drugs", "readouts"]
    for name in chosen:
        frame = tables[name]
        if csv:
            print(frame.to_csv(index=False), end="")
            continue
        table = Table(title=name, title_justify="left", header_style="bold")
        for column in frame.columns:
            table.add_column(str(column), overflow="fold")
        for row in frame.itertuples(index=False):
            table.add_row(*(f"{v:g}" if isinstance(v, float) else str(v) for v in row))
        Console().print(table)


@app.command()
def doctor() -> None:
    """Tell what is installed, where caches lie, and what is missing for which purpose."""
    import importlib.metadata
    import platform

    from rich.console import Console
    from rich.table import Table

    from .. import __version__
    from .cache import cache_root
    from .cache import writable_folder as cache_folder
    from .ensemble import available_threads
    from .kernel_cache import kernels_are_cached
    from .network import INSTALL_BIONETGEN, find_bionetgen

    table = Table("", "", "", show_header=False, box=None)

    def line(good: bool | None, what: str, detail: str) -> None:
        mark = {True: "[green]ok[/]", False: "[red]missing[/]", None: "[yellow]note[/]"}[good]
        table.add_row(mark, what, detail)

    line(True, "residuum", f"{__version__}, Python {platform.python_version()}, {platform.machine()}")
    for package in ("numpy", "scipy", "numba", "pysb", "pandas", "xarray", "h5netcdf", "matplotlib"):
        try:
            line(True, package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            line(False, package, f"python -m pip install {package}")
    line(True, "threads", str(available_threads()))
    folder = cache_folder("kernels")
    line(folder is not None, "cache", f"{cache_root()}" + ("" if folder else " cannot be written: set RESIDUUM_CACHE"))
    compiled = kernels_are_cached()
    line(True if compiled else None, "integrator", "compiled" if compiled else "is compiled on first use (about 20 s)")
    bionetgen = find_bionetgen()
    need = f"not found; only models of your own need it: {INSTALL_BIONETGEN}  and Perl on the PATH"
    line(True if bionetgen else None, "BioNetGen", bionetgen or need)
    try:
        from .. import aml_model

        line(True, "shipped model", repr(aml_model()).strip("<>"))
    except (InputError, OSError) as error:
        line(False, "shipped model", str(error))
    Console(soft_wrap=True).print(table)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        from .. import __version__

        print(f"residuum {__version__}")
        raise typer.Exit


# ---- results into a folder --------------------------------------------------------------------------------------


def _matrix_into(folder: Path, drugs: dict[str, list[float]], contexts: list[str], readouts: list[str],
                 times: list[float], reference: str, rtol: float, threads: int | None, progress: bool,
                 extra: Sequence[Any] = ()) -> None:  # fmt: skip
    """Compute a matrix of the shipped model and write matrix.nc, matrix.csv, figures and report.html."""
    from .. import SolverOptions, aml_model, bliss_excess, dose_matrix, hsa_excess
    from . import plots
    from .matrix import to_frame
    from .report import Section, write_report

    result = dose_matrix(aml_model(), drugs, contexts, readouts, times, reference=reference,
                         options=SolverOptions(rtol=rtol), threads=threads, progress=progress)  # fmt: skip
    _replace(folder / "matrix.nc", lambda path: result.to_netcdf(path, engine="h5netcdf"))
    frame = to_frame(result)
    _replace(folder / "matrix.csv", lambda path: frame.to_csv(path, index=False))
    sections = []
    with _status("drawing"):
        two = len(drugs) == 2 and all(len(doses) > 1 for doses in drugs.values())
        maps, synergy = [], []
        if two:
            for time in times:
                for readout in readouts:
                    path = folder / f"matrix_{readout}_{_hours(time)}.png"
                    plots.save(plots.matrix_figure(result, readout, time=time), path)
                    maps.append((f"{readout}, {_hours(time)} after the drugs: fraction of the control left.", path))
                path = folder / f"contour_{readouts[0]}_{_hours(time)}.png"
                plots.save(plots.contour_figure(result, readouts[0], time=time), path)
                maps.append((f"Doses that leave a quarter of {readouts[0]}, {_hours(time)} after the drugs.", path))
            if all(0.0 in doses for doses in drugs.values()):
                path = folder / f"synergy_{readouts[0]}.png"
                excess = [bliss_excess(result), hsa_excess(result)]
                plots.save(plots.synergy_figure(excess, readouts[0], time=times[0]), path)
                synergy.append((f"Excess over two null models, {readouts[0]}, {_hours(times[0])}.", path))
                sections.append(Section("Synergy", [excess[0].attrs["note"]], synergy))
        path = folder / "arms.png"
        plots.save(plots.bars_figure(result, readouts, time=times[0]), path)
        arms = ("Each drug alone and all together, at the highest doses.", path)
    short = Section(
        "In short",
        [
            "Each cell is brought to steady state without drugs; the drugs are then present at constant free "
            "concentrations. Numbers are fractions of the untreated cell in the same context and at the same time.",
            str(result.attrs["failures"]) + ". Failed runs are grey in figures and a dash in tables, never a number.",
        ],
        [arms],
        [
            (
                f"Fraction left, {_hours(times[0])} after the drugs, at the corners of the matrix",
                _corners(result, times[0]),
            )
        ],
    )
    provenance = [f"{name}: {value}" for name, value in sorted(result.attrs.items()) if name != "failures"]
    matrices = [Section("Dose matrices", (), maps)] if maps else []
    parts = [short, *matrices, *sections, *extra, Section("Provenance", provenance)]
    report = write_report(folder / "report.html", f"Residual signalling: {' x '.join(drugs)}", parts)
    _say(f"wrote {folder / 'matrix.nc'}, {folder / 'matrix.csv'}, figures and {report}")
    _finish(int(result.attrs["n_failed"]), bool(result.attrs["interrupted"]), str(result.attrs["failures"]))


def _corners(matrix: Any, time: float) -> Any:
    """Return the residuals at no drug, each drug alone at its top dose and all together, one row per context."""
    import pandas as pd

    from .matrix import dose_dims

    drugs = dose_dims(matrix)
    top = {drug: float(matrix[drug].values[-1]) for drug in drugs}
    low = {drug: float(matrix[drug].values[0]) for drug in drugs}
    arms = {f"{drug} {top[drug]:g} nM": {**low, drug: top[drug]} for drug in drugs} | {"all together": top}
    rows = []
    for context in matrix["context"].values:
        for readout in matrix["readout"].values:
            cell = matrix["residual"].sel(context=context, readout=readout, time=time).isel(member=0)
            left = {arm: float(cell.sel(doses)) for arm, doses in arms.items()}
            rows.append({"context": str(context), "readout": str(readout), **left})
    return pd.DataFrame(rows)


def _fit_into(folder: Path, tables_folder: Path, starts: int, seed: int, progress: bool) -> list[Any]:
    """Fit the shipped problem, write its figure and tables, and return the report's section about it."""
    from .. import aml_problem
    from .. import fit as search
    from . import plots
    from .report import Section

    problem = aml_problem()
    result = search(problem, starts=starts, seed=seed, progress=progress)
    written = result.save(tables_folder)
    path = folder / "fit.png"
    plots.save(result.plot().flat[0].figure, path)
    _say(f"wrote {', '.join(str(p) for p in written)} and {path}")
    typical = {name: f"{fold:.2f}" for name, fold in result.typical_fold().items()}
    words = [
        f"{result.n_data} raw values of two Ba/F3 lines and {result.n_free} estimated parameters, {result.n_priors} of "
        f"them with informative priors: the table says which of them the data determine. Search: {result.message}.",
        f"Typical factor between model and measurement: {typical['at_nominal']} before, {typical['fitted']} after.",
        "The dose matrices here use the nominal parameters of their contexts, not this fit, which is of Ba/F3 lines.",
        *(f"{subject}: {note}" for subject, note in result.notes),
    ]
    if len(result.validation):
        words.append(
            f"Held out (both inhibitors together), typical factor: model {typical['predicted']}, copy of the first "
            f"single agent {typical['copy_of_first']}, best single agent {typical['best_single_agent']}."
        )
    columns = ["parameter", "value", "nominal", "prior_sd", "fit_sd", "determined_by", "source"]
    shown = ["observable", "panel", "label", "measured", "at_nominal", "fitted", "fold"]
    tables = [("Estimated parameters", result.parameters[columns]), ("Fitted values", result.fitted[shown])]
    if len(result.validation):
        held_out = ["observable", "panel", "label", "measured", "predicted", "copy_of_first", "best_single_agent"]
        tables.append(("Held out: not fitted", result.validation[held_out]))
    if result.stopped:
        _say("the fit was stopped: the best point so far was written")
        raise typer.Exit(INTERRUPTED)
    if not result.converged:
        _say(f"the fit did not converge: {result.message}; the best point was written")
    return [Section("Fit to published phospho-values", words, [("Measured and fitted, raw values.", path)], tables)]


def _replace(path: Path, write: Any) -> None:
    """Write a file under a temporary name and rename it, so that a stop leaves the old file or the new one."""
    import os

    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path} could not be written: {error.strerror or error}") from None


def _hours(time: float) -> str:
    return f"{time / 3600:g}h" if time >= 3600 else f"{time:g}s"
