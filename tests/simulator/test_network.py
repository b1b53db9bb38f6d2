"""Networks: what BioNetGen writes is read as it stands; what is not supported is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import decay, example, net, saturating

from residuum.simulator import InputError, MissingBioNetGenError, UnknownNameError, compile_model, network, parse_net

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
        ("3 1,2 kr", "3 1,2 Sat kr kf", "Sat is not supported"),
        ("kf/4", "erf(kf)", "erf"),
        ("kf/4", "kz/4", "kz"),
        ("kf/4", "kr/4", "circular"),
        ("2*3", "2*x", "cannot read the group"),
        ("2*3", "2*7", "does not exist"),
        ("begin groups", "begin events", "events"),
        ("A_total)", "A_totl)", "did you mean 'A_total'"),
        ("2 $F(b) F0", "2 $F(b) G0", "F0"),
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


def test_a_model_without_initials_or_observables_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match="no Initial"):
        compile_model(pysb_model(initial=False, observable=True))
    with pytest.raises(InputError, match="no Observable"):
        compile_model(pysb_model(initial=True, observable=False))


def test_without_bionetgen_the_error_says_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(network, "find_bionetgen", lambda: None)
    monkeypatch.setattr(network, "writable_folder", lambda kind: tmp_path)
    with pytest.raises(MissingBioNetGenError, match=r'pip install "residuum\[bng\]"'):
        compile_model(example("michment"))


def test_a_network_is_generated_once(bionetgen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network, "writable_folder", lambda kind: tmp_path)
    first = compile_model(example("michment"))
    monkeypatch.setattr(network, "generate_net", lambda model: pytest.fail("generated again"))
    second = compile_model(example("michment"))
    assert first.hash == second.hash and len(list(tmp_path.iterdir())) == 1


@pytest.mark.fault
def test_a_damaged_cache_entry_is_rebuilt_with_a_notice(
    bionetgen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(network, "writable_folder", lambda kind: tmp_path)
    good = compile_model(example("michment"))
    (entry,) = tmp_path.iterdir()
    entry.write_text(entry.read_text().replace("kcat", "kcta", 1))
    with pytest.warns(UserWarning, match="damaged and is rebuilt"):
        assert compile_model(example("michment")).hash == good.hash


def test_the_same_text_has_the_same_hash() -> None:
    assert decay().hash == decay().hash != net("k 1", "A() 1", "1 0 k", "A 1").hash
