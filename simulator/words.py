"""Words of the command line in; the numbers, paths and models they mean out, or one line that says what was expected.

Bare numbers are nM and seconds. A unit behind the last number also holds for bare numbers before it (`10,100 uM`).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from .compiled import CompiledModel

CONCENTRATIONS = {"nM": 1.0, "pM": 1e-3, "uM": 1e3, "mM": 1e6, "M": 1e9}
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
SPELLINGS = (("\N{MICRO SIGN}", "u"), ("\N{GREEK SMALL LETTER MU}", "u"), ("mol/L", "M"), ("mol/l", "M"))
MOST = 1_000_000
"""Doses or times that one range may ask for."""
FIGURES = (".png", ".pdf", ".svg")


# ---- numbers ----------------------------------------------------------------------------------------------------


def read_quantity(text: str, units: dict[str, float], what: str) -> float:
    """Return a number with a unit in the first unit of `units`: `"2h"` is 7200 s, `"0.1 uM"` is 100 nM."""
    return read_quantities([text], units, what)[0]


def read_quantities(texts: Sequence[str], units: dict[str, float], what: str, trailing: str = "") -> list[float]:
    """Return numbers with units in the first unit of `units`; bare ones take the trailing unit.

    Raises InputError for what is no number, and for a bare number (not 0) among numbers with units of their own.
    """
    numbers, named = zip(*(_split(text, units, what) for text in texts), strict=True)
    own = named if trailing else named[:-1]
    unit = trailing or named[-1] or next(iter(units))
    for text, number, mine in zip(texts, numbers, named, strict=True):
        if any(own) and not mine and number:
            raise InputError(
                f"the {what} {text.strip()!r} has no unit where others have one; give each its own, e.g. "
                + ("10nM,100nM,1uM" if "nM" in units else "30min,2h,24h")
            )
    return [number * units[mine or unit] for number, mine in zip(numbers, named, strict=True)]


def _split(text: str, units: dict[str, float], what: str) -> tuple[float, str]:
    text = text.strip()
    unit = _unit(text, units)
    try:
        return float(text.removesuffix(unit)), unit
    except ValueError:
        known = ", ".join("uM (µM)" if u == "uM" else u for u in units)
        raise InputError(
            f"cannot read the {what} {text!r}: expected a number, with a unit or not (units: {known})"
        ) from None


def _unit(text: str, units: dict[str, float]) -> str:
    return next((u for u in sorted(units, key=len, reverse=True) if text.endswith(u)), "")


def _range(text: str, units: dict[str, float], what: str, example: str) -> tuple[float, float, int]:
    """Return low, high and count of `"LOW:HIGH/N"`, with a unit behind each bound or behind N."""
    bounds, _, count = text.partition("/")
    trailing = _unit(count.strip(), units)
    digits = count.strip().removesuffix(trailing).strip()
    if bounds.count(":") != 1 or not (digits.isascii() and digits.isdigit()) or digits in ("0", "1"):
        raise InputError(f"cannot read the {what}s {text!r}: expected {example}, N of 2 or more")
    if len(digits) > len(str(MOST)) or int(digits) > MOST:
        raise InputError(f"{text!r} asks for {digits} {what}s, more than {MOST:,}; ask for fewer")
    low, high = read_quantities(bounds.split(":"), units, what, trailing)
    return low, high, int(digits)


def read_doses(text: str) -> tuple[str, list[float]]:
    """Return drug and doses (nM) from `"gilteritinib=0,10,100 nM"` or `"gilteritinib=1:100/5"` (0 and 5 log-spaced)."""
    drug, _, values = text.partition("=")
    drug, values = drug.strip(), values.strip()
    if not drug or not values:
        raise InputError(
            f"cannot read {text!r}: expected DRUG=DOSES, e.g. gilteritinib=0,10,100 or gilteritinib=1:100/5"
        )
    for spelling, plain in SPELLINGS:
        values = values.replace(spelling, plain)
    if ":" not in values:
        return drug, [float(f"{dose:.12g}") for dose in read_quantities(values.split(","), CONCENTRATIONS, "dose")]
    low, high, count = _range(values, CONCENTRATIONS, "dose", "LOW:HIGH/N, e.g. 1:100/5 or 1nM:10uM/5")
    if not 0 < low < high < np.inf:
        raise InputError(f"cannot read the doses {values!r}: expected LOW:HIGH/N, 0 < LOW < HIGH; 0 comes by itself")
    return drug, [0.0, *(float(f"{dose:.6g}") for dose in np.geomspace(low, high, count))]


def read_times(text: str) -> list[float]:
    """Return times (s) from `"2h,24h"` or `"0:24h/49"` (evenly spaced)."""
    if ":" not in text:
        return read_quantities(text.split(","), SECONDS, "time")
    return np.linspace(*_range(text, SECONDS, "time", "START:END/N, e.g. 0:24h/49")).tolist()


def read_settings(texts: Sequence[str]) -> dict[str, float]:
    """Return parameter values from `["name=value", ...]`."""
    settings: dict[str, float] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"cannot read {text!r}: expected NAME=NUMBER") from None
        if name in settings:
            raise InputError(f"{name} was set twice")
        settings[name] = number
    return settings


# ---- paths ------------------------------------------------------------------------------------------------------


def read_folder(text: str) -> Path:
    """Return the folder to write into; raises InputError, before any work, if nothing can be written there."""
    if not text.strip():
        raise InputError("--out is empty; expected the name of a folder")
    path = Path(text)
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return path
    except OSError as error:
        raise InputError(f"the output folder {path} cannot be written: {error.strerror or error}") from None


def read_file(text: str, option: str, suffixes: Sequence[str] = ()) -> Path:
    """Return the file to write; raises InputError, before any work, if it cannot be, or ends in no known suffix."""
    path = Path(text)
    if not text.strip() or path.is_dir():
        raise InputError(f"{option} {text!r} is no file name; expected a file, e.g. courses{(*suffixes, '.csv')[0]}")
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{option} {text}: the name of such a file ends in {', '.join(suffixes)}")
    read_folder(str(path.parent))
    return path


# ---- models -----------------------------------------------------------------------------------------------------


def load_model(source: str) -> CompiledModel:
    """Return the model that a word means: a `.net` or `.bngl` file, or a Python file or module that defines `model`."""
    from .compiled import compile_model

    path = Path(source)
    if path.suffix in (".net", ".bngl"):
        return compile_model(path)
    if path.suffix != ".py" and Path(f"{source}.py").is_file():
        path = Path(f"{source}.py")
    model = getattr(_file(path) if path.suffix == ".py" else _module(source), "model", None)
    if model is None:
        raise InputError(f"{source} defines no `model`; a PySB model file ends up with a variable of that name")
    return compile_model(model)


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no model file {path}")
    name = f"_residuum_model_{path.stem}"  # not the file's own: it may be that of a module in use
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # PySB looks up the module that defines a model
    with _one_line_errors(path.parent.resolve(), str(path)):
        spec.loader.exec_module(module)
    if getattr(getattr(module, "model", None), "name", "") == name:
        module.model.name = path.stem
    return module


def _module(source: str) -> ModuleType:
    with _one_line_errors(Path.cwd(), source):
        try:
            return importlib.import_module(source)
        except (ModuleNotFoundError, TypeError, ValueError) as error:
            if isinstance(error, ModuleNotFoundError) and not f"{source}.".startswith(f"{error.name}."):
                raise
            raise InputError(
                f"cannot load {source!r}: expected aml, FILE.net, FILE.bngl, FILE.py or a Python module ({error})"
            ) from None


@contextmanager
def _one_line_errors(folder: Path, source: str) -> Iterator[None]:
    """Let a model import its neighbours in `folder`; turn what it raises into a line with file and line number."""
    sys.path.append(str(folder))  # last: a neighbour called like a library does not hide it
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]
        place = f"{source}: {frames[-1].filename}, line {frames[-1].lineno}" if frames else source
        message = (str(error).splitlines() or [""])[0]
        if isinstance(error, SyntaxError):
            place, message = f"{error.filename}, line {error.lineno}", error.msg
        raise InputError(f"the model cannot be loaded: {place}: {type(error).__name__}: {message}") from None
    finally:
        sys.path.remove(str(folder))
