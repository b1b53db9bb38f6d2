"""Numbers of weighted members of an ensemble in, their quantiles and shares out; members without a number left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.quantiles import weighted_quantiles

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
    return weighted_quantiles(values, weights, q)[0]


def share(what: npt.NDArray[np.bool_], values: Float, weights: Float) -> Float:
    """Return the weight (...) of members for which `what` holds, of those whose value (n_members, ...) is a number."""
    each = _weights_of_numbers(values, weights)
    with np.errstate(invalid="ignore"):
        return (each * what).sum(axis=0) / each.sum(axis=0)


def _weights_of_numbers(values: Float, weights: Float) -> Float:
    return np.where(np.isnan(values), 0.0, weights.reshape(-1, *[1] * (values.ndim - 1)))
