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
    "2^-x^2*3-y-k": lambda x, y, k: 2 ** -(x**2) * 3 - y - k,
    "x^y^2/k/x": lambda x, y, k: x ** (y**2) / k / x,
    "3*-x^2 - -k": lambda x, y, k: -3 * x**2 + k,
    "exp(-(x^2))*(-y)^2": lambda x, y, k: math.exp(-x * x) * y * y,
    # a comparison used as a number is 1 or 0
    "(x>1)+(k>1)": lambda x, y, k: 2,
    "(x>1)-(y<1)": lambda x, y, k: 0,
    "k*(x>0.5)": lambda x, y, k: k,
    "-(x>1)*x": lambda x, y, k: -x,
    "(x>1)^2+x/(y<1)": lambda x, y, k: 1 + x,
    "exp(x>1)+max(x<1,y,y>1)": lambda x, y, k: math.e + y,
    "x>y": lambda x, y, k: 1,
    "(x>2)<(y<1)": lambda x, y, k: 1,
    "x>1 && y>1 || k>1": lambda x, y, k: 1,
    # a number used as a condition holds unless it is 0
    "k && x": lambda x, y, k: 1,
    "k && (y-0.4)": lambda x, y, k: 0,
    "if(k,x,y)": lambda x, y, k: x,
    "if(k-2.5||x-1.3,x,y)": lambda x, y, k: y,
    "!k + !(x>2)*x": lambda x, y, k: x,
    "if((x>1)+(y>1)==1,x,y)": lambda x, y, k: x,
    "rint(k)+10*rint(y)+100*rint(-k)": lambda x, y, k: 3 - 200,  # halves go up, as in BioNetGen
    "asinh(x)+acosh(k)*atanh(y)": lambda x, y, k: math.asinh(x) + math.acosh(k) * math.atanh(y),
    "sum(x,y,k,1)*avg(x,y,k)": lambda x, y, k: (x + y + k + 1) * (x + y + k) / 3,
    "+".join(["x*y"] * 450 + ["k"]) + "-x" * 449: lambda x, y, k: 450 * x * y + k - 449 * x,
}
KINKS = ("k && (y-0.4)", "if(k-2.5||x-1.3,x,y)", "rint(k)+10*rint(y)+100*rint(-k)")
"""Where VALUES lie on a jump."""


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_means_what_it_says(text: str) -> None:
    assert float(evaluate(parse(text), VALUES)) == pytest.approx(EXPRESSIONS[text](**VALUES), rel=1e-13)


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
    # a sum of n terms is rounded n times, and the order of operations may differ
    np.testing.assert_allclose(out[0], evaluate(parse(text), given), rtol=1e-13)
    for row, (_, o) in zip(partials, functions.partials, strict=False):
        expected = evaluate(derivative(parse(text), functions.observables[o]), given)
        np.testing.assert_allclose(row, np.broadcast_to(expected, WIDTH), rtol=1e-13)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("text", [text for text in EXPRESSIONS if text not in KINKS])
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
    ("text", "value"),
    [("k*(1/0)", math.inf), ("(-8)^(1/3)", math.nan), ("10^400", math.inf), ("1e400", math.inf), ("ln(0-1)", math.nan)],
)
def test_what_has_no_value_is_a_number_that_says_so(text: str, value: float) -> None:
    np.testing.assert_equal(float(evaluate(parse(text), {"k": 1.0})), value)


def test_brackets_cost_no_depth() -> None:
    """BioNetGen writes a + b + c as ((a+b)+c)."""
    n = 900
    assert float(evaluate(parse("(" * n + "x" + "+x)" * n), {"x": 1.0})) == n + 1


def test_a_comparison_has_no_slope() -> None:
    assert float(evaluate(derivative(parse("k*(x>0.5)"), "x"), VALUES)) == 0
    assert names_in(derivative(parse("k*(x>0.5)"), "x")) == set()


def test_definitions_are_evaluated_once_and_differentiated_by_the_chain_rule() -> None:
    """f_i = f_(i-1) (1 + x f_(i-1)) / 2, written out, would have 2^40 terms."""
    definitions = {"f0": parse("x*y+time()")}
    definitions |= {f"f{i}": parse(f"f{i - 1}*(1+x*f{i - 1})/2") for i in range(1, 40)}
    functions = rate_functions([parse("y*f39")], ["x", "y"], [], definitions)
    assert functions.partials == ((0, -1), (0, 0), (0, 1)) and len(functions.source) < 50_000
    values, slopes, _keep = functions.compile()

    def run(address: int, n: int, t: float, x: float, y: float) -> np.ndarray:
        inputs, out = aligned(3, WIDTH), aligned(n, WIDTH)
        inputs[:] = np.array([t, x, y])[:, None]
        kernels.evaluate_partials(address, inputs, aligned(1, WIDTH), out)
        return out[:, 0]

    point, h = np.array([0.2, 0.3, 1.1]), 1e-6
    for i, slope in enumerate(run(slopes, 3, *point)):
        step = h * np.eye(3)[i]
        numeric = (run(values, 1, *(point + step)) - run(values, 1, *(point - step))) / (2 * h)
        # central differences: error of h^2 plus rounding over h, both near 1e-10
        assert slope == pytest.approx(numeric[0], rel=1e-7, abs=1e-9 * abs(run(values, 1, *point)[0]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("foo(x)", "foo"),
        ("x +", "cannot read"),
        ("x $ y", "'$'"),
        ("x y", "unexpected 'y'"),
        ("x negative y", "unexpected 'negative'"),
        ("(x", "not closed"),
        ("x)", "unexpected"),
        ("", "too early"),
        ("()", "cannot read"),
        ("exp(x,)", "cannot read"),
        ("(x,y)", "cannot read"),
        ("x*", "too early"),
        ("log(x)", r"say ln\(\) or log10\(\)"),
        ("exp(" * 900 + "x" + ")" * 900, "nested more deeply"),
        ("exp(x,y)", "exp"),
        ("if(x,y)", "if"),
        ("a[0]", r"\["),
    ],
)
def test_what_is_not_supported_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says.replace("$", r"\$")):
        parse(text)
