"""Compiled models: a reaction network in, tables for the kernels and functions of parameters out."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import network as networks
from .errors import InputError, unknown_name
from .expressions import TIME, array_function, derivative, margin, names_in, parse, substitute, switches, used_by
from .network import ReactionNetwork
from .rates import RateFunctions, RateSlopes, rate_functions, rate_slopes
from .tables import FUNCTION, NUMBER, Order, RateTable
from .tables import plan as plan_of
from .unrolled import unrolled

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
        A PySB model or the path of a `.bngl` file (BioNetGen generates the network unless it is cached), the path of a
        `.net` file, or a network.
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
        network = networks.read_model(source, cache=cache)
    elif networks.is_pysb_model(source):
        network = networks.from_pysb(source, cache=cache)
    else:
        raise InputError(
            f"cannot compile {type(source).__name__}: expected a pysb.Model, a ReactionNetwork, or the path of a "
            ".net or .bngl file"
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
    switch_parameters
        Names of parameters that decide the times at which rate functions switch.
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
        trees = _parsed("parameter", self.network.parameters.items())
        free = {name: tree for name, tree in trees.items() if not names_in(tree)}
        values = _quietly(array_function(free.values(), {}, "v"), None)
        self.parameters = tuple(free)
        self.nominal = np.array(values, float).reshape(len(free))
        self.nominal.setflags(write=False)  # shared by all who use the model
        functions = _parsed("function", self.network.functions.items())
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
                if missing[0].lower() in ("nan", "inf", "infinity"):
                    raise InputError(f"{name!r} is {missing[0]!r} or made of it; expected a finite number")
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
        self._read_switches()

    def _read_switches(self) -> None:
        """Find the times at which rate functions switch, as expressions of parameters: steps have to end there."""
        offsets: list[ast.expr] = []
        whole: dict[str, ast.expr] = {}
        """Definitions without names of others."""
        for name, tree in used_by(self._rate_trees, self._functions).items():
            whole[name] = substitute(tree, whole)
            for part in switches(tree):
                if TIME not in names_in(substitute(part, whole)):
                    continue
                offset = margin(substitute(part, whole))
                if offset is None or not names_in(offset) <= {TIME, *self._value_index}:
                    raise InputError(
                        f"{self.name}: the rate function {name!r} switches at a time that also depends on amounts, or "
                        "in a way other than by comparing a time with one number; change parameters in a protocol "
                        "Segment instead"
                    )
                slope = derivative(offset, TIME)
                if TIME in names_in(slope):
                    raise InputError(
                        f"{self.name}: the rate function {name!r} switches at a time that does not follow from a "
                        "linear equation; change parameters in a protocol Segment instead"
                    )
                at_zero = substitute(offset, {TIME: ast.Constant(0.0)})
                offsets.append(ast.UnaryOp(ast.USub(), ast.BinOp(at_zero, ast.Div(), slope)))
        place = {name: f"q[:, {i}]" for name, i in self._value_index.items()}
        derived = used_by(offsets, self._derived_trees)
        self.switch_parameters = {name for tree in (*offsets, *derived.values()) for name in names_in(tree)}
        self._switch_times = array_function(offsets, place, "q") if offsets else None

    def switch_times(self, values: Float) -> Float:
        """Return the model times at which rate functions switch, ascending, shape (n, n_switches); inf for none."""
        if self._switch_times is None:
            return np.zeros((len(values), 0))
        times = np.empty((len(values), len(found := _quietly(self._switch_times, values))))
        for j, column in enumerate(found):
            times[:, j] = column
        return np.sort(np.where(np.isfinite(times), times, np.inf), axis=1)

    @property
    def depends_on_time(self) -> bool:
        """True if a rate or a named expression contains explicit time: there is then no steady state."""
        return len(self._timed) > 1

    def _read_initials(self) -> None:
        trees = list(_parsed("initial amount of", zip(self.species, self.network.initials, strict=True)).values())
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
    def species_index(self) -> dict[str, int]:
        """Species -> its place in `species`."""
        return {name: i for i, name in enumerate(self.species)}

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
        values = np.empty((len(p), len(self.parameters) + len(self.derived)))
        values[:, : p.shape[1]] = p
        for j, column in enumerate(_quietly(self._derive, p), start=p.shape[1]):
            values[:, j] = column
        return values

    def initial_amounts(self, parameters: npt.ArrayLike | None = None) -> Float:
        """Return the amounts at the start: (n_species,) for one parameter vector, (n, n_species) for several."""
        p = self.nominal if parameters is None else np.asarray(parameters, float)
        q = self.values(p)
        amounts = np.empty((len(q), self.n_species))
        for i, column in enumerate(_quietly(self._start, q)):
            amounts[:, i] = column
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
    def plan(self) -> tuple[Tables, Order]:
        """The network as flat tables in elimination order, and that order."""
        tables, order = plan_of(self.network, self.rate_functions, self.rate_table)
        code, self._code_alive = unrolled(tables)
        return tables._replace(code=code), order

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
        kernels.jacobian(tables, w.k, w.y, w.partials, w.terms, w.entries)
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
        address, keep_alive = self.compiled_rates[0], (self.compiled_rates[2], self._code_alive)
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

    def workspace(self, n_outputs: int) -> Workspace:
        """Return scratch arrays for one thread of the integrator, which keeps `n_outputs` sums of species."""
        from .rosenbrock import workspace_for
        from .tableaux import RODAS5P

        functions = self.rate_functions
        sizes = len(self.rate_table.column), len(functions.values), len(functions.partials)
        return workspace_for(self.plan[0], *sizes, len(RODAS5P.a), n_outputs)

    def restrict(self, conditions: Conditions) -> CompiledModel:
        """Return the model without the species and reactions that none of `conditions` can reach.

        A species is reached if it starts above zero, in any condition or protocol segment, if a segment sets it, or if
        it is made by a reaction whose reactants are all reached and whose rate constant is not zero throughout.
        Parameters and observables stay the same; the restricted model has a hash of its own and is right for these
        conditions only (see `check_restriction`). Sensitivities to what only the removed parts would show are refused.
        Raises InputError where nothing is reached.
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
        from .protocol import check_protocol, segment_amounts, segment_parameters

        check_protocol(self, conditions)
        network, rows = self.network, range(len(conditions))
        start = np.zeros(self.n_species, bool)
        runs = np.zeros(len(network.reactions), bool)
        for segment in (None, *conditions.protocol):
            values = self.values(segment_parameters(self, conditions.parameters, segment, rows))
            start |= np.any(self.initial_amounts(values[:, : self.n_parameters]) != 0, axis=0)
            start[list(segment_amounts(self, segment, rows))] = True
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
        work = self.workspace(0)
        work.lane[rosenbrock.T] = t
        work.y[: self.n_species] = y[self.plan[1].permutation, None]
        work.k[: len(self.rate_table.column)] = self.rate_constants(values)[0][:, None]
        work.values[: len(self.rate_functions.values)] = self.function_values(values)[0][:, None]
        return work


def _parsed(kind: str, texts: Iterable[tuple[str, str]]) -> dict[str, ast.expr]:
    """Return the trees of expressions by name; an error names the quantity whose expression cannot be read."""
    trees = {}
    for name, text in texts:
        try:
            trees[name] = parse(text)
        except InputError as error:
            raise InputError(f"{kind} {name!r}: {error}") from None
    return trees


def _quietly(function: Callable[[Any], list[Float]], argument: Float | None) -> list[Float]:
    """Evaluate parameter expressions; what is not finite becomes a status of the run, not a warning."""
    with np.errstate(all="ignore"):
        return function(argument)
