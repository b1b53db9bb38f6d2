"""Networks: what BioNetGen writes is read as it stands; what is not supported is refused by name."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import decay, example, net, saturating

from residuum.simulator import (
    InputError,
    MissingBioNetGenError,
    UnknownNameError,
    bngl,
    compile_model,
    network,
    parse_net,
)
from residuum.simulator.expressions import evaluate, substitute

if TYPE_CHECKING:
    import pysb

TEXT = """# Created by BioNetGen
begin parameters
  1 kf 2.0  # Constant
  2 kr kf/4  # ConstantExpression
  3 F0 20
end parameters
begin functions
  1 loss() kf/(1+A_total)
end functions
begin species
  1 A(b) 10
  2 $F(b) F0
  3 A(b!1).F(b!1) 0
end species
begin reactions
  1 1,2 3 0.5*kf #bind
  2 3 1,2 kr #unbind
  3 1 0 loss #loss
end reactions
begin groups
  1 A_total 1,2*3
  2 nothing
end groups
"""


def test_a_net_text_is_read_as_it_stands() -> None:
    net = parse_net(TEXT)
    assert net.species == ("A(b)", "F(b)", "A(b!1).F(b!1)")
    assert net.fixed == (False, True, False)
    assert net.observables == {"A_total": ((0, 1.0), (2, 2.0)), "nothing": ()}
    first = net.reactions[0]
    assert (first.reactants, first.products, first.factor, first.rate, first.rule) == ((0, 1), (2,), 0.5, "kf", "bind")


def test_free_and_derived_parameters_are_told_apart() -> None:
    compiled = compile_model(parse_net(TEXT))
    assert compiled.parameters == ("kf", "F0") and compiled.derived == ("kr",)
    assert compiled.values(compiled.parameter_vector({"kf": 8.0}))[0].tolist() == [8.0, 20.0, 2.0]
    with pytest.raises(InputError, match="cannot be set"):
        compiled.parameter_vector({"kr": 1.0})


def test_a_fixed_species_does_not_change() -> None:
    compiled = compile_model(parse_net(TEXT))
    slope = compiled.rhs(0.0, np.array([10.0, 20.0, 3.0]))
    # A: -kf/2 A F + kr AF - loss A
    assert slope == pytest.approx([-200 + 1.5 - 10 * 2 / 17, 0, 200 - 1.5])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("1,2 3 0.5*kf", "1,9 3 0.5*kf", "does not exist"),
        ("3 1,2 kr", "3 1,2 kx", "neither a parameter nor a function"),
        *(("3 1,2 kr", f"3 1,2 {law} kr kf", f"{law} is not supported") for law in ("Sat", "MM", "Hill")),
        ("kf/4", "erf(kf)", "erf"),
        ("kf/4", "kz/4", "kz"),
        ("kf/4", "kr/4", "circular"),
        ("2*3", "2*x", "cannot read the group"),
        ("2*3", "2*7", "does not exist"),
        ("2*3", "nan*3", "weight in the group '1 A_total 1,nan.3' is no finite number"),
        ("0.5*kf", "1e999*kf", "factor of the rate '1e999.kf' in .* is no finite number"),
        ("begin groups", "begin events", "events"),
        ("A_total)", "A_totl)", "did you mean 'A_total'"),
        ("2 $F(b) F0", "2 $F(b) G0", "F0"),
        ("kf/4", "2*A_total", "'kr' depends on 'A_total', which varies"),
        ("kf/4", "2*loss", "'kr' depends on 'loss', which varies"),
        ("kf/4", "2*time()", "'kr' depends on 'time', which varies"),
        ("kf/4", "log(kf)", "ambiguous"),
        ("kf/4", "epx(kf)", r"parameter 'kr': function epx\(\).* did you mean 'exp'"),
        ("1 loss() kf/(1+", "1 loss() kf/sqr(1+", r"function 'loss': function sqr\(\).* did you mean 'sqrt'"),
        ("1 A(b) 10", "1 A(b) sqr(10)", r"initial amount of 'A\(b\)': function sqr\(\)"),
        ("1 kf 2.0", "1 kf nan", "'kf' is 'nan' or made of it; expected a finite number"),
        ("1 kf 2.0", "1 kf -Inf", "'kf' is 'Inf' or made of it"),
        ("1 A(b) 10", "1 A(b) NaN", r"parameter in the initial amount of A\(b\).*'NaN'"),
        ("1 kf 2.0", "1 kf two", "unknown name in the expression 'kf': 'two'"),
        ("1 kf 2.0", "1 kf 2,0", "parameter 'kf': cannot read the expression '2,0'"),
        ("1 kf 2.0", "1 kf 2.0.1", "parameter 'kf': cannot read the expression '2.0.1'"),
        ("3 1 0 loss", "3 1 0 lose", "did you mean 'loss'.*the rate 'lose' in '3 1 0 lose"),
        ("1 loss() kf", "1 loss(x) kf", r"function 'loss\(x\)' has arguments"),
        # names that clash
        ("3 F0 20", "3 F0 20\n 4 kf 3", "parameter 'kf' has the name of a parameter"),
        ("2 nothing", "2 A_total 1", "group 'A_total' has the name of a group"),
        ("2 nothing", "2 kf 1", "group 'kf' has the name of a parameter"),
        ("2 nothing", "2 loss 1", "group 'loss' has the name of a function"),
        ("1 loss()", "1 loss() kf\n 2 loss()", "function 'loss' has the name of a function"),
        ("1 loss()", "1 kr() kf\n 2 loss()", "function 'kr' has the name of a parameter"),
        ("3 F0 20", "3 F0 20\n 4 time 3", "called 'time'"),
        ("2 nothing", "2 time 1", "called 'time'"),
        ("1 loss()", "1 time() kf\n 2 loss()", "called 'time'"),
        ("2 $F(b) F0", "2 $A(b) F0", r"species A\(b\) is there twice"),
        # lines that are damaged
        ("3 1,2 kr", "3 1,2 E*kr", "cannot read the rate"),
        ("3 1,2 kr", "3 1,2 1-2", "cannot read the rate"),
        ("3 1,2 kr", "3 1,x kr", "cannot read the species"),
        ("3 1,2 kr", "3 kr", "expected 4 columns"),
        ("2 nothing", "2", "expected 2 columns"),
        ("end reactions\n", "", "'reactions' is not ended where 'groups' begins"),
        ("end groups\n", "", "stops within the block 'groups'"),
        ("end groups", "end reactions", "ends no block"),
    ],
)
def test_what_cannot_be_read_is_named(old: str, new: str, says: str) -> None:
    assert old in TEXT
    with pytest.raises(InputError, match=says):
        compile_model(parse_net(TEXT.replace(old, new)))


def test_text_that_is_no_network_is_refused() -> None:
    with pytest.raises(InputError, match="no species"):
        parse_net("hello")
    with pytest.raises(InputError, match="cannot read the network file"):
        compile_model("missing.net")
    with pytest.raises(InputError, match=r"\.net"):
        compile_model("model.sbml")
    with pytest.raises(InputError, match="cannot compile int"):
        compile_model(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"begin species\n 1 A\xe9() 1\nend species\n", bytes(range(256))])
def test_a_file_that_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.net").write_bytes(content)
    with pytest.raises(InputError, match="cannot read the network file"):
        compile_model(tmp_path / "a.net")


@pytest.mark.parametrize("where", ["parameter", "derived", "initial"])
def test_a_division_by_zero_becomes_an_infinite_value(where: str) -> None:
    compiled = compile_model(
        parse_net(
            TEXT.replace(*{"parameter": ("F0 20", "F0 1/0"), "derived": ("kf/4", "kf*(1/0)"),
                           "initial": ("1 A(b) 10", "1 A(b) kf*(1/0)")}[where])
        )
    )  # fmt: skip
    numbers = compiled.initial_amounts() if where == "initial" else compiled.values(compiled.nominal)[0]
    assert np.isinf(numbers).sum() == 1


def test_a_long_chain_of_derived_parameters_is_evaluated_step_by_step() -> None:
    """Written out, p_n = p_(n-1) + p_(n-1)/2 would have 2^n terms."""
    n = 200
    chain = "\n".join(f"{i + 4} p{i + 1} p{i}+0.5*p{i}" for i in range(n))
    compiled = compile_model(parse_net(TEXT.replace("3 F0 20", f"3 F0 20\n 4 p0 1\n{chain}")))
    last = compiled.values(compiled.nominal)[0][len(compiled.parameters) + compiled.derived.index(f"p{n}")]
    assert last == pytest.approx(1.5**n, rel=1e-12)  # n roundings


VOLUMES = """begin parameters
  1 radius 1
  2 V 2*radius
  3 k 2
end parameters
begin species
  1 @C::A() 10*V
  2 @C::B() 0
end species
begin reactions
  1 1,1 2 0.5*k #_R1 unit_conversion=1/V
  2 0 1 2*k #_R2 unit_conversion=V
end reactions
begin groups
  1 A 1
end groups
"""


def test_a_volume_that_the_network_has_as_a_number_cannot_be_set() -> None:
    compiled = compile_model(parse_net(VOLUMES))
    assert compiled.frozen == {"radius"} and compiled.parameters == ("radius", "k")
    assert compiled.initial_amounts()[0] == 20
    with pytest.raises(InputError, match=r"'radius' is, or decides, the volume of a compartment.*frozen"):
        compiled.parameter_vector({"radius": 2.0})
    assert compiled.parameter_vector({"k": 3.0})[1] == 3


def test_an_unknown_parameter_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'vmax'"):
        saturating().parameter_index("vmx")


@pytest.mark.external
def test_published_networks_are_read(shared: Path) -> None:
    sizes = {}
    for path in sorted((shared / "suites" / "networks").glob("*.net")):
        compiled = compile_model(path)
        sizes[path.stem] = (compiled.n_species, len(compiled.network.reactions))
        y = compiled.initial_amounts()
        assert np.all(np.isfinite(compiled.rhs(0.0, y)))
    assert sizes["egfr_net"] == (356, 3749)


# ---- PySB -------------------------------------------------------------------------------------------------------


def pysb_model(*, initial: bool, observable: bool) -> pysb.Model:
    from pysb.builder import Builder

    builder = Builder()
    a = builder.monomer("A", [])
    k = builder.parameter("k", 1.0)
    builder.rule("loss", a() >> None, k)
    if initial:
        builder.initial(a(), k)
    if observable:
        builder.observable("A_total", a())
    return builder.model


def test_a_model_without_initials_observables_or_rules_is_refused_before_any_work() -> None:
    from pysb import ComponentSet

    with pytest.raises(InputError, match="no Initial"):
        compile_model(pysb_model(initial=False, observable=True))
    with pytest.raises(InputError, match="no Observable"):
        compile_model(pysb_model(initial=True, observable=False))
    model = pysb_model(initial=True, observable=True)
    model.rules = ComponentSet()
    with pytest.raises(InputError, match="no Rule"):
        compile_model(model)


def test_without_bionetgen_the_error_says_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bngl, "find_bionetgen", lambda: None)
    monkeypatch.setattr(bngl, "writable_folder", lambda kind: tmp_path)
    with pytest.raises(MissingBioNetGenError, match=r'pip install "residuum\[bng\]"'):
        compile_model(example("michment"))


def test_without_perl_the_error_says_that_perl_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bngl, "_bionetgen_path", lambda: "BNG2.pl")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bngl, "writable_folder", lambda kind: tmp_path)
    assert bngl.missing_for_bionetgen() == "Perl" and bngl.find_bionetgen() is None
    with pytest.raises(MissingBioNetGenError, match="needs Perl, and no perl is on the PATH"):
        compile_model(example("michment"))
    monkeypatch.setattr(bngl, "_bionetgen_path", lambda: None)
    assert bngl.missing_for_bionetgen() == "BioNetGen"


def test_a_network_is_generated_once(bionetgen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bngl, "writable_folder", lambda kind: tmp_path)
    first = compile_model(example("michment"))
    monkeypatch.setattr(bngl, "run_bionetgen", lambda *_: pytest.fail("generated again"))
    second = compile_model(example("michment"))
    assert first.hash == second.hash and len(list(tmp_path.iterdir())) == 1


@pytest.mark.fault
def test_a_damaged_cache_entry_is_rebuilt_with_a_notice(
    bionetgen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bngl, "writable_folder", lambda kind: tmp_path)
    good = compile_model(example("michment"))
    (entry,) = tmp_path.iterdir()
    entry.write_text(entry.read_text().replace("kcat", "kcta", 1))
    with pytest.warns(UserWarning, match="damaged and is rebuilt"):
        assert compile_model(example("michment")).hash == good.hash


def pysb_with(expressions: dict[str, Any], rate: str) -> pysb.Model:
    """Two species A and B, A lost with the rate `rate`; expressions of k = 2, w = 0.7, At, Bt and each other."""
    import sympy
    from pysb.builder import Builder
    from pysb.core import time

    builder = Builder()
    a, b = builder.monomer("A", []), builder.monomer("B", [])
    k, w = builder.parameter("k", 2.0), builder.parameter("w", 0.7)
    symbols = {"k": k, "w": w, "At": builder.observable("At", a()), "Bt": builder.observable("Bt", b()), "t": time}
    for name, text in expressions.items():
        symbols[name] = builder.expression(name, sympy.sympify(text, {**symbols, **vars(sympy)} | symbols))
    builder.rule("loss", a() >> b(), symbols[rate])
    builder.initial(a(), k)
    builder.initial(b(), w)
    return builder.model


SYMPY = {
    "minus_power": "k*exp(-At**2)",
    "minus_only": "-At**2 + 3",
    "negative_base": "(-2)**At*0 + (-2)**2*At",
    "minus_quotient": "-k/(At + Bt)**2 - w",
    "hill": "k*At**w/(Bt**w + At**w)",
    "roots": "sqrt(At) + At**Rational(-1, 2) + Bt**Rational(2, 3)",
    "powers": "2**(-At) + (At**k)**w + At**(k**w) + k**-Bt",
    "constant": "-k**2 + w/3 + pi - E",
    "of_another": "-minus_only**2 + constant*At",
    "switch": "Piecewise((k, At > Bt), (-Bt**2, And(At > 1, Or(Bt < k, w >= 1))), (At, True))",
    "unequal": "Piecewise((1, Ne(At, 1)), (2, True)) + Piecewise((1, Not(And(At > 1, Bt > 1))), (3, True))",
    "extremes": "Min(At, Bt, k) - Max(-At**2, Bt) + Abs(Bt - At)",
    "functions": "log(At) + sin(Bt)*cosh(At) - asinh(At)*atanh(Bt/10) + log(k, 3)",
    "whole": "floor(3*At) + 10*ceiling(3*Bt) + 100*floor(-At) + 1000*sign(At - Bt)",
    "numbers": "0.1*At + 1.2345678901234567e-9*Bt + 1e22*w - 1e-300",
    "clock": "exp(-t**2)*At",
}


def test_a_sympy_expression_means_the_same_in_the_network(bionetgen: str) -> None:
    """BioNetGen reads -x^2 as (-x)^2, and drops the brackets of (-2)^x."""
    model = pysb_with(SYMPY, "minus_power")
    compiled = compile_model(model, cache=False)
    inlined: dict[str, Any] = {}
    for name, tree in compiled._functions.items():  # each after those it uses
        inlined[name] = substitute(tree, inlined)
    rng = np.random.default_rng(1)
    for at, bt, t in rng.uniform(0.2, 3, (20, 3)).tolist():
        point = {"At": at, "Bt": bt, "k": 2.0, "w": 0.7, "time": t}
        values = dict(zip((*compiled.parameters, *compiled.derived), compiled.values(compiled.nominal)[0], strict=True))
        for expression in model.expressions:
            name, full = expression.name, expression.expand_expr()
            value = float(evaluate(inlined[name], {**values, **point})) if name in inlined else values[name]
            expected = float(full.subs({symbol: point[symbol.name] for symbol in full.free_symbols}).evalf(30))
            # cancellation between terms: 1e-13 of numbers up to 1e3
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-10), name


def test_the_rate_has_the_sign_that_was_written(bionetgen: str) -> None:
    compiled = compile_model(pysb_with({"e": "k*exp(-At**2)"}, "e"), cache=False)
    assert compiled.rhs(0.0, [1.5, 0.0])[0] == pytest.approx(-2 * math.exp(-(1.5**2)) * 1.5, rel=1e-14)


def test_local_functions_are_expanded_with_the_right_sign(bionetgen: str) -> None:
    compiled = compile_model(example("localfunc"), cache=False)
    assert "C()" in compiled.species
    y = compiled.initial_amounts()
    bound = next(i for i, s in enumerate(compiled.species) if s.count("B(") == 2)
    y[bound] = 1.0
    made = compiled.rhs(0.0, y)[compiled.species.index("C()")]
    assert made == pytest.approx(1e3 * 2**2)  # k_synthC * (2 bound B)^2
    model = example("localfunc")
    motif = model.observables["AB_motif"](model.components["x"])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(model.expressions["f_synth"], "expr", model.parameters["k_synthC"] * (10 - motif**2))
        changed = compile_model(model, cache=False)
    made = changed.rhs(0.0, y)[changed.species.index("C()")]
    assert made == pytest.approx(1e3 * (10 - 2**2) + 1e3 * 10)  # the A without B synthesises as well


@pytest.mark.parametrize("text", ["k*gamma(At)", "k*Piecewise((At, At > 1))", "Heaviside(At - 1)", "I*At", "oo*At"])
def test_an_expression_that_bionetgen_has_no_word_for_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"BNGL|BioNetGen has no word for"):
        network.bngl_text(pysb_with({"e": text}, "e"))


def test_the_same_text_has_the_same_hash() -> None:
    assert decay().hash == decay().hash != net("k 1", "A() 1", "1 0 k", "A 1").hash


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"kf": "2.0", "kr": "kf/5", "F0": "20"}},
        {"functions": {"loss": "kf"}},
        {"initials": ("10", "F0", "1")},
        {"fixed": (False, False, False)},
        {"reactions": ()},
        {"observables": {}},
        {"text": ""},
    ],
)
def test_other_tables_have_another_hash(change: dict[str, Any]) -> None:
    first = parse_net(TEXT)
    changed = dataclasses.replace(first, **change)
    assert changed.hash != first.hash == dataclasses.replace(first, name="another").hash
