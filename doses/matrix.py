"""The dose matrix: drugs x doses, contexts, members, readouts and times in; what signalling is left, labelled, out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from ..simulator.options import SolverOptions
from ..simulator.protocol import Segment, checked_times
from ..simulator.report import write_whole
from ..simulator.status import Status
from . import analysis
from .dosing import Dosing, Piece
from .runs import Overrides, Runs, cells_of, noise_of, run_cells, schedule_of
from .weighted import checked_weights

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]
UNTREATED = "untreated"
SCHEMA = "residuum-matrix-1"
RESERVED = ("member", "context", "time", "readout", "parameter", "quantile", "value", "control", "status",
            "control_status", "weight", "noise", "member_value", "residual", "side", "crossings",
            "known")  # fmt: skip
"""Names of dimensions and variables, which no drug can have."""


@dataclass(frozen=True)
class DoseAxis:
    """One axis of a dose matrix: which parameter holds the dose, and its values, shape (n_doses,).

    Raises InputError unless the doses are finite, not negative, and increase strictly.
    """

    parameter: str
    doses: npt.ArrayLike
    unit: str = "nM"
    drug: str = ""
    """Name for messages; the parameter's if empty."""

    def __post_init__(self) -> None:
        name = self.drug or self.parameter
        try:
            doses = np.atleast_1d(np.asarray(self.doses, float))
        except (TypeError, ValueError):
            raise InputError(f"doses of {name} must be numbers, given {self.doses!r}") from None
        if doses.ndim != 1 or not doses.size or not np.all(np.isfinite(doses)):
            raise InputError(f"doses of {name} must be a list of finite numbers, given {doses.tolist()}")
        if np.any(doses < 0):
            raise InputError(f"doses of {name} must not be negative, given {doses[doses < 0][0]:g}")
        if np.any(np.diff(doses) <= 0):
            raise InputError(f"doses of {name} must increase without repeats, given {doses.tolist()}")
        object.__setattr__(self, "doses", doses)


@dataclass(frozen=True)
class DoseMatrix:
    """What is left of signalling under every combination of doses, per member, context, time and readout.

    Attributes
    ----------
    dataset : xarray.Dataset
        `value` (member, context, <drug>..., time, readout) in units of the model; `control` (member, context, time,
        readout), the same without drugs; `status` and `control_status`, codes of `Status`, without time and readout;
        `noise` (readout), at or below which a control is no signal; `weight` (member), which sum to 1; and, if the
        matrix has an ensemble, `member_value` (member, parameter). Coordinates carry units; the attributes tell model,
        versions, solver and protocol, and how many runs failed.
    """

    dataset: xr.Dataset

    def __post_init__(self) -> None:
        drugs, given = dose_dims(self.dataset), self.dataset
        grid = ("member", "context", *drugs)
        dims = {
            "value": (*grid, "time", "readout"), "status": grid, "control": (*grid[:2], "time", "readout"),
            "control_status": grid[:2], "noise": ("readout",), "weight": ("member",),
        }  # fmt: skip
        for name, expected in dims.items():
            if name not in given or given[name].dims != expected:
                found = given[name].dims if name in given else "no such variable"
                raise InputError(f"no dose matrix: {name} should have the dimensions {expected}, found {found}")
        if not drugs:
            raise InputError("no dose matrix: none of its dimensions is a drug")

    @property
    def drugs(self) -> tuple[str, ...]:
        """Names of the drugs, in order."""
        return dose_dims(self.dataset)

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of the contexts."""
        return tuple(map(str, self.dataset["context"].values))

    @property
    def readouts(self) -> tuple[str, ...]:
        """Names of the readouts."""
        return tuple(map(str, self.dataset["readout"].values))

    @property
    def times(self) -> Float:
        """Times after the drugs, (n_times,)."""
        return np.asarray(self.dataset["time"].values, float)

    @property
    def reference(self) -> str:
        """The control that `residual` is a fraction of, unless told otherwise."""
        return str(self.dataset.attrs.get("reference", UNTREATED))

    @property
    def members(self) -> list[dict[str, float]]:
        """Parameter values of each member, as they were given; empty where there was no ensemble."""
        if "member_value" not in self.dataset:
            return [{} for _ in range(self.dataset.sizes["member"])]
        names = [str(name) for name in self.dataset["parameter"].values]
        return [
            {name: float(value) for name, value in zip(names, row, strict=True) if not np.isnan(value)}
            for row in self.dataset["member_value"].values
        ]

    @property
    def dosing(self) -> dict[str, Dosing]:
        """When drugs are there that are not there all the time; InputError under a protocol of one's own."""
        if not (stored := self.dataset.attrs.get("dosing", "")):
            raise InputError("the matrix was made under a protocol of its own, which is not kept with it")
        pieces = json.loads(stored)
        return {drug: Dosing(tuple(Piece(*each) for each in given)) for drug, given in pieces.items()}

    def __repr__(self) -> str:
        n_doses = " x ".join(f"{self.dataset.sizes[drug]} {drug}" for drug in self.drugs)
        n = {name: self.dataset.sizes[name] for name in ("context", "member", "time", "readout")}
        return f"<DoseMatrix {n_doses}; {', '.join(f'{k} {name}s' for name, k in n.items())}; {self.summary()}>"

    def summary(self) -> str:
        """Return how many runs there were, how many failed and why, and how long they took."""
        attributes = self.dataset.attrs
        return f"{attributes['failures']}; {float(attributes['seconds']):.3g} s"

    def residual(self, reference: str | None = None) -> xr.DataArray:
        """Return `value` as a fraction of the untreated control at the same time: dims of `value`.

        `reference` is `"untreated"`, the control of the same context, or the name of a context, whose control is taken
        for all; if None, the one that the matrix was made with. NaN where the run or its control failed, and where the
        control is no signal to be a fraction of.
        """
        control, reference = self._control(reference)
        value = self.dataset["value"]
        left = (value / control.where(control > self.dataset["noise"])).transpose(*value.dims)
        left = left.assign_coords({name: self.dataset[name] for name in left.coords})  # with units and roles
        return left.rename("residual").assign_attrs(units="1", long_name="fraction of the control", reference=reference)

    def without_control(self, reference: str | None = None) -> tuple[str, ...]:
        """Return `context: readout` where, in some member, the control gives no signal: no fraction of it is told."""
        control, _ = self._control(reference)
        silent = (control.notnull() & ~(control > self.dataset["noise"])).any(["member", "time"])
        return tuple(
            f"{context}: {readout}"
            for context in self.contexts
            for readout in self.readouts
            if bool((silent.sel(context=context) if "context" in silent.dims else silent).sel(readout=readout))
        )

    def _control(self, reference: str | None) -> tuple[xr.DataArray, str]:
        reference, control = reference or self.reference, self.dataset["control"]
        if reference == UNTREATED:
            return control, reference
        if reference not in self.contexts:
            raise unknown_name("reference", reference, (UNTREATED, *self.contexts))
        return control.sel(context=reference, drop=True), reference

    # ---- what follows from it ---------------------------------------------------------------------------------

    def ic50(self, drug: str, *, level: float = 0.5, reference: str | None = None) -> xr.Dataset:
        """Return the dose of `drug` at which `level` is left, per member, context and dose of the others.

        See `doses.analysis.crossing`.
        """
        return analysis.crossing(self.residual(reference), self._drug(drug), level)

    def area(self, drug: str, *, reference: str | None = None) -> xr.DataArray:
        """Return the mean of what is left over the logarithm of the dose of `drug`: see `doses.analysis.area`."""
        return analysis.area(self.residual(reference), self._drug(drug))

    def contour(self, level: float, *, readout: str | None = None, time: float | None = None,
                reference: str | None = None) -> pd.DataFrame:  # fmt: skip
        """Return the combinations of two drugs that leave `level`: one row per point, see `doses.analysis.contour`.

        The first readout and the last time if None.
        """
        readout, time = self.readouts[0] if readout is None else readout, self.times[-1] if time is None else time
        if readout not in self.readouts:
            raise unknown_name("readout of the matrix", readout, self.readouts)
        if time not in self.times:
            raise InputError(f"the matrix has no time {time}; its times are {', '.join(f'{t:g}' for t in self.times)}")
        return analysis.contour(self.residual(reference).sel(readout=readout, time=time), level)

    def bands(
        self, quantiles: Sequence[float] = analysis.QUANTILES, *, reference: str | None = None
    ) -> xr.Dataset:  # fmt: skip
        """Return quantiles of what is left over the members: see `doses.analysis.bands`."""
        return analysis.bands(self.residual(reference), quantiles)

    def synergy(self, model: str, *, structural: Collection[str] | None = None) -> xr.DataArray:
        """Return the excess over a null model, per member: see `doses.synergy.score`."""
        from .synergy import score

        return score(self.residual(), model, structural=structural)

    def _drug(self, drug: str) -> str:
        if drug not in self.drugs:
            raise unknown_name("drug of the matrix", drug, self.drugs)
        return drug

    # ---- files ------------------------------------------------------------------------------------------------

    def to_frame(self, *, reference: str | None = None) -> pd.DataFrame:
        """Return a tidy table: context, one column per drug and unit, time, readout, residual, status.

        Columns `member` and `weight` come first if there is more than one member. The status is `NO_CONTROL` where the
        run finished but its control gave no signal (or failed) to be a fraction of.
        """
        drugs, dataset = self.drugs, self.dataset
        left = self.residual(reference)
        frame = left.to_dataframe().reset_index()
        status = dataset["status"].broadcast_like(left).transpose(*left.dims).to_numpy().ravel()
        names = np.array([s.name for s in Status], dtype=object)
        frame["status"] = np.where((status == Status.OK) & frame["residual"].isna(), "NO_CONTROL", names[status])
        unit_of_time = dataset["time"].attrs.get("units", "")
        columns = {drug: f"{drug}_{dataset[drug].attrs.get('units', '')}".rstrip("_") for drug in drugs}
        columns["time"] = f"time_{unit_of_time}" if unit_of_time and " " not in unit_of_time else "time"
        order = ["context", *drugs, "time", "readout", "residual", "status"]
        if dataset.sizes["member"] > 1:
            order = ["member", "weight", *order]
        return frame[order].rename(columns=columns)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the matrix as netCDF (`.nc`), whole or not at all; return the path."""
        target = Path(path)
        if target.suffix != ".nc":
            raise InputError(f"{target} should end in .nc, as which a matrix is written; to_frame() gives a table")
        target.parent.mkdir(parents=True, exist_ok=True)
        dataset = self.dataset.assign_attrs(schema=SCHEMA, sha256=_checksum(self.dataset))
        return write_whole(target, lambda part: dataset.to_netcdf(part, engine="h5netcdf"))


def load_matrix(path: str | PathLike[str]) -> DoseMatrix:
    """Return the matrix in a file that `DoseMatrix.save` wrote.

    Raises
    ------
    InputError
        If the file is not there, holds something else, is damaged or was written in a format not known here.
    """
    import xarray as xr

    source = Path(path)
    if not source.is_file():
        raise InputError(f"{source} does not exist; give the file that DoseMatrix.save wrote")
    try:
        with xr.open_dataset(source, engine="h5netcdf") as opened:
            dataset = opened.load()
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise InputError(f"{source} cannot be read as netCDF ({error}); it is damaged or something else") from None
    if (schema := dataset.attrs.pop("schema", None)) != SCHEMA:
        advice = "update residuum" if str(schema).startswith("residuum-matrix-") else "give the file of a dose matrix"
        raise InputError(f"{source} has the format {schema!r}, this version reads {SCHEMA!r}; {advice}")
    checksum = dataset.attrs.pop("sha256", None)
    try:
        matrix = DoseMatrix(dataset)
    except InputError as error:
        raise InputError(f"{source} is damaged: {error}") from None
    if checksum != _checksum(dataset):
        raise InputError(f"{source} is damaged: its content does not have its checksum; make the matrix again")
    return matrix


def _checksum(dataset: xr.Dataset) -> str:
    """Return the checksum of all numbers, names and attributes, the same before and after they are in a file."""

    def told(given: Mapping[Any, Any]) -> bytes:
        return json.dumps({key: np.asarray(value).tolist() for key, value in given.items()}, sort_keys=True).encode()

    digest = hashlib.sha256(told(dataset.attrs))
    for name in sorted(map(str, dataset.variables)):
        held, numbers = dataset[name], dataset[name].to_numpy()
        digest.update(told({"name": name, "dims": held.dims}) + told(held.attrs))
        digest.update(numbers.tobytes() if numbers.dtype.kind in "fiu" else told({"values": numbers}))
    return digest.hexdigest()


def dose_matrix(
    compiled: CompiledModel,
    drugs: Mapping[str, DoseAxis | npt.ArrayLike],
    contexts: Mapping[str, Mapping[str, float]],
    readouts: Sequence[str],
    times: npt.ArrayLike,
    *,
    members: Sequence[Mapping[str, float]] | None = None,
    weights: npt.ArrayLike | None = None,
    overrides: Overrides | None = None,
    dosing: Mapping[str, Dosing] | None = None,
    protocol: Sequence[Segment] = (),
    reference: str = UNTREATED,
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
) -> DoseMatrix:
    """Return the signalling left under every combination of doses, in every context and member of an ensemble.

    Parameters
    ----------
    compiled
        The model; all conditions run on it without recompilation.
    drugs
        Label of each drug -> its `DoseAxis`, or plain doses if the label is itself a parameter of the model.
    contexts
        Name of each context -> parameter values that make it (genotype, stroma, abundances, ...).
    readouts
        Observables or named expressions of the model.
    times : (n_times,)
        Model times after the drugs are added.
    members
        Parameter sets of an ensemble, each `{parameter: value}` with none that a context sets; one nominal set if None.
    weights : (n_members,)
        Of the members; equal if None.
    overrides
        Where `members` are not parameters of the model: a function of a member and the name of a context that returns
        `{parameter: value}`, applied after the context.
    dosing
        Drug -> when it is there: each run is brought to steady state without drugs, which are then present from time
        0 on at their doses, unless told here.
    protocol
        Time segments that replace this: include a segment from -inf to pre-equilibrate.
    reference
        Control that `residual` is a fraction of if not told otherwise: `"untreated"` (no drug, same context, member
        and time) or the name of a context, whose untreated run is taken for all.
    options, threads, progress
        As in `simulate`.
    checkpoint
        Folder in which finished blocks of about 8,000 runs are kept: the same call, after whatever stopped it, computes
        the others only and gives the same numbers to the last bit. None for none. It is not removed.
    resume
        Take up what is there; otherwise the folder may hold no runs.

    Returns
    -------
    DoseMatrix
        Failed runs are NaN and counted; after Ctrl-C so are the runs that were not done. Where the control is not
        above the absolute tolerance there is no residual either.

    Raises
    ------
    InputError
        For wrong names, doses or times, before any run starts.
    """
    t = checked_times(times)
    names = list(readouts)
    axes = {
        label: axis if isinstance(axis, DoseAxis) else DoseAxis(label, axis, compiled.units["amount"])
        for label, axis in drugs.items()
    }
    _check(compiled, axes, contexts, names, reference)
    parameter_sets = [{}] if members is None else list(members)
    parameters = {label: axis.parameter for label, axis in axes.items()}
    cells = cells_of(compiled, contexts, parameter_sets, parameters, overrides)
    weight = checked_weights(weights, len(parameter_sets))
    schedule = schedule_of(compiled, parameters, cells, float(t[-1]), tuple(protocol), dosing)

    # one untreated run per cell, then the grid with the last drug's doses running fastest
    doses = [np.asarray(axis.doses) for axis in axes.values()]
    grid = np.stack(np.meshgrid(*doses, indexing="ij"), axis=-1).reshape(-1, len(axes))
    points = np.vstack([np.zeros(len(axes)), grid])
    runs = run_cells(compiled, cells, parameters, points, t, names, schedule, options=options, threads=threads,
                     progress=progress, checkpoint=checkpoint, resume=resume)  # fmt: skip
    attributes = {
        **runs.told,
        "reference": reference,
        "protocol": _protocol_words(protocol, dosing or {}),
        "dosing": ""
        if protocol
        else json.dumps(
            {drug: [dataclasses.astuple(piece) for piece in given.pieces] for drug, given in (dosing or {}).items()}
        ),
    }
    dataset = _dataset(compiled, axes, contexts, names, t, runs, weight, noise_of(compiled, names, options))
    if members is not None:
        dataset = dataset.merge(_member_values(parameter_sets))
    return DoseMatrix(dataset.assign_attrs(attributes))


def _protocol_words(protocol: Sequence[Segment], dosing: Mapping[str, Dosing]) -> str:
    if protocol:
        held = (f"[{s.start:g}, {s.end:g}) sets {', '.join(s.set) or 'nothing'}" for s in protocol)
        return f"as given: {'; '.join(held)}"
    constant = "; ".join(f"{drug} on {when}" for drug, when in dosing.items())
    return f"equilibrated without drugs, then at constant doses{', but ' if constant else ''}{constant}"


def _check(compiled: CompiledModel, axes: Mapping[str, DoseAxis], contexts: Mapping[str, Mapping[str, float]],
           readouts: Sequence[str], reference: str) -> None:  # fmt: skip
    if not axes or not contexts or not readouts:
        raise InputError("a dose matrix needs at least one drug, one context and one readout")
    for label, axis in axes.items():
        compiled.parameter_index(axis.parameter)
        if label in RESERVED:
            raise InputError(f"a drug cannot be called {label!r}, which is a dimension or variable of the matrix")
    if len({label.casefold() for label in axes}) < len(axes):
        raise InputError(f"two drugs have the same name: {', '.join(axes)}; give each drug once, with all its doses")
    if len(set(readouts)) < len(readouts):
        raise InputError(f"a readout was given twice: {', '.join(readouts)}")
    if len({axis.parameter for axis in axes.values()}) < len(axes):
        raise InputError("two drugs share one dose parameter; give each its own")
    for readout in readouts:
        if readout not in compiled.observables and readout not in compiled.species:
            raise unknown_name("readout", readout, compiled.observables)
    if reference != UNTREATED and reference not in contexts:
        raise unknown_name("reference", reference, (UNTREATED, *contexts))


def _dataset(compiled: CompiledModel, axes: Mapping[str, DoseAxis], contexts: Mapping[str, Any],
             readouts: Sequence[str], times: Float, runs: Runs, weight: Float, noise: Float) -> xr.Dataset:  # fmt: skip
    import xarray as xr

    grid = ("member", "context", *axes)
    n_doses = tuple(len(np.asarray(axis.doses)) for axis in axes.values())
    values = runs.values.reshape(len(weight), len(contexts), -1, len(times), len(readouts))
    status = runs.status.reshape(len(weight), len(contexts), -1)
    dose_coordinates = {
        label: (label, np.asarray(axis.doses), {"units": axis.unit, "role": "dose", "parameter": axis.parameter})
        for label, axis in axes.items()
    }
    flags = {"flag_values": [int(s) for s in Status], "flag_meanings": " ".join(s.name for s in Status)}
    units = {"units": compiled.units["amount"]}
    on_grid = values[:, :, 1:].reshape(*values.shape[:2], *n_doses, *values.shape[3:])
    return xr.Dataset(
        {
            "value": ((*grid, "time", "readout"), on_grid, units),
            "status": (grid, status[:, :, 1:].reshape(*status.shape[:2], *n_doses), flags),
            "control": (("member", "context", "time", "readout"), values[:, :, 0], units),
            "control_status": (("member", "context"), status[:, :, 0], flags),
            "noise": ("readout", noise, units),
        },
        coords={
            "member": np.arange(len(weight)),
            "weight": ("member", weight),
            "context": list(contexts),
            **dose_coordinates,
            "time": ("time", times, {"units": compiled.units["time"]}),
            "readout": list(readouts),
        },
    )


def _member_values(members: Sequence[Mapping[str, float]]) -> xr.Dataset:
    import xarray as xr

    names = list(dict.fromkeys(name for member in members for name in member))
    values = [[float(member.get(name, math.nan)) for name in names] for member in members]
    return xr.Dataset(
        {"member_value": (("member", "parameter"), np.array(values).reshape(len(members), len(names)))},
        coords={"parameter": names},
    )


def dose_dims(matrix: xr.Dataset | xr.DataArray) -> tuple[str, ...]:
    """Return the dimensions that are drugs, in order."""
    return tuple(str(d) for d in matrix.dims if d in matrix.coords and matrix[d].attrs.get("role") == "dose")
