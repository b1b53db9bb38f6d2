"""The plan of elimination is that of Markowitz's rule, ties to the lower index, however it is computed."""

from __future__ import annotations

import numpy as np
import pytest

from residuum.simulator.ordering import TILE, LUPattern, plan_lu


def eliminated_by_sets(n: int, entries: set[tuple[int, int]]) -> tuple[list[int], list[set[int]]]:
    """Return order and rows of L + U (in elimination order, with diagonal): the rule word by word."""
    rows = [{j for i, j in entries if i == row} | {row} for row in range(n)]
    order: list[int] = []
    while len(order) < n:
        left = [i for i in range(n) if i not in order]
        cost = {
            p: (len(rows[p] & {*left}) - 1) * (sum(p in rows[i] for i in left) - 1) for p in left
        }  # others in row times others in column
        pivot = min(left, key=lambda p: (cost[p], p))
        order.append(pivot)
        for i in left:
            if i != pivot and pivot in rows[i]:
                rows[i] |= rows[pivot] & {*left}
    place = {species: step for step, species in enumerate(order)}
    return order, [{place[j] for j in rows[p]} for p in order]


def rows_of(plan: LUPattern) -> list[list[int]]:
    pairs = zip(plan.pointer[:-1].tolist(), plan.pointer[1:].tolist(), strict=True)
    return [plan.columns[begin:end].tolist() for begin, end in pairs]


# 64 numbers fill one machine word, 65 need a second
@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 63, 64, 65, 90])
@pytest.mark.parametrize("density", [0.0, 1.0, 2.5, 6.0])
def test_the_plan_is_that_of_the_rule(n: int, density: float) -> None:
    rng = np.random.default_rng([n, int(2 * density)])
    rows, columns = rng.integers(0, n, (2, int(n * density)))
    plan = plan_lu(n, rows, columns)
    order, expected = eliminated_by_sets(n, set(zip(rows.tolist(), columns.tolist(), strict=True)))
    assert plan.permutation.tolist() == order
    assert plan.position[plan.permutation].tolist() == list(range(n))
    start = n - plan.n_tail
    assert plan.n_tail % TILE == 0
    full = [row | set(range(start, n)) if i >= start else row for i, row in enumerate(expected)]
    assert rows_of(plan) == [sorted(row) for row in full]
    assert plan.columns[plan.diagonal].tolist() == list(range(n))


def test_a_full_matrix_is_all_tail_and_keeps_its_order() -> None:
    rows, columns = np.indices((12, 12)).reshape(2, -1)
    plan = plan_lu(12, rows, columns)
    assert plan.n_tail == 12 and plan.permutation.tolist() == list(range(12))
    assert rows_of(plan) == [list(range(12))] * 12


def test_entries_given_twice_or_in_another_order_change_nothing() -> None:
    rng = np.random.default_rng(5)
    rows, columns = rng.integers(0, 40, (2, 90))
    again = rng.permutation(np.tile(np.arange(90), 2))
    for a, b in zip(plan_lu(40, rows, columns), plan_lu(40, rows[again], columns[again]), strict=True):
        np.testing.assert_array_equal(a, b)
