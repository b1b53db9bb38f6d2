"""The distribution of a parameter in, by its numbers or as a table of a TOML file; values at given quantiles out."""

from __future__ import annotations

import inspect
import math
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """How a parameter is distributed; made by `uniform`, `log_uniform`, `normal` or `log_normal`.

    `centre` and `spread` are mean and standard deviation, of ln x where `log`; a uniform distribution has neither.
    Values below `lower` and above `upper` do not occur.
    """

    log: bool
    lower: float
    upper: float
    centre: float = 0.0
    spread: float = math.inf

    @classmethod
    def uniform(cls, lower: float, upper: float) -> Prior:
        """Return the distribution that is flat between two bounds."""
        return cls(False, *_bounds(lower, upper))

    @classmethod
    def log_uniform(cls, lower: float, upper: float) -> Prior:
        """Return the distribution whose logarithm is flat between two positive bounds."""
        if not lower > 0:
            raise InputError(f"a log-uniform distribution has positive bounds, given lower = {lower}")
        return cls(True, *_bounds(lower, upper))

    @classmethod
    def normal(cls, mean: float, sd: float, lower: float = -math.inf, upper: float = math.inf) -> Prior:
        """Return the normal distribution, cut off at the bounds."""
        if not (math.isfinite(mean) and 0 < sd < math.inf):
            raise InputError(f"a normal distribution has a mean and a positive sd, given {mean} and {sd}")
        return cls(False, *_bounds(lower, upper), float(mean), float(sd))

    @classmethod
    def log_normal(cls, median: float, factor: float, lower: float = 0.0, upper: float = math.inf) -> Prior:
        """Return the log-normal distribution, cut off: 68 % lie between median / factor and median x factor."""
        if not (0 < median < math.inf and 1 < factor < math.inf and lower >= 0):
            raise InputError(
                f"a log-normal distribution has a positive median, a factor above 1 and no negative bound, given "
                f"median = {median}, factor = {factor}, lower = {lower}"
            )
        return cls(True, *_bounds(lower, upper), math.log(median), math.log(factor))

    def at(self, quantiles: Iterable[float]) -> list[float]:
        """Return the values below which the given fractions of the distribution lie."""
        # one at a time, as Python floats: in array functions a last digit may depend on an element's place
        low, high = (_logarithm(x) if self.log else x for x in (self.lower, self.upper))
        if math.isinf(self.spread):
            points = [low + q * (high - low) for q in quantiles]
        else:
            from scipy.special import ndtr, ndtri

            first, last = (float(ndtr((x - self.centre) / self.spread)) for x in (low, high))
            points = [self.centre + self.spread * float(ndtri(first + q * (last - first))) for q in quantiles]
        if self.log:
            points = [math.exp(x) for x in points]
        return [min(max(x, self.lower), self.upper) for x in points]

    def recipe(self) -> dict[str, Any]:
        """Return the distribution as plain values."""
        return {name: value if isinstance(value, bool) else repr(value) for name, value in vars(self).items()}

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> Prior:
        """Return the distribution that `recipe` describes."""
        numbers = {name: float(value) for name, value in recipe.items() if name != "log"}
        return cls(log=bool(recipe["log"]), **numbers)


def _bounds(lower: float, upper: float) -> tuple[float, float]:
    if math.isnan(lower) or math.isnan(upper) or not lower < upper:
        raise InputError(f"the bounds of a distribution are {lower} and {upper}, expected the lower one first")
    return float(lower), float(upper)


def _logarithm(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


KINDS: dict[str, Callable[..., Prior]] = {
    "uniform": Prior.uniform, "log-uniform": Prior.log_uniform,
    "normal": Prior.normal, "log-normal": Prior.log_normal,
}  # fmt: skip


def read_priors(path: str | os.PathLike[str]) -> dict[str, Prior]:
    """Return the distributions of a TOML file: one table per parameter, `distribution` and the numbers it needs.

    For example::

        [kf]
        distribution = "log-uniform"    # or "uniform": lower, upper
        lower = 0.01
        upper = 1.0

        [kd]
        distribution = "log-normal"     # median, factor; "normal": mean, sd; both: lower, upper if cut off
        median = 10.0
        factor = 3.0

    Raises
    ------
    InputError
        If the file cannot be read or used; names the parameter.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}") from None
    if not tables:
        raise InputError(f"{path} is empty; expected a table per parameter, e.g. [kf] with distribution, lower, upper")
    priors = {}
    for name, table in tables.items():
        try:
            priors[name] = _read(table)
        except InputError as error:
            raise InputError(f"{path}: {name}: {error}") from None
    return priors


def _read(table: Any) -> Prior:
    if not isinstance(table, dict) or "distribution" not in table:
        raise InputError(f"expected a table with distribution = one of {', '.join(map(repr, KINDS))}")
    kind, numbers = table["distribution"], {key: value for key, value in table.items() if key != "distribution"}
    if kind not in KINDS:
        raise unknown_name("distribution", str(kind), KINDS)
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"{key} is {value!r}, expected a number")
    try:
        inspect.signature(KINDS[kind]).bind(**numbers)
    except TypeError:
        needed = inspect.signature(KINDS[kind]).parameters.values()
        must = [p.name for p in needed if p.default is p.empty]
        may = [p.name for p in needed if p.default is not p.empty]
        further = f" (and may have {', '.join(may)})" if may else ""
        raise InputError(
            f"a {kind} distribution has {' and '.join(must)}{further}, given {', '.join(numbers) or 'nothing'}"
        ) from None
    return KINDS[kind](**numbers)
