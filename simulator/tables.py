"""Tables for the kernels: a network and its rates in, flat arrays in elimination order out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import ordering
from .cache import content_hash, read_arrays, writable_folder, write_arrays
from .network import Reaction, ReactionNetwork
from .ordering import LUPattern, plan_lu
from .rates import RateFunctions

if TYPE_CHECKING:
    from .kernels import Tables

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Index32 = npt.NDArray[np.int32]


class RateTable(NamedTuple):
    """Distinct rate constants: column of the values (or NUMBER, or FUNCTION), factor, and rate function if any."""

    of_reaction: Index
    column: Index
    factor: Float
    function: Index


NUMBER, FUNCTION = -1, -2
"""Columns of `RateTable` that are none: the factor alone, and the value of a rate function."""


class Order(NamedTuple):
    """Species in the order of their elimination, and the place of each in it; both (n_species,)."""

    permutation: Index
    position: Index


LARGE = 2000
"""Species from which a plan is kept on disk: below, making it takes no longer than reading it back."""


def plan(network: ReactionNetwork, functions: RateFunctions, rates: RateTable) -> tuple[Tables, Order]:
    """Return the tables and the order of `build_tables`, for a large network from the user's cache folder if there."""
    from .kernels import Tables

    folder = writable_folder("plans") if len(network.species) >= LARGE else None
    if folder is None:
        return build_tables(network, functions, rates)
    fields = [*Tables._fields, *Order._fields]
    code = [Path(file).read_bytes() for file in (__file__, ordering.__file__)]
    made_of = network.hash, repr((functions.observables, functions.partials, functions.n_rates))
    path = folder / f"{content_hash(*code, repr(fields), *made_of, *(a.tobytes() for a in rates))}.plan"
    if (arrays := read_arrays(path)) is not None:
        values: list[Any] = [a if a.ndim else a.item() for a in (arrays[str(i)] for i in range(len(fields)))]
        return Tables(*values[: len(Tables._fields)]), Order(*values[len(Tables._fields) :])
    tables, order = build_tables(network, functions, rates)
    made: list[Any] = [*tables, *order]
    write_arrays(path, {str(i): value for i, value in enumerate(made)})
    return tables, order


def build_tables(network: ReactionNetwork, functions: RateFunctions, rates: RateTable) -> tuple[Tables, Order]:
    """Return the network as flat tables in elimination order, and that order.

    A reaction r that changes species i by c adds to df_i/dy_j

        c m (rate constant * the other reactants)              if j reacts m times in r,
        c w (partial derivative * factor * the reactants)      if the rate function of r sees j with weight w.

    What stands in brackets is kept once for all entries that use it, as a term or (with a derivative) as a chain term.
    The linear system of a step (see `kernels.linear_system`) has the same terms, and products: the reactants of a
    reaction with a rate function, as terms whose rate constant is the row of ones after the last.
    """
    from .kernels import Tables

    n = len(network.species)
    # reactions of order two or less first; a stable sort, so that the order is a function of the network alone
    by_order = np.argsort([len(r.reactants) > 2 for r in network.reactions], kind="stable")
    reactions = [network.reactions[r] for r in by_order]
    rate = rates.of_reaction[by_order]
    reactants = _padded([r.reactants for r in reactions], n)
    changing, changed, change = _net_changes(reactions, np.array(network.fixed, bool))
    groups = [network.observables[name] for name in functions.observables]
    group, member = _flat([[i for i, _ in g] for g in groups])
    weight = np.array([w for g in groups for _, w in g], float)

    # ---- terms: reaction `reacting[q]` with one reactant, `taken[q]`, left out
    reacting, taken, multiplicity, others = _one_left_out(reactants, n)
    ruled, n_rates = np.flatnonzero(rates.function[rate] >= 0), len(rates.column)
    others = np.concatenate([np.pad(others, ((0, 0), (0, 1)), constant_values=n), np.sort(reactants[ruled], axis=1)])
    constant = np.concatenate([rate[reacting], np.full(len(ruled), n_rates)])
    term, shown = _numbered(constant, *others.T)
    few_first = np.argsort(_n_real(others[shown], n) > 2, kind="stable")
    term, shown = np.argsort(few_first)[term], shown[few_first]
    term_rate, term_reactants = constant[shown], others[shown]
    term, product = term[: len(reacting)], term[len(reacting) :]

    # ---- chain terms: reaction `driven[q]` with the partial derivative `partial[q]` of its rate function
    function, variable = np.array(functions.partials, np.int64).reshape(-1, 2).T
    driven, partial = _matches(rates.function[rate], function)
    factor, all_reactants = rates.factor[rate[driven]], np.sort(reactants[driven], axis=1)
    chained, shown = _numbered(partial, np.unique(factor, return_inverse=True)[1], *all_reactants.T)
    chain_partial, chain_factor, chain_reactants = partial[shown], factor[shown], all_reactants[shown]

    # ---- the Jacobian: each species that a reaction changes, by each that it sees
    of_time = variable[partial] < 0
    through, seen = _matches(variable[partial], group)
    seeing = np.concatenate([reacting, driven[through]])
    seen_species = np.concatenate([taken, member[seen]])
    seen_term = np.concatenate([term, len(term_rate) + chained[through]])
    seen_weight = np.concatenate([multiplicity, weight[seen]])
    left, right = _matches(changing, seeing)
    rows, columns = changed[left], seen_species[right]
    system = _system(n, (changing, changed, change), (reacting, taken, multiplicity, term),
                     (ruled, rates.function[rate[ruled]], rates.factor[rate[ruled]], product),
                     (function, variable), (group, member, weight), len(groups), functions.n_rates)  # fmt: skip
    lu = system.lu
    permutation = lu.permutation[lu.permutation < n]
    order = Order(permutation, np.argsort(permutation))
    at = np.append(order.position, n)  # the row of ones stays where it is
    unknown_species = np.where(lu.permutation < n, at[np.minimum(lu.permutation, n)], -1)
    product_of = np.full(len(reactions), -1)
    product_of[ruled] = product
    cell, entry = np.unique(at[rows] * n + at[columns], return_inverse=True)
    n_terms = len(term_rate) + len(chain_partial)
    summand, same = np.unique(entry * n_terms + seen_term[right], return_inverse=True)
    by = _added_up(change[left] * seen_weight[right], same, len(summand))
    summand, by = summand[by != 0], by[by != 0]
    timed, clock = _matches(changing, np.where(of_time, driven, -1))

    dynamic = np.flatnonzero(rates.function >= 0)
    n_plain, n_plain_terms = (int(np.sum(_n_real(x, n) <= 2)) for x in (reactants, term_reactants))
    further = _further(at[reactants[n_plain:]], n)
    term_further = _further(at[term_reactants[n_plain_terms:]], n)
    chain_further = _further(at[chain_reactants], n)
    tables = Tables(
        n_species=n, n_plain=n_plain,
        rate=_table(rate), first=_table(at[reactants[:, 0]]), second=_table(at[reactants[:, 1]]),
        further_pointer=further[0], further=further[1],
        change_pointer=_pointer(changing, len(reactions)), change=_table(at[changed]), change_by=change,
        n_plain_terms=n_plain_terms,
        term_rate=_table(term_rate), term_first=_table(at[term_reactants[:, 0]]),
        term_second=_table(at[term_reactants[:, 1]]),
        term_further_pointer=term_further[0], term_further=term_further[1],
        chain_partial=_table(chain_partial), chain_factor=chain_factor,
        chain_first=_table(at[chain_reactants[:, 0]]), chain_second=_table(at[chain_reactants[:, 1]]),
        chain_further_pointer=chain_further[0], chain_further=chain_further[1],
        jacobian_pointer=_pointer(cell // n, n), jacobian_column=_table(cell % n),
        sum_pointer=_pointer(summand // n_terms, len(cell)), sum_term=_table(summand % n_terms), sum_by=by,
        dynamic_rate=_table(dynamic), dynamic_function=_table(rates.function[dynamic]),
        dynamic_factor=rates.factor[dynamic],
        observable_pointer=_pointer(group, len(groups)), observable=_table(at[member]), observable_weight=weight,
        n_functions=functions.n_rates,
        unknown_species=_table(unknown_species), algebraic=_table(lu.position[n:]),
        system_pointer=system.pointer, system_column=system.column,
        system_entry=system.entry, system_sum_pointer=system.sum_pointer,
        system_sum_term=system.sum_term, system_sum_by=system.sum_by,
        partial_entry=system.partial_entry, partial=_table(np.flatnonzero(variable >= 0)),
        weight_entry=system.weight_entry,
        drift_species=_table(at[changed[timed]]), drift_by=change[timed] * factor[clock],
        drift_partial=_table(partial[clock]), drift_term=_table(product_of[driven[clock]]),
        n_rates=n_rates, code=np.zeros(4, np.int64),
        lu_pointer=_table(lu.pointer), lu_diagonal=_table(lu.diagonal), lu_column=_table(lu.columns), n_tail=lu.n_tail,
    )  # fmt: skip
    return tables, order


class _System(NamedTuple):
    """Entries of the linear system of a step, in elimination order (see `Tables`), and the plan of its factors."""

    lu: LUPattern
    pointer: Index32
    column: Index32
    entry: Index32
    sum_pointer: Index32
    sum_term: Index32
    sum_by: Float
    partial_entry: Index32
    weight_entry: Index32


def _system(
    n: int, changes: tuple[Index, Index, Float], taking: tuple[Index, Index, Index, Index],
    ruling: tuple[Index, Index, Float, Index], partials: tuple[Index, Index], groups: tuple[Index, Index, Float],
    n_groups: int, n_functions: int,
) -> _System:  # fmt: skip
    """Return the linear system of a step. Its unknowns are species, then observables, then rate functions."""
    changing, changed, change = changes
    reacting, taken, multiplicity, term = taking
    ruled, function, factor, product = ruling
    size, first = n + n_groups + n_functions, n + n_groups
    left, right = _matches(changing, reacting)
    driven, driving = _matches(changing, ruled)
    of_observable = partials[1] >= 0
    rows = [changed[left], changed[driven], first + partials[0][of_observable], n + groups[0]]
    columns = [taken[right], first + function[driving], n + partials[1][of_observable], groups[1]]
    row, column = np.concatenate(rows), np.concatenate(columns)
    lu = plan_lu(size, row, column)
    cell, entry = np.unique(lu.position[row] * size + lu.position[column], return_inverse=True)
    n_summed, n_partial = len(left) + len(driven), int(np.sum(of_observable))
    summed = np.concatenate([term[right], product[driving]])
    by = np.concatenate([change[left] * multiplicity[right], change[driven] * factor[driving]])
    n_terms = int(summed.max(initial=0)) + 1
    summand, same = np.unique(entry[:n_summed] * n_terms + summed, return_inverse=True)
    total = _added_up(by, same, len(summand))
    computed = np.unique(entry[:n_summed])
    summand, total = summand[total != 0], total[total != 0]
    return _System(
        lu, _pointer(cell // size, size), _table(cell % size), _table(computed),
        _pointer(np.searchsorted(computed, summand // n_terms), len(computed)), _table(summand % n_terms), total,
        _table(entry[n_summed : n_summed + n_partial]), _table(entry[n_summed + n_partial :]),
    )  # fmt: skip


# ---- reactions as arrays ----------------------------------------------------------------------------------------


def _net_changes(reactions: Sequence[Reaction], fixed: npt.NDArray[np.bool_]) -> tuple[Index, Index, Float]:
    """Return (reaction, species, by how much) of all that the reactions change, fixed species left out."""
    n = len(fixed)
    consuming, consumed = _flat([r.reactants for r in reactions])
    producing, produced = _flat([r.products for r in reactions])
    places, same = np.unique(np.concatenate([consuming * n + consumed, producing * n + produced]), return_inverse=True)
    signs = np.repeat([-1.0, 1.0], [len(consumed), len(produced)])
    change = _added_up(signs, same, len(places))
    kept = (change != 0) & ~fixed[places % n]
    return places[kept] // n, places[kept] % n, change[kept]


def _padded(lists: Sequence[Sequence[int]], fill: int) -> Index:
    """Return the lists as rows of a matrix, filled up to the longest, which has three columns at least."""
    matrix = np.full((len(lists), max(3, *map(len, lists), 3)), fill, np.int64)
    row, item = _flat(lists)
    matrix[row, np.arange(len(row)) - _pointer(row, len(lists))[row]] = item
    return matrix


def _n_real(padded: Index, fill: int) -> Index:
    """Return how many entries of each row are no padding."""
    return np.sum(padded < fill, axis=1)


def _one_left_out(reactants: Index, fill: int) -> tuple[Index, Index, Index, Index]:
    """Return, per reaction and distinct reactant: reaction, reactant, how often it reacts, and the other reactants."""
    ordered = np.sort(reactants, axis=1)
    is_new = np.ones_like(ordered, bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    reaction, slot = np.nonzero(is_new & (ordered < fill))
    taken, sides = ordered[reaction, slot], ordered[reaction]
    others = sides[np.arange(ordered.shape[1]) != slot[:, None]].reshape(len(sides), ordered.shape[1] - 1)
    return reaction, taken, np.sum(sides == taken[:, None], axis=1), others


# ---- lists of lists ---------------------------------------------------------------------------------------------


def _flat(lists: Sequence[Sequence[int]]) -> tuple[Index, Index]:
    """Return (number of the list, item) of all items."""
    sizes = np.fromiter(map(len, lists), np.int64, len(lists))
    return np.repeat(np.arange(len(lists)), sizes), np.fromiter(chain.from_iterable(lists), np.int64)


def _pointer(owner: Index, n_lists: int) -> npt.NDArray[np.int32]:
    """Return where each list begins among items sorted by `owner`, and where the last one ends."""
    return _table(np.searchsorted(owner, np.arange(n_lists + 1)))


def _further(padded: Index, fill: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the third and later entries of each row, as pointer and content."""
    row, column = np.nonzero(padded[:, 2:] < fill)
    return _pointer(row, len(padded)), _table(padded[row, 2 + column])


def _matches(left: Index, right: Index) -> tuple[Index, Index]:
    """Return all pairs (i, j) with `left[i] == right[j]`, sorted by i, then j."""
    order = np.argsort(right, kind="stable")
    begin, end = (np.searchsorted(right[order], left, side) for side in ("left", "right"))
    i = np.repeat(np.arange(len(left)), end - begin)
    first = np.cumsum(end - begin) - (end - begin)
    return i, order[(begin - first)[i] + np.arange(len(i))]


def _numbered(*keys: Index) -> tuple[Index, Index]:
    """Number the distinct rows of the columns `keys` as they first appear.

    Return each row's number and, per number, the first row that has it.
    """
    number = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        number = np.unique(number * (key.max(initial=0) + 1) + key, return_inverse=True)[1]
    _, first = np.unique(number, return_index=True)
    by_appearance = np.argsort(first)
    return np.argsort(by_appearance)[number], first[by_appearance]


def _added_up(numbers: Float, place: Index, n_places: int) -> Float:
    """Return the sum of the numbers of each place, added one after another."""
    return np.bincount(place, numbers, n_places).astype(np.float64)  # of nothing, NumPy makes integers


def _table(numbers: Iterable[int] | Index) -> npt.NDArray[np.int32]:
    return np.ascontiguousarray(numbers, np.int32)
