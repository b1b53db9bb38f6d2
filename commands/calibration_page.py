"""What a calibration found in; the sections of its page out, with their figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.plots import MARKERS, PALETTE, new_figure, save
from ..simulator.report import Section
from .members import Answers, variance_parts

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]

MODEL, OUTSIDE = PALETTE[0], PALETTE[1]
WIDEST = 30.0
"""Largest factor between predicted and measured that the figure shows; what lies further out is drawn at its edge."""
PRIOR, PRIOR_AT_NOMINAL = "prior", "prior, RAF-MEK-DUSP nominal"
LITTLE = 0.1
"""Of the untreated read-out at the nominal values: a draw that leaves less is counted."""


# ---- the ensemble -----------------------------------------------------------------------------------------------


def ensemble_section(folder: Path, bands: Any, ensemble: Any) -> Section:
    """Return where an ensemble came from, with the figure `bands` of it over the data, written into `folder`."""
    path = save(bands, folder / "bands.png")
    words = [
        f"{ensemble.provenance.get('method')}: {ensemble.provenance.get('diagnostics')}. Each member of a refit is the "
        "optimum of the problem with data and priors shifted within their noise.",
    ]
    return Section("The ensemble", words, [("Measured values and the ensemble's 90 % band.", path)])


# ---- what was left out ------------------------------------------------------------------------------------------


def left_out_section(folder: Path, rows: pd.DataFrame, summary: pd.DataFrame) -> Section:
    """Return what a fit without each group predicts of it, beside the null models, with a figure in `folder`."""
    folds = [column for column in summary if column.startswith("fold_")]
    headings = {"left_out": "left out", "covered": "covered (share)", "ended": "fit without it"}
    headings |= {name: name.removeprefix("fold_") for name in folds}
    table = summary.rename(columns=headings)
    combined = summary.filter(like="fold_Bliss").notna().any(axis=1)
    path = save(_left_out_figure(rows, summary), folder / "left_out.png")
    words = [
        "Each group was taken out, the rest fitted again, and the group predicted. Covered: share of rows within the "
        "90 % interval (parameters in the normal approximation, noise added; an interval much wider than the data "
        "covers without saying anything). The other columns are median fold errors, of the model and of each null "
        "model: 1 is exact.",
        "The combination never enters a fit; its rows lie near the assay floor, so that copying a single agent "
        "predicts them too. Bliss above the floor takes off what the fit sees as the signal of an empty assay.",
        "IC50s known as a range are two rows: at its lower end at least half is left, at its upper end at most half. "
        "A row is covered if the interval meets its side of the half, and its fold error is 1 well within. A null "
        "model that copies a half would be exact by construction, so there is none; published for both lines at "
        "once, these ranges say little of one line against the other. The untreated rows, 1 by definition, stay in.",
    ]
    caption = (
        "Predicted over measured, with the 90 % interval, for every row that was left out (left; at most "
        f"{WIDEST:.0f}-fold shown), and median fold error of the model and the null models (right)."
    )
    tables = [
        ("Never fitted", table[combined].dropna(axis=1, how="all")),
        ("Left out in turn", table[~combined].dropna(axis=1, how="all")),
    ]
    return Section("Left out and predicted", words, [(caption, path)], tables)


def _left_out_figure(rows: pd.DataFrame, summary: pd.DataFrame) -> Any:
    figure, axes = new_figure(2, width=4.6, height=2.0 + 0.042 * len(rows), sharey=True)
    place, middles = 0.0, []
    for name in summary["left_out"]:
        part = rows[rows["left_out"] == name].sort_values("fold")
        y = place + np.arange(len(part))
        middles.append(y.mean())
        place = y[-1] + 4
        low, mid, high = (
            np.clip(part[c] / part["measured"], 1 / WIDEST, WIDEST) for c in ("lower", "predicted", "upper")
        )
        colours = np.where(part["covered"], MODEL, OUTSIDE)
        axes[0, 0].hlines(y, low, high, color=colours, lw=1, alpha=0.6)
        axes[0, 0].scatter(mid, y, color=colours, s=7, zorder=3)
    for colour, words in ((MODEL, "measured within the 90 % interval"), (OUTSIDE, "outside")):
        axes[0, 0].plot([], [], "o-", color=colour, ms=3, lw=1, label=words)
    nulls = [column for column in summary if column.startswith("fold_") and column != "fold_model"]
    for column, marker, colour in zip(nulls, MARKERS[1:] * 2, PALETTE[1:] + PALETTE[2:], strict=False):
        axes[0, 1].plot(summary[column], middles, marker, color=colour, ms=6, mfc="white", label=column[5:])
    axes[0, 1].plot(summary["fold_model"], middles, MARKERS[0], color=MODEL, ms=7, label="model")
    axes[0, 0].set_yticks(middles, summary["left_out"])
    axes[0, 0].set_ylim(place - 2, -2)
    axes[0, 0].set_xlim(0.95 / WIDEST, 1.05 * WIDEST)
    for axis, words in zip(axes[0], ("predicted / measured", "median fold error"), strict=True):
        axis.set_xscale("log")
        axis.axvline(1, color="#888888", lw=0.8, zorder=0)
        axis.set_xlabel(words)
        axis.tick_params(axis="y", length=0)
        axis.legend(frameon=False, fontsize="x-small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    ticks = (1, 1.5, 2, 3, 5, 10)
    axes[0, 1].set_xticks([t for t in ticks if t <= 1.5 * np.nanmax(summary.filter(like="fold_"))])
    axes[0, 1].minorticks_off()
    axes[0, 1].xaxis.set_major_formatter("{x:g}")
    axes[0, 0].xaxis.set_major_formatter("{x:g}")
    return figure


# ---- predictions beyond the data --------------------------------------------------------------------------------


def predictions_section(folder: Path, questions: Sequence[object], prior: Answers, fitted: Answers, drawn: Answers,
                        from_priors: Float) -> Section:  # fmt: skip
    """Return what the ensembles answer, and where its variance comes from, with a figure in `folder`.

    Parameters
    ----------
    folder
        Where the figure goes.
    questions
        What was asked, in words.
    prior, fitted : (n_members, n_questions)
        Under the prior and the fitted ensemble.
    drawn : (n_members, n_draws, n_questions)
        Under the fitted ensemble with joint draws of RAF-MEK-DUSP parameters laid over it.
    from_priors : (n_questions,)
        Share of the variance of the fit that comes from its priors.
    """
    import pandas as pd

    names = [f"{question}" for question in questions]
    parts = np.array([variance_parts(table) for table in np.moveaxis(drawn.left, -1, 0)])
    of_fit, of_draws, of_both = parts.T / parts.sum(axis=1)
    shares = pd.DataFrame(
        {
            "data": (1 - from_priors) * of_fit,
            "priors of the fit": from_priors * of_fit,
            "RAF-MEK-DUSP draws": of_draws,
            "draws and fit together": of_both,
        },
        index=names,
    )
    everything = [values.left.reshape(-1, len(names)) for values in (prior, fitted, drawn)]
    columns = ("prior", "fitted", "fitted, with RAF-MEK-DUSP draws")
    table = pd.DataFrame(
        {
            "left after 24 h": names,
            **{
                column: [_interval(left) for left in values.T]
                for column, values in zip(columns, everything, strict=True)
            },
            "sd, fitted / prior": np.nanstd(everything[1], axis=0) / np.nanstd(everything[0], axis=0),
            "failed runs": [
                ", ".join(str(np.count_nonzero(~np.isfinite(values[:, i]))) for values in everything)
                for i in range(len(names))
            ],
        }
    )
    percent = shares.assign(**{PRIOR: 1 - shares["data"], PRIOR_AT_NOMINAL: from_priors}).map(
        lambda share: f"{share:.0%}" if share == share else "–"
    )
    path = save(_predictions_figure(names, everything, columns, shares), folder / "predictions.png")
    words = [
        "Fraction of the untreated read-out that is left: median (5-95 %). Affinities of drugs without data, receptor "
        "numbers and the strengths of stroma keep their nominal values, so that all intervals are too narrow by what "
        "these do. Failed runs: of the prior, the fitted ensemble, and that with draws.",
        _about_draws(drawn, fitted),
        "Where the variance comes from: members and draws are crossed, and the variance of what is left parted into "
        "that of members, that of draws, and what only both together do. That of members is parted once more, into "
        "what noise of the data and what the priors of the fit do to it (in linear approximation at the optimum: with "
        "C the covariance of the parameters, H the information of the data and P that of the priors, C = C H C + C P "
        "C). Prior is all but the data: with the draws, and with the nominal values in their place.",
    ]
    caption = (
        "What is left after 24 h, median and 90 % interval (left), and where the variance of the fitted ensemble with "
        "draws comes from (right)."
    )
    tables = [
        ("What is left", table),
        ("Where the variance comes from", percent.reset_index(names="left after 24 h")),
    ]
    return Section("Predictions, and what of their spread is prior", words, [(caption, path)], tables)


def _interval(values: Float) -> str:
    low, middle, high = np.nanquantile(values, (0.05, 0.5, 0.95))
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _about_draws(drawn: Answers, fitted: Answers) -> str:
    n, m, _ = drawn.untreated.shape
    lost = np.count_nonzero(~np.isfinite(drawn.left).any(axis=(0, 2)))
    usual = np.nanmedian(fitted.untreated, axis=0)
    with np.errstate(all="ignore"):
        ratio = np.array([[_median(drawn.untreated[:, j, q]) / usual[q] for q in range(len(usual))] for j in range(m)])
    faint = np.count_nonzero((ratio < LITTLE).any(axis=1))
    return (
        f"RAF-MEK-DUSP parameters were not fitted here: {m} joint draws from the published fits are laid over each of "
        f"{n} members. These are not fitted again under a draw, which would take back a part of what it does, and the "
        "centre of the draws is not the nominal set. Draws under which no run ends in a steady state: "
        f"{lost}; others under which a cell without drugs has less than {LITTLE:.0%} of its usual signal: {faint}. "
        "They are of melanoma cells, and are kept in as they came."
    )


def _median(values: Float) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _predictions_figure(names: Sequence[str], everything: Sequence[Float], labels: Sequence[str],
                        shares: pd.DataFrame) -> Any:  # fmt: skip
    figure, axes = new_figure(2, width=4.4, height=1.4 + 0.5 * len(names), sharey=True)
    y = np.arange(len(names), dtype=float)
    looks = zip((-0.22, 0.0, 0.22), ("#777777", PALETTE[0], PALETTE[1]), MARKERS, everything, labels, strict=False)
    for shift, colour, marker, values, label in looks:
        low, middle, high = np.nanquantile(values, (0.05, 0.5, 0.95), axis=0)
        axes[0, 0].hlines(y + shift, low, high, color=colour, lw=2)
        axes[0, 0].plot(middle, y + shift, marker, color=colour, ms=5, label=label)
    start = np.zeros(len(names))
    for colour, (label, share) in zip((PALETTE[2], PALETTE[4], PALETTE[5], PALETTE[3]), shares.items(), strict=True):
        axes[0, 1].barh(y, share, left=start, height=0.6, color=colour, label=label)
        start = start + share.to_numpy()
    axes[0, 0].set_yticks(y, [name.replace(", ", "\n", 1).replace(", ", "\n", 1) for name in names], fontsize="x-small")
    axes[0, 0].set_ylim(len(names) - 0.4, -0.6)
    axes[0, 0].set_xlim(-0.02, 1.02)
    axes[0, 1].set_xlim(0, 1)
    for axis, words in zip(axes[0], ("fraction of untreated left at 24 h", "share of the variance"), strict=True):
        axis.set_xlabel(words)
        axis.tick_params(axis="y", length=0)
        axis.legend(frameon=False, fontsize="x-small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


# ---- behaviours -------------------------------------------------------------------------------------------------


def behaviours_section(shares: pd.DataFrame) -> Section:
    """Return in how many members of the prior and of the fitted ensemble each behaviour is shown."""
    words = [
        "A prior-predictive check, and the same after the fit; no validation, since the nominal numbers were chosen "
        "with these behaviours in view. Members act as residuum.aml_fitted lays them over each cell and its drugs, "
        "shifts of drugs and inputs of cells included. A behaviour is shown if all its findings lie in their ranges.",
    ]
    return Section("Behaviours B6-B12 across members", words, (), [("", shares)])
