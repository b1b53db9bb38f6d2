"""The dose matrix: labelled, exact where the answer is known, a fraction of the right control, honest on failure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import GRID, net, two_independent_drugs
from helpers import small_matrix as matrix

from residuum.doses import DoseAxis, Dosing, dose_matrix, load_matrix, runs
from residuum.simulator import InputError, Result, Segment, SolverOptions, Status, compile_model, simulate


def test_axes_carry_names_and_units() -> None:
    m = matrix(drugs={"alpha": DoseAxis("d1", GRID, "uM"), "beta": DoseAxis("d2", GRID)})
    assert m.residual().dims == ("member", "context", "alpha", "beta", "time", "readout")
    assert m.dataset.status.dims == ("member", "context", "alpha", "beta")
    assert m.dataset.alpha.attrs["units"] == "uM" and m.dataset.beta.attrs["units"] == "nM"
    assert m.dataset.context.values.tolist() == ["slow", "fast"] and m.dataset.attrs["n_runs"] == 20


def test_the_late_residual_is_the_closed_form() -> None:
    d = np.array(GRID)
    late = matrix().residual().sel(time=100.0, readout="P").isel(member=0)
    expected = 1 / (1 + d)[:, None] / (1 + d)[None, :]
    for context in ("slow", "fast"):
        np.testing.assert_allclose(late.sel(context=context), expected, rtol=1e-5)


def test_the_untreated_corner_is_one() -> None:
    assert np.all(matrix().residual().sel(d1=0.0, d2=0.0) == 1.0)


def test_runs_start_in_the_steady_state_without_drugs_unless_a_protocol_says_otherwise() -> None:
    early = matrix(times=[0.0]).residual()
    assert np.all(early == 1.0)  # nothing has happened yet
    pulse = matrix(protocol=[Segment(0.0, 1.0), Segment(1.0, 100.0, {"d1": 0.0, "d2": 0.0})])
    np.testing.assert_allclose(pulse.residual().sel(time=100.0), 1.0, rtol=1e-4)  # washed out


def test_drugs_are_there_when_their_dosing_says(tmp_path: Path) -> None:
    when = {"d1": Dosing.pulse(0.0, 50.0), "d2": Dosing.after(60.0)}
    m = matrix(dosing=when, times=[50.0, 60.0, 200.0], contexts={"own": {}})
    left = m.residual().sel(readout="P").squeeze()
    one, both = 1 / (1 + np.array(GRID)), np.ones(3)
    for time, expected in ((50.0, one[:, None] * both), (200.0, both[:, None] * one)):
        np.testing.assert_allclose(left.sel(time=time), expected, rtol=1e-4)
    assert load_matrix(m.save(tmp_path / "m.nc")).dosing == when
    assert "d2 on [60, inf)" in m.dataset.attrs["protocol"] and matrix().dosing == {}
    with pytest.raises(InputError, match="under a protocol of its own"):
        _ = matrix(protocol=[Segment(0.0, 1.0)]).dosing


def test_a_named_reference_is_the_control_of_all() -> None:
    own, named = (
        matrix(times=[0.2], protocol=[Segment(0.0, 9.0)]),
        matrix(times=[0.2], protocol=[Segment(0.0, 9.0)], reference="fast"),
    )
    np.testing.assert_array_equal(own.residual().sel(context="fast"), named.residual().sel(context="fast"))
    np.testing.assert_array_equal(own.dataset.value, named.dataset.value)
    control = named.dataset.value.sel(context="fast", d1=0.0, d2=0.0)
    np.testing.assert_allclose(named.residual().sel(context="slow"), named.dataset.value.sel(context="slow") / control)


def test_members_are_parameter_sets() -> None:
    m = matrix(members=[{}, {"kd": 3.0}], contexts={"own": {}})
    assert m.dataset.sizes["member"] == 2
    early = m.residual().sel(time=1.0, readout="one", d1=3.0, d2=0.0, context="own").values
    np.testing.assert_allclose(early, 0.25 + 0.75 * np.exp([-1.0, -3.0]), rtol=1e-4)


def test_members_may_be_laid_over_the_context_by_a_function() -> None:
    seen = []

    def meaning(member: Mapping[str, float], context: str) -> dict[str, float]:
        seen.append((member["speed"], context))
        return {"kd": member["speed"]}

    m = matrix(members=[{"speed": 1.0}, {"speed": 3.0}], overrides=meaning)
    direct = matrix(members=[{}], contexts={"slow": {"kd": 1.0}, "fast": {"kd": 1.0}})
    np.testing.assert_array_equal(m.residual().isel(member=0), direct.residual().isel(member=0))
    assert seen == [(1.0, "slow"), (1.0, "fast"), (3.0, "slow"), (3.0, "fast")]
    assert m.members == [{"speed": 1.0}, {"speed": 3.0}]


@pytest.mark.parametrize("block", [1, 25])
def test_numbers_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    members = [{"kd": kd} for kd in (0.3, 1.0, 3.0)]
    whole = matrix(members=members, contexts={"own": {}, "other": {}})
    monkeypatch.setattr(runs, "BLOCK", block)
    parts = matrix(members=members, contexts={"own": {}, "other": {}})
    xr.testing.assert_equal(parts.dataset, whole.dataset)


@pytest.mark.fault
@pytest.mark.parametrize("raised", [True, False])
def test_after_ctrl_c_finished_blocks_stay_and_the_rest_is_pending(
    monkeypatch: pytest.MonkeyPatch, raised: bool
) -> None:
    whole = matrix(members=[{}, {}])
    monkeypatch.setattr(runs, "BLOCK", 10)  # one cell at a time
    done = []

    def stopped(*arguments: Any, **settings: Any) -> Result:
        if len(done) == 2 and raised:
            raise KeyboardInterrupt
        done.append(result := simulate(*arguments, **settings))
        if len(done) == 3:
            result.values[4:], result.status[4:] = np.nan, int(Status.PENDING)
        return result

    monkeypatch.setattr(runs, "simulate", stopped)
    m = matrix(members=[{}, {}])
    n_done = 20 if raised else 24
    assert m.dataset.attrs["n_pending"] == 40 - n_done and m.dataset.attrs["interrupted"] == 1
    assert f"stopped: {n_done} of 40 runs done" in m.summary()
    np.testing.assert_array_equal(m.residual().isel(member=0), whole.residual().isel(member=0))
    assert np.isnan(m.residual().isel(member=1, context=1)).all() and set(m.to_frame()["status"]) == {"OK", "PENDING"}


def test_the_tidy_table_has_one_row_per_number() -> None:
    m = matrix(drugs={"alpha": DoseAxis("d1", GRID), "beta": DoseAxis("d2", GRID)})
    frame = m.to_frame()
    assert list(frame.columns) == ["context", "alpha_nM", "beta_nM", "time", "readout", "residual", "status"]
    assert len(frame) == m.residual().size and set(frame["status"]) == {"OK"}


def test_the_table_of_an_ensemble_has_the_weights_of_its_members() -> None:
    frame = matrix(members=[{}, {"kd": 3.0}], contexts={"own": {}}, weights=[1.0, 3.0]).to_frame()
    assert list(frame.columns[:3]) == ["member", "weight", "context"]
    assert frame.groupby("member")["weight"].unique().explode().tolist() == [0.25, 0.75]


@pytest.mark.parametrize("members", [None, [{}, {"kd": 3.0}]])
def test_a_saved_matrix_is_the_same_when_loaded(tmp_path: Path, members: list[dict[str, float]] | None) -> None:
    m = matrix(members=members, contexts={"own": {}}, weights=None if members is None else [1.0, 3.0])
    loaded = load_matrix(m.save(tmp_path / "m.nc"))
    xr.testing.assert_identical(loaded.residual(), m.residual())
    assert loaded.dataset.attrs == m.dataset.attrs and loaded.drugs == m.drugs and loaded.members == m.members
    assert repr(loaded) == repr(m) and len(list(tmp_path.iterdir())) == 1


@pytest.mark.fault
def test_files_that_are_no_matrix_are_refused_in_words(tmp_path: Path) -> None:
    whole, cut, other = matrix().save(tmp_path / "m.nc"), tmp_path / "cut.nc", tmp_path / "other.nc"
    cut.write_bytes(whole.read_bytes()[:5000])
    xr.Dataset({"value": ("x", [1.0])}).to_netcdf(other, engine="h5netcdf")
    flipped = tmp_path / "flipped.nc"
    flipped.write_bytes(whole.read_bytes().replace(np.float64(1.0).tobytes(), np.float64(2.0).tobytes(), 1))
    lost = tmp_path / "lost.nc"
    matrix().dataset.drop_vars("control").assign_attrs(schema="residuum-matrix-1").to_netcdf(lost, engine="h5netcdf")
    newer = tmp_path / "newer.nc"
    matrix().dataset.assign_attrs(schema="residuum-matrix-9").to_netcdf(newer, engine="h5netcdf")
    says = {cut: "damaged or something else", other: "give the file of a dose matrix", lost: "control should have",
            flipped: "does not have its checksum", newer: "update residuum",
            tmp_path / "none.nc": "does not exist"}  # fmt: skip
    for path, words in says.items():
        with pytest.raises(InputError, match=words):
            load_matrix(path)


def test_a_matrix_is_written_under_the_ending_of_its_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"should end in \.nc"):
        matrix().save(tmp_path / "m.csv")
    assert not list(tmp_path.iterdir())


def test_a_contour_of_what_the_matrix_does_not_have_is_refused() -> None:
    m = matrix(contexts={"own": {}})
    with pytest.raises(InputError, match="unknown readout of the matrix 'ones': did you mean 'one'"):
        m.contour(0.5, readout="ones")
    with pytest.raises(InputError, match=r"no time 5\.0; its times are 1, 100"):
        m.contour(0.5, time=5.0)
    assert m.contour(0.5, time=100.0).equals(m.contour(0.5, readout="P"))


@pytest.mark.fault
def test_failed_cells_are_nan_counted_and_named() -> None:
    # X explodes unless the drug holds it
    model = net("k 1; d 0", "X() 1", "1,1 1,1,1 k; 1 0 d", "X 1")
    m = dose_matrix(model, {"d": [0.0, 5.0]}, {"c": {}}, ["X"], [4.0], protocol=[Segment(0.0, 9.0)])
    assert m.dataset.attrs["n_failed"] == 2 and "2 failed" in m.summary()  # the control and the same cell of the grid
    first, second = m.dataset.status.values.ravel()
    assert first != Status.OK and second == Status.OK and m.dataset.control_status == first
    assert np.isnan(m.residual()).all()  # no control, no fraction
    assert np.isfinite(m.dataset.value.sel(d=5.0)).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"drugs": {"d1": [0, -1.0]}}, "must not be negative, given -1"),
        ({"drugs": {"d1": [0, np.nan]}}, "finite"),
        ({"drugs": {"d1": [3, 1]}}, "must increase"),
        ({"drugs": {"d1": []}}, "list of finite numbers"),
        ({"drugs": {"d3": [0, 1]}}, "unknown parameter 'd3': did you mean"),
        ({"drugs": {}}, "at least one drug"),
        ({"drugs": {"time": DoseAxis("d1", [0])}}, "cannot be called 'time'"),
        ({"drugs": {"a": DoseAxis("d1", [0]), "b": DoseAxis("d1", [0])}}, "share one dose parameter"),
        ({"drugs": {"a": DoseAxis("d1", [0]), "A": DoseAxis("d2", [0])}}, "two drugs have the same name: a, A"),
        ({"weights": [1.0, 1.0]}, "give 1 numbers, one per member"),
        ({"readouts": ["Q"]}, "unknown readout 'Q'"),
        ({"readouts": ["ones"]}, "did you mean 'one'"),
        ({"contexts": {"c": {"kdd": 1.0}}}, "did you mean 'kd'"),
        ({"times": [2.0, 1.0]}, "times must increase"),
        ({"reference": "fsat"}, "did you mean 'fast'"),
        ({"members": []}, "members is empty"),
        ({"dosing": {"d3": Dosing.constant()}}, "unknown drug of the dosing 'd3'"),
        ({"dosing": {"d1": Dosing.constant()}, "protocol": [Segment(0, 1)]}, "protocol and dosing were both given"),
        ({"readouts": ["P", "P"]}, "given twice"),
        ({"contexts": {"c": {"d1": 5.0}}}, "sets 'd1', which is a dose"),
        ({"members": [{}, {"kd": 1.0}]}, "member 1 sets 'kd', which the context 'slow' sets, too; leave it out of one"),
        ({"members": [{"d1": 1.0}]}, "member 0 sets 'd1', which is a dose"),
        ({"times": "2h"}, "times must be numbers"),
    ],
)
def test_wrong_input_is_refused_in_words(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        matrix(**changes)
    assert says in str(error.value)


def test_doses_that_look_alike_are_still_different() -> None:
    m = matrix(drugs={"d1": [0, 1.0000001, 1.0000002, 1234567, 1234568], "d2": [0]})
    late = m.dataset.value.sel(time=100.0, readout="one", d2=0.0, context="slow").squeeze()
    assert late.shape == (5,) and np.all(np.diff(late) < 0)


def test_a_dose_that_only_sets_an_initial_amount_is_refused() -> None:
    """Equilibration without drugs would use it up; a clamped species or a rate parameter act as meant."""
    model = net("D0 0; k 1", "D() D0; S() 1", "2,1 1 k; 0 2 k", "S 2")
    with pytest.raises(InputError, match="only sets an initial amount"):
        dose_matrix(model, {"D0": [0, 1]}, {"c": {}}, ["S"], [1.0])
    fixed = net("D0 0; k 1", "$D() D0; S() 1", "2,1 1 k; 0 2 k; 2 0 k", "S 2")
    m = dose_matrix(fixed, {"D0": [0, 1]}, {"c": {}}, ["S"], [50.0])
    np.testing.assert_allclose(m.residual().values.ravel(), [1.0, 0.5], rtol=1e-5)
    started = dose_matrix(model, {"D0": [0, 1]}, {"c": {}}, ["S"], [50.0], protocol=[Segment(0.0, np.inf)])
    assert started.residual().values.ravel()[1] < 0.1


def test_without_a_signal_in_the_control_there_is_no_fraction() -> None:
    model = net("k 1; d 0", "A() 1; X() 0", "1 2 d; 2 1 k", "X 2; A 1")
    m = dose_matrix(model, {"d": [0.0, 1.0]}, {"c": {}}, ["X", "A"], [10.0])
    assert np.isnan(m.residual().sel(readout="X")).all() and np.isfinite(m.residual().sel(readout="A")).all()
    assert m.without_control() == ("c: X",) and m.dataset.attrs["n_failed"] == 0
    by_species = dose_matrix(
        model, {"d": [0.0, 1.0]}, {"c": {}}, ["X()"], [10.0], options=SolverOptions(atol=[1e-7, 2e-7])
    )
    assert np.isnan(by_species.residual()).all()
    frame = m.to_frame()
    assert set(frame.loc[frame["readout"] == "X", "status"]) == {"NO_CONTROL"}
    assert set(frame.loc[frame["readout"] == "A", "status"]) == {"OK"}


def test_doses_are_in_the_unit_of_the_model_unless_said_otherwise() -> None:
    model = compile_model(two_independent_drugs().network, units={"amount": "uM"})
    m = dose_matrix(model, {"d1": [0, 1]}, {"c": {}}, ["P"], [1.0])
    assert m.dataset.d1.attrs["units"] == "uM" and m.dataset.value.attrs["units"] == "uM"
