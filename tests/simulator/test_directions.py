"""Directions: parameters that move together, otherwise in each segment, have the derivatives of the runs so moved."""

from __future__ import annotations

import numpy as np
import pytest

from residuum.simulator import Conditions, Directions, InputError, Segment, SolverOptions, simulate

from ..helpers import net

TIGHT = SolverOptions(rtol=1e-10)
TIMES = [0.0, 1.0, 2.0, 5.0]
PARAMETERS = ("on", "off", "dose")


@pytest.fixture(scope="module")
def model():
    return net(
        "on 0.3; off 0.2; dose 1; total 10",
        "X(y~u) total; X(y~p) 0",
        "1 2 activate; 2 1 off",
        "pX 2",
        "activate() on/(1+dose); share() pX/total*off",
    )


def weights(seed: int) -> np.ndarray:
    """Return the derivatives (2 conditions, 3 parameters, 2 directions) of one segment."""
    return np.random.default_rng(seed).uniform(0.2, 1.0, (2, 3, 2))


def conditions(model, move: np.ndarray, *, equilibrate: bool) -> Conditions:
    """Return two conditions with a segment of its own values, moved along the directions by `move`."""
    base = np.array([[0.3, 0.2, 1.0], [0.6, 0.1, 2.0]])
    other = np.array([[0.5, 0.2, 0.0], [0.6, 0.3, 0.0]])
    own, held = base + weights(1) @ move, other + weights(2) @ move
    p = np.tile(model.nominal, (2, 1))
    p[:, [model.parameter_index(name) for name in PARAMETERS]] = own
    segment = Segment(
        -np.inf if equilibrate else 0.0, 0.0 if equilibrate else 1.5, dict(zip(PARAMETERS, held.T, strict=True))
    )
    return Conditions(("one", "other"), p, (segment,))


@pytest.mark.parametrize("equilibrate", [False, True])
def test_derivatives_are_those_of_the_moved_runs(model, equilibrate: bool) -> None:
    directions = Directions(("first", "second"), PARAMETERS, weights(1), (weights(2),))
    at = conditions(model, np.zeros(2), equilibrate=equilibrate)
    names = ["pX", "share"]
    exact = simulate(model, TIMES, at, observables=names, sensitivities=directions, options=TIGHT).sensitivities
    for j in range(2):
        step = 1e-4 * np.eye(2)[j]
        up, down = (
            simulate(model, TIMES, conditions(model, sign * step, equilibrate=equilibrate), observables=names,
                     options=TIGHT).values
            for sign in (1, -1)
        )  # fmt: skip
        # central differences of step 1e-4 err by about 1e-8 of the third derivative, and by 1e-10 / 1e-4
        assert exact[..., j] == pytest.approx((up - down) / 2e-4, abs=2e-5)
    assert np.abs(exact).max() > 0.1


def test_single_parameters_are_directions_of_their_own(model) -> None:
    one = np.eye(3)[None]
    at = Conditions(("nominal",), model.nominal[None])
    plain = simulate(model, TIMES, at, sensitivities=PARAMETERS, options=TIGHT).sensitivities
    directed = simulate(
        model, TIMES, at, sensitivities=Directions(PARAMETERS, PARAMETERS, one), options=TIGHT
    ).sensitivities
    # the sizes of the steps that errors refer to differ, and so do the integrator's steps
    assert directed == pytest.approx(plain, rel=1e-6, abs=1e-8)


def test_directions_of_another_shape_are_refused(model) -> None:
    at = conditions(model, np.zeros(2), equilibrate=False)
    with pytest.raises(InputError, match="0 segments, the protocol has 1"):
        simulate(model, TIMES, at, sensitivities=Directions(("a", "b"), PARAMETERS, weights(1)))
    with pytest.raises(InputError, match=r"shape \(1, 3, 2\), expected \(2, 3, 2\)"):
        simulate(model, TIMES, at, sensitivities=Directions(("a", "b"), PARAMETERS, weights(1)[:1], (weights(1),)))
