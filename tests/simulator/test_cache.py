"""Caches: named by content, rebuilt when damaged, done without where they cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import residuum
from residuum.simulator import cache, kernel_cache

RUN = """
import warnings
warnings.simplefilter("always")
from residuum.simulator import compile_model, parse_net, simulate, tables
tables.LARGE = 0
text = '''begin parameters
1 k 1
end parameters
begin functions
1 rate() k*(1+A_total)
end functions
begin species
1 A() 1
end species
begin reactions
1 1 0 rate
end reactions
begin groups
1 A_total 1
end groups
'''
result = simulate(compile_model(parse_net(text)), [1.0])
print(result.summary(), repr(float(result.values[0, 0, 0])))
"""


def run(cache_folder: str, python_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RESIDUUM_CACHE": cache_folder}
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    return subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, env=environment, check=True)


def test_an_entry_is_read_back_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    entry = tmp_path / "entry"
    assert cache.read_checked(entry) is None
    cache.write_checked(entry, "body\nof text\n")
    assert cache.read_checked(entry) == "body\nof text\n"
    entry.write_text(entry.read_text()[:-3])
    with pytest.warns(cache.CacheNotice, match="damaged"):
        assert cache.read_checked(entry) is None


def test_a_stop_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    cache.write_atomic(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        cache.write_atomic(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_every_kernel_file_decides_the_name_of_the_cache() -> None:
    folder = Path(kernel_cache.__file__).parent
    using = {
        path.name for path in folder.glob("*.py") if "@kernel" in path.read_text() or "@intrinsic" in path.read_text()
    }
    assert using - {"kernel_cache.py"} <= set(kernel_cache.KERNEL_FILES)


@pytest.mark.fault
@pytest.mark.slow
def test_an_edited_kernel_is_compiled_again(tmp_path: Path) -> None:
    """The lowest file changes (rates are doubled); the next process must not use the old machine code."""
    root = Path(residuum.__path__[0])
    copy = tmp_path / "residuum"
    for folder in ("simulator", "models", "fitting"):
        shutil.copytree(root / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "__init__.py", copy)
    store = str(tmp_path / "cache")
    first = run(store, tmp_path)
    kernels = copy / "simulator" / "kernels.py"
    before = kernels.read_text()
    kernels.write_text(before.replace("v = load(k, at(tables.rate, r))", "v = 2.0 * load(k, at(tables.rate, r))", 1))
    assert kernels.read_text() != before
    assert run(store, tmp_path).stdout != first.stdout


@pytest.mark.fault
@pytest.mark.slow
def test_without_a_writable_cache_results_are_the_same_with_one_notice_per_kind(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder: nothing can be made below it")
    without, with_cache = run(str(blocked)), run(str(tmp_path / "cache"))
    assert without.stdout == with_cache.stdout
    assert without.stderr.count("cannot be written") == 3  # kernels, rates, plans
    assert "cannot be written" not in with_cache.stderr


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.nbc", "*.nbi"])
def test_damaged_machine_code_is_made_again_with_a_notice(tmp_path: Path, kind: str) -> None:
    good = run(str(tmp_path))
    for path in (tmp_path / "kernels").rglob(kind):
        path.write_bytes(path.read_bytes()[:40])
    after = run(str(tmp_path))
    assert after.stdout == good.stdout and "is compiled again" in after.stderr
    assert "is compiled again" not in run(str(tmp_path)).stderr


@pytest.mark.fault
@pytest.mark.slow
def test_two_processes_may_compile_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "RESIDUUM_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", RUN]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert outputs[0] == outputs[1] != "" and all(process.returncode == 0 for process in both)
