"""Treatments, contexts and members of an ensemble go in; what each treatment leaves, and their order, come out.

A treatment is whatever a caller calls one: a name for which it gives parameter values. Each run starts at rest without
treatment, which is then there from time 0 on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.ensemble import simulate
from ..simulator.errors import InputError, unknown_name
from ..simulator.options import SolverOptions
from ..simulator.progress import progress_bar
from ..simulator.protocol import Conditions, Segment, checked_times
from ..simulator.status import Status
from .weighted import checked_weights, quantiles, share

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]
AT_ONCE = 8192
"""Runs in one call of the solver, so that memory stays bounded."""
QUANTILES = (0.05, 0.5, 0.95)
UNTREATED = "untreated"
SEARCHED = (1e-4, 1e7)
"""Doses between which one is looked for."""
PER_DECADE, ZOOMS = 4, 3


def compare(
    compiled: CompiledModel,
    contexts: Sequence[str],
    treatments: Sequence[str],
    readouts: Sequence[str],
    time: float,
    cell: Callable[[int, str], Mapping[str, float]],
    given: Callable[[int, str, str], Mapping[str, float]],
    *,
    weights: npt.ArrayLike = (1.0,),
    at_rest: Mapping[str, float] | None = None,
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Return what is left of the read-outs under every treatment, in every context, for every member.

    Parameters
    ----------
    compiled
        The model.
    contexts, treatments, readouts
        Names; read-outs are those of the model.
    time
        At which is read, after the treatment began.
    cell
        Member and context -> parameter values without treatment.
    given
        Member, context and treatment -> parameter values of the treatment, which come on top.
    weights : (n_members,)
        One per member.
    at_rest
        Values, before the treatment, of the parameters that treatments set: there, all treatments are equal.
    options, threads, progress
        As in `simulate`.

    Returns
    -------
    Dataset
        `value` (member, context, treatment, readout) and `control` (member, context, readout) of the untreated cell, in
        the unit of the read-out; `residual`, value over control; `status`, `control_status`; `weight`. Failed runs are
        NaN and counted in `attrs`.

    Raises
    ------
    InputError
        For names twice, unknown read-outs and values that cannot be, before any run starts.
    """
    import xarray as xr

    names = {"contexts": list(contexts), "treatments": list(treatments), "readouts": list(readouts)}
    for what, given_names in names.items():
        if not given_names or len(set(given_names)) < len(given_names):
            raise InputError(f"{what} are {given_names}, expected at least one name, each once")
    for readout in readouts:
        if readout not in (*compiled.observables, *compiled.network.functions, *compiled.species):
            raise unknown_name("readout", readout, compiled.observables)
    weight, times = checked_weights(weights, np.size(weights)), checked_times([time])
    before = (Segment(-math.inf, 0.0, dict(at_rest or {})),)

    shape = (len(weight), len(contexts), 1 + len(treatments))
    per_member = shape[1] * shape[2]
    values = np.full((*shape, len(readouts)), np.nan)
    status = np.full(shape, int(Status.PENDING))
    attributes: dict[str, Any] = {}
    step = max(1, AT_ONCE // per_member)
    with progress_bar(len(weight) * per_member, "ranking", shown=progress) as advance:
        for start in range(0, len(weight), step):
            block = slice(start, min(start + step, len(weight)))
            parameters = _parameters(compiled, range(len(weight))[block], contexts, treatments, cell, given)
            rows = tuple(
                f"member {member}, {context}, {treatment}" for member in range(len(weight))[block]
                for context in contexts for treatment in (UNTREATED, *treatments)
            )  # fmt: skip
            result = simulate(compiled, times, Conditions(rows, parameters, before), observables=list(readouts),
                              options=options, threads=threads)  # fmt: skip
            values[block] = result.values[:, 0].reshape(-1, *values.shape[1:])
            status[block] = result.status.reshape(-1, *status.shape[1:])
            attributes = dict(result.attributes)
            advance(block.stop * per_member)
            if result.interrupted:
                break

    with np.errstate(all="ignore"):
        residual = np.where(values[:, :, :1] > 0, values[:, :, 1:] / values[:, :, :1], np.nan)
    n_pending = int(np.isin(status, (Status.STOPPED, Status.PENDING)).sum())
    n_failed = int((status != int(Status.OK)).sum()) - n_pending
    dims = ("member", "context", "treatment")
    return xr.Dataset(
        {
            "value": ((*dims, "readout"), values[:, :, 1:]),
            "control": (("member", "context", "readout"), values[:, :, 0]),
            "residual": ((*dims, "readout"), residual, {"units": "1", "long_name": "fraction of the untreated cell"}),
            "status": (dims, status[:, :, 1:]),
            "control_status": (dims[:2], status[:, :, 0]),
            "weight": ("member", weight),
        },
        coords={
            "member": np.arange(len(weight)),
            "context": list(contexts),
            "treatment": list(treatments),
            "readout": list(readouts),
        },
        attrs={
            **attributes,
            "time": float(time),
            "n_runs": int(status.size),
            "n_failed": n_failed,
            "n_pending": n_pending,
            "failures": f"{status.size} runs, {n_failed} failed" + (f", {n_pending} not done" if n_pending else ""),
            "interrupted": int(n_pending > 0),
        },
    )


def ranked(found: xr.Dataset, *, absolute: Sequence[str] = (), below: float = 0.25, groups: str = "") -> pd.DataFrame:
    """Return the treatments in order of what they leave, per context and read-out, with their spread over members.

    Parameters
    ----------
    found
        As from `compare`.
    absolute
        Read-outs that count as they are, not as a fraction of the untreated cell: scores.
    below
        What counts as little.
    groups
        Coordinate of the treatments that says which are comparable; all if empty.

    Returns
    -------
    DataFrame
        `readout`, `context`, the coordinates of the treatments and `treatment`; `rank` (1 leaves least, by the median,
        in its group), `median`, `low` and `high` (5 and 95 % of the members' weight), `control` (median of the
        untreated cell, in the read-out's unit), `first` (share of the members in which it leaves least of its group),
        `little` (share in which it leaves less than `below`), `n` and `failed`. Shares are of the members in which it
        did not fail. Ordered by read-out, context, group and rank; those that failed throughout come last, without a
        rank.

    Raises
    ------
    InputError
        For a coordinate or read-out that is not there.
    """
    import pandas as pd

    described = [str(name) for name in found.coords if found[name].dims == ("treatment",) and name != "treatment"]
    if groups and groups not in described:
        raise unknown_name("coordinate of the treatments", groups, described)
    for name in absolute:
        if name not in found["readout"]:
            raise unknown_name("readout", name, list(map(str, found["readout"].values)))
    group = found[groups].to_numpy().astype(str) if groups else np.full(found.sizes["treatment"], "")
    weight = found["weight"].to_numpy()
    of_treatment = {name: found[name].to_numpy() for name in [*described, "treatment"]}
    frames = []
    for readout in map(str, found["readout"].values):
        variable = found["value"] if readout in absolute else found["residual"]
        for context in map(str, found["context"].values):
            cell = {"context": context, "readout": readout}
            left = variable.sel(cell).transpose("member", "treatment").to_numpy()
            frame = pd.DataFrame({**cell, **of_treatment, **_summary(left, weight, group, below)})
            frame["control"] = quantiles(found["control"].sel(cell).to_numpy(), weight, [0.5])[0]
            order = [groups, "rank"] if groups else ["rank"]
            frames.append(frame.sort_values(order, kind="stable", na_position="last"))
    table = pd.concat(frames, ignore_index=True)
    numbers = ["rank", "median", "low", "high", "control", "first", "little", "n", "failed"]
    return table[["readout", "context", *([groups] if groups else []),
                  *(name for name in [*described, "treatment"] if name != groups), *numbers]]  # fmt: skip


def gained(found: xr.Dataset, *, below: float = 0.5) -> pd.DataFrame:
    """Return what each partner adds to each inhibitor: what the pair leaves over what the inhibitor leaves alone.

    Parameters
    ----------
    found
        As from `compare`, the treatments with the coordinates `tki` and `partner`, empty where there is none.
    below
        A ratio below which the partner counts as adding much.

    Returns
    -------
    DataFrame
        `readout`, `context`, `tki`, `partner`, `median`, `low` and `high` (5 and 95 %) of the ratio, `much` (share of
        the members in which it is below `below`), `n` and `failed`. The control cancels out.

    Raises
    ------
    InputError
        If the treatments do not say what they are pairs of.
    """
    import pandas as pd

    if missing := [name for name in ("tki", "partner") if name not in found.coords]:
        raise InputError(f"the treatments have no coordinate {missing[0]!r}: pairs cannot be told from their parts")
    weight = found["weight"].to_numpy()
    first, second = (found[name].to_numpy().astype(str) for name in ("tki", "partner"))
    alone = {tki: i for i, (tki, partner) in enumerate(zip(first, second, strict=True)) if not partner}
    rows = []
    for readout in map(str, found["readout"].values):
        for context in map(str, found["context"].values):
            left = found["value"].sel(context=context, readout=readout).transpose("member", "treatment").to_numpy()
            for j, (tki, partner) in enumerate(zip(first, second, strict=True)):
                if not partner or tki not in alone:
                    continue
                with np.errstate(all="ignore"):
                    ratio = left[:, j] / left[:, alone[tki]]
                ratio = np.where(np.isfinite(ratio), ratio, np.nan)
                of = _summary(ratio[:, None], weight, np.array([""]), below)
                rows.append({"readout": readout, "context": context, "tki": tki, "partner": partner,
                             **{name: of[name][0] for name in ("median", "low", "high")}, "much": of["little"][0],
                             "n": of["n"], "failed": of["failed"][0]})  # fmt: skip
    return pd.DataFrame(rows)


def shares_of_spread(
    found: xr.Dataset, redrawn: Mapping[str, xr.Dataset], *, absolute: Sequence[str] = ()
) -> pd.DataFrame:
    """Return how much of the spread over members each source of uncertainty has part in.

    The share is the total effect: of the variance, what would remain if all other sources were known,

        T_i = mean (y - y_i)^2 / (2 var y)

    with y of a member and y_i of the same member, source i drawn anew (M. J. W. Jansen, Comput. Phys. Commun. 117:35,
    1999). Interactions count for all that take part in them, so that shares may add up to more than 1.

    Parameters
    ----------
    found
        As from `compare`.
    redrawn
        Source -> the same treatments and members, with this source alone drawn anew.
    absolute
        Read-outs that count as they are; of the others the logarithm counts.

    Returns
    -------
    DataFrame
        `readout`, `context`, `treatment`, `log10_sd` (over members; of the value itself for absolute read-outs) and one
        column per source; NaN where nothing varies, members that failed are passed over.
    """
    import xarray as xr

    first = _spread_scale(found, absolute)
    columns: dict[str, xr.DataArray] = {"log10_sd": first.weighted(found["weight"]).var("member") ** 0.5}
    for source, again in redrawn.items():
        second = _spread_scale(again, absolute)
        both = first.notnull() & second.notnull()
        x, y = first.where(both).weighted(found["weight"]), second.where(both).weighted(found["weight"])
        pooled = (x.var("member") + y.var("member")) / 2  # about their own means: the draws are of one distribution
        apart = ((first - second) ** 2).weighted(found["weight"]).mean("member") / 2
        columns[source] = (apart / pooled.where(pooled > 0)).where(pooled > 0)
    table: pd.DataFrame = xr.Dataset(columns).to_dataframe().reset_index()
    return table[["readout", "context", "treatment", *columns]]


def doses_leaving(
    compiled: CompiledModel,
    rows: Mapping[str, Mapping[str, float]],
    doses: Mapping[str, str],
    readouts: Mapping[str, str],
    time: float,
    *,
    level: float = 0.1,
    at_rest: Mapping[str, float] | None = None,
    options: SolverOptions | None = None,
    threads: int | None = None,
) -> dict[str, float]:
    """Return, per drug, the smallest dose that leaves `level` of a read-out of the untreated cell; NaN if none does.

    Found by runs on a grid of doses, four per decade from 1e-4 to 1e7 in the model's unit, which is then refined about
    the first dose that leaves less; between neighbours the logarithm of what is left is taken for linear in that of
    the dose.

    Parameters
    ----------
    compiled
        The model.
    rows
        Drug -> parameter values of the cell and the drug.
    doses, readouts
        Drug -> parameter that holds its dose, and the read-out that counts.
    time
        At which is read, after the drug was given.
    level
        Fraction that may be left, between 0 and 1.
    at_rest
        As in `compare`.
    options, threads
        As in `simulate`.
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}, expected a fraction between 0 and 1")
    low, high = dict.fromkeys(rows, math.log10(SEARCHED[0])), dict.fromkeys(rows, math.log10(SEARCHED[1]))
    n = 1 + round((math.log10(SEARCHED[1]) - math.log10(SEARCHED[0])) * PER_DECADE)
    before = (Segment(-math.inf, 0.0, {**(at_rest or {}), **dict.fromkeys(doses.values(), 0.0)}),)
    read = sorted(set(readouts.values()))
    found: dict[str, float] = {}
    for zoom in range(ZOOMS):
        grids = {drug: np.linspace(low[drug], high[drug], n if zoom == 0 else 5) for drug in rows}
        runs = {
            f"{drug} {i}": {**row, doses[drug]: dose}
            for drug, row in rows.items()
            for i, dose in enumerate([0.0, *10.0 ** grids[drug]])
        }
        result = simulate(compiled, checked_times([time]), Conditions.from_rows(compiled, runs, before),
                          observables=read, options=options, threads=threads)  # fmt: skip
        left = result.values[:, 0].reshape(len(rows), -1, len(read))
        for drug, values in zip(rows, left, strict=True):
            signal = values[:, read.index(readouts[drug])]
            with np.errstate(all="ignore"):
                y = np.log10(signal[1:] / signal[0]) - math.log10(level)
            below = np.flatnonzero(y <= 0)
            i = int(below[0]) if len(below) else 0
            if i == 0 or not np.isfinite(y[i - 1]):  # never, or already below at the lowest dose
                found[drug] = math.nan if not len(below) else 10.0 ** float(grids[drug][i])
                continue
            low[drug], high[drug] = grids[drug][i - 1], grids[drug][i]
            part = y[i - 1] / (y[i - 1] - y[i])
            found[drug] = 10.0 ** float(low[drug] + part * (high[drug] - low[drug]))
    return found


def _parameters(compiled: CompiledModel, members: Sequence[int], contexts: Sequence[str], treatments: Sequence[str],
                cell: Callable[[int, str], Mapping[str, float]],
                given: Callable[[int, str, str], Mapping[str, float]]) -> Float:  # fmt: skip
    """Return (n_members * n_contexts * (1 + n_treatments), n_parameters), the untreated cell before its treatments."""
    index = {name: i for i, name in enumerate(compiled.parameters)}
    cells = Conditions.from_rows(compiled, {f"member {m}, {c}": cell(m, c) for m in members for c in contexts})
    p = np.repeat(cells.parameters[:, None, :], 1 + len(treatments), axis=1)
    for i, (member, context) in enumerate((m, c) for m in members for c in contexts):
        for j, treatment in enumerate(treatments, start=1):
            values = given(member, context, treatment)
            if unknown := [name for name in values if name not in index]:
                raise unknown_name("parameter", unknown[0], compiled.parameters)
            p[i, j, [index[name] for name in values]] = list(values.values())
    if not np.all(np.isfinite(p)):
        name = compiled.parameters[int(np.argwhere(~np.isfinite(p))[0][2])]
        raise InputError(f"a treatment sets {name} to no finite number")
    return p.reshape(-1, compiled.n_parameters)


def _summary(left: Float, weight: Float, group: npt.NDArray[Any], below: float) -> dict[str, Any]:
    """Return columns of `ranked` for what treatments leave, (n_members, n_treatments)."""
    n_members, n_treatments = left.shape
    low, median, high = quantiles(left, weight, QUANTILES)
    known = np.isfinite(left)
    least = np.zeros_like(known)
    rank = np.full(n_treatments, np.nan)
    for name in np.unique(group):
        here = np.flatnonzero(group == name)
        filled = np.where(known[:, here], left[:, here], np.inf)
        least[:, here] = (filled == filled.min(axis=1, keepdims=True)) & known[:, here]
        ordered = here[np.argsort(median[here], kind="stable")]
        rank[ordered] = 1.0 + np.arange(len(here))
    rank[~np.isfinite(median)] = np.nan
    first, little = share(least, left, weight), share(left < below, left, weight)
    return {"rank": rank, "median": median, "low": low, "high": high, "first": first, "little": little,
            "n": n_members, "failed": n_members - known.sum(axis=0)}  # fmt: skip


def _spread_scale(found: xr.Dataset, absolute: Sequence[str]) -> xr.DataArray:
    """Return what is left on the scale on which its spread is told, (readout, context, treatment, member)."""
    import xarray as xr

    with np.errstate(all="ignore"):
        y = xr.where(found["readout"].isin(list(absolute)), found["value"], np.log10(found["residual"]))
    y = y.where(np.isfinite(y)).transpose("readout", "context", "treatment", "member")
    return y.drop_vars([name for name in y.coords if name not in y.dims])
