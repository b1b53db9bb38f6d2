"""Compiled models: a reaction network in, tables for the kernels and functions of parameters out."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import network as networks
from .errors import InputError, unknown_name
from .expressions import TIME, array_function, names_in, parse, switches, used_by
from .network import ReactionNetwork
from .ordering import LUPattern, plan_lu
from .rates import RateFunctions, RateSlopes, rate_functions, rate_slopes

if TYPE_CHECKING:
    import pysb
    import scipy.sparse

    from .kernels import Tables
    from .protocol import Conditions
    from .rosenbrock import Workspace

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

    def __init__(
        self, network: ReactionNetwork, units: Mapping[str, str], restricted_from: CompiledModel | None = None
    ) -> None:
        self.network = network
        self._full = restricted_from
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
        values = _quietly(array_function(free.values(), {}, "v"), None)
        self.parameters = tuple(free)
        self.nominal = np.array(values, float).reshape(len(free))
        self.nominal.setflags(write=False)  # shared by all who use the model
        functions = {name: parse(text) for name, text in self.network.functions.items()}
        varying = set(self.network.observables) | {TIME}
        # a function is state-dependent if it sees an observable, time, or a function that is
        dynamic: set[str] = set()
        while grown := {f for f, tree in functions.items() if names_in(tree) & (varying | dynamic)} - dynamic:
            dynamic |= grown
        expressions = {name: tree for name, tree in trees.items() if name not in free}
        expressions |= {name: tree for name, tree in functions.items() if name not in dynamic}
        # a parameter that sees what varies is no parameter: said here, where the reason is known
        for name in trees:
            if seen := sorted(names_in(trees[name]) & (varying | dynamic)):
                raise InputError(f"parameter {name!r} depends on {seen[0]!r}, which varies; write it as a function")
        self._derived_trees = self._in_order(expressions, {*free}, varying)
        self.derived = tuple(self._derived_trees)
        self._value_index = {name: i for i, name in enumerate((*self.parameters, *self.derived))}
        known = {*self._value_index, *varying}
        self._functions = self._in_order({name: functions[name] for name in functions if name in dynamic}, known)

    def _in_order(
        self, expressions: Mapping[str, ast.expr], known: set[str], also_known: Iterable[str] = ()
    ) -> dict[str, ast.expr]:
        """Return expressions so ordered that each uses `known` names and those before it; others are refused."""
        waiting = {name: names_in(tree) - known for name, tree in expressions.items()}
        for name, needed in waiting.items():
            if missing := sorted(needed - expressions.keys()):
                raise unknown_name(f"name in the expression {name!r}:", missing[0], sorted({*known, *also_known}))
        order: dict[str, ast.expr] = {}
        while waiting:
            ready = {name: expressions[name] for name, needed in waiting.items() if needed <= order.keys()}
            if not ready:
                raise InputError(f"{self.name}: circular definition of {', '.join(waiting)}")
            order |= ready
            waiting = {name: needed for name, needed in waiting.items() if name not in ready}
        return order

    def _read_functions(self) -> None:
        self.observables = (*self.network.observables, *(f for f in self.network.functions if f in self._functions))
        self.species = self.network.species
        used = {reaction.rate for reaction in self.network.reactions}
        self._rate_names = tuple(name for name in self.observables if name in self._functions and name in used)
        self._timed = {TIME}
        for name, tree in self._functions.items():
            if names_in(tree) & self._timed:
                self._timed.add(name)
        rates = [ast.Name(name, ast.Load()) for name in self._rate_names]
        for name, tree in used_by(rates, self._functions).items():
            if any(names_in(part) & self._timed for part in switches(tree)):
                raise InputError(
                    f"{self.name}: the rate function {name!r} switches at a time of its own, which the integrator "
                    "would step over; change parameters in a protocol Segment instead, at which it stops"
                )

    @property
    def depends_on_time(self) -> bool:
        """True if a rate or a named expression contains explicit time: there is then no steady state."""
        return len(self._timed) > 1

    def _read_initials(self) -> None:
        trees = [parse(text) for text in self.network.initials]
        for species, tree in zip(self.species, trees, strict=True):
            if unknown := sorted(names_in(tree) - self._value_index.keys()):
                raise unknown_name(f"parameter in the initial amount of {species}:", unknown[0], self._value_index)
        self._initial_trees = trees

    def __reduce__(self) -> tuple[Any, ...]:
        # tables and machine code are made again where they are needed: addresses mean nothing to another process
        return CompiledModel, (self.network, self.units, self._full)

    @property
    def hash(self) -> str:
        """Content hash of the network."""
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
        """Return the place of a parameter in `parameters`, to set it.

        Raises UnknownNameError with the nearest name, and InputError for what follows from other parameters or is
        frozen (see `frozen`).
        """
        try:
            index = self._value_index[name]
        except KeyError:
            raise unknown_name("parameter", name, self.parameters) from None
        if index >= self.n_parameters:
            raise InputError(f"parameter {name!r} is an expression of others and cannot be set; set what it is made of")
        if name in self.frozen:
            raise InputError(
                f"{name!r} is, or decides, the volume of a compartment, and its value {self.nominal[index]:g} is "
                "frozen in the generated network: change it in the rules and generate the network again"
            )
        return index

    @cached_property
    def frozen(self) -> frozenset[str]:
        """Parameters that keep their nominal values, because BioNetGen turned volumes that they decide into numbers."""
        volumes = self.network.volumes
        used = used_by([ast.Name(name, ast.Load()) for name in volumes], self._derived_trees)
        return frozenset(self.parameters) & volumes.union(*map(names_in, used.values()))

    def parameter_vector(self, overrides: Mapping[str, float] | None = None) -> Float:
        """Return the nominal parameters with `overrides` by name, shape (n_parameters,)."""
        p = self.nominal.copy()
        for name, value in (overrides or {}).items():
            p[self.parameter_index(name)] = value
        return p

    # ---- values per condition -----------------------------------------------------------------------------------

    @cached_property
    def _derive(self) -> Callable[[Any], list[Float]]:
        place = {name: f"p[:, {i}]" for i, name in enumerate(self.parameters)}
        results = [ast.Name(name, ast.Load()) for name in self.derived]
        return array_function(results, place, "p", self._derived_trees)

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
        """Return the distinct rate constants, shape (n, n_rates), as in `rate_table`; 0 where a function rules.

        The values of rate functions are filled in while integrating.
        """
        table = self.rate_table
        k = np.ones((len(values), len(table.column)))
        k[:, table.column >= 0] = values[:, table.column[table.column >= 0]]
        k[:, table.column == FUNCTION] = 0.0
        return np.ascontiguousarray(k * table.factor)

    @cached_property
    def rate_table(self) -> RateTable:
        """The distinct rate constants of the network, and which reaction has which."""
        index = {**self._value_index, "": NUMBER}
        functions = {name: i for i, name in enumerate(self._rate_names)}
        places: dict[tuple[str, float], int] = {}
        of_reaction = [places.setdefault((r.rate, r.factor), len(places)) for r in self.network.reactions]
        column = [FUNCTION if rate in functions else index[rate] for rate, _ in places]
        function = [functions.get(rate, -1) for rate, _ in places]
        return RateTable(
            np.array(of_reaction, np.int64), np.array(column, np.int64), np.array([f for _, f in places], float),
            np.array(function, np.int64),
        )  # fmt: skip

    # ---- tables for the kernels ---------------------------------------------------------------------------------

    @cached_property
    def _rate_trees(self) -> list[ast.expr]:
        return [ast.Name(name, ast.Load()) for name in self._rate_names]

    @cached_property
    def rate_functions(self) -> RateFunctions:
        """The state- or time-dependent rate functions, as generated source."""
        values = (*self.parameters, *self.derived)
        return rate_functions(self._rate_trees, tuple(self.network.observables), values, self._functions)

    @cached_property
    def rate_slopes(self) -> RateSlopes:
        """The derivatives of rate functions that sensitivities need in addition, as generated source."""
        return rate_slopes(self.rate_functions, self._rate_trees, self._functions)

    def function_values(self, values: Float) -> Float:
        """Return the columns of `values` that rate functions use, shape (n, n_used)."""
        return np.ascontiguousarray(values[:, [self._value_index[name] for name in self.rate_functions.values]])

    @cached_property
    def compiled_rates(self) -> tuple[int, int, Any]:
        """Addresses of the compiled rate functions and of their derivatives, and what keeps them alive."""
        return self.rate_functions.compile()

    @cached_property
    def compiled_slopes(self) -> tuple[int, int, Any]:
        """Addresses of the two compiled functions of `rate_slopes`, and what keeps them alive."""
        return self.rate_slopes.compile() if self.rate_functions.n_rates else (0, 0, None)

    @cached_property
    def plan(self) -> tuple[Tables, LUPattern]:
        """The network as flat tables in elimination order, and that order."""
        return build_tables(self.network, self.rate_functions, self.rate_table)

    # ---- for SciPy and own code ---------------------------------------------------------------------------------

    def rhs(self, t: float, y: npt.ArrayLike, p: npt.ArrayLike | None = None) -> Float:
        """Return dy/dt at time `t`, amounts `y` (n_species,) and parameters `p` (n_parameters,; default nominal)."""
        from . import rosenbrock

        tables, order = self.plan
        work = self._at(t, y, p)
        rosenbrock.slope_at(tables, self.compiled_rates[0], work, rosenbrock.T, work.y, work.slope)
        return work.slope[order.position, 0]

    def jacobian(self, t: float, y: npt.ArrayLike, p: npt.ArrayLike | None = None) -> scipy.sparse.csc_array:
        """Return df/dy, analytic and sparse, shape (n_species, n_species), at `t`, `y`, `p` as in `rhs`."""
        import scipy.sparse

        from . import kernels, rosenbrock

        tables, order = self.plan
        w = self._at(t, y, p)
        rosenbrock.slope_at(tables, self.compiled_rates[0], w, rosenbrock.T, w.y, w.slope)
        if tables.n_functions:
            kernels.evaluate_partials(self.compiled_rates[1], w.x, w.values, w.partials)
        kernels.jacobian(tables, w.k, w.y, w.partials, w.terms, w.entries, w.dfdt)
        rows = np.repeat(np.arange(self.n_species), np.diff(tables.jacobian_pointer))
        place = (order.permutation[rows], order.permutation[tables.jacobian_column])
        entries = w.entries[: len(tables.jacobian_column), 0]
        return scipy.sparse.csc_array((entries, place), shape=(self.n_species, self.n_species))

    def numba_rhs(self, p: npt.ArrayLike | None = None) -> Callable[[float, Float], Float]:
        """Return a jitted function `f(t, y) -> dy/dt` at fixed parameters (default nominal), for SciPy or own kernels.

        `y` and the result are in the order of `species`, shape (n_species,). The function can be called from other
        jitted code, by one thread at a time: it works in place.
        """
        import numba

        from . import rosenbrock

        work = self._at(0.0, np.zeros(self.n_species), p)
        tables, order = self.plan
        address, keep_alive = self.compiled_rates[0], self.compiled_rates[2]
        permutation, position = order.permutation, order.position

        @numba.njit(error_model="numpy")
        def rhs(w: Any, t: float, y: Float) -> Float:
            w.lane[rosenbrock.T, 0] = t
            for i in range(y.size):
                w.y[i, 0] = y[permutation[i]]
            rosenbrock.slope_at(tables, address, w, rosenbrock.T, w.y, w.slope)
            dy = np.empty(y.size)
            for i in range(y.size):
                dy[i] = w.slope[position[i], 0]
            return dy

        def f(t: float, y: Float) -> Float:
            return rhs(work, t, y)

        f.keep_alive = keep_alive  # type: ignore[attr-defined]
        return f

    def workspace(self) -> Workspace:
        """Return scratch arrays for one thread of the integrator."""
        from .rosenbrock import workspace_for
        from .tableaux import RODAS5P

        functions = self.rate_functions
        sizes = len(self.rate_table.column), len(functions.values), len(functions.partials)
        return workspace_for(self.plan[0], *sizes, len(RODAS5P.a))

    def restrict(self, conditions: Conditions) -> CompiledModel:
        """Return the model without the species and reactions that none of `conditions` can reach.

        A species is reached if it starts above zero, in any condition or protocol segment, or is made by a reaction
        whose reactants are all reached and whose rate constant is not zero throughout. Parameters and observables stay
        the same; the restricted model has a hash of its own and is right for these conditions only (see
        `check_restriction`). Raises InputError where nothing is reached.
        """
        if self._full is not None:
            self.check_restriction(conditions)
            return self._full.restrict(conditions)
        species, reactions = self._reached(conditions)
        if not species:
            raise InputError(
                f"nothing of the model {self.name} is reached: no species starts above zero in any of the "
                f"{len(conditions)} conditions, and none is made from nothing"
            )
        return CompiledModel(networks.restricted(self.network, species, reactions), self.units, self)

    def check_restriction(self, conditions: Conditions) -> None:
        """Raise InputError if `conditions` reach species or reactions that `restrict` removed; a full model has all."""
        full = self._full
        if full is None:
            return
        species, reactions = full._reached(conditions)
        own = set(self.species)
        if missing := [full.species[i] for i in species if full.species[i] not in own]:
            what = f"the species {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        else:
            number = {name: i for i, name in enumerate(full.species)}
            kept = {r.renumbered([number[name] for name in self.species]) for r in self.network.reactions}
            lost = [full.network.reactions[r] for r in reactions if full.network.reactions[r] not in kept]
            if not lost:
                return
            what = f"a reaction of the rule {lost[0].rule or lost[0].rate}"
        raise InputError(
            f"{self.name} was restricted to other conditions: these reach {what}, which were removed; "
            "restrict the full model to these conditions"
        )

    def _reached(self, conditions: Conditions) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the numbers of the species and of the reactions that any of `conditions` reaches."""
        from .protocol import check_protocol, segment_parameters

        check_protocol(self, conditions)
        network, rows = self.network, range(len(conditions))
        start = np.zeros(self.n_species, bool)
        runs = np.zeros(len(network.reactions), bool)
        for segment in (None, *conditions.protocol):
            values = self.values(segment_parameters(self, conditions.parameters, segment, rows))
            start |= np.any(self.initial_amounts(values[:, : self.n_parameters]) != 0, axis=0)
            runs |= np.any(self.rate_constants(values) != 0, axis=0)[self.rate_table.of_reaction]
        runs |= np.array([reaction.rate in self._rate_names for reaction in network.reactions], bool)
        return networks.reached(network, start.tolist(), runs.tolist())

    def _at(self, t: float, y: npt.ArrayLike, p: npt.ArrayLike | None) -> Workspace:
        """Return a workspace with time, amounts and parameters in every lane."""
        from . import rosenbrock

        y = np.asarray(y, float)
        if y.shape != (self.n_species,):
            raise InputError(f"amounts have shape {y.shape}, expected ({self.n_species},)")
        p = self.nominal if p is None else np.asarray(p, float)
        if p.shape != (self.n_parameters,):
            raise InputError(f"parameters have shape {p.shape}, expected ({self.n_parameters},)")
        values = self.values(p)
        work = self.workspace()
        work.lane[rosenbrock.T] = t
        work.y[: self.n_species] = y[self.plan[1].permutation, None]
        work.k[: len(self.rate_table.column)] = self.rate_constants(values)[0][:, None]
        work.values[: len(self.rate_functions.values)] = self.function_values(values)[0][:, None]
        return work


def _quietly(function: Callable[[Any], list[Float]], argument: Float | None) -> list[Float]:
    """Evaluate parameter expressions; what is not finite becomes a status of the run, not a warning."""
    with np.errstate(all="ignore"):
        return function(argument)


class RateTable(NamedTuple):
    """Distinct rate constants: column of the values (or NUMBER, or FUNCTION), factor, and rate function if any."""

    of_reaction: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    factor: Float
    function: npt.NDArray[np.int64]


NUMBER, FUNCTION = -1, -2
"""Columns of `RateTable` that are none: the factor alone, and the value of a rate function."""


def build_tables(network: ReactionNetwork, functions: RateFunctions, rates: RateTable) -> tuple[Tables, LUPattern]:
    """Return the network as flat tables in elimination order, and that order."""
    from .kernels import Tables

    n = len(network.species)
    # reactions of order two or less first; a stable sort, so that the order is a function of the network alone
    by_order = sorted(range(len(network.reactions)), key=lambda r: len(network.reactions[r].reactants) > 2)
    reactions = [network.reactions[r] for r in by_order]
    rate_of = [int(rates.of_reaction[r]) for r in by_order]
    function_of = [int(rates.function[k]) for k in rate_of]
    changes = [_net_change(reaction.reactants, reaction.products, network.fixed) for reaction in reactions]
    groups = [network.observables[name] for name in functions.observables]
    partials_of: dict[int, list[tuple[int, int]]] = {}
    for place, (function, observable) in enumerate(functions.partials):
        partials_of.setdefault(function, []).append((place, observable))

    # ---- pattern of the Jacobian: reactants, and species of the observables in the rate
    pattern: set[tuple[int, int]] = set()
    for reaction, change, function in zip(reactions, changes, function_of, strict=True):
        sources = set(reaction.reactants)
        for _, observable in partials_of.get(function, ()):
            if observable >= 0:
                sources.update(i for i, _ in groups[observable])
        pattern.update((i, j) for i in change for j in sources)
    rows = np.array([i for i, _ in pattern], np.int64)
    columns = np.array([j for _, j in pattern], np.int64)
    lu = plan_lu(n, rows, columns)
    at = lu.position
    entries = sorted((int(at[i]), int(at[j])) for i, j in pattern)
    entry_rows = np.array([i for i, _ in entries], np.int64)

    # ---- terms: what is added up in the entries of the Jacobian
    terms: dict[tuple[int, tuple[int, ...]], int] = {}
    """(rate constant, reactants that remain) -> number."""
    chains: dict[tuple[int, float, tuple[int, ...]], int] = {}
    """(partial derivative, factor, reactants) -> number."""
    sums: dict[tuple[int, int], list[tuple[tuple[str, int], float]]] = {entry: [] for entry in entries}
    by_time: list[tuple[int, int, float]] = []
    for reaction, change, k, function in zip(reactions, changes, rate_of, function_of, strict=True):
        reactants = tuple(sorted(int(at[i]) for i in reaction.reactants))
        for j in set(reactants):
            remaining = list(reactants)
            remaining.remove(j)
            times = reactants.count(j)
            term = terms.setdefault((k, tuple(remaining)), len(terms))
            for i, by in change.items():
                sums[int(at[i]), j].append((("term", term), by * times))
        for place, observable in partials_of.get(function, ()):
            chain = chains.setdefault((place, float(rates.factor[k]), reactants), len(chains))
            for i, by in change.items():
                if observable < 0:
                    by_time.append((int(at[i]), chain, by))
                else:
                    for j, w in groups[observable]:
                        sums[int(at[i]), int(at[j])].append((("chain", chain), by * w))
    ordered = sorted(terms, key=lambda key: len(key[1]) > 2)
    term_place = {terms[key]: m for m, key in enumerate(ordered)}

    def number(kind: str, index: int) -> int:
        return term_place[index] if kind == "term" else len(ordered) + index

    def table(sequence: Any) -> npt.NDArray[np.int32]:
        return np.array(list(sequence), np.int32)

    def pair(reactants: tuple[int, ...], which: int) -> int:
        return reactants[which] if len(reactants) > which else n

    def ragged(lists: Any) -> tuple[npt.NDArray[np.int32], list[Any]]:
        lists = [list(items) for items in lists]
        return table([0, *np.cumsum([len(items) for items in lists])]), [item for items in lists for item in items]

    orders = [tuple(int(at[i]) for i in reaction.reactants) for reaction in reactions]
    n_plain = sum(len(order) <= 2 for order in orders)
    n_plain_terms = sum(len(key[1]) <= 2 for key in ordered)
    further_pointer, further = ragged(order[2:] for order in orders[n_plain:])
    change_pointer, changed = ragged(((at[i], by) for i, by in change.items()) for change in changes)
    term_further_pointer, term_further = ragged(key[1][2:] for key in ordered[n_plain_terms:])
    chain_further_pointer, chain_further = ragged(key[2][2:] for key in chains)
    sum_pointer, summed = ragged(_merged(sums[entry], number) for entry in entries)
    observable_pointer, observed = ragged(((at[i], w) for i, w in group) for group in groups)
    dynamic = [k for k, function in enumerate(rates.function) if function >= 0]
    tables = Tables(
        n_species=n, n_plain=n_plain,
        rate=table(rate_of), first=table(pair(o, 0) for o in orders), second=table(pair(o, 1) for o in orders),
        further_pointer=further_pointer, further=table(further),
        change_pointer=change_pointer, change=table(i for i, _ in changed),
        change_by=np.array([by for _, by in changed], float),
        n_plain_terms=n_plain_terms,
        term_rate=table(key[0] for key in ordered), term_first=table(pair(key[1], 0) for key in ordered),
        term_second=table(pair(key[1], 1) for key in ordered),
        term_further_pointer=term_further_pointer, term_further=table(term_further),
        chain_partial=table(key[0] for key in chains), chain_factor=np.array([key[1] for key in chains], float),
        chain_first=table(pair(key[2], 0) for key in chains), chain_second=table(pair(key[2], 1) for key in chains),
        chain_further_pointer=chain_further_pointer, chain_further=table(chain_further),
        jacobian_pointer=table(np.searchsorted(entry_rows, np.arange(n + 1))),
        jacobian_column=table(j for _, j in entries),
        sum_pointer=sum_pointer, sum_term=table(m for m, _ in summed), sum_by=np.array([c for _, c in summed], float),
        time_species=table(t[0] for t in by_time), time_term=table(t[1] for t in by_time),
        time_by=np.array([t[2] for t in by_time], float),
        dynamic_rate=table(dynamic), dynamic_function=table(rates.function[dynamic]),
        dynamic_factor=rates.factor[dynamic],
        observable_pointer=observable_pointer, observable=table(i for i, _ in observed),
        observable_weight=np.array([w for _, w in observed], float),
        n_functions=functions.n_rates,
        lu_pointer=table(lu.pointer), lu_diagonal=table(lu.diagonal), lu_column=table(lu.columns), n_tail=lu.n_tail,
    )  # fmt: skip
    return tables, lu


def _merged(items: list[tuple[tuple[str, int], float]], number: Callable[[str, int], int]) -> list[tuple[int, float]]:
    """Return (term number, coefficient) pairs in order, equal terms added up and zeros left out."""
    total: dict[int, float] = {}
    for (kind, index), by in items:
        m = number(kind, index)
        total[m] = total.get(m, 0.0) + by
    return [(m, by) for m, by in sorted(total.items()) if by]


def _net_change(reactants: tuple[int, ...], products: tuple[int, ...], fixed: tuple[bool, ...]) -> dict[int, float]:
    change: dict[int, float] = {}
    for i in reactants:
        change[i] = change.get(i, 0.0) - 1.0
    for i in products:
        change[i] = change.get(i, 0.0) + 1.0
    return {i: by for i, by in change.items() if by and not fixed[i]}
