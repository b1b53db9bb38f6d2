"""Noise models: predicted and measured values in, log-likelihoods and their derivatives out.

With `x` the value, or its natural logarithm where the name of the distribution begins with `log-`, the standardised
deviation is `z = (x_measured - x_predicted) / sigma`. A distribution is the density f and the cumulative F of z, which
is symmetric. The likelihood of a measurement is `f(z) / sigma`, over the measured value if logarithmic; of a
censored one it is a probability:

    left        F(z)                the measurement is a detection limit, the value at or below it
    right       F(-z)               the measurement is where the assay saturates, the value at or above it
    interval    F(z_upper) - F(z)   the value is between the measurement and `measurementUpper`

Each log-likelihood is split as `-misfit - [not censored] ln(sigma) - constant`, with a misfit that is never negative
and, where not censored, 0 for a perfect prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Words = npt.NDArray[np.str_]

DEGREES = 4.0
"""Degrees of freedom of `student-t`: assumed; tails heavy enough for outliers, and the variance is finite."""
CENSORING = ("left", "right", "interval")


class Standard(NamedTuple):
    """A symmetric distribution of the standardised deviation."""

    log_density: Callable[[Float], Float]
    slope: Callable[[Float], Float]
    """Derivative of `log_density`."""
    log_cumulative: Callable[[Float], Float]
    information: tuple[float, float]
    """Expected second derivatives of -ln(f(z) / sigma) to x and to sigma, times sigma squared."""


def _log_cumulative_normal(z: Float) -> Float:
    from scipy.special import log_ndtr

    return np.asarray(log_ndtr(z))


def _log_cumulative_laplace(z: Float) -> Float:
    below = np.minimum(z, 0.0)
    return np.where(z < 0.0, below - math.log(2.0), np.log1p(-0.5 * np.exp(-np.maximum(z, 0.0))))


def _log_cumulative_student(z: Float) -> Float:
    from scipy.special import stdtr

    return np.log(stdtr(DEGREES, z))


_STUDENT = math.lgamma((DEGREES + 1) / 2) - math.lgamma(DEGREES / 2) - 0.5 * math.log(DEGREES * math.pi)
_NORMAL = Standard(lambda z: -0.5 * z**2 - 0.5 * math.log(2 * math.pi), lambda z: -z, _log_cumulative_normal,
                   (1.0, 2.0))  # fmt: skip
_LAPLACE = Standard(lambda z: -np.abs(z) - math.log(2.0), lambda z: -np.sign(z), _log_cumulative_laplace,
                    (1.0, 1.0))  # fmt: skip
_STUDENT_T = Standard(
    lambda z: _STUDENT - 0.5 * (DEGREES + 1) * np.log1p(z**2 / DEGREES),
    lambda z: -(DEGREES + 1) * z / (DEGREES + z**2),
    _log_cumulative_student,
    ((DEGREES + 1) / (DEGREES + 3), 2 * DEGREES / (DEGREES + 3)),
)
DISTRIBUTIONS: dict[str, Standard] = {
    "normal": _NORMAL, "log-normal": _NORMAL, "laplace": _LAPLACE, "log-laplace": _LAPLACE, "student-t": _STUDENT_T,
}  # fmt: skip


class Misfit(NamedTuple):
    """Misfits of measurements, and their derivatives; NaN where a prediction has no logarithm."""

    value: Float
    by_predicted: Float
    by_sigma: Float
    deviation: Float
    """Predicted minus measured over sigma, of logarithms where these count: the residual of quadratic noise."""


def is_logarithmic(distribution: str) -> bool:
    """Tell whether the noise is that of the natural logarithm."""
    return distribution.startswith("log-")


def misfit(
    distribution: str,
    predicted: npt.ArrayLike,
    measured: npt.ArrayLike,
    sigma: npt.ArrayLike,
    censoring: npt.ArrayLike = "",
    upper: npt.ArrayLike = math.nan,
) -> Misfit:
    """Return the misfits of measurements (n,) with their derivatives to the prediction and to sigma.

    Parameters
    ----------
    distribution
        A name of `DISTRIBUTIONS`.
    predicted, measured, sigma : (n,)
        Sigma is that of the logarithm where the distribution is of it.
    censoring : (n,)
        A word of `CENSORING` each, or nothing.
    upper : (n,)
        The upper end where `censoring` is `interval`.
    """
    standard, log = DISTRIBUTIONS[distribution], is_logarithmic(distribution)
    y, m, s, top = (np.asarray(x, float) for x in np.broadcast_arrays(predicted, measured, sigma, upper))
    kind = np.broadcast_to(np.asarray(censoring, str), y.shape)
    with np.errstate(all="ignore"):
        a, b = ((np.log(x) - np.log(y)) / s if log else (x - y) / s for x in (m, top))
        value = standard.log_density(np.zeros(())) - standard.log_density(a)
        by_a, by_b = -standard.slope(a), np.zeros_like(a)
        for word, sign in (("left", 1.0), ("right", -1.0)):
            z = sign * a
            log_p = standard.log_cumulative(z)
            value = np.where(kind == word, -log_p, value)
            by_a = np.where(kind == word, -sign * np.exp(standard.log_density(z) - log_p), by_a)
        log_p = _log_between(standard, a, b)
        inside = kind == "interval"
        value = np.where(inside, -log_p, value)
        by_a = np.where(inside, np.exp(standard.log_density(a) - log_p), by_a)
        by_b = np.where(inside, -np.exp(standard.log_density(b) - log_p), by_b)
        by_x = -(by_a + by_b) / s
        by_sigma = -(by_a * a + np.where(inside, by_b * b, 0.0)) / s
        return Misfit(value, by_x / y if log else by_x, by_sigma, -a)


def _log_between(standard: Standard, a: Float, b: Float) -> Float:
    """Return ln(F(b) - F(a)), in the tail where it is most exact."""
    low, high = np.where(a > 0.0, -b, a), np.where(a > 0.0, -a, b)
    top = standard.log_cumulative(high)
    return top + np.log(-np.expm1(standard.log_cumulative(low) - top))


def log_likelihood(
    distribution: str,
    predicted: npt.ArrayLike,
    measured: npt.ArrayLike,
    sigma: npt.ArrayLike,
    censoring: npt.ArrayLike = "",
    upper: npt.ArrayLike = math.nan,
) -> Float:
    """Return the log-likelihood of each measurement, (n,); arguments as of `misfit`."""
    m, s = np.asarray(measured, float), np.asarray(sigma, float)
    value = misfit(distribution, predicted, m, s, censoring, upper).value
    with np.errstate(all="ignore"):
        constant = np.log(s) - DISTRIBUTIONS[distribution].log_density(np.zeros(()))
        constant = constant + np.log(m) if is_logarithmic(distribution) else constant
    return -value - np.where(np.asarray(censoring, str) == "", constant, 0.0)


def information(
    distribution: str,
    predicted: npt.ArrayLike,
    measured: npt.ArrayLike,
    sigma: npt.ArrayLike,
    censoring: npt.ArrayLike = "",
    upper: npt.ArrayLike = math.nan,
) -> Float:
    """Return what each measurement says of its prediction and its sigma, (n, 2, 2); arguments as of `misfit`.

    Where not censored it is the expected (Fisher) information, `diag(location, scale) / sigma^2` with

        normal       location 1                   scale 2
        laplace      location 1                   scale 1
        student-t    location (nu + 1)/(nu + 3)   scale 2 nu/(nu + 3)

    for nu degrees of freedom, and location over the square of the prediction where the noise is that of the logarithm.
    Where censored it is the second derivative of the misfit at the prediction, without directions of negative curvature
    (heavy tails); it depends on the prediction, and is nearly 0 where the prediction is well within the limits.
    """
    standard, log = DISTRIBUTIONS[distribution], is_logarithmic(distribution)
    y, m, s, top = (np.asarray(x, float) for x in np.broadcast_arrays(predicted, measured, sigma, upper))
    kind = np.broadcast_to(np.asarray(censoring, str), y.shape)
    found = np.zeros((*y.shape, 2, 2))
    with np.errstate(all="ignore"):
        found[..., 0, 0], found[..., 1, 1] = (constant / s**2 for constant in standard.information)
        a, b = ((np.log(x) - np.log(y)) / s if log else (x - y) / s for x in (m, top))
        for word, sign in (("left", 1.0), ("right", -1.0)):
            z = sign * a
            ratio = np.exp(standard.log_density(z) - standard.log_cumulative(z))
            curved = _curvature(a, s, -sign * ratio, ratio * (ratio - standard.slope(z)))
            found = np.where((kind == word)[..., None, None], curved, found)
        log_p = _log_between(standard, a, b)
        at_a, at_b = (np.exp(standard.log_density(z) - log_p) for z in (a, b))
        curved = (
            _curvature(a, s, at_a, at_a * (at_a + standard.slope(a)))
            + _curvature(b, s, -at_b, at_b * (at_b - standard.slope(b)))
            + _mixed(a, b, s, -at_a * at_b)
        )
        found = np.where((kind == "interval")[..., None, None], curved, found)
        if log:
            found[..., 0, :] /= y[..., None]
            found[..., :, 0] /= y[..., None]
    return found


def _curvature(z: Float, s: Float, first: Float, second: Float) -> Float:
    """Return the second derivatives (..., 2, 2) to x and sigma of what has two derivatives to z = (x_m - x)/sigma."""
    mixed = second * z + first
    return _symmetric(second, mixed, second * z**2 + 2 * first * z) / s[..., None, None] ** 2


def _mixed(a: Float, b: Float, s: Float, second: Float) -> Float:
    """Return what the mixed derivative to a and b adds to those to x and sigma, (..., 2, 2)."""
    return _symmetric(2 * second, second * (a + b), 2 * second * a * b) / s[..., None, None] ** 2


def _symmetric(first: Float, mixed: Float, last: Float) -> Float:
    return np.stack([np.stack([first, mixed], axis=-1), np.stack([mixed, last], axis=-1)], axis=-2)
