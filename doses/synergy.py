"""Synergy of drug combinations: residual signalling on a dose grid in, excess over null models out.

With e = 1 - residual the effect at doses (a, b), as a fraction of the signal at doses (0, 0), and e_a, e_b that of each
drug alone at its dose, four null models say what to expect of two drugs that do nothing for each other:

* `bliss`, independent actions (C. I. Bliss, Ann. Appl. Biol. 26:585, 1939): e_a + e_b - e_a e_b
* `hsa`, the highest single agent (M. C. Berenbaum, Pharmacol. Rev. 41:93, 1989): max(e_a, e_b)
* `loewe`, dose additivity, as of a drug with itself (S. Loewe, Arzneimittelforschung 3:285, 1953): the effect e with
  a / D_a(e) + b / D_b(e) = 1, where D(e) is the dose at which a drug alone has the effect e
* `zip`, unchanged potency (B. Yadav et al., Comput. Struct. Biotechnol. J. 13:504, 2015): Bliss of fitted responses

Excess = effect - expected effect: positive where the combination silences more than the null model says (synergy),
negative where it silences less (antagonism). A drug alone has no excess under any model.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from . import analysis
from .hill import FEWEST, Response, fit_hill
from .matrix import DoseMatrix, dose_dims
from .weighted import checked_weights, share

if TYPE_CHECKING:
    import xarray as xr

Float = npt.NDArray[np.float64]

LONG_NAMES = {"bliss": "Bliss excess", "hsa": "HSA excess", "loewe": "Loewe excess", "zip": "ZIP delta"}
MODELS = tuple(LONG_NAMES)
OF_CURVES = ("loewe", "zip", "musyc")
"""Models that compare whole responses, of two drugs."""
THRESHOLD = 0.02
"""Excess that counts as synergy, a fraction of the control: a choice, well above the errors of the solver."""
MONOTONE_WITHIN = 0.05
"""How far the effect of a drug alone may fall with its dose and still have one dose per effect."""
HALVINGS = 52

STRUCTURAL = (
    "Where two drugs act on one cascade, the Bliss excess on its end product mostly follows from the wiring (two "
    "partial blocks in series): it is a property of the pathway, and no evidence of synergy in survival."
)


# ---- one grid, or many at once ----------------------------------------------------------------------------------


def bliss_excess(effect: Float, n_drugs: int = 2) -> Float:
    """Return e - (1 - prod_i (1 - e_i)) for effects (..., n_a, n_b, ...), whose last axes are doses from 0 on."""
    return effect - (1 - functools.reduce(np.multiply, (1 - e for e in _alone(effect, n_drugs))))


def hsa_excess(effect: Float, n_drugs: int = 2) -> Float:
    """Return e - max_i e_i, over the drugs that are there, for effects (..., n_a, n_b, ...) at doses from 0 on."""
    given = np.indices(effect.shape[-n_drugs:]) > 0
    alone = [np.where(there, e, -np.inf) for there, e in zip(given, _alone(effect, n_drugs), strict=True)]
    return np.where(given.any(axis=0), effect - functools.reduce(np.maximum, alone), 0 * effect)


def loewe_excess(effect: Float, doses_a: Float, doses_b: Float) -> Float:
    """Return e - e_L, a / D_a(e_L) + b / D_b(e_L) = 1, for effects (..., n_a, n_b) at doses from 0 on.

    The response of each drug alone passes through its points with the shape of a Hill curve (`hill.Response`). Above
    the maximum of the weaker drug no dose of it has the effect: D is infinite, and what is expected is the effect of
    the stronger drug alone, as for HSA. The maximum is that of a fitted curve, which doses that leave a drug below a
    tenth of its own maximum hardly determine. Grids are NaN where a drug alone was not computed at every dose, or has
    an effect that falls with dose by more than MONOTONE_WITHIN (a drug that raises the signal, too).
    """
    grids = effect.reshape(-1, *effect.shape[-2:])
    alone = grids[:, 1:, 0], grids[:, 0, 1:]
    usable = np.all([_monotone(e) for e in alone], axis=0)
    excess = np.full(grids.shape, np.nan)
    excess[:, 0], excess[:, :, 0] = 0 * grids[:, 0], 0 * grids[:, :, 0]

    responses = [Response.through(d[1:], e[usable]) for d, e in zip((doses_a, doses_b), alone, strict=True)]
    a, b = (doses.reshape(-1) for doses in np.meshgrid(doses_a[1:], doses_b[1:], indexing="ij"))
    i, j = (place.reshape(-1) for place in np.indices((len(doses_a) - 1, len(doses_b) - 1)))
    low = np.maximum(responses[0].nodes[:, 1 + i], responses[1].nodes[:, 1 + j])
    high = np.broadcast_to(np.maximum(responses[0].maximum, responses[1].maximum)[:, None], low.shape)
    for _ in range(HALVINGS):  # the sum of shares falls with the effect, from 1 or more at the better drug's own
        middle = (low + high) / 2
        with np.errstate(divide="ignore"):
            enough = a / responses[0].dose(middle) + b / responses[1].dose(middle) >= 1
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    excess[usable, 1:, 1:] = grids[usable, 1:, 1:] - ((low + high) / 2).reshape(-1, len(doses_a) - 1, len(doses_b) - 1)
    excess[~usable] = np.nan
    return excess.reshape(effect.shape)


def zip_excess(effect: Float, doses_a: Float, doses_b: Float) -> Float:
    """Return ZIP's delta, (y_a|b + y_b|a) / 2 - (y_a + y_b - y_a y_b), for effects (..., n_a, n_b) at doses from 0 on.

    y_a is the Hill curve fitted to drug a alone; y_a|b, one per dose of b, that fitted to the combinations, rising from
    y_b at no dose of a, with a potency, a slope and a maximum of its own; and so the other way round. All are fits:
    delta is 0 for independent Hill curves and no better than the fits elsewhere (curves of a steep cascade miss by some
    0.05). Grids with a number missing are NaN.
    """
    a, b = doses_a[1:], doses_b[1:]
    inner = effect[..., 1:, 1:]
    y_a, y_b = fit_hill(a, effect[..., 1:, 0]).effect(a), fit_hill(b, effect[..., 0, 1:]).effect(b)
    a_given_b = fit_hill(a, np.swapaxes(inner, -1, -2), base=y_b).effect(a)
    b_given_a = fit_hill(b, inner, base=y_a).effect(b)
    expected = y_a[..., :, None] + y_b[..., None, :] - y_a[..., :, None] * y_b[..., None, :]
    excess = np.zeros(effect.shape)
    excess[..., 1:, 1:] = (np.swapaxes(a_given_b, -1, -2) + b_given_a) / 2 - expected
    excess[~np.isfinite(effect).all(axis=(-2, -1))] = np.nan
    return excess


def _alone(effect: Float, n_drugs: int) -> list[Float]:
    """Return the effects of each drug alone, shaped to broadcast over the grid."""
    one, every = slice(1), slice(None)
    return [effect[..., *(every if other == i else one for other in range(n_drugs))] for i in range(n_drugs)]


def _monotone(alone: Float) -> npt.NDArray[np.bool_]:
    """Return which of the curves (n_curves, n_doses) are all numbers and nowhere fall far below 0 or an earlier one."""
    highest = np.maximum.accumulate(np.hstack([np.zeros((len(alone), 1)), alone]), axis=1)[:, 1:]
    return np.asarray(np.isfinite(alone).all(axis=1) & ~(highest - alone > MONOTONE_WITHIN).any(axis=1))


# ---- with labels ------------------------------------------------------------------------------------------------


def score(
    residual: DoseMatrix | xr.DataArray, model: str, *, structural: Collection[str] | None = None
) -> xr.DataArray:
    """Return the excess over a null model, with the dims of the residual, in fractions of the control.

    Parameters
    ----------
    residual
        A dose matrix, or the signal left over the doses of two drugs or more (coordinates with the role `dose`, from 0
        on) and any other dims, such as part of `DoseMatrix.residual()`. The control it is a fraction of does not
        matter.
    model
        One of `bliss`, `hsa`, `loewe`, `zip`; the last two compare two drugs, of three doses above 0 or more.
    structural
        Read-outs to which both drugs act in one line, so that a Bliss excess follows from the wiring; empty if they
        act side by side, None if nothing is known. Those that `residual` does not have are passed over.

    Returns
    -------
    DataArray
        NaN where a run that the excess depends on has no number. The attribute `unknown` counts the grids that the
        model cannot say anything of although all runs have numbers, and why; `note` is what to make of `structural`.

    Raises
    ------
    InputError
        For a model that is not known, and for doses from which it cannot be computed.
    """
    if model not in MODELS:
        raise unknown_name("model of synergy", model, MODELS)
    residual = residual_of(residual)
    drugs = checked_drugs(residual, model)
    left = normalised(residual)
    others = [dim for dim in residual.dims if dim not in drugs]
    left = left.transpose(*others, *drugs)
    effect, doses = 1 - left.to_numpy(), [residual[drug].to_numpy() for drug in drugs]
    if model == "bliss":
        excess = bliss_excess(effect, len(drugs))
    elif model == "hsa":
        excess = hsa_excess(effect, len(drugs))
    else:
        excess = {"loewe": loewe_excess, "zip": zip_excess}[model](effect, *doses)
    labelled = left.copy(data=excess).transpose(*residual.dims)
    labelled = labelled.assign_coords({name: residual[name] for name in residual.coords})  # with units and roles
    labelled.name = model
    note = _note(residual, structural)
    labelled.attrs = {"long_name": LONG_NAMES[model], "units": "fraction of control", "note": note}
    grids = tuple(range(len(others), effect.ndim))
    n_unknown = np.count_nonzero((np.isnan(excess) & np.isfinite(effect)).all(axis=grids))
    if n_unknown:
        labelled.attrs["unknown"] = (
            f"{n_unknown} of {math.prod(effect.shape[: len(others)])} grids: a drug alone raises the signal, or has "
            "less effect at a higher dose"
        )
    return labelled


def synergy_scores(
    residual: DoseMatrix | xr.DataArray,
    *,
    models: Sequence[str] | None = None,
    weights: npt.ArrayLike | None = None,
    structural: Collection[str] | None = None,
    threshold: float = THRESHOLD,
) -> xr.Dataset:
    """Return the excess over several null models per member of an ensemble, what members say together, and disagree on.

    Parameters
    ----------
    residual
        As in `score`, with the dims `member` (one if it is missing), and any others, such as context and readout.
    models
        Names of null models; all that the doses allow if None, and `left_out` says which were not.
    weights : (n_members,)
        Of the members; if None, those that the residual has as a coordinate, or else all equal.
    structural
        As in `score`.
    threshold
        Excess above which a combination counts as synergistic.

    Returns
    -------
    Dataset
        Per member `excess` (model, member, ..., <drug>...), and over the grid of doses above 0 its `mean` and `highest`
        (model, member, ...), NaN where a dose has no number. Over the members that have numbers, weighted:
        `excess_bands`, `mean_bands`, `highest_bands` (quantile, model, ...: 5 %, median, 95 %), `probability`
        (model, ...) that the mean exceeds the threshold, `antagonism` that it is below minus the threshold, and
        `known`, the weight of the members that have a mean. `disagree` (..., <drug>...): by the medians, one model says
        synergy and another antagonism, both beyond the threshold. `structural` (readout), if given.

    Raises
    ------
    InputError
        As in `score`, and for weights that do not fit the members.
    """
    import xarray as xr

    if not (np.isfinite(threshold) and threshold >= 0):
        raise InputError(f"the threshold of synergy is {threshold}, expected a fraction of the control, 0 or more")
    residual = residual_of(residual)
    drugs = _checked_drugs(residual)
    if "member" not in residual.dims:
        residual = residual.drop_vars("member", errors="ignore").expand_dims(member=[0])
    n_doses = {drug: residual.sizes[drug] - 1 for drug in drugs}
    left_out = {name: reason for name in MODELS if (reason := unfit(n_doses, name))} if models is None else {}
    names = [name for name in MODELS if name not in left_out] if models is None else list(models)
    if not names or len(set(names)) < len(names):
        raise InputError(f"models are {names}, expected at least one of {', '.join(MODELS)}, each once")
    if weights is None and "weight" in residual.coords:
        weights = residual["weight"].to_numpy()
    member_weights = checked_weights(weights, residual.sizes["member"])
    residual = residual.assign_coords(weight=("member", member_weights))

    each = [score(residual, name, structural=structural) for name in names]
    excess = xr.concat(each, xr.DataArray(names, dims="model", name="model"), combine_attrs="drop")
    excess.attrs = {"long_name": "excess over the null model", "units": "fraction of control"}
    grid = excess.isel({drug: slice(1, None) for drug in drugs})
    scores = {"excess": excess, "mean": grid.mean(drugs, skipna=False), "highest": grid.max(drugs, skipna=False)}
    ranked = {name: analysis.bands(values.rename(name)) for name, values in scores.items()}
    median = ranked["excess"]["excess"].sel(quantile=0.5, drop=True)
    mean = scores["mean"]
    found = xr.Dataset(
        {
            **scores,
            **{f"{name}_bands": bands[name] for name, bands in ranked.items()},
            "probability": _share_of(mean > threshold, mean, member_weights),
            "antagonism": _share_of(mean < -threshold, mean, member_weights),
            "known": ranked["mean"]["known"],
            "disagree": (median > threshold).any("model") & (median < -threshold).any("model"),
        },
        attrs={
            "threshold": threshold,
            "note": each[0].attrs["note"],
            "left_out": "; ".join(f"{name} {reason}" for name, reason in left_out.items()),
            "unknown": "; ".join(f"{name}: {one.attrs['unknown']}" for name, one in zip(names, each, strict=True)
                                 if "unknown" in one.attrs),
        },
    )  # fmt: skip
    if structural is None:
        return found
    return found.assign(structural=("readout", [str(name) in structural for name in residual["readout"].to_numpy()]))


def residual_of(source: DoseMatrix | xr.DataArray) -> xr.DataArray:
    """Return the signal left in a matrix; a residual is returned as it is."""
    return source.residual() if isinstance(source, DoseMatrix) else source


def checked_drugs(residual: xr.DataArray, model: str) -> tuple[str, ...]:
    """Return the drugs of a residual; raises InputError if a model cannot be computed from their doses."""
    drugs = _checked_drugs(residual)
    if reason := unfit({drug: residual.sizes[drug] - 1 for drug in drugs}, model):
        raise InputError(f"{model} {reason}")
    return drugs


def normalised(residual: xr.DataArray) -> xr.DataArray:
    """Return the signal left as a fraction of that without drugs; NaN where that is not above 0."""
    untreated = residual.isel(dict.fromkeys(dose_dims(residual), 0), drop=True)
    return residual / untreated.where(untreated > 0)


def _share_of(what: xr.DataArray, values: xr.DataArray, weights: Float) -> xr.DataArray:
    first = values.transpose("member", ...)
    found = share(what.transpose(*first.dims).to_numpy(), first.to_numpy(), weights)
    return first.isel(member=0, drop=True).copy(data=found)


def _checked_drugs(residual: xr.DataArray) -> tuple[str, ...]:
    drugs = dose_dims(residual)
    if len(drugs) < 2:
        raise InputError(f"synergy needs two or more drugs, the matrix has {len(drugs)}")
    for drug in drugs:
        doses = residual[drug].to_numpy()
        if doses[0] != 0:
            raise InputError(
                f"synergy needs each drug alone: add the dose 0 to the axis of {drug}, which begins with {doses[0]:g}"
            )
        if len(doses) < 2 or np.any(np.diff(doses) <= 0):
            raise InputError(f"synergy needs doses of {drug} that increase from 0, given {doses.tolist()}")
    return drugs


def unfit(n_doses: Mapping[str, int], model: str) -> str:
    """Return what a model needs beyond the number of doses above 0 of each drug, in words; nothing if these do."""
    if model in OF_CURVES and len(n_doses) != 2:
        return f"compares two drugs, the matrix has {len(n_doses)}"
    few = [drug for drug, n in n_doses.items() if n < FEWEST]
    if model in OF_CURVES and few:
        return f"needs {FEWEST} doses above 0 of each drug, {few[0]} has {n_doses[few[0]]}"
    return ""


def _note(residual: xr.DataArray, structural: Collection[str] | None) -> str:
    if structural is None:
        return STRUCTURAL
    if "readout" not in residual.dims:
        raise InputError("structural names read-outs, and the residual has no dim `readout`; select it with a list")
    in_line = [str(name) for name in residual["readout"].to_numpy() if name in structural]
    if not in_line:
        return ""
    return (
        f"Both drugs act in one line on the way to {' and '.join(in_line)}: the Bliss excess there is nearly "
        "structural. It mostly follows from the wiring (two partial blocks in series), and is no evidence of synergy "
        "in survival."
    )
