"""Rate expressions: what is read is evaluated as written, differentiated rightly, or refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from residuum.simulator import InputError, kernels
from residuum.simulator.expressions import derivative, evaluate, names_in, parse, substitute
from residuum.simulator.rates import rate_functions
from residuum.simulator.simd import WIDTH, aligned

VALUES = {"x": 1.3, "y": 0.4, "k": 2.5}
EXPRESSIONS = {
    "k*x/(y+x)": lambda x, y, k: k * x / (y + x),
    "-x^2 + y^k": lambda x, y, k: -(x**2) + y**k,
    "exp(-x)*ln(k) - log10(y)": lambda x, y, k: math.exp(-x) * math.log(k) - math.log10(y),
    "sqrt(x)*sin(y)+cos(k*x)*tanh(y)": lambda x, y, k: math.sqrt(x) * math.sin(y) + math.cos(k * x) * math.tanh(y),
    "if(x>y,k*x,y)": lambda x, y, k: k * x if x > y else y,
    "if(x>y && !(k<1),x*x,0)": lambda x, y, k: x * x,
    "max(x,y)+min(x*k,y,3)": lambda x, y, k: max(x, y) + min(x * k, y, 3),
    "1e-3*x+.5E2*y+_pi": lambda x, y, k: 1e-3 * x + 50 * y + math.pi,
    "2^-x": lambda x, y, k: 2**-x,
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_means_what_it_says(text: str) -> None:
    assert float(evaluate(parse(text), VALUES)) == pytest.approx(EXPRESSIONS[text](**VALUES), rel=1e-14)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_generated_source_and_arrays_agree(text: str) -> None:
    """The compiled rate functions and NumPy give the same value and the same derivatives."""
    names = tuple(VALUES)
    functions = rate_functions([parse(text)], names, ())
    address, partials_address, _keep = functions.compile()
    x, values = aligned(len(functions.observables) + 1, WIDTH), aligned(1, WIDTH)
    for i, name in enumerate(functions.observables, start=1):
        x[i] = VALUES[name] * np.linspace(1, 1.05, WIDTH)  # another number in every lane
    out, partials = aligned(1, WIDTH), aligned(len(functions.partials) + 1, WIDTH)
    kernels.evaluate_partials(address, x, values, out)
    kernels.evaluate_partials(partials_address, x, values, partials)
    given = {name: x[i] for i, name in enumerate(functions.observables, start=1)}
    np.testing.assert_allclose(out[0], evaluate(parse(text), given), rtol=1e-14)
    for row, (_, o) in zip(partials, functions.partials, strict=False):
        expected = evaluate(derivative(parse(text), functions.observables[o]), given)
        np.testing.assert_allclose(row, expected, rtol=1e-14)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_the_derivative_is_the_limit_of_differences(text: str, name: str) -> None:
    tree, h = parse(text), 1e-5
    up, down = ({**VALUES, name: VALUES[name] + sign * h} for sign in (1, -1))
    numeric = (float(evaluate(tree, up)) - float(evaluate(tree, down))) / (2 * h)
    # central differences: error of h^2 plus rounding over h, both near 1e-10
    assert float(evaluate(derivative(tree, name), VALUES)) == pytest.approx(numeric, rel=1e-7, abs=1e-8)


def test_a_parameter_may_be_called_like_a_word_of_python() -> None:
    tree = parse("lambda*in + time()")
    assert names_in(tree) == {"lambda", "in", "time"}
    assert float(evaluate(tree, {"lambda": 2, "in": 3, "time": 1})) == 7


def test_substitution_leaves_the_original_as_it_was() -> None:
    tree = parse("a*b+a")
    assert float(evaluate(substitute(tree, {"a": parse("c+1")}), {"b": 2, "c": 3})) == 12
    assert names_in(tree) == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("foo(x)", "foo"),
        ("x +", "cannot read"),
        ("x $ y", "'$'"),
        ("exp(x,y)", "exp"),
        ("if(x,y)", "if"),
        ("a[0]", r"\["),
    ],
)
def test_what_is_not_supported_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says.replace("$", r"\$")):
        parse(text)
