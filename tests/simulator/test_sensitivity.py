"""Sensitivities of trajectories: closed forms, differences, failures, and what must change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import decay, dimerisation, example, net, pulsed

import residuum
from residuum.simulator import (
    CompiledModel,
    Conditions,
    InputError,
    Result,
    Segment,
    SolverOptions,
    Status,
    compile_model,
    simulate,
)

TIGHT = SolverOptions(rtol=1e-11, atol=1e-13)
TIMES = np.array([0.0, 0.1, 1.0, 3.0])
CLOSED_FORM = 1e-8


def slope(result: Result, observable: str, name: str, condition: int = 0) -> np.ndarray:
    """Return the derivative of an observable to a free parameter at the output times."""
    assert result.sensitivities is not None
    return result.sensitivities[
        condition, :, result.observables.index(observable), result.sensitivity_names.index(name)
    ]


# ---- closed forms -----------------------------------------------------------------------------------------------


def test_decay() -> None:
    result = simulate(decay(), TIMES, sensitivities=("k", "A0", "B()"), options=TIGHT)
    gone = np.exp(-0.5 * TIMES)
    np.testing.assert_allclose(slope(result, "A", "k"), -TIMES * gone, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "B", "k"), TIMES * gone, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "A", "A0"), gone, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "total", "A0"), 1.0, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "total", "k"), 0.0, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "B", "B()"), 1.0, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "A", "B()"), 0.0, atol=CLOSED_FORM)


def test_a_bimolecular_reaction() -> None:
    result = simulate(dimerisation(), TIMES, sensitivities=("A0", "k"), options=TIGHT)
    np.testing.assert_allclose(slope(result, "A", "k"), -TIMES / (1 + TIMES) ** 2, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "A", "A0"), 1 / (1 + TIMES) ** 2, atol=CLOSED_FORM)


def test_reversible_binding() -> None:
    """A <-> B with A + B = 1: B = f/(f+r) (1 - exp(-(f+r) t))."""
    compiled = net("f 2; r 0.5", "A() 1; B() 0", "1 2 f; 2 1 r", "B 2")
    result = simulate(compiled, TIMES, sensitivities=("f", "r"), options=TIGHT)
    f, r = compiled.nominal
    total = f + r
    gone = np.exp(-total * TIMES)
    by_total = f / total * TIMES * gone - f / total**2 * (1 - gone)
    np.testing.assert_allclose(slope(result, "B", "f"), (1 - gone) / total + by_total, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "B", "r"), by_total, atol=CLOSED_FORM)


def test_a_hill_function_of_a_fixed_species() -> None:
    """B grows at the constant rate V D^n / (K^n + D^n) of the clamped dose D."""
    compiled = net("V 2; K 1.5; n 2.5; dose 0.8", "$D() dose; B() 0", "0 2 rate", "D 1; B 2", "rate() V*D^n/(K^n+D^n)")
    result = simulate(compiled, TIMES, sensitivities=compiled.parameters, options=TIGHT)
    V, K, n, D = compiled.nominal
    hill = D**n / (K**n + D**n)
    for name, by in {
        "V": hill, "dose": V * hill * (1 - hill) * n / D, "K": -V * hill * (1 - hill) * n / K,
        "n": V * hill * (1 - hill) * np.log(D / K),
    }.items():  # fmt: skip
        np.testing.assert_allclose(slope(result, "B", name), by * TIMES, atol=CLOSED_FORM, err_msg=name)
    np.testing.assert_array_equal(slope(result, "D", "dose"), 1.0)


def test_a_hill_function_starts_at_zero() -> None:
    """ln(0) and 0^(n-2) occur in the formulas of the derivatives, and contribute nothing."""
    compiled = net("n 1.5; K 1; k 1", "A() 0; B() 0", "0 1 k; 0 2 rate", "A 1; B 2", "rate() A^n/(K^n+A^n)")
    result = simulate(compiled, [0.5, 1.0], sensitivities=["n", "k"], options=SolverOptions(rtol=1e-9, atol=1e-9))
    t = np.linspace(0, 1, 20_001)[1:-1]  # B = integral of t^n / (1 + t^n)
    by_n = np.sum(t**1.5 * np.log(t) / (1 + t**1.5) ** 2) / 20_000
    assert slope(result, "B", "n")[1] == pytest.approx(by_n, rel=1e-4)


def test_explicit_time() -> None:
    result = simulate(pulsed(), TIMES, sensitivities=["k", "A()"], options=TIGHT)
    phase = TIMES + (1 - np.cos(TIMES)) / 2
    np.testing.assert_allclose(slope(result, "A", "k"), -phase * np.exp(-phase), atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "A", "A()"), np.exp(-phase), atol=CLOSED_FORM)


def test_derived_parameters_and_initial_amounts() -> None:
    """A = a^2 exp(-t a b): everything that follows from a moves with it."""
    compiled = net("a 1.5; b 0.6; rate a*b; A0 a^2", "A() A0", "1 0 rate", "A 1")
    result = simulate(compiled, TIMES, sensitivities=("a", "b"), options=TIGHT)
    a, b = compiled.nominal
    amount = a**2 * np.exp(-TIMES * a * b)
    np.testing.assert_allclose(slope(result, "A", "a"), (2 / a - TIMES * b) * amount, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "A", "b"), -TIMES * a * amount, atol=CLOSED_FORM)


def test_named_expressions_follow_by_the_chain_rule() -> None:
    compiled = net(
        "k 0.5; A0 2; gain 3", "A() A0; B() 0", "1 2 k", "A 1; B 2",
        "share() A/(A+B); signal() gain*share()^2*exp(-k*time())",
    )  # fmt: skip
    result = simulate(compiled, TIMES, sensitivities=("k", "gain", "A0"), options=TIGHT)
    gone = np.exp(-0.5 * TIMES)
    np.testing.assert_allclose(slope(result, "share", "k"), -TIMES * gone, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "signal", "k"), 3 * -3 * TIMES * gone**3, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "signal", "gain"), gone**3, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "signal", "A0"), 0.0, atol=CLOSED_FORM)


def test_output_between_steps_is_as_good_as_the_tolerance() -> None:
    times = np.linspace(0, 3, 200)
    result = simulate(dimerisation(), times, sensitivities=["k"], options=SolverOptions(rtol=1e-6, atol=1e-8))
    assert result.statistics["steps"][0] < 100
    np.testing.assert_allclose(slope(result, "A", "k"), -times / (1 + times) ** 2, atol=1e-6)


def test_sensitivities_take_part_in_the_choice_of_the_step() -> None:
    """A and B stay where they are at equal rates: the state is constant, its derivative is not.

    The rates have a pulse at t = 1 that steps chosen before it would overshoot.
    """
    compiled = net("f 0.4; w 0.01", "A() 0.5; B() 0.5", "1 2 rate; 2 1 rate", "A 1",
                   "rate() f*(1+50/(1+((time()-1)/w)^2))")  # fmt: skip
    times = np.linspace(0, 2, 9)
    result = simulate(compiled, times, sensitivities=["A()"], options=SolverOptions(rtol=1e-7, atol=1e-9))
    pulse = 0.01 * (np.arctan((times - 1) / 0.01) + np.arctan(100))
    np.testing.assert_allclose(slope(result, "A", "A()"), (1 + np.exp(-0.8 * (times + 50 * pulse))) / 2, atol=1e-6)
    np.testing.assert_allclose(result["A"], 0.5, rtol=1e-14)
    assert result.statistics["rejections"][0] > 0


# ---- segments ---------------------------------------------------------------------------------------------------


def test_sensitivities_go_on_across_segments_and_stand_still_where_a_segment_sets_the_parameter() -> None:
    """A = exp(-k (t - 1)) from t = 2 on, if k is set to 3 on [1, 2): that stretch does not depend on k."""
    compiled, times = decay(), np.array([0.5, 1.0, 1.5, 2.0, 3.0])
    conditions = Conditions(("a",), compiled.nominal[None], (Segment(1.0, 2.0, {"k": 3.0}),))
    result = simulate(compiled, times, conditions, sensitivities=("k", "A0"), options=TIGHT)
    own = np.clip(times, 0, 1) + np.clip(times - 2, 0, None)
    amount = np.exp(-0.5 * own - 3 * (np.clip(times, 1, 2) - 1))
    np.testing.assert_allclose(slope(result, "A", "k"), -own * amount, atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "A", "A0"), amount, atol=CLOSED_FORM)


def test_a_clamped_species_follows_the_segment() -> None:
    compiled = net("dose 2; k 0.5", "$D() dose; B() 0", "1 2 k", "D 1; B 2")
    conditions = Conditions(("a",), compiled.nominal[None], (Segment(1.0, 2.0, {"dose": 5.0}),))
    result = simulate(compiled, [0.0, 1.0, 1.5, 2.5], conditions, sensitivities=["dose"], options=TIGHT)
    np.testing.assert_allclose(slope(result, "D", "dose"), [1, 1, 0, 1])
    np.testing.assert_allclose(slope(result, "B", "dose"), [0, 0.5, 0.5, 0.75], atol=CLOSED_FORM)


def test_a_start_before_zero_counts() -> None:
    compiled = decay()
    conditions = Conditions(("a",), compiled.nominal[None], (Segment(-2.0, 0.0, {"k": 0.25}),))
    result = simulate(compiled, [-2.0, 0.0, 1.0], conditions, sensitivities=["A0", "k"], options=TIGHT)
    np.testing.assert_allclose(slope(result, "A", "A0"), np.exp([0.0, -0.5, -1.0]), atol=CLOSED_FORM)
    np.testing.assert_allclose(slope(result, "A", "k"), [0.0, 0.0, -np.exp(-1.0)], atol=CLOSED_FORM)


# ---- differences ------------------------------------------------------------------------------------------------


def plateau(
    compiled: CompiledModel, name: str, p: np.ndarray, times: list[float], options: SolverOptions
) -> np.ndarray:
    """Return the relative derivatives p dy/dp, by central differences where two step sizes agree best."""
    j, sizes = compiled.parameters.index(name), 10.0 ** np.arange(-4, -0.9, 0.5)
    rows = np.tile(p, (2 * len(sizes), 1))
    rows[:, j] *= 1 + np.concatenate([sizes, -sizes])
    result = simulate(compiled, times, Conditions(tuple(map(str, range(len(rows)))), rows), options=options)
    up, down = np.split(result.values, 2)
    slopes = (up - down) / (2 * sizes[:, None, None])
    changes = np.abs(np.diff(slopes, axis=0)).max(axis=(1, 2))
    i = int(np.argmin(changes))
    a, b = sizes[i] ** 2, sizes[i + 1] ** 2
    return (b * slopes[i] - a * slopes[i + 1]) / (b - a)


TREATED = {"drug1_dose": 20.0, "drug1_FLT3A_typeI_kon": 1e-3, "drug1_MEK_kon": 1e-3, "ligand_FGF2_dose": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "changed", "times", "n"),
    [
        (lambda: compile_model(example("earm_1_0")), {}, [3000.0, 10_000.0], 88),
        (residuum.aml_model, TREATED, [600.0, 3600.0], 30),
    ],
    ids=["EARM", "AML"],
)
def test_central_differences_agree(build, changed, times, n) -> None:
    compiled = build()
    p = compiled.parameter_vector(changed)
    names = [*changed, *(name for name, value in zip(compiled.parameters, p, strict=True) if value)]
    names = list(dict.fromkeys(names))[:n]
    options = SolverOptions(rtol=1e-10, atol=1e-9)
    result = simulate(compiled, times, Conditions(("a",), p[None]), sensitivities=names, options=options)
    assert result.ok.all()
    peaks = np.abs(result.values[0]).max(axis=0)
    for j, name in enumerate(names):
        ours = result.sensitivities[0, :, :, j] * p[compiled.parameters.index(name)]
        theirs = plateau(compiled, name, p, times, options)
        # what differences can resolve: their noise is the tolerance over the step, of the amounts
        close = 1e-5 * np.abs(theirs).max(axis=0) + 1e-7 * peaks + 1e-12
        assert np.all(np.abs(ours - theirs) <= close), name


@pytest.mark.slow
@pytest.mark.external
def test_central_differences_agree_on_egfr(shared) -> None:
    compiled = compile_model(shared / "suites" / "networks" / "egfr_net.net")
    names, p = compiled.parameters, compiled.nominal
    options = SolverOptions(rtol=1e-10)
    result = simulate(compiled, [20.0, 120.0], sensitivities=names, options=options)
    peaks = np.abs(result.values[0]).max(axis=0)
    for j, name in enumerate(names):
        ours = result.sensitivities[0, :, :, j] * p[j]
        theirs = plateau(compiled, name, p, [20.0, 120.0], options)
        assert np.all(np.abs(ours - theirs) <= 1e-5 * np.abs(theirs).max(axis=0) + 1e-7 * peaks), name


# ---- batches ----------------------------------------------------------------------------------------------------


def scattered(compiled: CompiledModel, n: int, seed: int = 0) -> Conditions:
    factors = np.exp(np.random.default_rng(seed).uniform(-1, 1, (n, compiled.n_parameters)))
    return Conditions(tuple(f"c{i}" for i in range(n)), compiled.nominal * factors)


def test_neighbours_threads_order_and_block_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from residuum.simulator import batch

    compiled = compile_model(example("earm_1_0"))
    conditions, names = scattered(compiled, 41), compiled.parameters[:19]
    whole = simulate(compiled, [1000.0, 5000.0], conditions, sensitivities=names, threads=1)
    order = np.random.default_rng(1).permutation(41)
    shuffled = Conditions(tuple(conditions.names[i] for i in order), conditions.parameters[order])

    monkeypatch.setattr(batch, "BLOCK", 16)
    monkeypatch.setattr(batch, "BLOCK_BYTES", 0)
    monkeypatch.setattr(batch, "FEWEST", 16)
    again = simulate(compiled, [1000.0, 5000.0], shuffled, sensitivities=names, threads=2)
    np.testing.assert_array_equal(again.sensitivities, whole.sensitivities[order])
    np.testing.assert_array_equal(again.values, whole.values[order])


def test_the_other_parameters_asked_for_change_little() -> None:
    """They share the step sizes, and nothing else."""
    compiled = compile_model(example("earm_1_0"))
    some, all_ = (simulate(compiled, [5000.0], sensitivities=s, options=SolverOptions(rtol=1e-9))
                  for s in (compiled.parameters[9:12], compiled.parameters))  # fmt: skip
    np.testing.assert_allclose(some.sensitivities, all_.sensitivities[..., 9:12], rtol=1e-6, atol=1e-9)


def test_a_failed_run_is_nan_and_leaves_its_neighbours_alone() -> None:
    compiled = net("k 0.5; kb 0", "A() 1", "1 0 k; 1 1,1 grow", "A 1", "grow() kb*A")
    p = np.tile(compiled.nominal, (3, 1))
    p[1, 1] = 5.0  # A grows without bound at a finite time
    conditions = Conditions(("a", "b", "c"), p)
    result = simulate(compiled, [0.1, 2.0], conditions, sensitivities=["k"])
    assert result.ok.tolist() == [True, False, True]
    assert np.isfinite(result.sensitivities[1, 0]).all() and np.isnan(result.sensitivities[1, 1]).all()
    alone = simulate(compiled, [0.1, 2.0], Conditions(("a",), p[:1]), sensitivities=["k"])
    np.testing.assert_array_equal(result.sensitivities[[0, 2]], np.tile(alone.sensitivities, (2, 1, 1, 1)))


def test_a_slope_that_is_not_finite_at_the_start_is_said_by_name() -> None:
    compiled = net("a 0; k sqrt(a)", "A() 1", "1 0 k", "A 1")
    result = simulate(compiled, [1.0], sensitivities=["a"])
    assert result.status[0] == Status.BAD_START and "derivative with respect to a" in result.message(0)
    assert np.isnan(result.sensitivities).all()


def test_without_free_parameters_there_are_no_sensitivities() -> None:
    result = simulate(decay(), [1.0])
    assert result.sensitivities is None and result.sensitivity_names == ()
    assert "sensitivity" not in result.to_xarray()


def test_the_dataset_carries_the_sensitivities_by_name() -> None:
    dataset = simulate(decay(), [1.0, 2.0], sensitivities=("A0", "k")).to_xarray()
    assert dataset["sensitivity"].dims == ("condition", "time", "observable", "parameter")
    found = dataset["sensitivity"].sel(observable="A", parameter="k", time=2.0).item()
    assert found == pytest.approx(-2 * np.exp(-1), rel=1e-5)


@pytest.mark.parametrize(
    ("names", "says"),
    [(["kk"], "did you mean 'k'"), ("k", "expected a sequence"), (["k", "k"], "twice")],
)
def test_wrong_names_are_refused(names, says) -> None:
    with pytest.raises(InputError, match=says):
        simulate(decay(), [1.0], sensitivities=names)


def test_no_observables_have_no_sensitivities() -> None:
    assert simulate(decay(), [1.0, 2.0], observables=[], sensitivities=["k"]).sensitivities.shape == (1, 2, 0, 1)
