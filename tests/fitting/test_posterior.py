"""Laws of ensembles: members mean what the problem means, predictions reach any condition, files come back whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from residuum.fitting import Ensemble, bands, load_ensemble
from residuum.simulator import CompiledModel, Conditions, InputError, Segment, SolverOptions, Status, UnknownNameError

TIGHT = SolverOptions(rtol=1e-9)


@pytest.fixture
def problem(frames: Any, make: Callable) -> Any:
    return make(frames)


@pytest.fixture
def prior(problem: Any) -> Ensemble:
    return Ensemble.from_prior(problem, 6, seed=1)


def before_the_drug(model: CompiledModel, dose: float, **values: float) -> Conditions:
    """Return one condition that equilibrates without the drug."""
    rows = {"new": {"dose": dose, **values}}
    return Conditions.from_rows(model, rows, [Segment(-np.inf, 0.0, {"dose": 0.0})])


def test_a_fitted_condition_is_predicted_as_the_problem_has_it(
    problem: Any, true_theta: np.ndarray, model: CompiledModel
) -> None:
    thetas = [true_theta, true_theta + 0.1, true_theta - 0.2]
    ensemble = Ensemble.from_points(problem, thetas)
    done = ensemble.predict(model, before_the_drug(model, 5.0), [0.0, 60.0, 600.0], ["pX"],
                            formulas=ensemble.as_in("a_low"), options=TIGHT)  # fmt: skip
    rows = np.flatnonzero(problem.tables.measurements.frame["experimentId"] == "a_low")
    shown = ensemble["offset"][:, None] + ensemble["scale"][:, None] * done["value"].to_numpy()[:, 0, :, 0]
    for i, theta in enumerate(thetas):
        assert shown[i] == pytest.approx(problem.evaluate(theta).predicted[rows], rel=1e-7)
    assert ensemble.predict_data(problem)["value"].to_numpy()[:, rows] == pytest.approx(shown, rel=1e-7)


def test_a_condition_that_was_never_fitted_has_its_closed_form(prior: Ensemble, model: CompiledModel) -> None:
    # of the problem's parameters, kd is the model's own and set by no condition; gains belong to their lines
    assert prior.direct == ("kd",) and prior.shared == {}
    done = prior.predict(model, before_the_drug(model, 17.0, kf=0.05, total=30.0), [33.0], ["pX"], options=TIGHT)
    kf, kr = 0.05 / (1 + 17.0 / prior["kd"]), 0.01
    start, end = 30 * 0.05 / (0.05 + kr), 30 * kf / (kf + kr)
    expected = end + (start - end) * np.exp(-(kf + kr) * 33.0)
    assert done["value"].to_numpy().ravel() == pytest.approx(expected, rel=1e-6)


def test_a_species_that_a_segment_sets_is_set_for_every_member(prior: Ensemble, model: CompiledModel) -> None:
    rows = {"bare": {"dose": 2.0}, "primed": {"dose": 2.0}}
    amounts = np.array([5.0, 60.0])
    protocol = [Segment(-np.inf, 0.0, {"kf": 0.0}), Segment(0.0, 500.0, {"X(y~p)": amounts, "kr": 0.02})]
    done = prior.predict(model, Conditions.from_rows(model, rows, protocol), [0.0, 33.0], ["pX"], options=TIGHT)
    kf, kr = 0.02 / (1 + 2.0 / prior["kd"][:, None]), 0.02
    end = (100 + amounts) * kf / (kf + kr)
    expected = end + (amounts - end) * np.exp(-(kf + kr) * 33.0)
    assert done["value"].to_numpy()[:, :, 1, 0] == pytest.approx(expected, rel=1e-6)
    wrong = Conditions.from_rows(model, rows, [Segment(0.0, 1.0, {"X(y~p)": np.ones(3)})])
    with pytest.raises(InputError, match=r"has shape \(3,\), expected one value or one per condition"):
        prior.predict(model, wrong, [1.0])


def test_what_all_experiments_share_holds_in_new_conditions(frames: Any, make: Callable, model: CompiledModel) -> None:
    frames["conditions"]["targetValue"] = frames["conditions"]["targetValue"].replace({"kf * gain_b": "kf * gain_a"})
    frames["parameters"] = frames["parameters"].drop(index=3).reset_index(drop=True)
    ensemble = Ensemble.from_prior(make(frames), 4)
    assert ensemble.shared == {"kf": "kf * gain_a"}
    done = ensemble.predict(model, Conditions.from_rows(model, {"rest": {"kf": 0.3}}), [1e6], ["pX"], options=TIGHT)
    kf = 0.3 * ensemble["gain_a"]
    assert done["value"].to_numpy().ravel() == pytest.approx(100 * kf / (kf + 0.01), rel=1e-5)


def test_a_formula_on_what_a_name_sets_is_not_shared(frames: Any, make: Callable) -> None:
    frames["conditions"].loc[2:, "targetId"] = "drug"
    frames["conditions"].loc[len(frames["conditions"])] = ["none", "kd", "kd * gain_a"]
    resolved = make(frames, resolve=lambda named: {"dose": float(named["drug"]), "kd": 10.0})
    frames["parameters"] = frames["parameters"][frames["parameters"]["parameterId"] != "kd"].reset_index(drop=True)
    ensemble = Ensemble.from_prior(make(frames, resolve=lambda n: {"dose": float(n["drug"]), "kd": 10.0}), 2)
    assert ensemble.experiments["a_low"].named == {"drug": "5.0"}
    assert ensemble.experiments["a_low"].resolved == {"dose", "kd"}
    assert ensemble.as_in("a_low") == {"kd": "kd * gain_a", "kf": "kf * gain_a"}
    assert ensemble.shared == {} and resolved.n_free == 5


def test_each_condition_may_have_formulas_of_its_own(prior: Ensemble, model: CompiledModel) -> None:
    conditions = Conditions.from_rows(model, {"a": {}, "b": {}})
    both = prior.predict(model, conditions, [1e3], ["pX"], formulas=[prior.as_in("a_none"), prior.as_in("b_none")])
    for name in "ab":
        alone = prior.predict(model, Conditions.from_rows(model, {name: {}}), [1e3], ["pX"],
                              formulas=prior.as_in(f"{name}_none"))  # fmt: skip
        assert np.array_equal(both["value"].sel(condition=[name]), alone["value"])


def test_a_function_may_say_what_a_member_means(prior: Ensemble, model: CompiledModel) -> None:
    conditions = Conditions.from_rows(
        model, {"a": {"dose": 2.0}, "b": {"dose": 2.0}}, [Segment(-np.inf, 0, {"dose": 0})]
    )
    formulas = [prior.as_in(f"{name}_none") for name in "ab"]
    by_formula = prior.predict(model, conditions, [50.0], ["pX"], formulas=formulas)
    by_function = prior.predict(
        model, conditions, [50.0], ["pX"],
        overrides=lambda member, condition: {"kf": 0.02 * member[f"gain_{condition}"], "kd": member["kd"]},
    )  # fmt: skip
    assert np.array_equal(by_formula["value"], by_function["value"])
    with pytest.raises(InputError, match="give one"):
        prior.predict(model, conditions, [50.0], formulas=formulas, overrides=lambda *_: {})


def test_a_member_is_the_same_alone_or_among_others(problem: Any, prior: Ensemble, model: CompiledModel) -> None:
    condition = before_the_drug(model, 3.0)
    all_of_them = prior.predict(model, condition, [5.0, 50.0])
    fewer = Ensemble.from_prior(problem, 3, seed=1)
    assert np.array_equal(fewer.values, prior.values[:3])
    assert np.array_equal(fewer.predict(model, condition, [5.0, 50.0])["value"], all_of_them["value"][:3])


def test_further_parameters_of_the_model_are_laid_directly(prior: Ensemble, model: CompiledModel) -> None:
    wider = prior.with_parameters({"total": np.arange(1.0, 7.0)})
    done = wider.predict(model, Conditions.from_rows(model, {"rest": {}}), [10.0], ["sumX"])
    assert done["value"].to_numpy().ravel() == pytest.approx(np.arange(1.0, 7.0))


def test_the_first_members_are_weighted_among_themselves(prior: Ensemble) -> None:
    weighted = Ensemble(prior.names, prior.values, np.arange(1.0, 7.0), prior.direct, prior.experiments)
    few = weighted.first(2)
    assert few.members() == weighted.members()[:2] and few.weights == pytest.approx([1 / 3, 2 / 3])
    for n in (0, 7):
        with pytest.raises(InputError, match=f"the first {n} members were asked for, the ensemble has 6"):
            weighted.first(n)


def test_the_prior_is_what_is_drawn(frames: Any, make: Callable) -> None:
    frames["parameters"].loc[2, "priorParameters"] = "0.5; 0.3"
    drawn = np.log(Ensemble.from_prior(make(frames), 2000, seed=3)["gain_a"])
    assert drawn.mean() == pytest.approx(0.5, abs=4 * 0.3 / np.sqrt(2000))
    assert drawn.std() == pytest.approx(0.3, rel=0.07)


# ---- failures ---------------------------------------------------------------------------------------------------


def test_members_that_fail_are_counted_and_have_no_number(prior: Ensemble, model: CompiledModel) -> None:
    values = prior.values.copy()
    values[2, prior.names.index("kd")] = 0.0  # dose / kd is not finite
    values[4, prior.names.index("gain_a")] = -1e4  # a negative rate
    ensemble = Ensemble(prior.names, values, prior.weights, prior.direct, prior.experiments, prior.provenance)
    formulas = {"kf": "kf * gain_a / (kd / kd)"}
    done = ensemble.predict(model, before_the_drug(model, 5.0), [1.0, 2.0], ["pX"], formulas=formulas)
    failed = np.flatnonzero(done["status"].to_numpy()[:, 0] != Status.OK)
    assert list(failed) == [2, 4] and done.attrs["n_failed"] == 2
    assert np.isnan(done["value"].to_numpy()[failed]).all() and not np.isnan(done["value"].to_numpy()[[0, 1, 3]]).any()
    assert "2 failed in 2 members; first: member 2, new: a parameter that this member" in done.attrs["failures"]
    share = bands(done)["left"].to_numpy()
    assert share == pytest.approx(4 / 6)
    assert not np.isnan(bands(done)["value"]).any()


def test_an_ensemble_of_another_model_is_refused_with_both_hashes(problem: Any, prior: Ensemble, frames: Any) -> None:
    from helpers import decay

    other = decay()
    with pytest.raises(InputError) as error:
        prior.predict(other, Conditions.from_rows(other, {"x": {}}), [1.0])
    assert other.hash in str(error.value) and problem.compiled.hash in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": [2.0, 1.0]}, "times must increase"),
        ({"readouts": ["pY"]}, "pY"),
        ({"formulas": {"kx": "kf"}}, "unknown parameter 'kx'"),
        ({"formulas": {"kf": "kf * gain_c"}}, "gain_c"),
        ({"formulas": {"kf": "kf *"}}, "kf"),
        ({"formulas": [{}, {}]}, "2 sets of formulas were given for 1"),
    ],
)
def test_a_prediction_that_cannot_be_made_is_named(
    prior: Ensemble, model: CompiledModel, change: dict[str, Any], message: str
) -> None:
    given = {"times": [1.0], "readouts": ["pX"], **change}
    with pytest.raises(InputError, match=message.replace("*", r"\*")):
        prior.predict(model, before_the_drug(model, 1.0), given.pop("times"), **given)


def test_wrong_members_are_refused(problem: Any, prior: Ensemble) -> None:
    for thetas in ([], [[1.0]], [1.0] * 5, np.full((2, 5), np.nan)):
        with pytest.raises(InputError):
            Ensemble.from_points(problem, thetas)
    for weights in ([1.0], [0.0, 0.0], [1.0, -1.0], [np.nan, 1.0], [np.inf, 1.0]):
        with pytest.raises(InputError, match="weight"):
            Ensemble.from_points(problem, [problem.nominal] * 2, weights=weights)
    with pytest.raises(InputError, match="n is 0"):
        Ensemble.from_prior(problem, 0)
    with pytest.raises(InputError, match="has the parameter 'kd' already"):
        prior.with_parameters({"kd": np.ones(6)})
    with pytest.raises(InputError, match="one value per member"):
        prior.with_parameters({"total": 1.0})
    with pytest.raises(UnknownNameError, match="did you mean 'kd'"):
        prior["Kd"]
    with pytest.raises(UnknownNameError, match="a_low"):
        prior.as_in("a_lo")


# ---- bands ------------------------------------------------------------------------------------------------------


def made_up(values: np.ndarray, weights: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"value": (("member", "time"), values), "weight": ("member", weights / weights.sum())})


def test_bands_are_quantiles() -> None:
    generator = np.random.default_rng(0)
    values, ones = generator.normal(size=(101, 3)), np.ones(101)
    found = bands(made_up(values, ones), [0.05, 0.5, 0.95])
    expected = np.quantile(values, [0.05, 0.5, 0.95], axis=0, method="inverted_cdf")
    assert np.array_equal(found["value"].to_numpy(), expected)
    # a weight of 3 is three members
    weights = generator.integers(0, 4, size=101).astype(float)
    repeated = np.repeat(values, weights.astype(int), axis=0)
    for q in (0.1, 0.5, 0.9):
        heavy = bands(made_up(values, weights), [q])["value"].to_numpy()[0]
        assert np.array_equal(heavy, np.quantile(repeated, q, axis=0, method="inverted_cdf"))


def test_bands_leave_out_what_failed() -> None:
    values = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan]])
    found = bands(made_up(values, np.ones(3)), [0.5, 1.0])
    assert np.array_equal(found["value"], [[1.0, np.nan], [2.0, np.nan]], equal_nan=True)
    assert found["left"].to_numpy() == pytest.approx([2 / 3, 0.0])


@pytest.mark.parametrize("quantiles", [[], [-0.1], [1.1], [np.nan]])
def test_quantiles_outside_0_to_1_are_refused(quantiles: list[float]) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        bands(made_up(np.ones((2, 1)), np.ones(2)), quantiles)


# ---- files ------------------------------------------------------------------------------------------------------


def test_a_file_gives_the_same_ensemble_back(prior: Ensemble, model: CompiledModel, tmp_path: Path) -> None:
    again = load_ensemble(prior.save(tmp_path / "new" / "ensemble.nc"))
    assert again.names == prior.names and again.direct == prior.direct
    assert np.array_equal(again.values, prior.values) and np.array_equal(again.weights, prior.weights)
    assert again.experiments == prior.experiments and again.provenance == dict(prior.provenance)
    condition = before_the_drug(model, 5.0)
    assert again.predict(model, condition, [1.0]).identical(prior.predict(model, condition, [1.0]))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ensemble.nc"]


def test_the_file_says_where_it_is_from(problem: Any, prior: Ensemble) -> None:
    kept = prior.provenance
    assert kept["model_hash"] == problem.compiled.hash and kept["data_hash"] == problem.tables.hash
    assert kept["seed"] == 1 and kept["method"] == "prior" and kept["residuum"]


def test_files_that_are_no_ensemble_are_refused(prior: Ensemble, tmp_path: Path) -> None:
    path = prior.save(tmp_path / "ensemble.nc")
    with pytest.raises(InputError, match="does not exist"):
        load_ensemble(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("members")
    with pytest.raises(InputError, match="cannot be read as netCDF"):
        load_ensemble(tmp_path / "text.nc")
    (tmp_path / "half.nc").write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"half\.nc"):
        load_ensemble(tmp_path / "half.nc")
    good = xr.load_dataset(path, engine="h5netcdf")
    for change, message in (
        ({"schema": "residuum-ensemble-99"}, "'residuum-ensemble-99', this version reads .*update"),
        ({"schema": "other"}, "give the file of an ensemble"),
        ({"experiments": "{"}, "is damaged"),
        ({"experiments": '{"a": 1}'}, "is damaged"),
    ):
        good.assign_attrs(change).to_netcdf(tmp_path / "changed.nc", engine="h5netcdf")
        with pytest.raises(InputError, match=message):
            load_ensemble(tmp_path / "changed.nc")
    good.drop_vars("weight").to_netcdf(tmp_path / "lacking.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="is damaged"):
        load_ensemble(tmp_path / "lacking.nc")


@pytest.mark.fault
def test_a_write_that_fails_leaves_the_old_file(
    prior: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = prior.save(tmp_path / "ensemble.nc")
    old = path.read_bytes()

    def full(self: Any, part: Path, **_: Any) -> None:
        Path(part).write_bytes(b"half")
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OSError, match="no space"):
        prior.save(path)
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ["ensemble.nc"]
