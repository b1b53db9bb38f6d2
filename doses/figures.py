"""Figures of a dose matrix: the matrix in, whole figures out, or an axis drawn on.

Colours are perceptually uniform and safe for colour-blind readers; every axis carries its unit. Where a number is
missing the figure says why: grey for runs that failed or were not done, hatched where the control gives no signal.
Of an ensemble the median is drawn, with the band from the 5 % to the 95 % quantile of its members.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..simulator.errors import InputError
from ..simulator.plots import LINES, MARKERS, PALETTE, duration, new_figure
from ..simulator.status import Status
from . import analysis
from .matrix import UNTREATED, DoseMatrix, dose_dims

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = (0.1, 0.25, 0.5)
"""Residuals at which contours are drawn."""
MISSING = "#bbbbbb"
NO_CONTROL = "no control signal"
MANY_DOSES = 12
"""From this number of doses on, only some are labelled."""
FEWEST = 0.5
"""Share of the members, by weight, that must have a number for a quantile to be drawn."""
SMALL = 0.02
"""Bars below this height carry their number."""


# ---- what is drawn ----------------------------------------------------------------------------------------------


def bands_of(matrix: DoseMatrix | xr.DataArray, *, readout: str, time: float | None = None) -> xr.DataArray:
    """Return quantiles (quantile, ...) over members of the residual of one readout at one time (the last if None).

    NaN where fewer than half of the members, by weight, have a number.
    """
    values = matrix.residual() if isinstance(matrix, DoseMatrix) else matrix
    values = values.sel(readout=readout)
    values = values.isel(time=-1) if time is None else values.sel(time=time)
    found = analysis.bands(values, analysis.QUANTILES)
    return found[str(values.name)].where(found["share"] >= FEWEST)


def slice_of(matrix: DoseMatrix | xr.DataArray, *, readout: str, time: float | None = None) -> xr.DataArray:
    """Return the median of `bands_of`."""
    return bands_of(matrix, readout=readout, time=time).sel(quantile=0.5, drop=True)


def reasons(matrix: DoseMatrix, *, readout: str, time: float | None = None) -> xr.DataArray:
    """Return why a number of `slice_of` is missing: `failed`, `not run` or NO_CONTROL; empty where there is one."""
    import xarray as xr

    status = matrix.dataset["status"]
    waiting = status.isin((Status.STOPPED, Status.PENDING, Status.RUNNING))
    failed, waits = ((status != Status.OK) & ~waiting).any("member"), waiting.any("member")
    why = xr.where(failed, "failed", xr.where(waits, "not run", NO_CONTROL))
    return xr.where(slice_of(matrix, readout=readout, time=time).isnull(), why, "")


def arms(matrix: DoseMatrix) -> dict[str, dict[str, float]]:
    """Return label -> doses of the arms of a trial: no drug, each alone and all together, at the highest doses.

    Where 0 is not among a drug's doses, the lowest takes its place, and the label says so.
    """
    drugs = matrix.drugs
    low, top = ({drug: float(matrix.dataset[drug].values[end]) for drug in drugs} for end in (0, -1))
    labelled = {}
    for doses in (low, *({**low, drug: top[drug]} for drug in drugs), top):
        given = [
            f"{drug} {_number(dose)} {_unit(matrix, drug)}"
            + (" (lowest)" if dose == low[drug] and matrix.dataset.sizes[drug] > 1 else "")
            for drug, dose in doses.items()
            if dose > 0
        ]
        labelled[" + ".join(given) or "untreated"] = doses
    return labelled


def reference_words(matrix: DoseMatrix) -> str:
    """Return what the residual is a fraction of."""
    return "untreated control" if matrix.reference == UNTREATED else f"untreated {matrix.reference}"


# ---- two drugs --------------------------------------------------------------------------------------------------


def heat_map(
    values: xr.DataArray, ax: Axes, *, limits: tuple[float, float] = (0.0, 1.0), colours: str = "cividis",
    levels: Sequence[float] = LEVELS,
) -> Any:  # fmt: skip
    """Draw a two-drug slice (dims: two drugs) as cells, with contours from 3 x 3 on; missing cells are grey.

    Returns the mesh.
    """
    import matplotlib as mpl

    x_drug, y_drug = _two_drugs(values)
    grid = values.transpose(y_drug, x_drug).values
    shades = mpl.colormaps[colours].with_extremes(bad=MISSING)
    n_y, n_x = grid.shape
    mesh = ax.pcolormesh(np.arange(n_x + 1) - 0.5, np.arange(n_y + 1) - 0.5, np.ma.masked_invalid(grid),
                         vmin=limits[0], vmax=limits[1], cmap=shades)  # fmt: skip
    shown = [level for level in levels if np.nanmin(grid, initial=np.inf) < level < np.nanmax(grid, initial=-np.inf)]
    if shown and n_x > 2 and n_y > 2:
        lines = ax.contour(np.arange(n_x), np.arange(n_y), grid, levels=sorted(shown), colors="white", linewidths=1.2)
        ax.clabel(lines, fmt="%g", fontsize=7)
    _dose_ticks(ax, values, x_drug, y_drug)
    return mesh


def _two_drugs(values: xr.DataArray) -> tuple[str, str]:
    drugs = dose_dims(values)
    if len(drugs) != 2 or len(values.dims) != 2:
        raise InputError(f"a heat map needs a slice over two drugs, given the dims {tuple(values.dims)}")
    return drugs[0], drugs[1]


def _dose_ticks(ax: Axes, values: xr.DataArray, x_drug: str, y_drug: str) -> None:
    for axis, drug in ((ax.xaxis, x_drug), (ax.yaxis, y_drug)):
        shown = _thinned(values.sizes[drug])
        axis.set_ticks(shown, [_number(values[drug].values[i]) for i in shown], fontsize=7)
        axis.set_label_text(f"{drug} ({_unit(values, drug)})", fontsize=9)
    ax.tick_params(axis="x", rotation=45)


def matrix_figure(matrix: DoseMatrix, readout: str, *, time: float | None = None, columns: int = 4) -> Figure:
    """Return heat maps of the residual of one readout, one panel per context, with contours and failures counted.

    The scale ends at 1, or above the largest value where a named reference lets values exceed 1. Of an ensemble, the
    panel of the median stands above one of the width of the band.
    """
    quantiles = bands_of(matrix, readout=readout, time=time)
    low, values, high = (quantiles.isel(quantile=i, drop=True) for i in range(3))
    why = reasons(matrix, readout=readout, time=time)
    contexts = matrix.contexts
    n_columns = min(columns, len(contexts))
    many = matrix.dataset.sizes["member"] > 1
    n_rows = -(-len(contexts) // n_columns)
    figure, axes = new_figure(n_columns, n_rows * (1 + many))
    largest = float(np.nanmax(values.values, initial=1.0))
    top = 1.0 if largest < 1.005 else float(np.ceil(10 * largest) / 10)
    medians, spreads = axes[:: 1 + many], axes[1::2] if many else axes[:0]
    mesh: Any = None
    for ax, context in zip(medians.flat, contexts, strict=False):
        mesh = heat_map(values.sel(context=context), ax, limits=(0.0, top))
        ax.set_title(context, fontsize=9)
        if (why.sel(context=context) == NO_CONTROL).any():
            _hatch(ax)
    label = f"{readout} left\n(fraction of {reference_words(matrix)})"
    figure.colorbar(mesh, ax=list(medians.flat), shrink=0.85).set_label(label, fontsize=8)
    if many:
        widest = max(0.1, float(np.ceil(10 * np.nanmax((high - low).values, initial=0.0)) / 10))
        for ax, context in zip(spreads.flat, contexts, strict=False):
            mesh = heat_map((high - low).sel(context=context), ax, limits=(0.0, widest), colours="magma", levels=())
            ax.set_title(f"{context}, width", fontsize=9)
        bar = figure.colorbar(mesh, ax=list(spreads.flat), shrink=0.85)
        bar.set_label("width of the band\n(95 % - 5 % quantile of members)", fontsize=8)
    for ax in (ax for part in (medians, spreads) for ax in list(part.flat)[len(contexts) :]):
        ax.remove()
    above = f"; up to {largest:.3g} times the control" if top > 1 else ""
    _headline(figure, f"Residual {readout} after {_duration(values)}{above}{_notes(matrix, why)}")
    return figure


def _hatch(ax: Axes) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, hatch="///", edgecolor="#666666"))
    ax.text(0.5, 0.5, NO_CONTROL, transform=ax.transAxes, ha="center", fontsize=8, bbox={"color": "white"})


def contour_figure(matrix: DoseMatrix, readout: str, *, level: float = 0.25, time: float | None = None) -> Figure:
    """Return one panel in which each context is a line: the doses that leave `level` of the readout.

    Of an ensemble, the shaded doses leave it in some members, between the 5 % and the 95 % quantile, and not in others.
    """
    from matplotlib.lines import Line2D

    quantiles = bands_of(matrix, readout=readout, time=time)
    low, values, high = (quantiles.isel(quantile=i, drop=True) for i in range(3))
    why = reasons(matrix, readout=readout, time=time)
    figure, axes = new_figure(1, 1, width=5.6, height=3.9)
    ax = axes[0, 0]
    handles = []
    x_drug, y_drug = dose_dims(values)
    for i, context in enumerate(matrix.contexts):
        grid = values.sel(context=context).transpose(y_drug, x_drug).values
        colour, line = PALETTE[i % len(PALETTE)], LINES[i % len(LINES)]
        lowest, highest = np.nanmin(grid, initial=np.inf), np.nanmax(grid, initial=-np.inf)
        note = "" if lowest < level < highest else " (below everywhere)" if highest <= level else " (never reached)"
        if not np.isfinite(grid).any():
            note = f" ({why.sel(context=context).values.flat[0]})"
        if not note:
            ax.contour(np.arange(grid.shape[1]), np.arange(grid.shape[0]), grid, levels=[level], linewidths=2,
                       colors=[colour], linestyles=[line])  # fmt: skip
        if matrix.dataset.sizes["member"] > 1:
            least, most = (part.sel(context=context).transpose(y_drug, x_drug).values for part in (low, high))
            ax.contourf(np.arange(grid.shape[1]), np.arange(grid.shape[0]), np.maximum(least - level, level - most),
                        levels=[-np.inf, 0.0], colors=[colour], alpha=0.2)  # fmt: skip
        handles.append(Line2D([], [], color=colour, linestyle=line, label=context + note))
    _dose_ticks(ax, values, x_drug, y_drug)
    reference = "" if matrix.reference == UNTREATED else f" of {reference_words(matrix)}"
    words = f"Doses that leave {level:.0%} of {readout}{reference} after {_duration(values)}"
    _headline(figure, words + _notes(matrix))
    ax.legend(handles=handles, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    return figure


def synergy_figure(excess: Sequence[xr.DataArray], readout: str, *, time: float | None = None) -> Figure:
    """Return one row of panels per synergy model, each with its own scale, and one column per context.

    Purple is more than expected.
    """
    contexts = [str(c) for c in excess[0]["context"].values]
    figure, axes = new_figure(len(contexts), len(excess))
    grey = ""
    for row, model in zip(axes, excess, strict=True):
        values = slice_of(model, readout=readout, time=time)
        largest = float(np.nanmax(np.abs(values.values), initial=0.0))
        grey = " (grey: not known)" if values.isnull().any() else grey
        bound = max(0.1, np.ceil(10 * largest) / 10)  # at least a tenth, so that noise does not look like synergy
        for ax, context in zip(row, contexts, strict=True):
            here = values.sel(context=context)
            mesh = heat_map(here, ax, limits=(-bound, bound), colours="PuOr", levels=())
            ax.set_title(f"{model.attrs['long_name']}, {context}", fontsize=8)
        bar = figure.colorbar(mesh, ax=row, shrink=0.9)
        bar.set_label(f"{model.attrs['long_name']}\n(fraction of control;\n> 0: synergy)", fontsize=8)
    n_members = excess[0].sizes["member"]
    median = f"; median of {n_members} members" if n_members > 1 else ""
    _headline(figure, f"Excess silencing of {readout} after {_duration(values)}{median}{grey}")
    return figure


# ---- one drug, or the corners of many ---------------------------------------------------------------------------


def dose_response_figure(matrix: DoseMatrix, readouts: Sequence[str], *, time: float | None = None) -> Figure:
    """Return, per readout, what is left against the dose of the one drug that has several, one line per context.

    The dose axis is logarithmic with 0 drawn apart; the legend gives the dose at which 0.5 is left, interpolated on
    the logarithm of the dose. Raises InputError unless exactly one drug has several doses.
    """
    drugs = [drug for drug in matrix.drugs if matrix.dataset.sizes[drug] > 1]
    if len(drugs) != 1:
        raise InputError(f"a dose-response curve needs one drug with several doses, given {len(drugs)}")
    drug = drugs[0]
    doses, unit = matrix.dataset[drug].values, _unit(matrix, drug)
    beside = [
        f"{other} {_number(matrix.dataset[other].values[0])} {_unit(matrix, other)}"
        for other in matrix.drugs
        if other != drug and matrix.dataset[other].values[0] > 0
    ]
    with_zero = int(doses[0] == 0)
    x = np.where(doses > 0, doses, doses[with_zero] / 4)
    below = 0.4 + 0.17 * matrix.dataset.sizes["context"]  # inches for the legends, in axes of their own
    figure, axes = new_figure(len(readouts), 2, width=3.6, height=(3.2 + below) / 2, height_ratios=[3.2, below])
    for (ax, legend), readout in zip(axes.T, readouts, strict=True):
        quantiles, why = bands_of(matrix, readout=readout, time=time), reasons(matrix, readout=readout, time=time)
        halves = _half_doses(matrix, drug, readout, time)
        for i, context in enumerate(matrix.contexts):
            low, left, high = quantiles.sel(context=context).values.reshape(3, -1)
            colour = PALETTE[i % len(PALETTE)]
            style = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "markersize": 4}
            missing = sorted({str(w) for w in why.sel(context=context).values.flat if w})
            note = ", ".join(missing) if missing else halves[context]
            if with_zero:
                ax.plot(x[:1], left[:1], **style)
            ax.plot(x[with_zero:], left[with_zero:], LINES[i % len(LINES)], label=f"{context}: {note}", **style)
            if matrix.dataset.sizes["member"] > 1:
                ax.fill_between(x[with_zero:], low[with_zero:], high[with_zero:], color=colour, alpha=0.2, linewidth=0)
        ax.axhline(0.5, color="#999999", linewidth=0.8, zorder=0)
        ax.set_xscale("log")
        shown = _thinned(len(doses))
        ax.set_xticks(x[shown], [_number(doses[i]) for i in shown], rotation=45, fontsize=7)
        ax.set_xticks([], minor=True)
        if with_zero:
            ax.axvline(np.sqrt(x[0] * x[1]), color="#999999", linewidth=0.8, linestyle=":", zorder=0)
        ax.set_xlabel(f"{drug} ({unit})")
        ax.set_ylabel(f"{readout} left\n(fraction of {reference_words(matrix)})", fontsize=8)
        ax.set_ylim(-0.03, max(1.1, float(np.nanmax(quantiles.values, initial=1.0)) * 1.05))
        ax.set_title(readout, fontsize=9)
        legend.axis("off")
        legend.legend(*ax.get_legend_handles_labels(), title="dose at which 0.5 is left (IC50)", title_fontsize=7,
                      fontsize=7, frameon=False, loc="upper center", borderaxespad=0)  # fmt: skip
    given = f" with {', '.join(beside)}" if beside else ""
    _headline(figure, f"{drug}{given}, after {_duration(quantiles)}{_notes(matrix)}")
    return figure


def _half_doses(matrix: DoseMatrix, drug: str, readout: str, time: float | None) -> dict[str, str]:
    """Return, per context, the dose at which 0.5 is left, in words; of an ensemble the median and the band."""
    left = matrix.residual().sel(readout=readout)
    left = left.isel(time=-1) if time is None else left.sel(time=time)
    found = analysis.crossing(left.squeeze([d for d in matrix.drugs if d != drug], drop=True), drug)
    ranked = analysis.bands(analysis.in_order(found).rename("dose"))
    unit, n_members = _unit(matrix, drug), matrix.dataset.sizes["member"]
    words = {}
    for context in matrix.contexts:
        low, middle, high = (
            dose_words(float(dose), matrix, drug) for dose in ranked["dose"].sel(context=context).values
        )
        words[context] = f"{middle} {unit}".strip() if middle != "not known" else middle
        if n_members > 1:
            words[context] += f" ({low} to {high})"
    return words


def dose_words(dose: float, matrix: DoseMatrix, drug: str) -> str:
    """Return a dose of `analysis.in_order` in words: 0 lies below the lowest dose of the matrix, infinity above all."""
    doses = matrix.dataset[drug].values
    if np.isnan(dose):
        return "not known"
    if dose == 0:
        return f"below {_number(doses[doses > 0][0])}"
    return f"above {_number(doses[-1])}" if np.isinf(dose) else _number(dose)


def bars_figure(matrix: DoseMatrix, readouts: Sequence[str], *, time: float | None = None) -> Figure:
    """Return, per readout, what is left in each context under no drug, each drug alone and both, at the top doses."""
    chosen = arms(matrix)
    contexts = matrix.contexts
    width = max(2.9, 0.14 * len(contexts) * len(chosen) + 0.9)
    figure, axes = new_figure(len(readouts), 1, width=width, height=3.0 + 0.3 * len(chosen))
    step, many = 0.8 / len(chosen), matrix.dataset.sizes["member"] > 1
    for ax, readout in zip(axes[0], readouts, strict=True):
        quantiles, why = bands_of(matrix, readout=readout, time=time), reasons(matrix, readout=readout, time=time)
        for i, (arm, doses) in enumerate(chosen.items()):
            low, left, high = quantiles.sel(doses).values
            x = np.arange(len(contexts)) + (i - (len(chosen) - 1) / 2) * step
            ax.bar(x, left, 0.9 * step, label=arm, color=PALETTE[i % len(PALETTE)])
            if many:
                ax.errorbar(x, left, [left - low, high - left], fmt="none", ecolor="#333333", elinewidth=0.8)
            for xi, v, top, reason in zip(x, left, high, why.sel(doses).values, strict=True):
                if reason or v < SMALL:
                    note = reason or (f"{v:.1g}" if v >= 1e-6 else "<1e-6")
                    ax.annotate(note, (xi, max(np.nan_to_num(top), 0) + 0.02), rotation=90, fontsize=6, ha="center")
        ax.set_xticks(range(len(contexts)), contexts, rotation=35, ha="right", fontsize=7)
        ax.set_title(readout, fontsize=9)
        ax.set_ylim(0, max(1.1, float(np.nanmax(quantiles.values, initial=1.0)) * 1.05))
        middle, half = (len(contexts) - 1) / 2, max(len(contexts) / 2 + 0.1, 1.1)
        ax.set_xlim(middle - half, middle + half)
        ax.set_ylabel(f"left\n(fraction of {reference_words(matrix)})", fontsize=8)
    longest = max(map(len, chosen))
    columns = int(np.clip(figure.get_figwidth() // (0.075 * longest + 0.55), 1, len(chosen)))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=8,
                  frameon=False)  # fmt: skip
    _headline(figure, f"Left after {_duration(quantiles)}, drugs at their highest doses{_notes(matrix)}")
    return figure


# ---- words and numbers ------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    """Return three digits without an exponent where a person would write none: 1000, not 1e+03."""
    rounded = float(f"{value:.3g}")
    plain = rounded == 0 or 1e-3 <= abs(rounded) < 1e6
    return np.format_float_positional(rounded, trim="-") if plain else f"{rounded:g}"


def _thinned(n: int) -> list[int]:
    """Return the positions of the doses that are labelled."""
    return list(range(0, n, 1 if n < MANY_DOSES else -(-n // 8)))


def _unit(values: DoseMatrix | xr.DataArray, drug: str) -> str:
    axis = values.dataset[drug] if isinstance(values, DoseMatrix) else values[drug]
    return str(axis.attrs.get("units", "model units"))


def _duration(values: xr.DataArray) -> str:
    return duration(float(values["time"]), values["time"].attrs.get("units", ""))


_GREY = {False: " (grey)", True: " (left out; grey where half of them or more)"}


def _notes(matrix: DoseMatrix, why: xr.DataArray | None = None) -> str:
    attributes, n_members = matrix.dataset.attrs, matrix.dataset.sizes["member"]
    n, pending, total = (int(attributes[name]) for name in ("n_failed", "n_pending", "n_runs"))
    notes = f"; median and 5-95 % of {n_members} members" if n_members > 1 else ""
    notes += f"; {n} of {total} runs failed{_GREY[n_members > 1]}" if n else ""
    notes += f"; {pending} of {total} not run{_GREY[n_members > 1]}" if pending else ""
    return notes + (f"; {NO_CONTROL} (hatched)" if why is not None and (why == NO_CONTROL).any() else "")


def _headline(figure: Figure, text: str) -> None:
    """Put a title above all panels, wrapped to the width of the figure."""
    figure.suptitle(textwrap.fill(text, int(figure.get_figwidth() * 12.5)), fontsize=10)
