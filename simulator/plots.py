"""Figures: a dose matrix or a Result and an axis in, the axis out; whole figures for the common views.

Colours are perceptually uniform and safe for colour-blind readers; every axis carries its unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .errors import InputError
from .matrix import dose_dims

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .result import Result

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's colour-blind safe colours (jfly.uni-koeln.de/color, 2008)."""
LINES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")
LEVELS = (0.1, 0.25, 0.5)
"""Residuals at which contours are drawn."""
FAILED = "#bbbbbb"


def new_figure(n_columns: int = 1, n_rows: int = 1, *, width: float = 3.1, height: float = 2.9) -> tuple[Figure, Any]:
    """Return a figure and its axes, an array (n_rows, n_columns), without touching a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * n_columns, height * n_rows), layout="constrained", dpi=150)
    return figure, figure.subplots(n_rows, n_columns, squeeze=False)


def heat_map(
    values: xr.DataArray, ax: Axes, *, limits: tuple[float, float] = (0.0, 1.0), colours: str = "cividis",
    levels: Sequence[float] = LEVELS,
) -> Any:  # fmt: skip
    """Draw a two-drug slice (dims: two drugs) as cells with contours; failed cells are grey. Returns the mesh."""
    import matplotlib as mpl

    x_drug, y_drug = _two_drugs(values)
    grid = values.transpose(y_drug, x_drug).values
    shades = mpl.colormaps[colours].with_extremes(bad=FAILED)
    n_y, n_x = grid.shape
    mesh = ax.pcolormesh(np.arange(n_x + 1) - 0.5, np.arange(n_y + 1) - 0.5, np.ma.masked_invalid(grid),
                         vmin=limits[0], vmax=limits[1], cmap=shades)  # fmt: skip
    shown = [level for level in levels if np.nanmin(grid, initial=np.inf) < level < np.nanmax(grid, initial=-np.inf)]
    if shown and n_x > 1 and n_y > 1:
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
        doses = values[drug].values
        axis.set_ticks(range(len(doses)), [f"{dose:.3g}" for dose in doses], fontsize=7)
        axis.set_label_text(f"{drug} ({values[drug].attrs.get('units', 'model units')})")
    ax.tick_params(axis="x", rotation=45)


def slice_of(matrix: xr.Dataset | xr.DataArray, *, readout: str, time: float | None = None) -> xr.DataArray:
    """Return the residual of one readout at one time (the last if None); the median over members."""
    values: Any = matrix["residual"] if "residual" in matrix else matrix
    values = values.sel(readout=readout)
    values = values.isel(time=-1) if time is None else values.sel(time=time)
    return values.median("member", keep_attrs=True, skipna=False)


def matrix_figure(matrix: xr.Dataset, readout: str, *, time: float | None = None, columns: int = 4) -> Figure:
    """Return heat maps of the residual of one readout, one panel per context, with contours and failures counted."""
    values = slice_of(matrix, readout=readout, time=time)
    contexts = [str(c) for c in matrix["context"].values]
    n_columns = min(columns, len(contexts))
    figure, axes = new_figure(n_columns, -(-len(contexts) // n_columns))
    mesh: Any = None
    for ax, context in zip(axes.flat, contexts, strict=False):
        mesh = heat_map(values.sel(context=context), ax)
        ax.set_title(context, fontsize=9)
    for ax in axes.flat[len(contexts) :]:
        ax.set_visible(False)
    figure.colorbar(mesh, ax=axes, label=f"{readout} left\n(fraction of {_reference(matrix)})", shrink=0.85)
    figure.suptitle(f"Residual {readout} after {_duration(values)}{_failures(matrix)}", fontsize=10)
    return figure


def contour_figure(matrix: xr.Dataset, readout: str, *, level: float = 0.25, time: float | None = None) -> Figure:
    """Return one panel in which each context is a line: the doses that leave `level` of the readout."""
    from matplotlib.lines import Line2D

    values = slice_of(matrix, readout=readout, time=time)
    figure, axes = new_figure(1, 1, width=5.6, height=3.9)
    ax = axes[0, 0]
    handles = []
    x_drug, y_drug = dose_dims(values)
    for i, context in enumerate(str(c) for c in matrix["context"].values):
        grid = values.sel(context=context).transpose(y_drug, x_drug).values
        colour, line = PALETTE[i % len(PALETTE)], LINES[i % len(LINES)]
        lowest, highest = np.nanmin(grid, initial=np.inf), np.nanmax(grid, initial=-np.inf)
        note = "" if lowest < level < highest else " (below everywhere)" if highest <= level else " (never reached)"
        if not note:
            ax.contour(np.arange(grid.shape[1]), np.arange(grid.shape[0]), grid, levels=[level], linewidths=2,
                       colors=[colour], linestyles=[line])  # fmt: skip
        handles.append(Line2D([], [], color=colour, linestyle=line, label=context + note))
    _dose_ticks(ax, values, x_drug, y_drug)
    ax.set_title(f"Doses that leave {level:.0%} of {readout} after {_duration(values)}", fontsize=10)
    ax.legend(handles=handles, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    return figure


def synergy_figure(excess: Sequence[xr.DataArray], readout: str, *, time: float | None = None) -> Figure:
    """Return one row of panels per synergy model and one column per context; purple is more than expected."""
    contexts = [str(c) for c in excess[0]["context"].values]
    figure, axes = new_figure(len(contexts), len(excess))
    mesh: Any = None
    largest = max(float(np.nanmax(np.abs(slice_of(m, readout=readout, time=time).values), initial=0.0)) for m in excess)
    bound = max(0.1, np.ceil(10 * largest) / 10)  # at least a tenth, so that noise does not look like synergy
    for row, model in zip(axes, excess, strict=True):
        values = slice_of(model, readout=readout, time=time)
        for ax, context in zip(row, contexts, strict=True):
            mesh = heat_map(values.sel(context=context), ax, limits=(-bound, bound), colours="PuOr", levels=())
            ax.set_title(f"{model.attrs['long_name']}, {context}", fontsize=8)
    figure.colorbar(
        mesh, ax=axes, label=f"excess silencing of {readout}\n(fraction of control; > 0: synergy)", shrink=0.8
    )
    return figure


def bars_figure(matrix: xr.Dataset, readouts: Sequence[str], *, time: float | None = None) -> Figure:
    """Return, per readout, what is left in each context under no drug, each drug alone and both, at the top doses."""
    drugs = dose_dims(matrix)
    top = {drug: float(matrix[drug].values[-1]) for drug in drugs}
    arms = {"untreated": dict.fromkeys(drugs, 0.0)}
    for drug in drugs:
        arms[f"{drug} {top[drug]:g} {matrix[drug].attrs.get('units', '')}"] = {**arms["untreated"], drug: top[drug]}
    arms["both" if len(drugs) == 2 else "all"] = top
    contexts = [str(c) for c in matrix["context"].values]
    figure, axes = new_figure(len(readouts), 1, width=2.9, height=3.4)
    for ax, readout in zip(axes[0], readouts, strict=True):
        values = slice_of(matrix, readout=readout, time=time)
        for i, (arm, doses) in enumerate(arms.items()):
            left = values.sel(doses)
            x = np.arange(len(contexts)) + (i - 1.5) * 0.2
            ax.bar(x, left.values, 0.18, label=arm, color=PALETTE[i % len(PALETTE)])
            for xi, v in zip(x, left.values, strict=True):
                if not np.isfinite(v):
                    ax.annotate("failed", (xi, 0.02), rotation=90, fontsize=6, ha="center")
        ax.set_xticks(range(len(contexts)), contexts, rotation=35, ha="right", fontsize=7)
        ax.set_title(readout, fontsize=9)
        ax.set_ylim(0, max(1.1, float(np.nanmax(values.values, initial=1.0)) * 1.05))
        ax.set_ylabel(f"left (fraction of {_reference(matrix)})", fontsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(arms), fontsize=8,
                  frameon=False)  # fmt: skip
    return figure


def time_course(result: Result, observable: str, ax: Axes, *, unit_time: str = "", unit: str = "") -> Axes:
    """Draw one observable of every condition against time; runs that failed are named with their status."""
    from .status import Status

    for i, (name, row) in enumerate(zip(result.conditions, result[observable], strict=True)):
        label = name if result.ok[i] else f"{name} ({Status(int(result.status[i])).name.lower()})"
        ax.plot(result.times, row, LINES[i % len(LINES)], color=PALETTE[i % len(PALETTE)], label=label)
    ax.set_xlabel(f"time ({unit_time or result.attributes.get('unit_time', 'model time')})")
    ax.set_ylabel(f"{observable} ({unit or result.attributes.get('unit_amount', 'model units')})")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=7, frameon=False)
    return ax


def _reference(matrix: xr.Dataset) -> str:
    reference = matrix.attrs.get("reference", "untreated")
    return "untreated control" if reference == "untreated" else f"untreated {reference}"


def _duration(values: xr.DataArray) -> str:
    t, unit = float(values["time"]), values["time"].attrs.get("units", "")
    return f"{t / 3600:g} h" if unit == "s" and t >= 3600 else f"{t:g} {unit}"


def _failures(matrix: xr.Dataset) -> str:
    n = int(matrix.attrs.get("n_failed", 0))
    return f"; {n} of {matrix.attrs.get('n_runs', '?')} runs failed (grey)" if n else ""


def save(figure: Figure, path: Path) -> Path:
    """Write a figure to `path` (PNG, PDF or SVG by its ending) and return the path."""
    figure.savefig(path)
    return path
