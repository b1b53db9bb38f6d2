"""Sweeps: the same numbers as `simulate` gives, to the same bits whoever computes them; and what comes out of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import decay, dimerisation, net, two_independent_drugs
from sweeping import PRIORS, shards, toy_design

import residuum
from residuum.simulator import InputError, Segment, SolverOptions, UnknownNameError, simulate
from residuum.sweeps import (
    Computed,
    Grid,
    PointTable,
    Sobol,
    Sweep,
    SweepDesign,
    estimate_sweep,
    open_sweep,
    sweep,
    verify_sweep,
)
from residuum.sweeps.keeping import split_words


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return sweep(toy_design(), tmp_path_factory.mktemp("plain"), shard_size=64)


# ---- the numbers --------------------------------------------------------------------------------------------------


def test_a_sweep_gives_what_simulate_gives(plain: Sweep) -> None:
    design = toy_design()
    direct = simulate(design.compiled, [1.0, 100.0], design.conditions(0, 1000), observables=["P", "one"])
    assert np.array_equal(plain.to_dataset().value.values, direct.values)


@pytest.mark.parametrize(
    "how",
    [{"threads": 1}, {"threads": 3}, {"workers": 2, "start_method": "fork"}, {"workers": 3, "start_method": "fork"}],
    ids=str,
)
def test_the_files_do_not_depend_on_who_computes(how: dict[str, Any], plain: Sweep, tmp_path: Path) -> None:
    sweep(toy_design(), tmp_path / "s", shard_size=64, **how)
    assert shards(tmp_path / "s") == shards(plain.folder.path)


@pytest.mark.parametrize("size", [1, 8, 100, 1000, 5000])
def test_the_numbers_do_not_depend_on_the_size_of_shards(size: int, tmp_path: Path) -> None:
    """Neighbours share a machine vector: a run must not see which they are."""
    n = 40 if size == 1 else 1000
    design = SweepDesign(dimerisation(), Sobol(n, {"k": PRIORS["d1"], "A0": PRIORS["d1"]}), [0.1, 10.0], ["A", "B"])
    direct = simulate(design.compiled, [0.1, 10.0], design.conditions(0, n), observables=["A", "B"])
    done = sweep(design, tmp_path / "s", shard_size=size)
    assert np.array_equal(done.to_dataset().value.values, direct.values)


def test_the_jobs_of_an_array_make_the_same_files_in_any_order(plain: Sweep, tmp_path: Path) -> None:
    for i in (2, 0, 3, 1):
        done = sweep(toy_design(), tmp_path / "s", shard_size=64, shard=(i, 4))
        assert done.stopped == ""
    assert shards(tmp_path / "s") == shards(plain.folder.path)


def test_more_jobs_than_shards_do_no_harm(tmp_path: Path) -> None:
    for i in range(5):
        sweep(toy_design(100), tmp_path / "s", shard_size=64, shard=(i, 5))
    assert open_sweep(tmp_path / "s").status().complete


def test_a_protocol_may_have_a_number_per_point(tmp_path: Path) -> None:
    doses = np.linspace(0, 3, 50)
    protocol = [Segment(-np.inf, 0.0, {"d1": 0.0}), Segment(0.0, 2.0, {"d1": doses})]
    design = SweepDesign(two_independent_drugs(), {"kd": np.linspace(0.5, 2, 50)}, [1.0, 5.0], ["P"], protocol=protocol)
    done = sweep(design, tmp_path / "s", shard_size=16).to_dataset()
    direct = simulate(design.compiled, [1.0, 5.0], design.conditions(0, 50), observables=["P"])
    assert np.array_equal(done.value.values, direct.values)
    assert len(np.unique(done.value.values[:, 0])) == 50


def test_fixed_parameters_hold_at_all_points(tmp_path: Path) -> None:
    design = SweepDesign(decay(), {"A0": [1.0, 2.0]}, [1.0], ["A"], fixed={"k": 2.0})
    found = sweep(design, tmp_path / "s").to_frame()["A"]
    np.testing.assert_allclose(found, [np.exp(-2), 2 * np.exp(-2)], rtol=1e-3)


def test_a_name_may_stand_for_a_parameter(tmp_path: Path) -> None:
    plain = sweep(toy_design(parameters={"d1": [0.0, 3.0]}), tmp_path / "plain").to_frame()
    named = sweep(toy_design(parameters={"drug": [0.0, 3.0]}, aliases={"drug": "d1"}), tmp_path / "named").to_frame()
    assert named.rename(columns={"drug": "d1"}).equals(plain)


# ---- what is kept -------------------------------------------------------------------------------------------------


def test_numbers_of_a_course_are_kept_in_its_place(tmp_path: Path) -> None:
    keep = ["A@2", "auc(A)", "max(B)", "min(A)", "A@1min"]
    times = np.linspace(0, 10, 2001)
    design = SweepDesign(decay(), {"k": [0.1, 0.5], "A0": [1.0, 4.0]}, times, keep=keep,
                         options=SolverOptions(rtol=1e-8))  # fmt: skip
    frame = sweep(design, tmp_path / "s").to_frame()
    k, a0 = frame["k"], frame["A0"]
    np.testing.assert_allclose(frame["A@2"], a0 * np.exp(-2 * k), rtol=1e-6)
    np.testing.assert_allclose(frame["auc(A)"], a0 / k * (1 - np.exp(-10 * k)), rtol=1e-5)  # the rule's (k h)^2 / 12
    np.testing.assert_allclose(frame["max(B)"], a0 * (1 - np.exp(-10 * k)), rtol=1e-6)
    np.testing.assert_allclose(frame["min(A)"], a0 * np.exp(-10 * k), rtol=1e-6)
    np.testing.assert_allclose(frame["A@1min"], a0 * np.exp(-60 * k), rtol=1e-6, atol=1e-10)
    assert frame["k"].tolist() == [0.1, 0.1, 0.5, 0.5] and frame["status"].tolist() == ["OK"] * 4


def test_words_are_split_at_commas_outside_brackets() -> None:
    assert split_words("pERK@1h, auc(pERK),R(s,t~p)@2") == ["pERK@1h", "auc(pERK)", "R(s,t~p)@2"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"times": None}, "a sweep needs times"),
        ({"times": [2.0, 1.0]}, "times must increase"),
        ({"readouts": ["Q"]}, "unknown readout 'Q'"),
        ({"readouts": ["P", "P"]}, "each once"),
        ({"readouts": "P"}, "lists of names"),
        ({"keep": ["P@1"]}, "not both"),
        ({"readouts": None, "keep": []}, "at least one entry"),
        ({"readouts": None, "keep": ["P@1", "P@1"]}, "each once"),
        ({"readouts": None, "keep": ["P"]}, "cannot read 'P': expected what to keep"),
        ({"readouts": None, "keep": ["mean(P)"]}, "auc(READOUT)"),
        ({"readouts": None, "keep": ["P@soon"]}, "cannot read the time 'soon'"),
        ({"readouts": None, "keep": ["auc(P)"], "times": None}, "auc(P) is of a whole course"),
        ({"readouts": None, "keep": ["Q@1"]}, "unknown readout 'Q'"),
        ({"parameters": {"d3": [1.0]}}, "unknown parameter 'd3'"),
        ({"parameters": {"d1": [1.0, np.inf]}}, "finite numbers"),
        ({"protocol": [Segment(0, 2), Segment(1, 3)]}, "segments overlap"),
        ({"protocol": [Segment(5, 9, {"d1": [1.0, 2.0]})]}, "expected one value or one per point (1000,)"),
        ({"protocol": [Segment(5, 9, {"d1": np.full(1000, np.nan)})]}, "is not finite"),
        ({"protocol": [Segment(0, 9, {"dose": 1.0})]}, "unknown parameter 'dose'"),
        ({"times": [-1.0]}, "the clock starts at 0"),
        ({"fixed": {"k": 1.0}}, "unknown parameter 'k'"),
        ({"fixed": {"kd": 1.0}}, "kd varies from point to point and is fixed"),
        ({"aliases": {"d1": "dose"}}, "unknown parameter 'dose'"),
        ({"aliases": {"d1": "d2"}}, "d2 varies under two names: d1, d2, kd"),
        ({"parameters": {"drug": [1.0]}, "aliases": {"drug": "d1"}, "fixed": {"d1": 1.0}}, "d1 varies from point to"),
        ({"options": SolverOptions(atol=[1.0])}, "atol has shape"),
    ],
)
def test_a_bad_design_is_refused_before_any_run(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as told:
        toy_design(**changes)
    assert words in str(told.value)


# ---- failed and unfinished runs -----------------------------------------------------------------------------------


def failing(**changes: Any) -> SweepDesign:
    """Return a design of which every tenth point cannot start: a negative rate constant."""
    k = np.where(np.arange(100) % 10 == 3, -1.0, 0.5)
    return SweepDesign(decay(), PointTable({"k": k}), [1.0, 2.0], ["A"], **changes)


def test_failed_runs_are_counted_and_say_why(tmp_path: Path) -> None:
    done = sweep(failing(), tmp_path / "s", shard_size=32)
    status = done.status()
    assert (status.n_ok, status.n_failed, status.n_pending, status.complete) == (90, 10, 0, True)
    assert status.examples["BAD_START"].startswith("point 3: could not start at t = 0: rate constant k is -1")
    assert "10 bad start, e.g. point 3: could not start" in str(status)
    values = done.to_dataset()
    assert np.isnan(values.value.values[3::10]).all() and np.isfinite(values.value.values[4::10]).all()
    assert done.to_frame().query("status == 'BAD_START'")["point"].unique().tolist() == list(range(3, 100, 10))


def test_runs_stopped_by_wall_time_are_pending_and_done_with_more_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def design(max_seconds: float | None) -> SweepDesign:
        # points 8 to 15 turn round for ever: without a limit on time, that on steps ends them
        model = net("w 1000", "X() 1; Y() 0", "0 1 up; 0 2 down", "X 1; Y 2", "up() -w*Y; down() w*X")
        options = SolverOptions(rtol=1e-10, max_steps=1_000_000, nonnegative=False, max_seconds=max_seconds)
        return SweepDesign(model, {"w": [1e-9] * 8 + [1000.0] * 8}, [1e9], ["X"], options=options)

    done = sweep(design(0.1), tmp_path / "s", shard_size=8)
    assert "shard-000001.bin is not computed: 8 runs used up max_seconds, the first of point" in capsys.readouterr().err
    assert done.stopped == "1 shard could not be computed" and done.status().n_pending == 8
    again = sweep(design(None), tmp_path / "s")  # the limit is no part of the design
    assert again.status().counts["STEP_LIMIT"] == 8 and again.status().complete


def test_points_that_turn_out_bad_in_the_middle_end_the_sweep_by_name(tmp_path: Path) -> None:
    for how in ({}, {"workers": 2, "start_method": "fork"}):
        points = Computed(100, ("k",), late_nan, {})
        with pytest.raises(InputError, match="k in condition 'point 70' is nan"):
            sweep(SweepDesign(decay(), points, [1.0], ["A"]), tmp_path / "s", shard_size=10, **how)


def late_nan(first: int, last: int) -> np.ndarray:
    return np.where(np.arange(first, last) == 70, np.nan, 1.0)[:, None]


# ---- one folder, one sweep ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": 999}, "number of points was 1000, is 999"),
        ({"times": [1.0, 99.0]}, "times was [1.0, 100.0], is [1.0, 99.0]"),
        ({"readouts": ["P"]}, "readouts was ['P', 'one'], is ['P']"),
        ({"parameters": Sobol(1000, PRIORS, seed=2)}, "parameters: seed was 1, is 2"),
        ({"options": SolverOptions(rtol=1e-5)}, "options: rtol was 0.0001, is 1e-05"),
        ({"options": SolverOptions(atol=1e-8)}, "atol was 1e-10, is 1e-08"),
        ({"protocol": [Segment(0, 9, {"d1": 1.0})]}, "protocol was [], is [{'start': 0.0"),
        ({"readouts": None, "keep": ["P@1"], "times": None}, "keep was [], is ['P@1']"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_design_is_refused_with_what_differs(changes: dict[str, Any], words: str, plain: Sweep) -> None:
    before = shards(plain.folder.path)
    with pytest.raises(InputError, match="holds another sweep") as told:
        sweep(toy_design(**changes), plain.folder.path)
    assert words in str(told.value)
    assert shards(plain.folder.path) == before


def test_another_model_another_size_and_other_software_are_other_sweeps(plain: Sweep, tmp_path: Path) -> None:
    design = SweepDesign(decay(), {"k": [1.0]}, [1.0], ["A"])
    with pytest.raises(InputError, match=r"model was test \(\w+\), is test \(\w+\)"):
        sweep(design, plain.folder.path)
    with pytest.raises(InputError, match="points per shard was 64, is 32"):
        sweep(toy_design(), plain.folder.path, shard_size=32)
    toy = toy_design()
    toy.identity["software"] = {**toy.identity["software"], "numba": "0.1"}
    with pytest.raises(InputError, match=r"software: numba was [\d.]+, is 0.1"):
        sweep(toy, plain.folder.path)


def test_a_finished_sweep_is_only_read(plain: Sweep) -> None:
    before = {path: path.stat().st_mtime_ns for path in plain.folder.path.glob("shard-*")}
    assert sweep(toy_design(), plain.folder.path).status().complete
    assert {path: path.stat().st_mtime_ns for path in plain.folder.path.glob("shard-*")} == before
    with pytest.raises(InputError, match="holds 16 shards already; resume"):
        sweep(toy_design(), plain.folder.path, resume=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"shard_size": 0}, "shard_size is 0"),
        ({"shard": (4, 4)}, "the part 4/4 does not exist: parts of 4 are counted from 0 to 3"),
        ({"shard": (-1, 4)}, "the part -1/4 does not exist"),
        ({"workers": 2, "start_method": "thread"}, "unknown start_method 'thread'"),
    ],
)
def test_bad_arguments_are_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        sweep(toy_design(), tmp_path / "s", **changes)
    assert words in str(told.value)


# ---- from the folder alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"parameters": Grid({"d1": [0.0, 1.0], "kd": [0.5, 1.0]})},
        {"parameters": PointTable({"d1": [0.1, 0.7], "kd": [1 / 3, 1.0]})},
        {"readouts": None, "keep": ["P@1", "auc(one)"]},
        {"readouts": None, "keep": ["P@1"], "times": None},
        {"protocol": [Segment(-np.inf, 0.0, {"d1": 0.0}), Segment(0.0, np.inf, {"d1": 2.0})]},
        {"options": SolverOptions(rtol=1e-6, atol=1e-9, max_steps=50_000)},
        {"parameters": {"d1": [0.0, 1.0]}, "fixed": {"kd": 0.3, "d2": 2.0}},
        {"parameters": {"drug": [0.0, 1.0]}, "aliases": {"drug": "d2"}},
    ],
)
def test_a_sweep_is_taken_up_from_its_folder_alone(changes: dict[str, Any], tmp_path: Path) -> None:
    design = toy_design(40, **changes)
    begun = sweep(design, tmp_path / "s", shard_size=8, shard=(0, 2))
    found = open_sweep(tmp_path / "s").design
    assert found is not None and found.identity == design.identity
    assert sweep(found, tmp_path / "s").status().complete
    assert begun.to_dataset().identical(open_sweep(tmp_path / "s").to_dataset())


def test_what_only_a_script_can_make_is_left_to_it(tmp_path: Path) -> None:
    points = Computed(10, ("k",), late_nan, {"of": "this test"})
    done = sweep(SweepDesign(decay(), points, [1.0], ["A"]), tmp_path / "s")
    again = open_sweep(tmp_path / "s")
    assert again.design is None and again.to_dataset().value.equals(done.to_dataset().value)
    assert "parameters" in done.to_dataset() and "parameters" not in again.to_dataset()
    with pytest.raises(InputError, match="pass the design"):
        verify_sweep(again)
    assert verify_sweep(again, design=done.design, n=2).passed


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no sweep: there is no design.json"):
        open_sweep(tmp_path)


# ---- results ------------------------------------------------------------------------------------------------------


def test_files_hold_what_the_dataset_and_the_table_hold(plain: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    with xr.open_dataset(plain.write(tmp_path / "all.nc")) as found:
        expected = plain.to_dataset()
        xr.testing.assert_equal(found.load(), expected)
        assert found.attrs["design"] == plain.folder.hash and found.time.attrs == expected.time.attrs
    frame = pd.read_csv(plain.write(tmp_path / "all.csv"))
    pd.testing.assert_frame_equal(frame, plain.to_frame(), rtol=1e-15)  # the reader rounds the last digit
    with pytest.raises(InputError, match=r"ends in .nc or .csv"):
        plain.write(tmp_path / "all.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "all.nc"]


def test_pending_points_are_nan_and_say_so(tmp_path: Path) -> None:
    done = sweep(toy_design(), tmp_path / "s", shard_size=64, shard=(0, 2))
    status = done.status()
    assert (status.n_ok, status.n_pending, status.n_shards_done) == (512, 488, 8)
    frame = done.to_frame()
    assert frame["P"].isna().sum() == 2 * 488 and (frame["status"] == "PENDING").sum() == 2 * 488
    assert "512 ok, 0 failed, 488 pending (8 of 16 shards)" in str(status)


def test_a_table_too_large_for_memory_is_refused(plain: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    from residuum.simulator import memory

    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000.0)
    for ask in (plain.to_dataset, plain.to_frame):
        with pytest.raises(InputError, match="write it to a file"):
            ask()


def test_the_estimate_is_of_the_right_size() -> None:
    estimate = estimate_sweep(toy_design(100_000), threads=2)
    assert estimate.n_points == 100_000 and estimate.n_piloted in (64, 2048) and estimate.n_failed == 0
    assert 100_000 * 4 * 8 < estimate.n_bytes < 100_000 * 4 * 8 * 1.1
    assert 1e-3 < estimate.seconds < 1000
    assert "100,000 points: about" in str(estimate) and "3.4 MB" in str(estimate)
    assert estimate_sweep(failing()).n_failed > 0


# ---- verified by another solver -----------------------------------------------------------------------------------

VERIFIED: dict[str, Callable[[], SweepDesign]] = {
    "courses": lambda: toy_design(50),
    "numbers of courses": lambda: toy_design(50, readouts=None, keep=["P@1", "auc(P)", "max(one)"]),
    "a protocol": lambda: toy_design(
        50, protocol=[Segment(-np.inf, 0.0, {"d1": 0.0}), Segment(2.0, 50.0, {"d1": np.linspace(0, 5, 50)})]
    ),
    "amounts that are set": lambda: SweepDesign(
        dimerisation(), {"k": [0.5, 2.0]}, [0.0, 1.0, 3.0], ["A", "B"], protocol=[Segment(1.0, 2.0, {"A()": 5.0})]
    ),
}


@pytest.mark.parametrize("kind", VERIFIED)
def test_another_solver_confirms_a_sweep(kind: str, tmp_path: Path) -> None:
    design = VERIFIED[kind]()
    done = sweep(design, tmp_path / "s", shard_size=16)
    found = verify_sweep(done, 20)
    assert found.passed and len(found.points) == min(20, len(design)) and np.isfinite(found.units).all()
    assert found.units.max() > 0  # it is another solver
    assert "points solved again by SciPy: the worst, point" in str(found)
    assert verify_sweep(done, 5, seed=1).points != verify_sweep(done, 5, seed=2).points or len(design) < 5


def test_numbers_that_were_tampered_with_are_found(tmp_path: Path) -> None:
    from residuum.simulator.shards import pack

    design = toy_design(16)
    done = sweep(design, tmp_path / "s", shard_size=16)
    block = design.run(0, 16)
    block.values[11, 1, 0] *= 1.02
    done.folder.file(0).write_bytes(pack(block, done.folder.hash))
    found = verify_sweep(done, 16)
    assert not found.passed and int(np.argmax(found.units)) == 11
    assert 0.015 < found.relative[11] < 0.025


def test_nothing_finished_is_nothing_verified(tmp_path: Path) -> None:
    done = sweep(toy_design(20), tmp_path / "s", shard_size=8, shard=(0, 100))
    with pytest.raises(InputError, match=r"no point of .* has finished"):
        verify_sweep(done)
    with pytest.raises(InputError, match="n is 0"):
        verify_sweep(done, 0)


# ---- the public surface -------------------------------------------------------------------------------------------


def test_the_readme_way(tmp_path: Path) -> None:
    model = two_independent_drugs()
    design = residuum.SweepDesign(model, residuum.Grid({"d1": [0, 1], "d2": [0, 1]}), [100.0], ["P"])
    done = residuum.sweep(design, tmp_path / "s")
    np.testing.assert_allclose(done.to_frame()["P"], [1, 0.5, 0.5, 0.25], rtol=1e-3)
    assert json.loads((tmp_path / "s" / "design.json").read_text())["schema"] == "residuum-sweep-1"


def test_unknown_readouts_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'one'"):
        toy_design(readouts=["onee"])
