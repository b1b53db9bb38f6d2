"""residuum: residual signalling under drug combinations, from rule-based models to dose matrices.

The public surface of the package. Drug and context names of the shipped model are resolved here, so that the
simulator knows parameters only. Names are loaded when they are first used: `import residuum` costs milliseconds.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from os import PathLike
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import xarray as xr

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
        bliss_excess,
        check_gradient,
        compile_model,
        from_bngl,
        hsa_excess,
        parse_net,
        read_bngl,
        read_net,
        simulate,
        steady_state,
        steady_state_gradient,
        warmup,
    )
    from .simulator.diagrams import Module

_SIMULATOR = (
    "CompiledModel", "Conditions", "InputError", "MissingBioNetGenError", "ModelNotice", "ReactionNetwork", "Result",
    "Segment", "SolverOptions", "Status", "UnknownNameError", "bliss_excess", "check_gradient", "compile_model",
    "from_bngl", "hsa_excess", "parse_net", "read_bngl", "read_net", "simulate", "steady_state",
    "steady_state_gradient", "warmup",
)  # fmt: skip

_FITTING = (
    "Ensemble", "Fit", "Group", "Problem", "Profiles", "bands", "fit", "laplace_posterior", "leave_out",
    "left_out_summary", "load_ensemble", "plot_bands", "plot_data_bands", "profile_likelihood", "read_midas",
    "read_problem", "read_table", "refitted_posterior", "sample_posterior", "saved_point",
)  # fmt: skip

__all__ = [
    "__version__", "add_drugs", "aml_behaviours", "aml_conditions", "aml_ensemble", "aml_fitted", "aml_left_out",
    "aml_model", "aml_modules", "aml_predictions", "aml_problem", "aml_raf_mek_draws", "aml_tables", "dose_matrix",
    "remove_drug", *_SIMULATOR, *_FITTING,
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
    **settings: Any,
) -> xr.Dataset:
    """Return the signalling left under every combination of doses, in every context: see `simulator.dose_matrix`.

    With the shipped model, `drugs` maps drug names to doses in nM and `contexts` is a sequence of context names.
    With a model of your own, `drugs` maps parameter names to doses and `contexts` maps names to parameter values.

    Examples
    --------
    >>> import residuum
    >>> matrix = residuum.dose_matrix(
    ...     residuum.aml_model(), {"gilteritinib": [0, 100]}, ["blast-itd", "blast-itd+erk-stroma"], ["pERK"], [7200.0]
    ... )
    >>> left = matrix.residual.sel(gilteritinib=100, readout="pERK").squeeze()
    >>> bool(left.sel(context="blast-itd") < left.sel(context="blast-itd+erk-stroma"))
    True
    """
    from .simulator import CompiledModel, DoseAxis, InputError
    from .simulator import dose_matrix as matrix_of

    if not isinstance(compiled, CompiledModel):
        raise InputError(f"the model is a {type(compiled).__name__}; compile it first: residuum.compile_model(model)")
    if not isinstance(drugs, Mapping):
        raise InputError(f"drugs maps a name to doses, e.g. {{'gilteritinib': [0, 10, 100]}}; given {drugs!r}")
    readouts = [readouts] if isinstance(readouts, str) else list(readouts)

    if isinstance(contexts, Mapping):
        return matrix_of(compiled, drugs, contexts, readouts, times, **settings)
    if compiled.hash != aml_model().hash:
        raise InputError(
            f"contexts given by name belong to the shipped model; for {compiled.name!r} pass a mapping "
            "of context name to parameter values"
        )
    parameters = _dose_parameters(tuple(drugs))
    axes = {drug: DoseAxis(parameters[drug], doses, drug=drug) for drug, doses in drugs.items()}
    return matrix_of(compiled, axes, _aml_contexts(contexts, tuple(drugs)), readouts, times, **settings)


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


def aml_tables() -> dict[str, pd.DataFrame]:
    """Return what the shipped model knows, as tables, with units and sources.

    The tables are contexts, drugs, exposure (of patients to drugs), readouts, parameters, behaviours, references and
    notes (choices of the model, what it leaves out, what it misses). The contexts are of three kinds: cells, stroma
    presets, and the alleles that cells hold. A parameter that every context sets has the value of the reference
    context; `unknown` affinities show as such.
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
        "behaviours": pd.DataFrame(behaviours),
        "references": pd.DataFrame([dataclasses.asdict(row) for row in models.references.table()]),
        "notes": pd.DataFrame(models.tables.read("notes.tsv", ("kind", "subject", "note"))),
    }


def aml_modules() -> list[Module]:
    """Return the mechanisms of the shipped model: what each hears and tells, its monomers and its parameters."""
    from .models import outline
    from .simulator.diagrams import Module

    return [Module(**dataclasses.asdict(part)) for part in outline.parts()]


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
        result = simulate(aml_model(), times, _aml_protocol(runs, steps, changes, fitted),
                          observables=readouts)  # fmt: skip
        for (i, key), (j, time), readout in itertools.product(enumerate(runs), enumerate(times), readouts):
            readings[key, readout, time] = float(result[readout][i, j])
    return [
        readings.get((key, experiment.readout, experiment.time), math.nan)
        for key, experiment in zip(keys, experiments, strict=True)
    ]


def _aml_protocol(runs: Mapping[str, Experiment], steps: Sequence[float], changes: Mapping[str, float],
                  fitted: Mapping[str, float]) -> Conditions:  # fmt: skip
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
    home = ".simulator" if name in _SIMULATOR else ".fitting" if name in _FITTING else None
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
