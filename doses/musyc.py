"""Residual signalling on a grid of two drugs in; how each changes potency and maximal effect of the other, out.

MuSyC (C. T. Meyer et al., Cell Syst. 8:97, 2019): the drugs take a target between four states, free, with a, with b
and with both, and the effect is the mean over them at steady state,

    e = (E_a A + E_b B + E_ab AB) / (U + A + B + AB)

Drug a arrives at rate x = (a / C_a)^h_a at the free target and (alpha_ba a / C_a)^h_a where b is, drug b likewise, and
each leaves at rate 1. `alpha_ba` is the factor by which b makes a more potent (above 1: synergy of potency), and
`beta` = E_ab / max(E_a, E_b) - 1 the share by which both together do more than the stronger (above 0: synergy of
efficacy). Shifts of cooperativity (`gamma`) are not fitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import analysis
from .hill import BEYOND, FLATTEST, STEEPEST, fit_hill
from .synergy import checked_drugs, normalised, residual_of

if TYPE_CHECKING:
    import xarray as xr

    from .matrix import DoseMatrix

Float = npt.NDArray[np.float64]

PARAMETERS = (
    "maximum_a", "maximum_b", "maximum_ab", "halfway_a", "halfway_b", "slope_a", "slope_b", "alpha_ab", "alpha_ba",
)  # fmt: skip
EFFECTS = 3
"""How many of the parameters are effects; the others are positive, and their logarithms are fitted."""
STARTS = ((1.0, 1.0), (10.0, 10.0), (0.1, 0.1), (10.0, 0.1), (0.1, 10.0))
"""Potency shifts from which the fit starts."""
LARGEST_SHIFT = 1e4
FASTEST = 1e90
"""Rate that is as good as infinite; the product of three is a number still."""
KNOWN_TO = 0.01
"""Error of an effect, a fraction of the control, that standard deviations assume at least."""
IDENTIFIED = (0.1, float(np.log(2)))
"""Largest standard deviations of an identified effect, and of the logarithm of any other parameter: a factor of 2."""


def musyc_effect(parameters: Float, doses_a: Float, doses_b: Float) -> Float:
    """Return the effects (n_a, n_b) of MuSyC with the 9 `PARAMETERS`."""
    e_a, e_b, e_ab, c_a, c_b, h_a, h_b, alpha_ab, alpha_ba = parameters
    with np.errstate(over="ignore"):
        x, x_with_b = (np.minimum((f * doses_a[:, None] / c_a) ** h_a, FASTEST) for f in (1.0, alpha_ba))
        y, y_with_a = (np.minimum((f * doses_b[None, :] / c_b) ** h_b, FASTEST) for f in (1.0, alpha_ab))
    # weights of the states of a cycle: sums over its spanning trees (E. L. King and C. Altman, J. Phys. Chem. 60:1375)
    free = 2 + x_with_b + y_with_a
    a = x_with_b * y + 2 * x + x * x_with_b
    b = x * y_with_a + 2 * y + y * y_with_a
    both = x_with_b * y_with_a * (x + y) + x_with_b * y + x * y_with_a
    return np.asarray((e_a * a + e_b * b + e_ab * both) / (free + a + b + both))


def musyc_fit(residual: DoseMatrix | xr.DataArray) -> xr.Dataset:
    """Return MuSyC fitted to the median over members of the signal left under two drugs, a fit per remaining label.

    Parameters
    ----------
    residual
        As in `score`, of two drugs a and b, in this order, with three doses above 0 or more each.

    Returns
    -------
    Dataset
        `value` and `sd` (parameter, ...) of the `PARAMETERS`: maxima are effects, `halfway` has the unit of the doses,
        sd is that of the natural logarithm but for maxima. `beta` (...), the synergy of efficacy. `identified`
        (parameter, ...): False where the doses do not determine a parameter, as when a drug alone has no effect; its
        value then says nothing. `misfit` (...), the root mean square in effect. Members with a run without a number
        take no part; NaN where there are no others.

    Raises
    ------
    InputError
        As in `score`.
    """
    import xarray as xr

    residual = residual_of(residual)
    a, b = checked_drugs(residual, "musyc")
    left = normalised(residual).rename("left")
    if "member" in left.dims:
        whole = left.where(left.notnull().all((a, b)))
        left = analysis.bands(whole, [0.5])["left"].isel(quantile=0, drop=True)
    others = [dim for dim in left.dims if dim not in (a, b)]
    effect = 1 - left.transpose(*others, a, b).to_numpy()
    shape = effect.shape[:-2]
    fits = [_fitted(grid, residual[a].to_numpy(), residual[b].to_numpy())
            for grid in effect.reshape(-1, *effect.shape[-2:])]  # fmt: skip
    value, sd, misfit = (np.array(list(column)) for column in zip(*fits, strict=True))
    limits = np.repeat(IDENTIFIED, (EFFECTS, len(PARAMETERS) - EFFECTS))
    labels = ("parameter", *others)
    value, sd = (np.moveaxis(each.reshape(*shape, -1), -1, 0) for each in (value, sd))
    with np.errstate(all="ignore"):
        beta = value[2] / np.maximum(value[0], value[1]) - 1
    return xr.Dataset(
        {
            "value": (labels, value),
            "sd": (labels, sd),
            "identified": (labels, sd < limits.reshape(-1, *[1] * len(others))),
            "beta": (others, beta),
            "misfit": (others, misfit.reshape(shape)),
        },
        coords={"parameter": list(PARAMETERS), **{d: left[d] for d in others if d in left.coords}},
        attrs={"a": a, "b": b},
    )


def _fitted(effect: Float, doses_a: Float, doses_b: Float) -> tuple[Float, Float, float]:
    """Return the parameters, their standard deviations and the misfit of the best of several starts."""
    from scipy.optimize import least_squares

    nothing = np.full(len(PARAMETERS), np.nan)
    if not np.isfinite(effect).all():
        return nothing, nothing, np.nan
    # doses on a scale of their own, so that their unit changes nothing
    scale = np.array([np.exp(np.log(doses[1:]).mean()) for doses in (doses_a, doses_b)])
    a, b = doses_a / scale[0], doses_b / scale[1]
    alone = fit_hill(a[1:], effect[1:, 0]), fit_hill(b[1:], effect[0, 1:])
    low = [-1, -1, -1, *(np.log(d[1]) - BEYOND for d in (a, b)), *[np.log(FLATTEST)] * 2, *[-np.log(LARGEST_SHIFT)] * 2]
    high = [1, 1, 1, *(np.log(d[-1]) + BEYOND for d in (a, b)), *[np.log(STEEPEST)] * 2, *[np.log(LARGEST_SHIFT)] * 2]
    known = [*(c.amplitude for c in alone), effect[-1, -1]], [c.halfway for c in alone], [c.slope for c in alone]

    def parameters(theta: Float) -> Float:
        return np.concatenate([theta[:EFFECTS], np.exp(theta[EFFECTS:])])

    def misfits(theta: Float) -> Float:
        return (musyc_effect(parameters(theta), a, b) - effect).reshape(-1)

    inside = 1e-6 * (np.array(high) - low)
    starts = [np.concatenate([known[0], np.log(np.concatenate([*known[1:], shifts]))]) for shifts in STARTS]
    found = min(
        (least_squares(misfits, np.clip(start, low + inside, high - inside), bounds=(low, high), x_scale="jac",
                       ftol=1e-12, xtol=1e-12, gtol=1e-12) for start in starts),
        key=lambda each: each.cost,
    )  # fmt: skip
    rms = float(np.sqrt(2 * found.cost / effect.size))
    _, singular, directions = np.linalg.svd(found.jac, full_matrices=False)
    with np.errstate(divide="ignore"):
        spread = directions / np.maximum(singular, 1e-300)[:, None]
        sd = max(rms, KNOWN_TO) * np.sqrt((spread**2).sum(axis=0))
    on_bound = (found.x <= low + inside) | (found.x >= high - inside)
    on_bound[:EFFECTS] = False  # a maximum of 1 is a finding, any other bound says on which side only
    sd[on_bound] = np.inf
    value = parameters(found.x)
    value[3:5] *= scale
    return value, sd, rms
