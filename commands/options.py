"""Words of the options that several commands share in; names, doses and drugs of the shipped model out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..simulator import memory
from ..simulator.errors import InputError, unknown_name
from ..simulator.words import read_doses

if TYPE_CHECKING:
    from .. import Ensemble
    from ..simulator.compiled import CompiledModel

CONTEXTS = ("blast-itd", "blast-itd+erk-stroma", "blast-wt", "blast-wt+erk-stroma")
READOUTS = ("pERK", "pSTAT5", "pFLT3")
MOST_RUNS = 2_000_000
BYTES_PER_NUMBER = 100
"""Of memory, for one number of a result and its row in the table; 85 were measured at the peak."""

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
EnsembleOption = Annotated[
    str | None,
    typer.Option(
        "--ensemble",
        metavar="FILE",
        help="Members to run: `shipped`, or what `residuum sample` wrote; the nominal parameters if not given.",
    ),
]
MembersOption = Annotated[
    int | None, typer.Option("--members", metavar="N", help="Take the first N members only.", min=1)
]
RtolOption = Annotated[float, typer.Option(metavar="NUMBER", help="Relative tolerance of the integration.")]
ThreadsOption = Annotated[int | None, typer.Option(metavar="N", help="Threads; all cores if not given.")]
ProgressOption = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="Progress bar (default: on a terminal).")
]


def distinct(names: Sequence[str], option: str) -> list[str]:
    """Return the names; raises InputError if one was given twice."""
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise InputError(f"{option} {twice[0]} was given twice; give it once")
    return list(names)


def doses_of(texts: Sequence[str]) -> dict[str, list[float]]:
    """Return the doses in nM of each drug, from words such as `gilteritinib=0,30`."""
    doses = [read_doses(text) for text in texts]
    distinct([drug for drug, _ in doses], "--drug")
    return dict(doses)


def readouts_of(names: Sequence[str] | None, compiled: CompiledModel) -> list[str]:
    """Return the readouts of the shipped model; an unknown one is compared with the listed ones."""
    from .. import aml_tables

    chosen, listed = distinct(names or READOUTS, "--readout"), list(aml_tables()["readouts"]["readout"])
    for name in chosen:
        if name not in (*listed, *compiled.observables, *compiled.network.functions, *compiled.species):
            raise unknown_name("readout", name, listed)
    return chosen


def ensemble_of(source: str | None, n: int | None) -> Ensemble | None:
    """Return the first `n` members of an ensemble, all if None; nothing if there is no source."""
    from .. import aml_ensemble, load_ensemble

    if source is None:
        if n is not None:
            raise InputError("--members belongs to --ensemble shipped, or --ensemble FILE")
        return None
    ensemble = aml_ensemble() if source == "shipped" else load_ensemble(source)
    return ensemble if n is None else ensemble.first(n)


def know_drugs(paths: Sequence[str] | None) -> None:
    """Make the drugs of the user's own tables known to the shipped model."""
    from .. import add_drugs

    for path in distinct(paths or (), "--drug-table"):
        add_drugs(path)


def check_size(n_runs: int, n_times: int, n_readouts: int, n_parameters: int) -> None:
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
