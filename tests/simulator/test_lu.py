"""Sparse LU: solutions solve, whatever the pattern, the tail and the neighbours in the other lanes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residuum.simulator import lu
from residuum.simulator.kernels import Tables
from residuum.simulator.ordering import TILE, plan_lu
from residuum.simulator.simd import WIDTH, aligned


def planned(n: int, density: float, seed: int) -> tuple[Tables, np.ndarray, SimpleNamespace]:
    """Return tables of a random pattern, entries for all lanes (n_entries, WIDTH), and the dense matrices J."""
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(rng.random((n, n)) < density)
    plan = plan_lu(n, rows, columns)
    inner = sorted(zip(plan.position[rows].tolist(), plan.position[columns].tolist(), strict=True))
    entry_rows = np.array([i for i, _ in inner], np.int64)
    empty = {name: np.zeros(0, np.int32) for name in Tables._fields}
    tables = Tables(**{**empty, "n_species": n, "n_tail": plan.n_tail,
                       "system_pointer": np.searchsorted(entry_rows, np.arange(n + 1)).astype(np.int32),
                       "unknown_species": np.arange(n, dtype=np.int32), "code": np.zeros(4, np.int64),
                       "system_column": np.array([j for _, j in inner], np.int32),
                       "lu_pointer": plan.pointer.astype(np.int32), "lu_diagonal": plan.diagonal.astype(np.int32),
                       "lu_column": plan.columns.astype(np.int32)})  # fmt: skip
    entries = aligned(max(len(inner), 1), WIDTH)
    entries[: len(inner)] = rng.normal(size=(len(inner), WIDTH))
    dense = np.zeros((WIDTH, n, n))
    for e, (i, j) in enumerate(inner):
        dense[:, i, j] = entries[e]
    return tables, entries, SimpleNamespace(dense=dense, plan=plan, rng=rng)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 40), density=st.floats(0.0, 1.0), seed=st.integers(0, 10_000))
def test_factors_solve_every_lane(n: int, density: float, seed: int) -> None:
    tables, entries, made = planned(n, density, seed)
    shift = aligned(1, WIDTH)
    shift[:] = 4.0 * n + np.arange(WIDTH)  # dominant diagonal, as a small step gives
    factors, row, x = aligned(len(tables.lu_column) + tables.n_species, WIDTH), aligned(n, WIDTH), aligned(n, WIDTH)
    x[:] = right = made.rng.normal(size=(n, WIDTH))
    lu.factor(tables, entries, shift, factors, row)
    lu.solve(tables, factors, x)
    for lane in range(WIDTH):
        exact = np.linalg.solve(shift[0, lane] * np.eye(n) - made.dense[lane], right[:, lane])
        np.testing.assert_allclose(x[:, lane], exact, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_a_lane_does_not_see_its_neighbours(density: float) -> None:
    tables, entries, made = planned(30, density, 1)
    shift, factors, row = (
        aligned(1, WIDTH),
        aligned(len(tables.lu_column) + tables.n_species, WIDTH),
        aligned(30, WIDTH),
    )
    shift[:] = 100.0
    x = aligned(30, WIDTH)
    x[:] = made.rng.normal(size=(30, WIDTH))
    alone, before = x.copy(), entries.copy()
    lu.factor(tables, entries, shift, factors, row)
    lu.solve(tables, factors, x)
    spoilt = aligned(*entries.shape)
    spoilt[:] = before
    spoilt[:, 1:] = np.nan
    other = aligned(30, WIDTH)
    other[:] = alone
    lu.factor(tables, spoilt, shift, factors, row)
    lu.solve(tables, factors, other)
    np.testing.assert_array_equal(other[:, 0], x[:, 0])


def test_the_residual_tells_unsound_factors_from_a_nearly_singular_matrix() -> None:
    """A long step to equilibrium under conserved totals: singular but for a shift far below the entries."""
    n = 20
    tables, entries, made = planned(n, 1.0, 2)
    flows = entries[: n * n].reshape(n, n, WIDTH)
    np.abs(flows, out=flows)
    diagonal = np.arange(n)
    flows[diagonal, diagonal] = 0.0
    flows[diagonal, diagonal] = -flows.sum(axis=0)
    shift, size, row, rest = aligned(1, WIDTH), aligned(1, WIDTH), aligned(n, WIDTH), aligned(n, WIDTH)
    factors, x, right = aligned(len(tables.lu_column) + n, WIDTH), aligned(n, WIDTH), aligned(n, WIDTH)
    shift[:], right[:] = 1e-12, made.rng.normal(size=(n, WIDTH))
    lu.factor(tables, entries, shift, factors, row)
    for spoil, lowest, highest in ((1.0, 0.0, 1e-13), (1.0 + 1e-6, 1e-10, 1.0)):
        factors[3] *= spoil
        x[:] = right
        lu.solve(tables, factors, x)
        lu.residual(tables, entries, shift, factors, x, right, rest, size)
        assert np.all((lowest <= size) & (size <= highest)), size


def test_the_tail_is_stored_in_full_and_the_order_is_one_of_all_species() -> None:
    _, _, made = planned(40, 0.2, 3)
    plan = made.plan
    assert sorted(plan.permutation) == list(range(40)) and plan.n_tail % TILE == 0 and plan.n_tail >= 2 * TILE
    for i in range(40 - plan.n_tail, 40):
        assert plan.columns[plan.pointer[i + 1] - plan.n_tail] == 40 - plan.n_tail
        assert plan.columns[plan.diagonal[i]] == i


def test_an_arrow_has_no_fill() -> None:
    """Eliminating the point first would fill the matrix; Markowitz leaves it to the end."""
    n = 30
    rows = np.concatenate([np.zeros(n, int), np.arange(n)])
    columns = np.concatenate([np.arange(n), np.zeros(n, int)])
    plan = plan_lu(n, rows, columns)
    assert len(plan.columns) == 3 * n - 2 and plan.n_tail == 0
