"""`residuum simulate`: time courses of the shipped model or of one's own, as table and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from ..simulator.errors import InputError
from ..simulator.options import SolverOptions
from ..simulator.words import FIGURES, load_model, read_file, read_settings, read_times
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
    know_drugs,
    readouts_of,
)
from .protocols import (
    ALWAYS,
    DesignOption,
    TimedDrugOption,
    designed_conditions,
    own_conditions,
    read_drugs,
    read_protocol,
)
from .terminal import FAILED_RUNS, INTERRUPTED, say, show_progress

if TYPE_CHECKING:
    from .. import Conditions
    from ..simulator.compiled import CompiledModel

TIMES = "0:24h/97"
MOST_PANELS = 12
"""Of a figure of time courses whose observables nobody chose."""

app = typer.Typer()


@app.command()
def simulate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="`aml` (shipped), FILE.net, FILE.bngl, or a PySB model as FILE.py or module."
        ),
    ] = "aml",
    context: ContextOption = None,
    drug: TimedDrugOption = None,
    drug_table: DrugTableOption = None,
    design_file: DesignOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=NUMBER", help="A parameter (shipped: `residuum models parameters`); repeat."
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            "--at",
            "--times",
            metavar="TIMES",
            help=f"`2h,24h` or START:END/N; units s (if none), min, h, d. Default: {TIMES}, or as in the design.",
        ),
    ] = None,
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

    `residuum simulate --drug gilteritinib=100@0h:48h --drug trametinib=3@48h: --at 0:96h/97 --plot switch.png`

    `residuum simulate mymodel.py --at 0:100/51 --set kf=0.2 --out mymodel.csv`
    """
    from .. import aml_model
    from .. import simulate as run
    from ..simulator.plots import courses_figure, save
    from ..simulator.report import write_whole

    if source != "aml" and (context or drug_table):
        raise InputError("--context and --drug-table belong to the shipped model; use --set NAME=NUMBER with your own")
    options = SolverOptions(rtol=rtol)
    know_drugs(drug_table)
    design = None
    if design_file is not None:
        others = {"MODEL": source != "aml", "--context": context, "--drug": drug, "--set": set_}
        design = read_protocol(design_file, others)
        source = design.model
    t = list(design.times) if design is not None and times is None else read_times(TIMES if times is None else times)
    settings, drugs = read_settings(set_ or []), read_drugs(drug or [])
    table = None if out is None else read_file(out, "--out")
    figure = None if plot is None else read_file(plot, "--plot", FIGURES)
    compiled = aml_model() if source == "aml" else load_model(source)
    _check_settings(settings, compiled, shipped=source == "aml")
    readout = readout or (None if design is None else list(design.readouts))
    if source == "aml":
        names = readouts_of(readout, compiled)
    else:
        names = distinct(readout or list(compiled.observables), "--readout")
    if design is not None:
        conditions = designed_conditions(design, compiled, t[-1])
    elif source == "aml":
        conditions = _aml_conditions(context, drugs, settings, t[-1])
    else:
        doses = (f"{name}={dose:g}{'' if when == ALWAYS else f'@{when}'}" for name, (dose, when) in drugs.items())
        label = ", ".join([*(f"{name}={value:g}" for name, value in settings.items()), *doses]) or "nominal"
        conditions = own_conditions(compiled, {label: settings}, drugs, t[-1])
    check_size(len(conditions), len(t), len(names), compiled.n_parameters)
    result = run(
        compiled, t, conditions, observables=names, options=options, threads=threads, progress=show_progress(progress)
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
        say(f"wrote {write_whole(table, lambda path: frame.to_csv(path, index=False))}")
    if figure is not None:
        amounts = {*compiled.network.observables, *compiled.species}
        units = {name: None if name in amounts else "" for name in names}
        shown = tuple(readout or names[:MOST_PANELS])
        say(f"wrote {save(courses_figure(result, units, shown), figure)}")
        if len(shown) < len(names):
            say(f"note: the figure shows {len(shown)} of {len(names)} observables; choose others with --readout")
    if result.interrupted:
        say(f"stopped: {np.count_nonzero(result.ok)} of {len(conditions)} runs done")
        raise typer.Exit(INTERRUPTED)
    say(result.summary())
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


def _aml_conditions(
    contexts: Sequence[str] | None, drugs: Mapping[str, tuple[float, str]], settings: Mapping[str, float], until: float,
) -> Conditions:  # fmt: skip
    """Return one condition per context, named after cell, doses and settings."""
    import dataclasses

    from .. import aml_protocol

    conditions = aml_protocol(distinct(contexts or CONTEXTS[:2], "--context"), drugs, changes=settings, until=until)
    added = [f"{name} {dose:g} nM{'' if when == ALWAYS else f' {when}'}" for name, (dose, when) in drugs.items()]
    added += [f"{name}={value:g}" for name, value in settings.items()]
    return dataclasses.replace(conditions, names=tuple(", ".join([name, *added]) for name in conditions.names))
