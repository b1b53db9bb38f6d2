"""A fit and axes in, the axes drawn on out: measured against fitted values, where the starts ended."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ..simulator.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from .objective import Problem
    from .posterior import Ensemble
    from .profile import Profiles
    from .result import Fit

# Okabe and Ito's colours, told apart with any colour vision
MEASURED, FITTED, NOMINAL, FLOOR = "#000000", "#0072B2", "#999999", "#D55E00"

SAME_LOSS = 0.1
"""Starts whose losses differ by less have found the same optimum: the posterior densities there differ by 10 %."""
MOST_STARTS = 10
"""Drawn by `plot_parameters`."""


def plot_fit(fit: Fit, axes: Any = None) -> Any:
    """Draw the fit: points are measured, bars fitted, grey bars the nominal point, the dashed line the assay's floor.

    Filled points were fitted; open points were held out, and the open bar beside them is a prediction. Error bars
    are the assumed noise (one standard deviation).

    Parameters
    ----------
    fit
        What `fit` returned.
    axes : array of Axes (n_observables, n_panels)
        Where to draw; a new figure if None. Where not every observable was measured in every panel, the pairs that
        were follow each other in rows of four, and the array has the shape of that.

    Returns
    -------
    array of Axes, as `axes`
    """
    table = fit.to_frame()
    observables, panels = list(dict.fromkeys(table["observable"])), list(dict.fromkeys(table["panel"]))
    pairs = list(table.groupby(["observable", "panel"], sort=False).groups)
    full = len(pairs) == len(observables) * len(panels)
    if full:
        pairs = list(itertools.product(observables, panels))
    width = len(panels) if full else min(4, len(pairs))
    axes = _grid(axes, -(-len(pairs) // width), width, full=full)
    for k, (axis, (observable, panel)) in enumerate(zip(axes.flat, pairs, strict=False)):
        rows = table[(table["observable"] == observable) & (table["panel"] == panel)].reset_index(drop=True)
        _draw(axis, rows)
        axis.set_title(f"{observable}, {panel}" if panel else observable, fontsize="medium", loc="left")
        if k % width == 0 or not full:
            axis.set_ylabel(rows["unit"].iloc[0] or "as measured", fontsize="medium" if full else "small")
        if full and k < len(pairs) - width and _same_labels(table, observables, panel):
            axis.tick_params(labelbottom=False)
    for axis in axes.flat[len(pairs) :]:
        axis.set_visible(False)
    handles = axes[0, 0].get_legend_handles_labels()
    for axis in axes.flat[1:]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if label not in handles[1]:
                handles[0].append(handle)
                handles[1].append(label)
    figure = axes[0, 0].figure
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    typical = fit.typical_fold()
    unfinished = "" if fit.converged else f"{fit.message}\n"
    figure.suptitle(
        f"{unfinished}{fit.n_data} measurements fitted, {fit.n_free} parameters, {fit.n_priors} of them with priors\n"
        f"model / measured typically {typical['at_nominal']:.2f}-fold (nominal), {typical['fitted']:.2f}-fold (fitted)",
        fontsize="medium",
    )
    return axes


def _grid(axes: Any, n_rows: int, n_columns: int, *, full: bool) -> Any:
    if axes is None:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(
            n_rows, n_columns, figsize=(1.2 + 3.6 * n_columns, 2.0 + 2.3 * n_rows), squeeze=False,
            sharey="row" if full else False, layout="constrained",
        )  # fmt: skip
    axes = np.atleast_2d(np.asarray(axes, dtype=object))
    if axes.shape != (n_rows, n_columns):
        meaning = "(observables, panels)" if full else "for its pairs of observable and panel"
        raise InputError(f"the fit needs axes of shape {(n_rows, n_columns)} {meaning}, given {axes.shape}")
    return axes


def _same_labels(table: pd.DataFrame, observables: list[str], panel: str) -> bool:
    in_panel = table[table["panel"] == panel]
    shown = [tuple(in_panel.loc[in_panel["observable"] == name, "label"]) for name in observables]
    return len(set(shown)) == 1


def _draw(axis: Any, rows: pd.DataFrame) -> None:
    """Draw one panel."""
    measured, x = rows["measured"].to_numpy(float), np.arange(len(rows), dtype=float)
    log = rows["noise"].str.startswith("log-").to_numpy()
    sd = rows["noise_sd"].to_numpy(float)
    low, high = _noise_bars(measured, sd, log)
    if len(rows) and log.all():
        _logarithmic(axis)
    half = 0.3
    axis.hlines(
        rows["at_nominal"], x - half, x + half, colors=NOMINAL, lw=1.5, label="model, nominal (offset, scale fitted)"
    )
    for held_out, style, words in ((False, "-", "model, fitted"), (True, (0, (1.5, 1)), "model, predicted")):
        chosen = (rows["role"] == "validation").to_numpy() == held_out
        if not chosen.any():
            continue
        axis.hlines(
            rows["fitted"][chosen],
            x[chosen] - half,
            x[chosen] + half,
            colors=FITTED,
            lw=3,
            linestyles=style,
            label=words,
        )
        axis.errorbar(
            x[chosen], measured[chosen], yerr=[low[chosen], high[chosen]], fmt="o", ms=6, color=MEASURED, lw=1,
            capsize=2, mfc="white" if held_out else MEASURED,
            label="measured, held out" if held_out else "measured, fitted (bars: assumed noise)", zorder=3,
        )  # fmt: skip
    floors = rows["floor"].to_numpy(float)
    if len(floors) and np.all(floors == floors[0]) and floors[0] > 0:
        axis.axhline(floors[0], color=FLOOR, lw=1, ls="--", label="assay floor (fitted offset)", zorder=0)
    failed = (rows["failure"] != "").to_numpy()
    for where in x[failed]:
        axis.annotate("failed", (where, measured[int(where)]), rotation=90, fontsize="small", color=FLOOR)
    axis.set_xticks(x, rows["label"], rotation=30, ha="right", fontsize="small")
    axis.set_xlim(-0.6, len(rows) - 0.4)


def _logarithmic(axis: Any) -> None:
    """Use a logarithmic axis with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def plot_profiles(profiles: Profiles, axes: Any = None) -> Any:
    """Draw one panel per parameter: the excess of the likelihood (full) and of the posterior (dashed) over its value.

    The grey line is the threshold; the shaded range is the interval from the data alone, open where it is not closed.

    Parameters
    ----------
    profiles
        What `profile_likelihood` returned.
    axes : array of Axes (n_rows, n_columns)
        Where to draw, at least one per parameter; a new figure if None.

    Returns
    -------
    array of Axes (n_rows, n_columns)
    """
    names = list(profiles.table["parameter"])
    columns = min(len(names), 4)
    if axes is None:
        import matplotlib.pyplot as plt

        n_rows = -(-len(names) // columns)
        _, axes = plt.subplots(n_rows, columns, figsize=(0.6 + 2.9 * max(columns, 2), 0.6 + 2.6 * n_rows),
                               squeeze=False, sharey=True, layout="constrained")  # fmt: skip
    axes = np.asarray(axes)
    if axes.size < len(names):
        raise InputError(f"{axes.size} axes were given for {len(names)} parameters; give one for each")
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, row in zip(axes.flat, profiles.table.itertuples(), strict=False):
        _draw_profile(axis, profiles, row)
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    if handles:
        axes.flat[0].figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4,
                                   frameon=False, fontsize="small")  # fmt: skip
    for axis in axes[:, 0] if axes.ndim == 2 else axes:
        axis.set_ylabel("excess, 2 × loss")
    return axes


def _draw_profile(axis: Any, profiles: Profiles, row: Any) -> None:
    log = row.parameter in profiles.logarithmic
    for kind, style, words in (("likelihood", "-", "data alone"), ("posterior", "--", "data and priors")):
        if (profile := profiles.profiles.get((row.parameter, kind))) is None:
            continue
        k = profiles.names.index(row.parameter)
        x = profile.thetas[:, k]
        color = FITTED if kind == "likelihood" else FLOOR
        axis.plot(10.0**x if log else x, profile.excess, style, marker=".", ms=4, lw=1.3, color=color, label=words)
        if kind == "likelihood" and any(profile.closed):
            ends = [x.min() if i == 0 else x.max() for i in (0, 1)]
            lower, upper = (e if closed else end for e, closed, end in
                            zip((profile.lower, profile.upper), profile.closed, ends, strict=True))  # fmt: skip
            span = (10.0**lower, 10.0**upper) if log else (lower, upper)
            axis.axvspan(*span, color=FITTED, alpha=0.12, lw=0, label=f"{profiles.level:.0%} interval, data alone")
    axis.axhline(profiles.threshold, color=NOMINAL, lw=1, label=f"threshold, {profiles.level:.0%}")
    axis.set_ylim(-0.1 * profiles.threshold, 1.8 * profiles.threshold)
    if log:
        _few_decades(axis)
    axis.set_xlabel(row.parameter)
    axis.set_title("\n".join(textwrap.wrap(row.verdict, 34)), fontsize="x-small", loc="left")


def _few_decades(axis: Any, which: str = "x") -> None:
    """Use a logarithmic axis whose labels neither overlap nor fail, over less than a decade or over many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(axis, f"set_{which}scale")("log")
    low, high = getattr(axis, f"get_{which}lim")()
    ticks = getattr(axis, f"{which}axis")
    if high < 30 * low:
        ticks.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 10 * low else (1, 3)))
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ticks.set_minor_formatter(NullFormatter())


def plot_bands(predictions: xr.Dataset, axes: Any = None, *, quantiles: tuple[float, float] = (0.05, 0.95)) -> Any:
    """Draw what an ensemble predicts over time: the median, and the band between two quantiles, per read-out.

    One panel per read-out, one colour per condition; where there is a single time, one bar per condition.

    Parameters
    ----------
    predictions
        What `Ensemble.predict` returned.
    axes : array of Axes (1, n_readouts)
        Where to draw; a new figure if None.
    quantiles
        Lower and upper end of the band.

    Returns
    -------
    array of Axes (1, n_readouts)
    """
    from ..simulator.plots import PALETTE, new_figure
    from .posterior import bands

    names, conditions = list(map(str, predictions["readout"].values)), list(map(str, predictions["condition"].values))
    if axes is None:
        _, axes = new_figure(len(names), 1, width=3.6, height=3.4)
    axes = np.atleast_2d(axes)
    if axes.size != len(names):
        raise InputError(f"{axes.size} axes were given for {len(names)} read-outs; give one for each")
    low, high = quantiles
    found = bands(predictions, [low, 0.5, high])["value"]
    hours = predictions["time"].attrs.get("units", "s") == "s" and float(predictions["time"].max()) > 600
    times = predictions["time"].to_numpy() / (3600 if hours else 1)
    for axis, name in zip(axes.flat, names, strict=True):
        for i, condition in enumerate(conditions):
            lower, median, upper = found.sel(readout=name).isel(condition=i).transpose("quantile", "time").to_numpy()
            color = PALETTE[i % len(PALETTE)]
            if len(times) == 1:
                axis.vlines(i, lower, upper, color=color, lw=6, alpha=0.35)
                axis.plot(i, median, "o", color=color, label=condition)
            else:
                axis.fill_between(times, lower, upper, color=color, alpha=0.2, lw=0)
                axis.plot(times, np.array([lower, upper]).T, color=color, lw=0.7, ls=":")  # where bands overlap
                axis.plot(times, median, color=color, label=condition)
        if len(times) == 1:
            axis.set_xticks([])
            axis.set_xlim(-0.6, len(conditions) - 0.4)
        else:
            axis.set_xlabel("time, h" if hours else f"time, {predictions['time'].attrs.get('units', '')}".rstrip(", "))
        axis.set_ylim(bottom=0)
        axis.set_title(name, fontsize="medium", loc="left")
    axes.flat[0].set_ylabel(str(predictions.attrs.get("unit_amount", "")) or "as the model has it")
    figure = axes.flat[0].figure
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False,
                  fontsize="small")  # fmt: skip
    members = predictions.sizes["member"]
    failed = f"; {predictions.attrs['n_failed']} runs failed" if predictions.attrs.get("n_failed") else ""
    under = f"{predictions.attrs['drugs']}: " if predictions.attrs.get("drugs") else ""
    told = f"{under}median and {low:.0%} to {high:.0%} of {members} members{failed}"
    figure.suptitle(told, fontsize="medium")
    return axes


def plot_data_bands(ensemble: Ensemble, problem: Problem, axes: Any = None) -> Any:
    """Draw the measurements of a problem over what an ensemble says the assay would show, noise left out.

    Dark bars hold half of the members, light ones nine tenths, the line is the median. Filled points were fitted, open
    ones held out; their bars are the noise at the nominal point (one standard deviation).

    Parameters
    ----------
    ensemble
        Members of the model of `problem`.
    problem
        The measurements.
    axes : array of Axes
        Where to draw: one per pair of observable and panel, in rows of four; a new figure if None.

    Returns
    -------
    array of Axes
    """
    from .posterior import bands

    found = bands(ensemble.predict_data(problem))["value"].to_numpy()
    table = _measurements(problem)
    groups = table.groupby(["observable", "panel"], sort=False)
    width = min(4, len(groups))
    axes = _grid(axes, -(-len(groups) // width), width, full=False)
    for axis, ((observable, panel), rows) in zip(axes.flat, groups, strict=False):
        axis.set_title(f"{observable}, {panel}" if panel else observable, fontsize="medium", loc="left")
        axis.set_ylabel(rows["unit"].iloc[0] or "as measured", fontsize="small")
        _draw_data_bands(axis, rows, found[:, rows.index])
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    figure = axes[0, 0].figure
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False,
                  fontsize="small")  # fmt: skip
    figure.suptitle(f"{len(ensemble)} members, {ensemble.provenance.get('method', '')}", fontsize="medium")
    return axes


def _measurements(problem: Problem) -> pd.DataFrame:
    """Return what a figure says of each row of the measurement table."""
    import pandas as pd

    rows = problem.tables.measurements.frame
    experiments = problem.tables.experiments.frame.drop_duplicates("experimentId").set_index("experimentId")
    observables = problem.tables.observables.frame.set_index("observableId")
    of, seen = experiments.loc[rows["experimentId"]], observables.loc[rows["observableId"]]
    return pd.DataFrame(
        {
            "observable": [name or o for name, o in zip(seen["observableName"], rows["observableId"], strict=True)],
            "unit": seen["unit"].to_numpy(),
            "panel": of["panel"].to_numpy(),
            "label": [label or e for label, e in zip(of["label"], rows["experimentId"], strict=True)],
            "measured": problem.measured,
            "noise_sd": problem.observation.sd,
            "noise": np.where(problem.observation.logarithmic, "log-normal", "normal"),
            "role": rows["role"].to_numpy(),
        }
    )


def _noise_bars(measured: Any, sd: Any, log: Any) -> tuple[Any, Any]:
    """Return how far one sigma of the noise reaches below and above what was measured."""
    decay = np.where(log, sd, 0.0)
    return np.where(log, measured * (1 - np.exp(-decay)), sd), np.where(log, measured * (np.exp(decay) - 1), sd)


def _draw_data_bands(axis: Any, rows: pd.DataFrame, found: Any) -> None:
    x, measured = np.arange(len(rows)), rows["measured"].to_numpy(float)
    for ends, alpha, words in (((0, 4), 0.25, "9 of 10 members"), ((1, 3), 0.5, "half of the members")):
        axis.vlines(x, found[ends[0]], found[ends[1]], color=FITTED, lw=9, alpha=alpha, label=words)
    axis.hlines(found[2], x - 0.3, x + 0.3, color=FITTED, lw=2, label="median")
    sd, log = rows["noise_sd"].to_numpy(float), (rows["noise"] == "log-normal").to_numpy()
    low, high = _noise_bars(measured, sd, log)
    for held_out in (False, True):
        chosen = (rows["role"] == "validation").to_numpy() == held_out
        if chosen.any():
            axis.errorbar(x[chosen], measured[chosen], yerr=[low[chosen], high[chosen]], fmt="o", ms=5, lw=1, capsize=2,
                          color=MEASURED, mfc="white" if held_out else MEASURED,
                          label="measured, held out" if held_out else "measured, fitted", zorder=3)  # fmt: skip
    if log.all():
        _few_decades(axis, "y")
    axis.set_xticks(x, rows["label"], rotation=30, ha="right", fontsize="small")
    axis.set_xlim(-0.6, len(rows) - 0.4)


# ---- starts -----------------------------------------------------------------------------------------------------


def plot_waterfall(fit: Fit, axis: Any = None) -> Any:
    """Draw the loss at which every start ended, lowest first, as its excess over the best.

    A flat beginning (a plateau) says that several starts found the same optimum; a slope from the first point on, that
    more starts may find a better one. Returns `axis`, or that of a new figure if it is None.
    """
    axis = _single(axis, 5.2, 3.6)
    table = fit.starts.sort_values(["failed", "loss", "start"], ignore_index=True)
    kinds = np.select(
        [~np.isfinite(table["loss"]), table["failed"], ~table["converged"].astype(bool)],
        ["none", "failed", "unfinished"],
        "converged",
    )
    best = float(table["loss"].iloc[0])
    excess = table["loss"].to_numpy(float) - best
    rank = np.arange(1, len(table) + 1)
    for kind, colour, marker, words in (
        ("converged", FITTED, "o", "converged"),
        ("unfinished", NOMINAL, "s", "ended before it converged"),
        ("failed", FLOOR, "X", "runs fail there"),
    ):
        if (chosen := kinds == kind).any():
            axis.plot(rank[chosen], excess[chosen], marker, color=colour, ms=6, mec="white", mew=0.5, label=words)
    nominal = int(np.flatnonzero(table["start"] == 0)[0])
    if kinds[nominal] != "none":
        axis.plot(rank[nominal], excess[nominal], "o", ms=11, mfc="none", mec=MEASURED, mew=1, label="nominal start")
    axis.axhspan(0, SAME_LOSS, color=FITTED, alpha=0.12, lw=0, label=f"within {SAME_LOSS:g} of the best")
    axis.set_yscale("symlog", linthresh=SAME_LOSS)
    axis.set_ylim(-0.2 * SAME_LOSS, max(2 * float(np.nanmax(np.where(np.isfinite(excess), excess, 0))), 1))
    axis.set_xlim(0.5, len(table) + 0.5)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("start, in order of its loss")
    axis.set_ylabel(f"loss above the best ({best:.4g})")
    same, n_lost = np.count_nonzero((excess < SAME_LOSS) & (kinds != "none")), np.count_nonzero(kinds == "none")
    lost = f", {n_lost} gave nothing" if n_lost else ""
    axis.set_title(f"{same} of {len(table)} starts found the best loss{lost}", fontsize="medium", loc="left")
    axis.legend(frameon=False, fontsize="small", loc="upper left")
    return axis


def plot_parameters(fit: Fit, axis: Any = None) -> Any:
    """Draw where the best starts ended, each parameter from its lower to its upper bound on the search scale.

    The grey bar is the prior within two standard deviations, the tick the nominal value. Lines that part tell of
    parameters that the data leave open, or of more than one optimum. Returns `axis`, or that of a new figure if it is
    None.
    """
    table = fit.parameters
    axis = _single(axis, 6.4, 1.6 + 0.28 * len(table))
    log = (table["scale"] == "log10").to_numpy()

    def on_scale(values: Any) -> Any:
        given = np.asarray(values, float)
        return np.where(log, np.log10(np.where(log & (given > 0), given, 1.0)), given)

    lower, upper = on_scale(table["lower"]), on_scale(table["upper"])

    def share(points: Any) -> Any:
        return (points - lower) / (upper - lower)

    y = np.arange(len(table))
    sd, centre = table["prior_sd"].to_numpy(float), on_scale(table["prior_centre"].fillna(1.0))
    for row in np.flatnonzero(np.isfinite(sd)):
        ends = [np.clip(share(centre + sign * 2 * sd)[row], 0, 1) for sign in (-1, 1)]
        axis.plot(ends, [row, row], color=NOMINAL, alpha=0.35, lw=9, solid_capstyle="butt",
                  label="prior, within 2 sd" if row == np.flatnonzero(np.isfinite(sd))[0] else None)  # fmt: skip
    axis.plot(share(on_scale(table["nominal"])), y, "|", color=MEASURED, ms=11, label="nominal")
    order = fit.starts.sort_values(["failed", "loss", "start"]).index
    drawn = [i for i in order if np.isfinite(fit.ends[i]).all()][:MOST_STARTS]
    excess = np.array([fit.starts["loss"][i] - fit.starts["loss"][drawn[0]] for i in drawn])
    for chosen, colour, words in (
        (excess >= SAME_LOSS, FLOOR, "other starts"),
        (excess < SAME_LOSS, FITTED, f"starts within {SAME_LOSS:g} of the best loss"),
    ):
        for n, i in enumerate(np.array(drawn)[chosen]):
            axis.plot(share(fit.ends[i]), y, "o-", color=colour, ms=4, lw=0.8, alpha=0.6,
                      label=words if n == 0 else None)  # fmt: skip
    axis.plot(share(fit.ends[drawn[0]]), y, "o-", color=FITTED, ms=6, lw=1.8, label=f"best start, loss {fit.loss:.4g}")
    for place, low, high in zip(y, table["lower"], table["upper"], strict=True):
        axis.text(-0.015, place, f"{low:.3g}", ha="right", va="center", fontsize="x-small", color="#555555")
        axis.text(1.015, place, f"{high:.3g}", ha="left", va="center", fontsize="x-small", color="#555555")
    axis.set_yticks(y, table["parameter"], fontsize="small")
    axis.tick_params(axis="y", length=0, pad=34)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xticks([])
    axis.grid(axis="y", lw=0.4, color="#dddddd")
    axis.set_axisbelow(True)
    scales = sorted(set(table["scale"]))
    called = {"log10": "logarithmic", "lin": "linear"}
    axis.set_xlabel(f"from lower to upper bound, {' or '.join(called.get(scale, scale) for scale in scales)}")
    axis.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1.1, 1.0))
    axis.set_title(f"the {len(drawn)} best of {len(fit.starts)} starts", fontsize="medium", loc="left")
    return axis


def _single(axis: Any, width: float, height: float) -> Any:
    if axis is not None:
        return axis
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=150).subplots()
