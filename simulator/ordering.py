"""Order of elimination: sparsity pattern of the Jacobian in, permutation and LU pattern planned once out."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]


class LUPattern(NamedTuple):
    """Sparsity of `L + U` in elimination order, by rows: `columns[pointer[i]:pointer[i + 1]]` sorted, with diagonal."""

    permutation: Index
    """Species eliminated at each step, shape (n,)."""
    position: Index
    """Step at which each species is eliminated, shape (n,): the inverse of `permutation`."""
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
    in_row: list[set[int]] = [set() for _ in range(n)]
    in_column: list[set[int]] = [set() for _ in range(n)]
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        if i != j:
            in_row[i].add(j)
            in_column[j].add(i)
    cost = [len(in_row[i]) * len(in_column[i]) for i in range(n)]
    queue = [(c, i) for i, c in enumerate(cost)]
    heapq.heapify(queue)
    eliminated = [False] * n
    permutation: list[int] = []
    lower: list[list[int]] = [[] for _ in range(n)]
    upper: list[list[int]] = [[] for _ in range(n)]
    while queue:
        c, pivot = heapq.heappop(queue)
        if eliminated[pivot] or c != cost[pivot]:
            continue
        eliminated[pivot] = True
        permutation.append(pivot)
        row, column = in_row[pivot], in_column[pivot]
        upper[pivot] = list(row)
        for j in row:
            in_column[j].discard(pivot)
        for i in column:
            lower[i].append(pivot)
            in_row[i].discard(pivot)
            for j in row - in_row[i] - {i}:  # fill-in
                in_row[i].add(j)
                in_column[j].add(i)
        for k in row | column:
            c = len(in_row[k]) * len(in_column[k])
            if c != cost[k]:
                cost[k] = c
                heapq.heappush(queue, (c, k))
    order = np.array(permutation, np.int64)
    position = np.empty(n, np.int64)
    position[order] = np.arange(n)
    by_row = [np.sort(position[[*lower[p], p, *upper[p]]]) for p in permutation]
    n_tail = _dense_tail(by_row)
    tail = np.arange(n - n_tail, n)
    for i in tail:
        by_row[i] = np.concatenate([by_row[i][by_row[i] < n - n_tail], tail])
    pointer = np.concatenate([[0], np.cumsum([len(row) for row in by_row])]).astype(np.int64)
    diagonal = np.array([pointer[i] + np.searchsorted(row, i) for i, row in enumerate(by_row)], np.int64)
    return LUPattern(order, position, pointer, diagonal, np.concatenate(by_row).astype(np.int64), n_tail)


def _dense_tail(by_row: list[Index]) -> int:
    """Return the size of the largest trailing block, a multiple of `TILE`, that is filled to `DENSE` or more."""
    n = len(by_row)
    # entry (i, j) lies in every trailing block that begins at min(i, j) or before
    begins = np.bincount(np.concatenate([np.minimum(row, i) for i, row in enumerate(by_row)]), minlength=n)
    entries = np.cumsum(begins[::-1])
    sizes = np.arange(1, n + 1)
    large = np.flatnonzero((entries >= DENSE * sizes**2) & (sizes % TILE == 0))
    return int(sizes[large[-1]]) if len(large) and sizes[large[-1]] >= 2 * TILE else 0
