"""Spreads of amounts in; virtual patients and cells, and what these keep under drugs, out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .cells import aml_model, contexts_of, dose_parameters, empty_slots

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import xarray as xr


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
    from .. import models
    from ..doses import draw_population

    shares = {contexts: 1.0} if isinstance(contexts, str) else dict(contexts)
    spread = dict(models.variation.table())
    shared = spread.pop(models.variation.SHARED).cells
    nominal = models.parameters.nominal()
    return draw_population(
        {context: nominal | values for context, values in contexts_of(list(shares), ()).items()}, shares,
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
    from ..doses import population_residual
    from ..simulator import InputError

    if "context" not in population:
        raise InputError("the population has no column 'context'; draw it with aml_population")
    parameters = dose_parameters(tuple(drugs))
    contexts = contexts_of([str(context) for context in population["context"].unique()], tuple(drugs))
    nominal = dict(zip(aml_model().parameters, aml_model().nominal, strict=True))
    found = population_residual(
        aml_model(), population, {context: nominal | values for context, values in contexts.items()},
        {parameters[drug]: doses for drug, doses in drugs.items()}, readout, time,
        at_rest=empty_slots(), **settings,
    )  # fmt: skip
    return found.rename({parameters[drug]: drug for drug in drugs})
