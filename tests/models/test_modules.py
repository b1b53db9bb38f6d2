"""Laws of the modules: each runs alone, is at rest without input, answers what it declares to hear, and no more."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from residuum.models.assemble import MODULES, build, build_alone
from residuum.models.building import STAND_IN, Module
from residuum.simulator import CompiledModel, Conditions, Segment, compile_model, simulate

NAMES = [module.name for module in MODULES]
BY_NAME = {module.name: module for module in MODULES}
HEARING = [(module.name, signal) for module in MODULES for signal in module.inputs]
WITHOUT_STIMULUS = {
    "drive_SOS_basal": 0.0,
    "drive_PI3K_basal": 0.0,
    "drive_SRC_stroma": 0.0,
    "ligand_FL_dose": 0.0,
    "amount_BRAFV600E_total": 0.0,
    # an ITD needs no stimulus; the wild type does, and what dimerises of it by itself is below this
    "dimerise_FLT3A_propensity": 1.0,
}
PHOSPHORYLATED = {"media": (), "flt3": ("pFLT3",)} | {
    name: tuple(output for output in BY_NAME[name].outputs if output.startswith("p")) for name in NAMES[2:]
}
DAY = 86_400.0


@cache
def alone(name: str) -> CompiledModel:
    return compile_model(build_alone(BY_NAME[name]), units={"amount": "nM", "time": "s"})


def readable(name: str) -> list[str]:
    """Return the outputs of a module, scores among them."""
    return list(BY_NAME[name].outputs) or ["total_CYP3A4"]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_has_the_name_of_its_file(name: str) -> None:
    assert BY_NAME[name].rules.__module__.endswith(f"models.{name}")


def test_every_signal_comes_from_another_module() -> None:
    for module in MODULES:
        given = {signal for other in MODULES if other is not module for signal in other.outputs}
        assert set(module.inputs) <= given, module.name


def test_the_whole_model_needs_no_stand_in() -> None:
    assert not [p.name for p in build().parameters if p.name.startswith(STAND_IN.format(signal=""))]


def test_a_signal_that_was_not_declared_is_refused() -> None:
    from residuum.models.building import ModelBuilder
    from residuum.models.names import UnknownNameError

    deaf = Module("deaf", "", ("pERK",), (), lambda builder: None, lambda builder: builder.signal("pERKK") and None)
    with pytest.raises(UnknownNameError, match=r"'pERKK'.*Did you mean 'pERK'"):
        ModelBuilder("m").assemble([deaf])


@pytest.mark.parametrize("name", NAMES)
def test_a_module_runs_alone(name: str, bionetgen: str) -> None:
    model = alone(name)
    stand_ins = {p for p in model.parameters if p.startswith("input_")}
    assert stand_ins == {STAND_IN.format(signal=signal) for signal in BY_NAME[name].inputs}
    result = simulate(model, [0.0, DAY], observables=readable(name))
    assert (result.status == 0).all() and (result.values >= -1e-9).all()


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_module_is_at_rest_without_input(name: str, bionetgen: str) -> None:
    """Nothing is phosphorylated but by basal turnover, and nothing moves any more."""
    model = alone(name)
    silence = {p: value for p, value in WITHOUT_STIMULUS.items() if p in model.parameters}
    rest = Conditions.from_rows(model, {"rest": silence}, (Segment(-math.inf, 0.0, {}),))
    result = simulate(model, [0.0, DAY], rest, observables=readable(name))
    assert (result.status == 0).all()
    # relative to what is there when it moves (some nM): what integration leaves
    np.testing.assert_allclose(result.values[0, 0], result.values[0, 1], rtol=1e-3, atol=1e-6)
    # nM: wild-type FLT3 forms 0.25 % dimers without ligand, RAS exchanges 0.1 % of its nucleotide by itself
    quiet = {"flt3": 0.2, "ras_mapk": 0.15}.get(name, 1e-9)
    phosphorylated = [readable(name).index(p) for p in PHOSPHORYLATED[name] if p not in ("pS6K", "pS6")]
    assert (result.values[0, 1, phosphorylated] <= quiet).all()


@pytest.mark.parametrize(("name", "signal"), HEARING)
def test_a_module_answers_every_signal_that_it_declares(name: str, signal: str, bionetgen: str) -> None:
    """Against a little of everything, since an arm may be gated by another."""
    model = alone(name)
    some = {STAND_IN.format(signal=s): 1.0 for s in BY_NAME[name].inputs}
    some |= {f"ligand_{ligand}_dose": 0.1 for ligand in ("FGF2", "SCF", "GAS6", "CXCL12", "GMCSF", "IL3", "IL6")}
    rows = {"some": some, "more": some | {STAND_IN.format(signal=signal): 5.0}}
    result = simulate(model, [DAY], Conditions.from_rows(model, rows), observables=readable(name))
    assert np.abs(result.values[1] / result.values[0] - 1).max() > 1e-3, f"{signal} changes nothing in {name}"
