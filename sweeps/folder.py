"""The folder of a sweep: a design in, the places of its shards out; which are there, sound, and being worked on.

`design.json` says which sweep the folder holds, `model.net` (and `points.npy`, for a table of points) what is needed to
take it up without the script that began it. Shards are written once, whole or not at all. Whoever computes shards holds
a lock on their numbers, which the system lifts when the process ends, however it ends.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..simulator.compiled import CompiledModel
from ..simulator.errors import InputError
from ..simulator.identity import differences, identity_hash
from ..simulator.network import parse_net
from ..simulator.shards import Block, Damaged, Foreign, Header, unpack, write_durably
from .design import SweepDesign
from .points import PointTable

SCHEMA = "residuum-sweep-1"
SHARD_SIZE = 1024
HEAD = 2**40
"""The byte whose lock is that on what is in the folder besides shards; beyond those of all shards."""


class SweepFolder:
    """The files of one sweep.

    Attributes
    ----------
    path
        The folder.
    identity, hash
        What makes the sweep this sweep, and its hash: that of the design, and how many points go into a shard.
    n_points, shard_size, n_shards
        How many there are.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a folder that holds a sweep; raises InputError if it does not."""
        self.path = Path(path)
        try:
            told = json.loads((self.path / "design.json").read_text(encoding="utf-8"))
            if told["schema"] != SCHEMA:
                raise InputError(f"{self.path} was written by another version of residuum ({told['schema']})")
            self.identity: dict[str, Any] = told["identity"]
            self.told: dict[str, Any] = told["more"]
            if identity_hash(self.identity) != told["hash"]:
                raise ValueError("checksum")
        except FileNotFoundError:
            raise InputError(f"{self.path} holds no sweep: there is no design.json in it") from None
        except OSError as error:
            raise InputError(f"cannot read {self.path / 'design.json'}: {error.strerror}") from None
        except InputError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path / 'design.json'} is damaged ({error}); remove that file and start the same sweep again: "
                "its shards stay"
            ) from None
        self.hash = identity_hash(self.identity)
        self.n_points = int(self.identity["number of points"])
        self.shard_size = int(self.identity["points per shard"])
        self.n_shards = -(-self.n_points // self.shard_size)

    @classmethod
    def of(cls, path: str | os.PathLike[str], design: SweepDesign, shard_size: int | None) -> SweepFolder:
        """Open the folder of a design, made if it is not there.

        Raises
        ------
        InputError
            If it cannot be used, or holds another sweep; says what differs.
        """
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot keep a sweep in {folder}: {error.strerror}; choose another folder") from None
        with _lock(folder, range(HEAD, HEAD + 1), wait=True):  # jobs of an array may all begin at once
            _remove(folder.glob(".[dmp]*.part"))
            if not (folder / "design.json").exists():
                cls._write(folder, design, shard_size or SHARD_SIZE)
        there = cls(folder)
        now = {**design.identity, "points per shard": shard_size or there.shard_size}
        if differ := differences(there.identity, _as_read(now)):
            raise InputError(
                f"{folder} holds another sweep: {'; '.join(differ[:8])}. "
                "Go on with what it was begun with, or choose another folder"
            )
        return there

    @staticmethod
    def _write(folder: Path, design: SweepDesign, shard_size: int) -> None:
        identity = {**design.identity, "points per shard": shard_size}
        told = {"schema": SCHEMA, "hash": identity_hash(identity), "identity": identity, "more": design.to_file()}
        try:
            if design.compiled.network.text:
                write_durably(folder / "model.net", design.compiled.network.text.encode())
            if isinstance(design.points, PointTable):
                stream = io.BytesIO()
                np.save(stream, design.points.values)
                write_durably(folder / "points.npy", stream.getvalue())
            write_durably(folder / "design.json", (json.dumps(told, indent=1) + "\n").encode())  # last: now it is one
        except OSError as error:
            raise InputError(f"cannot keep a sweep in {folder}: {error.strerror}; choose another folder") from None

    def design(self) -> SweepDesign | None:
        """Return the design, read back from the files; None where only the script that made it can make it again."""
        try:
            text = (self.path / "model.net").read_text(encoding="utf-8")
            compiled = CompiledModel(parse_net(text, self.told["name"]), self.told["units"])
            design = SweepDesign.from_identity(compiled, self.identity, lambda: np.load(self.path / "points.npy"))
        except (OSError, ValueError):
            return None
        if design is None:
            return None
        now = _as_read({**design.identity, "software": self.identity["software"]})
        return design if now == {k: v for k, v in self.identity.items() if k != "points per shard"} else None

    # ---- shards -----------------------------------------------------------------------------------------------

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first point of a shard, and the first after it."""
        return number * self.shard_size, min((number + 1) * self.shard_size, self.n_points)

    def file(self, number: int) -> Path:
        """Return the place of a shard."""
        return self.path / f"shard-{number:06d}.bin"

    def read(self, number: int) -> tuple[Header, Block] | None:
        """Return a shard, None if it is not there.

        Raises
        ------
        Damaged, Foreign
            If it is not what was written, or belongs to another design.
        """
        try:
            content = self.file(number).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Damaged(f"it cannot be read: {error.strerror}") from None
        return unpack(content, self.hash, *self.bounds(number))

    def missing(self, numbers: range) -> list[int]:
        """Return the shards that are still to be computed; a damaged one is named on standard error.

        Raises
        ------
        InputError
            If shards of another design are among them; names them.
        """
        missing, foreign = [], []
        for number in numbers:
            try:
                there = self.read(number)
            except Damaged as error:
                say(f"{self.file(number)} is damaged ({error}); its points are computed again")
                there = None
            except Foreign as error:
                foreign.append(f"{self.file(number).name} ({error})")
                continue
            if there is None:
                missing.append(number)
        if foreign:
            shown = "; ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
            raise InputError(f"{self.path} holds shards of another design: {shown}. Move them away")
        return missing

    def keep(self, number: int, content: bytes) -> None:
        """Write a finished shard; raises OSError if that is impossible."""
        write_durably(self.file(number), content)

    def part(self, which: tuple[int, int] | None) -> range:
        """Return the numbers of the shards of part `i` of `n`, counted from 0; all if None."""
        if which is None:
            return range(self.n_shards)
        i, n = which
        if not (n >= 1 and 0 <= i < n):
            raise InputError(f"the part {i}/{n} does not exist: parts of {n} are counted from 0 to {n - 1}")
        return range(i * self.n_shards // n, (i + 1) * self.n_shards // n)

    @contextmanager
    def locked(self, numbers: range) -> Iterator[None]:
        """Hold the lock on these shards; what an earlier process left half written is removed.

        Raises
        ------
        InputError
            If another process is computing some of them.
        """
        if not len(numbers):
            yield
            return
        with _lock(self.path, numbers, wait=False):
            left = self.path.glob(".shard-*.part")
            _remove(part for part in left if int(part.name.split(".")[1].removeprefix("shard-")) in numbers)
            yield


@contextmanager
def _lock(folder: Path, numbers: range, *, wait: bool) -> Iterator[None]:
    """Lock the bytes of the file `lock` with the given numbers, while the body runs."""
    try:
        file = (folder / "lock").open("ab")
    except OSError as error:
        raise InputError(f"cannot keep a sweep in {folder}: {error.strerror}; choose another folder") from None
    with file:
        with suppress(ImportError):  # on Windows, two processes would do the same work, and write the same files
            import fcntl

            try:
                fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), len(numbers), numbers.start)
            except (BlockingIOError, PermissionError):
                raise InputError(
                    f"another process is computing these shards of {folder}; wait until it ends, or stop it"
                ) from None
            except OSError as error:
                say(f"{folder} cannot be locked ({error.strerror}): see that no other process computes the same shards")
        yield


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _as_read(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity as it comes back from a file."""
    return dict(json.loads(json.dumps(identity)))


def say(text: str) -> None:
    """Print a note on standard error."""
    print(f"note: {text}", file=sys.stderr, flush=True)
