"""Doses of drugs, contexts and an ensemble in; what is left, and the dose that leaves little, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .calibration import aml_fitted
from .cells import aml_model, contexts_of, dose_parameters, model_names
from .protocols import dosing_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from ..doses import DoseMatrix, DoseSearch, Dosing
    from ..fitting import Ensemble
    from ..simulator import CompiledModel


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
    from ..doses import DoseAxis
    from ..doses import dose_matrix as matrix_of
    from ..simulator import CompiledModel, InputError

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
    parameters = dose_parameters(tuple(drugs))
    axes = {drug: DoseAxis(parameters[drug], doses, drug=drug) for drug, doses in drugs.items()}
    settings["dosing"] = {drug: dosing_of(drug, when) for drug, when in (settings.get("dosing") or {}).items()}
    if ensemble is not None:
        settings["overrides"] = lambda member, context: aml_fitted(member, context, tuple(drugs))
    return matrix_of(compiled, axes, contexts_of(contexts, tuple(drugs)), readouts, times, **settings)


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
    from ..doses import DoseMatrix
    from ..doses import find_dose as search
    from ..simulator import CompiledModel, InputError

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
    return _find_dose(drug, until, contexts, times, given, highest, normal, settings)


def cheapest_doses(
    drugs: tuple[str, str],
    until: tuple[str, float],
    *,
    contexts: Sequence[str],
    times: npt.ArrayLike,
    cost: Mapping[str, float] | None = None,
    highest: Mapping[str, float] | None = None,
    ensemble: Ensemble | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Return the doses of two drugs that are enough together in the shipped model and cost least.

    Parameters
    ----------
    drugs
        Two names.
    until, contexts, times, ensemble, settings
        As in `find_dose`.
    cost
        Drug -> what 1 nM costs. If None, one over the highest free concentration in patients, so that a cost of 2 is
        what patients have of both, or twice that of one.
    highest
        Drug -> dose at which the search ends; ten times the highest free concentration in patients, or 10,000 nM, if
        None.

    Returns
    -------
    DataFrame
        `context`, `time`, a column per drug (nM), `cost` (infinite if none is enough), `share` of the members.

    Raises
    ------
    InputError
        For a drug whose free concentration in patients is unknown, unless its cost is given.
    """
    from .. import models
    from ..doses import cheapest_doses as search
    from ..simulator import InputError

    if len(drugs) != 2 or drugs[0] == drugs[1]:
        raise InputError(f"drugs are {drugs!r}, expected two different names")
    parameters = dose_parameters(drugs)
    reached = {drug: models.drugs.clinical_free(drug) for drug in drugs}
    costs = dict(cost or {})
    for drug in drugs:
        if drug not in costs:
            if (free := reached[drug]) is None:
                raise InputError(
                    f"the free concentration of {drug} in patients is unknown: give cost={{{drug!r}: ...}}"
                )
            costs[drug] = 1 / free
    ends = {drug: 10 * (free or 1000.0) for drug, free in reached.items()} | dict(highest or {})
    if ensemble is not None:
        ensemble.require_model(aml_model())
        settings |= {
            "members": ensemble.members(), "weights": ensemble.weights,
            "overrides": lambda member, context: aml_fitted(member, context, drugs),
        }  # fmt: skip
    settings["dosing"] = {drug: dosing_of(drug, when) for drug, when in (settings.get("dosing") or {}).items()}
    return search(aml_model(), drugs, contexts_of(contexts, drugs), until, times, cost=costs, highest=ends,
                  parameters=parameters, **settings)  # fmt: skip


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
    from .. import models

    with model_names():
        return models.drugs.in_one_line(drugs)


def _find_dose(drug: str, until: tuple[str, float], contexts: Sequence[str], times: npt.ArrayLike,
                   given: Mapping[str, float], highest: float | None, normal: str | None,
                   settings: dict[str, Any]) -> DoseSearch:  # fmt: skip
    from .. import models
    from ..doses import find_dose as search
    from ..doses import left_at
    from ..doses.analysis import bands

    drugs = (drug, *given)
    parameters, names = dose_parameters(drugs), [contexts] if isinstance(contexts, str) else list(contexts)
    reached = models.drugs.clinical_free(drug)
    highest = highest or (10_000.0 if reached is None else 10 * reached)
    cells = contexts_of(names, drugs)
    beside = {name: models.contexts.ON.join([normal, *name.split(models.contexts.ON)[1:]]) for name in names if normal}
    normal_cells = contexts_of(tuple(dict.fromkeys(beside.values())), drugs)
    dosing = {name: dosing_of(name, when) for name, when in (settings.get("dosing") or {}).items() if name in drugs}
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
    note = ""
    if given and until[0] in (aml_structural(drugs) or ()):
        note = (
            f"the drugs act in one line on the way to {until[0]}: an excess over Bliss there follows from the wiring, "
            "and is no evidence of synergy in survival"
        )
    return dataclasses.replace(found, table=table, note=note)


def _in_words(dosing: Mapping[str, Dosing | str] | None) -> dict[str, Dosing]:
    """Return when drugs are there, read from words where these are given."""
    from ..doses import read_dosing

    return {drug: read_dosing(when) if isinstance(when, str) else when for drug, when in (dosing or {}).items()}


def _laid_over(
    ensemble: Ensemble, compiled: CompiledModel, contexts: Mapping[str, Mapping[str, float]]
) -> Callable[[Mapping[str, float], str], dict[str, float]]:
    """Return the function of a member and a context that tells what parameters of the model they have together."""
    import numpy as np

    from ..simulator import Conditions

    base = dict(zip(contexts, Conditions.from_rows(compiled, contexts).parameters, strict=True))

    def meaning(member: Mapping[str, float], context: str) -> dict[str, float]:
        one = dataclasses.replace(ensemble, values=np.array([list(member.values())]), weights=np.ones(1))
        return dict(zip(compiled.parameters, one.laid_over(compiled, base[context], one.shared)[0], strict=True))

    return meaning
