"""Figures of ranked treatments: what they leave in, maps of all pairs, intervals and shares of spread out.

The dataset is that of `compare`, its treatments with the coordinates `tki` and `partner`, empty where there is none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..simulator.plots import MARKERS, PALETTE, duration, new_figure
from .figures import MISSING
from .ranking import ranked

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

ALONE = "alone"


def pair_map(found: xr.Dataset, readout: str, *, absolute: bool = False, columns: int = 3) -> Figure:
    """Return one map per context, inhibitors by partners: the median over members of what is left.

    Rows and columns are in order of what they leave on average over contexts, the least first. Where all runs failed, a
    cell is grey; without any drug, it is the untreated cell.
    """
    import matplotlib as mpl

    table = _table(found, readout, absolute).pivot_table(
        index="tki", columns="partner", values="median", aggfunc="mean", dropna=False
    )
    first, second = (_ordered(table.mean(axis=axis)) for axis in (1, 0))
    contexts = [str(name) for name in found["context"].values]
    n_columns = min(columns, len(contexts))
    figure, axes = new_figure(n_columns, -(-len(contexts) // n_columns), width=0.43 * len(second) + 1.3,
                              height=max(3.0, 0.27 * len(first) + 1.2))  # fmt: skip
    shades = mpl.colormaps["cividis"].with_extremes(bad=MISSING)
    rows = _table(found, readout, absolute)
    mesh: Any = None
    for i, (ax, context) in enumerate(zip(axes.flat, contexts, strict=False)):
        here = rows[rows["context"] == context]
        grid = here.pivot_table(index="tki", columns="partner", values="median", dropna=False).reindex(first)[second]
        if "" in grid.index and "" in grid.columns:
            grid.loc["", ""] = here["control"].iloc[0] if absolute else 1.0  # the untreated cell
        values = grid.to_numpy(float)
        mesh = ax.imshow(np.ma.masked_invalid(values), vmin=0, vmax=1, cmap=shades, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ax.text(column, row, f"{100 * value:.0f}" if value >= 0.01 else "<1", ha="center", va="center",
                        fontsize=6.5, color="white" if value < 0.5 else "black")  # fmt: skip
        ax.set_title(context, fontsize=9)
        ax.set_xticks(range(len(second)), [name or ALONE for name in second], rotation=55, ha="right",
                      rotation_mode="anchor", fontsize=7)  # fmt: skip
        ax.set_yticks(range(len(first)), [name or "(no TKI)" for name in first] if i % n_columns == 0 else [],
                      fontsize=7)  # fmt: skip
        ax.set_xlim(-0.5, len(second) - 0.5)
    for ax in axes.flat[len(contexts) :]:
        ax.remove()
    unit = "from 0 to 1" if absolute else "fraction of the untreated cell"
    figure.colorbar(mesh, ax=figure.axes, shrink=0.6).set_label(f"{readout}{'' if absolute else ' left'} ({unit})")
    what = readout if absolute else f"{readout} left (% of the untreated cell)"
    if absolute:
        what = f"{readout} x 100"
    _headline(figure, f"{what} after {_time(found)}, median of {found.sizes['member']} members{_failed(found)}")
    return figure


def interval_figure(
    found: xr.Dataset, readout: str, partners: Sequence[str] = (), *, absolute: bool = False, columns: int = 3
) -> Figure:
    """Return one panel per context: what each inhibitor leaves, alone and with some partners, median and 5-95 %.

    A hollow mark is a treatment at an exposure that is not known from patients.
    """
    rows = _table(found, readout, absolute)
    rows = rows[rows["partner"].isin(["", *partners]) & (rows["tki"] != "")]
    tkis = _ordered(rows[rows["partner"] == ""].groupby("tki")["median"].mean())
    contexts = [str(name) for name in found["context"].values]
    n_columns = min(columns, len(contexts))
    figure, axes = new_figure(
        n_columns, -(-len(contexts) // n_columns), width=3.0, height=max(2.9, 0.3 * len(tkis) + 0.9)
    )
    offsets = np.linspace(-0.22, 0.22, 1 + len(partners)) if partners else np.zeros(1)
    highest = max(1.0, float(rows["high"].max()))
    for i, (ax, context) in enumerate(zip(axes.flat, contexts, strict=False)):
        here = rows[rows["context"] == context].set_index(["partner", "tki"])
        for k, partner in enumerate(("", *partners)):
            colour = PALETTE[k % len(PALETTE)]
            for y, tki in enumerate(tkis):
                if (partner, tki) not in here.index:
                    continue
                row = here.loc[(partner, tki)]
                clinical = "basis" not in row or row["basis"] == "clinical free exposure"
                ax.plot([row["low"], row["high"]], [y + offsets[k]] * 2, color=colour, linewidth=1.5)
                ax.plot(row["median"], y + offsets[k], MARKERS[k % len(MARKERS)], color=colour, markersize=4.5,
                        markerfacecolor=colour if clinical else "white")  # fmt: skip
        ax.set_title(context, fontsize=9)
        ax.set_yticks(range(len(tkis)), tkis if i % n_columns == 0 else [], fontsize=8)
        ax.set_ylim(len(tkis) - 0.5, -0.5)
        ax.set_xlim(-0.02, min(1.05 * highest, 2.0))
        ax.tick_params(axis="x", labelsize=7)
        ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    for ax in axes.flat[len(contexts) :]:
        ax.remove()
    for ax in axes.flat[max(0, len(contexts) - n_columns) : len(contexts)]:
        ax.set_xlabel(readout if absolute else f"{readout} left\n(fraction of the untreated cell)", fontsize=8)
    handles = [
        _mark(PALETTE[k % len(PALETTE)], MARKERS[k % len(MARKERS)], f"TKI + {name}" if name else "TKI alone")
        for k, name in enumerate(("", *partners))
    ]
    if "basis" in rows:
        handles.append(_mark("#555555", "o", "hollow: dose of equal effect, not from patients", face="white"))
    figure.legend(handles=handles, fontsize=8, frameon=False, loc="outside lower center", ncols=2)
    _headline(figure, f"{readout} after {_time(found)}: median and 5-95 % of {found.sizes['member']} "
                      f"members{_failed(found)}")  # fmt: skip
    return figure


def shares_figure(shares: pd.DataFrame, readout: str, treatments: Sequence[str]) -> Figure:
    """Return, per treatment, bars of the part of each source in the spread, one group per context."""
    sources = [name for name in shares.columns if name not in ("readout", "context", "treatment", "log10_sd")]
    here = shares[(shares["readout"] == readout) & shares["treatment"].isin(treatments)]
    contexts = list(dict.fromkeys(here["context"]))
    figure, axes = new_figure(1, len(treatments), width=max(6.5, 0.75 * len(contexts) + 2), height=2.4)
    step = 0.8 / len(sources)
    for ax, treatment in zip(axes[:, 0], treatments, strict=True):
        of = here[here["treatment"] == treatment].set_index("context").reindex(contexts)
        for k, source in enumerate(sources):
            x = np.arange(len(contexts)) + (k - (len(sources) - 1) / 2) * step
            ax.bar(x, 100 * of[source].to_numpy(float), 0.9 * step, color=PALETTE[k % len(PALETTE)], label=source)
        ax.set_title(treatment, fontsize=9)
        ax.set_xticks([])
        ax.set_ylabel("share of the\nvariance (%)", fontsize=8)
    ax.set_xticks(range(len(contexts)), contexts, rotation=30, ha="right", rotation_mode="anchor", fontsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside right upper")
    _headline(figure, f"What would remain of the variance of {readout} left if all else were known")
    return figure


def _table(found: xr.Dataset, readout: str, absolute: bool) -> pd.DataFrame:
    return ranked(found.sel(readout=[readout]), absolute=[readout] if absolute else [])


def _ordered(means: pd.Series) -> list[str]:
    """Return the names by what they leave, the least first; what stands for no drug before all."""
    names = [str(name) for name in means.sort_values(kind="stable").index]
    return [name for name in names if not name] + [name for name in names if name]


def _mark(colour: str, marker: str, label: str, face: str = "") -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, markerfacecolor=face or colour, markersize=5, label=label,
                  linestyle="none" if face else "-")  # fmt: skip


def _time(found: xr.Dataset) -> str:
    return duration(float(found.attrs["time"]), str(found.attrs.get("unit_time", "s")))


def _failed(found: xr.Dataset) -> str:
    n = int(found.attrs["n_failed"])
    return f"; {n} of {found.attrs['n_runs']} runs failed" if n else ""


def _headline(figure: Figure, text: str) -> None:
    figure.suptitle(textwrap.fill(text, int(figure.get_figwidth() * 12.5)), fontsize=10)
