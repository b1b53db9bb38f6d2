"""BNGL text as a source: BioNetGen expands the model alone; its own simulator and rates by hand are the judges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from residuum.simulator import (
    InputError,
    MissingBioNetGenError,
    ModelNotice,
    SolverOptions,
    bngl,
    compile_model,
    from_bngl,
    read_bngl,
    simulate,
)
from residuum.simulator.words import load_model

ENERGY = """begin model
begin parameters
  G_AB -2
  G_Ap 1.5
  G_both -1
  phi 0.4
  E0 0.3
  A0 10
end parameters
begin molecule types
  A(b,s~u~p)
  B(a)
end molecule types
begin seed species
  A(b,s~u) A0
  B(a) A0/2+1
end seed species
begin observables
  Molecules AB A(b!1).B(a!1)
  Molecules Ap A(s~p)
end observables
begin energy patterns
  A(b!1).B(a!1) G_AB
  A(s~p) G_Ap
  A(s~p,b!1).B(a!1) G_both
end energy patterns
begin reaction rules
  A(b)+B(a) <-> A(b!1).B(a!1) Arrhenius(phi,E0)
  A(s~u) <-> A(s~p) Arrhenius(0.5,E0)
end reaction rules
end model
"""
LOCAL = """begin model
begin parameters
  k 2
  w 0.3
end parameters
begin molecule types
  A(b,b)
  B(a)
  C()
end molecule types
begin seed species
  A(b,b) 10
  B(a) 15
end seed species
begin observables
  Molecules Bt B()
  Molecules AB A(b!1).B(a!1)
  Molecules Ct C()
end observables
begin functions
  f(x) k*AB(x)^2/(1+w*Bt)
end functions
begin reaction rules
  A(b)+B(a) <-> A(b!1).B(a!1) 0.1,0.3
  %x:A() -> %x:A()+C() f(x)
  C() -> 0 w
  B(a) -> 0 w
end reaction rules
end model
"""
COMPARTMENTS = """begin model
begin parameters
  V 2
  k 0.3
  t 0.7
end parameters
begin compartments
  EC 3 V*10
  PM 2 0.5 EC
  CY 3 V PM
end compartments
begin molecule types
  L(r)
  R(l)
  X()
end molecule types
begin seed species
  @EC:L(r) 10*V
  @PM:R(l) 5
  @CY:$X() 2
end seed species
begin observables
  Molecules LR L(r!1).R(l!1)
  Molecules inside @CY:L()
  Species outside @EC:L()
end observables
begin functions
  g() k*LR
end functions
begin reaction rules
  L(r)+R(l) -> L(r!1).R(l!1) k
  @CY:X() -> @CY:X()+@CY:L(r) g()
  @CY:L(r)+@CY:X() -> @CY:X() t
  @EC:L(r) <-> @CY:L(r) t,2*t
end reaction rules
end model
"""
WEIGHTS = """begin parameters
  k 0.2
  F0 3
end parameters
begin molecule types
  A(a,a)
  F()
end molecule types
begin seed species
  A(a,a) 2*F0^2 # an expression
  $F() F0/2
end seed species
begin observables
  Molecules total A()
  Molecules sites A(a)
  Species mixed A(a),F(),A(a!+)
end observables
begin reaction rules
  A(a)+A(a) <-> A(a!1).A(a!1) \\
    k,1
  F() -> F()+A(a,a) k
  A() -> 0 k DeleteMolecules
end reaction rules
generate_network({overwrite=>1,max_stoich=>{A=>4}})
"""
MODELS = {"energy": ENERGY, "local": LOCAL, "compartments": COMPARTMENTS, "weights": WEIGHTS}
SIMULATE = 'simulate({method=>"ode",t_end=>3,n_steps=>12,atol=>1e-12,rtol=>1e-12})\n'


@pytest.mark.parametrize("name", MODELS)
def test_trajectories_are_those_of_bionetgen(name: str, bionetgen: str, tmp_path: Path) -> None:
    generate = "" if "generate_network" in MODELS[name] else "generate_network({overwrite=>1})\n"
    path = tmp_path / "m.bngl"
    path.write_text(MODELS[name] + generate + SIMULATE)
    done = subprocess.run(["perl", bionetgen, "m.bngl"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    header, *_ = (tmp_path / "m.gdat").read_text().partition("\n")
    theirs = dict(zip(header.split()[1:], np.loadtxt(tmp_path / "m.gdat").T, strict=True))
    with pytest.warns(ModelNotice, match=r"not run, only the model is used: simulate$"):
        compiled = compile_model(path, cache=False)
    assert compiled.network.text == (tmp_path / "m.net").read_text() and compiled.name == "m"
    observables = list(compiled.network.observables)
    ours = simulate(compiled, theirs["time"], observables=observables, options=SolverOptions(rtol=1e-9, atol=1e-12))
    assert ours.status.tolist() == [0] and set(observables) == theirs.keys() - {"time"}
    for observable, values in zip(observables, ours.values[0].T, strict=True):
        assert np.ptp(values) > 0.1  # there is something to compare
        # the integrators' tolerances, and numbers of the .gdat file printed with 13 digits
        np.testing.assert_allclose(values, theirs[observable], rtol=1e-7, atol=1e-9, err_msg=observable)


def test_rates_from_energy_patterns_keep_detailed_balance(bionetgen: str) -> None:
    """Forward over backward is exp(-dG) for each reaction, dG summed over the patterns made."""
    compiled = compile_model(from_bngl(ENERGY, cache=False))
    gains = {"AB": -2.0, "p": 1.5, "both": -1.0}
    values = compiled.values(compiled.nominal)[0]
    rate = {
        (tuple(sorted(r.reactants)), tuple(sorted(r.products))): values[compiled._value_index[r.rate]]
        for r in compiled.network.reactions
    }
    ratios = [np.log(forward / rate[products, reactants]) for (reactants, products), forward in rate.items()]
    binding, binding_p = -gains["AB"], -gains["AB"] - gains["both"]
    flip, flip_bound = -gains["p"], -gains["p"] - gains["both"]
    expected = [s * x for x in (binding, binding_p, flip, flip_bound) for s in (1, -1)]
    assert sorted(ratios) == pytest.approx(sorted(expected), rel=1e-12)


def test_a_second_order_rate_is_divided_by_the_volume(bionetgen: str) -> None:
    compiled = compile_model(from_bngl(COMPARTMENTS, cache=False))
    y = compiled.initial_amounts()
    receptor = compiled.species.index("@PM::R(l)")
    assert compiled.rhs(0.0, y)[receptor] == pytest.approx(-0.3 / 20 * 20 * 5)  # k / (10 V) * L * R
    assert compiled.frozen == {"V"}
    assert compiled.network.fixed == tuple("X()" in s for s in compiled.species)


def test_how_far_to_expand_is_taken_from_the_file(bionetgen: str) -> None:
    for n in (2, 3):
        network = from_bngl(WEIGHTS.replace("A=>4", f"A=>{n}"), cache=False)
        assert max(species.count("A(") for species in network.species) == n


def test_a_network_without_end_is_refused(bionetgen: str) -> None:
    chain = """begin model
begin parameters
  k 1
end parameters
begin molecule types
  P(h)
  M(t,h)
end molecule types
begin seed species
  P(h) 1
  M(t,h) 10
end seed species
begin observables
  Molecules Mt M()
end observables
begin reaction rules
  P(h)+M(t,h) -> P(h!1).M(t!1,h) k
  M(t!+,h)+M(t,h) -> M(t!+,h!1).M(t!1,h) k
end reaction rules
end model
"""
    with pytest.raises(InputError, match="still grows; limit it with generate_network"):
        from_bngl(chain, cache=False)
    cut = from_bngl(f"{chain}generate_network({{max_iter=>3}})", cache=False)
    assert len(cut.species) == 5


def test_a_network_is_generated_once_per_model_and_version(
    bionetgen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bngl, "writable_folder", lambda kind: tmp_path)
    first = from_bngl(LOCAL, "local/model")
    with monkeypatch.context() as patched:
        patched.setattr(bngl, "run_bionetgen", lambda *_: pytest.fail("generated again"))
        with pytest.warns(ModelNotice, match="writeSBML"):
            assert from_bngl(f"{LOCAL}writeSBML()", "local/model").hash == first.hash
    assert bngl.bionetgen_version()
    monkeypatch.setattr(bngl, "bionetgen_version", lambda: "another")
    assert from_bngl(LOCAL, "local/model").hash == first.hash and len(list(tmp_path.iterdir())) == 2


@pytest.mark.fault
def test_two_processes_may_generate_the_same_network_at_once(bionetgen: str, tmp_path: Path) -> None:
    (tmp_path / "m.bngl").write_text(LOCAL)
    code = "import sys; from residuum.simulator import read_bngl; print(read_bngl(sys.argv[1]).hash)"
    command = [sys.executable, "-c", code, str(tmp_path / "m.bngl")]
    environment = {**os.environ, "RESIDUUM_CACHE": str(tmp_path / "cache")}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert outputs[0] == outputs[1] == f"{read_bngl(tmp_path / 'm.bngl', cache=False).hash}\n"
    assert len(list((tmp_path / "cache" / "networks").iterdir())) == 1


def test_without_bionetgen_the_error_says_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bngl, "find_bionetgen", lambda: None)
    monkeypatch.setattr(bngl, "writable_folder", lambda kind: tmp_path)
    (tmp_path / "m.bngl").write_text(LOCAL)
    with pytest.raises(MissingBioNetGenError, match=r"'m' is made of rules.*pip install \"residuum\[bng\]\""):
        read_bngl(tmp_path / "m.bngl")


def test_the_command_line_reads_a_bngl_file(bionetgen: str, tmp_path: Path) -> None:
    (tmp_path / "m.bngl").write_text(LOCAL)
    assert "C()" in load_model(str(tmp_path / "m.bngl")).species
    with pytest.raises(InputError, match="cannot read the model file"):
        load_model(str(tmp_path / "missing.bngl"))


def test_what_bionetgen_refuses_is_said_with_the_line_of_the_file(bionetgen: str) -> None:
    wrong = LOCAL.replace("C() -> 0 w", "C() -> 0 w )")
    line = wrong.splitlines().index("  C() -> 0 w )") + 1
    with pytest.raises(InputError, match=f"BioNetGen could not generate the network of 'm'.*at line {line}"):
        from_bngl(f"{wrong}generate_network({{overwrite=>1}})", "m", cache=False)


@pytest.mark.parametrize("law", ["Sat(k,w)", "MM(k,w)", "Hill(k,w,w)"])
def test_a_rate_law_that_is_not_mass_action_is_refused(law: str, bionetgen: str) -> None:
    with pytest.raises(InputError, match=rf"rate law {law.partition('(')[0]} is not supported"):
        from_bngl(LOCAL.replace("C() -> 0 w", f"C()+B(a) -> B(a) {law}" if "Hill" not in law else f"C() -> 0 {law}"))


# ---- what BioNetGen is given ------------------------------------------------------------------------------------


def test_lines_keep_their_numbers_and_actions_go() -> None:
    text = "# a model\nversion('2.9.0')\nsimulate({t_end=>1})\nsetOption(\"SpeciesLabel\",'HNauty')\n" + LOCAL
    text += "begin actions\n  generate_network({overwrite=>0, max_agg=>10,max_iter=>5})\n  writeSBML()\nend actions\n"
    text += "resetConcentrations()\nquit()\nsetParameter('k',3)\n"
    script, ignored = bngl.generation_script(text, "m")
    assert ignored == ("simulate", "writeSBML", "resetConcentrations")
    lines = script.splitlines()
    assert lines[:5] == ["", "version('2.9.0')", "", "setOption(\"SpeciesLabel\",'HNauty')", "begin model"]
    assert lines[4 : 4 + LOCAL.count("\n")] == LOCAL.splitlines()
    assert lines[-1] == "generate_network({overwrite=>1, max_agg=>10, max_iter=>5})"


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("setParameter('k',3)", "action setParameter is not supported"),
        ("setConcentration('B(a)',3)", "action setConcentration is not supported"),
        ("addConcentration('B(a)',3)", "action addConcentration is not supported"),
        ("setVolume('C',3)", "action setVolume is not supported"),
        ("readFile({file=>'x.bngl'})", "action readFile is not supported"),
        ("generate_hybrid_model({})", "action generate_hybrid_model is not supported"),
        ("begin actions\nsetParameter('k',3)\nend actions", "m, line 31: the action setParameter"),
        ("system('true')", "action system is not supported"),
        ("setOption('a', system('true'))", "expected words and numbers"),
        ("my $x = 1;", "expected a block or an action"),
        ("generate_network({max_iter=>system('true')})", "of generate_network"),
        ("generate_network({max_stoich=>{A=>system('true')}})", "of generate_network"),
        ("generate_network({foo=>1})", "cannot read 'foo=>1' of generate_network"),
        ("generate_network()\ngenerate_network({max_iter=>1})", "twice with other limits"),
        ("begin population maps\nA(b,b) -> pA() 1\nend population maps", "population maps .* not supported"),
        ("begin functions\n g() TFUN(Bt,'a.tfun')\nend functions", r"\(TFUN\) is not supported"),
        ("begin reaction rules\n C() -> 0 w TotalRate\nend reaction rules", "TotalRate is not supported"),
        ("begin functions", "stops within the block 'functions'"),
        ("begin functions\nbegin observables", "'functions' is not ended where 'observables' begins"),
        ("end functions", "ends no block"),
    ],
)
def test_what_changes_or_leaves_the_model_is_refused_by_name(added: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        bngl.generation_script(LOCAL + added, "m")


@pytest.mark.parametrize("text", ["", "hello()", "simulate()\n", "begin model\nend model\n"])
def test_text_without_a_model_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"no model|hello"):
        bngl.generation_script(text, "m")
