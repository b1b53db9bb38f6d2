"""Order of elimination: sparsity pattern of a linear system in, permutation and LU pattern planned once out.

Rows and columns of the matrix are sets of bits, so that the fill-in of a row is a few machine words. Machine code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .kernel_cache import allocating, kernel

Index = npt.NDArray[np.int64]


class LUPattern(NamedTuple):
    """Sparsity of `L + U` in elimination order, by rows: `columns[pointer[i]:pointer[i + 1]]` sorted, with diagonal."""

    permutation: Index
    """Unknown eliminated at each step, shape (n,)."""
    position: Index
    """Step at which each unknown is eliminated, shape (n,): the inverse of `permutation`."""
    pointer: Index
    diagonal: Index
    """Place of the diagonal entry of each row, shape (n,)."""
    columns: Index
    n_tail: int
    """Rows and columns at the end that are stored in full, a multiple of `TILE`: most arithmetic falls there."""


TILE = 4
"""Side of the blocks in which the tail is factored."""
DENSE = 0.85
"""Fill of the trailing block from which storing it in full pays; flat from 0.8 to 0.94 on the networks tried."""


def plan_lu(n: int, rows: Index, columns: Index) -> LUPattern:
    """Return the LU pattern of an (n, n) matrix with entries at (rows, columns) and a full diagonal.

    Pivots stay on the diagonal, in unsymmetric Markowitz order (H. M. Markowitz, Management Science 3:255, 1957):
    the next pivot is the one with the smallest product of the numbers of other entries in its row and column.
    Ties go to the lower index, so that the plan is a function of the pattern alone.
    """
    right, below = bit_sets(n, rows, columns), bit_sets(n, columns, rows)
    permutation = eliminate(right, below)
    position = np.empty(n, np.int64)
    position[permutation] = np.arange(n)
    pointer, diagonal, lu_columns = by_row(right, below, permutation, position)
    return _with_full_tail(LUPattern(permutation, position, pointer, diagonal, lu_columns, 0))


def _with_full_tail(sparse: LUPattern) -> LUPattern:
    """Return the pattern with the largest trailing block that is filled to `DENSE` or more stored in full."""
    n = len(sparse.permutation)
    row, column = np.repeat(np.arange(n), np.diff(sparse.pointer)), sparse.columns
    # entry (i, j) lies in every trailing block that begins at min(i, j) or before
    entries = np.cumsum(np.bincount(np.minimum(row, column), minlength=n)[::-1])
    sizes = np.arange(1, n + 1)
    large = sizes[(entries >= DENSE * sizes**2) & (sizes % TILE == 0)]
    if not len(large) or large[-1] < 2 * TILE:
        return sparse
    n_tail = int(large[-1])
    start, tail = n - n_tail, np.arange(n - n_tail, n)
    kept = (row < start) | (column < start)
    row, column, within = row[kept], column[kept], (np.arange(len(row)) - sparse.pointer[row])[kept]
    sizes = np.bincount(row, minlength=n)
    sizes[start:] += n_tail
    pointer = np.concatenate([[0], np.cumsum(sizes)])
    full_columns = np.empty(pointer[-1], np.int64)
    full_columns[pointer[row] + within] = column
    block = pointer[start + 1 :] - n_tail
    full_columns[block[:, None] + np.arange(n_tail)] = tail
    diagonal = pointer[:-1] + sparse.diagonal - sparse.pointer[:-1]
    diagonal[start:] = block + np.arange(n_tail)
    return LUPattern(sparse.permutation, sparse.position, pointer, diagonal, full_columns, n_tail)


# ---- sets of bits: number j is bit j % 64 of word j // 64 --------------------------------------------------------

ONE, BITS = np.uint64(1), np.uint64(63)


@allocating
def bit_sets(n, owner, member):
    """Return n sets of numbers below n: each `member` in the set of its `owner`, no number in its own set."""
    sets = np.zeros((n, (n + 63) // 64), np.uint64)
    for q in range(owner.size):
        if owner[q] != member[q]:
            sets[owner[q], member[q] >> 6] |= ONE << (np.uint64(member[q]) & BITS)
    return sets


@kernel
def remove(numbers, j):
    """Take `j` out of a set."""
    numbers[j >> 6] &= ~(ONE << (np.uint64(j) & BITS))


@kernel
def count(word):
    """Return how many bits of a word are set, added up in pairs, fours and bytes."""
    word = word - ((word >> ONE) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def size(numbers):
    """Return the number of members of a set."""
    total = 0
    for w in range(numbers.size):
        total += count(numbers[w])
    return total


@kernel
def list_members(numbers, out):
    """Write the members of a set into `out`, in order, and return how many there are."""
    n = 0
    for w in range(numbers.size):
        word = numbers[w]
        while word:
            lowest = word & (~word + ONE)
            out[n] = 64 * w + count(lowest - ONE)
            n += 1
            word ^= lowest
    return n


@kernel
def unite(numbers, others, j, pivot):
    """Add `others` to a set, less `j` and `pivot`; return its size."""
    for w in range(numbers.size):
        numbers[w] |= others[w]
    remove(numbers, j)
    remove(numbers, pivot)
    return size(numbers)


# ---- elimination ------------------------------------------------------------------------------------------------


@allocating
def eliminate(right, below):
    """Return the order of elimination; `right[i]` and `below[j]` hold the columns of row i and the rows of column j.

    On return they hold, of each row of U, what is right of the diagonal, and of each column of L, what is below it.
    """
    n = right.shape[0]
    permutation = np.empty(n, np.int64)
    row, column = np.empty(n, np.int64), np.empty(n, np.int64)
    in_row, in_column = np.empty(n, np.int64), np.empty(n, np.int64)
    waiting = np.ones(n, np.bool_)
    for i in range(n):
        in_row[i], in_column[i] = size(right[i]), size(below[i])
    for step in range(n):
        pivot, lowest = -1, n * n
        for i in range(n):
            if waiting[i] and in_row[i] * in_column[i] < lowest:
                pivot, lowest = i, in_row[i] * in_column[i]
        permutation[step] = pivot
        waiting[pivot] = False
        for q in range(list_members(below[pivot], column)):
            i = column[q]
            in_row[i] = unite(right[i], right[pivot], i, pivot)
        for q in range(list_members(right[pivot], row)):
            j = row[q]
            in_column[j] = unite(below[j], below[pivot], j, pivot)
    return permutation


@allocating
def by_row(right, below, permutation, position):
    """Return pointer, places of the diagonal and sorted columns of L + U by rows, in elimination order."""
    n = permutation.size
    members = np.empty(n, np.int64)
    pointer = np.zeros(n + 1, np.int64)
    for step in range(n):
        pointer[step + 1] += 1 + size(right[permutation[step]])
        for q in range(list_members(below[permutation[step]], members)):
            pointer[position[members[q]] + 1] += 1
    for i in range(n):
        pointer[i + 1] += pointer[i]
    columns = np.empty(pointer[n], np.int64)
    diagonal = pointer[:n].copy()  # moves on with each entry left of it
    for step in range(n):
        for q in range(list_members(below[permutation[step]], members)):
            i = position[members[q]]
            columns[diagonal[i]] = step
            diagonal[i] += 1
    ordered = np.zeros(right.shape[1], np.uint64)
    for i in range(n):
        columns[diagonal[i]] = i
        ordered[:] = 0
        for q in range(list_members(right[permutation[i]], members)):
            j = position[members[q]]
            ordered[j >> 6] |= ONE << (np.uint64(j) & BITS)
        list_members(ordered, columns[diagonal[i] + 1 :])
    return pointer, diagonal, columns
