"""What a sweep goes through in; the parameter values of any stretch of its points out, made when they are asked for.

A sweep never holds all its points: `rows(first, last)` gives those numbered `first` to before `last`, to the same bits
whichever stretch they are asked for in.
"""

from __future__ import annotations

import hashlib
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from .priors import Prior

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]
MOST_DRAWN = 2**30


class Points(Protocol):
    """Points in the space of the parameters `names`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that vary."""

    def __len__(self) -> int:
        """Return the number of points."""

    def rows(self, first: int, last: int) -> Float:
        """Return the values at the points from `first` to before `last`, shape (last - first, n_names)."""

    def recipe(self) -> dict[str, Any]:
        """Return what makes these points these points, as plain values; the same for the same points."""


class Grid:
    """All combinations of the given values, the last parameter running fastest."""

    def __init__(self, axes: Mapping[str, npt.ArrayLike]) -> None:
        self._axes = {name: _numbers(values, f"the values of {name}") for name, values in axes.items()}
        self.names = tuple(self._axes)
        self._shape = tuple(map(len, self._axes.values()))
        if not self.names or 0 in self._shape:
            raise InputError("a grid needs at least one parameter, and at least one value of each")

    def __len__(self) -> int:
        return math.prod(self._shape)

    def rows(self, first: int, last: int) -> Float:
        """Return the values at a stretch of points, (last - first, n_names)."""
        places = np.unravel_index(np.arange(first, last), self._shape)
        return np.stack([axis[place] for axis, place in zip(self._axes.values(), places, strict=True)], axis=1)

    def recipe(self) -> dict[str, Any]:
        """Return the axes."""
        return {"kind": "grid", "axes": {name: values.tolist() for name, values in self._axes.items()}}


class Sobol:
    """`n` points that cover distributions evenly: a scrambled Sobol' sequence.

    Point i does not depend on `n`: a sample can be continued by a longer one in another folder.
    """

    def __init__(self, n: int, priors: Mapping[str, Prior], seed: int = 0) -> None:
        self._n = _whole(n, "the number of points", 1, MOST_DRAWN)
        self._seed = _whole(seed, "seed", 0, 2**63)
        self._priors = dict(priors)
        self.names = tuple(self._priors)
        if not self.names:
            raise InputError("a Sobol' sample needs at least one parameter with its distribution")
        if wrong := [name for name, prior in self._priors.items() if not isinstance(prior, Prior)]:
            raise InputError(
                f"the distribution of {wrong[0]} is {self._priors[wrong[0]]!r}, expected a Prior, e.g. "
                "Prior.log_uniform(0.1, 10)"
            )

    def __len__(self) -> int:
        return self._n

    def rows(self, first: int, last: int) -> Float:
        """Return the values at a stretch of points, (last - first, n_names)."""
        from scipy.stats import qmc

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # balance is a property of the whole, not of a stretch
            engine = qmc.Sobol(len(self.names), seed=np.random.default_rng(self._seed))
            if first:
                engine.fast_forward(first)
            drawn = engine.random(last - first)
        inside = np.clip(drawn, 0.5 / MOST_DRAWN, 1 - 0.5 / MOST_DRAWN)  # at 0 and 1 a distribution may have no value
        columns = zip(self._priors.values(), inside.T.tolist(), strict=True)
        return np.array([prior.at(column) for prior, column in columns]).T

    def recipe(self) -> dict[str, Any]:
        """Return number, seed and distributions."""
        priors = {name: prior.recipe() for name, prior in self._priors.items()}
        return {"kind": "sobol", "n": self._n, "seed": self._seed, "priors": priors}


class PointTable:
    """The rows of a table, one column per parameter."""

    def __init__(self, table: pd.DataFrame | Mapping[str, npt.ArrayLike]) -> None:
        columns = {str(name): _numbers(table[name], f"the column {name}") for name in table}
        if not columns or 0 in (lengths := {len(values) for values in columns.values()}):
            raise InputError("a table of points needs at least one parameter and one row")
        if len(lengths) > 1:
            raise InputError(f"the columns of a table of points differ in length: {sorted(lengths)}")
        self.names, self.values = tuple(columns), np.stack(list(columns.values()), axis=1)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, first: int, last: int) -> Float:
        """Return a stretch of rows, (last - first, n_names)."""
        return self.values[first:last]

    def recipe(self) -> dict[str, Any]:
        """Return names and the checksum of the values."""
        checksum = hashlib.sha256(np.ascontiguousarray(self.values, "<f8").tobytes()).hexdigest()
        return {"kind": "table", "names": list(self.names), "n": len(self), "sha256": checksum}


@dataclass(frozen=True)
class Computed:
    """Points that a function makes: `make(first, last)` returns the values (last - first, n_names).

    The function must give a point the same values whichever stretch it is asked for in. With several processes it must
    be one that can be sent to them: defined in a module. `made_from` says, in plain values, all that the function
    depends on: two sweeps with the same `made_from` are taken for the same.
    """

    n: int
    names: tuple[str, ...]
    make: Callable[[int, int], npt.ArrayLike]
    made_from: Mapping[str, Any]

    def __len__(self) -> int:
        return self.n

    def rows(self, first: int, last: int) -> Float:
        """Return the values at a stretch of points, (last - first, n_names)."""
        values = np.asarray(self.make(first, last), float)
        if values.shape != (last - first, len(self.names)):
            raise InputError(
                f"the function that makes points {first} to {last} gave values of shape {values.shape}, "
                f"expected {(last - first, len(self.names))}"
            )
        return values

    def recipe(self) -> dict[str, Any]:
        """Return what the function depends on."""
        return {"kind": "computed", "names": list(self.names), "n": self.n, "made from": dict(self.made_from)}


def points_from(recipe: Mapping[str, Any], table: Callable[[], Float]) -> Points | None:
    """Return the points that a recipe describes, the rows of a table from `table()`; None for those of a function."""
    match recipe["kind"]:
        case "grid":
            return Grid(recipe["axes"])
        case "sobol":
            priors = {name: Prior.from_recipe(prior) for name, prior in recipe["priors"].items()}
            return Sobol(recipe["n"], priors, recipe["seed"])
        case "table":
            return PointTable(dict(zip(recipe["names"], table().T, strict=True)))
    return None


def as_points(given: Points | Mapping[str, npt.ArrayLike] | pd.DataFrame) -> Points:
    """Return points as they are, a grid for a mapping of names to values, and the rows of a data frame."""
    if all(hasattr(given, name) for name in ("names", "rows", "recipe")):
        return given  # type: ignore[return-value]
    if isinstance(given, Mapping):
        return Grid(given)
    if hasattr(given, "columns"):
        return PointTable(given)
    raise InputError(
        f"parameters is a {type(given).__name__}, expected a Grid, a Sobol sample, a PointTable, a table or a mapping "
        "of names to values"
    )


def _numbers(values: Any, what: str) -> Float:
    try:
        numbers = np.atleast_1d(np.array(values, float))
    except (TypeError, ValueError):
        raise InputError(f"{what} are {_short(values)}, expected numbers") from None
    if numbers.ndim != 1 or not np.all(np.isfinite(numbers)):
        raise InputError(f"{what} are {_short(values)}, expected a list of finite numbers")
    return numbers


def _whole(given: Any, what: str, least: int, most: int) -> int:
    try:
        number = operator.index(given)
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        raise InputError(f"{what} is {given!r}, expected a whole number from {least} to {most:,}")
    return number


def _short(values: Sequence[Any]) -> str:
    text = str(values)
    return text if len(text) <= 60 else f"{text[:57]}..."
