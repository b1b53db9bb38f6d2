"""Sparse LU with planned diagonal pivots: Jacobian entries in, factors of `shift I - J`, solutions out. Machine code.

Pattern and order come from `ordering.plan_lu`; nothing is allocated and nothing is searched here.
"""

from __future__ import annotations

from .kernel_cache import kernel


@kernel
def factor(tables, entries, shift, lu, row):
    """Factor `shift I - J` into `lu`, with unit lower triangle and reciprocal pivots on the diagonal.

    `entries` holds J in the pattern of `tables`; `row` (n_species,) is work space. Rows are eliminated one after
    another (the IKJ form of Gaussian elimination). A zero pivot shows as a non-finite solution.
    """
    lu[:] = 0.0
    for e in range(entries.size):
        lu[tables.jacobian_in_lu[e]] = -entries[e]
    for i in range(tables.n_species):
        start, diagonal, end = tables.lu_pointer[i], tables.lu_diagonal[i], tables.lu_pointer[i + 1]
        lu[diagonal] += shift
        for q in range(start, end):
            row[tables.lu_column[q]] = lu[q]
        for q in range(start, diagonal):
            j = tables.lu_column[q]
            multiplier = row[j] * lu[tables.lu_diagonal[j]]
            row[j] = multiplier
            for p in range(tables.lu_diagonal[j] + 1, tables.lu_pointer[j + 1]):
                row[tables.lu_column[p]] -= multiplier * lu[p]
        for q in range(start, end):
            lu[q] = row[tables.lu_column[q]]
        lu[diagonal] = 1.0 / lu[diagonal]


@kernel
def solve(tables, lu, x):
    """Solve `(shift I - J) x = b` in place: `x` (n_species,) holds b on entry."""
    n = tables.n_species
    for i in range(n):
        total = x[i]
        for q in range(tables.lu_pointer[i], tables.lu_diagonal[i]):
            total -= lu[q] * x[tables.lu_column[q]]
        x[i] = total
    for i in range(n - 1, -1, -1):
        total = x[i]
        for q in range(tables.lu_diagonal[i] + 1, tables.lu_pointer[i + 1]):
            total -= lu[q] * x[tables.lu_column[q]]
        x[i] = total * lu[tables.lu_diagonal[i]]


@kernel
def residual(tables, entries, shift, x, b, out):
    """Write `b - (shift I - J) x` into `out`; return the largest |out| over the largest |b| (0 if b is 0)."""
    largest, scale = 0.0, 0.0
    for i in range(tables.n_species):
        total = b[i] - shift * x[i]
        for e in range(tables.jacobian_pointer[i], tables.jacobian_pointer[i + 1]):
            total += entries[e] * x[tables.jacobian_column[e]]
        out[i] = total
        if not abs(total) <= largest:  # a NaN must survive
            largest = abs(total)
        scale = max(scale, abs(b[i]))
    return largest / scale if scale > 0.0 else largest
