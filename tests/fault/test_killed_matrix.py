"""A dose matrix that is killed or stopped, and computed again, ends as one that nothing disturbed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import net, small_matrix

from residuum.doses import DoseMatrix, compare, runs
from residuum.doses.blocks import remove_blocks
from residuum.simulator import InputError, SolverOptions, Status, simulate
from residuum.simulator import shards as files

pytestmark = pytest.mark.fault

MEMBERS = [{"kd": float(kd)} for kd in np.geomspace(0.1, 10.0, 12)]
BLOCK = 40
"""Four cells of ten runs: 24 cells are six blocks."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BLOCK", BLOCK)


def matrix(**changes: Any) -> DoseMatrix:
    return small_matrix(**{"members": MEMBERS, "contexts": {"own": {}, "other": {}}, **changes})


def killed_at(number: int, function: Callable[[], object]) -> None:
    """Run a function in a process that is killed as it is about to give the file of this number its name."""

    def run() -> None:
        replace, calls = os.replace, []

        def or_die(*paths: Any) -> None:
            calls.append(paths)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)

        files.os.replace = or_die  # type: ignore[attr-defined]
        function()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def same(one: DoseMatrix, other: DoseMatrix) -> bool:
    """Tell whether two matrices are the same but for the time that they took."""
    a, b = (m.dataset.assign_attrs(seconds=0.0) for m in (one, other))
    return a.identical(b) and all(a[name].to_numpy().tobytes() == b[name].to_numpy().tobytes() for name in a.variables)


def stamps(path: Path) -> dict[str, tuple[int, int]]:
    """Return what changes if a file is written again: its number on the disk and the time of writing."""
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in sorted(path.glob("block-*.bin"))}


@pytest.mark.parametrize("options", [None, SolverOptions(max_steps=10)], ids=["sound", "some runs fail"])
def test_a_killed_matrix_goes_on_and_ends_the_same_to_the_last_bit(
    options: SolverOptions | None, tmp_path: Path
) -> None:
    undisturbed = matrix(options=options)
    failed = undisturbed.dataset.attrs["n_failed"]
    assert (failed == 0) if options is None else (0 < failed < 240)
    killed_at(4, lambda: matrix(options=options, checkpoint=tmp_path))  # job.json and two blocks before
    before = stamps(tmp_path)
    assert list(before) == ["block-000000000.bin", "block-000000040.bin"] and list(tmp_path.glob(".block-*.part"))
    assert same(matrix(options=options, checkpoint=tmp_path, threads=1), undisturbed)
    after = stamps(tmp_path)
    assert len(after) == 6 and before.items() <= after.items()
    remove_blocks(tmp_path)
    assert not tmp_path.exists()


def test_what_is_finished_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = matrix(checkpoint=tmp_path / "new" / "folder")
    monkeypatch.setattr(runs, "simulate", None)
    assert same(matrix(checkpoint=tmp_path / "new" / "folder"), first)


def test_a_stop_by_the_user_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def stopped(*arguments: Any, **settings: Any) -> Any:
        result = simulate(*arguments, **settings)
        done.append(1)
        if len(done) == 3:
            result.status[-1], result.values[-1] = Status.STOPPED, np.nan
        return result

    with monkeypatch.context() as patch:
        patch.setattr(runs, "simulate", stopped)
        attrs = matrix(checkpoint=tmp_path).dataset.attrs
    assert attrs["interrupted"] == 1 and attrs["n_pending"] == 240 - 119
    assert len(stamps(tmp_path)) == 2
    assert same(matrix(checkpoint=tmp_path), matrix())


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b"", lambda b: bytes([*b[:-70], b[-70] ^ 1, *b[-69:]]), lambda b: b + b"0"],
    ids=["cut", "empty", "one bit", "longer"],
)
def test_a_damaged_block_is_named_and_computed_again(
    damage: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = matrix(checkpoint=tmp_path)
    path = tmp_path / "block-000000080.bin"
    path.write_bytes(damage(path.read_bytes()))
    before = {name: stamp for name, stamp in stamps(tmp_path).items() if name != path.name}
    assert same(matrix(checkpoint=tmp_path), whole)
    assert f"{path} is damaged (" in capsys.readouterr().err
    assert before.items() <= stamps(tmp_path).items()


def test_without_the_file_that_says_of_which_job_blocks_are_all_is_computed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = matrix(checkpoint=tmp_path)
    (tmp_path / "job.json").write_text((tmp_path / "job.json").read_text().replace('"rtol": 0.0001', '"rtol": 0.001'))
    assert same(matrix(checkpoint=tmp_path), whole)
    assert "job.json is damaged or missing" in capsys.readouterr().err
    assert same(matrix(checkpoint=tmp_path), whole) and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"times": [1.0, 50.0]}, r"times was \[1.0, 100.0\], is \[1.0, 50.0\]"),
        ({"readouts": ["P"]}, "readouts was"),
        ({"options": SolverOptions(rtol=1e-6)}, "options: rtol was 0.0001, is 1e-06"),
        ({"drugs": {"d1": [0.0, 1.0, 4.0], "d2": [0.0, 1.0, 3.0]}}, "parameters, doses or protocol of block-000000000"),
        ({"members": [*MEMBERS[:-1], {"kd": 11.0}]}, "parameters, doses or protocol of block-000000200.bin differ"),
        ({"resume": False}, r"go on with it \(--resume, resume=True\), or remove the folder"),
    ],
)
def test_another_job_is_refused_with_what_differs(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    matrix(checkpoint=tmp_path)
    before = stamps(tmp_path)
    with pytest.raises(InputError, match=reason):
        matrix(**{"checkpoint": tmp_path, **changes})
    assert stamps(tmp_path) == before


def test_a_killed_comparison_of_treatments_goes_on_too(tmp_path: Path) -> None:
    model = net("d 0; e 0; kd 1", "S() 1", "0 1 make; 1 0 kd", "S 1", "make() kd/((1+d)*(1+e))")
    treatments = {"d": {"d": 1.0}, "e": {"e": 3.0}, "d + e": {"d": 1.0, "e": 3.0}}

    def compared(**changes: Any) -> xr.Dataset:
        found = compare(
            model, ["own", "other"], list(treatments), ["S"], 2.0, lambda member, _: MEMBERS[member],
            lambda member, context, treatment: treatments[treatment], weights=np.ones(12), **changes,
        )  # fmt: skip
        return found.assign_attrs(seconds=0.0)

    killed_at(3, lambda: compared(checkpoint=tmp_path))
    assert len(stamps(tmp_path)) == 1
    assert compared(checkpoint=tmp_path).identical(compared())
