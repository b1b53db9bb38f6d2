"""Sparse LU with planned diagonal pivots, for eight trajectories at once: entries of the linear system of a step in,
factors and solutions out. Machine code.

Pattern and order come from `ordering.plan_lu`; nothing is allocated and nothing is searched here. Arrays of lanes have
shape (n, WIDTH).
"""

from __future__ import annotations

from .kernel_cache import kernel
from .simd import absolute, at, fma, larger, load, splat, store
from .unrolled import FACTOR, SOLVE, call_code


@kernel
def tail_row(tables, i):
    """Return the place in `lu` at which row `i` of the tail begins; its entries follow one another."""
    return at(tables.lu_pointer, tables.unknown_species.size - tables.n_tail + i + 1) - tables.n_tail


@kernel
def reduced(tables, lu, i, j, k):
    """Return the 4 x 4 block at (i, j) of the tail, less the products of its rows and columns before `k`, by rows."""
    r0, r1, r2, r3 = tail_row(tables, i), tail_row(tables, i + 1), tail_row(tables, i + 2), tail_row(tables, i + 3)
    a00, a01, a02, a03 = load(lu, r0 + j), load(lu, r0 + j + 1), load(lu, r0 + j + 2), load(lu, r0 + j + 3)
    a10, a11, a12, a13 = load(lu, r1 + j), load(lu, r1 + j + 1), load(lu, r1 + j + 2), load(lu, r1 + j + 3)
    a20, a21, a22, a23 = load(lu, r2 + j), load(lu, r2 + j + 1), load(lu, r2 + j + 2), load(lu, r2 + j + 3)
    a30, a31, a32, a33 = load(lu, r3 + j), load(lu, r3 + j + 1), load(lu, r3 + j + 2), load(lu, r3 + j + 3)
    for p in range(k):
        u = tail_row(tables, p) + j
        u0, u1, u2, u3 = load(lu, u), load(lu, u + 1), load(lu, u + 2), load(lu, u + 3)
        m = -load(lu, r0 + p)
        a00, a01, a02, a03 = fma(m, u0, a00), fma(m, u1, a01), fma(m, u2, a02), fma(m, u3, a03)
        m = -load(lu, r1 + p)
        a10, a11, a12, a13 = fma(m, u0, a10), fma(m, u1, a11), fma(m, u2, a12), fma(m, u3, a13)
        m = -load(lu, r2 + p)
        a20, a21, a22, a23 = fma(m, u0, a20), fma(m, u1, a21), fma(m, u2, a22), fma(m, u3, a23)
        m = -load(lu, r3 + p)
        a30, a31, a32, a33 = fma(m, u0, a30), fma(m, u1, a31), fma(m, u2, a32), fma(m, u3, a33)
    return (a00, a01, a02, a03), (a10, a11, a12, a13), (a20, a21, a22, a23), (a30, a31, a32, a33)


@kernel
def put(lu, place, four):
    """Write four vectors one after another."""
    a, b, c, d = four
    store(lu, place, a)
    store(lu, place + 1, b)
    store(lu, place + 2, c)
    store(lu, place + 3, d)


@kernel
def minus(m, x, y):
    """Return y - m x for four vectors each."""
    n = -m
    x0, x1, x2, x3 = x
    y0, y1, y2, y3 = y
    return fma(n, x0, y0), fma(n, x1, y1), fma(n, x2, y2), fma(n, x3, y3)


@kernel
def over(a, d0, d1, d2, d3, u01, u02, u03, u12, u13, u23):
    """Return x with x U = a, for the 4 x 4 upper triangle U with reciprocal diagonal d."""
    x0 = a[0] * d0
    x1 = fma(-x0, u01, a[1]) * d1
    x2 = fma(-x1, u12, fma(-x0, u02, a[2])) * d2
    x3 = fma(-x2, u23, fma(-x1, u13, fma(-x0, u03, a[3]))) * d3
    return x0, x1, x2, x3


@kernel
def factor_tail(tables, lu):
    """Factor the full trailing block in place, in blocks of 4 x 4 that stay in registers.

    Block column and block row `t` are finished together: the diagonal block, then `U` to its right by forward
    substitution with its lower triangle, then `L` below it by substitution with its upper triangle.
    """
    m = tables.n_tail
    for t in range(0, m, 4):
        r0, r1, r2, r3 = tail_row(tables, t), tail_row(tables, t + 1), tail_row(tables, t + 2), tail_row(tables, t + 3)
        # ---- diagonal block
        a, b, c, d = reduced(tables, lu, t, t, t)
        d0 = 1.0 / a[0]
        l10, l20, l30 = b[0] * d0, c[0] * d0, d[0] * d0
        b, c, d = minus(l10, a, b), minus(l20, a, c), minus(l30, a, d)
        d1 = 1.0 / b[1]
        l21, l31 = c[1] * d1, d[1] * d1
        c, d = minus(l21, b, c), minus(l31, b, d)
        d2 = 1.0 / c[2]
        l32 = d[2] * d2
        d = minus(l32, c, d)
        d3 = 1.0 / d[3]
        u01, u02, u03, u12, u13, u23 = a[1], a[2], a[3], b[2], b[3], c[3]
        put(lu, r0 + t, (d0, u01, u02, u03))
        put(lu, r1 + t, (l10, d1, u12, u13))
        put(lu, r2 + t, (l20, l21, d2, u23))
        put(lu, r3 + t, (l30, l31, l32, d3))
        for j in range(t + 4, m, 4):
            # ---- to the right: L X = A
            a, b, c, d = reduced(tables, lu, t, j, t)
            b = minus(l10, a, b)
            c = minus(l21, b, minus(l20, a, c))
            d = minus(l32, c, minus(l31, b, minus(l30, a, d)))
            put(lu, r0 + j, a)
            put(lu, r1 + j, b)
            put(lu, r2 + j, c)
            put(lu, r3 + j, d)
        for i in range(t + 4, m, 4):
            # ---- below: X U = A, row by row
            block = reduced(tables, lu, i, t, t)
            put(lu, tail_row(tables, i) + t, over(block[0], d0, d1, d2, d3, u01, u02, u03, u12, u13, u23))
            put(lu, tail_row(tables, i + 1) + t, over(block[1], d0, d1, d2, d3, u01, u02, u03, u12, u13, u23))
            put(lu, tail_row(tables, i + 2) + t, over(block[2], d0, d1, d2, d3, u01, u02, u03, u12, u13, u23))
            put(lu, tail_row(tables, i + 3) + t, over(block[3], d0, d1, d2, d3, u01, u02, u03, u12, u13, u23))


@kernel
def factor(tables, system, shift, lu, row):
    """Factor the linear system of a step into `lu`, with unit lower triangle and reciprocal pivots on the diagonal.

    The matrix is `M - system` with M diagonal: `shift` (1, WIDTH), one number per lane, for species, and 1 for
    the other unknowns. `row` (n_unknowns, WIDTH) is work space. Rows are eliminated one after another (the IKJ form of
    Gaussian elimination); those of the tail only with the pivots before it, and the tail is then factored as a full
    matrix. A zero pivot shows as a non-finite solution.
    """
    if tables.code[FACTOR] != 0:
        call_code(tables.code, FACTOR, (system, shift, lu))
        return
    shifts = load(shift, 0)
    n = tables.unknown_species.size
    n_head = n - tables.n_tail
    for i in range(n):
        start, diagonal, end = at(tables.lu_pointer, i), at(tables.lu_diagonal, i), at(tables.lu_pointer, i + 1)
        for q in range(start, end):
            store(row, at(tables.lu_column, q), 0.0)
        for e in range(at(tables.system_pointer, i), at(tables.system_pointer, i + 1)):
            store(row, at(tables.system_column, e), -load(system, e))
        store(row, i, load(row, i) + (shifts if at(tables.unknown_species, i) >= 0 else splat(1.0)))
        last = diagonal if i < n_head else end - tables.n_tail
        for q in range(start, last):
            j = at(tables.lu_column, q)
            pivot = at(tables.lu_diagonal, j)
            multiplier = load(row, j) * load(lu, pivot)
            store(lu, q, multiplier)
            negative = -multiplier
            for p in range(pivot + 1, at(tables.lu_pointer, j + 1)):
                c = at(tables.lu_column, p)
                store(row, c, fma(negative, load(lu, p), load(row, c)))
        for q in range(last, end):
            store(lu, q, load(row, at(tables.lu_column, q)))
        if i < n_head:
            store(lu, diagonal, 1.0 / load(row, i))
    factor_tail(tables, lu)


@kernel
def solve(tables, lu, x):
    """Solve `(shift I - J) x = b` in place: `x` (n_species, WIDTH) holds b on entry.

    The rows of `lu` after the factors are work space.
    """
    if tables.code[SOLVE] != 0:
        call_code(tables.code, SOLVE, (lu, x))
        return
    n = tables.unknown_species.size
    z = tables.lu_column.size
    for i in range(n):
        species = at(tables.unknown_species, i)
        total = load(x, species) if species >= 0 else splat(0.0)
        for q in range(at(tables.lu_pointer, i), at(tables.lu_diagonal, i)):
            total = fma(-load(lu, q), load(lu, z + at(tables.lu_column, q)), total)
        store(lu, z + i, total)
    for i in range(n - 1, -1, -1):
        total = load(lu, z + i)
        diagonal = at(tables.lu_diagonal, i)
        for q in range(diagonal + 1, at(tables.lu_pointer, i + 1)):
            total = fma(-load(lu, q), load(lu, z + at(tables.lu_column, q)), total)
        total = total * load(lu, diagonal)
        store(lu, z + i, total)
        species = at(tables.unknown_species, i)
        if species >= 0:
            store(x, species, total)


@kernel
def residual(tables, system, shift, lu, x, b, out, size):
    """Write `b - (shift I - J) x` into `out`, and its largest number over the largest row of |b| + |shift I - J| |x|
    into `size` (1, WIDTH).

    That ratio is near the rounding unit however close to singular the matrix is, if the factors are sound; over |b|
    alone it would grow with the step, and a long step to equilibrium would never pass. Where all is 0, so is `size`;
    a residual that is not finite shows as NaN. The work space in `lu` is used, the factors are not.
    """
    shifts, largest, scale, finite = load(shift, 0), splat(0.0), splat(0.0), splat(0.0)
    n = tables.unknown_species.size
    z = tables.lu_column.size
    for i in range(n):
        if at(tables.unknown_species, i) >= 0:
            store(lu, z + i, load(x, at(tables.unknown_species, i)))
    for q in range(tables.algebraic.size):
        i = at(tables.algebraic, q)
        total = splat(0.0)
        for e in range(at(tables.system_pointer, i), at(tables.system_pointer, i + 1)):
            total = fma(load(system, e), load(lu, z + at(tables.system_column, e)), total)
        store(lu, z + i, total)
    for i in range(n):
        species = at(tables.unknown_species, i)
        if species >= 0:
            value, right = load(x, species), load(b, species)
            total, row = fma(-shifts, value, right), fma(shifts, absolute(value), absolute(right))
            for e in range(at(tables.system_pointer, i), at(tables.system_pointer, i + 1)):
                entry, value = load(system, e), load(lu, z + at(tables.system_column, e))
                total, row = fma(entry, value, total), fma(absolute(entry), absolute(value), row)
            store(out, species, total)
            largest = larger(absolute(total), largest)
            finite = fma(0.0, total, finite)  # 0, or NaN from the first number that is not finite
            scale = larger(row, scale)
    store(size, 0, (largest + finite) / larger(scale, splat(1e-300)))
