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


COMPILING = "residuum: compiling"


def run(cache_folder: Path, python_path: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    """Return what a new process with this cache prints; `python_path` holds another copy of the package."""
    environment = {**os.environ, "RESIDUUM_CACHE": str(cache_folder), "PYTHONDONTWRITEBYTECODE": "1", **changes}
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    return subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, env=environment, check=True)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a cache with all that `RUN` needs, and what `RUN` prints."""
    folder = tmp_path_factory.mktemp("warm")
    first = run(folder)
    assert first.stderr.count(COMPILING) == 1
    return folder, first.stdout


@pytest.fixture
def used(warm: tuple[Path, str], tmp_path: Path) -> Path:
    """Return a copy of the warm cache, to be spoilt."""
    return shutil.copytree(warm[0], tmp_path / "cache")


@pytest.fixture
def install(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package, as an installation would place it."""
    root = Path(residuum.__path__[0])
    for folder in ("simulator", "models", "fitting"):
        shutil.copytree(
            root / folder, tmp_path / "site" / "residuum" / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(root / "__init__.py", tmp_path / "site" / "residuum")
    return tmp_path / "site"


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
def test_an_edited_kernel_is_compiled_again(warm: tuple[Path, str], used: Path, install: Path) -> None:
    """The lowest file changes (a product is rounded before it is added to); old machine code must not be used."""
    assert run(used, install).stdout == warm[1]
    lowest = install / "residuum" / "simulator" / "simd.py"
    before = lowest.read_text()
    fused = "return builder.call(function, [a, b, c])"
    assert before.count(fused) == 1
    lowest.write_text(before.replace(fused, "return builder.fadd(builder.fmul(a, b), c)"))
    edited = run(used, install)
    assert edited.stdout != warm[1] and edited.stderr.count(COMPILING) == 1
    assert edited.stdout[:20] == warm[1][:20]  # to rounding
    lowest.write_text(before)
    again = run(used, install)
    assert again.stdout == warm[1] and again.stderr == ""


@pytest.mark.fault
@pytest.mark.slow
def test_a_read_only_install_without_a_writable_home_works_with_one_notice(
    warm: tuple[Path, str], install: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder: nothing can be made below it")
    before = {path: path.stat().st_mtime_ns for path in install.rglob("*")}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE"), str(blocked))
    done = run(Path(), install, RESIDUUM_CACHE="", **nowhere)
    for path in before:
        path.chmod(0o755)
    assert done.stdout == warm[1]
    assert done.stderr.count("cannot be written") == 1
    assert {
        path: path.stat().st_mtime_ns for path in install.rglob("*")
    } == before  # nobody is barred from writing as root


@pytest.mark.fault
@pytest.mark.slow
def test_without_a_writable_cache_results_are_the_same_with_one_notice(warm: tuple[Path, str], tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder: nothing can be made below it")
    without, with_cache = run(blocked), run(warm[0])
    assert without.stdout == with_cache.stdout == warm[1]
    assert without.stderr.count("cannot be written") == 1
    assert with_cache.stderr == ""


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.nbc", "*.nbi"])
def test_damaged_machine_code_is_made_again_with_a_notice(warm: tuple[Path, str], used: Path, kind: str) -> None:
    for path in (used / "kernels").rglob(kind):
        path.write_bytes(path.read_bytes()[:40])
    after = run(used)
    assert after.stdout == warm[1] and "is compiled again" in after.stderr
    assert run(used).stderr == ""


@pytest.mark.fault
@pytest.mark.slow
def test_two_processes_may_compile_at_once(warm: tuple[Path, str], tmp_path: Path) -> None:
    environment = {**os.environ, "RESIDUUM_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", RUN]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    for output, said in [process.communicate() for process in both]:
        assert output == warm[1]
        assert said.count(COMPILING) == 1 and said.count("\n") == 1
    assert all(process.returncode == 0 for process in both)
    assert run(tmp_path).stderr == ""
