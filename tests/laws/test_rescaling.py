"""Names for the same thing change nothing: the order of species and reactions, the unit of amounts and of time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from helpers import net
from hypothesis import given, settings
from hypothesis import strategies as st

from residuum.simulator import CompiledModel, Result, SolverOptions, simulate

TIMES = np.array([0.0, 0.1, 1.0, 3.0, 10.0, 50.0])


class Reaction(NamedTuple):
    """What reacts, what comes out, and the rate constant in terms of amounts of order one."""

    reactants: tuple[int, ...]
    products: tuple[int, ...]
    k: float


# A receptor that dimerises on its ligand, activates a kinase, is degraded and made anew; three bodies meet once.
SPECIES = ("L", "R", "LR", "D", "K", "pK", "F", "T")
START = (3.0, 2.0, 0.0, 0.0, 1.5, 0.0, 0.4, 0.0)
REACTIONS = (
    Reaction((0, 1), (2,), 0.7), Reaction((2,), (0, 1), 0.05), Reaction((2, 2), (3,), 5.0), Reaction((3,), (2, 2), 0.3),
    Reaction((3, 4), (3, 5), 40.0), Reaction((5, 6), (4, 6), 25.0), Reaction((3,), (), 0.1), Reaction((), (1,), 0.2),
    Reaction((0, 5, 6), (7,), 0.01), Reaction((7,), (0, 5, 6), 1.0),
)  # fmt: skip
TURNOVER = "turnover() kmax/(km+all_R)"  # rate function of an observable; the reaction with it is first order


def written(order: list[int], reactions: list[int], amount: float = 1.0, time: float = 1.0) -> CompiledModel:
    """Return the model with species and reactions in these orders; one unit is `amount` and `time` in new units."""
    place = {species: i for i, species in enumerate(order, start=1)}

    def side(members: tuple[int, ...]) -> str:
        return ",".join(str(place[s]) for s in members) or "0"

    lines = [
        f"{side(r.reactants)} {side(r.products)} {r.k * amount ** (1 - len(r.reactants)) / time!r}"
        for r in (REACTIONS[i] for i in reactions)
    ]
    return net(
        f"kmax {0.5 * amount / time!r}; km {0.8 * amount!r}",
        "; ".join(f"{SPECIES[s]}() {START[s] * amount!r}" for s in order),
        "; ".join([*lines, f"{place[1]} 0 turnover"]),
        f"all_R {place[1]},{place[2]},2*{place[3]}",
        TURNOVER,
    )


AS_WRITTEN = (list(range(len(SPECIES))), list(range(len(REACTIONS))))


def course(compiled: CompiledModel, time: float = 1.0, **options: float) -> Result:
    result = simulate(
        compiled, TIMES * time, observables=[f"{s}()" for s in SPECIES], options=SolverOptions(**options)
    )  # fmt: skip
    assert result.ok.all(), result.summary()
    return result


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(AS_WRITTEN[0]), reactions=st.permutations(AS_WRITTEN[1]))
def test_the_order_of_species_and_reactions_changes_nothing_beyond_rounding(
    order: list[int], reactions: list[int]
) -> None:
    plain, shuffled = course(written(*AS_WRITTEN)), course(written(order, reactions))
    # other sums, other order of elimination: rounding, and what the step sizes make of it
    np.testing.assert_allclose(shuffled.values, plain.values, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(power=st.integers(-40, 40))
def test_a_unit_of_amount_that_is_a_power_of_two_changes_nothing_at_all(power: int) -> None:
    """Binary numbers scale without rounding, and the default tolerances scale with the amounts."""
    scale = 2.0**power
    plain, scaled = course(written(*AS_WRITTEN)), course(written(*AS_WRITTEN, amount=scale))
    np.testing.assert_array_equal(scaled.values / scale, plain.values)
    np.testing.assert_array_equal(scaled.statistics["attempts"], plain.statistics["attempts"])


@settings(deadline=None, max_examples=15)
@given(amount=st.floats(-3, 3).map(lambda x: 10.0**x), time=st.floats(-3, 3).map(lambda x: 10.0**x))
def test_units_of_amount_and_time_change_nothing_beyond_tolerance(amount: float, time: float) -> None:
    plain = course(written(*AS_WRITTEN), rtol=1e-7)
    scaled = course(written(*AS_WRITTEN, amount=amount, time=time), time=time, rtol=1e-7)
    # two runs of different first steps, each with a global error of a few times rtol
    np.testing.assert_allclose(scaled.values / amount, plain.values, rtol=2e-6, atol=1e-7)
