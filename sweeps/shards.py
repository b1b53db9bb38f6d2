"""Shards: what a stretch of points gave in, one file of bytes out; the same back from a file, or what is wrong with it.

A file is one line of JSON and the numbers after it, values as little-endian doubles and a byte of status per run. The
line says which design and which points they belong to, and has the checksum of all. The same runs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..simulator.status import Status

SCHEMA = "residuum-shard-1"


class Block(NamedTuple):
    """What the points from `first` to before `last` gave."""

    first: int
    last: int
    values: npt.NDArray[np.float64]
    """(last - first, *shape of what is kept of a run); NaN from the failing time on where the status is not OK."""
    status: npt.NDArray[np.int8]
    messages: Mapping[int, str]
    """How runs ended that are not OK, by number of the point."""


class Damaged(ValueError):
    """A shard is not as it was written; the message says in which way."""


class Foreign(ValueError):
    """A shard is sound and belongs to another design."""


class Header(NamedTuple):
    """The line at the head of a shard."""

    design: str
    first: int
    last: int
    shape: tuple[int, ...]
    counts: dict[str, int]
    """Number of runs by the name of their status."""
    messages: dict[int, str]
    cpu: str


def pack(block: Block, design: str) -> bytes:
    """Return the content of a shard's file; `design` is the hash that it belongs to."""
    codes, numbers = np.unique(block.status, return_counts=True)
    body = np.ascontiguousarray(block.values, "<f8").tobytes() + np.ascontiguousarray(block.status, "i1").tobytes()
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "design": design,
        "first": block.first,
        "last": block.last,
        "shape": block.values.shape[1:],
        "counts": {Status(int(code)).name: int(n) for code, n in zip(codes, numbers, strict=True)},
        "messages": {str(i): text for i, text in sorted(block.messages.items())},
        "cpu": _cpu(),
    }
    return json.dumps({**line, "sha256": _checksum(line, body)}).encode() + b"\n" + body


def unpack(content: bytes, design: str, first: int, last: int) -> tuple[Header, Block]:
    """Return what a shard's file holds; it has to be that of the given points.

    Raises
    ------
    Damaged
        If it is not complete, or not what was written.
    Foreign
        If it was written for another design.
    """
    text, newline, body = content.partition(b"\n")
    try:
        line = json.loads(text)
        checksum = line.pop("sha256")
        if line["schema"] != SCHEMA:
            raise Damaged(f"its schema is {line['schema']!r}, not {SCHEMA!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise error if isinstance(error, Damaged) else Damaged("it does not begin as a shard does") from None
    if not newline or _checksum(line, body) != checksum:
        raise Damaged("its checksum does not fit")
    messages = {int(i): text for i, text in line["messages"].items()}
    header = Header(line["design"], line["first"], line["last"], tuple(line["shape"]), line["counts"], messages,
                    line["cpu"])  # fmt: skip
    if header.design != design:
        raise Foreign(f"it belongs to the design {header.design[:16]}, not {design[:16]}")
    if (header.first, header.last) != (first, last):
        raise Damaged(f"it holds the points {header.first} to {header.last - 1}")
    n = last - first
    values = np.frombuffer(body, "<f8", count=n * int(np.prod(header.shape)))
    status = np.frombuffer(body, "i1", offset=values.nbytes)
    return header, Block(first, last, values.reshape(n, *header.shape), status, messages)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, after a power cut too; raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the name, too; where folders cannot be synchronised, it is in time
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _checksum(line: Mapping[str, Any], body: bytes) -> str:
    digest = hashlib.sha256(json.dumps(line, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _cpu() -> str:
    """Return the kind of processor: on another kind, last digits may differ."""
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())
