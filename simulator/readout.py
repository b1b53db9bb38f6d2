"""Read-outs: names of what a user wants to see in; sums of species to keep, and what follows from them, out."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .errors import unknown_name
from .expressions import TIME, array_function, names_in, used_by
from .slopes import OutputSlopes, Slopes

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .directions import DirectedSlopes

Float = npt.NDArray[np.float64]


class Readout:
    """Which sums of species to keep while integrating, and how named expressions follow from them."""

    def __init__(self, compiled: CompiledModel, names: Sequence[str] | None) -> None:
        self.names = tuple(compiled.observables if names is None else names)
        groups = compiled.network.observables
        expressions = compiled._functions
        species = {name: i for i, name in enumerate(compiled.species)}
        needed: dict[str, tuple[tuple[int, float], ...]] = {}
        for name in self.names:
            if name in groups:
                needed[name] = groups[name]
            elif name in species:
                needed[name] = ((species[name], 1.0),)
            elif name not in expressions:
                raise unknown_name("observable", name, compiled.observables)
        self.expressions = [name for name in self.names if name in expressions and name not in needed]
        wanted = [ast.Name(name, ast.Load()) for name in self.expressions]
        definitions = used_by(wanted, expressions)
        used = set().union(*(names_in(tree) for tree in definitions.values()))
        needed |= {name: group for name, group in groups.items() if name in used}
        self.kept = tuple(needed)
        position = compiled.plan[1].position
        self.pointer = np.cumsum([0, *(len(group) for group in needed.values())]).astype(np.int64)
        self.species = np.array([position[i] for group in needed.values() for i, _ in group], np.int64)
        self.weight = np.array([w for group in needed.values() for _, w in group], float)
        place = {name: f"v[{i}][:, None]" for name, i in compiled._value_index.items()}
        place |= {name: f"x[:, :, {i}]" for i, name in enumerate(self.kept)} | {TIME: "t[None, :]"}
        self._evaluate = array_function(wanted, place, "x, t, v", definitions)
        self._wanted, self._definitions, self._place = wanted, definitions, place

    def slopes(self, slopes: Slopes | DirectedSlopes) -> OutputSlopes:
        """Return how derivatives of the read-outs follow from those of the sums."""
        trees = dict(zip(self.expressions, self._wanted, strict=True))
        return OutputSlopes(slopes, self.names, self.kept, trees, self._definitions, self._place)

    def complete(self, kept: Float, times: Float, values: Float) -> Float:
        """Return values (n, n_times, n_names) from sums (n, n_times, n_kept) and parameter values (n, n_values)."""
        if not self.expressions:
            return kept[:, :, [self.kept.index(name) for name in self.names]]
        with np.errstate(all="ignore"):
            computed = self._evaluate(kept, times, values.T)
        shape = kept.shape[:2]
        missing = np.isnan(kept).any(axis=2)
        by_name = {name: kept[:, :, i] for i, name in enumerate(self.kept)}
        for name, column in zip(self.expressions, computed, strict=True):
            by_name[name] = np.where(missing, np.nan, np.broadcast_to(column, shape))
        return np.stack([by_name[name] for name in self.names], axis=2)
