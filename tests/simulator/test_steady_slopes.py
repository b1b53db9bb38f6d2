"""Sensitivities of steady states: exact where a closed form exists, equal to differences elsewhere, and through a
pre-equilibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers import net

import residuum
from residuum.models import contexts, drugs
from residuum.simulator import (
    CompiledModel,
    Conditions,
    InputError,
    Segment,
    SolverOptions,
    Status,
    adjoint,
    batch,
    compile_model,
    equilibration,
    newton,
    simulate,
    steady_state,
    steady_state_gradient,
)

Float = npt.NDArray[np.float64]


def binding() -> CompiledModel:
    return net("kf 1; kr 0.3; A0 10; B0 7", "A() A0; B() B0; AB() 0", "1,2 3 kf; 3 1,2 kr", "A 1; AB 3")


def spread(compiled: CompiledModel, n: int, fold: float = 3.0) -> Conditions:
    p = compiled.nominal * fold ** np.random.default_rng(0).uniform(-1, 1, (n, compiled.n_parameters))
    for name in compiled.frozen:
        j = compiled.parameters.index(name)
        p[:, j] = compiled.nominal[j]
    return Conditions(tuple(f"set {i}" for i in range(n)), p)


def free_parameters(compiled: CompiledModel) -> list[str]:
    return [
        n for n, v in zip(compiled.parameters, compiled.nominal, strict=True) if v != 0 and n not in compiled.frozen
    ]


def assert_equal_to_differences(
    compiled: CompiledModel, conditions: Conditions, names: Sequence[str], *, times: Any = None, tolerance: float = 1e-5
) -> None:
    """Central differences with steps of 1e-4: their own error is 1e-8 of the change with the parameter, relative."""

    def run(p: Float, sensitivities: Sequence[str] = ()) -> Any:
        moved = Conditions(conditions.names, p, conditions.protocol)
        if times is None:
            return steady_state(compiled, moved, sensitivities=sensitivities)
        return simulate(compiled, times, moved, sensitivities=sensitivities, options=SolverOptions(rtol=1e-9))

    result = run(conditions.parameters, names)
    assert result.ok.all(), result.summary()
    size = np.abs(result.values) + 1e-3 * np.abs(result.values).max(axis=(0, 1)) + 1e-300
    for j, name in enumerate(names):
        k = compiled.parameters.index(name)
        ends = []
        for factor in (1 + 1e-4, 1 - 1e-4):
            p = conditions.parameters.copy()
            p[:, k] *= factor
            ends.append(run(p).values)
        per_cent = result.sensitivities[..., j] * conditions.parameters[:, k, None, None]
        assert np.max(np.abs((ends[0] - ends[1]) / 2e-4 - per_cent) / size) < tolerance, name


def test_sensitivities_equal_those_of_a_closed_form() -> None:
    """AB = (t - r) / 2 with t = A0 + B0 + K, r^2 = t^2 - 4 A0 B0 and K = kr / kf.

    What AB holds at the start counts to the totals of A and of B.
    """
    compiled = binding()
    conditions = spread(compiled, 20, 10.0)
    kf, kr, a, b = conditions.parameters.T
    result = steady_state(compiled, conditions, observables=["AB"], sensitivities=["kf", "kr", "A0", "B0", "AB()"])
    t = a + b + kr / kf
    r = np.sqrt(t**2 - 4 * a * b)
    by_k, by_a, by_b = (1 - t / r) / 2, (1 - (t - 2 * b) / r) / 2, (1 - (t - 2 * a) / r) / 2
    expected = np.stack([-by_k * kr / kf**2, by_k / kf, by_a, by_b, by_a + by_b], axis=1)
    np.testing.assert_allclose(result.sensitivities[:, 0, 0], expected, rtol=1e-8)


def test_sensitivities_of_production_and_degradation() -> None:
    compiled = net("ks 3; kd 0.2; A0 1", "A() A0", "0 1 ks; 1 0 kd", "A 1")
    result = steady_state(compiled, sensitivities=["ks", "kd", "A0", "A()"])
    # A = ks / kd, whatever it was at the start
    np.testing.assert_allclose(result.sensitivities[0, 0, 0], [1 / 0.2, -3 / 0.04, 0, 0], rtol=1e-10, atol=1e-10)


def test_sensitivities_of_a_model_without_parameters() -> None:
    compiled = net("", "A() 1; B() 3", "1 2 0.5; 2 1 1.5", "A 1")
    result = steady_state(compiled, sensitivities=["A()", "B()"])
    np.testing.assert_allclose(result.sensitivities[0, 0, 0], [0.75, 0.75], rtol=1e-10)


def test_sensitivities_through_rate_functions_and_named_expressions() -> None:
    compiled = net(
        "ks 0.2; vmax 1; km 0.5; n 1.7", "A() 1", "0 1 ks; 1 0 loss", "A 1",
        "loss() vmax*A^(n-1)/(km^n+A^n); signal() ks*A^2",
    )  # fmt: skip
    conditions = spread(compiled, 6, 1.2)
    assert_equal_to_differences(compiled, conditions, ["ks", "vmax", "km", "n"])


def test_sensitivities_of_the_shipped_model_equal_differences() -> None:
    compiled = residuum.aml_model()
    assert_equal_to_differences(compiled, spread(compiled, 4), free_parameters(compiled)[::12])


@pytest.mark.external
@pytest.mark.slow
def test_sensitivities_of_a_published_network_equal_differences(shared: Any) -> None:
    compiled = compile_model(shared / "suites" / "networks" / "egfr_net.net")
    assert_equal_to_differences(compiled, spread(compiled, 4), free_parameters(compiled))


def test_sensitivities_pass_through_a_pre_equilibration() -> None:
    compiled = net("ks 1; kd 0.5; dose 0; A0 2", "A() A0", "0 1 ks; 1 0 kd; 1 0 dose", "A 1")
    conditions = Conditions.product(compiled, dose=[0.0, 1.0])
    before = Conditions(conditions.names, conditions.parameters, (Segment(-np.inf, 0.0, {"dose": 0.0}),))
    result = simulate(compiled, [0.0, 1.0], before, sensitivities=["ks", "kd", "dose", "A0"])
    # at the start of the clock A = ks / kd; without a dose it stays there
    at_rest = [2.0, -4.0, 0.0, 0.0]
    np.testing.assert_allclose(result.sensitivities[:, 0, 0], [at_rest, at_rest], atol=1e-10)
    # A(t) = m + (ks/kd - m) e^(-g t), g = kd + dose, m = ks / g; the derivative to dose at t = 1, dose = 0
    at_one = [2.0, -4.0, -4 * (1 - np.exp(-0.5)), 0.0]
    np.testing.assert_allclose(result.sensitivities[0, 1, 0], at_one, rtol=1e-4, atol=1e-10)
    assert_equal_to_differences(compiled, before, ["ks", "kd", "A0"], times=[0.0, 1.0])


def drugged() -> CompiledModel:
    """A drug, kept at its dose D0, binds a receptor fast, and that makes a signal that decays slowly."""
    return net("kon 1e3; koff 1; D0 0; R0 5; ks 6e-6; kd 3e-6", "$D() D0; R() R0; DR() 0; S() 1",
               "1,2 1,3 kon; 3 2 koff; 2 2,4 ks; 4 0 kd", "DR 3; S 4")  # fmt: skip


def test_a_dose_of_zero_has_the_sensitivities_of_its_closed_form() -> None:
    """DR = R0 D0 / (D0 + K) with K = koff / kon, S = (R0 - DR) ks / kd."""
    compiled, names = drugged(), ["D0", "koff", "R0"]
    result = steady_state(compiled, sensitivities=names)
    assert result.ok.all(), result.message(0)
    to_dose = 5 / 1e-3
    expected = [[to_dose, 0.0, 0.0], [-2 * to_dose, 0.0, 2.0]]
    np.testing.assert_allclose(result.sensitivities[0, 0], expected, rtol=1e-7, atol=1e-9)
    for i, observable in enumerate(["DR", "S"]):
        found, gradient = steady_state_gradient(compiled, None, [observable], np.ones_like, names)
        assert found.ok.all()
        np.testing.assert_allclose(gradient[0], expected[i], rtol=1e-7, atol=1e-9)


def test_a_rate_constant_of_zero_has_the_sensitivities_of_its_closed_form() -> None:
    """B = T k / (k + kr), beside what is there already."""
    compiled = net("k 0; kr 0.25; T 3", "A() T; B() 0", "1 2 k; 2 1 kr", "A 1; B 2")
    result = steady_state(compiled, sensitivities=["k", "kr", "T"])
    np.testing.assert_allclose(result.sensitivities[0, 0], [[-12, 0, 1], [12, 0, 0]], rtol=1e-10, atol=1e-12)
    _, gradient = steady_state_gradient(compiled, None, ["B"], np.ones_like, ["k", "kr", "T"])
    np.testing.assert_allclose(gradient, [[12, 0, 0]], rtol=1e-10, atol=1e-12)


@pytest.mark.fault
def test_where_a_rate_of_zero_would_lose_what_is_kept_there_are_no_sensitivities() -> None:
    """A decays, or becomes B if k > 0: what B gains depends on the way there."""
    compiled = net("kd 1; k 0", "A() 1; B() 2", "1 0 kd; 1 2 k", "A 1; B 2")
    assert steady_state(compiled, sensitivities=["kd"]).ok.all()
    result = steady_state(compiled, sensitivities=["kd", "k"])
    assert result.status[0] == Status.NOT_ISOLATED and "B()" in result.message(0)
    found, gradient = steady_state_gradient(compiled, None, ["B"], np.ones_like, ["kd", "k"])
    assert found.status[0] == Status.NOT_ISOLATED and "B()" in found.message(0)
    assert np.isnan(found.values).all() and np.isnan(gradient).all()
    conditions = Conditions(("a",), compiled.nominal[None], (Segment(-np.inf, 0.0),))
    along = simulate(compiled, [0.0], conditions, observables=["B"], sensitivities=["kd", "k"])
    np.testing.assert_allclose(along.sensitivities[0, 0, 0], [0.0, 1.0], rtol=1e-4, atol=1e-8)


def test_a_drug_dose_of_zero_in_the_shipped_model_equals_a_difference() -> None:
    compiled, dose, step = residuum.aml_model(), drugs.dose_parameter(1), 1e-4
    cell = {**contexts.overrides("blast-itd"), **drugs.slot_overrides(1, "gilteritinib", "blast-itd")}
    doses = Conditions.from_rows(compiled, {f"{i} steps": {**cell, dose: i * step} for i in range(3)})
    species = compiled.species
    result = steady_state(compiled, doses, observables=species, sensitivities=[dose])
    assert result.ok.all(), result.summary()
    y = result.values[:, 0]
    difference = (4 * y[1] - 3 * y[0] - y[2]) / (2 * step)
    largest = np.abs(difference).max()
    # the difference is off by rounding / step and by step^2
    np.testing.assert_allclose(result.sensitivities[0, 0, :, 0], difference, rtol=1e-4, atol=1e-5 * largest)
    _, gradient = steady_state_gradient(compiled, doses, species[::7], np.ones_like, [dose])
    np.testing.assert_allclose(gradient[:, 0], result.sensitivities[:, 0, ::7, 0].sum(axis=1), rtol=1e-7)


def competition() -> CompiledModel:
    """A becomes B or C, for good: B ends at B0 + A0 kb / (kb + kc)."""
    return net("kb 1; kc 2; A0 1; B0 0.5", "A() A0; B() B0; C() 0", "1 2 kb; 1 3 kc", "B 2; C 3")


@pytest.mark.fault
def test_a_state_that_is_not_isolated_has_no_sensitivities() -> None:
    result = steady_state(competition(), sensitivities=["kb", "A0"])
    assert result.status[0] == Status.NOT_ISOLATED and np.isnan(result.sensitivities).all()


def test_where_a_pre_equilibration_is_not_isolated_the_trajectory_is_differentiated() -> None:
    compiled = competition()
    conditions = Conditions(("a",), compiled.nominal[None], (Segment(-np.inf, 0.0),))
    result = simulate(compiled, [0.0], conditions, observables=["B"], sensitivities=["kb", "kc", "A0", "B0"])
    np.testing.assert_allclose(result.sensitivities[0, 0, 0], [2 / 9, -1 / 9, 1 / 3, 1.0], rtol=1e-4)


@pytest.mark.fault
def test_a_stop_that_was_asked_for_holds_for_the_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = equilibration.Equilibration.settle

    def interrupted(batch: Any, *arguments: Any) -> None:
        settle(batch, *arguments)
        batch.runs.stop[:] = Status.STOPPED

    monkeypatch.setattr(equilibration.Equilibration, "settle", interrupted)
    compiled = competition()
    conditions = Conditions(("a",), compiled.nominal[None], (Segment(-np.inf, 0.0),))
    assert simulate(compiled, [0.0], conditions, sensitivities=["kb"]).status[0] == Status.STOPPED


@pytest.mark.fault
def test_the_species_that_no_correction_brings_to_rest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newton, "STAYS", np.inf)  # else this is seen before the corrections
    compiled = net("k 0; z 1", "Z() 3; X() 1; Y() 0", "0 1 z; 1 0 z; 2 3 k", "Y 3")
    result = steady_state(compiled, sensitivities=["z", "k"])
    assert result.status[0] == Status.NOT_ISOLATED and "species Y()" in result.message(0)


def test_runs_that_differ_in_the_size_of_a_free_parameter_are_not_equal() -> None:
    """The size decides the steps where sensitivities are integrated along the trajectory."""
    runs = SimpleNamespace(k=np.ones((2, 1)), values=np.ones((2, 0)), y=np.ones((2, 1)))
    slopes = SimpleNamespace(s=np.ones((2, 1, 1, 1)), values=np.ones((2, 1, 1)), scale=np.array([[[1.0]], [[2.0]]]))
    batch: Any = SimpleNamespace(runs=runs, slopes=slopes)
    assert equilibration.first_equals(batch, np.ones(2, bool)).tolist() == [0, 1]
    slopes.scale[1] = 1.0
    assert equilibration.first_equals(batch, np.ones(2, bool)).tolist() == [0, 0]


def test_sensitivities_are_the_same_bits_in_any_order_and_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = binding()
    conditions = spread(compiled, 29, 10.0)
    order = np.random.default_rng(5).permutation(29)
    shuffled = Conditions(tuple(conditions.names[i] for i in order), conditions.parameters[order])
    names = ["kf", "B0", "AB()"]
    one = steady_state(compiled, conditions, sensitivities=names, threads=1)
    many = steady_state(compiled, shuffled, sensitivities=names, threads=3)
    np.testing.assert_array_equal(one.sensitivities[order], many.sensitivities)
    _, alone = steady_state_gradient(compiled, conditions, ["A"], np.ones_like, names, threads=1)
    _, beside = steady_state_gradient(compiled, shuffled, ["A"], np.ones_like, names, threads=3)
    np.testing.assert_array_equal(alone[order], beside)
    monkeypatch.setattr(batch, "BLOCK", 5)
    monkeypatch.setattr(batch, "FEWEST", 5)
    _, parts = steady_state_gradient(compiled, conditions, ["A"], np.ones_like, names, threads=2)
    np.testing.assert_array_equal(alone, parts)


def test_the_adjoint_sees_no_negative_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rounding made negative has no power."""
    compiled = net("k 2; kk k^2", "A() 1; B() 1", "1 0 loss; 0 2 k; 2 0 kk", "A 1; B 2", "loss() k+A^1.5")

    def rounded(*arguments: Any, **settings: Any) -> Any:
        states = steady_state(*arguments, **settings)
        states.values[:, :, 0] = -1e-20
        return states

    monkeypatch.setattr(adjoint, "steady_state", rounded)
    result, gradient = steady_state_gradient(compiled, None, ["A", "B"], np.ones_like, ["k"])
    assert result.ok.all()
    np.testing.assert_allclose(gradient, [[-0.25]], rtol=1e-10)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="kf"):
        steady_state(binding(), sensitivities=["kff"])


# ---- adjoint ----------------------------------------------------------------------------------------------------


def test_the_adjoint_gradient_equals_the_forward_one() -> None:
    saturated = net(
        "ks 0.2; vmax 1; km 0.5; A0 1; T0 2", "A() A0; T() T0; AT() 0", "0 1 ks; 1 0 loss; 1,2 3 ks; 3 1,2 km",
        "A 1; AT 3", "loss() vmax/(km+A)",
    )  # fmt: skip
    for compiled, observables in ((binding(), ["A", "AB"]), (saturated, ["A", "AT()"])):
        conditions = spread(compiled, 19, 1.3)
        names = [*compiled.parameters, compiled.species[-1]]
        result = steady_state(compiled, conditions, observables=observables, sensitivities=names)
        assert result.ok.all() and result.sensitivities is not None
        found, gradient = steady_state_gradient(compiled, conditions, observables, lambda v: 2 * (v - 1), names)
        np.testing.assert_allclose(found.values, result.values, rtol=1e-14)
        weights = 2 * (result.values[:, 0] - 1)
        expected = (weights[:, :, None] * result.sensitivities[:, 0]).sum(axis=1)
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_the_adjoint_gradient_of_the_shipped_model_equals_the_forward_one() -> None:
    compiled = residuum.aml_model()
    conditions = spread(compiled, 6)
    names, observables = free_parameters(compiled), compiled.species[:40:4]
    result = steady_state(compiled, conditions, observables=observables, sensitivities=names)
    assert result.ok.all() and result.sensitivities is not None
    _, gradient = steady_state_gradient(compiled, conditions, observables, np.ones_like, names)
    sizes = conditions.parameters[:, [compiled.parameters.index(n) for n in names]]
    per_fold, adjoint = result.sensitivities[:, 0].sum(axis=1) * sizes, gradient * sizes
    np.testing.assert_allclose(adjoint, per_fold, rtol=1e-6, atol=1e-8 * np.abs(per_fold).max())


@pytest.mark.fault
def test_the_gradient_of_a_failed_run_is_none() -> None:
    compiled = net("k 1; kd 1", "A() 1", "0 1 k; 1 0 kd", "A 1")
    conditions = Conditions.product(compiled, kd=[0.0, 1.0])
    result, gradient = steady_state_gradient(compiled, conditions, ["A"], np.ones_like, ["k", "kd"])
    assert result.status[0] == Status.NO_STEADY_STATE and np.isnan(gradient[0]).all()
    np.testing.assert_allclose(gradient[1], [1.0, -1.0], rtol=1e-10)


@pytest.mark.parametrize(
    ("observables", "slopes", "says"),
    [
        (["B"], np.ones_like, "did you mean 'AB'"),
        (["A"], lambda v: np.ones(3), "shape"),
        (["twice"], np.ones_like, "expression"),
    ],
)
def test_wrong_losses_are_refused(observables: list[str], slopes: Any, says: str) -> None:
    compiled = net("k 1", "A() 1; AB() 0", "1 2 k; 2 1 k", "A 1; AB 2", "twice() 2*A")
    with pytest.raises(InputError) as error:
        steady_state_gradient(compiled, None, observables, slopes, ["k"])
    assert says in str(error.value)
