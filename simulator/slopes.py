"""Slopes of a model's numbers: names of free parameters in, derivatives of values and initial amounts to them out.

A free parameter acts on a trajectory in two ways: through the values (free and derived parameters) that rate
constants, rate functions and named expressions read, and through the initial amounts. Both sets of derivatives are
sparse, with a pattern that is the same for all conditions; numbers are computed per condition.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InputError, unknown_name
from .expressions import array_function, derivative, is_zero, names_in

if TYPE_CHECKING:
    from .compiled import CompiledModel

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


class Entries(NamedTuple):
    """Places of a sparse matrix (quantity, free parameter) at which a derivative is not zero throughout."""

    row: Index
    column: Index

    def dense(self, numbers: Float, n_rows: int, n_columns: int) -> Float:
        """Return the matrices (n, n_rows, n_columns) that hold `numbers` (n, n_entries) at these places."""
        matrices = np.zeros((len(numbers), n_rows, n_columns))
        matrices[:, self.row, self.column] = numbers
        return matrices


class Slopes:
    """How the values and the initial amounts of a model change with its free parameters `names`.

    A name is a parameter that can be set, or a species: then its initial amount, in addition to whatever expression
    gives it. Derivatives are on the natural scale, exact, by the chain rule through derived parameters.

    Attributes
    ----------
    names : (n_names,)
        The free parameters.
    values
        Places (value, name) of the derivatives of `CompiledModel.values`.
    amounts
        Places (species, name) of the derivatives of `CompiledModel.initial_amounts`, species in the model's order.

    Raises
    ------
    UnknownNameError, InputError
        For a name that is neither, that is given twice, or that `CompiledModel.parameter_index` refuses.
    """

    def __init__(self, compiled: CompiledModel, names: Sequence[str]) -> None:
        if isinstance(names, str):
            raise InputError(f"sensitivities are given as {names!r}, expected a sequence of names, e.g. [{names!r}]")
        self.names = tuple(names)
        self._compiled = compiled
        known = {name: i for i, name in enumerate(compiled.species)}
        initials = [(i, tree) for i, tree in enumerate(compiled._initial_trees) if names_in(tree)]
        definitions: dict[str, ast.expr] = {}
        values: list[tuple[int, int, ast.expr]] = []
        amounts: list[tuple[int, int, ast.expr]] = []
        for column, name in enumerate(self.names):
            if name in self.names[:column]:
                raise InputError(f"sensitivities to {name!r} are asked for twice; give each name once")
            if name in known:
                amounts.append((known[name], column, ast.Constant(1.0)))
                continue
            if name not in compiled._value_index:
                raise unknown_name("parameter or species", name, (*compiled.parameters, *compiled.species))
            compiled.parameter_index(name)
            inner: dict[str, ast.expr] = {name: ast.Constant(1.0)}
            for quantity, tree in compiled._derived_trees.items():
                if not is_zero(slope := derivative(tree, name, inner)):
                    symbol = f"d {quantity}/d {name}"  # no name of a quantity has a blank
                    definitions[symbol] = slope
                    inner[quantity] = ast.Name(symbol, ast.Load())
            values += [(compiled._value_index[quantity], column, slope) for quantity, slope in inner.items()]
            for i, tree in initials:
                if not is_zero(slope := derivative(tree, name, inner)):
                    amounts.append((i, column, slope))
        self.values, self.amounts = _entries(values), _entries(amounts)
        place = {name: f"q[:, {i}]" for name, i in compiled._value_index.items()}
        self._values = array_function([slope for *_, slope in values], place, "q", definitions)
        self._amounts = array_function([slope for *_, slope in amounts], place, "q", definitions)

    def of_values(self, values: Float, held: Collection[str] = ()) -> Float:
        """Return the derivatives (n, n_entries) at the places `values`, for parameter values (n, n_values).

        `held` names free parameters that something else has set for the time being: derivatives to them are zero.
        """
        return self._numbers(self._values, self.values, values, held)

    def of_amounts(self, values: Float, held: Collection[str] = ()) -> Float:
        """Return the derivatives (n, n_entries) at the places `amounts`; arguments as in `of_values`."""
        return self._numbers(self._amounts, self.amounts, values, held)

    def scales(self, values: Float, amounts: Float) -> Float:
        """Return the size of each free parameter (n, n_names), 1 where it is zero: what a relative change refers to.

        `values` (n, n_values) are parameter values, `amounts` (n, n_species) those at the start.
        """
        index, species = self._compiled._value_index, self._compiled.species
        columns = [values[:, index[n]] if n in index else amounts[:, species.index(n)] for n in self.names]
        sizes = np.abs(np.stack(columns, axis=1)) if columns else np.zeros((len(values), 0))
        return np.where(sizes == 0.0, 1.0, sizes)

    def of_rates(self, values: Float, held: Collection[str] = ()) -> Float:
        """Return dk/dtheta (n, n_rates, n_names) of `CompiledModel.rate_constants`, for parameter values (n, n_values).

        Rates that a function decides have rows of zeros: their slopes follow from `of_inputs`.
        """
        table = self._compiled.rate_table
        dense = self.values.dense(self.of_values(values, held), values.shape[1], len(self.names))
        slopes = np.zeros((len(values), len(table.column), len(self.names)))
        constant = table.column >= 0
        slopes[:, constant] = table.factor[constant, None] * dense[:, table.column[constant]]
        return slopes

    def of_inputs(self, values: Float, held: Collection[str] = ()) -> Float:
        """Return dv/dtheta (n, n_used, n_names) of `CompiledModel.function_values`; arguments as in `of_rates`."""
        index = self._compiled._value_index
        used = [index[name] for name in self._compiled.rate_functions.values]
        return self.values.dense(self.of_values(values, held), values.shape[1], len(self.names))[:, used]

    def _numbers(self, function: Any, entries: Entries, values: Float, held: Collection[str]) -> Float:
        with np.errstate(all="ignore"):  # what is not finite becomes a status of the run
            columns = function(values)
        numbers = np.empty((len(values), len(columns)))
        for j, column in enumerate(columns):
            numbers[:, j] = column
        numbers[:, [self.names[column] in held for column in entries.column]] = 0.0
        return numbers


def _entries(items: Sequence[tuple[int, int, ast.expr]]) -> Entries:
    return Entries(np.array([i for i, *_ in items], np.int64), np.array([j for _, j, _ in items], np.int64))
