"""Slopes: derivatives of values and initial amounts to free parameters, against differences."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import net, two_independent_drugs

import residuum
from residuum.simulator import InputError
from residuum.simulator.slopes import Slopes


def derived():
    """A and B made of derived parameters of derived parameters; a rate function; an expression as initial amount."""
    return net(
        "a 2; b 3; c a^2*b; d exp(-c/10)+a; zero 0", "A() c*d; B() a; C() 1",
        "1 2 c; 2 1 0.5*d; 1 3 rate", "A 1; B 2", "rate() d*b/(1+A)",
    )  # fmt: skip


def differences(function, compiled, values, names, step=1e-6):
    """Return central differences of `function(parameters)` to parameters `names`, last axis."""
    columns = []
    for name in names:
        j = compiled.parameter_index(name)
        up, down = values.copy(), values.copy()
        up[:, j] += step
        down[:, j] -= step
        columns.append((function(up) - function(down)) / (2 * step))
    return np.stack(columns, axis=-1)


def test_slopes_are_those_of_central_differences() -> None:
    compiled, names = derived(), ("a", "zero", "b")
    p = compiled.nominal * np.array([[1.0], [1.3], [0.7]])
    slopes, values = Slopes(compiled, names), compiled.values(p)
    # rounding (1e-16 / step) and truncation (step^2) of the differences stay below 1e-8 of numbers of up to 100
    close = {"rtol": 1e-7, "atol": 1e-7}
    n_values, n_species = values.shape[1], compiled.n_species
    dense = slopes.values.dense(slopes.of_values(values), n_values, len(names))
    np.testing.assert_allclose(dense, differences(compiled.values, compiled, p, names), **close)
    dense = slopes.amounts.dense(slopes.of_amounts(values), n_species, len(names))
    np.testing.assert_allclose(dense, differences(compiled.initial_amounts, compiled, p, names), **close)


def test_a_species_name_stands_for_its_initial_amount() -> None:
    compiled = derived()
    slopes, values = Slopes(compiled, ["B()", "a"]), compiled.values(compiled.nominal)
    dense = slopes.amounts.dense(slopes.of_amounts(values), compiled.n_species, 2)
    np.testing.assert_array_equal(dense[0, :, 0], [0.0, 1.0, 0.0])
    amounts = compiled.initial_amounts(compiled.nominal)[None]
    np.testing.assert_array_equal(slopes.scales(values, amounts), [[2.0, 2.0]])


def test_a_parameter_that_is_held_has_no_slope() -> None:
    compiled = derived()
    slopes, values = Slopes(compiled, ["a", "b"]), compiled.values(compiled.nominal)
    dense = slopes.values.dense(slopes.of_values(values, held=["a"]), values.shape[1], 2)
    assert not dense[..., 0].any() and dense[..., 1].any()
    assert not slopes.amounts.dense(slopes.of_amounts(values, held=["a", "b"]), 3, 2).any()


def test_a_parameter_of_zero_has_the_scale_one() -> None:
    compiled = derived()
    values = compiled.values(compiled.nominal)
    assert Slopes(compiled, ["zero"]).scales(values, np.zeros((1, 3))) == 1.0


def test_the_pattern_of_a_large_model_is_sparse() -> None:
    compiled = residuum.aml_model()
    names = [name for name in compiled.parameters if name not in compiled.frozen]
    slopes = Slopes(compiled, names)
    assert len(slopes.values.row) < 4 * len(names)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["c"], "is an expression of others"),
        (["aa"], "unknown parameter or species 'aa': did you mean 'a'"),
        (["a", "a"], "asked for twice"),
        ("a", r"expected a sequence of names, e.g. \['a'\]"),
    ],
)
def test_names_that_cannot_be_free_are_refused(names, says) -> None:
    with pytest.raises(InputError, match=says):
        Slopes(derived(), names)


def test_no_names_give_no_slopes() -> None:
    compiled = two_independent_drugs()
    slopes, values = Slopes(compiled, []), compiled.values(compiled.nominal)
    assert slopes.of_values(values).shape == slopes.of_amounts(values).shape == (1, 0)
