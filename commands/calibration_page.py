"""What a calibration found in; the sections of its page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..simulator.report import Section

if TYPE_CHECKING:
    import pandas as pd


def left_out_section(folder: Path, rows: pd.DataFrame, summary: pd.DataFrame) -> Section:
    """Return what a fit without each group predicts of it, beside the null models, with a figure in `folder`."""
    from ..simulator import plots

    headings = {"left_out": "left out", "covered": "covered (share)", "fold_model": "model, median fold error"}
    headings |= {c: f"{c.removeprefix('fold_')}, median fold error" for c in summary if c not in (*headings, "rows")}
    table = summary.rename(columns=headings)
    path = plots.save(_left_out_figure(rows), folder / "left_out.png")
    words = [
        "Each group was taken out, the rest fitted again, and the group predicted. Covered: share of rows within the "
        "90 % interval (parameters in the normal approximation, noise added). Median fold error: 1 is exact. The "
        "combination never enters a fit; its rows lie near the assay floor, so that copying a single agent predicts "
        "them too. Bliss is of raw values, floor included, which makes it worse than it is above the floor.",
    ]
    return Section("Left out and predicted", words, [("Measured against predicted, rows left out.", path)],
                   [("Per group", table)])  # fmt: skip


def _left_out_figure(rows: pd.DataFrame) -> Any:
    from ..simulator.plots import new_figure

    figure, axes = new_figure(width=5.2, height=4.8)
    axis = np.ravel(axes)[0]
    for marker, (name, part) in zip("osD^v<>PX*", rows.groupby("left_out", sort=False), strict=False):
        bars = np.abs(part[["lower", "upper"]].to_numpy().T - part["predicted"].to_numpy())
        axis.errorbar(part["measured"], part["predicted"], yerr=bars, fmt=marker, ms=4, lw=0.7, alpha=0.8, label=name)
    ends = np.array([rows[["measured", "lower"]].min().min(), rows[["measured", "upper"]].max().max()])
    axis.plot(ends, ends, color="#888888", lw=1, zorder=0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("measured (raw, in the unit of each read-out)")
    axis.set_ylabel("predicted without it, 90 % interval")
    axis.legend(frameon=False, fontsize="x-small")
    return figure


def ensemble_section(path: Path, ensemble: Any) -> Section:
    """Return where an ensemble came from, beside the figure `path` of its bands over the data."""
    told = f"{ensemble.provenance.get('method')}: {ensemble.provenance.get('diagnostics')}"
    words = [
        f"{told}. Each member is the optimum of the problem with data and priors shifted within their noise; exact "
        "where the model is linear in its parameters, an approximation elsewhere.",
    ]
    return Section("The ensemble", words, [("Measured values and the ensemble's 90 % band.", path)])


def predictions_section(posterior: Mapping[str, Sequence[float]], prior: Mapping[str, Sequence[float]]) -> Section:
    """Return predictions that no data here answer, under the fitted ensemble and under the prior."""
    import pandas as pd

    lines = []
    for name in posterior:
        fitted, before = (np.array(values[name], float) for values in (posterior, prior))
        lines.append(
            {
                "left after 24 h": name,
                "fitted: median (5-95 %)": _interval(fitted),
                "prior: median (5-95 %)": _interval(before),
                "spread that is left": f"{_spread(fitted) / _spread(before):.0%}",
                "failed runs": int(np.count_nonzero(~np.isfinite(fitted)) + np.count_nonzero(~np.isfinite(before))),
            }
        )
    words = [
        "Only the parameters of the fitting problem vary; affinities of drugs without data, receptor numbers and the "
        "strengths of stroma keep their nominal values, so that the intervals are too narrow by what these do. Spread "
        "that is left: standard deviation of the logarithm under the fit over that under the prior; near 100 % the "
        "prediction is prior.",
    ]
    return Section("Predictions, and what of their spread is prior", words, (), [("", pd.DataFrame(lines))])


def _interval(values: Any) -> str:
    low, middle, high = np.nanquantile(values, (0.05, 0.5, 0.95))
    return f"{middle:.3g} ({low:.2g}-{high:.2g})"


def _spread(values: Any) -> float:
    known = values[np.isfinite(values) & (values > 0)]
    return float(np.std(np.log(known))) if len(known) > 1 else float("nan")


def behaviours_section(shares: pd.DataFrame) -> Section:
    """Return in how many members of the ensemble each behaviour is shown."""
    words = [
        "A check of the prior and the fit, not a validation: the nominal numbers were chosen with these behaviours in "
        "view. Members act by the parameters of the model that they share in every cell; shifts of single drugs and "
        "inputs of single cells are not laid over these experiments.",
    ]
    return Section("Behaviours B6-B12 across the ensemble", words, (), [("", shares)])
