"""Laws of sampling: a normal posterior has its mean and covariance; seeds and resuming hold; short chains are said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import linear_frames

from residuum.fitting import Ensemble, laplace_posterior, log_posterior, refitted_posterior, sample_posterior
from residuum.simulator import InputError, SolverOptions

RNG = np.random.default_rng(3)
DESIGN = RNG.normal(size=(12, 4))
MEASURED = DESIGN @ [0.5, -1.0, 2.0, 0.3] + 0.2 * RNG.normal(size=12)


@pytest.fixture
def linear(make: Callable) -> Callable[..., Any]:
    """Return a function that makes a linear-Gaussian problem with one informative prior."""
    return lambda **settings: make(linear_frames(DESIGN, MEASURED, sd=0.2, priors={0: (1.0, 0.1)}, **settings))


def analytic() -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of the posterior of the linear problem."""
    design = np.vstack([DESIGN / 0.2, np.eye(4)[0] / 0.1])
    covariance = np.linalg.inv(design.T @ design)
    return covariance @ design.T @ np.append(MEASURED / 0.2, 10.0), covariance


def moments(ensemble: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted mean and covariance of the four parameters."""
    x = ensemble.values[:, :4]
    return ensemble.weights @ x, np.cov(x.T, aweights=ensemble.weights)


def close_to_the_posterior(ensemble: Ensemble, draws: float) -> None:
    """Compare with the analytic posterior, to four standard errors of `draws` independent draws."""
    (mean, covariance), (found, spread) = analytic(), moments(ensemble)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((found - mean) / sd).max() < 4 / np.sqrt(draws)
    assert np.abs(spread / np.outer(sd, sd) - covariance / np.outer(sd, sd)).max() < 4 * np.sqrt(2 / draws)


def test_draws_of_the_normal_approximation_have_the_mean_and_covariance_of_a_normal_posterior(linear: Callable) -> None:
    done = laplace_posterior(linear(), members=2000, seed=1)
    # nothing but the rounding of differences, and the faint prior of the bounds, keeps the weights from being equal
    assert done.effective_size > 1990
    assert done.provenance["diagnostics"].startswith("usable: 2000 draws")
    close_to_the_posterior(done, 2000)


def test_weights_make_up_for_an_approximation_at_the_wrong_place(linear: Callable) -> None:
    mean, covariance = analytic()
    beside = mean + 0.5 * np.sqrt(np.diag(covariance))
    done = laplace_posterior(linear(), beside, members=5000, seed=1, optimum=True)
    assert done.effective_size < 3800
    close_to_the_posterior(done, 0.5 * done.effective_size)


def test_a_posterior_far_from_normal_is_said(make: Callable) -> None:
    """Two parameters of which the data see the product: a hyperbola, which no ellipse covers."""
    frames = linear_frames(np.ones((1, 2)), np.array([1.0]), sd=0.01, priors={0: (1.0, 3.0), 1: (1.0, 3.0)})
    frames["observables"]["observableFormula"] = "x0 * x1 + 0*pX"
    words = laplace_posterior(make(frames), [1.0, 1.0], members=400).provenance["diagnostics"]
    assert words.startswith("not to be trusted: 400 draws") and words.endswith("sample it")


def test_the_log_posterior_ends_at_the_bounds_and_where_runs_fail(frames: Any, make: Callable) -> None:
    problem = make(frames)
    points = np.array([problem.nominal, problem.upper + 0.1, problem.lower])
    value = log_posterior(problem, points)
    assert value[0] == -problem.loss(problem.nominal) and value[1] == -np.inf and np.isfinite(value[2])
    failing = make(frames, options=SolverOptions(max_steps=3))
    assert log_posterior(failing, points[:1]) == -np.inf
    with pytest.raises(InputError, match="simulations fail"):
        laplace_posterior(failing, members=10)


# ---- fitting anew -----------------------------------------------------------------------------------------------


def test_refitted_members_of_a_linear_problem_are_draws_from_its_posterior(linear: Callable) -> None:
    close_to_the_posterior(refitted_posterior(linear(), members=300, seed=1, progress=False), 300)


def test_what_nothing_sees_keeps_its_spread(make: Callable) -> None:
    design = DESIGN * [1.0, 0.0, 1.0, 1.0]
    done = refitted_posterior(make(linear_frames(design, MEASURED, sd=0.2)), members=100, progress=False)
    assert done["x1"].std() > 15  # a uniform distribution between the bounds has 29
    assert done["x0"].std() < 1


def test_refitted_members_lie_between_the_bounds(make: Callable) -> None:
    frames = linear_frames(DESIGN, MEASURED, sd=0.2)
    frames["parameters"].loc[2, "upperBound"] = 1.9
    done = refitted_posterior(make(frames), members=30, progress=False)
    n = np.count_nonzero(done["x2"] > 1.8999)
    assert done["x2"].max() <= 1.9 and n > 3
    assert f"{n} of 30 members lie at the bound of a uniform prior (x2 in {n})" in done.provenance["diagnostics"]


def test_members_at_no_bound_are_not_spoken_of(linear: Callable) -> None:
    done = refitted_posterior(linear(), members=3, progress=False)
    assert done.provenance["diagnostics"].endswith("linear in the parameters")


def test_what_refitting_would_get_wrong_is_refused(make: Callable) -> None:
    frames = linear_frames(DESIGN, MEASURED, sd=0.2)
    for change, words in (
        ({"measurements": ("censoring", "left")}, "12 of 12 measurements are censored"),
        ({"observables": ("noiseDistribution", "laplace")}, "noise that is not normal"),
        ({"parameters": ("estimate", "true")}, "a sigma that is estimated.*use sample_posterior"),
    ):
        changed = {name: frame.copy() for name, frame in frames.items()}
        for table, (column, cell) in change.items():
            changed[table][column] = cell
        changed["parameters"]["lowerBound"] = [-50, -50, -50, -50, 0.01]
        changed["parameters"]["upperBound"] = 50
        changed["parameters"]["parameterScale"] = ["lin"] * 4 + ["log10"]
        with pytest.raises(InputError, match=words):
            refitted_posterior(make(changed), members=2, progress=False)


@pytest.mark.fault
def test_refitting_goes_on_where_it_stopped(linear: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, path = refitted_posterior(linear(), members=8, seed=2, progress=False), tmp_path / "members.npz"
    assert np.array_equal(refitted_posterior(linear(), members=5, seed=2, progress=False).values, whole.values[:5])
    problem = linear()
    evaluate, calls = problem.evaluate, []

    def until(theta: np.ndarray) -> Any:
        calls.append(1)
        if len(calls) > 25:
            raise KeyboardInterrupt
        return evaluate(theta)

    monkeypatch.setattr(problem, "evaluate", until)
    stopped = refitted_posterior(problem, members=8, seed=2, checkpoint=path, progress=False)
    assert 0 < len(stopped) < 8 and stopped.provenance["diagnostics"].startswith("stopped by the user")
    done = refitted_posterior(linear(), members=8, seed=2, checkpoint=path, resume=True, progress=False)
    assert np.array_equal(done.values, whole.values)
    with pytest.raises(InputError, match="was made with seed 2, now it is 3"):
        refitted_posterior(linear(), members=8, seed=3, checkpoint=path, resume=True, progress=False)
    looser = problem.with_options(SolverOptions(rtol=1e-6))
    with pytest.raises(InputError, match=r"was made with solver .*rtol=1e-09.*, now it is .*rtol=1e-06"):
        refitted_posterior(looser, members=8, seed=2, checkpoint=path, resume=True, progress=False)


def test_wrong_settings_of_refitting_are_named(linear: Callable, frames: Any, make: Callable) -> None:
    for settings, message in (({"members": 0}, "members"), ({"tolerance": 2}, "tolerance"), ({"resume": True}, "give")):
        with pytest.raises(InputError, match=message):
            refitted_posterior(linear(), progress=False, **settings)
    with pytest.raises(InputError, match="simulations fail at all members"):
        refitted_posterior(make(frames, options=SolverOptions(max_steps=3)), members=2, progress=False)


# ---- walkers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def emcee() -> Any:
    return pytest.importorskip("emcee", reason="the extra `fit` is not installed")


def test_walkers_find_the_mean_and_covariance_of_a_normal_posterior(linear: Callable, emcee: Any) -> None:
    done = sample_posterior(linear(), members=150, seed=2, max_steps=1500, progress=False)
    assert done.provenance["converged"] and done.provenance["diagnostics"].startswith("long enough: ")
    assert len(done) == 150 and done.provenance["effective"] >= 150
    close_to_the_posterior(done, 100)


@pytest.mark.slow
def test_walkers_and_the_normal_approximation_agree_on_a_simulated_problem(
    frames: Any, make: Callable, emcee: Any
) -> None:
    frames["parameters"].loc[5, "nominalValue"] = 0.004  # small enough for the posterior to be nearly normal
    problem = make(frames)
    walked = sample_posterior(problem, members=1000, max_steps=1000, seed=1, progress=False)
    drawn = laplace_posterior(problem, members=1000, seed=1)
    for name in problem.names:
        a, b = np.log(walked[name]), np.log(drawn[name])
        mean = float(drawn.weights @ b)
        sd = float(np.sqrt(drawn.weights @ (b - mean) ** 2))
        assert a.mean() == pytest.approx(mean, abs=0.3 * sd)
        assert a.std() == pytest.approx(sd, rel=0.25)


def test_the_same_seed_gives_the_same_members(linear: Callable, emcee: Any) -> None:
    settings = {"members": 50, "max_steps": 30, "progress": False}
    first, again, other = (sample_posterior(linear(), seed=seed, **settings) for seed in (4, 4, 5))
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    one, two = (laplace_posterior(linear(), members=20, seed=7) for _ in range(2))
    assert np.array_equal(one.values, two.values) and np.array_equal(one.weights, two.weights)


def test_a_chain_that_is_too_short_says_so(linear: Callable, emcee: Any) -> None:
    done = sample_posterior(linear(), members=50, max_steps=30, progress=False)
    assert not done.provenance["converged"]
    assert done.provenance["diagnostics"].startswith("too short: 30 steps of 32 walkers")
    assert "steps are needed" in done.provenance["diagnostics"]


@pytest.mark.fault
def test_a_stopped_chain_is_resumed_to_the_same_end(
    linear: Callable, emcee: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"members": 10**6, "max_steps": 130, "seed": 3, "progress": False}
    whole = sample_posterior(linear(), **settings)
    problem = linear()
    evaluate_many, calls = problem.evaluate_many, []

    def until(thetas: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) > 150:
            raise KeyboardInterrupt
        return evaluate_many(thetas, **more)

    monkeypatch.setattr(problem, "evaluate_many", until)
    path = tmp_path / "chain.npz"
    stopped = sample_posterior(problem, **settings, checkpoint=path)
    assert stopped.provenance["diagnostics"].startswith("stopped by the user") and len(stopped) < len(whole)
    assert "stopped" in capsys.readouterr().err
    done = sample_posterior(linear(), **settings, checkpoint=path, resume=True)
    assert np.array_equal(done.values, whole.values)


def test_a_checkpoint_of_something_else_is_refused(
    linear: Callable, make: Callable, emcee: Any, tmp_path: Path
) -> None:
    path, settings = tmp_path / "chain.npz", {"max_steps": 5, "members": 5, "progress": False}
    sample_posterior(linear(), checkpoint=path, **settings)
    other = make(linear_frames(DESIGN, MEASURED + 1, sd=0.2))
    with pytest.raises(InputError, match="was made with data_hash"):
        sample_posterior(other, checkpoint=path, resume=True, **settings)
    with pytest.raises(InputError, match="was made with seed 0, now it is 1"):
        sample_posterior(linear(), seed=1, checkpoint=path, resume=True, **settings)
    with pytest.raises(InputError, match="another start"):
        sample_posterior(linear(), np.ones(4), checkpoint=path, resume=True, **settings)
    with pytest.raises(InputError, match="was made with solver"):
        looser = linear().with_options(SolverOptions(rtol=1e-6))
        sample_posterior(looser, checkpoint=path, resume=True, **settings)
    for content in (b"", b"chain", path.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"chain\.npz is no checkpoint"):
            sample_posterior(linear(), checkpoint=path, resume=True, **settings)


def test_without_emcee_the_other_way_is_named(linear: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(InputError, match=r"residuum\[fit\].*laplace_posterior"):
        sample_posterior(linear(), progress=False)
    assert len(laplace_posterior(linear(), members=10)) == 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"walkers": 7}, "even number of at least 8"),
        ({"walkers": 33}, "even number"),
        ({"members": 0}, "at least 1"),
        ({"max_steps": 0}, "at least 1"),
        ({"theta": [0.0]}, r"expected \(4,\)"),
        ({"resume": True}, "checkpoint"),
    ],
)
def test_wrong_settings_are_named(linear: Callable, emcee: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sample_posterior(linear(), progress=False, **settings)


def test_too_few_draws_are_refused(linear: Callable) -> None:
    with pytest.raises(InputError, match="members is 1"):
        laplace_posterior(linear(), members=1)
