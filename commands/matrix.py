"""`residuum matrix`: doses of drugs in; the signalling left under all their combinations, as files, out."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..simulator.errors import InputError
from ..simulator.options import SolverOptions
from ..simulator.words import load_model, read_folder, read_times
from .options import (
    CONTEXTS,
    READOUTS,
    ContextOption,
    DrugTableOption,
    EnsembleOption,
    MembersOption,
    ProgressOption,
    ReadoutOption,
    RtolOption,
    ThreadsOption,
    check_size,
    distinct,
    doses_of,
    ensemble_of,
    know_drugs,
    readouts_of,
)
from .protocols import read_alone
from .terminal import FAILED_RUNS, INTERRUPTED, say, show_progress, status_line

if TYPE_CHECKING:
    from .. import Design, DoseMatrix
    from ..simulator.report import Section

UNTREATED = "untreated"

app = typer.Typer()


@app.command(context_settings={"allow_extra_args": True})
def matrix(
    given: typer.Context,
    drug: Annotated[
        list[str] | None,
        typer.Option(
            "--drug",
            "-d",
            metavar="DRUG=DOSES",
            help="`=0,10,100` (nM), `=0,0.1uM,1uM` or `=1:100/5` (0 and 5 log-spaced), with `@WHEN` where it is "
            "not there all the time: `=0,10@0h:48h`; drugs as `residuum models` "
            "lists them; repeat for more, at most four.",
        ),
    ] = None,
    design: Annotated[
        str | None,
        typer.Option(
            "--design", metavar="FILE", help="A design file (TOML) with drugs, contexts, read-outs, times, ensemble."
        ),
    ] = None,
    context: ContextOption = None,
    drug_table: DrugTableOption = None,
    readout: ReadoutOption = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIMES", help="Times after the drugs are added; units s (if none), min, h, d. Default: 2h."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="`untreated` (default), or a context whose untreated cell is the control."),
    ] = None,
    ensemble: EnsembleOption = None,
    members: MembersOption = None,
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

    `residuum matrix --drug gilteritinib=1:300/6@0h:48h --drug trametinib=0.3:100/6@48h: --at 72h --ensemble shipped`
    """
    if given.args and given.args != ["aml"]:
        raise InputError(
            f"the command matrix is for the shipped model, given {given.args[0]!r}; for a model of your own call "
            "residuum.dose_matrix in Python (README: Your own model), or write a design file"
        )
    folder = read_folder(out)
    know_drugs(drug_table)
    if design is None:
        asked = _asked(drug or [], context, readout, at, reference, ensemble, members)
    else:
        others = {"--drug": drug, "--context": context, "--readout": readout, "--at": at, "--reference": reference,
                  "--ensemble": ensemble, "--members": members}  # fmt: skip
        asked = read_alone(design, "--design", others)
    matrix_into(folder, asked, rtol, threads, show_progress(progress))


def _asked(drugs: Sequence[str], contexts: Sequence[str] | None, readouts: Sequence[str] | None, at: str | None,
           reference: str | None, ensemble: str | None, members: int | None) -> Design:  # fmt: skip
    """Return the design that options ask for."""
    from .. import Design
    from ..doses import read_dosing

    if not drugs:
        raise InputError("no drug was given; name one with --drug DRUG=DOSES, or a file with --design")
    doses = doses_of([text.partition("@")[0] for text in drugs])
    whens = [text.partition("@")[2] for text in drugs]
    dosing = {drug: read_dosing(when) for drug, when in zip(doses, whens, strict=True) if when}
    return Design(
        "", distinct(contexts or CONTEXTS, "--context"), tuple(distinct(readouts or READOUTS, "--readout")),
        tuple(read_times(at or "2h")), {drug: tuple(values) for drug, values in doses.items()}, dosing,
        reference=reference or UNTREATED, ensemble=ensemble, members=members,
    )  # fmt: skip


def matrix_into(folder: Path, design: Design, rtol: float, threads: int | None, progress: bool,
                extra: Sequence[Section] = ()) -> None:  # fmt: skip
    """Compute the matrix of a design and write matrix.nc, matrix.csv, figures and report.html."""
    from .. import aml_model, dose_matrix
    from ..doses.outputs import write_matrix, write_tables

    shipped = not isinstance(design.contexts, Mapping)
    compiled = aml_model() if shipped else load_model(design.model)
    if shipped:
        readouts_of(design.readouts, compiled)
    ensemble = ensemble_of(design.ensemble, design.members)
    n_members = 1 if ensemble is None else len(ensemble)
    n_runs = n_members * len(design.contexts) * (1 + math.prod(map(len, design.drugs.values())))
    check_size(n_runs, len(design.times), len(design.readouts), compiled.n_parameters)
    result = dose_matrix(compiled, **design.arguments(), ensemble=ensemble, options=SolverOptions(rtol=rtol),
                         threads=threads, progress=progress)  # fmt: skip
    n_failed, n_pending = (int(result.dataset.attrs[name]) for name in ("n_failed", "n_pending"))
    if n_pending:
        done = f"{n_runs - n_pending} of {n_runs} runs done"
        if n_pending < n_runs:
            written = " and ".join(map(str, write_tables(folder, "matrix.partial", result)))
            say(f"{done}; partial results in {written}")
        else:
            say(f"{done}; nothing was written")
        raise typer.Exit(INTERRUPTED)
    with status_line("drawing"):
        report = write_matrix(folder, result, _provenance(design), extra)
    say(f"wrote {folder / 'matrix.nc'}, {folder / 'matrix.csv'}, figures and {report}")
    say(result.summary())
    if silent := result.without_control():
        say(f"note: no signal in the control, so no fraction of it: {'; '.join(silent)}")
    if n_failed:
        raise typer.Exit(FAILED_RUNS)


def _provenance(design: Design) -> dict[str, str]:
    """Return what was asked for, in words."""
    import datetime
    import shlex

    from ..simulator.plots import duration

    asked = {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "command": shlex.join(["residuum", *sys.argv[1:]]),
        **{drug: f"{', '.join(f'{dose:g}' for dose in doses)} nM" for drug, doses in design.drugs.items()},
        "contexts": ", ".join(design.contexts),
        "readouts": ", ".join(design.readouts),
        "times after the drugs": ", ".join(map(duration, design.times)),
    }
    if design.ensemble is not None:
        asked["ensemble"] = design.ensemble + (f", first {design.members}" if design.members else "")
    return asked


@app.command()
def report(
    file: Annotated[str, typer.Argument(metavar="MATRIX", help="matrix.nc, or the folder that it is in.")],
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Folder for report, figures and tables; the file's if not given."),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write each figure as PDF, too.")] = False,
) -> None:
    """Draw figures and write one self-contained HTML report from a saved dose matrix.

    For example

    `residuum report matrix/matrix.nc --out report --pdf`
    """
    from ..doses.outputs import write_matrix

    path, result = saved_matrix(file)
    folder = path.parent if out is None else read_folder(out)
    with status_line("drawing"):
        page = write_matrix(folder, result, {"matrix": str(path)}, also=(".pdf",) if pdf else ())
    say(f"wrote {page}")


def saved_matrix(file: str) -> tuple[Path, DoseMatrix]:
    """Return path and content of a matrix that `residuum matrix` wrote, given by file or folder."""
    from .. import load_matrix

    path = Path(file) / "matrix.nc" if Path(file).is_dir() else Path(file)
    return path, load_matrix(path)
