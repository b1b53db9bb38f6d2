"""Laws of the package as a whole: what ships, what an import costs, what every file says about itself."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Folders at the top level that may hold Python without being shipped.
NOT_SHIPPED = {"tests", "benchmarks", "docs", "build", "dist"}

#: Each costs between 0.3 and 2 seconds to import, and none is needed to integrate a compiled model.
LOADED_ON_USE = ("pysb", "sympy", "matplotlib", "scipy.integrate", "pandas", "xarray")

#: A path that exists on one machine only: somebody's home, or the root of a mounted disk.
PRIVATE_PATH = re.compile(r"(?<![\w.~:/])(?:/(?:home|Users|root)/\w|[A-Z]:\\Users\\)")


@pytest.fixture(scope="module")
def checkout(project_root: Path) -> Path:
    """Return the checkout; skip where the tests were copied away from it to try an installed wheel."""
    if not (project_root / "__init__.py").is_file():
        pytest.skip("a law of the checkout; these tests run beside an installed wheel")
    return project_root


def library_folders(root: Path) -> Iterator[Path]:
    """Yield the folders under `root` that hold library code, the root itself first."""
    yield root
    for init in sorted(root.glob("*/**/__init__.py")):
        top = init.relative_to(root).parts[0]
        if top not in NOT_SHIPPED and not top.startswith(".") and not (root / top / "pyvenv.cfg").exists():
            yield init.parent


def library_files(root: Path) -> Iterator[Path]:
    """Yield every Python file that ships."""
    for folder in library_folders(root):
        yield from sorted(folder.glob("*.py"))


def tracked_files(root: Path) -> list[Path]:
    """Return the files that belong to the project: known to git, or new and not ignored."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git does not know this folder")
    return [path for name in listed.split("\0") if name and (path := root / name).is_file()]


def in_fresh_process(code: str, cwd: Path) -> str:
    """Return what `code` prints in a new interpreter, started where no checkout can shadow the package."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_packages_that_ship_are_the_folders_that_hold_code(checkout: Path) -> None:
    settings = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {".".join(("residuum", *f.relative_to(checkout).parts)) for f in library_folders(checkout)}
    assert set(settings["packages"]) == folders


def test_no_folder_of_the_library_holds_code_without_being_a_package(checkout: Path) -> None:
    for folder in ("models", "simulator", "doses", "sweeps", "fitting", "aml", "commands"):
        if any((checkout / folder).glob("*.py")):
            assert (checkout / folder / "__init__.py").is_file(), f"{folder}/ would not ship"


def test_the_library_folders_are_flat(checkout: Path) -> None:
    assert all(len(f.relative_to(checkout).parts) <= 1 for f in library_folders(checkout))


def test_the_root_holds_no_module_but_the_facade(checkout: Path) -> None:
    # Every *.py beside __init__.py would ship in the wheel.
    assert [path.name for path in checkout.glob("*.py")] == ["__init__.py"]


def test_every_file_of_the_library_begins_by_saying_what_it_is_for(checkout: Path) -> None:
    silent = [
        str(path.relative_to(checkout))
        for path in library_files(checkout)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_no_file_names_a_path_of_one_machine(checkout: Path) -> None:
    named = [
        f"{path.relative_to(checkout)}: {match.group()}"
        for path in tracked_files(checkout)
        if (match := PRIVATE_PATH.search(path.read_bytes().decode("utf-8", errors="ignore")))
    ]
    assert named == []


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("/" + "home/somebody/x", True),
        ("open('/" + "Users/somebody')", True),
        ("C:" + "\\Users\\somebody", True),
        ("https://example.org/" + "home/page", False),
        ("../" + "home/x", False),
        ("~/" + "root/x", False),
    ],
)
def test_a_path_of_one_machine_is_told_from_an_address(text: str, private: bool) -> None:
    assert bool(PRIVATE_PATH.search(text)) is private


def test_importing_the_package_loads_nothing_that_is_slow(tmp_path: Path) -> None:
    loaded = json.loads(
        in_fresh_process("import json, sys, residuum; print(json.dumps(sorted(sys.modules)))", tmp_path)
    )
    assert "residuum" in loaded
    assert [name for name in LOADED_ON_USE if name in loaded] == []


@pytest.mark.parametrize(
    "package", ["residuum", *(f"residuum.{name}" for name in ("simulator", "doses", "sweeps", "fitting", "aml"))]
)
def test_a_public_name_means_the_same_whatever_was_imported_before(package: str, tmp_path: Path) -> None:
    # A file and the function in it may share a name: importing the file puts the module where the function belongs.
    code = f"""
import importlib, pkgutil, types
package = importlib.import_module({package!r})
for folder in ("simulator", "doses", "sweeps", "fitting", "aml"):
    parent = importlib.import_module("residuum." + folder)
    for found in pkgutil.iter_modules(parent.__path__):
        importlib.import_module(parent.__name__ + "." + found.name)
print(*[name for name in package.__all__ if isinstance(getattr(package, name), types.ModuleType)])
"""
    assert in_fresh_process(code, tmp_path).split() == []


def test_the_package_says_that_it_is_typed() -> None:
    import residuum

    assert (Path(residuum.__file__).parent / "py.typed").is_file()


def test_the_command_and_the_package_agree_on_the_version(tmp_path: Path) -> None:
    import residuum

    command = Path(sysconfig.get_path("scripts")) / "residuum"
    if not command.exists():
        pytest.skip("the package is on the path but not installed: there is no command `residuum`")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert residuum.__version__ in done.stdout.split()


def test_the_map_of_the_code_names_every_file_and_no_other(checkout: Path) -> None:
    text = (checkout / "CONTRIBUTING.md").read_text(encoding="utf-8")
    heading = re.compile(r"^### `(\w+)/`", re.MULTILINE)
    mapped = set()
    for found in heading.finditer(text):
        section = text[found.end() :].split("\n###", 1)[0]
        mapped |= {f"{found[1]}/{name}.py" for name in re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)}
    there = {f"{p.parent.name}/{p.name}" for p in library_files(checkout) if p.name != "__init__.py"}
    assert mapped == there
