"""Sparse LU with planned diagonal pivots, for eight trajectories at once: Jacobian entries in, factors of
`shift I - J`, solutions out. Machine code.

Pattern and order come from `ordering.plan_lu`; nothing is allocated and nothing is searched here. Arrays of lanes have
shape (n, WIDTH).
"""

from __future__ import annotations

from .kernel_cache import kernel
from .simd import absolute, at, fma, larger, load, splat, store


@kernel
def factor(tables, entries, shift, lu, row):
    """Factor `shift I - J` into `lu`, with unit lower triangle and reciprocal pivots on the diagonal.

    `entries` holds J in the pattern of `tables`, `shift` (1, WIDTH) one number per lane; `row` (n_species, WIDTH) is
    work space. Rows are eliminated one after another (the IKJ form of Gaussian elimination). A zero pivot shows as a
    non-finite solution.
    """
    shifts = load(shift, 0)
    for i in range(tables.n_species):
        start, diagonal, end = at(tables.lu_pointer, i), at(tables.lu_diagonal, i), at(tables.lu_pointer, i + 1)
        for q in range(start, end):
            store(row, at(tables.lu_column, q), 0.0)
        for e in range(at(tables.jacobian_pointer, i), at(tables.jacobian_pointer, i + 1)):
            store(row, at(tables.jacobian_column, e), -load(entries, e))
        store(row, i, load(row, i) + shifts)
        for q in range(start, diagonal):
            j = at(tables.lu_column, q)
            pivot = at(tables.lu_diagonal, j)
            multiplier = load(row, j) * load(lu, pivot)
            store(lu, q, multiplier)
            negative = -multiplier
            for p in range(pivot + 1, at(tables.lu_pointer, j + 1)):
                c = at(tables.lu_column, p)
                store(row, c, fma(negative, load(lu, p), load(row, c)))
        store(lu, diagonal, 1.0 / load(row, i))
        for q in range(diagonal + 1, end):
            store(lu, q, load(row, at(tables.lu_column, q)))


@kernel
def solve(tables, lu, x):
    """Solve `(shift I - J) x = b` in place: `x` (n_species, WIDTH) holds b on entry."""
    n = tables.n_species
    for i in range(n):
        total = load(x, i)
        for q in range(at(tables.lu_pointer, i), at(tables.lu_diagonal, i)):
            total = fma(-load(lu, q), load(x, at(tables.lu_column, q)), total)
        store(x, i, total)
    for i in range(n - 1, -1, -1):
        total = load(x, i)
        diagonal = at(tables.lu_diagonal, i)
        for q in range(diagonal + 1, at(tables.lu_pointer, i + 1)):
            total = fma(-load(lu, q), load(x, at(tables.lu_column, q)), total)
        store(x, i, total * load(lu, diagonal))


@kernel
def residual(tables, entries, shift, x, b, out, size):
    """Write `b - (shift I - J) x` into `out`, and its largest number over the largest of b into `size` (1, WIDTH).

    Where b is 0, `size` is the largest number itself. A residual that is not finite shows as NaN.
    """
    shifts, largest, scale, finite = load(shift, 0), splat(0.0), splat(0.0), splat(0.0)
    for i in range(tables.n_species):
        total = fma(-shifts, load(x, i), load(b, i))
        for e in range(at(tables.jacobian_pointer, i), at(tables.jacobian_pointer, i + 1)):
            total = fma(load(entries, e), load(x, at(tables.jacobian_column, e)), total)
        store(out, i, total)
        largest = larger(absolute(total), largest)
        finite = fma(0.0, total, finite)  # 0, or NaN from the first number that is not finite
        scale = larger(absolute(load(b, i)), scale)
    store(size, 0, (largest + finite) / larger(scale, splat(1e-300)))
