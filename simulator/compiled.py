"""Compiled models: a reaction network in, tables for the kernels and functions of parameters out."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import network as networks
from .errors import InputError, unknown_name
from .expressions import TIME, array_function, names_in, parse, substitute
from .network import ReactionNetwork
from .ordering import LUPattern, plan_lu
from .rates import RateFunctions, rate_functions

if TYPE_CHECKING:
    import pysb
    import scipy.sparse

    from .kernels import Tables
    from .protocol import Conditions

Float = npt.NDArray[np.float64]


def compile_model(
    source: pysb.Model | ReactionNetwork | str | Path, *, cache: bool = True, units: Mapping[str, str] | None = None
) -> CompiledModel:
    """Compile a rule-based model to tables that the integrator runs; no model-specific machine code but rate functions.

    Parameters
    ----------
    source
        A PySB model (BioNetGen generates its network unless it is cached), a network, or the path of a `.net` file.
    cache
        Keep and use the generated network in the user's cache folder.
    units
        Units of `amount` and `time`, recorded in every result; the numbers are those of the model in any case.

    Raises
    ------
    InputError
        For a model that cannot be simulated: no initials, no observables, unsupported functions, by name.
    MissingBioNetGenError
        If a network must be generated and BioNetGen or Perl is missing.
    """
    if isinstance(source, ReactionNetwork):
        network = source
    elif isinstance(source, (str, Path)):
        network = networks.read_net(source)
    elif networks.is_pysb_model(source):
        network = networks.from_pysb(source, cache=cache)
    else:
        raise InputError(
            f"cannot compile {type(source).__name__}: expected a pysb.Model, a ReactionNetwork or a .net file's path"
        )
    return CompiledModel(network, units or {})


class CompiledModel:
    """A network ready to run: names, nominal values, and integer tables shared by all conditions.

    Attributes
    ----------
    name, hash
        Name of the model; content hash of its network text.
    parameters
        Names of the parameters that may be set, in order.
    nominal : (n_parameters,)
        Their nominal values.
    derived
        Names of parameters that are expressions of others; they follow and cannot be set.
    species, observables
        Names; observables include the model's named expressions.
    units
        Units of amount and time, as given.
    """

    def __init__(self, network: ReactionNetwork, units: Mapping[str, str]) -> None:
        self.network = network
        self.name = network.name
        self.units = {"amount": "model units", "time": "model time", **units}
        self._read_parameters()
        self._read_functions()
        self._read_initials()

    # ---- names and values ---------------------------------------------------------------------------------------

    def _read_parameters(self) -> None:
        """Split parameters into free numbers and expressions of them; functions of parameters alone join these."""
        trees = {name: parse(text) for name, text in self.network.parameters.items()}
        free = {name: tree for name, tree in trees.items() if not names_in(tree)}
        values = array_function(free.values(), {}, "v")(None)
        self.parameters = tuple(free)
        self.nominal = np.array(values, float).reshape(len(free))
        functions = {name: parse(text) for name, text in self.network.functions.items()}
        varying = set(self.network.observables) | {TIME}
        # a function is state-dependent if it sees an observable, time, or a function that is
        dynamic: set[str] = set()
        while grown := {f for f, tree in functions.items() if names_in(tree) & (varying | dynamic)} - dynamic:
            dynamic |= grown
        expressions = {name: tree for name, tree in trees.items() if name not in free}
        expressions |= {name: tree for name, tree in functions.items() if name not in dynamic}
        self.derived = tuple(self._dependency_order(expressions))
        self._derived_trees = {name: expressions[name] for name in self.derived}
        self._function_trees = {name: tree for name, tree in functions.items() if name in dynamic}
        self._value_index = {name: i for i, name in enumerate((*self.parameters, *self.derived))}

    def _dependency_order(self, expressions: Mapping[str, ast.expr]) -> list[str]:
        order: list[str] = []
        waiting = dict(expressions)
        while waiting:
            known = {*self.parameters, *order}
            ready = [name for name, tree in waiting.items() if names_in(tree) <= known]
            if not ready:
                for name, tree in waiting.items():
                    if missing := sorted(names_in(tree) - known - waiting.keys()):
                        known |= {*self.network.observables, TIME}
                        raise unknown_name(f"name in the expression {name!r}:", missing[0], sorted(known))
                raise InputError(f"{self.name}: circular definition of {', '.join(waiting)}")
            order += ready
            for name in ready:
                del waiting[name]
        return order

    def _read_functions(self) -> None:
        """Inline nested functions, so that each is an expression of observables, values and time."""
        inlined = dict(self._function_trees)
        for _ in inlined:
            inlined = {name: substitute(tree, self._function_trees) for name, tree in inlined.items()}
        known = {*self._value_index, *self.network.observables, TIME}
        for name, tree in inlined.items():
            if unknown := sorted(names_in(tree) - known):
                raise unknown_name(f"name in the function {name!r}:", unknown[0], known)
        self._function_trees = inlined
        self.observables = (*self.network.observables, *inlined)
        self.species = self.network.species
        used = {reaction.rate for reaction in self.network.reactions}
        self._rate_names = tuple(name for name in inlined if name in used)

    def _read_initials(self) -> None:
        trees = [parse(text) for text in self.network.initials]
        for species, tree in zip(self.species, trees, strict=True):
            if unknown := sorted(names_in(tree) - self._value_index.keys()):
                raise unknown_name(f"parameter in the initial amount of {species}:", unknown[0], self._value_index)
        self._initial_trees = trees

    @property
    def hash(self) -> str:
        """Content hash of the network text."""
        return self.network.hash

    @property
    def n_species(self) -> int:
        """Number of species."""
        return len(self.species)

    @property
    def n_parameters(self) -> int:
        """Number of parameters that may be set."""
        return len(self.parameters)

    def __repr__(self) -> str:
        return (
            f"<CompiledModel {self.name}: {self.n_species} species, {len(self.network.reactions)} reactions, "
            f"{self.n_parameters} parameters, {len(self.observables)} observables>"
        )

    def parameter_index(self, name: str) -> int:
        """Return the place of a parameter in `parameters`; raises UnknownNameError with the nearest name."""
        try:
            index = self._value_index[name]
        except KeyError:
            raise unknown_name("parameter", name, self.parameters) from None
        if index >= self.n_parameters:
            raise InputError(f"parameter {name!r} is an expression of others and cannot be set; set what it is made of")
        return index

    def parameter_vector(self, overrides: Mapping[str, float] | None = None) -> Float:
        """Return the nominal parameters with `overrides` by name, shape (n_parameters,)."""
        p = self.nominal.copy()
        for name, value in (overrides or {}).items():
            p[self.parameter_index(name)] = value
        return p

    # ---- values per condition -----------------------------------------------------------------------------------

    @cached_property
    def _derive(self) -> Callable[[Any], list[Float]]:
        # derived parameters see each other, so each is written in terms of the free ones
        definitions: dict[str, ast.expr] = {}
        for name, tree in self._derived_trees.items():
            definitions[name] = substitute(tree, definitions)
        place = {name: f"p[:, {i}]" for i, name in enumerate(self.parameters)}
        return array_function(definitions.values(), place, "p")

    @cached_property
    def _start(self) -> Callable[[Any], list[Float]]:
        place = {name: f"q[:, {i}]" for name, i in self._value_index.items()}
        return array_function(self._initial_trees, place, "q")

    def values(self, parameters: npt.ArrayLike) -> Float:
        """Return free and derived values, shape (n, n_values), for parameters of shape (n, n_parameters)."""
        p = np.ascontiguousarray(np.atleast_2d(np.asarray(parameters, float)))
        columns = [np.broadcast_to(np.asarray(c, float), len(p)) for c in _quietly(self._derive, p)]
        return np.ascontiguousarray(np.column_stack([p, *columns]))

    def initial_amounts(self, parameters: npt.ArrayLike | None = None) -> Float:
        """Return the amounts at the start: (n_species,) for one parameter vector, (n, n_species) for several."""
        p = self.nominal if parameters is None else np.asarray(parameters, float)
        q = self.values(p)
        columns = [np.broadcast_to(np.asarray(c, float), len(q)) for c in _quietly(self._start, q)]
        amounts = np.ascontiguousarray(np.column_stack(columns))
        return amounts[0] if p.ndim == 1 else amounts

    def rate_constants(self, values: Float) -> Float:
        """Return `factor * rate constant` per reaction, shape (n, n_reactions); 0 where a function decides the rate."""
        columns, factors = self._constant_rates
        k = np.zeros((len(values), len(columns)))
        constant = columns >= 0
        k[:, constant] = values[:, columns[constant]]
        k[:, columns == -1] = 1.0
        return np.ascontiguousarray(k * factors)

    @cached_property
    def _constant_rates(self) -> tuple[npt.NDArray[np.int64], Float]:
        """Column of `values` per reaction (-1: a plain number, -2: a rate function) and factor."""
        index = {**self._value_index, "": -1} | dict.fromkeys(self._rate_names, -2)
        columns = np.array([index[reaction.rate] for reaction in self.network.reactions], np.int64)
        return columns, np.array([reaction.factor for reaction in self.network.reactions])

    def default_atol(self, rtol: float) -> float:
        """Return the absolute tolerance: `min(1e-7, rtol / 10)` of the largest nominal initial amount.

        At the default rtol of 1e-6 this is 1e-7 of the largest amount; a tighter rtol tightens it in step.
        """
        largest = float(np.max(np.abs(self.initial_amounts()), initial=0.0))
        return min(1e-7, 0.1 * rtol) * (largest if 0 < largest < np.inf else 1.0)

    # ---- tables for the kernels ---------------------------------------------------------------------------------

    @cached_property
    def rate_functions(self) -> RateFunctions:
        """The state- or time-dependent rate functions, as generated source."""
        trees = [self._function_trees[name] for name in self._rate_names]
        return rate_functions(trees, tuple(self.network.observables), self._value_index)

    @cached_property
    def compiled_rates(self) -> tuple[int, int, Any]:
        """Addresses of the compiled rate functions and of their derivatives, and what keeps them alive."""
        return self.rate_functions.compile()

    @cached_property
    def plan(self) -> tuple[Tables, LUPattern]:
        """The network as flat tables in elimination order, and that order."""
        return build_tables(self.network, self.rate_functions, self._rate_names)

    # ---- for SciPy and own code ---------------------------------------------------------------------------------

    def rhs(self, t: float, y: npt.ArrayLike, p: npt.ArrayLike | None = None) -> Float:
        """Return dy/dt at time `t`, amounts `y` (n_species,) and parameters `p` (n_parameters,; default nominal)."""
        from . import kernels

        y, values, k, x, rates = self._at(t, y, p)
        tables, order = self.plan
        inner = np.ascontiguousarray(y[order.permutation])
        out = np.empty(self.n_species)
        kernels.update_rates(tables, values, float(t), inner, self.compiled_rates[0], x, rates, k)
        kernels.rhs(tables, k, inner, out)
        return out[order.position]

    def jacobian(self, t: float, y: npt.ArrayLike, p: npt.ArrayLike | None = None) -> scipy.sparse.csc_array:
        """Return df/dy, analytic and sparse, shape (n_species, n_species), at `t`, `y`, `p` as in `rhs`."""
        import scipy.sparse

        from . import kernels

        y, values, k, x, rates = self._at(t, y, p)
        tables, order = self.plan
        inner = np.ascontiguousarray(y[order.permutation])
        partials = np.zeros(max(len(self.rate_functions.partials), 1))
        entries, dfdt = np.empty(len(tables.jacobian_column)), np.empty(self.n_species)
        kernels.update_rates(tables, values, float(t), inner, self.compiled_rates[0], x, rates, k)
        if tables.n_rates:
            kernels.evaluate_partials(self.compiled_rates[1], x, values, partials)
        kernels.jacobian(tables, k, inner, partials, entries, dfdt)
        rows = np.repeat(np.arange(self.n_species), np.diff(tables.jacobian_pointer))
        place = (order.permutation[rows], order.permutation[tables.jacobian_column])
        return scipy.sparse.csc_array((entries, place), shape=(self.n_species, self.n_species))

    def numba_rhs(self, p: npt.ArrayLike | None = None) -> Callable[[float, Float], Float]:
        """Return a jitted function `f(t, y) -> dy/dt` at fixed parameters (default nominal), for SciPy or own kernels.

        `y` and the result are in the order of `species`, shape (n_species,). The tables are compiled into it, which
        takes about a second; the function can be called from other jitted code.
        """
        import numba

        from . import kernels

        _, values, k0, x0, rates0 = self._at(0.0, np.zeros(self.n_species), p)
        tables, order = self.plan
        address, keep_alive = self.compiled_rates[0], self.compiled_rates[2]
        permutation, position = order.permutation, order.position

        @numba.njit(error_model="numpy")
        def rhs(t: float, y: Float) -> Float:
            k, x, rates, dy = k0.copy(), x0.copy(), rates0.copy(), np.empty(y.size)
            inner = y[permutation]
            kernels.update_rates(tables, values, t, inner, address, x, rates, k)
            kernels.rhs(tables, k, inner, dy)
            return dy[position]

        rhs.keep_alive = keep_alive
        return rhs

    def restrict(self, conditions: Conditions) -> CompiledModel:
        """Return the model without the species and reactions that none of `conditions` can reach.

        A species is reached if it starts above zero, in any condition or protocol segment, or is made by a reaction
        whose reactants are all reached and whose rate constant is not zero throughout. Parameters and observables stay
        the same; the restricted model has a hash of its own and is right for these conditions only.
        """
        from .protocol import check_protocol, segment_parameters

        check_protocol(self, conditions)
        network, rows = self.network, range(len(conditions))
        start = np.zeros(self.n_species, bool)
        runs = np.zeros(len(network.reactions), bool)
        for segment in (None, *conditions.protocol):
            values = self.values(segment_parameters(self, conditions.parameters, segment, rows))
            start |= np.any(self.initial_amounts(values[:, : self.n_parameters]) != 0, axis=0)
            runs |= np.any(self.rate_constants(values) != 0, axis=0)
        runs |= np.array([reaction.rate in self._rate_names for reaction in network.reactions], bool)
        return CompiledModel(networks.restricted(network, start.tolist(), runs.tolist()), self.units)

    def _at(self, t: float, y: npt.ArrayLike, p: npt.ArrayLike | None) -> tuple[Float, Float, Float, Float, Float]:
        y = np.asarray(y, float)
        if y.shape != (self.n_species,):
            raise InputError(f"amounts have shape {y.shape}, expected ({self.n_species},)")
        p = self.nominal if p is None else np.asarray(p, float)
        if p.shape != (self.n_parameters,):
            raise InputError(f"parameters have shape {p.shape}, expected ({self.n_parameters},)")
        values = self.values(p)
        tables, _ = self.plan
        x, rates = np.zeros(len(tables.observable_pointer)), np.zeros(max(tables.n_rates, 1))
        return y, values[0], self.rate_constants(values)[0], x, rates


def _quietly(function: Callable[[Any], list[Float]], argument: Float) -> list[Float]:
    """Evaluate parameter expressions; what is not finite becomes a status of the run, not a warning."""
    with np.errstate(all="ignore"):
        return function(argument)


class _Ragged:
    """A list of lists, written flat."""

    def __init__(self) -> None:
        self.pointer, self.index, self.weight = [0], [], []  # type: ignore[var-annotated]

    def add(self, pairs: Any) -> None:
        for index, weight in pairs:
            self.index.append(index)
            self.weight.append(weight)
        self.pointer.append(len(self.index))

    def arrays(self) -> tuple[Any, Any, Any]:
        return np.array(self.pointer, np.int64), np.array(self.index, np.int64), np.array(self.weight, float)


def build_tables(
    network: ReactionNetwork, functions: RateFunctions, rate_names: tuple[str, ...]
) -> tuple[Tables, LUPattern]:
    """Return the network as flat tables in elimination order, and that order."""
    from .kernels import Tables

    n = len(network.species)
    changes = [_net_change(reaction.reactants, reaction.products, network.fixed) for reaction in network.reactions]
    groups = [network.observables[name] for name in functions.observables]
    rate_index = {name: i for i, name in enumerate(rate_names)}
    partials_of: dict[int, list[tuple[int, int]]] = {}
    for place, (rate, observable) in enumerate(functions.partials):
        partials_of.setdefault(rate, []).append((place, observable))

    # ---- pattern of the Jacobian: reactants, and species of the observables in the rate
    pattern: set[tuple[int, int]] = set()
    for reaction, change in zip(network.reactions, changes, strict=True):
        sources = set(reaction.reactants)
        for _, observable in partials_of.get(rate_index.get(reaction.rate, -1), ()):
            if observable >= 0:
                sources.update(i for i, _ in groups[observable])
        pattern.update((i, j) for i in change for j in sources)
    rows = np.array([i for i, _ in pattern], np.int64)
    columns = np.array([j for _, j in pattern], np.int64)
    lu = plan_lu(n, rows, columns)
    at = lu.position
    entries = sorted((int(at[i]), int(at[j])) for i, j in pattern)
    entry_index = {pair: e for e, pair in enumerate(entries)}
    entry_rows = np.array([i for i, _ in entries], np.int64)
    entry_columns = np.array([j for _, j in entries], np.int64)
    in_lu = [
        lu.pointer[i] + np.searchsorted(lu.columns[lu.pointer[i] : lu.pointer[i + 1]], j) for i, j in entries
    ]  # fmt: skip

    # ---- reactions, Jacobian terms, rate functions
    reactants, changed, terms, chain = _Ragged(), _Ragged(), _Ragged(), _Ragged()
    term_reaction, term_skip = [], []
    dynamic: list[tuple[int, int, float]] = []
    chain_dynamic, chain_partial = [], []
    for r, (reaction, change) in enumerate(zip(network.reactions, changes, strict=True)):
        first = len(reactants.index)
        reactants.add((at[i], 1.0) for i in reaction.reactants)
        changed.add((at[i], by) for i, by in change.items())
        for offset, j in enumerate(reaction.reactants):
            term_reaction.append(r)
            term_skip.append(first + offset)
            terms.add((entry_index[at[i], at[j]], by) for i, by in change.items())
        if reaction.rate not in rate_index:
            continue
        for place, observable in partials_of.get(rate_index[reaction.rate], ()):
            chain_dynamic.append(len(dynamic))
            chain_partial.append(place)
            weights = groups[observable] if observable >= 0 else ()
            chain.add((entry_index[at[i], at[j]], by * w) for i, by in change.items() for j, w in weights)
        dynamic.append((r, rate_index[reaction.rate], reaction.factor))
    observables = _Ragged()
    for group in groups:
        observables.add((at[i], w) for i, w in group)
    reactant_pointer, reactant, _ = reactants.arrays()
    change_pointer, change, change_by = changed.arrays()
    entry_pointer, entry, entry_by = terms.arrays()
    observable_pointer, observable, observable_weight = observables.arrays()
    chain_pointer, chain_entry, chain_by = chain.arrays()

    def integers(sequence: Any) -> npt.NDArray[np.int64]:
        return np.array(sequence, np.int64)

    tables = Tables(
        n_species=n,
        reactant_pointer=reactant_pointer, reactant=reactant,
        change_pointer=change_pointer, change=change, change_by=change_by,
        term_reaction=integers(term_reaction), term_skip=integers(term_skip),
        entry_pointer=entry_pointer, entry=entry, entry_by=entry_by,
        dynamic_reaction=integers([d[0] for d in dynamic]), dynamic_rate=integers([d[1] for d in dynamic]),
        dynamic_factor=np.array([d[2] for d in dynamic], float),
        observable_pointer=observable_pointer, observable=observable, observable_weight=observable_weight,
        partial_rate=integers([p[0] for p in functions.partials]),
        partial_observable=integers([p[1] for p in functions.partials]),
        chain_dynamic=integers(chain_dynamic), chain_partial=integers(chain_partial),
        chain_pointer=chain_pointer, chain_entry=chain_entry, chain_by=chain_by,
        jacobian_pointer=np.searchsorted(entry_rows, np.arange(n + 1)).astype(np.int64),
        jacobian_column=entry_columns,
        lu_pointer=lu.pointer, lu_diagonal=lu.diagonal, lu_column=lu.columns,
        jacobian_in_lu=integers(in_lu),
        n_rates=functions.n_rates,
    )  # fmt: skip
    return tables, lu


def _net_change(reactants: tuple[int, ...], products: tuple[int, ...], fixed: tuple[bool, ...]) -> dict[int, float]:
    change: dict[int, float] = {}
    for i in reactants:
        change[i] = change.get(i, 0.0) - 1.0
    for i in products:
        change[i] = change.get(i, 0.0) + 1.0
    return {i: by for i, by in change.items() if by and not fixed[i]}
