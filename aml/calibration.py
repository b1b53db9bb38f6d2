"""The shipped fitting problem and its ensemble: what estimated values mean in any cell, what members predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .cells import aml_conditions, aml_model, checked_changes, contexts_of, dose_parameters, model_names

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import xarray as xr

    from ..fitting import Ensemble, Group, Problem


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

    from .. import models
    from ..fitting import read_problem
    from ..simulator import InputError

    names = ("conditions", "experiments", "measurements", "observables", "parameters", "notes")
    places: dict[str, Any] = {name: models.network_path().with_name(f"aml_{name}.tsv") for name in names}
    if fixed := checked_changes(changes or {}):
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
    return read_problem(aml_model(), places, resolve=_condition)


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
    from .. import models

    dose_parameters(tuple(drugs))
    with model_names():
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
    from ..simulator import InputError

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
    from .. import models
    from ..fitting import load_ensemble

    return load_ensemble(models.network_path().with_name("aml_ensemble.nc"))


def aml_left_out() -> tuple[Group, ...]:
    """Return the groups by which `aml_problem` is validated: both inhibitors together, each inhibitor, each line.

    Null models of the combination, which never enters a fit: copies of the midostaurin row and of the U0126 row, the
    better single agent, Bliss. For an inhibitor left out: the control; for a bead line left out: the same row of the
    other one. IC50s that are known as a range have none: each such row is the same half, at another dose. The untreated
    rows of the IC50s stay in the fit: they are 1 by definition and hold the scale.
    """
    from ..fitting import Group

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

    from .. import models
    from ..fitting.scaling import joint_draws
    from ..simulator import InputError

    if n < 1:
        raise InputError(f"n is {n}; ask for one draw or more")
    joint = models.joint.raf_mek()
    drawn = joint_draws(joint.mean, joint.covariance, n, np.random.default_rng(seed))
    return pd.DataFrame(10.0**drawn, columns=list(joint.names))


def _condition(named: Mapping[str, str]) -> dict[str, float]:
    """Expand a condition of named things, `{"context": name, drug: dose in nM}`, to parameter values."""
    drugs = {name: float(dose) for name, dose in named.items() if name != "context"}
    values = contexts_of([named["context"]], tuple(drugs))[named["context"]]
    parameters = dose_parameters(tuple(drugs))
    return {**values, **{parameters[drug]: dose for drug, dose in drugs.items()}}
