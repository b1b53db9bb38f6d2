"""The dose matrix: drugs x doses, contexts, readouts and times in, a labelled Dataset of residual signalling out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .ensemble import SolverOptions, simulate
from .errors import InputError, unknown_name
from .protocol import Conditions, Segment, checked_times
from .status import Status

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from .compiled import CompiledModel

Float = npt.NDArray[np.float64]
UNTREATED = "untreated"


@dataclass(frozen=True)
class DoseAxis:
    """One axis of a dose matrix: which parameter holds the dose, and its values, shape (n_doses,).

    Raises InputError unless the doses are finite, not negative, and increase strictly.
    """

    parameter: str
    doses: npt.ArrayLike
    unit: str = "nM"
    drug: str = ""

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


def dose_matrix(
    compiled: CompiledModel,
    drugs: Mapping[str, DoseAxis | npt.ArrayLike],
    contexts: Mapping[str, Mapping[str, float]],
    readouts: Sequence[str],
    times: npt.ArrayLike,
    *,
    members: Sequence[Mapping[str, float]] | None = None,
    protocol: Sequence[Segment] = (),
    reference: str = UNTREATED,
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Return the signalling left under every combination of doses, in every context, as a fraction of a control.

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
        Parameter sets of an ensemble, each `{parameter: value}`, applied before the context; one nominal set if None.
    protocol
        Time segments. If empty, each run is brought to steady state without drugs, which are then present from
        time 0 on. A protocol given here replaces this: include a segment from -inf to pre-equilibrate.
    reference
        Control that `residual` is a fraction of: `"untreated"` (no drug, same context, member and time) or the name
        of a context, whose untreated run is taken for all.
    options, threads, progress
        As in `simulate`.

    Returns
    -------
    xarray.Dataset
        Dims (member, context, <drug>..., time, readout). Variables `residual` (fraction of the control),
        `value` (model units) and, without time and readout, `status` (codes of `Status`). Failed runs are NaN and
        counted in the attributes `n_failed` and `failures`.

    Raises
    ------
    InputError
        For wrong names, doses or times, before any run starts.
    """
    t = checked_times(times)
    axes = {label: axis if isinstance(axis, DoseAxis) else DoseAxis(label, axis) for label, axis in drugs.items()}
    _check(compiled, axes, contexts, readouts, reference)
    parameter_sets = [{}] if members is None else list(members)
    if not parameter_sets:
        raise InputError("members is empty; pass None for the nominal parameters")
    doses = [np.asarray(axis.doses) for axis in axes.values()]
    zero = dict.fromkeys((axis.parameter for axis in axes.values()), 0.0)
    shape = (len(parameter_sets), len(contexts), *(len(d) for d in doses))

    # one untreated run per member and context, then the grid; one call for all
    rows: dict[str, dict[str, float]] = {}
    for m, member in enumerate(parameter_sets):
        for context, values in contexts.items():
            rows[f"{m} | {context} | {UNTREATED}"] = {**member, **values, **zero}
    for m, member in enumerate(parameter_sets):
        for context, values in contexts.items():
            for point in itertools.product(*doses):
                label = ", ".join(f"{drug} {dose:g}" for drug, dose in zip(axes, point, strict=True))
                given = dict(zip(zero, map(float, point), strict=True))
                rows[f"{m} | {context} | {label}"] = {**member, **values, **given}
    segments = tuple(protocol) or (Segment(-math.inf, 0.0, zero),)
    conditions = Conditions.from_rows(compiled, rows, segments)
    result = simulate(
        compiled, t, conditions, observables=readouts, options=options, threads=threads, progress=progress
    )

    n_controls = shape[0] * shape[1]
    control = result.values[:n_controls].reshape(shape[0], shape[1], *[1] * len(doses), len(t), len(readouts))
    if reference != UNTREATED:
        control = control[:, [list(contexts).index(reference)]]
    value = result.values[n_controls:].reshape(*shape, len(t), len(readouts))
    with np.errstate(all="ignore"):
        residual = np.where(control > 0, value / control, np.nan)
    status = result.status[n_controls:].reshape(shape)
    attributes = {
        **result.attributes,
        "reference": reference,
        "n_runs": len(rows),
        "n_failed": int(np.count_nonzero(~result.ok)),
        "failures": result.summary(),
        "interrupted": int(result.interrupted),
    }
    return _dataset(compiled, axes, contexts, readouts, t, residual, value, status, attributes)


def _check(compiled: CompiledModel, axes: Mapping[str, DoseAxis], contexts: Mapping[str, Mapping[str, float]],
           readouts: Sequence[str], reference: str) -> None:  # fmt: skip
    if not axes or not contexts or not readouts:
        raise InputError("a dose matrix needs at least one drug, one context and one readout")
    for label, axis in axes.items():
        compiled.parameter_index(axis.parameter)
        if label in ("member", "context", "time", "readout"):
            raise InputError(f"a drug cannot be called {label!r}, which is a dimension of the matrix")
    if len({axis.parameter for axis in axes.values()}) < len(axes):
        raise InputError("two drugs share one dose parameter; give each its own")
    for readout in readouts:
        if readout not in compiled.observables and readout not in compiled.species:
            raise unknown_name("readout", readout, compiled.observables)
    if reference != UNTREATED and reference not in contexts:
        raise unknown_name("reference", reference, (UNTREATED, *contexts))


def _dataset(compiled: CompiledModel, axes: Mapping[str, DoseAxis], contexts: Mapping[str, Any],
             readouts: Sequence[str], times: Float, residual: Float, value: Float,
             status: npt.NDArray[np.int64], attributes: Mapping[str, Any]) -> xr.Dataset:  # fmt: skip
    import xarray as xr

    grid = ("member", "context", *axes)
    dose_coordinates = {
        label: (label, np.asarray(axis.doses), {"units": axis.unit, "role": "dose", "parameter": axis.parameter})
        for label, axis in axes.items()
    }
    flags = {"flag_values": [int(s) for s in Status], "flag_meanings": " ".join(s.name for s in Status)}
    return xr.Dataset(
        {
            "residual": ((*grid, "time", "readout"), residual, {"units": "1", "long_name": "fraction of the control"}),
            "value": ((*grid, "time", "readout"), value, {"units": compiled.units["amount"]}),
            "status": (grid, status, flags),
        },
        coords={
            "member": np.arange(residual.shape[0]),
            "context": list(contexts),
            **dose_coordinates,
            "time": ("time", times, {"units": compiled.units["time"]}),
            "readout": list(readouts),
        },
        attrs=dict(attributes),
    )


def dose_dims(matrix: xr.Dataset | xr.DataArray) -> tuple[str, ...]:
    """Return the dimensions of a dose matrix that are drugs, in order."""
    return tuple(str(d) for d in matrix.dims if d in matrix.coords and matrix[d].attrs.get("role") == "dose")


def to_frame(matrix: xr.Dataset) -> pd.DataFrame:
    """Return a dose matrix as a tidy table: context, one column per drug and unit, time, readout, residual, status.

    A column `member` comes first if there is more than one.
    """
    drugs = dose_dims(matrix)
    frame = matrix[["residual", "status"]].to_dataframe().reset_index()
    frame["status"] = [Status(int(code)).name for code in frame["status"]]
    unit_of_time = matrix["time"].attrs.get("units", "")
    columns = {drug: f"{drug}_{matrix[drug].attrs.get('units', '')}".rstrip("_") for drug in drugs}
    columns["time"] = f"time_{unit_of_time}" if unit_of_time and " " not in unit_of_time else "time"
    order = ["context", *drugs, "time", "readout", "residual", "status"]
    if matrix.sizes["member"] > 1:
        order.insert(0, "member")
    return frame[order].rename(columns=columns)
