"""Figures of a population: what its cells keep in, a waterfall of patients or the sources of variation out."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ..simulator.plots import PALETTE, duration, new_figure
from .population import variation

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

MOST_SOURCES = 12


def waterfall_figure(residual: xr.Dataset, step: int = -1) -> Figure:
    """Return one bar per patient, highest first: the share of cells above the threshold; a cross where unknown."""
    from matplotlib.patches import Patch

    here = residual.isel(step=step)
    share = here["above"].to_numpy()
    order = np.argsort(-np.nan_to_num(share, nan=-1.0), kind="stable")
    contexts = here["context"].to_numpy()[order].astype(str)
    colours = dict(zip(dict.fromkeys(sorted(contexts)), PALETTE * 3, strict=False))
    figure, axes = new_figure(width=max(5.0, 0.14 * len(order) + 2.5), height=3.4)
    ax = axes[0, 0]
    x = np.arange(len(order))
    ax.bar(x, 100 * np.nan_to_num(share[order]), 0.85, color=[colours[c] for c in contexts])
    unknown = np.isnan(share[order])
    ax.plot(x[unknown], np.zeros(unknown.sum()), "x", color="#444444", clip_on=False)
    ax.set_xlabel(f"patients (n = {len(order)}), {here.sizes['cell']} cells each")
    ax.set_xticks([])
    ax.set_ylim(0, 100)
    ax.set_ylabel(f"cells with {here.attrs['readout']} above\n{here.attrs['threshold']:.0%} of untreated (% of cells)")
    figure.legend(handles=[Patch(color=colour, label=name) for name, colour in colours.items()], fontsize=8,
                  frameon=False, loc="outside lower center")  # fmt: skip
    failed = int(here["n_failed"].sum())
    _headline(figure, f"{_doses(here)}{f'; {failed} cells failed' if failed else ''}")
    return figure


def variation_figure(residual: xr.Dataset, step: int = -1) -> Figure:
    """Return bars of the strongest sources of variation, blue where more of it leaves more, orange where less."""
    from matplotlib.patches import Patch

    ranked = variation(residual, step)
    rest = ranked[ranked["source"] == "unexplained"]
    named = ranked[ranked["source"] != "unexplained"].head(MOST_SOURCES)
    shown = [*named.itertuples(), *rest.itertuples()]
    figure, axes = new_figure(width=5.6, height=0.24 * len(shown) + 1.3)
    ax = axes[0, 0]
    colours = ["#999999" if np.isnan(row.rank_correlation) else PALETTE[int(row.rank_correlation < 0)] for row in shown]
    ax.barh(np.arange(len(shown)), [100 * row.share for row in shown], color=colours)
    ax.set_yticks(np.arange(len(shown)), [_label(row.source) for row in shown], fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel(f"share of the variance of log {residual.attrs['readout']} left (%)")
    ax.legend(handles=[Patch(color=PALETTE[0], label="more of it leaves more"),
                       Patch(color=PALETTE[1], label="more of it leaves less")], fontsize=8, frameon=False,
              loc="lower right")  # fmt: skip
    _headline(figure, f"What decides how much is left: {_doses(residual.isel(step=step))}")
    return figure


def _label(source: str) -> str:
    known = {"shared": "shared by all amounts", "context": "genotype", "unexplained": "not described by a line"}
    return known.get(source, source.removeprefix("amount_").removesuffix("_total"))


def _doses(here: xr.Dataset) -> str:
    names = [str(name) for name in here.coords if here[name].attrs.get("role") == "dose"]
    given = [f"{name} {float(here[name]):.3g} {here[name].attrs['units']}" for name in names if here[name] > 0]
    return f"{' + '.join(given) or 'untreated'}, {duration(here.attrs['time'], here.attrs.get('unit_time', 's'))}"


def _headline(figure: Figure, text: str) -> None:
    figure.suptitle(textwrap.fill(text, int(figure.get_figwidth() * 13)), fontsize=9)
