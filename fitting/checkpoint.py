"""Finished starts of a fit in, one file each; on resumption the same starts out, if they belong to the same fit.

A record is JSON with a checksum, written under a temporary name and renamed: it is there whole or not at all, and a
sound one is never written again. It says which fit it belongs to (model, tables, options, seed), so the files of a
folder stand for themselves, in any number and order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..simulator.errors import InputError
from ..simulator.options import SolverOptions
from ..simulator.report import write_whole
from .minimise import Start

if TYPE_CHECKING:
    from .objective import Problem

SCHEMA = "residuum-start-1"


def identity(problem: Problem, **settings: Any) -> dict[str, Any]:
    """Return what makes a fit this fit, by name; `settings` say how it is searched and its starting points are drawn.

    Neither the number of starts nor that of threads and processes is part of it.
    """
    tables = {field.name: getattr(problem.tables, field.name) for field in dataclasses.fields(problem.tables)}
    return {
        "model": f"{problem.compiled.name} ({problem.compiled.hash[:16]})",
        **{
            f"table of {name}": f"{len(table.frame)} rows ({_hash(table.frame.to_csv())[:16]})"
            for name, table in tables.items()
            if hasattr(table, "frame")
        },
        **beside_tables(problem),
        **settings,
    }  # fmt: skip


def beside_tables(problem: Problem) -> dict[str, str]:
    """Return what makes a problem this problem beside model and tables, by name."""
    return {
        "what the conditions stand for": _hash("" if problem.resolve is None else problem.resolve.text())[:16],
        "parameters searched for": ", ".join(problem.names),
        "solver": str(problem.experiments.options or SolverOptions()),
    }


class Checkpoint:
    """A folder of records of one fit.

    Parameters
    ----------
    folder
        Where the records are; made if it is not there.
    fit
        What `identity` returned.
    resume
        Take up the records in the folder. Otherwise it may hold none.

    Raises
    ------
    InputError
        If the folder cannot be used, or holds records and `resume` is false.
    """

    def __init__(self, folder: str | os.PathLike[str], fit: Mapping[str, Any], *, resume: bool) -> None:
        self.folder, self._fit = Path(folder), dict(fit)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot keep starts in {self.folder}: {error.strerror}; choose another folder") from None
        if (there := self._files()) and not resume:
            raise InputError(
                f"{self.folder} holds finished starts of an earlier fit ({len(there)}); "
                "resume it (--resume), or choose another folder"
            )
        self._lost = False

    def read(self) -> dict[int, Start]:
        """Return the sound starts by number; a damaged record is named on standard error and left out.

        Raises
        ------
        InputError
            If a record belongs to another fit; names what differs.
        """
        starts, elsewhere = {}, set()
        for path in self._files():
            try:
                content = _checked(path)
                start = _start(content["start"])
                if path.name != _name(start.index):
                    raise ValueError(f"it is the record of start {start.index}")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                _say(f"{path} is damaged ({_in_words(error)}); this start is searched again")
                continue
            if different := differences(content["fit"], self._fit):
                raise InputError(
                    f"{self.folder} holds starts of another fit: {'; '.join(different)}. "
                    "Resume with what it was begun with, or choose another folder"
                )
            elsewhere |= set(differences(content["platform"], _platform()))
            starts[start.index] = start
        if elsewhere:
            _say(
                f"some starts were searched elsewhere and may differ in the last digits: {'; '.join(sorted(elsewhere))}"
            )
        return starts

    def keep(self, start: Start) -> None:
        """Write the record of a finished start; if that is impossible, say so once and go on."""
        content = {"fit": self._fit, "platform": _platform(), "start": _record(start)}
        text = json.dumps({"schema": SCHEMA, "sha256": _hash(_canonical(content)), **content}, indent=1)

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())

        try:
            write_whole(self.folder / _name(start.index), write)
        except OSError as error:
            if not self._lost:
                _say(f"starts can no longer be kept in {self.folder}: {error.strerror}; the fit goes on without")
            self._lost = True

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("start-*.json"))


def _name(index: int) -> str:
    return f"start-{index:05d}.json"


def _record(start: Start) -> dict[str, Any]:
    """Return a start for JSON: arrays become lists, numbers that are not finite null. Python writes floats exactly."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.tolist()
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: plain(value) for name, value in vars(start).items()}


def _start(record: Mapping[str, Any]) -> Start:
    arrays = {name: None if record[name] is None else np.array(record[name], float) for name in ("begin", "theta")}
    absent = {"loss_first": math.nan, "loss": math.inf}
    numbers = {name: default if record[name] is None else record[name] for name, default in absent.items()}
    return Start(**{**record, **arrays, **numbers})


def _checked(path: Path) -> dict[str, Any]:
    """Return the content of a record; raises ValueError, KeyError or TypeError if it is not as it was written."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["schema"] != SCHEMA:
        raise ValueError(f"its schema is {record['schema']!r}, not {SCHEMA!r}")
    content = {name: record[name] for name in ("fit", "platform", "start")}
    if _hash(_canonical(content)) != record["sha256"]:
        raise ValueError("its checksum does not fit")
    return content


def _in_words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "it is no complete JSON"
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return `name was this, is that` for all that differs."""
    names = dict.fromkeys((*now, *then))
    return [
        f"{name} was {then.get(name, 'not given')}, is {now.get(name, 'not given')}"
        for name in names
        if then.get(name) != now.get(name)
    ]


def _platform() -> dict[str, str]:
    import scipy

    return {
        "residuum": getattr(sys.modules[__name__.partition(".")[0]], "__version__", "unknown"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _say(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
