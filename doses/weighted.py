"""Weights of the members of an ensemble in; checked, and the share of a finding among those with a number, out."""

from __future__ import annotations

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


def share(what: npt.NDArray[np.bool_], values: Float, weights: Float) -> Float:
    """Return the weight (...) of members for which `what` holds, of those whose value (n_members, ...) is a number."""
    each = np.where(np.isnan(values), 0.0, weights.reshape(-1, *[1] * (values.ndim - 1)))
    with np.errstate(invalid="ignore"):
        return (each * what).sum(axis=0) / each.sum(axis=0)
