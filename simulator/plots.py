"""What all figures share, and time courses: a Result and an axis in, the axis out.

Colours are perceptually uniform and safe for colour-blind readers; every axis carries its unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .status import Status

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .result import Result

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's colour-blind safe colours (jfly.uni-koeln.de/color, 2008)."""
LINES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def new_figure(
    n_columns: int = 1, n_rows: int = 1, *, width: float = 3.1, height: float = 2.9, **grid: Any
) -> tuple[Figure, Any]:
    """Return a figure and its axes, an array (n_rows, n_columns), without touching a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(width * n_columns, 4.8), height * n_rows), layout="constrained", dpi=150)
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, **grid)


def duration(time: float, unit: str = "s") -> str:
    """Return a time in words: `2 h`, `10 min`; as it is if the unit is not the second."""
    if unit != "s" or time < 60:
        return f"{time:g} {unit}".strip()
    return f"{time / 3600:g} h" if time >= 3600 else f"{time / 60:g} min"


# ---- time courses -----------------------------------------------------------------------------------------------


def time_course(
    result: Result, observable: str, ax: Axes, *, unit_time: str = "", unit: str | None = None, legend: bool = True
) -> Axes:
    """Draw one observable of every condition against time; runs that failed are named with their status.

    Seconds are shown as minutes or hours where the range calls for it. `unit` is that of the observable: that of
    amounts if None, none if empty.
    """
    unit_time = unit_time or result.attributes.get("unit_time", "model time")
    unit = result.attributes.get("unit_amount", "model units") if unit is None else unit
    shown, scale = unit_time, 1.0
    if unit_time == "s":
        span = float(result.times[-1])
        shown, scale = ("h", 3600.0) if span >= 7200 else ("min", 60.0) if span >= 300 else ("s", 1.0)
    for i, (name, row) in enumerate(zip(result.conditions, result[observable], strict=True)):
        label = name if result.ok[i] else f"{name} ({Status(int(result.status[i])).name.lower()})"
        ax.plot(result.times / scale, row, LINES[i % len(LINES)], color=PALETTE[i % len(PALETTE)], label=label)
    ax.set_xlabel(f"time ({shown})")
    ax.set_ylabel(f"{observable} ({unit})" if unit else observable)
    lowest, highest = (float(f(result[observable], initial=0.0)) for f in (np.nanmin, np.nanmax))
    if highest > lowest:
        ax.set_ylim(min(1.05 * lowest, -0.03 * highest), max(1.05 * highest, -0.03 * lowest))  # zero is off the frame
    if legend:
        ax.legend(fontsize=7, frameon=False)
    return ax


def courses_figure(
    result: Result, units: Mapping[str, str | None] | None = None, observables: Sequence[str] | None = None
) -> Figure:
    """Return one panel per observable of a Result, or per chosen one; `units` overrides that of amounts."""
    names = result.observables if observables is None else observables
    n_columns = 2 if len(names) == 4 else min(len(names), 3)
    figure, axes = new_figure(n_columns, -(-len(names) // n_columns), width=4)
    for name, ax in zip(names, axes.flat, strict=False):
        time_course(result, name, ax, unit=(units or {}).get(name), legend=False)
    for ax in axes.flat[len(names) :]:
        ax.remove()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", fontsize=8, frameon=False)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a figure to `path` (PNG, PDF or SVG by its ending), whole or not at all, and return the path."""
    from .report import write_whole

    return write_whole(path, lambda part: figure.savefig(part, format=path.suffix.lower().removeprefix(".") or "png"))
