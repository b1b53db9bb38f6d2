"""The dose matrix: drugs x doses, contexts, readouts and times in, a labelled Dataset of residual signalling out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.ensemble import simulate
from ..simulator.errors import InputError, unknown_name
from ..simulator.options import SolverOptions, absolute_tolerances
from ..simulator.protocol import Conditions, Segment, checked_times
from ..simulator.status import Status

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from ..simulator.compiled import CompiledModel

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
        counted in the attributes `n_failed` and `failures`, runs that were not done in `n_pending`. Where the control
        is not above the absolute tolerance there is no residual either: attribute `no_control` names the readouts.

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
    if not parameter_sets:
        raise InputError("members is empty; pass None for the nominal parameters")
    zero = {axis.parameter: 0.0 for axis in axes.values()}
    cells = {
        f"member {m}, {context}": {**member, **values}
        for m, member in enumerate(parameter_sets)
        for context, values in contexts.items()
    }
    untreated = Conditions.from_rows(compiled, {name: {**row, **zero} for name, row in cells.items()})
    if not protocol:
        _check_that_doses_act(compiled, axes, untreated)
        protocol = (Segment(-math.inf, 0.0, zero),)

    # one untreated run per member and context, then the grid with the doses running fastest; one call for all
    doses = [np.asarray(axis.doses) for axis in axes.values()]
    points = np.stack(np.meshgrid(*doses, indexing="ij"), axis=-1).reshape(-1, len(axes))
    parameters = np.repeat(untreated.parameters, 1 + len(points), axis=0)
    parameters = parameters.reshape(len(cells), 1 + len(points), compiled.n_parameters)
    parameters[:, 1:, [compiled.parameter_index(name) for name in zero]] = points
    labels = [UNTREATED, *(", ".join(f"{d} {x:g}" for d, x in zip(axes, point, strict=True)) for point in points)]
    conditions = Conditions(
        tuple(f"{cell}, {label}" for cell in cells for label in labels),
        parameters.reshape(-1, compiled.n_parameters),
        tuple(protocol),
    )
    result = simulate(compiled, t, conditions, observables=names, options=options, threads=threads, progress=progress)

    shape = (len(parameter_sets), len(contexts), *(len(d) for d in doses))
    values = result.values.reshape(*shape[:2], 1 + len(points), len(t), len(names))
    status = result.status.reshape(*shape[:2], 1 + len(points))
    control = values[:, :, :1]
    if reference != UNTREATED:
        control = control[:, [list(contexts).index(reference)]]
    known = control > _noise(compiled, names, options)
    with np.errstate(all="ignore"):
        residual = np.where(known, values[:, :, 1:] / control, np.nan)
    missing = np.isfinite(control) & ~known
    n_pending = int(np.count_nonzero(np.isin(result.status, (Status.STOPPED, Status.PENDING))))
    attributes = {
        **result.attributes,
        "reference": reference,
        "n_runs": len(conditions),
        "n_failed": int(np.count_nonzero(~result.ok)) - n_pending,
        "n_pending": n_pending,
        "failures": result.summary(),
        "no_control": "; ".join(
            f"{context}: {readout}"
            for c, context in enumerate(contexts)
            for r, readout in enumerate(names)
            if missing[:, c if reference == UNTREATED else 0, :, :, r].any()
        ),
        "interrupted": int(result.interrupted),
    }
    return _dataset(
        compiled, axes, contexts, names, t, residual.reshape(*shape, len(t), len(names)),
        values[:, :, 1:].reshape(*shape, len(t), len(names)), status[:, :, 1:].reshape(shape), attributes,
    )  # fmt: skip


def _noise(compiled: CompiledModel, readouts: Sequence[str], options: SolverOptions | None) -> Float:
    """Return, per readout, the amount below which a control is noise: the absolute tolerance of what it sums up.

    Named expressions have no such amount: there, any control above zero counts.
    """
    of_species = absolute_tolerances(compiled, options or SolverOptions())
    groups: dict[str, Sequence[tuple[int, float]]] = {name: [(i, 1.0)] for i, name in enumerate(compiled.species)}
    groups |= compiled.network.observables
    return np.array([sum(abs(w) * of_species[i] for i, w in groups.get(name, ())) for name in readouts], float)


def _check_that_doses_act(compiled: CompiledModel, axes: Mapping[str, DoseAxis], untreated: Conditions) -> None:
    """Refuse a dose that acts through an initial amount alone: equilibration without drugs would lose it."""
    fixed = np.array(compiled.network.fixed)

    def acting(parameters: Float) -> Float:
        values = compiled.values(parameters)
        rates = compiled.rate_constants(values)
        return np.hstack([rates, compiled.function_values(values), compiled.initial_amounts(parameters)[:, fixed]])

    base = untreated.parameters[:1]
    for label, axis in axes.items():
        dosed = base.copy()
        dosed[:, compiled.parameter_index(axis.parameter)] = 1.0
        moved = not np.array_equal(acting(dosed), acting(base), equal_nan=True)
        starts = not np.array_equal(compiled.initial_amounts(dosed), compiled.initial_amounts(base), equal_nan=True)
        if starts and not moved:
            raise InputError(
                f"the dose parameter {axis.parameter!r} of {label!r} only sets an initial amount: cells are first "
                "equilibrated without drugs, and it would come too late to act. Make the drug a fixed species "
                "(Initial(..., fixed=True)) or let the parameter enter a rate; or start without equilibration: "
                "protocol=[Segment(0, float('inf'))]"
            )


def _check(compiled: CompiledModel, axes: Mapping[str, DoseAxis], contexts: Mapping[str, Mapping[str, float]],
           readouts: Sequence[str], reference: str) -> None:  # fmt: skip
    if not axes or not contexts or not readouts:
        raise InputError("a dose matrix needs at least one drug, one context and one readout")
    for label, axis in axes.items():
        compiled.parameter_index(axis.parameter)
        if label in ("member", "context", "time", "readout"):
            raise InputError(f"a drug cannot be called {label!r}, which is a dimension of the matrix")
    if len(set(readouts)) < len(readouts):
        raise InputError(f"a readout was given twice: {', '.join(readouts)}")
    dosed = {axis.parameter for axis in axes.values()}
    for context, row in contexts.items():
        if clash := sorted(dosed & row.keys()):
            raise InputError(f"the context {context!r} sets {clash[0]!r}, which is a dose of the matrix")
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

    A column `member` comes first if there is more than one. The status is `NO_CONTROL` where the run finished but its
    control gave no signal (or failed) to be a fraction of.
    """
    drugs = dose_dims(matrix)
    frame = matrix[["residual", "status"]].to_dataframe().reset_index()
    frame["status"] = [Status(int(code)).name for code in frame["status"]]
    frame.loc[(frame["status"] == Status.OK.name) & frame["residual"].isna(), "status"] = "NO_CONTROL"
    unit_of_time = matrix["time"].attrs.get("units", "")
    columns = {drug: f"{drug}_{matrix[drug].attrs.get('units', '')}".rstrip("_") for drug in drugs}
    columns["time"] = f"time_{unit_of_time}" if unit_of_time and " " not in unit_of_time else "time"
    order = ["context", *drugs, "time", "readout", "residual", "status"]
    if matrix.sizes["member"] > 1:
        order.insert(0, "member")
    return frame[order].rename(columns=columns)
