"""A sweep that is killed, stopped or robbed of its disk, and run again, ends as one that nothing disturbed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import two_independent_drugs
from sweeping import shards, toy_design

from residuum.simulator import InputError
from residuum.sweeps import Computed, Prior, Sobol, SweepDesign, open_sweep, sweep
from residuum.sweeps import folder as folders
from residuum.sweeps import shards as files

pytestmark = pytest.mark.fault

N, SIZE = 10_000, 256
N_SHARDS = 40
FORK = multiprocessing.get_context("fork")

PLACE = "RESIDUUM_TEST_ORDERS"
"""The variable that says where the points below look for what shall happen to whoever makes them."""


def made(first: int, last: int) -> np.ndarray:
    """Return points of a sample, not too fast; kill this process if a file `kill-POINT-TIMES` says so."""
    time.sleep(0.01)
    for order in Path(os.environ[PLACE]).glob("kill-*") if PLACE in os.environ else ():
        _, point, times = order.name.split("-")
        if first <= int(point) < last and last - first > 8:
            order.unlink()
            if int(times) > 1:
                order.with_name(f"kill-{point}-{int(times) - 1}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return Sobol(N, {"d1": Prior.log_uniform(0.1, 10.0), "kd": Prior.uniform(0.5, 2.0)}).rows(first, last)


def design() -> SweepDesign:
    points = Computed(N, ("d1", "kd"), made, {"sample": "of this test"})
    return SweepDesign(two_independent_drugs(), points, [1.0, 100.0], ["P", "one"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("undisturbed")
    assert sweep(design(), path, shard_size=SIZE).status().n_ok == N
    found = shards(path)
    assert len(found) == N_SHARDS
    return found


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which a file `kill-POINT-TIMES` kills whoever makes that point."""
    (place := tmp_path / "orders").mkdir()
    monkeypatch.setenv(PLACE, str(place))
    return place


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., Any]]:
    """Return what runs a function in a process, and session, of its own; what is left of it is killed at the end."""
    started = []

    def run(function: Callable[[], object]) -> Any:
        def alone() -> None:
            os.setsid()
            function()

        process = FORK.Process(target=alone)
        process.start()
        started.append(process)
        return process

    yield run
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def processes_of(session: int) -> list[int]:
    """Return the numbers of the processes that run in a session."""
    found = subprocess.run(["ps", "-eo", "pid=,sess=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, sess, state in rows if int(sess) == session and not state.startswith("Z")]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def stamps(path: Path) -> dict[str, tuple[int, int]]:
    """Return what changes if a file is written again: its number on the disk and the time of writing."""
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in path.glob("shard-*")}


def assert_completed(path: Path, before: dict[str, tuple[int, int]], undisturbed: dict[str, bytes]) -> None:
    """Run the sweep again: it ends as the undisturbed one, and nothing that was finished is touched."""
    done = sweep(design(), path, shard_size=SIZE)
    assert done.stopped == "" and done.status().complete
    assert shards(path) == undisturbed
    after = stamps(path)
    assert {name: after[name] for name in before} == before
    assert list(path.glob(".*")) == []  # nothing half written is left


# ---- killed -------------------------------------------------------------------------------------------------------


def test_the_shard_of_a_killed_worker_is_computed_by_another(
    undisturbed: dict[str, bytes], orders: Path, tmp_path: Path
) -> None:
    for point in (300, 5000):
        (orders / f"kill-{point}-1").touch()
    done = sweep(design(), path := tmp_path / "s", shard_size=SIZE, workers=2, start_method="fork")
    assert list(orders.iterdir()) == [] and done.stopped == ""
    assert shards(path) == undisturbed


def test_a_shard_over_which_two_workers_die_is_left_and_named(
    undisturbed: dict[str, bytes], orders: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (orders / "kill-5000-2").touch()
    done = sweep(design(), path := tmp_path / "s", shard_size=SIZE, workers=2, start_method="fork")
    number = 5000 // SIZE
    assert done.stopped == "1 shard could not be computed" and done.status().n_pending == SIZE
    assert f"shard-{number:06d}.bin is not computed: 2 processes ended with code -9, perhaps" in capfd.readouterr().err
    before = stamps(path)
    assert len(before) == N_SHARDS - 1
    assert_completed(path, before, undisturbed)


def test_a_script_that_spawns_loses_a_worker_and_does_its_shard_again(
    undisturbed: dict[str, bytes], orders: Path, tmp_path: Path
) -> None:
    (orders / "kill-5000-1").touch()
    script, path = tmp_path / "sweeping_script.py", tmp_path / "s"
    here = Path(__file__)
    script.write_text(
        f"import sys\nsys.path[:0] = {[str(here.parent), str(here.parents[1])]}\n"
        "from test_killed_sweep import SIZE, design\nfrom residuum.sweeps import sweep\n"
        "if __name__ == '__main__':\n"
        f"    print(sweep(design(), {str(path)!r}, shard_size=SIZE, workers=2).status())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0 and "10,000 ok" in done.stdout, done.stderr
    assert list(orders.iterdir()) == []
    assert shards(path) == undisturbed


@pytest.mark.slow
def test_a_script_that_spawns_without_a_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        f"import sys\nsys.path[:0] = {[str(Path(__file__).parents[1])]}\nfrom sweeping import toy_design\n"
        "from residuum.sweeps import sweep\n"
        f"sweep(toy_design(), {str(tmp_path / 's')!r}, workers=2)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1 and "call sweep under `if __name__ == '__main__':`" in done.stderr


def killed_at(n: int, function: Callable[..., Any]) -> Callable[..., Any]:
    calls = []

    def counted(*arguments: Any, **settings: Any) -> Any:
        calls.append(1)
        if len(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **settings)

    return counted


MOMENTS: dict[str, tuple[Any, str, int]] = {
    "before anything is there": (files.os, "fsync", 1),
    "before the design has its name": (files.os, "replace", 2),
    "while a shard is computed": (SweepDesign, "run", 5),
    "before a shard is written": (folders.SweepFolder, "keep", 7),
    "while a shard is written": (files.os, "fsync", 23),
    "before a shard has its name": (files.os, "replace", 12),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_sweep_killed_at_any_moment_is_taken_up_where_it_was(
    moment: str, undisturbed: dict[str, bytes], tmp_path: Path, elsewhere: Callable[..., Any]
) -> None:
    path = tmp_path / "s"
    owner, name, n = MOMENTS[moment]

    def killed() -> None:
        setattr(owner, name, killed_at(n, getattr(owner, name)))
        sweep(design(), path, shard_size=SIZE)

    process = elsewhere(killed)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    before = stamps(path)
    assert len(before) < N_SHARDS
    assert all(undisturbed[name] == content for name, content in shards(path).items())
    assert_completed(path, before, undisturbed)


def test_a_sweep_in_processes_killed_from_outside_leaves_no_process_and_is_taken_up(
    undisturbed: dict[str, bytes], tmp_path: Path, elsewhere: Callable[..., Any]
) -> None:
    path = tmp_path / "s"
    process = elsewhere(lambda: sweep(design(), path, shard_size=SIZE, workers=2, start_method="fork"))
    wait_for(lambda: len(list(path.glob("shard-*"))) >= 3)
    assert len(processes_of(process.pid)) == 3
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    wait_for(lambda: not processes_of(process.pid))
    before = stamps(path)
    assert 3 <= len(before) < N_SHARDS
    assert_completed(path, before, undisturbed)


# ---- stopped ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_what_is_finished(
    workers: int, undisturbed: dict[str, bytes], tmp_path: Path, elsewhere: Callable[..., Any]
) -> None:
    path, told = tmp_path / "s", tmp_path / "told"

    def stopped() -> None:
        done = sweep(design(), path, shard_size=SIZE, workers=workers, start_method="fork")
        told.write_text(f"{done.stopped}; {done.status().n_pending}")

    process = elsewhere(stopped)
    wait_for(lambda: len(list(path.glob("shard-*"))) >= 3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    process.join(60)
    before = stamps(path)
    assert process.exitcode == 0 and 3 <= len(before) < N_SHARDS
    assert told.read_text() == f"stopped by the user; {N - SIZE * len(before) + (SIZE - N % SIZE) * last_is(before)}"
    assert processes_of(process.pid) == []
    assert_completed(path, before, undisturbed)


def last_is(before: dict[str, Any]) -> bool:
    """Tell whether the last shard, which is shorter, is there."""
    return f"shard-{N_SHARDS - 1:06d}.bin" in before


def test_the_wall_time_of_a_batch_job_ends_it_in_order(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    done = sweep(design(), path := tmp_path / "s", shard_size=SIZE, max_seconds=0.1)
    assert done.stopped == "its wall time is used up" and 0 < done.status().n_pending < N
    assert_completed(path, stamps(path), undisturbed)


# ---- damaged files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-1], "its checksum does not fit"),
        (lambda content: content[: len(content) // 2], "its checksum does not fit"),
        (lambda content: b"", "it does not begin as a shard does"),
        (lambda content: content[:40], "it does not begin as a shard does"),
        (lambda content: bytes([*content[:-300], content[-300] ^ 1, *content[-299:]]), "its checksum does not fit"),
        (lambda content: content.replace(b'"last": 1024', b'"last": 1025'), "its checksum does not fit"),
        (lambda content: content + b"0", "its checksum does not fit"),
    ],
    ids=["one byte short", "half", "empty", "in the line", "one bit", "another number", "one byte more"],
)
def test_a_damaged_shard_is_named_and_computed_again(
    damage: Callable[[bytes], bytes], words: str, undisturbed: dict[str, bytes], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "s"
    sweep(design(), path, shard_size=SIZE)
    name = f"shard-{1024 // SIZE - 1:06d}.bin"
    (path / name).write_bytes(damage(undisturbed[name]))
    status = open_sweep(path).status()
    assert status.n_pending == SIZE and status.damaged == (f"{name}: {words}",)
    with pytest.raises(InputError, match=name):
        open_sweep(path).to_dataset()
    before = {file: stamp for file, stamp in stamps(path).items() if file != name}
    capsys.readouterr()
    assert_completed(path, before, undisturbed)
    assert f"{name} is damaged ({words})" in capsys.readouterr().err


def test_a_shard_under_the_name_of_another_is_computed_again(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    sweep(design(), path := tmp_path / "s", shard_size=SIZE)
    (path / "shard-000002.bin").write_bytes(undisturbed["shard-000001.bin"])
    assert open_sweep(path).status().damaged == ("shard-000002.bin: it holds the points 256 to 511",)
    assert_completed(path, {}, undisturbed)


def test_shards_of_another_design_are_refused_by_name(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    sweep(design(), path := tmp_path / "s", shard_size=SIZE)
    sweep(toy_design(N), other := tmp_path / "other", shard_size=SIZE)
    (path / "shard-000003.bin").write_bytes((other / "shard-000003.bin").read_bytes())
    with pytest.raises(InputError, match=r"shards of another design: shard-000003.bin \(it belongs to the design"):
        sweep(design(), path, shard_size=SIZE)
    assert "shard-000003.bin" in open_sweep(path).status().foreign[0]
    (path / "shard-000003.bin").unlink()
    assert_completed(path, stamps(path), undisturbed)


def test_a_damaged_design_file_costs_no_shard(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    sweep(design(), path := tmp_path / "s", shard_size=SIZE)
    text = (path / "design.json").read_text()
    (path / "design.json").write_text(text.replace("10000", "20000", 1))
    with pytest.raises(InputError, match=r"design.json is damaged .* its shards stay"):
        sweep(design(), path)
    (path / "design.json").unlink()
    assert_completed(path, stamps(path), undisturbed)


# ---- disks --------------------------------------------------------------------------------------------------------


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_sweep_and_keeps_what_is_finished(
    workers: int, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fsync, calls = tmp_path / "s", os.fsync, []
    monkeypatch.setattr(files.os, "fsync", lambda fd: full() if len(calls) > 12 else calls.append(1) or fsync(fd))
    with pytest.raises(OSError, match=r"No space left on device; [\d,]+ of 10,000 points are kept: make room") as told:
        sweep(design(), path, shard_size=SIZE, workers=workers, start_method="fork")
    assert told.value.filename == str(path)
    monkeypatch.undo()
    before = stamps(path)
    assert 0 < len(before) < N_SHARDS
    assert_completed(path, before, undisturbed)


def test_a_disk_that_takes_no_more_bytes_leaves_no_half_file(
    undisturbed: dict[str, bytes], tmp_path: Path, elsewhere: Callable[..., Any]
) -> None:
    """The system itself refuses here: no file may have more bytes than a shard but one."""
    path, told = tmp_path / "s", tmp_path / "told"
    sweep(design(), path, shard_size=SIZE, max_seconds=0.1)
    before = stamps(path)
    smallest = min(map(len, list(undisturbed.values())[:-1]))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (smallest - 1, smallest - 1))
        try:
            sweep(design(), path, shard_size=SIZE)
        except OSError as error:
            os.write(os.open(told, os.O_CREAT | os.O_WRONLY), str(error).encode())

    process = elsewhere(limited)
    process.join(60)
    assert "File too large" in told.read_text() and "points are kept" in told.read_text()
    assert_completed(path, before, undisturbed)


def test_a_real_disk_that_is_full_or_read_only(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """In a name space of its own, where anybody may mount a disk of 96 kB; skipped where the system forbids that."""
    mount = tmp_path / "disk"
    mount.mkdir()
    script = tmp_path / "on_disk.py"
    here = Path(__file__)
    script.write_text(
        f"import subprocess, sys\nsys.path[:0] = {[str(here.parent), str(here.parents[1])]}\n"
        "from test_killed_sweep import SIZE, design\nfrom residuum.sweeps import open_sweep, sweep\n"
        "def attempt(path):\n"
        "    try:\n"
        "        print(sweep(design(), path, shard_size=SIZE).status())\n"
        "    except (OSError, ValueError) as error:\n"
        "        print(type(error).__name__, error)\n"
        f"mount = {str(mount)!r}\n"
        "attempt(mount + '/s')\n"
        "print(open_sweep(mount + '/s').status())\n"
        "subprocess.run(['mount', '-o', 'remount,ro', mount], check=True)\n"
        "attempt(mount + '/s')\n"
        "attempt(mount + '/t')\n"
        "subprocess.run(['mount', '-o', 'remount,rw,size=4m', mount], check=True)\n"
        "attempt(mount + '/s')\n"
    )
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    tmpfs = f"mount -t tmpfs -o size=96k residuum {mount}"
    try:
        allowed = subprocess.run([*command, tmpfs], capture_output=True, timeout=30).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("this system lets nobody mount a disk in a name space")
    done = subprocess.run(
        [*command, f"{tmpfs} && {sys.executable} {script}"], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, partly, denied, nowhere, finished = [line for line in done.stdout.splitlines() if line]
    assert first.startswith("OSError [Errno 28] No space left on device; ") and "points are kept" in first
    assert " 0 failed" in partly and " 0 pending" not in partly
    assert denied.startswith("InputError cannot keep a sweep in") and "Read-only file system" in denied
    assert nowhere.startswith("InputError cannot keep a sweep in") and "Read-only file system" in nowhere
    assert finished == f"10,000 points: 10,000 ok, 0 failed, 0 pending ({N_SHARDS} of {N_SHARDS} shards)"


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot keep a sweep in .*choose another folder"):
        sweep(design(), tmp_path / "file" / "s")


# ---- two at once --------------------------------------------------------------------------------------------------


def test_two_cannot_compute_the_same_shards_and_a_dead_one_holds_nothing(
    undisturbed: dict[str, bytes], tmp_path: Path, elsewhere: Callable[..., Any]
) -> None:
    path = tmp_path / "s"
    process = elsewhere(lambda: sweep(design(), path, shard_size=SIZE, shard=(0, 2)))
    wait_for(lambda: len(list(path.glob("shard-*"))) >= 2)
    with pytest.raises(InputError, match="another process is computing these shards"):
        sweep(design(), path, shard_size=SIZE)
    assert sweep(design(), path, shard=(1, 2)).stopped == ""  # the other half is free
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert_completed(path, stamps(path), undisturbed)


def test_the_jobs_of_an_array_may_all_begin_at_once(
    undisturbed: dict[str, bytes], tmp_path: Path, elsewhere: Callable[..., Any]
) -> None:
    path = tmp_path / "s"

    def job(i: int) -> Callable[[], object]:
        return lambda: sweep(design(), path, shard_size=SIZE, shard=(i, 4))

    processes = [elsewhere(job(i)) for i in range(4)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert shards(path) == undisturbed


# ---- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_times_the_points_take_no_more_memory(tmp_path: Path, elsewhere: Callable[..., Any]) -> None:
    """Measured in processes of their own; the files of both results, too, are written there."""
    peaks = []
    for n in (10_000, 100_000):
        told = tmp_path / f"told-{n}"

        def measured(n: int = n, told: Path = told) -> None:
            done = sweep(toy_design(n), tmp_path / f"s-{n}")
            done.write(tmp_path / f"{n}.nc")
            told.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))

        process = elsewhere(measured)
        process.join(300)
        assert process.exitcode == 0
        peaks.append(int(told.read_text()) * (1 if sys.platform == "darwin" else 1024))
    # 90,000 points more have 90,000 x (4 values + 3 parameters) x 8 bytes = 5 MB, held once, twice in a table
    assert peaks[1] - peaks[0] < 4e6
