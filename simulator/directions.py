"""Directions: how parameters of a model move together, segment by segment, in; what they act on moves so, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .slopes import Entries, Slopes

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .protocol import Conditions, Segment

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Directions:
    """Directions in which the parameters of each condition move, and may move otherwise while a segment holds.

    Errors of derivatives are judged against a step of 1: let this be a step that counts, as a change of ln p by 1.

    Attributes
    ----------
    names : (n_directions,)
        What the derivatives are called.
    parameters : (n_parameters,)
        The parameters of the model that move.
    own : (n_conditions, n_parameters, n_directions)
        Derivative of the conditions' own parameters along each direction.
    held
        The same, per segment of the protocol: of the values that hold during the segment.
    """

    names: tuple[str, ...]
    parameters: tuple[str, ...]
    own: Float
    held: tuple[Float, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def check(self, conditions: Conditions) -> None:
        """Raise InputError unless there is a derivative per condition, segment, parameter and direction."""
        expected = len(conditions), len(self.parameters), len(self.names)
        if len(self.held) != len(conditions.protocol):
            raise InputError(
                f"directions have {len(self.held)} segments, the protocol has {len(conditions.protocol)}; "
                "give the derivatives of the values of each"
            )
        for weights in (self.own, *self.held):
            if weights.shape != expected:
                raise InputError(
                    f"directions have shape {weights.shape}, expected {expected}: conditions, parameters, directions"
                )

    def along(self, segment: Segment | None, protocol: Sequence[Segment], rows: slice) -> Float:
        """Return the derivatives (n, n_parameters, n_directions) for the conditions `rows` while `segment` holds."""
        weights = self.own if segment is None else self.held[[s is segment for s in protocol].index(True)]
        return weights[rows]


class DirectedSlopes:
    """As `Slopes`, for directions instead of single parameters; what was `held` there are here the derivatives of
    `Directions.along`.
    """

    def __init__(self, compiled: CompiledModel, directions: Directions) -> None:
        self.names = directions.names
        self._compiled = compiled
        self._single = _single(compiled, directions.parameters)
        moved = np.any([np.any(weights != 0.0, axis=0) for weights in (directions.own, *directions.held)], axis=0)
        self.values, self._of_values = _spread(self._single.values, moved)
        self.amounts, self._of_amounts = _spread(self._single.amounts, moved)

    def of_values(self, values: Float, held: Float) -> Float:
        """Return the derivatives (n, n_entries) at the places `values`, for parameter values (n, n_values)."""
        return _sums(self._single.of_values(values), held, self._of_values, len(self.values.row))

    def of_amounts(self, values: Float, held: Float) -> Float:
        """Return the derivatives (n, n_entries) at the places `amounts`; arguments as in `of_values`."""
        return _sums(self._single.of_amounts(values), held, self._of_amounts, len(self.amounts.row))

    def scales(self, values: Float, amounts: Float) -> Float:
        """Return the step (n, n_names) that errors are judged against: 1."""
        return np.ones((len(values), len(self.names)))


@lru_cache(maxsize=4)
def _single(compiled: CompiledModel, parameters: tuple[str, ...]) -> Slopes:
    """Return the slopes to single parameters; a search asks for the same ones at every point."""
    return Slopes(compiled, parameters)


Terms = list[tuple[int, int, int, int]]
"""Products to be added up: entry of the sum, entry of the single parameter, parameter, direction."""


def _spread(single: Entries, moved: npt.NDArray[np.bool_]) -> tuple[Entries, Terms]:
    """Return where quantities change along directions, and of which products, if `moved` (parameter, direction)."""
    places: dict[tuple[int, int], int] = {}
    terms = []
    for entry, (row, parameter) in enumerate(zip(single.row.tolist(), single.column.tolist(), strict=True)):
        for direction in np.flatnonzero(moved[parameter]).tolist():
            place = places.setdefault((row, direction), len(places))
            terms.append((place, entry, parameter, direction))
    pairs = np.array(list(places), np.int64).reshape(-1, 2)
    return Entries(pairs[:, 0].copy(), pairs[:, 1].copy()), terms


def _sums(numbers: Float, weights: Float, terms: Terms, n_entries: int) -> Float:
    total = np.zeros((len(numbers), n_entries))
    for place, entry, parameter, direction in terms:
        weight = weights[:, parameter, direction]
        # a parameter that stays where it is has no say, even where its derivative is not finite
        total[:, place] += np.where(weight == 0.0, 0.0, weight * numbers[:, entry])
    return total
