"""Points on the search scale in, parameter values out, and back; with bounds and priors on the same footing.

A log-normal prior is PEtab's: `mean; sd` of the natural logarithm. Its residual is (ln x - mean) / sd, so the most
probable value is exp(mean): the density is taken over ln x, not over x.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from .tables import Table

Float = npt.NDArray[np.float64]
FLAT = "uniform"


class Scaling:
    """The estimated parameters of a table.

    Attributes
    ----------
    names
        Names of the estimated parameters, in the table's order.
    lower, upper, nominal : (n_free,)
        Bounds and nominal point on the search scale.
    """

    def __init__(self, parameters: Table, without: Collection[str] = ()) -> None:
        """`without` names estimated parameters that are left out."""
        free = parameters.frame[parameters.frame["estimate"] & ~parameters.frame["parameterId"].isin([*without])]
        if not len(free):
            raise InputError(f"{parameters.file}: no parameter has estimate true; there is nothing to fit")
        self.names: tuple[str, ...] = tuple(free["parameterId"])
        self._log = np.array(free["parameterScale"] == "log10")
        self.lower, self.upper, self.nominal = (
            self.to_search(free[column].to_numpy(float)) for column in ("lowerBound", "upperBound", "nominalValue")
        )
        self._distribution = list(free["priorDistribution"])
        pairs = [tuple(map(float, cell.split(";"))) if kind != FLAT else (0.0, 1.0)
                 for kind, cell in zip(self._distribution, free["priorParameters"], strict=True)]  # fmt: skip
        self._mean, self._sd = np.array(pairs).T
        self._informative = np.array([kind != FLAT for kind in self._distribution])
        self._prior_log = np.array([kind == "log-normal" for kind in self._distribution])

    def to_values(self, theta: npt.ArrayLike) -> Float:
        """Return parameter values (..., n_free) at points `theta` (..., n_free) of the search scale."""
        point = np.asarray(theta, float)
        columns = [
            # one at a time: in NumPy's power the last digit may depend on an element's place in the array
            [10.0 ** min(float(x), 308.0) for x in np.ravel(column)] if log else np.ravel(column)
            for log, column in zip(self._log, np.moveaxis(point, -1, 0), strict=True)
        ]
        return np.stack([np.reshape(column, point.shape[:-1]) for column in columns], axis=-1)

    def to_search(self, values: npt.ArrayLike) -> Float:
        """Return the point on the search scale of parameter values (..., n_free)."""
        x = np.asarray(values, float)
        return np.where(self._log, np.log10(np.where(self._log, x, 1.0)), x)

    def value_slopes(self, theta: Float) -> Float:
        """Return the derivatives (n_free,) of the parameter values to their places on the search scale."""
        return np.where(self._log, self.to_values(theta) * math.log(10), 1.0)

    def flat(self) -> dict[str, tuple[float, float]]:
        """Return the bounds, on the natural scale, of the parameters with uniform priors."""
        lower, upper = self.to_values(self.lower), self.to_values(self.upper)
        known = zip(self.names, lower.tolist(), upper.tolist(), self._informative, strict=True)
        return {name: (low, high) for name, low, high, informative in known if not informative}

    @property
    def n_priors(self) -> int:
        """Number of prior residuals: one per parameter with an informative prior."""
        return int(np.count_nonzero(self._informative))

    def prior_residuals(self, theta: npt.ArrayLike) -> Float:
        """Return (x - mean) / sd, or (ln x - mean) / sd, of the parameters with informative priors, (n_priors,)."""
        x = self.to_values(theta)
        coordinate = np.where(self._prior_log, np.log(np.where(self._prior_log, x, 1.0)), x)
        return ((coordinate - self._mean) / self._sd)[self._informative]

    def prior_slopes(self, theta: Float) -> Float:
        """Return the derivatives of `prior_residuals` to theta, (n_priors, n_free)."""
        x = self.to_values(theta)
        slopes = self.value_slopes(theta) / np.where(self._prior_log, x, 1.0) / self._sd
        return np.diag(slopes)[self._informative]

    def log_prior(self, theta: Float) -> float:
        """Return the log density of the priors, over ln x where log-normal; uniform ones count 0 within the bounds."""
        if np.any(theta < self.lower) or np.any(theta > self.upper):
            return -math.inf
        constants = np.log(self._sd * math.sqrt(2 * math.pi))[self._informative]
        return float(-0.5 * np.sum(self.prior_residuals(theta) ** 2) - constants.sum())

    def prior_spread(self) -> Float:
        """Return the prior's standard deviation on the search scale, (n_free,); NaN for uniform priors.

        For a normal prior searched in log10, and the reverse, it is that of the straight line through the centre.
        """
        centre = self.prior_centre()
        spread = np.where(self._prior_log, self._sd * centre, self._sd)
        spread = np.where(self._log, spread / (np.abs(centre) * math.log(10)), spread)
        return np.where(self._informative, spread, np.nan)

    def prior_centre(self) -> Float:
        """Return the most probable value of each prior, (n_free,); NaN for uniform priors."""
        centre = np.where(self._prior_log, np.exp(np.where(self._prior_log, self._mean, 0.0)), self._mean)
        return np.where(self._informative, centre, np.nan)

    def prior_words(self) -> list[str]:
        """Return each prior in words, for example `1 x/÷ 3.2` for a log-normal prior."""
        words = []
        for kind, mean, sd in zip(self._distribution, self._mean, self._sd, strict=True):
            if kind == "log-normal":
                words.append(f"{math.exp(mean):.3g} x/÷ {math.exp(sd):.2g}")
            else:
                words.append(f"{mean:.3g} ± {sd:.2g}" if kind == "normal" else "uniform within bounds")
        return words

    def step(self, theta: Float, size: float) -> Float:
        """Return difference steps (n_free,) that stay inside the bounds; `size` is relative on a linear scale."""
        width = np.where(self._log, 1.0, np.maximum(np.abs(theta), 1e-3 * (self.upper - self.lower)))
        step = size * width
        return np.where(theta + step > self.upper, -step, step)

    def at_quantiles(self, quantiles: npt.ArrayLike) -> Float:
        """Return the point (n_free,) at which each prior, cut off at the bounds, has the given quantile in [0, 1].

        Uniform priors are uniform on the search scale.
        """
        from scipy.stats import truncnorm

        share = np.asarray(quantiles, float)
        ends = self.to_values(np.stack([self.lower, self.upper]))
        ends = np.where(self._prior_log, np.log(np.where(self._prior_log, ends, 1.0)), ends)
        low, high = (ends - self._mean) / self._sd
        coordinate = truncnorm.ppf(share, low, high, loc=self._mean, scale=self._sd)
        values = np.where(self._prior_log, np.exp(np.where(self._prior_log, coordinate, 0.0)), coordinate)
        informed = self.to_search(np.where(self._informative, values, 1.0))
        uniform = self.lower + share * (self.upper - self.lower)
        return np.clip(np.where(self._informative, informed, uniform), self.lower, self.upper)

    def draw(self, generator: np.random.Generator) -> Float:
        """Return one point (n_free,) drawn from the priors, cut off at the bounds."""
        return self.at_quantiles(generator.random(len(self.names)))


def joint_draws(mean: npt.ArrayLike, covariance: npt.ArrayLike, n: int, generator: np.random.Generator) -> Float:
    """Return `n` draws, (n, n_parameters), from the normal distribution of parameters that are known together.

    Parameters
    ----------
    mean : (n_parameters,)
        On the scale of the draws: for decimal logarithms, of these.
    covariance : (n_parameters, n_parameters)
        On the same scale; singular where a parameter follows from others.
    n, generator
        How many draws, and from which stream.

    Raises
    ------
    InputError
        If the covariance has the wrong shape, is not symmetric or not positive semidefinite.
    """
    centre, matrix = np.asarray(mean, float), np.asarray(covariance, float)
    if matrix.shape != (len(centre), len(centre)) or not np.array_equal(matrix, matrix.T):
        raise InputError(
            f"the covariance has shape {matrix.shape}; expected a symmetric matrix of {len(centre)} rows, as the mean"
        )
    variances, directions = np.linalg.eigh(matrix)
    # a table of five decimals is semidefinite to its last digit
    if variances[0] < -1e-4 * max(variances[-1], 0.0):
        raise InputError(f"the covariance has the eigenvalue {variances[0]:.3g}; expected none below 0")
    spread = directions * np.sqrt(np.maximum(variances, 0.0))
    # summed draw by draw: the first ones do not depend on how many are asked for
    return centre + np.array([(spread * drawn).sum(axis=1) for drawn in generator.standard_normal((n, len(centre)))])
