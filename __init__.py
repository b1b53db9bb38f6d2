"""residuum: residual signalling under drug combinations, from rule-based models to dose matrices.

The public surface of the package. Drug and context names of the shipped model are resolved here, so that the
simulator knows parameters only. Names are loaded when they are first used: `import residuum` costs milliseconds.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from os import PathLike
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import xarray as xr

    from .doses import (
        Design,
        DoseMatrix,
        DoseSearch,
        Dosing,
        gained,
        load_matrix,
        musyc_fit,
        ranked,
        shares_of_spread,
        synergy_scores,
        variation,
    )
    from .fitting import (
        Ensemble,
        Fit,
        Group,
        Problem,
        Profiles,
        bands,
        fit,
        laplace_posterior,
        leave_out,
        left_out_summary,
        load_ensemble,
        plot_bands,
        plot_data_bands,
        profile_likelihood,
        read_midas,
        read_problem,
        read_table,
        refitted_posterior,
        sample_posterior,
        saved_point,
    )
    from .models.behaviours import Experiment, Outcome
    from .simulator import (
        CompiledModel,
        Conditions,
        InputError,
        MissingBioNetGenError,
        ModelNotice,
        ReactionNetwork,
        Result,
        Segment,
        SolverOptions,
        Status,
        UnknownNameError,
        check_gradient,
        compile_model,
        from_bngl,
        parse_net,
        read_bngl,
        read_net,
        simulate,
        steady_state,
        steady_state_gradient,
        warmup,
    )
    from .simulator.diagrams import Module
    from .sweeps import (
        Computed,
        Grid,
        PointTable,
        Prior,
        Sobol,
        Sweep,
        SweepDesign,
        estimate_sweep,
        open_sweep,
        read_priors,
        sweep,
        verify_sweep,
    )

_SIMULATOR = (
    "CompiledModel", "Conditions", "InputError", "MissingBioNetGenError", "ModelNotice", "ReactionNetwork", "Result",
    "Segment", "SolverOptions", "Status", "UnknownNameError", "check_gradient", "compile_model",
    "from_bngl", "parse_net", "read_bngl", "read_net", "simulate", "steady_state",
    "steady_state_gradient", "warmup",
)  # fmt: skip

_DOSES = (
    "Design", "DoseMatrix", "DoseSearch", "Dosing", "gained", "load_matrix", "musyc_fit", "ranked",
    "shares_of_spread", "synergy_scores", "variation",
)  # fmt: skip

_SWEEPS = (
    "Computed", "Grid", "PointTable", "Prior", "Sobol", "Sweep", "SweepDesign", "estimate_sweep", "open_sweep",
    "read_priors", "sweep", "verify_sweep",
)  # fmt: skip

_FITTING = (
    "Ensemble", "Fit", "Group", "Problem", "Profiles", "bands", "fit", "laplace_posterior", "leave_out",
    "left_out_summary", "load_ensemble", "plot_bands", "plot_data_bands", "profile_likelihood", "read_midas",
    "read_problem", "read_table", "refitted_posterior", "sample_posterior", "saved_point",
)  # fmt: skip

_RANKED = tuple(
    f"{cell}{stroma}" for cell in ("blast-itd", "blast-wt", "blast-itd-nras")
    for stroma in ("", "+erk-stroma", "+stat5-stroma")
)  # fmt: skip
"""Contexts of the founding question."""
_EFFECTS = {
    "TKI": ("pFLT3", "blast-itd"),
    "MEK inhibitor": ("pERK", "blast-itd"),
    "JAK inhibitor": ("pCSF2R", "blast-itd+stat5-stroma"),
    "FGFR inhibitor": ("pFGFR1", "blast-itd+erk-stroma"),
}
"""Class of drugs -> what its target does, and the context in which that is read."""
_BASES = ("given", "equal effect", "clinical free exposure")
"""Of a dose; that of a treatment is the first that one of its drugs has."""

__all__ = [
    "__version__", "add_drugs", "aml_behaviours", "aml_conditions", "aml_doses", "aml_ensemble", "aml_fitted",
    "aml_left_out", "aml_model", "aml_modules", "aml_population", "aml_population_residual", "aml_predictions",
    "aml_problem", "aml_protocol", "aml_raf_mek_draws", "aml_rank", "aml_structural", "aml_tables", "dose_matrix",
    "find_dose", "read_design", "remove_drug", *_SIMULATOR, *_DOSES, *_SWEEPS, *_FITTING,
]  # fmt: skip


@lru_cache(maxsize=1)
def aml_model() -> CompiledModel:
    """Return the shipped model of FLT3 and stroma-driven signalling, compiled from its stored network.

    Amounts are in nM of cell volume, times in seconds. Neither BioNetGen nor Perl is needed.
    """
    from .models import network_path
    from .simulator import compile_model

    return compile_model(network_path(), units={"amount": "nM", "time": "s"})


def aml_conditions(
    contexts: Sequence[str],
    drugs: Mapping[str, float] | None = None,
    *,
    equilibrate: bool = True,
    changes: Mapping[str, float] | None = None,
) -> Conditions:
    """Return one condition of the shipped model per context, under the same drugs.

    Parameters
    ----------
    contexts
        Cells, alone or on stroma, as listed by `residuum models`: `"blast-itd"`, `"blast-itd+erk-stroma"`.
    drugs
        Drug name -> free concentration in nM; at most four.
    equilibrate
        Bring the cell to steady state without drugs first; the drugs are present from time 0 on. Otherwise
        it starts from its initial amounts, with the drugs.
    changes
        Parameter name -> value in its own unit, in place of that of the context or the drug; holds before the
        drugs, too.

    Raises
    ------
    UnknownNameError
        For an unknown context, drug or parameter, with the nearest name.
    InputError
        For a negative dose or value, or too many drugs.
    """
    from .simulator import Conditions, InputError, Segment

    try:
        doses = {drug: float(dose) for drug, dose in (drugs or {}).items()}
    except (TypeError, ValueError, AttributeError):
        raise InputError(
            f"drugs maps a name to a number of nM, e.g. {{'gilteritinib': 30.0}}; given {drugs!r}"
        ) from None
    if bad := [drug for drug, dose in doses.items() if not (math.isfinite(dose) and dose >= 0)]:
        raise InputError(f"the dose of {bad[0]} is {doses[bad[0]]}, expected a number of nM that is not negative")
    parameters = _dose_parameters(tuple(doses))
    given = {parameters[drug]: dose for drug, dose in doses.items()}
    changed = _aml_changes(changes or {})
    rows = {context: values | changed | given for context, values in _aml_contexts(contexts, tuple(doses)).items()}
    before = (Segment(-math.inf, 0.0, dict.fromkeys(given, 0.0)),) if equilibrate else ()
    return Conditions.from_rows(aml_model(), rows, before)


def aml_protocol(
    contexts: Sequence[str],
    drugs: Mapping[str, float | tuple[float, Dosing | str]],
    *,
    before: str | None = None,
    moves: Mapping[float, str] | None = None,
    medium: str = "free",
    changes: Mapping[str, float] | None = None,
    until: float = math.inf,
) -> Conditions:
    """Return one condition of the shipped model per context: at rest without drugs, then treated as a protocol says.

    Parameters
    ----------
    contexts
        As in `aml_conditions`. From time 0 on each cell is in its context, under the drugs.
    drugs
        Drug name -> dose in nM, or (dose, when it is there): `(100.0, Dosing.pulse(0, 48 * 3600))`, or the same in
        words, `(100.0, "0h:48h")`. At most four drugs in all. Repeated doses: the dose is the peak after the first.
        The half-life `"patient"` stands for that of the drug in plasma (`aml_tables()["exposure"]`).
    before
        Stroma on which the cells came to rest before time 0, `"off"` for none; if not given, that of the context.
    moves
        Time (s, after 0) -> stroma on which all cells are from then on, `"off"` for none. The cell stays the same; the
        enzyme of the new stroma has no drug bound yet.
    medium
        `"free"`: doses are free concentrations. `"plasma"`: total concentrations in plasma, of which the free fraction
        of the drug acts.
    changes
        As in `aml_conditions`; they hold throughout.
    until
        Last time that is asked for; without it, a protocol of many doses is worked out to its end.

    Raises
    ------
    UnknownNameError
        For an unknown context, drug, stroma or parameter, with the nearest name.
    InputError
        For doses and times that cannot be, more than four drugs, and a free fraction or half-life that is not known.

    Examples
    --------
    >>> import residuum
    >>> cells = residuum.aml_protocol(["blast-itd"], {"gilteritinib": (100.0, "0h:48h"), "trametinib": (3.0, "48h:")})
    >>> [segment.start / 3600 for segment in cells.protocol]
    [-inf, 0.0, 48.0]
    """
    import numpy as np

    from . import models
    from .doses import dosing_segments, overlaid
    from .simulator import Conditions

    contexts = [contexts] if isinstance(contexts, str) else list(dict.fromkeys(contexts))
    given = _aml_timed(drugs)
    aml_conditions(contexts, {drug: dose for drug, (dose, _) in given.items()}, changes=changes)  # says what cannot be
    doses = _aml_free({drug: dose for drug, (dose, _) in given.items()}, medium)
    parameters = _dose_parameters(tuple(doses))
    dosings = {drug: (parameters[drug], _aml_dosing(drug, dosing)) for drug, (_, dosing) in given.items()}

    with _model_names():
        start = [context if before is None else models.contexts.moved(context, before) for context in contexts]
        places = {0.0: contexts} | {
            time: [models.contexts.moved(context, stroma) for context in contexts]
            for time, stroma in sorted(_aml_moves(moves or {}).items())
        }
    rows = {
        context: {**_aml_contexts([first], tuple(doses))[first], **_aml_changes(changes or {})}
        for context, first in zip(contexts, start, strict=True)
    }
    return Conditions.from_rows(
        aml_model(),
        rows,
        overlaid(
            dosing_segments(dosings, np.tile(list(doses.values()), (len(rows), 1)), until),
            _aml_moving(list(rows.values()), places, changes or {}),
        ),
    )


def read_design(path: str | PathLike[str]) -> Design:
    """Return the checked design of a TOML file: see `doses.design` for its keys.

    With the shipped model, names are checked, half-lives of patients looked up, and doses in plasma become free ones.

    Raises
    ------
    InputError
        If the file cannot be read or a key cannot be used: names file and key, what was given and what is expected,
        with the nearest name.
    """
    from . import models
    from .doses import read_design as read
    from .simulator import InputError

    known = {
        "context": models.contexts.names(),
        "stroma": (models.contexts.OFF, *models.contexts.stromas()),
        "drug": models.drugs.names(),
        "readout": tuple(dict.fromkeys((*models.observables.READOUTS, *aml_model().observables))),
        "parameter": aml_model().parameters,
    }
    design = read(path, known)
    if design.model != "aml":
        return design
    doses, dosing = dict(design.drugs), dict(design.dosing)
    for drug in doses:
        try:
            doses[drug] = tuple(_aml_free({drug: dose}, design.medium)[drug] for dose in doses[drug])
            dosing |= {drug: _aml_dosing(drug, dosing[drug])} if drug in dosing else {}
        except InputError as error:
            raise InputError(f"{design.file}: drugs.{drug}: {error}") from None
    return dataclasses.replace(design, drugs=doses, dosing=dosing, medium="free")


def _aml_timed(drugs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return dose and dosing of each drug; one that is given by its dose alone is there from time 0 on."""
    from .simulator import InputError

    if not isinstance(drugs, Mapping):
        raise InputError(f"drugs maps a name to a dose in nM or (dose, dosing); given {drugs!r}")
    timed = {drug: given if isinstance(given, tuple) else (given, "0:") for drug, given in drugs.items()}
    if bad := [drug for drug, given in timed.items() if len(given) != 2]:
        raise InputError(
            f"{bad[0]} is given as {timed[bad[0]]!r}, expected (dose in nM, dosing), e.g. (100.0, '0h:48h')"
        )
    return timed


def _aml_free(doses: Mapping[str, float], medium: str) -> dict[str, float]:
    """Return free concentrations (nM) of doses in a medium."""
    from . import models
    from .simulator.errors import unknown_name

    if medium not in ("free", "plasma"):
        raise unknown_name("medium", medium, ("free", "plasma"))
    if medium == "free":
        return dict(doses)
    with _model_names():
        return {drug: models.drugs.free_concentration(drug, dose) for drug, dose in doses.items()}


def _aml_dosing(drug: str, dosing: Dosing | str) -> Dosing:
    """Return when a drug is there, from words too, with its half-life in patients where that is meant."""
    from . import models
    from .doses import Design, Dosing, read_dosing
    from .simulator import InputError

    when = read_dosing(dosing) if isinstance(dosing, str) else dosing
    if not isinstance(when, Dosing):
        raise InputError(f"when {drug} is there is {dosing!r}, expected a Dosing, e.g. Dosing.pulse(0, 48 * 3600)")
    if not when.needs_half_life:
        return when
    with _model_names():
        half_life = models.drugs.exposure(drug).half_life
    if half_life is None:
        known = [name for name in models.drugs.names() if models.drugs.exposure(name).half_life is not None]
        raise InputError(
            f"the half-life of {drug} in patients is unknown; give a time instead. It is known for {', '.join(known)}"
        )
    return when.with_half_life(half_life)


def _aml_moves(moves: Mapping[float, str]) -> dict[float, str]:
    from .simulator import InputError

    for time in moves:
        if not (isinstance(time, (int, float)) and 0 < time < math.inf):
            raise InputError(
                f"cells are moved at {time!r}, expected seconds after 0; where they were before that is `before`"
            )
    return {float(time): stroma for time, stroma in moves.items()}


def _aml_moving(
    rows: Sequence[Mapping[str, float]], places: Mapping[float, Sequence[str]], changes: Mapping[str, float]
) -> list[Segment]:
    """Return what differs between contexts at which cells are in turn and `rows`, in which they start.

    An amount belongs to the enzyme of the stroma, which comes without drug: a segment sets its species.
    """
    from . import models
    from .simulator import Segment

    with _model_names():
        values = {time: [models.contexts.overrides(context) for context in at] for time, at in places.items()}
    differing = sorted({
        name
        for of_cells in values.values()
        for now, row in zip(of_cells, rows, strict=True)
        for name in now
        if name not in changes and now[name] != row[name]
    })  # fmt: skip
    compiled = aml_model()
    free = dict(zip(compiled.network.initials, compiled.species, strict=True))
    segments = []
    for start, end in itertools.pairwise((*places, math.inf)):
        given: dict[str, Any] = {}
        for name in differing:
            now = [of_cell[name] for of_cell in values[start]]
            if name.startswith("amount_"):
                monomer = free[name].partition("(")[0]
                given |= {species: 0.0 for species in compiled.species if species.startswith(f"{monomer}(")}
                given[free[name]] = now
            else:
                given[name] = now
        segments.append(Segment(start, end, given))
    return segments


def add_drugs(path: str | PathLike[str]) -> tuple[str, ...]:
    """Make the drugs of a table of your own known to the shipped model, until this process ends; return their names.

    A drug is one row per target, tab-separated under a header. `drug`, `target`, `kd_nM` (a number, `>10000` or
    `unknown`) and, for FLT3, `binding` (`type I` or `type II`) must be there; the other columns are those of
    `aml_tables()["drugs"]`. Targets without a row are unknown and treated as not bound. All rows are taken or none.

    Raises
    ------
    InputError
        If the table cannot be used; names file, line, column and remedy.
    """
    from . import models

    with _model_names():
        return models.drugs.add(path)


def remove_drug(name: str) -> None:
    """Forget a drug that `add_drugs` made known, so that a changed table can be added.

    Raises
    ------
    UnknownNameError
        If no such drug was added; the shipped ones stay.
    """
    from . import models

    with _model_names():
        models.drugs.remove(name)


def dose_matrix(
    compiled: CompiledModel,
    drugs: Mapping[str, npt.ArrayLike],
    contexts: Sequence[str] | Mapping[str, Mapping[str, float]],
    readouts: Sequence[str],
    times: npt.ArrayLike,
    *,
    ensemble: Ensemble | None = None,
    **settings: Any,
) -> DoseMatrix:
    """Return the signalling left under every combination of doses, in every context: see `doses.dose_matrix`.

    With the shipped model, `drugs` maps drug names to doses in nM and `contexts` is a sequence of context names.
    With a model of your own, `drugs` maps parameter names to doses and `contexts` maps names to parameter values.
    With an `ensemble` of `aml_problem` (`aml_ensemble`), or of a problem of your own whose parameters are the model's,
    every member takes part.

    Examples
    --------
    >>> import residuum
    >>> matrix = residuum.dose_matrix(
    ...     residuum.aml_model(), {"gilteritinib": [0, 100]}, ["blast-itd", "blast-itd+erk-stroma"], ["pERK"], [7200.0]
    ... )
    >>> left = matrix.residual().sel(gilteritinib=100, readout="pERK").squeeze()
    >>> bool(left.sel(context="blast-itd") < left.sel(context="blast-itd+erk-stroma"))
    True
    """
    from .doses import DoseAxis
    from .doses import dose_matrix as matrix_of
    from .simulator import CompiledModel, InputError

    if not isinstance(compiled, CompiledModel):
        raise InputError(f"the model is a {type(compiled).__name__}; compile it first: residuum.compile_model(model)")
    if not isinstance(drugs, Mapping):
        raise InputError(f"drugs maps a name to doses, e.g. {{'gilteritinib': [0, 10, 100]}}; given {drugs!r}")
    readouts = [readouts] if isinstance(readouts, str) else list(readouts)

    if ensemble is not None:
        ensemble.require_model(compiled)
        settings |= {"members": ensemble.members(), "weights": ensemble.weights}
    if isinstance(contexts, Mapping):
        if ensemble is not None:
            settings["overrides"] = _laid_over(ensemble, compiled, contexts)
        settings["dosing"] = _in_words(settings.get("dosing"))
        return matrix_of(compiled, drugs, contexts, readouts, times, **settings)
    if compiled.hash != aml_model().hash:
        raise InputError(
            f"contexts given by name belong to the shipped model; for {compiled.name!r} pass a mapping "
            "of context name to parameter values"
        )
    parameters = _dose_parameters(tuple(drugs))
    axes = {drug: DoseAxis(parameters[drug], doses, drug=drug) for drug, doses in drugs.items()}
    settings["dosing"] = {drug: _aml_dosing(drug, when) for drug, when in (settings.get("dosing") or {}).items()}
    if ensemble is not None:
        settings["overrides"] = lambda member, context: aml_fitted(member, context, tuple(drugs))
    return matrix_of(compiled, axes, _aml_contexts(contexts, tuple(drugs)), readouts, times, **settings)


def find_dose(
    source: DoseMatrix | CompiledModel,
    drug: str,
    until: tuple[str, float],
    *,
    contexts: Sequence[str] | Mapping[str, Mapping[str, float]] | None = None,
    times: npt.ArrayLike | None = None,
    given: Mapping[str, float] | None = None,
    ensemble: Ensemble | None = None,
    highest: float | None = None,
    normal: str | None = "cd34",
    **settings: Any,
) -> DoseSearch:
    """Return the smallest dose of `drug` after which less than a fraction of a readout is left: see `doses.find_dose`.

    Parameters
    ----------
    source
        The shipped model; a matrix of it, whose contexts, times and members are taken where none are given; or a model
        of your own, with `contexts` as a mapping and names of parameters as drugs.
    until
        Readout and fraction of the untreated control in the same context: `("pERK", 0.1)`.
    given
        Other drug -> dose, nM, that is there beside it.
    highest
        Dose at which the search ends. For the shipped model, if None: ten times the highest free concentration in
        patients, or 10,000 nM where that is unknown.
    normal
        Cell of the shipped model in which the same doses are looked at beside, in the same surroundings; None for none.
    settings
        `probability`, `lowest`, `options`, `threads`, `progress` and others of `doses.find_dose`.

    Returns
    -------
    DoseSearch
        `str()` of it says what was found, `table` has the numbers. With the shipped model two things come beside:
        `clinical_free`, the highest free concentration of the drug in patients, with `reach` (`reachable`,
        `not reachable`, `exposure unknown`); and `normal`, the normal cell, with `normal_left`, `normal_low` and
        `normal_high`, what is left there at the dose found (median, 5 % and 95 % quantile).

    Raises
    ------
    InputError
        For anything wrong with the input, before any run starts.

    Examples
    --------
    >>> import residuum
    >>> found = residuum.find_dose(
    ...     residuum.aml_model(), "gilteritinib", ("pFLT3", 0.1), contexts=["blast-itd"], times=[7200.0]
    ... )
    >>> found.table["reach"][0]
    'reachable'
    """
    from .doses import DoseMatrix
    from .doses import find_dose as search
    from .simulator import CompiledModel, InputError

    if isinstance(source, DoseMatrix):
        if source.dataset.attrs.get("model_hash") != aml_model().hash:
            raise InputError(
                "the matrix is not one of this version's shipped model: give the compiled model, contexts and times "
                "instead of it"
            )
        contexts = source.contexts if contexts is None else contexts
        times = source.times if times is None else times
        if ensemble is None and "member_value" in source.dataset:
            settings |= {"members": source.members, "weights": source.dataset["weight"].to_numpy()}
        settings = {"dosing": source.dosing, **settings}
        source = aml_model()
    if not isinstance(source, CompiledModel):
        raise InputError(f"the source is a {type(source).__name__}; give a dose matrix or a compiled model")
    if contexts is None or times is None:
        raise InputError("give contexts and times: only a dose matrix has some of its own")
    if ensemble is not None:
        ensemble.require_model(source)
        settings |= {"members": ensemble.members(), "weights": ensemble.weights}
    if isinstance(contexts, Mapping):
        if ensemble is not None:
            settings["overrides"] = _laid_over(ensemble, source, contexts)
        if highest is None:
            raise InputError("give the highest dose of the search")
        settings["dosing"] = _in_words(settings.get("dosing"))
        return search(source, drug, contexts, until, times, highest=highest, given=given, **settings)
    if source.hash != aml_model().hash:
        raise InputError(f"contexts given by name belong to the shipped model, not to {source.name!r}; pass a mapping")
    given = {other: dose for other, dose in (given or {}).items() if dose > 0}
    return _aml_find_dose(drug, until, contexts, times, given, highest, normal, settings)


def _aml_find_dose(drug: str, until: tuple[str, float], contexts: Sequence[str], times: npt.ArrayLike,
                   given: Mapping[str, float], highest: float | None, normal: str | None,
                   settings: dict[str, Any]) -> DoseSearch:  # fmt: skip
    from . import models
    from .doses import find_dose as search
    from .doses import left_at
    from .doses.analysis import bands

    drugs = (drug, *given)
    parameters, names = _dose_parameters(drugs), [contexts] if isinstance(contexts, str) else list(contexts)
    reached = models.drugs.clinical_free(drug)
    highest = highest or (10_000.0 if reached is None else 10 * reached)
    cells = _aml_contexts(names, drugs)
    beside = {name: models.contexts.ON.join([normal, *name.split(models.contexts.ON)[1:]]) for name in names if normal}
    normal_cells = _aml_contexts(tuple(dict.fromkeys(beside.values())), drugs)
    dosing = {name: _aml_dosing(name, when) for name, when in (settings.get("dosing") or {}).items() if name in drugs}
    settings = {**settings, "parameters": parameters, "dosing": dosing}
    of_members = "members" in settings
    if of_members:
        settings["overrides"] = lambda member, context: aml_fitted(member, context, drugs)
    found = search(aml_model(), drug, cells, until, times, highest=highest, given=given, **settings)

    table = found.table.assign(clinical_free=math.nan if reached is None else reached)
    table["reach"] = [
        "exposure unknown" if reached is None else "reachable" if dose <= reached else "not reachable"
        for dose in table["dose"]
    ]
    if of_members:
        settings["overrides"] = lambda member, context: aml_fitted(member, beside[context], drugs)
    for name in ("probability", "lowest"):
        settings.pop(name, None)
    for time, rows in table.groupby("time") if normal else ():
        doses = {drug: rows["dose"].clip(upper=highest).to_numpy(), **given}
        left = left_at(aml_model(), doses, {name: normal_cells[beside[name]] for name in rows["context"]}, until[0],
                       [time], **settings)  # fmt: skip
        quantiles = bands(left.isel(time=0), (0.5, 0.05, 0.95))["residual"].to_numpy()
        for column, numbers in zip(("normal_left", "normal_low", "normal_high"), quantiles, strict=True):
            table.loc[rows.index, column] = numbers
        table.loc[rows.index, "normal"] = [beside[name] for name in rows["context"]]
    return dataclasses.replace(found, table=table)


def aml_behaviours(
    ids: Sequence[str] | None = None, *, changes: Mapping[str, float] | None = None,
    fitted: Mapping[str, float] | None = None,
) -> dict[str, Outcome]:  # fmt: skip
    """Return what the shipped model shows of the published behaviours of leukaemia cells, by id.

    Parameters
    ----------
    ids
        "B1" to "B16"; all if None.
    changes
        Parameter -> value, on top of every cell and its drugs, below what an experiment itself sets.
    fitted
        Estimated values of `aml_problem`, or a member of its ensemble: `aml_fitted` lays them over every cell and its
        drugs, below `changes`. The nominal set if neither is given.

    Returns
    -------
    dict
        `outcome.reproduced`, `outcome.findings` (a value of the model, and the range in which it is expected),
        `outcome.curves` (to draw) and `outcome.behaviour` (statement, tolerance with its reason, sources).

    Raises
    ------
    UnknownNameError
        For an unknown id or parameter, with the nearest name.
    """
    from . import models

    known = {behaviour.id: behaviour for behaviour in models.behaviours.BEHAVIOURS}
    with _model_names():
        chosen = [models.names.checked("behaviour", name, known) for name in (known if ids is None else ids)]
    run = partial(_aml_readings, changes=changes or {}, fitted=fitted or {})
    return {name: known[name].outcome(run) for name in chosen}


def aml_problem(*, changes: Mapping[str, float] | None = None) -> Problem:
    """Return the shipped fitting problem: published phospho-values of FLT3-ITD cells, on the shipped model.

    Two Ba/F3 lines under four inhibitors (pERK, pSTAT5, pS6, pGSK3B, pS6K) and IC50s of three FLT3 inhibitors; rows
    under two inhibitors are held out. `problem.notes` says what was measured, assumed and left out.

    Parameters
    ----------
    changes
        Parameter of the model -> value, in place of the nominal one, of what the problem does not estimate: for
        example a row of `aml_raf_mek_draws`.

    Raises
    ------
    UnknownNameError
        For an unknown parameter, with the nearest name.
    InputError
        For a value that is negative or no number, or a parameter that the problem estimates or its contexts and drugs
        set.
    """
    import pandas as pd

    from . import models
    from .fitting import read_problem
    from .simulator import InputError

    names = ("conditions", "experiments", "measurements", "observables", "parameters", "notes")
    places: dict[str, Any] = {name: models.network_path().with_name(f"aml_{name}.tsv") for name in names}
    if fixed := _aml_changes(changes or {}):
        own = pd.read_csv(places["parameters"], sep="\t", dtype=str, keep_default_na=False)
        for name in fixed:
            if name in set(own["parameterId"]):
                raise InputError(f"{name} is estimated by the problem; leave it out of `changes`")
            if models.parameters.row(name).set_by_context or name.startswith("drug"):
                raise InputError(f"{name} is set by the contexts and drugs of the problem; leave it out of `changes`")
        rows = [
            {"parameterId": name, "nominalValue": repr(value), "estimate": "false"} for name, value in fixed.items()
        ]
        places["parameters"] = pd.concat([own, pd.DataFrame(rows)], ignore_index=True)
    return read_problem(aml_model(), places, resolve=_aml_condition)


def aml_fitted(values: Mapping[str, float], context: str, drugs: Sequence[str] = ()) -> dict[str, float]:
    """Return what estimated values of `aml_problem` mean in a context under drugs: `changes` for `aml_conditions`.

    Parameters
    ----------
    values
        Parameter of the problem -> value, as in `fit(problem).values`. Offsets and scales of assays are passed over.
    context, drugs
        Names as in `aml_conditions`; the drugs in the order in which they are given there.

    Raises
    ------
    UnknownNameError
        For an unknown context or drug, with the nearest name.

    Examples
    --------
    >>> import residuum
    >>> changes = residuum.aml_fitted({"shift_gilteritinib_FLT3_ITD": 2.0}, "blast-itd", ["gilteritinib"])
    >>> {name: round(value, 6) for name, value in changes.items()}
    {'drug1_FLT3A_typeI_kd': 1.2}
    """
    from . import models

    _dose_parameters(tuple(drugs))
    with _model_names():
        return models.fitted.overrides(values, context, drugs)


def aml_predictions(
    ensemble: Ensemble,
    contexts: Sequence[str],
    drugs: Mapping[str, float] | None,
    times: npt.ArrayLike,
    readouts: Sequence[str],
    *,
    equilibrate: bool = True,
    **settings: Any,
) -> xr.Dataset:
    """Return what every member of an ensemble of `aml_problem` predicts in contexts under drugs, fitted or not.

    Parameters
    ----------
    ensemble
        Drawn from the posterior (`sample_posterior`, `laplace_posterior`), from the prior, or loaded.
    contexts, drugs, equilibrate
        As in `aml_conditions`: names of cells, alone or on stroma; drug -> free concentration in nM.
    times : (n_times,)
        Seconds after the drugs.
    readouts
        Names as listed by `residuum models`.
    settings
        `options`, `threads`, `progress`, as in `simulate`.

    Returns
    -------
    Dataset
        `value` (member, condition, time, readout) in nM, and `status`, `message` and `weight`: see `Ensemble.predict`;
        `residuum.bands` summarises it.

    Raises
    ------
    UnknownNameError
        For an unknown context, drug or read-out, with the nearest name.
    InputError
        For an ensemble of another model, with both hashes, and for doses and times that cannot be.

    Examples
    --------
    >>> import residuum
    >>> members = residuum.Ensemble.from_prior(residuum.aml_problem(), 3, seed=1)
    >>> left = residuum.aml_predictions(members, ["blast-itd"], {"gilteritinib": 100.0}, [7200.0], ["pERK"])
    >>> left["value"].shape
    (3, 1, 1, 1)
    """
    from .simulator import InputError

    contexts = [contexts] if isinstance(contexts, str) else list(contexts)
    if not contexts or len(set(contexts)) < len(contexts):
        raise InputError(f"contexts are {contexts!r}, expected at least one name, each once")
    given = dict(drugs or {})
    conditions = aml_conditions(contexts, given, equilibrate=equilibrate)
    readouts = [readouts] if isinstance(readouts, str) else list(readouts)

    def meaning(member: Mapping[str, float], context: str) -> dict[str, float]:
        return aml_fitted(member, context, tuple(given))

    predicted = ensemble.predict(aml_model(), conditions, times, readouts, overrides=meaning, **settings)
    return predicted.assign_attrs(drugs=", ".join(f"{drug} {dose:g} nM" for drug, dose in given.items()))


def aml_ensemble() -> Ensemble:
    """Return the shipped ensemble of `aml_problem`: at least 100 parameter sets, made by `residuum calibrate`.

    What it stands for and what it was tested against so far stands in docs/calibration.md.

    Raises
    ------
    InputError
        If the file does not belong to this version.

    Examples
    --------
    >>> import residuum
    >>> len(residuum.aml_ensemble()) >= 100
    True
    """
    from . import models
    from .fitting import load_ensemble

    return load_ensemble(models.network_path().with_name("aml_ensemble.nc"))


def aml_left_out() -> tuple[Group, ...]:
    """Return the groups by which `aml_problem` is validated: both inhibitors together, each inhibitor, each line.

    Null models of the combination, which never enters a fit: copies of the midostaurin row and of the U0126 row, the
    better single agent, Bliss. For an inhibitor left out: the control; for a bead line left out: the same row of the
    other one. IC50s that are known as a range have none: each such row is the same half, at another dose. The untreated
    rows of the IC50s stay in the fit: they are 1 by definition and hold the scale.
    """
    from .fitting import Group

    names = tuple(dict.fromkeys(aml_problem().tables.experiments.frame["experimentId"]))
    both = tuple(name for name in names if "_both_" in name)
    treated = tuple(name for name in names if name not in both and not name.endswith("_untreated"))

    def at(line: str) -> tuple[str, ...]:
        return tuple(name for name in names if name.startswith(f"{line}_") and not name.endswith("_untreated"))

    single = {name: (f"{name[:3]}_midostaurin_igf1", f"{name[:3]}_U0126_igf1") for name in both}
    untreated = {name: f"{name[:3]}_igf1" for line in ("jmd", "tkd") for name in at(line)}
    control = {name: (untreated.get(name, f"{name.partition('_')[0]}_untreated"),) for name in treated}
    combined: dict[str, Mapping[str, tuple[str, ...]]] = {
        "midostaurin row": {name: pair[:1] for name, pair in single.items()},
        "U0126 row": {name: pair[1:] for name, pair in single.items()},
        "better single agent": single,
        "Bliss": {name: (*pair, untreated[name]) for name, pair in single.items()},
    }
    inhibitors = ("midostaurin", "U0126", "rapamycin", "wortmannin", "gilteritinib", "linifanib", "crenolanib")
    return (
        Group("midostaurin + U0126", both, combined),
        *(Group(drug, tuple(name for name in treated if drug in name), {"control": control}) for drug in inhibitors),
        Group("line JMD", at("jmd"), {"other line": {name: (f"tkd{name[3:]}",) for name in at("jmd")}}),
        Group("line TKD", at("tkd"), {"other line": {name: (f"jmd{name[3:]}",) for name in at("tkd")}}),
        Group("line MV4-11", at("mv411"), {}),
        Group("line MOLM-13", at("molm13"), {}),
        Group("FLT3 wild type with FL", at("wt"), {"control": control}),
    )


def aml_raf_mek_draws(n: int, seed: int = 0) -> pd.DataFrame:
    """Return `n` joint draws, one per row, of the RAF-MEK-DUSP-SOS parameters: one column each, in its own unit.

    They keep the correlations of 50 published fits to melanoma cells (Froehlich et al. 2023); some parameters span
    four decades. The nominal values of the shipped model are not the centre of the draws: `aml_tables()["parameters"]`
    says where they depart from it.

    Raises
    ------
    InputError
        If `n` is below 1.

    Examples
    --------
    >>> import residuum
    >>> draws = residuum.aml_raf_mek_draws(3, seed=1)
    >>> draws.shape
    (3, 25)
    >>> problem = residuum.aml_problem(changes=draws.iloc[0].to_dict())
    """
    import numpy as np
    import pandas as pd

    from . import models
    from .fitting.scaling import joint_draws
    from .simulator import InputError

    if n < 1:
        raise InputError(f"n is {n}; ask for one draw or more")
    joint = models.joint.raf_mek()
    drawn = joint_draws(joint.mean, joint.covariance, n, np.random.default_rng(seed))
    return pd.DataFrame(10.0**drawn, columns=list(joint.names))


def aml_structural(drugs: Sequence[str]) -> tuple[str, ...] | None:
    """Return the read-outs to which drugs act in one line, as a TKI and a MEK inhibitor do on pERK; None if unknown.

    A Bliss excess there follows mostly from the wiring: `synergy_scores(..., structural=...)` says so.

    Raises
    ------
    UnknownNameError
        For an unknown drug, with the nearest name.

    Examples
    --------
    >>> import residuum
    >>> "pERK" in residuum.aml_structural(["gilteritinib", "trametinib"])
    True
    """
    from . import models

    with _model_names():
        return models.drugs.in_one_line(drugs)


def aml_population(
    contexts: str | Mapping[str, float], patients: int = 1, cells: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Return virtual patients and their cells: the amounts of proteins that differ, one row per cell.

    Amounts are log-normal about those of the context, between patients and between the cells of each, as the table
    `aml_tables()["variation"]` says with its sources; many of its numbers are assumed.

    Parameters
    ----------
    contexts
        A context as in `aml_conditions`, or context -> how frequent it is among the patients, to any sum.
    patients, cells
        Number of patients, and of cells of each.
    seed
        The same patients again; patient i is the same for any number of patients.

    Returns
    -------
    DataFrame
        See `doses.draw_population`; `aml_population_residual` puts them under drugs.

    Raises
    ------
    UnknownNameError
        For an unknown context, with the nearest name.
    InputError
        For numbers that cannot be.

    Examples
    --------
    >>> import residuum
    >>> population = residuum.aml_population({"blast-itd": 0.7, "blast-itd-nras": 0.3}, patients=3, cells=2, seed=1)
    >>> population[["patient", "cell"]].to_numpy().tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    """
    from . import models
    from .doses import draw_population

    shares = {contexts: 1.0} if isinstance(contexts, str) else dict(contexts)
    spread = dict(models.variation.table())
    shared = spread.pop(models.variation.SHARED).cells
    nominal = models.parameters.nominal()
    return draw_population(
        {context: nominal | values for context, values in _aml_contexts(list(shares), ()).items()}, shares,
        between_cells={name: varied.cells for name, varied in spread.items()},
        between_patients={name: varied.patients for name, varied in spread.items()},
        shared=shared, patients=patients, cells=cells, seed=seed,
    )  # fmt: skip


def aml_population_residual(
    population: pd.DataFrame,
    drugs: Mapping[str, npt.ArrayLike],
    time: float = 86_400.0,
    readout: str = "pERK",
    **settings: Any,
) -> xr.Dataset:
    """Return what each cell of a population keeps of a read-out under drugs, and the share of cells above a threshold.

    Parameters
    ----------
    population
        As from `aml_population`.
    drugs
        Drug -> free concentration in nM, one or several; the i-th doses of all drugs are given together.
    time
        Seconds after the drugs.
    readout
        As listed by `residuum models`.
    settings
        `threshold` (fraction of the median untreated cell of the same patient, 0.25 if not given), `options`,
        `threads` and `progress`, as in `doses.population_residual`, which tells what is returned.

    Raises
    ------
    UnknownNameError
        For an unknown drug or read-out, with the nearest name.
    InputError
        For a table that is no population, and for doses that cannot be.

    Examples
    --------
    >>> import residuum
    >>> cells = residuum.aml_population("blast-itd", cells=8, seed=1)
    >>> left = residuum.aml_population_residual(cells, {"gilteritinib": [1.0, 100.0]}, time=7200.0)
    >>> bool((left["left"].isel(step=1) < left["left"].isel(step=0)).all())
    True
    """
    from .doses import population_residual
    from .simulator import InputError

    if "context" not in population:
        raise InputError("the population has no column 'context'; draw it with aml_population")
    parameters = _dose_parameters(tuple(drugs))
    contexts = _aml_contexts([str(context) for context in population["context"].unique()], tuple(drugs))
    nominal = dict(zip(aml_model().parameters, aml_model().nominal, strict=True))
    found = population_residual(
        aml_model(), population, {context: nominal | values for context, values in contexts.items()},
        {parameters[drug]: doses for drug, doses in drugs.items()}, readout, time,
        at_rest=_aml_empty_slots(), **settings,
    )  # fmt: skip
    return found.rename({parameters[drug]: drug for drug in drugs})


def aml_doses(
    drugs: Sequence[str] | None = None, *, time: float = 86_400.0, level: float = 0.1, **settings: Any
) -> pd.DataFrame:
    """Return the doses at which drugs are compared: the highest free concentration in patients, or one of equal effect.

    Where either the plasma level or the free fraction of a drug is not known, the dose is the one that leaves `level`
    of what its target does, found by runs of the model with its nominal parameters: of pFLT3 for a FLT3 inhibitor
    (blast-itd), of pERK for a MEK inhibitor (blast-itd), of pCSF2R for a JAK inhibitor (blast-itd on stat5-stroma), of
    pFGFR1 for an FGFR inhibitor (blast-itd on erk-stroma).

    Parameters
    ----------
    drugs
        Names; all drugs of these four classes if None.
    time
        Seconds after the drug, at which the effect is read.
    level
        Fraction left.
    settings
        `options` and `threads`, as in `simulate`.

    Returns
    -------
    DataFrame
        Columns `drug`, `class`, `dose_nM` (NaN if no dose has that effect), `basis` ("clinical free exposure" or
        "equal effect"), `equal_effect_nM` (of all drugs) and `effect` (in words).

    Raises
    ------
    UnknownNameError
        For an unknown drug, with the nearest name.
    InputError
        For a drug of another class.
    """
    import pandas as pd

    from . import models
    from .doses import doses_leaving
    from .simulator import InputError

    with _model_names():
        classes = {drug: models.drugs.exposure(drug).drug_class for drug in (drugs or models.drugs.names())}
    if drugs is None:
        classes = {drug: kind for drug, kind in classes.items() if kind in _EFFECTS}
    if other := [drug for drug, kind in classes.items() if kind not in _EFFECTS]:
        raise InputError(
            f"{other[0]} is a {classes[other[0]] or 'drug of unknown class'}; doses are found for a "
            f"{', '.join(_EFFECTS)}: give its dose in `doses`"
        )
    effects = {drug: _EFFECTS[str(kind)] for drug, kind in classes.items()}
    found = doses_leaving(
        aml_model(), {drug: _aml_contexts([context], (drug,))[context] for drug, (_, context) in effects.items()},
        dict.fromkeys(effects, models.drugs.dose_parameter(1)), {d: readout for d, (readout, _) in effects.items()},
        time, level=level, at_rest=_aml_empty_slots(), **settings,
    )  # fmt: skip
    clinical = {drug: models.drugs.clinical_free(drug) for drug in classes}
    return pd.DataFrame(
        [
            {
                "drug": drug,
                "class": kind,
                "dose_nM": found[drug] if clinical[drug] is None else clinical[drug],
                "basis": "equal effect" if clinical[drug] is None else "clinical free exposure",
                "equal_effect_nM": found[drug],
                "effect": f"leaves {level:.0%} of {effects[drug][0]} in {effects[drug][1]}",
            }
            for drug, kind in classes.items()
        ]
    )


def aml_rank(
    contexts: Sequence[str] = _RANKED,
    ensemble: Ensemble | None = None,
    *,
    members: int | None = None,
    tkis: Sequence[str] | None = None,
    partners: Sequence[str] = ("MEK inhibitor", "JAK inhibitor", "FGFR inhibitor"),
    readouts: Sequence[str] = ("pERK", "pSTAT5", "survival_score"),
    time: float = 86_400.0,
    doses: Mapping[str, float] | None = None,
    priors: Sequence[str] = (),
    seed: int = 0,
    redrawn: str = "",
    **settings: Any,
) -> xr.Dataset:
    """Return what FLT3 inhibitors, their partners and all pairs of them leave, in many contexts, for every member.

    The founding question in one call: which inhibitor, alone or with which partner, ends stroma-driven signalling?

    Parameters
    ----------
    contexts
        Names as in `aml_conditions`; ITD, wild-type and NRAS-mutant ITD blasts alone and on two kinds of stroma if not
        given.
    ensemble
        Of `aml_problem`, such as `aml_ensemble()`; the nominal parameters if None.
    members
        How many parameter sets: the first of the ensemble; all if None. Without an ensemble, with `priors`: 50 if None.
    tkis, partners
        Drugs; a partner may be a class of drugs, which stands for all its drugs. All FLT3 inhibitors if None.
    readouts
        As listed by `residuum models`.
    time
        Seconds after the drugs.
    doses
        Drug -> free concentration in nM, in place of those of `aml_doses`.
    priors
        What is drawn from its prior besides, for each member: any of `stroma`, `cell`, `rates`, `drugs` (see
        `models.priors`). What an ensemble was fitted for stays as fitted.
    seed
        Of these draws. A number drawn is the same whatever else is.
    redrawn
        One of `priors`, or `fit`: this alone is drawn anew, or taken from other members of the ensemble, while all else
        stays. `shares_of_spread` compares.
    settings
        `options`, `threads` and `progress`, as in `simulate`. A tolerance of 1e-4 does: against 1e-6 it changed what is
        left 24 h after the drugs by less than 1e-6.

    Returns
    -------
    Dataset
        See `doses.compare`; a treatment has the coordinates `tki`, `partner` (empty if there is none), `tki_nM`,
        `partner_nM` and `basis`: "clinical free exposure" where that of all its drugs is known, else "equal effect"
        or "given". `ranked` makes a table of it.

    Raises
    ------
    UnknownNameError
        For an unknown context, drug or read-out, with the nearest name.
    InputError
        For doses and numbers that cannot be.

    Examples
    --------
    >>> import residuum
    >>> found = residuum.aml_rank(["blast-itd+erk-stroma"], tkis=["gilteritinib"], partners=["trametinib"])
    >>> table = residuum.ranked(found, absolute=["survival_score"], groups="basis")
    >>> table[table.readout == "pERK"].treatment.tolist()
    ['gilteritinib + trametinib', 'trametinib', 'gilteritinib']
    """
    import zlib
    from functools import cache

    import numpy as np

    from . import models
    from .doses import compare
    from .simulator import InputError

    chosen = _aml_treatments(tkis, partners, doses, time)
    if unknown := [kind for kind in priors if kind not in models.priors.KINDS]:
        raise InputError(f"priors are those of {', '.join(models.priors.KINDS)}; given {unknown[0]!r}")
    if redrawn and redrawn not in (*priors, *(["fit"] if ensemble is not None else [])):
        raise InputError(f"redrawn is {redrawn!r}, expected one of `priors`, or `fit` with an ensemble")
    if members is not None and members < 1:
        raise InputError(f"members is {members}, expected at least one")
    n = min(members or len(ensemble), len(ensemble)) if ensemble is not None else (members or 50) if priors else 1
    _aml_contexts(contexts, ())  # unknown names

    @cache
    def score(kind: str, key: str) -> npt.NDArray[np.float64]:
        entropy = [seed, int(kind == redrawn), zlib.crc32(key.encode())]
        return np.random.default_rng(entropy).standard_normal(n)

    def drawn(of: Mapping[str, models.priors.Prior], member: int) -> dict[str, float]:
        return {name: p.at(score(p.kind, p.key)[member]) for name, p in of.items() if p.kind in priors}

    @cache
    def fitted(member: int) -> dict[str, float]:
        if ensemble is None:
            return {}
        beside = (n if n < len(ensemble) else 1) if redrawn == "fit" else 0
        values = ensemble.values[(member + beside) % len(ensemble)]
        return dict(zip(ensemble.names, map(float, values), strict=True))

    base, of_cell = cache(lambda context: _aml_contexts([context], ())[context]), cache(models.priors.of_cell)
    slotted, of_drug = cache(models.drugs.slot_overrides), cache(models.priors.of_drug)

    def cell(member: int, context: str) -> dict[str, float]:
        return base(context) | drawn(of_cell(context), member) | models.fitted.overrides(fitted(member), context)

    @cache
    def given_alone(member: int, context: str, slot: int, drug: str) -> dict[str, float]:
        values = slotted(slot, drug, context) | drawn(of_drug(slot, drug, context), member)
        return values | models.fitted.shifted(fitted(member), context, slot, drug)

    def given(member: int, context: str, treatment: str) -> dict[str, float]:
        values: dict[str, float] = {}
        for slot, (drug, dose) in enumerate(chosen.drugs[treatment].items(), start=1):
            values |= given_alone(member, context, slot, drug) | {models.drugs.dose_parameter(slot): dose}
        return values

    found = compare(
        aml_model(), list(contexts), list(chosen.drugs), readouts, time, cell, given,
        weights=np.ones(n) if ensemble is None else ensemble.weights[:n], at_rest=_aml_empty_slots(), **settings,
    )  # fmt: skip
    return found.assign_coords({name: ("treatment", column) for name, column in chosen.columns.items()}).assign_attrs(
        members=f"{n} of the ensemble" if ensemble is not None else "drawn" if priors else "nominal",
        priors=", ".join(priors), seed=seed, redrawn=redrawn, left_out="; ".join(chosen.left_out),
    )  # fmt: skip


def aml_tables() -> dict[str, pd.DataFrame]:
    """Return what the shipped model knows, as tables, with units and sources.

    The tables are contexts, drugs, exposure (of patients to drugs), readouts, parameters, variation (between cells
    and between patients), behaviours, references and notes (choices of the model, what it leaves out, what it
    misses). The contexts are of three kinds: cells, stroma presets, and the alleles that cells hold. A parameter
    that every context sets has the value of the reference context; `unknown` affinities show as such.
    """
    import pandas as pd

    from . import models

    readouts = [{"readout": name, **dataclasses.asdict(r)} for name, r in models.observables.READOUTS.items()]
    files = {**models.contexts.FILES, models.alleles.KIND: models.alleles.FILE}
    contexts = [
        {"kind": kind, "name": row[kind], **{column: row[column] for column in models.tables.QUANTITY_COLUMNS}}
        for kind, file in files.items()
        for row in models.tables.read(file, (kind, *models.tables.QUANTITY_COLUMNS))
    ]
    behaviours = [
        {"id": b.id, "statement": b.statement, "tolerance": b.tolerance, "publications": " ".join(b.source),
         "tuned": b.tuned}
        for b in models.behaviours.BEHAVIOURS
    ]  # fmt: skip
    return {
        "contexts": pd.DataFrame(contexts),
        "drugs": pd.DataFrame(models.drugs.cells()),
        "exposure": pd.DataFrame(models.tables.read(models.drugs.EXPOSURE_FILE, models.drugs.EXPOSURE_COLUMNS)),
        "readouts": pd.DataFrame(readouts),
        "parameters": pd.DataFrame([dataclasses.asdict(row) for row in models.parameters.table()]),
        "variation": pd.DataFrame(models.tables.read(models.variation.FILE, models.variation.COLUMNS)),
        "behaviours": pd.DataFrame(behaviours),
        "references": pd.DataFrame([dataclasses.asdict(row) for row in models.references.table()]),
        "notes": pd.DataFrame(models.tables.read("notes.tsv", ("kind", "subject", "note"))),
    }


def aml_modules() -> list[Module]:
    """Return the mechanisms of the shipped model: what each hears and tells, its monomers and its parameters."""
    from .models import outline
    from .simulator.diagrams import Module

    return [Module(**dataclasses.asdict(part)) for part in outline.parts()]


def _aml_treatments(tkis: Sequence[str] | None, partners: Sequence[str], doses: Mapping[str, float] | None,
                    time: float) -> _Treatments:  # fmt: skip
    """Return TKIs and partners alone and in pairs, at their doses; drugs for which there is no dose are left out."""
    from . import models
    from .simulator import InputError

    of_class: dict[str, list[str]] = {}
    for drug in models.drugs.names():
        of_class.setdefault(models.drugs.exposure(drug).drug_class or "", []).append(drug)
    first = of_class["TKI"] if tkis is None else list(tkis)
    second = list(dict.fromkeys(drug for name in partners for drug in of_class.get(name, [name])))
    if both := sorted(set(first) & set(second)):
        raise InputError(f"{both[0]} is among the FLT3 inhibitors and among their partners; give it once")
    _dose_parameters(())
    with _model_names():
        for drug in (*first, *second, *(doses or ())):
            models.names.checked("drug", drug, models.drugs.names())
    dose = {drug: float(value) for drug, value in (doses or {}).items()}
    if bad := [drug for drug, value in dose.items() if not (math.isfinite(value) and value >= 0)]:
        raise InputError(f"the dose of {bad[0]} is {dose[bad[0]]}, expected a number of nM that is not negative")
    basis = dict.fromkeys(dose, "given")
    if unknown := [drug for drug in (*first, *second) if drug not in dose]:
        table = aml_doses(unknown, time=time).set_index("drug")
        dose |= {str(drug): float(value) for drug, value in table["dose_nM"].items()}
        basis |= {str(drug): str(value) for drug, value in table["basis"].items()}
    left_out = tuple(f"{d}: no dose leaves a tenth of what its target does" for d in dose if math.isnan(dose[d]))
    first, second = ([drug for drug in drugs if not math.isnan(dose[drug])] for drugs in (first, second))
    pairs = [(tki, "") for tki in first] + [("", p) for p in second] + list(itertools.product(first, second))
    given = [[drug for drug in pair if drug] for pair in pairs]
    return _Treatments(
        {" + ".join(drugs): {drug: dose[drug] for drug in drugs} for drugs in given},
        {
            "tki": [tki for tki, _ in pairs],
            "partner": [partner for _, partner in pairs],
            "tki_nM": [dose.get(tki, 0.0) for tki, _ in pairs],
            "partner_nM": [dose.get(partner, 0.0) for _, partner in pairs],
            "basis": [next((b for b in _BASES if b in {basis[d] for d in drugs}), _BASES[-1]) for drugs in given],
        },
        left_out,
    )


@dataclasses.dataclass(frozen=True)
class _Treatments:
    """What is compared: the doses of each treatment, columns that describe it, and what had to be left out."""

    drugs: Mapping[str, Mapping[str, float]]
    columns: Mapping[str, Sequence[Any]]
    left_out: tuple[str, ...]


def _aml_empty_slots() -> dict[str, float]:
    """Return the parameters of all drug slots, empty: what holds before the drugs, the same for every drug."""
    from . import models

    return {name: value for name, value in models.parameters.nominal().items() if name.startswith("drug")}


def _aml_condition(named: Mapping[str, str]) -> dict[str, float]:
    """Expand a condition of named things, `{"context": name, drug: dose in nM}`, to parameter values."""
    drugs = {name: float(dose) for name, dose in named.items() if name != "context"}
    values = _aml_contexts([named["context"]], tuple(drugs))[named["context"]]
    parameters = _dose_parameters(tuple(drugs))
    return {**values, **{parameters[drug]: dose for drug, dose in drugs.items()}}


def _aml_readings(
    experiments: Sequence[Experiment], changes: Mapping[str, float], fitted: Mapping[str, float]
) -> list[float]:
    """Return one number per experiment; NaN where the run failed or a dose is no finite number.

    Experiments that differ only in read-out and time share a run, runs that differ not in the times of their later
    steps a batch.
    """
    from .simulator import simulate

    keys = [repr(dataclasses.replace(experiment, readout="", time=0.0)) for experiment in experiments]
    batches: dict[tuple[float, ...], dict[str, Experiment]] = {}
    for key, experiment in zip(keys, experiments, strict=True):
        if all(math.isfinite(dose) for dose in experiment.drugs.values()):
            batches.setdefault(tuple(time for time, _ in experiment.later), {})[key] = experiment

    readings: dict[tuple[str, str, float], float] = {}
    for steps, runs in batches.items():
        wanted = [experiment for key, experiment in zip(keys, experiments, strict=True) if key in runs]
        times = sorted({experiment.time for experiment in wanted})
        readouts = sorted({experiment.readout for experiment in wanted})
        result = simulate(aml_model(), times, _aml_steps(runs, steps, changes, fitted), observables=readouts)
        for (i, key), (j, time), readout in itertools.product(enumerate(runs), enumerate(times), readouts):
            readings[key, readout, time] = float(result[readout][i, j])
    return [
        readings.get((key, experiment.readout, experiment.time), math.nan)
        for key, experiment in zip(keys, experiments, strict=True)
    ]


def _aml_steps(
    runs: Mapping[str, Experiment], steps: Sequence[float], changes: Mapping[str, float], fitted: Mapping[str, float]
) -> Conditions:
    """Return the cells at rest before time 0, then under their drugs, then, from each of `steps` on, as changed."""
    from . import models
    from .simulator import Conditions, Segment

    compiled = aml_model()
    rows = {}
    for key, run in runs.items():
        drugs = tuple(run.drugs)
        cell, parameters = _aml_contexts([run.context], drugs)[run.context], _dose_parameters(drugs)
        cell |= aml_fitted(fitted, run.context, drugs)
        rows[key] = {**cell, **changes, **run.changes, **{parameters[drug]: run.drugs[drug] for drug in drugs}}
    doses = [models.drugs.dose_parameter(slot) for slot in models.parameters.DRUG_SLOTS]
    protocol = [Segment(-math.inf, 0.0, dict.fromkeys(doses, 0.0))]
    now = {key: dict(row) for key, row in rows.items()}
    stepped: set[str] = set()
    for step, (start, end) in enumerate(itertools.pairwise((*steps, math.inf))):
        for key, run in runs.items():
            now[key] |= run.later[step][1]
            stepped |= run.later[step][1].keys()
        nominal = {name: float(compiled.nominal[compiled.parameter_index(name)]) for name in sorted(stepped)}
        values = {name: [row.get(name, default) for row in now.values()] for name, default in nominal.items()}
        protocol.append(Segment(start, end, values))
    return Conditions.from_rows(compiled, rows, protocol)


def _in_words(dosing: Mapping[str, Dosing | str] | None) -> dict[str, Dosing]:
    """Return when drugs are there, read from words where these are given."""
    from .doses import read_dosing

    return {drug: read_dosing(when) if isinstance(when, str) else when for drug, when in (dosing or {}).items()}


def _laid_over(
    ensemble: Ensemble, compiled: CompiledModel, contexts: Mapping[str, Mapping[str, float]]
) -> Callable[[Mapping[str, float], str], dict[str, float]]:
    """Return the function of a member and a context that tells what parameters of the model they have together."""
    import numpy as np

    from .simulator import Conditions

    base = dict(zip(contexts, Conditions.from_rows(compiled, contexts).parameters, strict=True))

    def meaning(member: Mapping[str, float], context: str) -> dict[str, float]:
        one = dataclasses.replace(ensemble, values=np.array([list(member.values())]), weights=np.ones(1))
        return dict(zip(compiled.parameters, one.laid_over(compiled, base[context], one.shared)[0], strict=True))

    return meaning


def _aml_contexts(contexts: Sequence[str], drugs: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return, per context, the parameter values of the cell and of each drug in its slot, at no dose."""
    from . import models

    with _model_names():
        return {
            context: models.contexts.overrides(context)
            | {
                name: value
                for slot, drug in enumerate(drugs, start=1)
                for name, value in models.drugs.slot_overrides(slot, drug, context).items()
            }
            for context in ([contexts] if isinstance(contexts, str) else contexts)
        }


def _aml_changes(changes: Mapping[str, float]) -> dict[str, float]:
    """Return the changes; refuse unknown parameters, doses, which belong to `drugs`, and what cannot be a value."""
    from . import models
    from .simulator import InputError

    if not isinstance(changes, Mapping):
        raise InputError(f"changes maps a parameter to a number, e.g. {{'amount_NF1_total': 0.1}}; given {changes!r}")
    compiled, doses = aml_model(), [models.drugs.dose_parameter(slot) for slot in models.parameters.DRUG_SLOTS]
    changed = {}
    for name, value in changes.items():
        compiled.parameter_index(name)
        if name in doses:
            raise InputError(f"{name} is the dose of a drug slot; give the drug by name in `drugs`")
        try:
            changed[name] = float(value)
        except (TypeError, ValueError):
            changed[name] = math.nan
        if not (math.isfinite(changed[name]) and changed[name] >= 0):
            raise InputError(f"{name} is {value!r}, expected a number that is not negative")
    return changed


def _dose_parameters(drugs: Sequence[str]) -> dict[str, str]:
    from . import models
    from .simulator import InputError

    n_slots = len(models.parameters.DRUG_SLOTS)
    if len(drugs) > n_slots:
        raise InputError(f"{len(drugs)} drugs were given, the model holds {n_slots} at a time")
    with _model_names():
        for drug in drugs:
            models.names.checked("drug", drug, models.drugs.names())
        return {drug: models.drugs.dose_parameter(slot) for slot, drug in enumerate(drugs, start=1)}


@contextmanager
def _model_names() -> Iterator[None]:
    """Turn the errors of `models`, which stands alone, into those of the public surface."""
    from .models import UnknownNameError as InModels
    from .models.drugs import DrugError
    from .simulator import InputError, UnknownNameError

    try:
        yield
    except InModels as error:
        raise UnknownNameError(str(error)) from None
    except DrugError as error:
        raise InputError(str(error)) from None


def __getattr__(name: str) -> Any:
    homes = {".simulator": _SIMULATOR, ".doses": _DOSES, ".sweeps": _SWEEPS, ".fitting": _FITTING}
    home = next((place for place, names in homes.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
