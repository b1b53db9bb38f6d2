"""Effects at doses in, Hill curves out: many fitted at once, by least squares, and inverted.

    e(d) = base + amplitude d^slope / (halfway^slope + d^slope)

Effects are fractions of a control that are gone, so that none exceeds 1. Doses are centred on their logarithms first:
their unit changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

FEWEST = 3
"""Positive doses without which a Hill curve above a known base is not determined."""
STEEPEST, FLATTEST = 20.0, 0.1
"""Slopes beyond which a curve is not told from a step, or from a constant."""
BEYOND = np.log(1e3)
"""How far outside the doses `halfway` may lie, as a logarithm: 1,000-fold."""
MAX_STEPS = 300
AT_ONCE = 4096
"""Curves fitted together, which bounds the memory."""


class Hill(NamedTuple):
    """Curves; each field has the shape (...) of the curves."""

    base: Float
    amplitude: Float
    halfway: Float
    slope: Float

    def effect(self, doses: Float) -> Float:
        """Return the effects (..., n) at doses (n,)."""
        with np.errstate(divide="ignore"):
            x = np.log(doses) - np.log(self.halfway[..., None])
        return self.base[..., None] + self.amplitude[..., None] * _logistic(self.slope[..., None] * x)


def fit_hill(doses: Float, effect: Float, base: npt.ArrayLike = 0.0) -> Hill:
    """Return the curves that fit effects (..., n) at positive doses (n,) best, above bases (...) that are known.

    The amplitude may be negative, and base + amplitude is at most 1. A curve of which an effect or the base is not
    finite is NaN. Each starts at the best of a grid of slopes and halfway doses and descends by Levenberg-Marquardt
    steps; the curves do not see each other.
    """
    shape = effect.shape[:-1]
    bases = np.broadcast_to(np.asarray(base, float), shape).reshape(-1)
    gain = effect.reshape(-1, effect.shape[-1]) - bases[:, None]
    centre = np.log(doses).mean()
    x = np.log(doses) - centre
    amplitude, theta = np.full(len(gain), np.nan), np.full((len(gain), 2), np.nan)
    known = np.flatnonzero(np.isfinite(gain).all(axis=1))
    for some in np.split(known, range(AT_ONCE, len(known), AT_ONCE)):
        most = np.maximum(1.0 - bases[some], 0.0)
        amplitude[some], theta[some] = _descended(x, gain[some], _started(x, gain[some], most), most)
    halfway, slope = np.exp(theta[:, 0] + centre), np.exp(theta[:, 1])
    return Hill(*(values.reshape(shape) for values in (bases, amplitude, halfway, slope)))


def _logistic(x: Float) -> Float:
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-x))


def _started(x: Float, gain: Float, most: Float) -> Float:
    """Return the best (log halfway, log slope) of a grid, each with the amplitude that fits best."""
    halfway = np.linspace(x[0] - np.log(10), x[-1] + np.log(10), 4 * len(x))
    slope = np.log(np.geomspace(0.3, 8.0, 9))
    grid = np.stack(np.meshgrid(halfway, slope, indexing="ij"), axis=-1).reshape(-1, 2)
    shapes = _logistic(np.exp(grid[:, 1:]) * (x - grid[:, :1]))
    # sums dose by dose: a matrix product may round differently with the number of curves
    along = np.zeros((len(gain), len(grid)))
    for i in range(len(x)):
        along += gain[:, i, None] * shapes[:, i]
    square = (shapes**2).sum(axis=1)
    amplitude = np.minimum(along / square, most[:, None])
    return grid[np.argmin(amplitude * (amplitude * square - 2 * along), axis=1)]


def _descended(x: Float, gain: Float, theta: Float, most: Float) -> tuple[Float, Float]:
    """Return the amplitudes and the (log halfway, log slope) of least squares near `theta`, within bounds.

    The amplitude is linear and solved for, so that steps go along the best one (variable projection: G. H. Golub and
    V. Pereyra, SIAM J. Numer. Anal. 10:413, 1973; the derivative is that of L. Kaufman, BIT 15:49, 1975).
    """
    low, high = np.array([[x[0] - BEYOND, np.log(FLATTEST)], [x[-1] + BEYOND, np.log(STEEPEST)]])
    amplitude = np.zeros(len(gain))
    damping, active, diagonal = np.full(len(gain), 1e-3), np.arange(len(gain)), np.arange(2)
    for _ in range(MAX_STEPS):
        if not len(active):
            break
        now = theta[active]
        amplitude[active], misfit, slopes = _projected(x, gain[active], now, most[active])
        gradient = (slopes * misfit[..., None]).sum(axis=1)
        # a parameter on a bound from which descent would lead out takes no part
        free = ~(((now <= low) & (gradient > 0)) | ((now >= high) & (gradient < 0)))
        curvature = (slopes[..., :, None] * slopes[..., None, :]).sum(axis=1) * (free[:, :, None] & free[:, None, :])
        size = curvature[:, diagonal, diagonal]
        curvature[:, diagonal, diagonal] += damping[active, None] * size + np.where(free & (size > 0), 0.0, 1.0)
        trial = np.clip(now - np.linalg.solve(curvature, (gradient * free)[..., None])[..., 0], low, high)
        found, misfit_there, _ = _projected(x, gain[active], trial, most[active])
        better = (misfit_there**2).sum(axis=1) <= (misfit**2).sum(axis=1)
        theta[active[better]], amplitude[active[better]] = trial[better], found[better]
        damping[active] = np.maximum(damping[active] * np.where(better, 0.1, 10.0), 1e-14)
        settled = better & (np.abs(trial - now).max(axis=1) < 1e-11)
        active = active[~(settled | (damping[active] > 1e12))]
    return amplitude, theta


def _projected(x: Float, gain: Float, theta: Float, most: Float) -> tuple[Float, Float, Float]:
    """Return the best amplitudes (n_curves,) of shapes, their misfits, and the derivatives of these to the shape."""
    halfway, slope = theta[:, :1], np.exp(theta[:, 1:])
    shape = _logistic(slope * (x - halfway))
    square = (shape**2).sum(axis=1)
    best = (gain * shape).sum(axis=1) / square
    amplitude = np.minimum(best, most)
    steepness = amplitude[:, None] * slope * shape * (1 - shape)
    slopes = np.stack([-steepness, steepness * (x - halfway)], axis=-1)
    along = (slopes * shape[..., None]).sum(axis=1) / square[:, None]
    slopes = slopes - np.where((best < most)[:, None], along, 0.0)[:, None, :] * shape[..., None]
    return amplitude, amplitude[:, None] * shape - gain, slopes


class Response(NamedTuple):
    """The response to one drug, through all its points: between them, and beyond, a Hill curve's shape.

    Between two doses the fitted curve is stretched so that it meets both points, and beyond the last it goes on to the
    fitted maximum. So a response that is a Hill curve is kept exactly, and any other passes through its points.
    """

    fitted: Hill
    nodes: Float
    """Effects (n_curves, 1 + n) at dose 0 and at the doses; where an effect falls with dose, the highest so far."""
    shape: Float
    """What the fitted curve has there."""
    maximum: Float
    """(n_curves,): what no dose exceeds."""

    @classmethod
    def through(cls, doses: Float, effect: Float) -> Response:
        """Return the response with effects (n_curves, n) at positive doses (n,), and none without drug."""
        fitted = fit_hill(doses, effect)
        at_zero = np.zeros((len(effect), 1))
        nodes = np.maximum.accumulate(np.hstack([at_zero, effect]), axis=1)
        shape = np.hstack([at_zero, fitted.effect(doses)])
        return cls(fitted, nodes, shape, np.maximum(nodes[:, -1], fitted.amplitude))

    def dose(self, effect: Float) -> Float:
        """Return the doses (n_curves, m) that have effects (n_curves, m) above 0; infinite where none has."""
        n = self.nodes.shape[1]
        below = np.zeros(effect.shape, np.intp)
        for i in range(1, n):
            below += self.nodes[:, i, None] <= effect
        ends = np.column_stack([self.nodes, self.maximum]), np.column_stack([self.shape, self.fitted.amplitude])
        (e0, e1), (s0, s1) = (
            [np.take_along_axis(values, below + offset, axis=1) for offset in (0, 1)] for values in ends
        )
        amplitude = self.fitted.amplitude[:, None]
        with np.errstate(all="ignore"):
            s = s0 + (s1 - s0) * (effect - e0) / (e1 - e0)
            dose = self.fitted.halfway[:, None] * (s / (amplitude - s)) ** (1 / self.fitted.slope[:, None])
        return np.where((effect >= self.maximum[:, None]) | ~(s < amplitude), np.inf, dose)
