"""Figures: axes carry names and units, failures show, and files are written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import GRID, decay, net
from helpers import small_matrix as matrix

from residuum.doses import DoseAxis, DoseMatrix, analysis, dose_matrix, figures
from residuum.simulator import Conditions, InputError, Status, plots, simulate
from residuum.simulator.report import Section, write_report

DRUGS = {"alpha": DoseAxis("d1", GRID), "beta": DoseAxis("d2", GRID)}


def texts(figure: object) -> str:
    from matplotlib.text import Text

    return " ".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]


def test_a_matrix_figure_names_drugs_units_contexts_and_readout(tmp_path: Path) -> None:
    figure = figures.matrix_figure(matrix(drugs=DRUGS), "P", time=100.0)
    assert all(word in texts(figure) for word in ("alpha (nM)", "beta (nM)", "slow", "fast", "P left", "untreated"))
    assert plots.save(figure, tmp_path / "m.png").stat().st_size > 5000


def test_contours_say_where_a_level_is_never_reached() -> None:
    m = matrix(drugs=DRUGS)
    m.dataset["value"].loc[{"context": "slow"}] = 0.9 * m.dataset["control"].sel(context="slow")
    figure = figures.contour_figure(m, "P", level=0.25, time=100.0)
    assert "slow (never reached)" in texts(figure) and "fast (never" not in texts(figure)


def without(reason: str) -> DoseMatrix:
    """Return a matrix in which the context `slow` has no numbers: its runs failed, or its control is zero."""
    m = matrix(drugs=DRUGS)
    m.dataset["value" if reason == "failed" else "control"].loc[{"context": "slow"}] = np.nan
    if reason == "failed":
        m.dataset["status"].loc[{"context": "slow"}] = int(Status.NOT_FINITE)
        m.dataset.attrs["n_failed"] = 9
    return m


def test_failed_runs_and_missing_controls_are_told_apart() -> None:
    failed, silent = without("failed"), without("no control")
    words = texts(figures.matrix_figure(failed, "P"))
    assert "9 of 20 runs failed (grey)" in words and "hatched" not in words
    words = texts(figures.matrix_figure(silent, "P"))
    assert "no control signal (hatched)" in words and "failed" not in words
    for figure in (figures.bars_figure, figures.dose_response_figure):
        for m, said, other in ((failed, "failed", "no control"), (silent, "no control signal", "failed")):
            drawn = texts(figure(m if figure is figures.bars_figure else DoseMatrix(m.dataset.isel(beta=[0])), ["P"]))
            assert said in drawn and other not in drawn


def test_synergy_and_bars_are_drawn_for_every_context_and_name_the_time() -> None:
    m = matrix(drugs=DRUGS)
    synergy, bars = (
        figures.synergy_figure([m.synergy("bliss"), m.synergy("hsa")], "P"),
        figures.bars_figure(m, ["P", "one"]),
    )
    assert "Bliss excess, slow" in texts(synergy) and "alpha 3 nM + beta 3 nM" in texts(bars)
    assert all("after 100" in texts(figure) for figure in (synergy, bars))


def test_each_synergy_model_has_its_own_scale() -> None:
    m = matrix(drugs=DRUGS)  # independent actions: no Bliss excess, but an HSA excess
    figure = figures.synergy_figure([m.synergy("bliss"), m.synergy("hsa")], "P")
    limits = {mesh.get_clim() for ax in figure.axes for mesh in ax.collections if ax.get_title()}
    assert len(limits) == 2


@pytest.mark.parametrize("doses", [{"alpha": [0.0, 3.0]}, {"alpha": [0.0, 3.0], "beta": [0.0, 3.0]}])
def test_bars_are_centred_on_their_context(doses: dict[str, list[float]]) -> None:
    parameters = {"alpha": "d1", "beta": "d2"}
    m = matrix(drugs={drug: DoseAxis(parameters[drug], values) for drug, values in doses.items()})
    ax = figures.bars_figure(m, ["P"]).axes[0]
    middles = sorted(bar.get_x() + bar.get_width() / 2 for bar in ax.patches)
    n = len(middles) // 2
    assert np.mean(middles[:n]) == pytest.approx(0) and np.mean(middles[n:]) == pytest.approx(1)


def test_bars_without_a_zero_dose_use_the_lowest_and_say_so() -> None:
    m = matrix(drugs={"alpha": DoseAxis("d1", [1.0, 3.0]), "beta": DoseAxis("d2", [0.0, 3.0])})
    labels = ["alpha 1 nM (lowest)", "alpha 3 nM", "alpha 1 nM (lowest) + beta 3 nM", "alpha 3 nM + beta 3 nM"]
    assert list(figures.arms(m)) == labels and all(label in texts(figures.bars_figure(m, ["P"])) for label in labels)


def test_small_bars_carry_their_number() -> None:
    m = matrix(drugs={"alpha": DoseAxis("d1", [0.0, 999.0])})
    assert "0.001" in texts(figures.bars_figure(m, ["P"]))


@pytest.mark.parametrize("n_contexts", [1, 6])
@pytest.mark.parametrize("kind", ["arms", "title", "curves"])
def test_nothing_is_cut_off_with_one_readout(kind: str, n_contexts: int) -> None:
    from matplotlib.legend import Legend

    m = matrix(drugs=DRUGS, contexts={f"cell {i}": {"kd": 0.5} for i in range(n_contexts)})
    m.dataset.attrs["n_failed"] = 3
    if kind == "curves":
        drawn = figures.dose_response_figure(DoseMatrix(m.dataset.isel(beta=[0])), ["P"])
    else:
        drawn = figures.bars_figure(m, ["P"]) if kind == "arms" else figures.matrix_figure(m, "P")
    drawn.draw_without_rendering()
    (found,) = [drawn._suptitle] if kind == "title" else drawn.findobj(Legend)  # type: ignore[attr-defined]
    box = found.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= drawn.bbox.x1 and box.y0 >= 0 and box.y1 <= drawn.bbox.y1


def test_a_scale_that_exceeds_the_control_says_so() -> None:
    m = matrix(drugs=DRUGS)
    m.dataset["value"][:] *= 3.4
    figure = figures.matrix_figure(m, "P")
    assert "up to 3.4 times the control" in texts(figure) and figure.axes[0].collections[0].get_clim() == (0, 3.4)
    assert figures.matrix_figure(matrix(drugs=DRUGS), "P").axes[0].collections[0].get_clim() == (0, 1)


def test_contours_need_three_doses_of_each_drug() -> None:
    def lines(doses: list[float]) -> int:
        m = matrix(drugs={"alpha": DoseAxis("d1", GRID), "beta": DoseAxis("d2", doses)})
        return len(figures.matrix_figure(m, "P").axes[0].collections) - 1

    assert lines(GRID) == 1 and lines(GRID[:2]) == 0


def test_many_doses_are_thinned_and_written_out() -> None:
    doses = [0.0, *np.geomspace(0.1, 10_000, 12)]
    m = matrix(drugs={"alpha": DoseAxis("d1", doses), "beta": DoseAxis("d2", [0.0, 1000.0])})
    ax = figures.matrix_figure(m, "P").axes[0]
    assert len(ax.get_xticks()) == 7
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1000"]
    assert ax.get_xticklabels()[-1].get_text() == "10000"


def test_one_drug_gives_a_curve_with_the_dose_that_leaves_half() -> None:
    m = matrix(drugs={"alpha": DoseAxis("d1", [0.0, 0.25, 0.5, 2.0, 4.0])})  # P left = 1 / (1 + dose)
    figure = figures.dose_response_figure(m, ["P", "one"], time=100.0)
    words = texts(figure)
    assert "slow: 1 nM" in words and "alpha (nM)" in words and "after 100" in words
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0", "0.25", "0.5", "2", "4"]
    with pytest.raises(InputError, match="one drug with several doses"):
        figures.dose_response_figure(matrix(drugs=DRUGS), ["P"])


def test_hours_are_shown_for_long_courses_and_expressions_have_no_unit() -> None:
    compiled = decay()
    _, axes = plots.new_figure()
    for end, shown in ((86400.0, "time (h)"), (600.0, "time (min)"), (60.0, "time (s)")):
        result = simulate(compiled, [0.0, end], Conditions.product(compiled, k=[1e-5]))
        ax = plots.time_course(result, "A", axes[0, 0], unit_time="s", unit="")
        assert ax.get_xlabel() == shown and ax.get_ylabel() == "A"
    assert ax.get_ylim()[0] < 0  # a curve at zero is not hidden by the frame


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_courses_have_no_empty_panels(n: int) -> None:
    compiled = decay()
    result = simulate(compiled, [0.0, 1.0], observables=["A", "B", "total", "A()", "B()"][:n])
    assert len(plots.courses_figure(result).axes) == n


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
        figures.matrix_figure(m, "P")


def test_a_report_is_one_file_that_needs_nothing_else(tmp_path: Path) -> None:
    m = matrix(drugs=DRUGS)
    picture = plots.save(figures.matrix_figure(m, "P"), tmp_path / "m.png")
    table = m.residual().sel(readout="P", time=1.0).isel(member=0).to_dataframe().reset_index()[["context", "residual"]]
    table.loc[0, "residual"] = np.nan
    page = write_report(
        tmp_path / "r.html", "A <title>", [Section("One", ["<b>text</b>"], [("P", picture)], [("t", table)])]
    )
    html = page.read_text()
    assert "A &lt;title&gt;" in html and "&lt;b&gt;" in html and "data:image/png;base64," in html
    assert ">–<" in html and 'src="http' not in html and "href=" not in html


# ---- ensembles ------------------------------------------------------------------------------------------------------


def of_members(n: int = 20, **changes: Any) -> DoseMatrix:
    """Return a matrix of `n` members with affinities spread over a decade: P left is 1 / ((1 + d1 / K) (1 + d2))."""
    model = net(
        "d1 0; d2 0; K 1", "S1() 1; S2() 1", "0 1 make1; 1 0 1; 0 2 make2; 2 0 1", "one 1; two 2",
        "make1() 1/(1+d1/K); make2() 1/(1+d2); P() one*two",
    )  # fmt: skip
    arguments: dict[str, Any] = {
        "drugs": {"alpha": DoseAxis("d1", [0.0, 0.1, 1, 10, 100]), "beta": DoseAxis("d2", [0.0, 0.1, 1, 10])},
        "contexts": {"slow": {}}, "readouts": ["P"], "times": [100.0],
        "members": [{"K": float(k)} for k in np.geomspace(0.3, 3, n)], **changes,
    }  # fmt: skip
    return dose_matrix(model, **arguments)


def test_a_curve_of_an_ensemble_has_a_band_and_an_interval_of_its_half_dose() -> None:
    m = of_members(drugs={"alpha": DoseAxis("d1", [0.0, *np.geomspace(0.01, 100, 33)])})
    figure = figures.dose_response_figure(m, ["P"])
    words = texts(figure)
    low, middle, high = m.bands().residual.sel(alpha=1.0, method="nearest").squeeze()
    assert low < middle < high and len(figure.axes[0].collections) == 1  # one band
    assert "median and 5-95 % of 20 members" in words
    ranked = analysis.bands(analysis.in_order(m.ic50("alpha")).rename("dose")).dose.squeeze()
    np.testing.assert_allclose(ranked, np.geomspace(0.3, 3, 20)[[0, 9, 18]], rtol=0.02)
    assert f"slow: {ranked[1].item():.3g} nM ({ranked[0].item():.3g} to {ranked[2].item():.3g})" in words


def test_a_heat_map_of_an_ensemble_stands_above_the_width_of_its_band() -> None:
    figure = figures.matrix_figure(of_members(), "P")
    titled = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in titled] == ["slow", "slow, width"]
    bands = of_members().bands().residual.squeeze()
    width = (bands.sel(quantile=0.95) - bands.sel(quantile=0.05)).transpose("beta", "alpha")
    np.testing.assert_allclose(titled[1].collections[0].get_array(), width, rtol=1e-6)


def test_a_contour_of_an_ensemble_has_a_band_that_encloses_it() -> None:
    single, many = (figures.contour_figure(m, "P").axes[0] for m in (of_members(1), of_members()))
    assert len(many.collections) == len(single.collections) + 1


def test_a_few_failed_members_are_left_out_and_half_of_them_leave_no_number() -> None:
    m = of_members(4)
    m.dataset["value"].loc[{"member": 0}] = np.nan
    m.dataset["status"].loc[{"member": 0}] = int(Status.NOT_FINITE)
    assert figures.slice_of(m, readout="P").notnull().all()
    for member in (1, 2):
        m.dataset["value"].loc[{"member": member}] = np.nan
    assert figures.slice_of(m, readout="P").isnull().all()
    assert (figures.reasons(m, readout="P") == "failed").all()
