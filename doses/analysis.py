"""What is left of signalling in; the doses at which it crosses a level, its mean over doses and its quantiles, out.

The functions here take a DataArray of residuals as `DoseMatrix.residual` returns it, or any part of one: dose
dimensions are those whose coordinate has the attribute `role = "dose"`, and `weight` is a coordinate of `member`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.quantiles import weighted_quantiles

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Float = npt.NDArray[np.float64]
QUANTILES = (0.05, 0.5, 0.95)
WITHIN, BELOW, ABOVE, UNKNOWN = "within", "below the lowest dose", "above the highest dose", "not known"
"""Where the dose lies at which a level is crossed."""


def crossing(residual: xr.DataArray, drug: str, level: float = 0.5) -> xr.Dataset:
    """Return the lowest dose of `drug` at which the residual falls to `level`, over the other dims of `residual`.

    The residual is interpolated on the logarithm of the dose, so that a dose of 0 takes no part.

    Returns
    -------
    xarray.Dataset
        `dose`, NaN unless it lies among the doses of `drug`; `side`, where it lies: `within`, `below the lowest dose`
        (the residual is under the level already there), `above the highest dose` or `not known` (a number is missing
        on the way there); `crossings`, how often the level is crossed at all: more than once where the response is not
        monotone.

    Raises InputError without a positive dose.
    """
    import xarray as xr

    left = residual.transpose(..., drug)
    given = left[drug].to_numpy()
    numbers, doses = left.to_numpy()[..., given > 0], given[given > 0]
    if not len(doses):
        raise InputError(f"{drug} has no dose above 0 in the matrix")
    shape, numbers = numbers.shape[:-1], numbers.reshape(-1, len(doses))
    known = np.logical_and.accumulate(np.isfinite(numbers), axis=1)
    falls, rises = falls_and_rises(numbers, level)
    known_falls = falls & known[:, 1:]
    dose, side = np.full(len(numbers), np.nan), np.where(known[:, -1], ABOVE, UNKNOWN).astype(object)
    found = known_falls.any(axis=1)
    if found.any():
        dose[found] = _between(doses, numbers[found], np.argmax(known_falls[found], axis=1), level)
    side[found] = WITHIN
    under, at_once = numbers[:, 0] < level, numbers[:, 0] == level
    dose[under], side[under] = np.nan, BELOW
    dose[at_once], side[at_once] = doses[0], WITHIN
    dims, coords = left.dims[:-1], {name: c for name, c in left.coords.items() if drug not in c.dims}
    units = {"units": left[drug].attrs.get("units", ""), "long_name": f"{drug} that leaves {level:g}"}
    return xr.Dataset(
        {
            "dose": (dims, dose.reshape(shape), units),
            "side": (dims, side.astype(str).reshape(shape)),
            "crossings": (dims, (falls.sum(axis=1) + rises.sum(axis=1)).reshape(shape)),
        },
        coords=coords,
        attrs={"drug": drug, "level": level},
    )


def falls_and_rises(numbers: Float, level: float) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where, between neighbours on the last axis, the numbers fall to `level`, and where they rise above it."""
    under, over = numbers <= level, numbers > level
    return over[..., :-1] & under[..., 1:], under[..., :-1] & over[..., 1:]


def _between(doses: Float, numbers: Float, i: npt.NDArray[np.intp], level: float) -> Float:
    """Return the doses at which `numbers` (n, n_doses) are at `level` between the i-th (n,) and the next dose."""
    rows = np.arange(len(i))
    share = (numbers[rows, i] - level) / (numbers[rows, i] - numbers[rows, i + 1])
    return doses[i] * (doses[i + 1] / doses[i]) ** share


def area(residual: xr.DataArray, drug: str) -> xr.DataArray:
    """Return the mean of the residual over the logarithm of the dose of `drug`, by the trapezoidal rule.

    1 where the drug does nothing, 0 where nothing is left at any dose; NaN where a number is missing. A dose of 0 takes
    no part. Raises InputError with fewer than two positive doses.
    """
    import xarray as xr

    positive = residual.sel({drug: residual[drug] > 0})
    if positive.sizes[drug] < 2:
        raise InputError(f"a mean over doses needs two doses of {drug} above 0, the matrix has {positive.sizes[drug]}")
    steps = np.diff(np.log(positive[drug].to_numpy()))
    share = (np.append(steps, 0.0) + np.append(0.0, steps)) / (2 * steps.sum())
    mean = (positive * xr.DataArray(share, dims=drug)).sum(drug, skipna=False)
    return mean.rename("area").assign_attrs(units="1", long_name=f"mean over log {drug}")


def contour(residual: xr.DataArray, level: float) -> pd.DataFrame:
    """Return the points at which two drugs leave `level`: one row each, in the order of the doses.

    The residual is interpolated on the logarithm of the dose of one drug at each dose of the other, and the other way
    round; the column `along` says of which. All crossings are there where a response is not monotone. Columns: the
    dims of `residual` that are not drugs (context, member, ...), the two drugs, `along`.

    Raises InputError unless there are two drugs.
    """
    import pandas as pd

    drugs = [str(d) for d in residual.dims if residual[d].attrs.get("role") == "dose"]
    if len(drugs) != 2:
        raise InputError(f"a contour needs two drugs, given {len(drugs)}: {', '.join(drugs) or 'none'}")
    tables = []
    for drug, other in (drugs, drugs[::-1]):
        left = residual.sel({drug: residual[drug] > 0}).transpose(..., drug)
        numbers, doses = left.to_numpy(), left[drug].to_numpy()
        falls, rises = falls_and_rises(numbers, level)
        *place, i = np.nonzero(falls | rises)
        found = {str(dim): left[dim].to_numpy()[where] for dim, where in zip(left.dims[:-1], place, strict=True)}
        points = _between(doses, numbers[tuple(place)], i, level)
        tables.append(pd.DataFrame({**found, other: found[other], drug: points, "along": drug}))
    table = pd.concat(tables, ignore_index=True)
    others = [str(dim) for dim in residual.dims if dim not in drugs]
    table = table[[*others, *drugs, "along"]]
    upwards = [*[True] * (len(others) + 1), False]
    return table.sort_values([*others, *drugs], ignore_index=True, ascending=upwards)


def bands(values: xr.DataArray, quantiles: Sequence[float] = QUANTILES) -> xr.Dataset:
    """Return quantiles of `values` over its members by weight, and the share of the members that have a number.

    The q-quantile is the smallest number up to which the weights of the members that have one sum to q.

    Returns
    -------
    xarray.Dataset
        A variable named as `values` (quantile, ...), and `share` (...), 1 where no member is missing.
    """
    import xarray as xr

    dims = tuple(dim for dim in values.dims if dim != "member")
    weight = values["weight"].to_numpy() if "weight" in values.coords else np.ones(values.sizes["member"])
    found, left = weighted_quantiles(values.transpose("member", *dims).to_numpy(), weight / weight.sum(), quantiles)
    coords = {name: c for name, c in values.coords.items() if "member" not in c.dims}
    return xr.Dataset(
        {str(values.name or "value"): (("quantile", *dims), found, values.attrs), "share": (dims, left)},
        coords={"quantile": np.atleast_1d(np.asarray(quantiles, float)), **coords},
    )


def in_order(crossings: xr.Dataset) -> xr.DataArray:
    """Return the doses of `crossing` as numbers that can be ranked: 0 below the lowest, infinite above the highest."""
    side = crossings["side"]
    return crossings["dose"].where(side != BELOW, 0.0).where(side != ABOVE, np.inf)
