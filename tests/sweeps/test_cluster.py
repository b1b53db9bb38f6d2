"""A sweep on a dask.distributed cluster ends as one in this process, also if a worker is killed in the middle."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweeping import shards, toy_design

from residuum.sweeps import sweep

pytestmark = pytest.mark.fault
N, SIZE = 10_000, 50


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        yield client


def kill_one(client: Any, path: Path, seen: list[int]) -> None:
    """Kill a worker of the cluster as soon as some shards are there; note how many."""
    pid = next(iter(client.run(os.getpid).values()))
    while len(list(path.glob("shard-*"))) < 5:
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    seen.append(len(list(path.glob("shard-*"))))


def test_a_cluster_gives_the_same_files_though_a_worker_is_killed(client: Any, tmp_path: Path) -> None:
    alone = sweep(toy_design(N), tmp_path / "alone", shard_size=SIZE)
    seen: list[int] = []
    killer = threading.Thread(target=kill_one, args=(client, tmp_path / "cluster", seen))
    killer.start()
    done = sweep(toy_design(N), tmp_path / "cluster", shard_size=SIZE, client=client)
    killer.join()
    assert 5 <= seen[0] < N // SIZE  # it was in the middle
    assert done.stopped == "" and done.status().complete
    assert shards(tmp_path / "cluster") == shards(alone.folder.path)


def test_a_cluster_takes_up_what_a_process_began(client: Any, tmp_path: Path) -> None:
    sweep(toy_design(1000), tmp_path / "s", shard_size=100, shard=(0, 2))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("shard-*")}
    assert len(before) == 5
    assert sweep(toy_design(1000), tmp_path / "s", client=client).status().complete
    assert {path: path.stat().st_mtime_ns for path in before} == before
    sweep(toy_design(1000), tmp_path / "alone", shard_size=100)
    assert shards(tmp_path / "s") == shards(tmp_path / "alone")
