"""Finished blocks of a long job in, one file each in a folder; the same blocks out when the job is run again.

A block is taken up only if it is whole and its runs are the same, to the last digit of every parameter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ..simulator.errors import InputError
from ..simulator.identity import checksum, differences, identity_hash, plain, software
from ..simulator.protocol import Conditions
from ..simulator.shards import Block, Damaged, Foreign, pack, unpack, write_durably

JOB = "job.json"
"""Says which job the blocks beside it are of, and has what its results carry besides numbers."""


class Blocks:
    """The finished blocks of one job, in a folder of their own.

    Attributes
    ----------
    attributes
        What the results of the job carry besides numbers; empty as long as no block is there.
    """

    def __init__(self, folder: Path, job: Mapping[str, Any], *, resume: bool) -> None:
        """Open the folder, which is made for the first block; `job` decides the numbers, in values JSON can hold.

        Raises InputError if the folder holds blocks of another job, or any without `resume`.
        """
        self.folder = folder
        self.job = json.loads(json.dumps({**job, "software": software()}))
        self.attributes: dict[str, Any] = {}
        if not any(folder.glob("block-*.bin")):
            return
        if not resume:
            raise InputError(
                f"{folder} holds finished runs of a job that was stopped: go on with it (--resume, resume=True), or "
                "remove the folder"
            )
        try:
            told = json.loads((folder / JOB).read_text(encoding="utf-8"))
            if told.pop("hash") != identity_hash(told):
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            print(f"note: {folder / JOB} is damaged or missing; all runs are computed again", file=sys.stderr)
            return
        if differ := differences(told["job"], self.job):
            self._refuse("; ".join(differ[:8]))
        self.attributes = told["attributes"]

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"{self.folder} holds finished runs of another job: {what}. Go on with that job, or remove the folder"
        )

    def _file(self, first: int) -> Path:
        return self.folder / f"block-{first:09d}.bin"

    def __contains__(self, first: int) -> bool:
        """Tell whether there is a file of the block that begins with this run."""
        return bool(self.attributes) and self._file(first).exists()

    def read(self, first: int, runs: Conditions) -> Block | None:
        """Return the block of these runs, None if it is not there; one that is damaged is named on standard error.

        Raises InputError if the block is of other runs.
        """
        path = self._file(first)
        try:
            return unpack(path.read_bytes(), self._hash(runs), first, first + len(runs))[1]
        except Foreign:
            self._refuse(f"parameters, doses or protocol of {path.name} differ")
        except (OSError, Damaged) as error:
            print(f"note: {path} is damaged ({error}); its runs are computed again", file=sys.stderr)
        return None

    def keep(self, block: Block, runs: Conditions, attributes: Mapping[str, Any]) -> None:
        """Write a finished block; raises OSError if that is impossible."""
        if not self.attributes:
            self.folder.mkdir(parents=True, exist_ok=True)
            told = {"job": self.job, "attributes": dict(attributes)}
            text = json.dumps({**told, "hash": identity_hash(told)}, indent=1)
            write_durably(self.folder / JOB, text.encode())
            self.attributes = dict(attributes)
        write_durably(self._file(block.first), pack(block, self._hash(runs)))

    def _hash(self, runs: Conditions) -> str:
        return identity_hash(
            {"job": self.job, "parameters": checksum(runs.parameters), "protocol": [*map(plain, runs.protocol)]}
        )


def remove_blocks(folder: Path) -> None:
    """Remove the blocks in a folder and in those inside it, and the folders if nothing else is there."""
    for pattern in ("block-*.bin", JOB, ".block-*.part", f".{JOB}.*.part"):
        for path in folder.rglob(pattern):
            path.unlink(missing_ok=True)
    for part in (*folder.glob("*"), folder):
        with suppress(OSError):
            part.rmdir()
