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
from ..simulator.words import read_folder, read_times
from .options import (
    CONTEXTS,
    ContextOption,
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
from .terminal import FAILED_RUNS, INTERRUPTED, say, show_progress, status_line

if TYPE_CHECKING:
    from ..simulator.report import Section

app = typer.Typer()


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
    know_drugs(drug_table)
    matrix_into(read_folder(out), doses_of(drug), distinct(context or CONTEXTS, "--context"), readout, read_times(at),
                reference, rtol, threads, show_progress(progress))  # fmt: skip


def matrix_into(folder: Path, drugs: dict[str, list[float]], contexts: list[str], readout: Sequence[str] | None,
                times: list[float], reference: str, rtol: float, threads: int | None, progress: bool,
                extra: Sequence[Section] = ()) -> None:  # fmt: skip
    """Compute a matrix of the shipped model and write matrix.nc, matrix.csv, figures and report.html."""
    from .. import aml_model, dose_matrix
    from ..doses.outputs import write_matrix, write_tables

    compiled = aml_model()
    readouts = readouts_of(readout, compiled)
    n_runs = len(contexts) * (1 + math.prod(map(len, drugs.values())))
    check_size(n_runs, len(times), len(readouts), compiled.n_parameters)
    result = dose_matrix(compiled, drugs, contexts, readouts, times, reference=reference,
                         options=SolverOptions(rtol=rtol), threads=threads, progress=progress)  # fmt: skip
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
        report = write_matrix(folder, result, _provenance(drugs, contexts, readouts, times), extra)
    say(f"wrote {folder / 'matrix.nc'}, {folder / 'matrix.csv'}, figures and {report}")
    say(result.summary())
    if silent := result.without_control():
        say(f"note: no signal in the control, so no fraction of it: {'; '.join(silent)}")
    if n_failed:
        raise typer.Exit(FAILED_RUNS)


def _provenance(
    drugs: Mapping[str, Sequence[float]], contexts: Sequence[str], readouts: Sequence[str], times: Sequence[float]
) -> dict[str, str]:
    """Return what was asked for, in words."""
    import datetime
    import shlex

    from ..simulator.plots import duration

    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "command": shlex.join(["residuum", *sys.argv[1:]]),
        **{drug: f"{', '.join(f'{dose:g}' for dose in doses)} nM" for drug, doses in drugs.items()},
        "contexts": ", ".join(contexts),
        "readouts": ", ".join(readouts),
        "times after the drugs": ", ".join(map(duration, times)),
    }
