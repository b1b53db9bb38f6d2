"""Tables mean what the reactions say: slopes and Jacobian reaction by reaction, and a plan on disk changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers import decay, net

from residuum.simulator import CompiledModel, tables
from residuum.simulator.cache import CacheNotice, writable_folder
from residuum.simulator.expressions import derivative, evaluate, substitute

Float = npt.NDArray[np.float64]
K = {"k": 1.5, "q": 0.3}
T = 0.7


def random_network(seed: int) -> CompiledModel:
    """Reactions of order 0 to 4 with repeated and fixed species, rate functions that see weighted sums and time."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    rates = ["k", "2*k", "f", "0.5*f", "g", "3", "q", "h"]

    def side() -> str:
        return ",".join(map(str, rng.integers(1, n + 1, rng.integers(0, 5)))) or "0"

    reactions = "; ".join(f"{side()} {side()} {rng.choice(rates)}" for _ in range(rng.integers(0, 25)))
    species = "; ".join(f"{'$' * int(rng.random() < 0.2)}S{i}() 1" for i in range(n))
    group = [",".join(f"{rng.integers(1, 4)}*{i}" for i in rng.integers(1, n + 1, 4)) for _ in range(2)]
    functions = "f() k*O*P; g() 1+O*sin(time())+q*time(); h() k/(1+P)"
    return net("k 1.5; q 0.3", species, reactions, f"O {group[0]}; P {group[1]}", functions)


def reaction_by_reaction(compiled: CompiledModel, y: Float) -> tuple[Float, Float]:
    """Return dy/dt and df/dy added up as the network has them, without any table."""
    network = compiled.network
    n = compiled.n_species
    totals = {name: sum(w * y[i] for i, w in group) for name, group in network.observables.items()}
    point = {**K, **totals, "time": T}
    slope, jacobian = np.zeros(n), np.zeros((n, n))
    for reaction in network.reactions:
        tree = compiled._functions.get(reaction.rate)
        k = float(evaluate(substitute(tree, {}), point)) if tree is not None else K.get(reaction.rate, 1.0)
        amounts = np.prod(y[list(reaction.reactants)])
        change = np.bincount(reaction.products, minlength=n)[:n] - np.bincount(reaction.reactants, minlength=n)[:n]
        change = np.where(network.fixed, 0.0, change)
        by_species = np.zeros(n)
        for slot, j in enumerate(reaction.reactants):
            by_species[j] += k * np.prod(y[[i for s, i in enumerate(reaction.reactants) if s != slot]])
        for name, group in network.observables.items():
            slope_of_rate = float(evaluate(derivative(tree, name), point)) if tree is not None else 0.0
            for j, w in group:
                by_species[j] += slope_of_rate * w * amounts
        slope += change * reaction.factor * k * amounts
        jacobian += np.outer(change, reaction.factor * by_species)
    return slope, jacobian


@pytest.mark.parametrize("seed", range(12))
def test_slopes_and_jacobian_are_those_of_the_reactions(seed: int) -> None:
    compiled = random_network(seed)
    y = np.random.default_rng(seed).uniform(0.5, 2.0, compiled.n_species)
    slope, jacobian = reaction_by_reaction(compiled, y)
    # sums of up to 25 reactions, each up to 1e3: rounding of their order of summation
    np.testing.assert_allclose(compiled.rhs(T, y), slope, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(compiled.jacobian(T, y).toarray(), jacobian, rtol=1e-12, atol=1e-11)


def test_every_table_has_the_type_that_the_kernels_were_compiled_for() -> None:
    first = decay().plan[0]
    for compiled in [random_network(seed) for seed in range(12)] + [net("k 1", "A() 1", "", "A 1")]:
        for name, value in compiled.plan[0]._asdict().items():
            like = getattr(first, name)
            assert type(value) is type(like), name
            if isinstance(value, np.ndarray):
                assert value.dtype == like.dtype and value.ndim == 1 and value.flags.c_contiguous, name


def test_a_term_is_kept_once_for_all_entries_that_use_it() -> None:
    compiled = net("k 2", "A() 1; B() 1; C() 1", "1,2 3 k; 3,2 1 k; 1,2 3 2*k", "A 1")
    assert len(compiled.plan[0].term_rate) == 5  # k A, k B, k C, 2k A, 2k B
    assert compiled.plan[0].sum_by.tolist().count(0.0) == 0


# ---- on disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder in which plans of any size are kept."""
    monkeypatch.setattr(tables, "LARGE", 0)
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path))
    monkeypatch.setattr(tables, "writable_folder", writable_folder.__wrapped__)
    return tmp_path / "plans"


def planned(compiled: CompiledModel) -> list[object]:
    """Return all numbers of the plan, but for the addresses of machine code."""
    table, order = compiled.plan
    parts = (table._replace(code=np.zeros(4, np.int64)), order)
    return [value.tolist() if isinstance(value, np.ndarray) else value for part in parts for value in part]


def test_a_plan_read_back_is_the_plan_that_was_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = random_network(3)
    expected = planned(made)
    with monkeypatch.context() as patched:
        patched.setattr(tables, "build_tables", lambda *_: pytest.fail("made again"))
        again = random_network(3)
        assert planned(again) == expected
        for a, b in zip(made.plan[0], again.plan[0], strict=True):
            assert type(a) is type(b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)
    planned(random_network(4))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.fault
@pytest.mark.parametrize("damage", ["cut", "flipped", "version", "empty"])
def test_a_damaged_plan_is_made_again_with_a_notice(folder: Path, damage: str) -> None:
    expected = planned(random_network(3))
    (entry,) = folder.iterdir()
    content = entry.read_bytes()
    entry.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "flipped": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
            "version": content.replace(b"cache 1", b"cache 2", 1),
            "empty": b"",
        }[damage]
    )
    with pytest.warns(CacheNotice, match="damaged and is rebuilt"):
        assert planned(random_network(3)) == expected
    assert entry.read_bytes() == content and list(folder.iterdir()) == [entry]


@pytest.mark.fault
def test_without_a_writable_folder_the_plan_is_made_with_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = planned(random_network(3))
    (tmp_path / "file").write_text("no folder can be made below a file")
    monkeypatch.setattr(tables, "LARGE", 0)
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(tables, "writable_folder", writable_folder.__wrapped__)
    with pytest.warns(CacheNotice, match="cache folder cannot be written"):
        assert planned(random_network(3)) == expected


def test_a_small_plan_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LARGE", 3)
    planned(net("k 3", "A() 1; B() 1", "1 2 k", "A 1"))
    assert not folder.exists()
    planned(net("k 3", "A() 1; B() 1; C() 1", "1 2 k", "A 1"))
    assert len(list(folder.iterdir())) == 1
