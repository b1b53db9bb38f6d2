"""`residuum demo`: the main job on real input, at one go."""

from __future__ import annotations

from typing import Annotated

import typer

from ..simulator.options import SolverOptions
from ..simulator.words import read_folder
from .fit import fit_into
from .matrix import matrix_into
from .options import CONTEXTS, READOUTS, ProgressOption, ThreadsOption
from .terminal import show_progress

app = typer.Typer()


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
    from .. import Design

    folder = read_folder(out)
    sections = fit_into(folder, folder / "fit", show_progress(progress))
    doses = {"gilteritinib": (0, 0.3, 1, 3, 10, 30, 100), "trametinib": (0, 0.3, 1, 3, 10, 30)}
    matrix_into(folder, Design("", CONTEXTS, READOUTS, (7200.0, 86400.0), doses), SolverOptions.rtol, threads,
                show_progress(progress), extra=sections)  # fmt: skip
