"""Conserved totals: the reactions that runs can reach in, the sums of amounts that none of these changes out.

Species are numbered in elimination order, as in the tables. A sum is conserved for a run if no reaction that the run
reaches changes it; a species that is not reached, or is fixed, is a total of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .kernels import Tables

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Totals(NamedTuple):
    """The conserved totals of several runs. Total `t` is the sum of `weight` times amount over its members.

    Members are `species[pointer[t]:pointer[t + 1]]`. One of them, `free[t]`, has weight 1 and is in no other total of
    the same run, so that an amount added there changes this total alone.
    """

    first: Index
    """Of each run: its totals are those from `first` to before `last`."""
    last: Index
    pointer: Index
    species: Index
    weight: Float
    free: Index

    def of(self, run: int, n_species: int) -> tuple[Float, Index]:
        """Return the weights (n_totals, n_species) of one run's totals, and the species free in each."""
        mine = range(self.first[run], self.last[run])
        weights = np.zeros((len(mine), n_species))
        for row, t in zip(weights, mine, strict=True):
            members = slice(self.pointer[t], self.pointer[t + 1])
            row[self.species[members]] = self.weight[members]
        return weights, self.free[mine.start : mine.stop]


_KNOWN: WeakKeyDictionary[CompiledModel, dict[bytes, tuple[Float, Index]]] = WeakKeyDictionary()


def totals_of_runs(compiled: CompiledModel, running: Flags, present: Flags) -> Totals:
    """Return the totals of runs in which the rates `running` (n, n_rates) are not zero, starting with `present`.

    `present` (n, n_species) are the species with an amount. Rates that a function decides run in any case.
    Runs in which the same reactions have a rate, and the same species an amount, have the same totals.
    """
    tables, _ = compiled.plan
    known = _KNOWN.setdefault(compiled, {})
    running = running.copy()
    running[:, tables.dynamic_rate] = True
    patterns = np.packbits(np.hstack([running, present]), axis=1)
    _, examples, of_run = np.unique(patterns, axis=0, return_index=True, return_inverse=True)
    bases, counts = [], []
    for i in examples:
        reached = reached_reactions(tables, present[i], running[i, tables.rate])
        key = np.packbits(reached).tobytes()
        if key not in known:
            known[key] = left_null_space(tables, reached)
        bases.append(known[key])
        counts.append(len(known[key][1]))
    end = np.cumsum(counts, dtype=np.int64)
    rows = [row for weights, _ in bases for row in weights]
    members = [np.flatnonzero(row) for row in rows]
    pointer = np.cumsum([0, *map(len, members)], dtype=np.int64)
    of_run = of_run.reshape(-1)
    return Totals(
        first=(end - counts)[of_run], last=end[of_run], pointer=pointer,
        species=np.concatenate([np.zeros(0, np.int64), *members]),
        weight=np.concatenate([np.zeros(0), *(row[m] for row, m in zip(rows, members, strict=True))]),
        free=np.concatenate([np.zeros(0, np.int64), *(free for _, free in bases)]),
    )  # fmt: skip


def reached_reactions(tables: Tables, present: Flags, running: Flags) -> Flags:
    """Return which reactions (n_reactions,) take place: they have a rate and all reactants are present or made."""
    there = np.append(present, True)
    change_reaction = np.repeat(np.arange(len(tables.rate)), np.diff(tables.change_pointer))
    further_reaction = tables.n_plain + np.repeat(
        np.arange(len(tables.rate) - tables.n_plain), np.diff(tables.further_pointer)
    )
    made = tables.change_by > 0
    while True:
        takes_place = running & there[tables.first] & there[tables.second]
        takes_place[further_reaction[~there[tables.further]]] = False
        new = tables.change[made & takes_place[change_reaction]]
        if there[new].all():
            return takes_place
        there[new] = True


def left_null_space(tables: Tables, reached: Flags) -> tuple[Float, Index]:
    """Return weights (n_totals, n_species) of the sums that no `reached` reaction changes, and which species are free.

    The changes of amounts are brought to reduced echelon form, reaction by reaction: a basis with one pivot species in
    each row and nowhere else. What is not a pivot is free, and its total follows from the column below it.
    """
    n = tables.n_species
    basis, pivots = np.zeros((0, n)), np.zeros(0, np.int64)
    row_of = np.full(n, -1)
    seen = set()
    for r in np.flatnonzero(reached):
        part = slice(tables.change_pointer[r], tables.change_pointer[r + 1])
        species, by = tables.change[part], tables.change_by[part]
        change = (species.tobytes(), by.tobytes())
        if change in seen:
            continue
        seen.add(change)
        row = np.zeros(n)
        row[species] = by
        for i in species[row_of[species] >= 0]:
            row -= row[i] * basis[row_of[i]]
        row[np.abs(row) < 1e-9] = 0.0  # stoichiometric numbers are simple fractions: this is rounding
        if not row.any():
            continue
        pivot = int(np.argmax(np.abs(row)))
        row /= row[pivot]
        basis = np.vstack([basis - basis[:, [pivot]] * row, row])
        basis[np.abs(basis) < 1e-9] = 0.0
        row_of[pivot] = len(pivots)
        pivots = np.append(pivots, pivot)
    free = np.flatnonzero(row_of < 0)
    weights = np.zeros((len(free), n))
    weights[np.arange(len(free)), free] = 1.0
    weights[:, pivots] = -basis[:, free].T
    return weights, free
