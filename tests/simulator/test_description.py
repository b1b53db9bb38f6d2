"""The model page: nothing is left out, what is not known or not reproduced shows, the files are whole."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import net
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

import residuum
from residuum import commands
from residuum.simulator import diagrams, plots
from residuum.simulator.description import (
    Description,
    Shown,
    affinities,
    assumptions,
    evidence,
    exposures,
    text,
    write_page,
)
from residuum.simulator.diagrams import Module, folded, groups_of


@dataclass(frozen=True)
class Finding:
    quantity: str
    value: float
    lower: float
    upper: float
    unit: str = "fraction"

    @property
    def holds(self) -> bool:
        return self.lower <= self.value <= self.upper


@dataclass(frozen=True)
class Curve:
    label: str
    x: Sequence[Any]
    y: Sequence[float]
    x_label: str = "drug (nM)"
    y_label: str = "left"


RIGHT = Finding("a quantity that fits", 0.5, 0.0, 1.0)
WRONG = Finding("a quantity that does not", 3.0, 0.0, 1.0)
MISSING = Finding("a run that failed", float("nan"), 0.0, 1.0)
LINES = (Curve("cell", [0.0, 1.0, 10.0, 100.0], [1.0, 0.5, 0.1, 0.0]), Curve("other", ["a", "b"], [1.0, 2.0], "", ""))


def shown(id_: str, *findings: Finding) -> Shown:
    return Shown(id_, f"What {id_} states.", "within a fold.", ("lee2017",), "its gain", findings, LINES)


@pytest.fixture(scope="module")
def model() -> Description:
    compiled = residuum.aml_model()
    behaviours = (shown("B1", RIGHT), shown("B2", RIGHT, WRONG), shown("B3", MISSING))
    tables = residuum.aml_tables()
    return Description(compiled.name, "1.0", compiled.network, residuum.aml_modules(), tables, behaviours)


@pytest.fixture(scope="module")
def page(model: Description, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "behaviour_B99.png").write_text("of a former page")
    (folder / "mine.png").write_text("of somebody else")
    return write_page(folder, model)


@pytest.fixture(scope="module")
def html(page: Path) -> str:
    return page.read_text(encoding="utf-8")


# ---- nothing is left out ----------------------------------------------------------------------------------------


def test_the_page_names_every_parameter_with_its_value(model: Description, html: str) -> None:
    cells = re.findall(r'<td class="text">(\w+)</td><td class="text">([-\d.e+]+)(?: \(by context\))?</td>', html)
    given = {name: float(value) for name, value in cells}
    for row in model.tables["parameters"].itertuples():
        assert given[row.name] == pytest.approx(row.value, rel=1e-3), row.name


def test_the_page_cites_every_publication_with_its_doi(model: Description, html: str) -> None:
    assert len(model.tables["references"]) > 10
    for row in model.tables["references"].itertuples():
        assert f">{row.key}<" in html and (not row.doi or f'href="https://doi.org/{row.doi}"' in html), row.key


def test_the_page_has_the_names_of_all_things(model: Description, html: str) -> None:
    tables = model.tables
    notes = tables["notes"].subject[tables["notes"].kind != "misfit"]
    for names in (tables["contexts"].name, tables["drugs"].drug, tables["readouts"].readout, notes):
        assert [name for name in names if name not in html] == []
    assert [module.name for module in model.modules if f">{module.name}<" not in html] == []


def test_every_assumption_and_every_doubt_is_listed_with_its_reason(model: Description, html: str) -> None:
    listed = {reason for rows in assumptions(model).values() for _, _, reason in rows}
    parameters = model.tables["parameters"]
    for note in parameters.note[parameters.source == "assumed"]:
        assert note in listed
    drugs = model.tables["drugs"]
    for row in drugs[(drugs.source == "unchecked") & (drugs.kd_nM != "unknown")].itertuples():
        assert f"unchecked: {row.note}" in listed
    assert 'class="text assumed">assumed<' in html and 'class="text unchecked">unchecked<' in html


def test_counts_of_what_numbers_rest_on_add_up(model: Description) -> None:
    counts = evidence(model.tables)
    assert (counts[["citation", "assumed", "unchecked", "context"]].sum(axis=1) == counts.rows).all()
    rows = dict(zip(counts.table, counts.rows, strict=True))
    assert rows["drugs"] == len(model.tables["drugs"]) and 100 < rows["parameters"] < len(model.tables["parameters"])


def test_alike_assumptions_are_one_and_others_are_not() -> None:
    rows = [
        {"name": f"drug{i}_kd", "value": 1.0, "unit": "nM", "source": "assumed", "note": "empty"} for i in (1, 2, 3)
    ]
    rows += [{"name": "drug4_kd", "value": 2.0, "unit": "nM", "source": "unchecked", "note": "empty"}]
    tables = {"parameters": pd.DataFrame(rows)}
    network = net("k 1", "A() 1", "1 0 k", "A 1").network
    listed = assumptions(Description("m", "1", network, (), tables))
    assert listed == {"Parameters: other": [("drug1-3_kd", "1 nM", "empty"), ("drug4_kd", "2 nM", "unchecked: empty")]}


# ---- what is not known, what is not reproduced ------------------------------------------------------------------


def test_what_is_unknown_is_not_what_does_not_bind() -> None:
    rows = [("a", "X", "2", "3"), ("a", "Y", ">10000", ""), ("b", "X", "unknown", ""), ("b", "X-mutant", "5", "")]
    kd, own = affinities(pd.DataFrame(rows, columns=["drug", "target", "kd_nM", "cell_shift"]))
    assert kd.loc["a", "X"] == 6 and np.isinf(kd.loc["a", "Y"])
    assert np.isnan(kd.loc["b", "X"]) and np.isnan(kd.loc["b", "Y"])
    assert kd.loc["a", "X-mutant"] == 6 and not own.loc["a", "X-mutant"] and own.loc["b", "X-mutant"]
    assert list(kd.columns) == ["X", "X-mutant", "Y"]
    ax = diagrams.affinity_figure(kd, own).axes[0]
    hatched = {(p.get_x(), p.get_y()) for p in ax.patches if p.get_hatch()}
    assert hatched == {(0, 1), (2, 1)}
    assert {t.get_text() for t in ax.texts} == {"6", "(6)", "5"}


def test_unknown_exposure_is_said_even_where_there_is_no_row() -> None:
    rows = [("a", "free_fraction", "0.1", "1"), ("b", "half_life", "unknown", "s")]
    table = exposures(pd.DataFrame(rows, columns=["drug", "quantity", "value", "unit"]))
    assert list(table.columns) == ["drug", "free fraction", "half life (s)"]
    assert [[str(cell) for cell in row] for row in table.to_numpy()] == [
        ["a", "0.1", "unknown"],
        ["b", "unknown", "unknown"],
    ]


def test_unknowns_show_on_the_page_and_in_the_text(model: Description, html: str) -> None:
    assert html.count('class="text unknown">unknown<') > 10
    assert "Kd not known" in text(model) and "exposure not known" in text(model)


def test_a_behaviour_is_reproduced_if_every_finding_holds() -> None:
    assert shown("B1", RIGHT).reproduced
    assert not any(shown("B1", *findings).reproduced for findings in [(RIGHT, WRONG), (MISSING,), ()])


def test_what_is_not_reproduced_comes_first_and_says_what_is_off(model: Description, html: str) -> None:
    assert (
        html.index("<h3>B2: not reproduced") < html.index("<h3>B3: not reproduced") < html.index("<h3>B1: reproduced")
    )
    assert "1 of 3 published behaviours" in html and "Not reproduced: B2, B3" in html
    assert (
        "B2 is not reproduced. No reason is noted. Out of range: a quantity that does not: 3, expected 0 to 1" in html
    )
    assert "a run that failed: no number" in html and "a quantity that fits: " not in html
    words = " ".join(text(model).split())
    assert words.index("B2 NOT REPRODUCED No reason") < words.index("B1 reproduced What B1 states.")


def test_reasons_are_noted_of_behaviours_that_exist(model: Description) -> None:
    notes = model.tables["notes"]
    assert set(notes.kind) == {"choice", "absent", "misfit"}
    assert set(notes.subject[notes.kind == "misfit"]) <= set(model.tables["behaviours"].id)


def test_a_noted_reason_is_given(model: Description) -> None:
    note = pd.DataFrame([{"kind": "misfit", "subject": "B2", "note": "Because of this."}])
    noted = replace(model, tables={**model.tables, "notes": note})
    assert noted.reason(noted.behaviours[1]).startswith("Because of this. Out of range: a quantity that does not")
    assert "No reason" in noted.reason(noted.behaviours[2])


# ---- form -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_the_text_fits_the_terminal(width: int, model: Description, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = text(model).splitlines()
    assert len(lines) > 200 and max(map(len, lines)) <= min(width, 100)


def test_the_page_needs_no_other_file_and_no_network(page: Path, html: str) -> None:
    sources = re.findall(r'src="([^"]{0,30})', html)
    assert len(sources) == 4 + 3 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "<script" not in html and "<link" not in html and html.rstrip().endswith("</html>")
    assert len(re.findall(r'<a href="#part\d+">', html)) == len(re.findall(r'<h2 id="part\d+">', html)) > 8


def test_every_figure_is_a_whole_picture_and_a_former_one_is_gone(page: Path) -> None:
    names = {path.name for path in page.parent.iterdir()}
    figures = {"modules.png", "network.png", "sizes.png", "affinities.png"} | {f"behaviour_B{i}.png" for i in (1, 2, 3)}
    assert names == figures | {"modules.svg", "network.svg", "model.html", "mine.png"}
    for name in figures:
        assert imread(page.parent / name)[..., :3].std() > 0.01
    assert all((page.parent / name).read_text().rstrip().endswith("</svg>") for name in ("modules.svg", "network.svg"))


# ---- diagrams ---------------------------------------------------------------------------------------------------

CHAIN = (
    Module("medium", "what surrounds the cell", (), ("drug", "ligand")),
    Module("receptor", "a receptor that is on or off, at the surface", ("ligand", "drug", "late"), ("pR", "R_total")),
    Module("kinase", "a kinase", ("pR", "drug", "dose"), ("pK1", "pK2", "pK3")),
    Module("gene", "what is expressed in the end", ("pK1", "pK2", "pR"), ("late",)),
)


def test_names_that_differ_in_a_slot_are_one_and_no_others() -> None:
    assert folded(["drug1_kd", "drug2_kd", "drug3_kd", "FLT3A_kd", "FLT3B_kd"]) == ["drug1-3_kd", "FLT3A/B_kd"]
    assert folded(["FGFR1", "drug1_FLT3A", "drug2_FLT3B"]) == ["FGFR1", "drug1_FLT3A", "drug2_FLT3B"]
    assert folded(["JAK1", "x", "JAK2", "x"]) == ["JAK1/2", "x"]


def test_every_signal_stands_in_the_diagram_once_per_reader() -> None:
    ax = diagrams.module_figure(CHAIN, ["pR", "late"]).axes[0]
    chips = sorted(t.get_text() for t in ax.texts if t.get_fontsize() == 7.5 and t.get_color() == diagrams.INK)
    assert chips == sorted(["drug, ligand", "drug", "pR", "pR", "pR", "pK1/2", "late", "late", "dose"])


@pytest.mark.parametrize("modules", [CHAIN, CHAIN[:2], "shipped"])
def test_no_words_of_the_diagram_of_modules_overlap(modules: Any, model: Description) -> None:
    chosen = model.modules if modules == "shipped" else modules
    figure = diagrams.module_figure(chosen, ["pR", *model.tables["readouts"].readout])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in figure.axes[0].texts if t.get_text()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    inside = figure.bbox
    assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 and inside.y0 <= b.y0 and b.y1 <= inside.y1 for b in boxes)


def test_groups_hold_every_species_once(model: Description) -> None:
    groups = model.groups
    assert sorted(i for g in groups for i in g.species) == list(range(len(model.network.species)))
    homes = {name: module.name for module in model.modules for name in module.monomers}
    for group in groups:  # no complex crosses the border of a module
        assert {homes[name] for name in group.monomers} == {group.module}


def test_species_that_meet_in_a_complex_are_one_group() -> None:
    network = net(
        "k 1", "A(b) 1; B(a) 1; A(b!1).B(a!1) 0; C() 1; D1() 1; D2() 1; D3() 1", "1,2 3 k; 4,1 4 k", "A 1"
    ).network
    groups = groups_of(network, [Module("m", "", (), (), ("C",))])
    assert [(g.label, len(g.species), len(g.reactions), g.module) for g in groups] == [
        ("C", 1, 0, "m"), ("A, B", 3, 2, ""), ("D1-3", 3, 0, ""),
    ]  # fmt: skip
    lines = diagrams.network_figure(network, groups).axes[0].collections[-1].get_segments()
    assert len(lines) == 2  # A and B to the complex; what C catalyses makes nothing and has no line


def test_places_of_states_follow_the_reactions_between_them() -> None:
    chain = diagrams._spread(4, [(0, 1), (1, 2), (2, 3)])
    gaps = np.linalg.norm(chain[:, None] - chain[None], axis=2)
    steps = np.abs(np.subtract.outer(range(4), range(4)))
    assert gaps == pytest.approx(steps * gaps[0, 1], abs=0.05 * gaps[0, 3])
    assert np.linalg.norm(chain, axis=1).max() == pytest.approx(1.0)
    apart = diagrams._spread(5, [(0, 1)])
    assert np.isfinite(apart).all() and np.unique(apart.round(3), axis=0).shape == (5, 2)


def test_curves_that_share_axes_share_a_panel_and_bars_have_their_own() -> None:
    figure = diagrams.behaviour_figure([*LINES, Curve("second", [1.0, 2.0], [0.2, 0.1])])
    assert [len(ax.lines) for ax in figure.axes] == [2, 0] and len(figure.axes[1].patches) == 2
    many = [Curve(f"{cell}, {i}", [1.0, 2.0], [0.5, float("nan")]) for cell in ("x", "y") for i in range(4)]
    assert [len(ax.lines) for ax in diagrams.behaviour_figure(many).axes] == [4, 4]


def test_a_figure_of_nothing_known_can_be_drawn(tmp_path: Path) -> None:
    kd = pd.DataFrame(np.nan, ["a"], ["X"])
    assert plots.save(diagrams.affinity_figure(kd, kd.notna()), tmp_path / "kd.png").stat().st_size > 1000


# ---- the command ------------------------------------------------------------------------------------------------


def run(*words: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["residuum", *words])
    with pytest.raises(SystemExit) as stop:
        commands.main()
    return stop.value.code


def test_the_command_prints_the_page_or_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands.models, "_behaviours", lambda progress: [shown("B1", RIGHT), shown("B2", WRONG)])
    monkeypatch.setenv("COLUMNS", "80")
    assert run("models", "describe", monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    assert "B2 NOT REPRODUCED" in printed.out and not printed.err
    assert run("models", "describe", "--out", str(tmp_path / "page"), monkeypatch=monkeypatch) == 0
    assert (tmp_path / "page" / "model.html").is_file() and "wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [("models describe --csv", "--csv prints one kind"), ("models drugs --out x", "--out belongs to the model page")],
)
def test_options_that_do_not_fit_are_refused(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words.split(), monkeypatch=monkeypatch) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_the_behaviours_of_the_shipped_model_are_run_one_by_one() -> None:
    ran = commands.models._behaviours(progress=False)
    assert [known.id for known in ran] == list(residuum.aml_tables()["behaviours"].id)
    assert all(known.findings and known.curves and known.tolerance and known.source for known in ran)
