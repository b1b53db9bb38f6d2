"""Numbers of weighted members of an ensemble in, their quantiles and shares out; members without a number left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError

Float = npt.NDArray[np.float64]


def checked_weights(weights: npt.ArrayLike | None, n: int) -> Float:
    """Return the weights (n,) of members, with sum 1; all equal if None.

    Raises InputError unless they are n numbers that are not negative, one of them positive.
    """
    given = np.ones(n) if weights is None else np.asarray(weights, float)
    if given.shape != (n,) or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        raise InputError(
            f"weights have shape {given.shape} and sum {given.sum():g}; give {n} numbers, one per member, none "
            "negative and not all 0"
        )
    return given / given.sum()


def quantiles(values: Float, weights: Float, q: Sequence[float]) -> Float:
    """Return weighted quantiles (n_q, ...) of values (n_members, ...) over the members that have a number.

    The q-quantile is the smallest value up to which the weights sum to q. It is NaN where no member has a number.
    """
    each = _weights_of_numbers(values, weights)
    order = np.argsort(values, axis=0, kind="stable")  # NaN last
    ranked = np.take_along_axis(values, order, axis=0)
    reached = np.cumsum(np.take_along_axis(each, order, axis=0), axis=0)
    total = each.sum(axis=0)
    # rounding of the sum must not pass over the member that reaches q
    places = [np.argmax(reached >= (min(one, 1.0) - 1e-12) * total, axis=0) for one in q]
    found = np.stack([np.take_along_axis(ranked, place[None], axis=0)[0] for place in places])
    return np.where(total > 0, found, np.nan)


def share(what: npt.NDArray[np.bool_], values: Float, weights: Float) -> Float:
    """Return the weight (...) of members for which `what` holds, of those whose value (n_members, ...) is a number."""
    each = _weights_of_numbers(values, weights)
    with np.errstate(invalid="ignore"):
        return (each * what).sum(axis=0) / each.sum(axis=0)


def _weights_of_numbers(values: Float, weights: Float) -> Float:
    return np.where(np.isnan(values), 0.0, weights.reshape(-1, *[1] * (values.ndim - 1)))
