"""`residuum simulate`: time courses of the shipped model or of one's own, as table and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ..simulator.errors import InputError
from ..simulator.options import SolverOptions
from ..simulator.words import FIGURES, load_model, read_file, read_settings, read_times
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
from .protocols import (
    DosingOption,
    ProtocolOption,
    designed_conditions,
    own_conditions,
    read_dosings,
    read_protocol,
)
from .terminal import FAILED_RUNS, INTERRUPTED, say, show_progress

if TYPE_CHECKING:
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
    drug: DrugOption = None,
    drug_table: DrugTableOption = None,
    dosing: DosingOption = None,
    protocol: ProtocolOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=NUMBER", help="A parameter (shipped: `residuum models parameters`); repeat."
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            metavar="TIMES",
            help=f"`2h,24h` or START:END/N; units s (if none), min, h, d. Default: {TIMES}, or as in the protocol.",
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

    `residuum simulate --dosing gilteritinib=100@0h:48h --dosing trametinib=3@48h: --times 0:96h/97 --plot switch.png`

    `residuum simulate mymodel.py --times 0:100/51 --set kf=0.2 --out mymodel.csv`
    """
    from .. import aml_model
    from .. import simulate as run
    from ..simulator.plots import courses_figure, save
    from ..simulator.report import write_whole

    if source != "aml" and (context or drug or drug_table):
        raise InputError(
            "--context, --drug and --drug-table belong to the shipped model; use --set NAME=NUMBER with your own"
        )
    options = SolverOptions(rtol=rtol)
    know_drugs(drug_table)
    design = None
    if protocol is not None:
        others = {"MODEL": source != "aml", "--context": context, "--drug": drug, "--dosing": dosing, "--set": set_}
        design = read_protocol(protocol, others)
        source = design.model
    t = list(design.times) if design is not None and times is None else read_times(TIMES if times is None else times)
    settings, dosed = read_settings(set_ or []), read_dosings(dosing or [])
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
        conditions = _aml_conditions(context, drug, dosed, settings, t[-1])
    else:
        label = ", ".join(f"{name}={value:g}" for name, value in settings.items()) or "nominal"
        conditions = own_conditions(compiled, {label: settings}, dosed, t[-1])
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
    contexts: Sequence[str] | None, drugs: Sequence[str] | None, dosed: Mapping[str, tuple[float, str]],
    settings: Mapping[str, float], until: float,
) -> Any:  # fmt: skip
    """Return one condition per context, named after cell, doses and settings."""
    import dataclasses

    from .. import aml_protocol

    doses = doses_of(drugs or [])
    if any(len(values) != 1 for values in doses.values()):
        raise InputError("simulate takes one dose per drug; `residuum matrix` takes several")
    distinct([*doses, *dosed], "the drug")
    given = {name: values[0] for name, values in doses.items()}
    conditions = aml_protocol(
        distinct(contexts or CONTEXTS[:2], "--context"), {**given, **dosed}, changes=settings, until=until
    )
    added = [f"{name} {dose:g} nM" for name, dose in given.items()]
    added += [f"{name} {dose:g} nM {when}" for name, (dose, when) in dosed.items()]
    added += [f"{name}={value:g}" for name, value in settings.items()]
    names = tuple(", ".join([name, *added]) for name in conditions.names)
    return dataclasses.replace(conditions, names=names)
