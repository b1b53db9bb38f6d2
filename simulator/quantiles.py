"""Numbers of weighted members in; their quantiles, and the weight of the members that have a number, out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .errors import InputError

Float = npt.NDArray[np.float64]


def weighted_quantiles(
    numbers: npt.ArrayLike, weights: npt.ArrayLike, quantiles: float | Sequence[float]
) -> tuple[Float, Float]:
    """Return quantiles (n_quantiles, ...) over the first axis of `numbers` (n_members, ...), and what weight is known.

    Members without a number (NaN) are left out. The q-quantile is the smallest number up to which the weights of the
    others sum to q; it is NaN where no member has a number.

    Raises InputError for quantiles outside 0 to 1.
    """
    q = np.atleast_1d(np.asarray(quantiles, float))
    if q.ndim != 1 or not len(q) or not np.all((q >= 0) & (q <= 1)):
        raise InputError(f"quantiles are {quantiles!r}, expected numbers from 0 to 1")
    numbers = np.asarray(numbers, float)
    there = ~np.isnan(numbers)
    weight = np.where(there, np.asarray(weights, float).reshape(-1, *[1] * (numbers.ndim - 1)), 0.0)
    known = weight.sum(axis=0)
    order = np.argsort(numbers, axis=0, kind="stable")  # NaN last
    ranked = np.take_along_axis(numbers, order, axis=0)
    with np.errstate(invalid="ignore"):
        reached = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0) / known
    found = np.stack(
        [
            # rounding of the sum must not pass over the member that reaches q
            np.take_along_axis(ranked, np.argmax(reached >= min(each, 1.0) - 1e-12, axis=0)[None], axis=0)[0]
            for each in q
        ]
    )
    return np.where(known > 0, found, np.nan), known
