"""`residuum rank`: the founding question in one command; tables, figures and one page out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..simulator.errors import InputError
from ..simulator.options import SolverOptions
from ..simulator.words import read_folder, read_times
from .options import (
    ContextOption,
    DrugTableOption,
    ProgressOption,
    ResumeOption,
    ThreadsOption,
    distinct,
    doses_of,
    how_to_resume,
    know_drugs,
)
from .terminal import FAILED_RUNS, INTERRUPTED, say, show_progress, status_line

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from .. import Ensemble
    from ..simulator.report import Section

app = typer.Typer()

SHIPPED, NOMINAL = "shipped", "nominal"
MEMBERS = 50
SCORES = ("survival_score",)
READOUTS = ("pERK", "pSTAT5", *SCORES)
RTOL = 1e-4
"""Of the integration: against 1e-6 what is left changed by less than 1e-6."""


class Kind(StrEnum):
    """What may be drawn from its prior, beside the members of an ensemble."""

    stroma = "stroma"
    cell = "cell"
    drugs = "drugs"
    rates = "rates"
    none = "none"


@app.command()
def rank(
    context: ContextOption = None,
    tki: Annotated[
        list[str] | None, typer.Option("--tki", metavar="DRUG", help="FLT3 inhibitor; all if not given; repeat.")
    ] = None,
    partner: Annotated[
        list[str] | None,
        typer.Option(
            "--partner",
            metavar="DRUG|CLASS",
            help="To combine with each; MEK, JAK and FGFR inhibitors if not given; repeat for more.",
        ),
    ] = None,
    dose: Annotated[
        list[str] | None,
        typer.Option("--dose", metavar="DRUG=DOSE", help="In place of the one found, `gilteritinib=30` (nM); repeat."),
    ] = None,
    drug_table: DrugTableOption = None,
    ensemble: Annotated[
        str, typer.Option(metavar="FILE", help=f"What `residuum sample` wrote, `{SHIPPED}` or `{NOMINAL}`.")
    ] = SHIPPED,
    members: Annotated[
        int | None, typer.Option(metavar="N", help=f"Parameter sets; {MEMBERS} if not given.", min=1)
    ] = None,
    prior: Annotated[
        list[Kind] | None,
        typer.Option(
            "--prior",
            help="Drawn from its prior besides, for each member: stroma, cell and drugs if not given; repeat.",
        ),
    ] = None,
    at: Annotated[str, typer.Option(metavar="TIME", help="After the drugs; units s (if none), min, h, d.")] = "24h",
    spread: Annotated[
        bool, typer.Option("--spread/--no-spread", help="Tell what part each source has in the spread.")
    ] = True,
    seed: Annotated[int, typer.Option(metavar="N", help="Of what is drawn from priors.", min=0)] = 1,
    out: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Folder for rank.csv, pairs.csv, doses.csv, spread.csv, rank.nc, figures and rank.html.",
        ),
    ] = "rank",
    resume: ResumeOption = False,
    threads: ThreadsOption = None,
    progress: ProgressOption = None,
) -> None:
    """Rank FLT3 inhibitors, alone and with MEK, JAK or FGFR inhibitors, by the signalling they leave on stroma.

    Doses are free concentrations in patients where these are known; the other drugs are compared at the dose that
    leaves a tenth of what their target does, and are listed apart. Contexts, if none is given: ITD, wild-type and
    NRAS-mutant ITD blasts, alone, on stroma that drives ERK and on stroma that drives STAT5. It is a model: no
    advice. What is finished is kept in the folder `blocks` until the results are written: `--resume` goes on with it.
    For example

    `residuum rank --out rank`

    `residuum rank --context blast-itd+erk-stroma --partner trametinib --members 20 --no-spread --out quick`
    """
    from .. import gained, ranked
    from ..doses.blocks import remove_blocks
    from ..simulator.report import write_whole

    folder, times = read_folder(out), read_times(at)
    if len(times) != 1:
        raise InputError(f"--at takes one time, given {at!r}")
    know_drugs(drug_table)
    given = doses_of(dose or [])
    if many := [name for name, values in given.items() if len(values) != 1]:
        raise InputError(f"--dose takes one dose per drug; {many[0]} has {len(given[many[0]])}")
    kinds = [kind.value for kind in prior or (Kind.stroma, Kind.cell, Kind.drugs)]
    if Kind.none in kinds and len(kinds) > 1:
        raise InputError("--prior none stands alone")
    kinds = [] if Kind.none in kinds else distinct(kinds, "--prior")
    drawn = _ensemble(ensemble)
    if members is not None and drawn is None and not kinds:
        raise InputError("--members is for an --ensemble, or what is drawn by --prior; nominal parameters are one set")
    asked: dict[str, Any] = {
        "members": members or MEMBERS if drawn is not None or kinds else None, "tkis": tki and distinct(tki, "--tki"),
        "readouts": READOUTS, "time": times[0], "seed": seed, "options": SolverOptions(rtol=RTOL), "threads": threads,
        "progress": show_progress(progress), "resume": resume,
        "doses": {name: values[0] for name, values in given.items()},
    }  # fmt: skip
    if partner:
        asked["partners"] = distinct(partner, "--partner")
    if context:
        asked["contexts"] = distinct(context, "--context")

    blocks = folder / "blocks"
    asked |= {"ensemble": drawn, "priors": kinds}
    found = _rank(blocks, "", asked)
    shares = _shares(found, blocks, asked) if spread and found.sizes["member"] > 1 else None
    table = ranked(found, absolute=SCORES, groups="basis")
    pairs, doses = gained(found), _doses(found)
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        write_whole(folder / "rank.nc", lambda part: found.to_netcdf(part, engine="h5netcdf")),
        write_whole(folder / "rank.csv", lambda part: table.to_csv(part, index=False)),
        write_whole(folder / "pairs.csv", lambda part: pairs.to_csv(part, index=False)),
        write_whole(folder / "doses.csv", lambda part: doses.to_csv(part, index=False)),
    ]
    if shares is not None:
        written.append(write_whole(folder / "spread.csv", lambda part: shares.to_csv(part, index=False)))
    with status_line("drawing"):
        written.append(_page(folder, found, table, pairs, doses, shares))
    remove_blocks(blocks)
    say(f"wrote {', '.join(map(str, written))}")
    say(str(found.attrs["failures"]))
    if found.attrs["left_out"]:
        say(f"note: left out: {found.attrs['left_out']}")
    if found.attrs["n_failed"]:
        raise typer.Exit(FAILED_RUNS)


def _ensemble(name: str) -> Ensemble | None:
    from .. import aml_ensemble, load_ensemble

    return None if name == NOMINAL else aml_ensemble() if name == SHIPPED else load_ensemble(name)


def _rank(blocks: Path, redrawn: str, asked: Mapping[str, Any]) -> xr.Dataset:
    """Return all runs of what is asked, one source drawn anew; blocks of them are kept as long as some are missing."""
    from .. import aml_rank

    found = aml_rank(**asked, redrawn=redrawn, checkpoint=blocks / (redrawn or "ranked"))
    if found.attrs["interrupted"]:
        say(f"{found.attrs['failures']}; nothing was written{how_to_resume(blocks)}")
        raise typer.Exit(INTERRUPTED)
    return found


def _shares(found: xr.Dataset, blocks: Path, asked: Mapping[str, Any]) -> pd.DataFrame:
    """Return what part each source has in the spread, for inhibitors alone and with the first partner."""
    from .. import shares_of_spread

    first = next((str(name) for name in found["partner"].values if name), "")
    few = found.sel(treatment=found["partner"].isin(["", first]) & (found["tki"] != ""))
    of_drugs = zip((*few["tki"].values, *few["partner"].values), (*few["tki_nM"].values, *few["partner_nM"].values),
                   strict=True)  # fmt: skip
    same = {
        **asked,
        "partners": [first] if first else [], "members": found.sizes["member"],
        "doses": {str(name): float(value) for name, value in of_drugs if name},
        "tkis": list(dict.fromkeys(map(str, few["tki"].values))),
    }  # fmt: skip
    again = {
        kind: _rank(blocks, kind, same).sel(treatment=few["treatment"])
        for kind in (*(["fit"] if asked["ensemble"] is not None else []), *asked["priors"])
    }
    return shares_of_spread(few, again, absolute=SCORES)


def _doses(found: xr.Dataset) -> pd.DataFrame:
    """Return drug, class, dose and where the dose is from."""
    import pandas as pd

    from .. import aml_tables

    exposure = aml_tables()["exposure"].set_index(["drug", "quantity"])["value"]
    rows = []
    for of_drug, of_dose in (("tki", "tki_nM"), ("partner", "partner_nM")):
        other = "partner" if of_drug == "tki" else "tki"
        alone = found.sel(treatment=(found[of_drug] != "") & (found[other] == ""))
        rows += [
            {"drug": drug, "class": exposure.get((drug, "class"), "unknown"), "dose_nM": float(dose), "basis": basis}
            for drug, dose, basis in zip(*(alone[name].values for name in (of_drug, of_dose, "basis")), strict=True)
        ]  # fmt: skip
    return pd.DataFrame(rows)


HOW = (
    "Each cell is brought to rest without drugs; the drugs are then there at constant free concentrations. What is "
    "left is a fraction of the untreated cell of the same member in the same context; the survival score, whose "
    "formula is assumed, is a number from 0 to 1.",
    "Doses are free concentrations in patients where both plasma level and free fraction are known. The others are the "
    "doses that leave a tenth, in the model with its nominal parameters, of pFLT3 (FLT3 inhibitors, blast-itd), pERK "
    "(MEK inhibitors, blast-itd), pCSF2R (JAK inhibitors, on stat5-stroma) or pFGFR1 (FGFR inhibitors, on erk-stroma): "
    "equal effect on the target, not exposure, so that these treatments are ranked apart.",
    "All strengths of stroma are assumed. That a MEK inhibitor lowers pERK below what a FLT3 inhibitor "
    "leaves follows from the wiring. This is a model of signalling, and no advice for anybody's treatment.",
)


ADDED = (
    "What a partner adds: what the pair leaves over what the FLT3 inhibitor leaves alone; much is the share of the "
    "members in which it is below a half"
)
RANKED = (
    "rank is that of the median among treatments of the same basis, first the share of the members in which it "
    "leaves least of them, little the share in which it leaves less than a quarter."
)


def _intervals(found: xr.Dataset) -> str:
    """Return what intervals are over, in words."""
    if found.sizes["member"] == 1:
        return "There is one parameter set, and so no interval."
    sources = ["parameter sets drawn by refitting"] if "ensemble" in found.attrs["members"] else []
    sources += [f"draws from the priors of {found.attrs['priors']}"] if found.attrs["priors"] else []
    return f"Intervals are over {found.sizes['member']} members: {', and, for what no data fix, '.join(sources)}."


def _page(folder: Path, found: xr.Dataset, table: pd.DataFrame, pairs: pd.DataFrame, doses: pd.DataFrame,
          shares: pd.DataFrame | None) -> Path:  # fmt: skip
    """Draw the figures and write rank.html."""
    from ..doses import ranking_figures as figures
    from ..simulator import plots
    from ..simulator.report import Section, write_report

    chosen = [str(name) for name in doses[doses["class"] != "TKI"].drop_duplicates("class")["drug"]]
    intervals, maps = [], []
    for readout in map(str, found["readout"].values):
        absolute = readout in SCORES
        drawn = figures.interval_figure(found, readout, chosen, absolute=absolute)
        intervals.append((f"{readout}: each FLT3 inhibitor alone and with {', '.join(chosen)}.",
                          plots.save(drawn, folder / f"intervals_{readout}.png")))  # fmt: skip
        drawn = figures.pair_map(found, readout, absolute=absolute)
        maps.append((f"{readout}: all pairs.", plots.save(drawn, folder / f"pairs_{readout}.png")))
    numbers = {name: table[name].round(3) for name in ("median", "low", "high", "control", "first", "little")}
    shown = table.assign(**numbers, tki_nM=table["tki_nM"].round(2), partner_nM=table["partner_nM"].round(2))
    sections = [
        Section("How to read it", (*HOW, _intervals(found))),
        Section("What FLT3 inhibitors leave, and what partners add", (), intervals, [(ADDED, pairs.round(3))]),
        Section("All pairs", (), maps),
    ]
    for readout in map(str, found["readout"].values):
        of_context = {
            context: shown[(shown["readout"] == readout) & (shown["context"] == context)]
            for context in map(str, found["context"].values)
        }
        tables = [(context, rows.drop(columns=["readout", "context"])) for context, rows in of_context.items()]
        sections.append(Section(f"Ranked by {readout}", [RANKED], (), tables))
    if shares is not None:
        sections.append(_spread_section(folder, shares))
    attributes = [{"what": name, "value": str(value)} for name, value in sorted(found.attrs.items()) if str(value)]
    sections += [
        Section("Doses", (), (), [("Free concentrations", doses.round(3))]),
        Section("Provenance", (), (), [("This run", _frame(attributes))]),
    ]
    return write_report(folder / "rank.html", "FLT3 inhibitors and partners, ranked by the signalling they leave",
                        sections, contents=True)  # fmt: skip


def _spread_section(folder: Path, shares: pd.DataFrame) -> Section:
    from ..doses.ranking_figures import shares_figure
    from ..simulator import plots
    from ..simulator.report import Section

    treatments = [str(name) for name in dict.fromkeys(shares["treatment"])]
    shown = [treatments[0], next((name for name in treatments if name.startswith(f"{treatments[0]} +")), "")]
    pictures = [
        (f"{readout}: part of each source in the variance over members.",
         plots.save(shares_figure(shares, readout, [name for name in shown if name]), folder / f"spread_{readout}.png"))
        for readout in dict.fromkeys(map(str, shares["readout"]))
    ]  # fmt: skip
    words = (
        "Of the variance over members of the logarithm of what is left (of the score itself): what would remain if all "
        "other sources were known (total effect). fit is what the data leave open, the others are priors; where "
        "sources act on each other, shares add up to more than 1.",
    )
    return Section("How much of the spread is prior", words, pictures,
                   [("Shares, and standard deviation of all together", shares.round(3))])  # fmt: skip


def _frame(rows: list[dict[str, str]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows)
