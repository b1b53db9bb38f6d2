"""Figures: axes carry names and units, failures show, and files are written whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import GRID, decay
from helpers import small_matrix as matrix

from residuum.simulator import Conditions, DoseAxis, InputError, bliss_excess, hsa_excess, plots, simulate
from residuum.simulator.report import Section, write_report

DRUGS = {"alpha": DoseAxis("d1", GRID), "beta": DoseAxis("d2", GRID)}


def texts(figure: object) -> str:
    from matplotlib.text import Text

    return " ".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]


def test_a_matrix_figure_names_drugs_units_contexts_and_readout(tmp_path: Path) -> None:
    figure = plots.matrix_figure(matrix(drugs=DRUGS), "P", time=100.0)
    assert all(word in texts(figure) for word in ("alpha (nM)", "beta (nM)", "slow", "fast", "P left", "untreated"))
    assert plots.save(figure, tmp_path / "m.png").stat().st_size > 5000


def test_contours_say_where_a_level_is_never_reached() -> None:
    m = matrix(drugs=DRUGS)
    m.residual.loc[{"context": "slow"}] = 0.9
    figure = plots.contour_figure(m, "P", level=0.25, time=100.0)
    assert "slow (never reached)" in texts(figure) and "fast (never" not in texts(figure)


def test_failed_runs_are_counted_in_the_title() -> None:
    m = matrix(drugs=DRUGS)
    m.residual.loc[{"context": "slow", "alpha": 3.0}] = np.nan
    m.attrs["n_failed"] = 3
    assert "3 of 20 runs failed" in texts(plots.matrix_figure(m, "P"))


def test_synergy_and_bars_are_drawn_for_every_context() -> None:
    m = matrix(drugs=DRUGS)
    assert "Bliss excess, slow" in texts(plots.synergy_figure([bliss_excess(m), hsa_excess(m)], "P"))
    assert "alpha 3 nM" in texts(plots.bars_figure(m, ["P", "one"]))


def test_a_time_course_names_failed_runs() -> None:
    compiled = decay()
    result = simulate(compiled, [0.0, 1.0], Conditions.product(compiled, k=[1.0, 2.0]))
    result.status[1] = 3
    _, axes = plots.new_figure()
    ax = plots.time_course(result, "A", axes[0, 0], unit_time="s", unit="nM")
    assert ax.get_xlabel() == "time (s)" and ax.get_ylabel() == "A (nM)"
    assert "k=2 (not_finite)" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_heat_map_needs_two_drugs() -> None:
    m = matrix(drugs={"alpha": DRUGS["alpha"]})
    with pytest.raises(InputError, match="two drugs"):
        plots.matrix_figure(m, "P")


def test_a_report_is_one_file_that_needs_nothing_else(tmp_path: Path) -> None:
    m = matrix(drugs=DRUGS)
    picture = plots.save(plots.matrix_figure(m, "P"), tmp_path / "m.png")
    table = m.residual.sel(readout="P", time=1.0).isel(member=0).to_dataframe().reset_index()[["context", "residual"]]
    table.loc[0, "residual"] = np.nan
    page = write_report(
        tmp_path / "r.html", "A <title>", [Section("One", ["<b>text</b>"], [("P", picture)], [("t", table)])]
    )
    html = page.read_text()
    assert "A &lt;title&gt;" in html and "&lt;b&gt;" in html and "data:image/png;base64," in html
    assert ">–<" in html and 'src="http' not in html and "href=" not in html
