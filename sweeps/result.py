"""The folder of a sweep in; what is there in numbers and words, and the results as a dataset, tables or one file, out.

Whatever is asked for is read shard by shard. Points that are still to be computed are NaN with the status PENDING.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..simulator.errors import InputError
from ..simulator.memory import require_memory
from ..simulator.report import write_whole
from ..simulator.status import Status
from .design import SweepDesign
from .folder import SweepFolder
from .shards import Block, Damaged, Foreign

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

CHUNK = 1024
"""Points of a chunk of a netCDF file, if there are as many."""


@dataclass(frozen=True)
class SweepStatus:
    """How far a sweep is.

    Attributes
    ----------
    n_points, n_shards
        Of the whole sweep.
    n_shards_done
        How many shards are there and sound.
    counts
        Number of runs by the name of their status; those still to be computed are PENDING.
    examples
        The first message of each kind of failure, with its point.
    damaged, foreign
        Files that are not as they were written, or belong to another design, with the reason.
    cpus
        Kinds of processors that computed; on several, last digits may differ between shards.
    """

    n_points: int
    n_shards: int
    n_shards_done: int
    counts: dict[str, int]
    examples: dict[str, str] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    cpus: tuple[str, ...] = ()

    @property
    def n_ok(self) -> int:
        """Number of runs that finished."""
        return self.counts.get("OK", 0)

    @property
    def n_pending(self) -> int:
        """Number of points still to be computed."""
        return self.counts.get("PENDING", 0)

    @property
    def n_failed(self) -> int:
        """Number of runs that ended without a result."""
        return self.n_points - self.n_ok - self.n_pending

    @property
    def complete(self) -> bool:
        """True if every point was computed."""
        return self.n_pending == 0

    def __str__(self) -> str:
        lines = [f"{self.n_points:,} points: {self.n_ok:,} ok, {self.n_failed:,} failed, {self.n_pending:,} pending"]
        lines[0] += f" ({self.n_shards_done:,} of {self.n_shards:,} shards)"
        for name, count in self.counts.items():
            if name not in ("OK", "PENDING"):
                lines.append(f"{count:,} {name.lower().replace('_', ' ')}, e.g. {self.examples.get(name, '')}")
        lines += [f"damaged: {what}" for what in self.damaged] + [f"of another design: {what}" for what in self.foreign]
        if len(self.cpus) > 1:
            lines.append(f"computed on {', '.join(self.cpus)}: last digits may differ between them")
        return "\n".join(lines)


class Sweep:
    """A sweep as it is in its folder.

    Attributes
    ----------
    folder
        Where its shards are.
    design
        What it runs; None where only the script that made it can make it again.
    stopped
        Why the call that returned this left points pending; empty if it did not.
    """

    def __init__(self, folder: SweepFolder, design: SweepDesign | None, stopped: str = "") -> None:
        self.folder, self.design, self.stopped = folder, design, stopped
        identity = folder.identity
        self.words: tuple[str, ...] = tuple(identity["keep"])
        """Names of the numbers kept per run; empty if all read-outs are kept at all times."""
        self.readouts, self.times = tuple(identity["readouts"]), np.array(identity["times"], float)
        self._shape = (len(self.words),) if self.words else (len(self.times), len(self.readouts))

    def __len__(self) -> int:
        return self.folder.n_points

    def __repr__(self) -> str:
        there = sum(1 for _ in self.folder.path.glob("shard-*.bin"))
        return f"<Sweep {self.folder.path}: {len(self):,} points, {there} of {self.folder.n_shards} shards>"

    def status(self) -> SweepStatus:
        """Return how far the sweep is; reads and checks every shard."""
        counts, examples, cpus = Counter[str](), dict[str, str](), dict[str, None]()
        bad: dict[type[ValueError], list[str]] = {Damaged: [], Foreign: []}
        n_done = 0
        for number in range(self.folder.n_shards):
            first, last = self.folder.bounds(number)
            try:
                found = self.folder.read(number)
            except (Damaged, Foreign) as error:
                bad[type(error)].append(f"{self.folder.file(number).name}: {error}")
                found = None
            if found is None:
                counts["PENDING"] += last - first
                continue
            header, block = found
            n_done += 1
            counts.update(header.counts)
            cpus[header.cpu] = None
            for point, message in header.messages.items():
                examples.setdefault(Status(int(block.status[point - first])).name, f"point {point}: {message}")
        ordered = {status.name: counts[status.name] for status in Status if counts[status.name]}
        return SweepStatus(
            len(self), self.folder.n_shards, n_done, ordered, examples, tuple(bad[Damaged]), tuple(bad[Foreign]),
            tuple(cpus),
        )  # fmt: skip

    def blocks(self) -> Iterator[Block]:
        """Yield what the points gave, in order, shard by shard.

        Raises
        ------
        InputError
            For a shard that is damaged, or belongs to another design, by name.
        """
        for number in range(self.folder.n_shards):
            first, last = self.folder.bounds(number)
            try:
                found = self.folder.read(number)
            except (Damaged, Foreign) as error:
                raise InputError(f"{self.folder.file(number)}: {error}; run the sweep again, which says more") from None
            if found is not None:
                yield found[1]
            else:
                n = last - first
                status = np.full(n, int(Status.PENDING), np.int8)
                yield Block(first, last, np.full((n, *self._shape), np.nan), status, {})

    # ---- as one -----------------------------------------------------------------------------------------------

    def to_dataset(self) -> xr.Dataset:
        """Return all as one Dataset: `value` over point and kept number (or time and readout), status, parameters.

        Raises
        ------
        InputError
            If it will not fit into memory; `write` needs little.
        """
        import xarray as xr

        n_names = len(self.folder.told["names"])
        require_memory(
            8.0 * len(self) * (int(np.prod(self._shape)) + n_names),
            f"the result of {len(self):,} points", "write it to a file: .write('sweep.nc')",
        )  # fmt: skip
        values, status = np.empty((len(self), *self._shape)), np.empty(len(self), np.int8)
        points = np.empty((len(self), n_names))
        for block in self.blocks():
            rows = slice(block.first, block.last)
            values[rows], status[rows] = block.values, block.status
            if self.design is not None:
                points[rows] = self.design.points.rows(block.first, block.last)
        coords = {name: (name, labels, attrs) for name, labels, attrs in self._axes()}
        variables: dict[str, Any] = {"value": (self._dims, values), "status": ("point", status, _flags())}
        if self.design is not None:
            coords["parameter"] = ("parameter", self.folder.told["names"], {})
            variables["parameters"] = (("point", "parameter"), points)
        coords["point"] = ("point", np.arange(len(self)), {})
        return xr.Dataset(variables, coords, self._attributes())

    def frames(self) -> Iterator[pd.DataFrame]:
        """Yield tidy tables, shard by shard: point, parameters, the numbers kept, status.

        Where all read-outs are kept, a row is a point at a time, with a column per read-out.
        """
        import pandas as pd

        names = self.folder.told["names"]
        for block in self.blocks():
            n, repeat = block.last - block.first, 1 if self.words else len(self.times)
            columns: dict[str, Any] = {"point": np.repeat(np.arange(block.first, block.last), repeat)}
            if self.design is not None:
                rows = np.repeat(self.design.points.rows(block.first, block.last), repeat, axis=0)
                columns |= {name: rows[:, j] for j, name in enumerate(names)}
            if not self.words:
                columns["time"] = np.tile(self.times, n)
            flat = block.values.reshape(n * repeat, -1)
            columns |= {name: flat[:, j] for j, name in enumerate(self.words or self.readouts)}
            columns["status"] = np.repeat([Status(int(s)).name for s in block.status], repeat)
            yield pd.DataFrame(columns)

    def to_frame(self) -> pd.DataFrame:
        """Return the tables of `frames` as one."""
        import pandas as pd

        numbers = len(self) * (int(np.prod(self._shape)) + 4.0 + len(self.folder.told["names"]))
        require_memory(16.0 * numbers, f"the table of {len(self):,} points", "write it to a file: .write('sweep.csv')")
        return pd.concat(self.frames(), ignore_index=True)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write all into one file, `.nc` (netCDF) or `.csv`, a shard at a time, whole or not at all; return its path.

        Raises InputError for another ending, and for a damaged shard.
        """
        path = Path(path)
        if path.suffix == ".nc":
            return write_whole(path, self._write_netcdf)
        if path.suffix == ".csv":
            return write_whole(path, self._write_csv)
        raise InputError(f"{path}: the name of the file of a sweep ends in .nc or .csv")

    def _write_csv(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            for i, frame in enumerate(self.frames()):
                frame.to_csv(file, index=False, header=i == 0)

    def _write_netcdf(self, path: Path) -> None:
        import h5netcdf
        import h5py

        rows, axes = min(len(self), CHUNK), self._axes()
        if self.design is not None:
            axes.append(("parameter", self.folder.told["names"], {}))
        with h5netcdf.File(path, "w") as file:
            file.dimensions = {"point": len(self), **{name: len(labels) for name, labels, _ in axes}}
            file.attrs.update(self._attributes())
            for name, labels, attrs in axes:
                kind = h5py.string_dtype() if name != "time" else "f8"
                axis = file.create_variable(name, (name,), kind)
                axis[:] = np.array(labels, object if name != "time" else float)
                axis.attrs.update(attrs)
            value = file.create_variable("value", self._dims, "f8", chunks=(rows, *self._shape), fillvalue=np.nan)
            status = file.create_variable("status", ("point",), "i1", chunks=(rows,))
            status.attrs.update({k: np.array(v, "i1") if isinstance(v, list) else v for k, v in _flags().items()})
            point = file.create_variable("point", ("point",), "i8", chunks=(rows,))
            if self.design is not None:
                shape = (rows, len(self.folder.told["names"]))
                parameters = file.create_variable("parameters", ("point", "parameter"), "f8", chunks=shape)
            for block in self.blocks():
                stretch = slice(block.first, block.last)
                point[stretch] = np.arange(block.first, block.last)
                value[stretch], status[stretch] = block.values, block.status
                if self.design is not None:
                    parameters[stretch] = self.design.points.rows(block.first, block.last)

    @property
    def _dims(self) -> tuple[str, ...]:
        return ("point", "kept") if self.words else ("point", "time", "readout")

    def _axes(self) -> list[tuple[str, Any, dict[str, str]]]:
        if self.words:
            return [("kept", list(self.words), {})]
        time = {"units": self.folder.told["units"]["time"]}
        return [("time", self.times, time), ("readout", list(self.readouts), {})]

    def _attributes(self) -> dict[str, Any]:
        identity = self.folder.identity
        return {
            "model": identity["model"], "design": self.folder.hash, "software": str(identity["software"]),
            "protocol": str(identity["protocol"]), "options": str(identity["options"]),
            "unit_amount": self.folder.told["units"]["amount"], "unit_time": self.folder.told["units"]["time"],
        }  # fmt: skip


def _flags() -> dict[str, Any]:
    return {"flag_values": [int(s) for s in Status], "flag_meanings": " ".join(s.name for s in Status)}


def open_sweep(folder: str | os.PathLike[str]) -> Sweep:
    """Return the sweep that a folder holds, finished or not; raises InputError if it holds none."""
    kept = SweepFolder(folder)
    return Sweep(kept, kept.design())
