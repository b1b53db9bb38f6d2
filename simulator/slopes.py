"""Slopes of a model's numbers: names of free parameters in, derivatives of values and initial amounts to them out.

A free parameter acts on a trajectory in two ways: through the values (free and derived parameters) that rate
constants, rate functions and named expressions read, and through the initial amounts. Both sets of derivatives are
sparse, with a pattern that is the same for all conditions; numbers are computed per condition.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InputError, unknown_name
from .expressions import array_function, derivative, derivatives, is_zero, names_in
from .simd import PARAMETERS, aligned

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .directions import DirectedSlopes
    from .kernels import Tables
    from .rosenbrock import Output
    from .sensitivity import Inputs, SlopeRuns, SlopeWorkspace

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


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
        For a name that is neither, that is given twice, or that `CompiledModel.parameter_index` refuses; for one that
        acts on what `CompiledModel.restrict` removed.
    """

    def __init__(self, compiled: CompiledModel, names: Sequence[str]) -> None:
        if isinstance(names, str):
            raise InputError(f"sensitivities are given as {names!r}, expected a sequence of names, e.g. [{names!r}]")
        if compiled._full is not None:
            _refuse_removed(compiled, compiled._full, names)
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

    def _numbers(self, function: Any, entries: Entries, values: Float, held: Collection[str]) -> Float:
        with np.errstate(all="ignore"):  # what is not finite becomes a status of the run
            columns = function(values)
        numbers = np.empty((len(values), len(columns)))
        for j, column in enumerate(columns):
            numbers[:, j] = column
        numbers[:, [self.names[column] in held for column in entries.column]] = 0.0
        return numbers


def input_tables(compiled: CompiledModel, slopes: Slopes | DirectedSlopes) -> tuple[Inputs, Index]:
    """Return how dy/dt changes with the values that `slopes` act on, and where derivatives of values go.

    The second item has, per entry of `slopes.values`, its place in the blocks of free parameters that the kernels
    read (`sensitivity.SlopeRuns.values`, last two axes as one); -1 if no reaction reads the value.
    """
    from .sensitivity import Inputs

    tables, _ = compiled.plan
    rates, functions, index = compiled.rate_table, compiled.rate_functions, compiled._value_index
    pairs = compiled.rate_slopes.value_partials if functions.n_rates else ()
    acting = {int(v) for v in slopes.values.row}
    read_by: dict[int, list[tuple[int, int]]] = {}
    """Rate function -> values in it that free parameters act on, and the place of the derivative."""
    for pair, (function, place) in enumerate(pairs):
        if (value := index[functions.values[place]]) in acting:
            read_by.setdefault(function, []).append((value, pair))

    terms: list[tuple[int, int, float]] = []
    columns: dict[int, dict[int, list[tuple[int, float]]]] = {}
    """Value -> species -> the terms that are added up, each with its coefficient."""
    for r, k in enumerate(tables.rate.tolist()):
        constant, function = int(rates.column[k]), int(rates.function[k])
        reads = [(constant, -1)] if constant in acting else read_by.get(function, [])
        for value, pair in reads:
            for q in range(tables.change_pointer[r], tables.change_pointer[r + 1]):
                entry = columns.setdefault(value, {}).setdefault(int(tables.change[q]), [])
                entry.append((len(terms), float(tables.change_by[q])))
            terms.append((r, pair, float(rates.factor[k])))
    order = {value: c for c, value in enumerate(sorted(columns))}
    entries = [(species, sums) for value in order for species, sums in sorted(columns[value].items())]

    n_blocks = -(-len(slopes.names) // PARAMETERS)
    reached = [value in order for value in slopes.values.row.tolist()]
    shares = sorted(
        {(j // PARAMETERS, order[v]) for v, j in zip(*(x[reached].tolist() for x in slopes.values), strict=True)}
    )
    share = {key: i for i, key in enumerate(shares)}
    targets = [
        share[j // PARAMETERS, order[v]] * PARAMETERS + j % PARAMETERS if v in order else -1
        for v, j in zip(slopes.values.row.tolist(), slopes.values.column.tolist(), strict=True)
    ]

    reactions = np.array([r for r, _, _ in terms], np.int64)
    further = [_further(tables, r) for r, _, _ in terms]

    def table(numbers: Iterable[int]) -> npt.NDArray[np.int32]:
        return np.array(list(numbers), np.int32)

    def pointer(sizes: Iterable[int]) -> npt.NDArray[np.int32]:
        return table([0, *accumulate(sizes)])

    inputs = Inputs(
        n_partials=len(functions.partials),
        first=tables.first[reactions], second=tables.second[reactions],
        further_pointer=pointer(map(len, further)), further=table(i for species in further for i in species),
        term_pair=table(pair for _, pair, _ in terms),
        term_factor=np.array([factor for _, _, factor in terms], float),
        sum_pointer=pointer(len(sums) for _, sums in entries),
        sum_term=table(m for _, sums in entries for m, _ in sums),
        sum_by=np.array([by for _, sums in entries for _, by in sums], float),
        column_pointer=pointer(len(columns[value]) for value in order),
        entry_species=table(species for species, _ in entries),
        block_pointer=pointer(sum(block == b for block, _ in shares) for b in range(n_blocks)),
        block_column=table(c for _, c in shares),
    )  # fmt: skip
    return inputs, np.array(targets, np.int64)


class OutputSlopes:
    """Derivatives of what is read out, from those of the sums of species that are kept: sums in, `names` out.

    Named expressions (`trees` by name, made of `definitions`) follow by the chain rule through sums and values; `place`
    says where their code finds sums `x`, times `t` and values `v`.
    """

    def __init__(
        self, slopes: Slopes | DirectedSlopes, names: Sequence[str], kept: Sequence[str], trees: Mapping[str, ast.expr],
        definitions: Mapping[str, ast.expr], place: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.names, self.kept, self.expressions, self.slopes = tuple(names), tuple(kept), tuple(trees), slopes
        of_value: dict[str, list[int]] = {}
        """Value -> the entries of its derivatives."""
        values = (*slopes._compiled.parameters, *slopes._compiled.derived)
        for entry, value in enumerate(slopes.values.row):
            of_value.setdefault(values[value], []).append(entry)
        variables = (*self.kept, *of_value)
        chain, partials = derivatives(list(trees.values()), definitions, variables)
        self._partials = [(expression, variables[variable]) for expression, variable in partials]
        self._of_value = of_value
        self._evaluate = array_function(partials.values(), place, "x, t, v", {**definitions, **chain})

    def complete(self, kept_slopes: Float, kept: Float, times: Float, values: Float, numbers: Float) -> Float:
        """Return derivatives (n, n_times, n_outputs, n_names).

        `kept_slopes` (n, n_times, n_kept, n_names) and `kept` (n, n_times, n_kept) are of the sums, `values`
        (n, n_values) the parameter values and `numbers` their derivatives, as `Slopes.of_values` gives them.
        """
        by_name = {name: kept_slopes[:, :, i] for i, name in enumerate(self.kept)}
        for name in self.expressions:
            by_name[name] = np.zeros((*kept.shape[:2], len(self.slopes.names)))
        with np.errstate(all="ignore"):
            partials = self._evaluate(kept, times, values.T)
            for (expression, variable), partial in zip(self._partials, partials, strict=True):
                slope = np.broadcast_to(partial, kept.shape[:2])
                total = by_name[self.expressions[expression]]
                if variable in self.kept:
                    total += slope[:, :, None] * by_name[variable]
                else:
                    for entry in self._of_value[variable]:
                        total[:, :, self.slopes.values.column[entry]] += slope * numbers[:, entry, None]
        slopes = np.empty((*kept.shape[:2], len(self.names), len(self.slopes.names)))
        for i, name in enumerate(self.names):
            slopes[:, :, i] = by_name[name]
        return slopes


class Forward:
    """The sensitivities of the runs of one call: tables that all runs share, and their arrays interval by interval."""

    def __init__(self, compiled: CompiledModel, slopes: Slopes | DirectedSlopes) -> None:
        self.compiled, self.slopes = compiled, slopes
        self.inputs, self._target = input_tables(compiled, slopes)
        self.n_blocks = -(-len(slopes.names) // PARAMETERS)
        self._order = compiled.plan[1]

    def workspace(self, n_stages: int) -> SlopeWorkspace:
        """Return scratch arrays for one thread."""
        from .sensitivity import slope_workspace

        n_pairs = len(self.compiled.rate_slopes.value_partials)
        n_rates = len(self.compiled.rate_table.column)
        return slope_workspace(self.compiled.plan[0], self.inputs, n_rates, n_pairs, n_stages)

    def bytes_per_run(self, n_kept: int) -> int:
        """Return the memory that one run takes while it is integrated, for `n_kept` numbers kept."""
        return 8 * PARAMETERS * (self.n_blocks * (self.compiled.n_species + n_kept) + len(self.inputs.block_column))

    def runs(self, n: int, n_times: int, n_kept: int) -> SlopeRuns:
        """Return the arrays of `n` runs, to be filled by `enter`."""
        from .sensitivity import SlopeRuns

        kept = aligned(n, n_times, n_kept, self.n_blocks, PARAMETERS)
        kept[:] = np.nan
        return SlopeRuns(
            s=aligned(n, self.n_blocks, self.compiled.n_species, PARAMETERS),
            values=aligned(n, len(self.inputs.block_column), PARAMETERS),
            scale=aligned(n, self.n_blocks, PARAMETERS), kept=kept,
        )  # fmt: skip

    def enter(self, runs: SlopeRuns, values: Float, held: Any, *, start: bool) -> None:
        """Enter an interval with these parameter values; at the `start` of the clock amounts take their initial slopes.

        `held` names the parameters that the interval sets itself (for directions: see `DirectedSlopes`). Clamped
        species take the slopes of the interval.
        """
        slopes, order = self.slopes, self._order
        numbers = slopes.of_values(values, held)
        read = self._target >= 0
        runs.values.reshape(len(values), -1)[:, self._target[read]] = numbers[:, read]
        amounts = self.compiled.initial_amounts(values[:, : self.compiled.n_parameters])
        names = np.arange(len(slopes.names))
        runs.scale[:] = 1.0
        runs.scale[:, names // PARAMETERS, names % PARAMETERS] = slopes.scales(values, amounts)
        entries = slopes.amounts
        fixed = np.array(self.compiled.network.fixed)
        taken = fixed | start
        runs.s[:, :, order.position[taken]] = 0.0
        mine = taken[entries.row]
        row, column = entries.row[mine], entries.column[mine]
        runs.s[:, column // PARAMETERS, order.position[row], column % PARAMETERS] = slopes.of_amounts(values, held)[
            :, mine
        ]

    def moves(self, runs: SlopeRuns) -> tuple[Flags, Flags]:
        """Return which rate constants (n, n_rates), and which amounts (n, n_species), some free parameter changes.

        For the interval entered; amounts are in elimination order, and those at the start unless integrated since.
        """
        read = self._target >= 0
        changes = runs.values.reshape(len(runs.values), -1)[:, self._target[read]] != 0.0
        column = self.compiled.rate_table.column
        n_values = len(self.compiled._value_index)
        values = np.zeros((len(changes), n_values + 1), bool)
        for value, change in zip(self.slopes.values.row[read], changes.T, strict=True):
            values[:, value] |= change
        return values[:, np.where(column >= 0, column, n_values)], (runs.s != 0.0).any(axis=(1, 3))

    def not_finite(self, runs: SlopeRuns) -> Index:
        """Return, per run, the first free parameter to which a derivative is not finite at the start; -1 if none."""
        amounts = np.isfinite(runs.s).all(axis=2).reshape(len(runs.s), -1)
        block = np.searchsorted(self.inputs.block_pointer, np.arange(runs.values.shape[1]), side="right") - 1
        for pair, b in enumerate(block):
            amounts[:, b * PARAMETERS : (b + 1) * PARAMETERS] &= np.isfinite(runs.values[:, pair])
        return np.where(amounts.all(axis=1), -1, np.argmin(amounts, axis=1))

    def keep_start(self, runs: SlopeRuns, output: Output) -> None:
        """Keep what is read out at the very start, before any step."""
        for o in range(len(output.pointer) - 1):
            total = np.zeros((len(runs.s), self.n_blocks, PARAMETERS))
            for q in range(output.pointer[o], output.pointer[o + 1]):  # one after another: the order of a sum is fixed
                total += output.weight[q] * runs.s[:, :, output.species[q]]
            runs.kept[:, 0, o] = total

    def by_name(self, kept: Float) -> Float:
        """Return the kept sensitivities (n, n_times, n_kept, n_names)."""
        return kept.reshape(*kept.shape[:3], self.n_blocks * PARAMETERS)[..., : len(self.slopes.names)]


def _refuse_removed(compiled: CompiledModel, full: CompiledModel, names: Sequence[str]) -> None:
    """Raise InputError for a name that acts on a species, or starts a reaction, that `full` has and `compiled` has not.

    A reaction that was removed for want of a reactant stays without one, whatever its rate constant.
    """
    slopes, species = Slopes(full, names), {name: i for i, name in enumerate(compiled.species)}
    places = [species.get(name) for name in full.species]
    kept = set(compiled.network.reactions)
    acting = [(column, f"the initial amount of {full.species[i]}")
              for i, column in zip(*slopes.amounts, strict=True) if places[i] is None]  # fmt: skip
    of_value: dict[int, list[int]] = {}
    for value, column in zip(*slopes.values, strict=True):
        of_value.setdefault(value, []).append(column)
    rates = full.rate_table
    for reaction, k in zip(full.network.reactions, rates.of_reaction, strict=True):
        if (columns := of_value.get(rates.column[k])) and all(places[i] is not None for i in reaction.reactants):
            whole = all(places[i] is not None for i in reaction.products)
            if not whole or reaction.renumbered([-1 if i is None else i for i in places]) not in kept:
                acting += [(column, f"a reaction of the rule {reaction.rule or reaction.rate}") for column in columns]
    if acting:
        column, what = min(acting)
        raise InputError(
            f"the sensitivity to {slopes.names[column]!r} is not available: it acts on {what}, which was removed when "
            f"{compiled.name} was restricted; use the full model"
        )


def _further(tables: Tables, reaction: int) -> list[int]:
    """Return the third and later reactants of a reaction."""
    place = reaction - tables.n_plain
    return [] if place < 0 else tables.further[slice(*tables.further_pointer[place : place + 2])].tolist()


def _entries(items: Sequence[tuple[int, int, ast.expr]]) -> Entries:
    return Entries(np.array([i for i, *_ in items], np.int64), np.array([j for _, j, _ in items], np.int64))
