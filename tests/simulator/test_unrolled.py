"""Straight-line code of small networks: the same numbers as the tables it is written from, kept on disk."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import decay, dimerisation, example, net, pulsed, saturating

from residuum.simulator import CompiledModel, cache, compile_model, simulate, unrolled


def third_order() -> CompiledModel:
    """A + B + C <-> D, with a rate function in a third reaction: products of three and functions of two observables."""
    return net(
        "k 0.3; kr 0.1; v 0.7", "A() 1; B() 2; C() 1.5; D() 0", "1,2,3 4 k; 4 1,2,3 kr; 1,1,4 2,4 mixed",
        "D 4; AB 1,2*2", "mixed() v*D/(1+AB^2)",
    )  # fmt: skip


MODELS: dict[str, Callable[[], CompiledModel]] = {
    "decay": decay, "dimerisation": dimerisation, "explicit time": pulsed, "rate function": saturating,
    "third order": third_order, "earm_1_0": lambda: compile_model(example("earm_1_0")),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_straight_line_code_gives_the_numbers_of_the_tables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.linspace(0.0, 5.0, 6)
    fast = MODELS[name]()
    assert fast.plan[0].code.all()
    with monkeypatch.context() as patch:
        patch.setattr(unrolled, "MOST_OPERATIONS", -1)
        slow = MODELS[name]()
        assert not slow.plan[0].code.any()
    a, b = (simulate(model, times, observables=model.species) for model in (fast, slow))
    np.testing.assert_allclose(a.values, b.values, rtol=1e-12, atol=1e-12 * np.abs(b.values).max())
    np.testing.assert_array_equal(a.statistics["attempts"], b.statistics["attempts"])


def test_a_large_network_runs_by_its_tables(shared: Path) -> None:
    model = compile_model(shared / "suites" / "networks" / "egfr_net.net")
    assert not model.plan[0].code.any()


def test_code_is_kept_on_disk_and_made_again_if_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unrolled, "writable_folder", lambda kind: tmp_path)
    first = simulate(decay(), [1.0])["A"]
    (entry,) = tmp_path.iterdir()
    content = entry.read_bytes()
    entry.write_bytes(content[: len(content) // 2])
    with pytest.warns(cache.CacheNotice, match="damaged"):
        again = simulate(decay(), [1.0])["A"]
    assert entry.read_bytes() == content
    np.testing.assert_array_equal(first, again)
    written = entry.stat().st_mtime_ns
    simulate(decay(), [1.0])
    assert entry.stat().st_mtime_ns == written


def test_code_of_other_kernels_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unrolled, "writable_folder", lambda kind: tmp_path)
    simulate(decay(), [1.0])
    monkeypatch.setattr(unrolled, "kernels_hash", lambda: "of other sources")
    simulate(decay(), [1.0])
    assert len(list(tmp_path.iterdir())) == 2


def test_the_jitted_right_hand_side_outlives_its_model() -> None:
    f = decay().numba_rhs()
    gc.collect()
    np.testing.assert_allclose(f(0.0, np.array([2.0, 0.0])), [-1.0, 1.0])


def test_many_models_come_and_go() -> None:
    values = [simulate(decay(), [1.0])["A"][0, 0] for _ in range(20)]
    assert values == pytest.approx([np.exp(-0.5)] * 20, rel=1e-6)
