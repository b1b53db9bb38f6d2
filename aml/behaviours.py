"""Published behaviours of leukaemia cells in; which of them a parameter set shows out."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .calibration import aml_fitted
from .cells import aml_model, contexts_of, dose_parameters, model_names

if TYPE_CHECKING:
    from ..models.behaviours import Experiment, Outcome
    from ..simulator import Conditions


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
    from .. import models

    known = {behaviour.id: behaviour for behaviour in models.behaviours.BEHAVIOURS}
    with model_names():
        chosen = [models.names.checked("behaviour", name, known) for name in (known if ids is None else ids)]
    run = partial(_readings, changes=changes or {}, fitted=fitted or {})
    return {name: known[name].outcome(run) for name in chosen}


def _readings(
    experiments: Sequence[Experiment], changes: Mapping[str, float], fitted: Mapping[str, float]
) -> list[float]:
    """Return one number per experiment; NaN where the run failed or a dose is no finite number.

    Experiments that differ only in read-out and time share a run, runs that differ not in the times of their later
    steps a batch.
    """
    from ..simulator import simulate

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
        result = simulate(aml_model(), times, _steps(runs, steps, changes, fitted), observables=readouts)
        for (i, key), (j, time), readout in itertools.product(enumerate(runs), enumerate(times), readouts):
            readings[key, readout, time] = float(result[readout][i, j])
    return [
        readings.get((key, experiment.readout, experiment.time), math.nan)
        for key, experiment in zip(keys, experiments, strict=True)
    ]


def _steps(
    runs: Mapping[str, Experiment], steps: Sequence[float], changes: Mapping[str, float], fitted: Mapping[str, float]
) -> Conditions:
    """Return the cells at rest before time 0, then under their drugs, then, from each of `steps` on, as changed."""
    from .. import models
    from ..simulator import Conditions, Segment

    compiled = aml_model()
    rows = {}
    for key, run in runs.items():
        drugs = tuple(run.drugs)
        cell, parameters = contexts_of([run.context], drugs)[run.context], dose_parameters(drugs)
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
