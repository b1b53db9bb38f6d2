"""All that is known of a model, as plain tables, goes in; a page in text, or in HTML with its figures, comes out."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import diagrams
from .diagrams import Curve, Group, Module, folded, groups_of, together
from .listing import NOT_BOUND, UNKNOWN, entry
from .plots import save
from .report import Cell, Section, write_report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .network import ReactionNetwork

PAGE = "model.html"
OURS = re.compile(r"(modules|network|sizes|affinities|behaviour_\w+)\.(png|svg)|model\.html")
"""Names under which a former page may have left what the next one makes stale."""

ASSUMED, UNCHECKED, BY_CONTEXT, CITED = "assumed", "unchecked", "context", "citation"
KINDS = {
    CITED: "a publication",
    ASSUMED: "an assumption, with its reason",
    UNCHECKED: "general knowledge, not yet checked against a publication",
    BY_CONTEXT: "the context, whose tables give the source",
}
"""What a number may rest on, and the words for it."""
PLAIN = ("", "1", "name", "fraction")
"""Units that need not be written beside a number."""
SD_90 = 1.645
"""Standard deviations of a normal distribution on either side that hold 90 % of it."""
NOTES = {"choice": "Why the network is built so", "absent": "What is not in the model"}


class Finding(Protocol):
    """A number of the model beside the range in which it is expected."""

    @property
    def quantity(self) -> str: ...  # noqa: D102
    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def lower(self) -> float: ...  # noqa: D102
    @property
    def upper(self) -> float: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def holds(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Shown:
    """What the model shows of one published behaviour."""

    id: str
    statement: str
    tolerance: str
    source: tuple[str, ...]
    tuned: str
    findings: Sequence[Finding]
    curves: Sequence[Curve] = ()

    @property
    def reproduced(self) -> bool:
        """True if there are findings and all hold."""
        return bool(self.findings) and all(finding.holds for finding in self.findings)


@dataclass(frozen=True)
class Description:
    """A model and what is known about it."""

    name: str
    version: str
    network: ReactionNetwork
    modules: Sequence[Module]
    tables: Mapping[str, pd.DataFrame]
    """As `residuum.aml_tables` returns them."""
    behaviours: Sequence[Shown] = field(default_factory=tuple)

    @property
    def groups(self) -> list[Group]:
        """Species by what they are made of."""
        return groups_of(self.network, self.modules)

    @property
    def missed(self) -> list[Shown]:
        """Behaviours that the model does not reproduce."""
        return [shown for shown in self.behaviours if not shown.reproduced]

    def reason(self, shown: Shown) -> str:
        """Return why a behaviour is not reproduced, as the table of notes has it, or what is out of range."""
        notes = self.tables["notes"]
        known = notes[(notes.kind == "misfit") & (notes.subject == shown.id)].note
        outside = "; ".join(f"{f.quantity}: {_range(f)}" for f in shown.findings if not f.holds) or "no findings"
        return f"{' '.join(known) or 'No reason is noted.'} Out of range: {outside}."


# ---- what numbers rest on ---------------------------------------------------------------------------------------


def kind_of(source: str) -> str:
    """Return what a row rests on by its source: a citation, an assumption, something unchecked, or its context.

    Examples
    --------
    >>> from residuum.simulator.description import kind_of
    >>> kind_of("davis2011"), kind_of("assumed"), kind_of("lee2017; unchecked")
    ('citation', 'assumed', 'unchecked')
    """
    keys = keys_of(source)
    return next((kind for kind in (UNCHECKED, ASSUMED, BY_CONTEXT) if kind in keys), CITED)


def keys_of(source: str) -> list[str]:
    """Return the citation keys and marks of a source."""
    return [key for key in re.split(r"[\s,;]+", source) if key]


def _with_source(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables whose rows carry a source; contexts by kind."""
    for name, frame in tables.items():
        if "source" in frame.columns:
            parts = frame.groupby("kind", sort=False) if "kind" in frame.columns else [(name, frame)]
            yield from ((str(part), rows) for part, rows in parts)


def evidence(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how many rows of each table rest on what; parameters that differ only in a slot are one row."""
    import pandas as pd

    counts = {name: Counter(map(kind_of, frame.source)) for name, frame in _with_source(tables)}
    counts["parameters"] = Counter()
    for (source, _, _), alike in tables["parameters"].groupby(["source", "value", "note"], sort=False):
        counts["parameters"][kind_of(source)] += len(folded(alike.name))
    return pd.DataFrame(
        [{"table": name, "rows": sum(c.values()), **{kind: c[kind] for kind in KINDS}} for name, c in counts.items()]
    )


def assumptions(description: Description) -> dict[str, list[tuple[str, str, str]]]:
    """Return, per module or table, the rows that are assumed or unchecked: names, value with unit, reason.

    Rows that differ only in a slot are one.
    """
    listed: dict[str, list[tuple[str, str, str]]] = {}
    for name, frame in _with_source(description.tables):
        weak = frame[frame.source.map(kind_of).isin((ASSUMED, UNCHECKED))]
        home = _homes(description) if name == "parameters" else {}
        together: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        for row in weak.to_dict("records"):
            owner, thing = _subject(row)
            value, mark = _quantity(row), "" if kind_of(row["source"]) == ASSUMED else "unchecked: "
            part = f"Parameters: {home.get(thing, 'other')}" if name == "parameters" else name.capitalize()
            if UNKNOWN not in value:  # what is unknown is listed as such
                together.setdefault((part, value, mark + (row["note"] or "no reason given")), []).append((owner, thing))
        for (part, value, reason), subjects in together.items():
            listed.setdefault(part, []).append((_merged(subjects), value, reason))
    return listed


def _subject(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return whose row it is, empty if it is the model's, and on what."""
    owner = str(row.get("drug") or (row.get("name") if "quantity" in row else "") or "")
    thing = next(str(row[column]) for column in ("target", "quantity", "name", "readout") if column in row)
    return owner, thing


def _merged(subjects: Sequence[tuple[str, str]]) -> str:
    """Return `cell, cell: quantity, quantity`; names that differ only in a slot are one."""
    things: dict[str, list[str]] = {}
    for owner, thing in subjects:
        things.setdefault(owner, []).append(thing)
    owners: dict[str, list[str]] = {}
    for owner, of_owner in things.items():
        owners.setdefault(", ".join(folded(of_owner)), []).append(owner)
    return "; ".join(f"{', '.join(names)}: {what}" if names != [""] else what for what, names in owners.items())


def _quantity(row: Mapping[str, Any]) -> str:
    if "kd_nM" in row:
        return f"Kd {row['kd_nM']}" + ("" if row["kd_nM"] == UNKNOWN else " nM")
    value = row.get("value", "")
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{text} {row['unit']}" if row.get("unit", "") not in PLAIN else text


def _homes(description: Description) -> dict[str, str]:
    return {name: module.name for module in description.modules for name in module.parameters}


# ---- drugs ------------------------------------------------------------------------------------------------------


def affinities(drugs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return dissociation constants in the cell (nM), drugs by targets, and where they are the target's own.

    NaN where unknown, infinite if known not to bind. A mutant `FLT3-ITD` of which nothing is known has the value of
    `FLT3`.
    """
    import pandas as pd

    def effective(row: Any) -> float:
        if row.kd_nM == UNKNOWN:
            return np.nan
        return np.inf if row.kd_nM == NOT_BOUND else float(row.kd_nM) * float(row.cell_shift or 1)

    names, listed = list(dict.fromkeys(drugs.drug)), list(dict.fromkeys(drugs.target))
    wild_types = {target: target.partition("-")[0] for target in listed}
    targets = sorted(listed, key=lambda target: listed.index(wild_types[target]))
    kd = pd.DataFrame(np.nan, names, targets)
    for row in drugs.itertuples():
        kd.loc[row.drug, row.target] = effective(row)
    own = kd.notna()
    for target, wild_type in wild_types.items():
        kd[target] = kd[target].where(own[target], kd[wild_type])
    return kd, own


def exposures(exposure: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of each drug in patients, one row per drug; `unknown` stays `unknown`."""
    import pandas as pd

    units = dict(zip(exposure.quantity, exposure.unit, strict=True))
    values = {(row.drug, row.quantity): row.value for row in exposure.itertuples(index=False)}

    def cell(drug: str, quantity: str) -> Cell:
        value = values.get((drug, quantity), UNKNOWN)
        return Cell(value, UNKNOWN if value == UNKNOWN else "")

    headings = {q: q.replace("_", " ") + (f" ({u})" if u not in PLAIN else "") for q, u in units.items()}
    return pd.DataFrame([
        {"drug": drug, **{heading: cell(drug, q) for q, heading in headings.items()}}
        for drug in dict.fromkeys(exposure.drug)
    ])  # fmt: skip


# ---- text -------------------------------------------------------------------------------------------------------


def text(description: Description) -> str:
    """Return the page as text for a terminal, no line wider than it (at most 100 columns)."""
    network, tables = description.network, description.tables
    lines = [f"residuum {description.version}: the model {description.name}", ""]
    lines += _paragraph(_in_short(description))
    lines += _heading("Modules")
    for module in description.modules:
        lines += entry(module.name, module.title)
        lines += _indented(f"hears: {', '.join(folded(module.inputs)) or 'nothing'}")
        lines += _indented(f"tells: {', '.join(folded(module.outputs)) or 'nothing'}")
        if module.pockets:
            lines += _indented(f"drugs bind: {', '.join(folded(module.pockets))}")
    lines += _heading("Size of the network")
    rows = [(g.module, str(len(g.species)), str(len(g.reactions)), g.label) for g in description.groups]
    rows.append(("all", str(len(network.species)), str(len(network.reactions)), ""))
    lines += _aligned([("module", "species", "reactions", "made of"), *rows])
    for kind, title in NOTES.items():
        lines += _heading(title)
        for subject, note in _notes(description, kind):
            lines += _item(subject, note)
    lines += _heading("Behaviours")
    if not description.behaviours:
        lines += _paragraph("not computed")
    for shown in description.missed:
        lines += entry(f"{shown.id} NOT REPRODUCED", description.reason(shown))
    for shown in description.behaviours:
        lines += ["", *entry(f"{shown.id} {_verdict(shown)}", shown.statement)]
        for finding in shown.findings:
            mark = " " if finding.holds else "!"
            lines += _indented(f"{mark} {finding.quantity}: {_range(finding)}")
        lines += _indented(f"tolerance: {shown.tolerance} Source: {', '.join(shown.source)}.")
        lines += _indented(f"chosen with it in view: {shown.tuned}.")
    lines += _heading("Contexts")
    contexts = tables["contexts"]
    for kind, rows_of in contexts.groupby("kind", sort=False):
        lines += entry(str(kind), ", ".join(dict.fromkeys(rows_of.name)))
    lines += _paragraph("A context is a cell, or cell+stroma; every cell goes with every stroma.")
    lines += _heading("Drugs: what is not known")
    kd, _ = affinities(tables["drugs"])
    for drug, row in kd.iterrows():
        unknown = [str(target) for target, value in row.items() if np.isnan(value)]
        lines += entry(str(drug), f"Kd not known: {', '.join(unknown)}" if unknown else "Kd known for every target")
    for drug, rows_of in tables["exposure"].groupby("drug", sort=False):
        unknown = [q.replace("_", " ") for q, v in zip(rows_of.quantity, rows_of.value, strict=True) if v == UNKNOWN]
        if unknown:
            lines += entry(str(drug), f"exposure not known: {', '.join(unknown)}")
    lines += _heading("What the numbers rest on")
    counts = evidence(tables)
    lines += _aligned([tuple(counts.columns), *(tuple(map(str, row)) for row in counts.itertuples(index=False))])
    lines += [line for kind, words in KINDS.items() for line in entry(kind, words)]
    lines += _heading("Assumptions")
    for part, rows_in in assumptions(description).items():
        lines += ["", part]
        for names, value, reason in rows_in:
            lines += _item(f"{names}{' = ' if value else ''}{value}", reason)
    lines += _heading("References")
    for row in tables["references"].itertuples():
        lines += _item(row.key, " ".join(filter(None, (row.citation, row.doi and f"doi:{row.doi}", row.note))))
    lines += ["", *_paragraph("The same with figures: residuum models describe --out FOLDER")]
    return "\n".join(lines)


def _in_short(description: Description) -> str:
    network = description.network
    n, n_missed = len(description.behaviours), len(description.missed)
    found = f" {n - n_missed} of {n} published behaviours are reproduced on the nominal parameters." if n else ""
    return (
        f"{len(network.species)} species, {len(network.reactions)} reactions, {len(network.parameters)} parameters in "
        f"{len(description.modules)} modules; one network for all contexts and drugs. "
        f"Amounts in nM of cell volume, time in seconds.{found}"
    )


def _notes(description: Description, kind: str) -> list[tuple[str, str]]:
    notes = description.tables["notes"]
    return [(row.subject, row.note) for row in notes[notes.kind == kind].itertuples()]


def _verdict(shown: Shown) -> str:
    return "reproduced" if shown.reproduced else "NOT REPRODUCED"


def _range(finding: Finding) -> str:
    unit = "" if finding.unit in PLAIN else f" {finding.unit}"
    return f"{_number(finding.value)}{unit}, expected {_expected(finding)}{unit}"


def _number(value: float) -> str:
    return "no number" if np.isnan(value) else f"{value:.3g}"


def _digits(value: float) -> str:
    """Return two digits, without an exponent where a person would write none."""
    rounded = float(f"{value:.2g}")
    return np.format_float_positional(rounded, trim="-") if 1e-3 <= rounded < 1e5 else f"{rounded:g}"


def _expected(finding: Finding) -> str:
    if np.isinf(finding.upper) and finding.lower <= 0:
        return "any"
    if np.isinf(finding.upper):
        return f"at least {finding.lower:.3g}"
    if np.isinf(finding.lower):
        return f"at most {finding.upper:.3g}"
    return f"{finding.lower:.3g} to {finding.upper:.3g}"


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 100)


def _heading(title: str) -> list[str]:
    return ["", title, "-" * len(title)]


def _wrapped(words: str, indent: str) -> list[str]:
    return textwrap.wrap(words, _width(), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _paragraph(words: str) -> list[str]:
    return _wrapped(words, "")


def _item(name: str, words: str) -> list[str]:
    return textwrap.wrap(f"{name}: {words}", _width(), initial_indent="  ", subsequent_indent="      ",
                         break_on_hyphens=False)  # fmt: skip


def _indented(words: str) -> list[str]:
    return textwrap.wrap(words, _width(), initial_indent="      ", subsequent_indent="        ", break_on_hyphens=False)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows in columns, the last one wrapped."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for row in rows:
        start = "  " + "  ".join(cell.ljust(w) for cell, w in zip(row[:-1], widths, strict=True)) + "  "
        lines += textwrap.wrap(start + row[-1], _width(), subsequent_indent=" " * len(start)) or [start.rstrip()]
    return [line.rstrip() for line in lines]


# ---- HTML -------------------------------------------------------------------------------------------------------


def write_page(folder: Path, description: Description) -> Path:
    """Write model.html and its figures (PNG; modules and network as SVG too) into `folder`, return the page.

    Figures of a former page are removed. Raises OSError if something cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.is_file():
            path.unlink()
    sections = [
        _short_section(description),
        *_network_sections(folder, description),
        *_behaviour_sections(folder, description),
        *_drug_sections(folder, description),
        *_context_sections(description),
        *_parameter_sections(description),
        *_assumption_sections(description),
        _reference_section(description),
    ]
    return write_report(
        folder / PAGE, f"The model {description.name}: what it holds, shows and leaves open", sections, contents=True
    )


def _short_section(description: Description) -> Section:
    words = [_in_short(description), f"Written by residuum {description.version}; network {description.network.hash}."]
    if description.missed:
        words.append(f"Not reproduced: {', '.join(shown.id for shown in description.missed)}; the reasons stand below.")
    words.append(f"What a number rests on: {'; '.join(f'{kind}, {words}' for kind, words in KINDS.items())}.")
    counts = evidence(description.tables)
    return Section("In short", words, (), [("Rows of each table by what they rest on", counts)])


def _network_sections(folder: Path, description: Description) -> Iterator[Section]:
    import pandas as pd

    modules, network, groups = description.modules, description.network, description.groups
    read_outs = description.tables["readouts"].readout
    made_of = {m.name: together([g for g in groups if g.module == m.name], m.name) for m in modules}
    rows = [
        {
            "module": m.name,
            "what it holds": m.title,
            "hears": _listed(m.inputs),
            "tells": _listed(m.outputs),
            "drugs bind": _listed(m.pockets),
            "species": len(made_of[m.name].species),
            "reactions": len(made_of[m.name].reactions),
            "parameters": len(m.parameters),
        }
        for m in modules
    ]
    caption = "Modules (boxes) and the signals that pass their borders; no complex passes one."
    figure = _both(diagrams.module_figure(modules, read_outs), folder / "modules.png")
    yield Section("Modules", (), [(caption, figure)], [("Modules", pd.DataFrame(rows))])
    figures = [
        ("Every species (dot) and what reactions turn into what (lines). Within a group, distance is the number of "
         "reactions between two states. What a reaction leaves as it was, an enzyme or a clamped drug, has no line.",
         _both(diagrams.network_figure(network, groups), folder / "network.png")),
        ("Species, and reactions that change them, by what they are made of.",
         save(diagrams.sizes_figure(groups), folder / "sizes.png")),
    ]  # fmt: skip
    size_rows = [(g.module, g.label, len(g.species), len(g.reactions)) for g in groups]
    sizes = pd.DataFrame(size_rows, columns=["module", "made of", "species", "reactions"])
    words = (
        f"{len(network.species)} species and {len(network.reactions)} reactions. A complex counts with all its parts."
    )
    yield Section("The reaction network", [words], figures, [("Sizes", sizes)])
    for kind, title in NOTES.items():
        yield Section(title, (), (), [("", pd.DataFrame(_notes(description, kind), columns=["what", "how it stands"]))])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(folded(names)) or "–"


def _both(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and, beside it, as SVG; return the PNG."""
    save(figure, path.with_suffix(".svg"))
    return save(figure, path)


def _behaviour_sections(folder: Path, description: Description) -> Iterator[Section]:
    import pandas as pd

    if not description.behaviours:
        yield Section("Behaviours", ["Not computed."])
        return
    ordered = [*description.missed, *(shown for shown in description.behaviours if shown.reproduced)]
    overview = pd.DataFrame([
        {"id": s.id, "verdict": _verdict_cell(s.reproduced, _verdict(s).lower()), "behaviour": s.statement,
         "source": _source(" ".join(s.source), description)}
        for s in ordered
    ])  # fmt: skip
    words = ["Each is looked for on the nominal parameters; no parameter differs from one behaviour to the next, but "
             "for what its experiment changes."]  # fmt: skip
    words += [f"{shown.id} is not reproduced. {description.reason(shown)}" for shown in description.missed]
    yield Section("Behaviours", words, (), [("Behaviours, those not reproduced first", overview)])
    for shown in ordered:
        figures = []
        if shown.curves:
            path = folder / f"behaviour_{shown.id}.png"
            figures = [(f"{shown.id}: what the experiments show.", save(diagrams.behaviour_figure(shown.curves), path))]
        table = pd.DataFrame([
            {"quantity": f.quantity, "model": _number(f.value), "expected": _expected(f),
             "unit": f.unit,
             "verdict": _verdict_cell(f.holds, "within" if f.holds else "outside")}
            for f in shown.findings
        ])  # fmt: skip
        words = [shown.statement, f"Tolerance: {shown.tolerance}", f"Chosen with it in view: {shown.tuned}."]
        yield Section(f"{shown.id}: {_verdict(shown).lower()}", words, figures, [("Findings", table)], level=3)


def _verdict_cell(good: bool, words: str) -> Cell:
    return Cell(words, "" if good else "bad")


def _drug_sections(folder: Path, description: Description) -> Iterator[Section]:
    drugs, exposure = description.tables["drugs"], description.tables["exposure"]
    kd, own = affinities(drugs)
    words = [
        "A drug is a row per target. A pair on which nothing was found is treated as not binding and hatched here: "
        "that it does nothing in the model says nothing about the drug.",
        f"{int(kd.isna().sum().sum())} of {kd.size} pairs are not known.",
    ]
    figure = save(diagrams.affinity_figure(kd, own), folder / "affinities.png")
    rows = drugs.assign(
        kd_nM=[Cell(v, UNKNOWN) if v == UNKNOWN else v for v in drugs.kd_nM],
        source=[_source(s, description) for s in drugs.source],
    ).rename(columns=lambda name: name.replace("_", " "))
    caption = (
        "Dissociation constants that the model uses (nM): measured value times the shift from assay to cell. In "
        "brackets the value of the wild type, which the mutant takes over, times its factor in the table of alleles."
    )
    sources = exposure.assign(source=[_source(s, description) for s in exposure.source])
    yield Section("Drugs", words, [(caption, figure)], [
        ("Exposure in patients", exposures(exposure)), ("Every affinity with its source", rows),
        ("Every exposure with its source", sources),
    ])  # fmt: skip


def _context_sections(description: Description) -> Iterator[Section]:
    contexts, readouts = description.tables["contexts"], description.tables["readouts"]
    tables = [(f"{str(kind).capitalize()}: values", _wide(rows)) for kind, rows in contexts.groupby("kind", sort=False)]
    sources = contexts.assign(source=[_source(s, description) for s in contexts.source])
    words = "A context is a cell, or cell+stroma; every cell goes with every stroma. A stroma sets what it lists."
    yield Section("Contexts", [words], (), [*tables, ("Every value with its source", sources)])
    read = readouts.assign(source=[_source(s, description) for s in readouts.source])
    yield Section("Readouts", (), (), [("What is read out, and the assay it stands for", read)])


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Return quantities by names; what a name takes over from the one it is based on is empty."""
    import pandas as pd

    names, quantities = list(dict.fromkeys(rows.name)), list(dict.fromkeys(rows.quantity))
    values = {(row.quantity, row.name): row.value for row in rows.itertuples(index=False)}
    units = dict(zip(rows.quantity, rows.unit, strict=True))
    return pd.DataFrame([
        {"quantity": q, "unit": units[q], **{name: values.get((q, name), "") for name in names}} for q in quantities
    ])  # fmt: skip


def _parameter_sections(description: Description) -> Iterator[Section]:
    frame, homes = description.tables["parameters"], _homes(description)
    (counts,) = (row for row in evidence(description.tables).to_dict("records") if row["table"] == "parameters")
    resting = ", ".join(f"{counts[kind]} rest on {words}" for kind, words in KINDS.items())
    words = [
        f"{len(frame)} parameters; {counts['rows']} if those that differ only in a slot are one, of which {resting}.",
        "The nominal value is the median of the prior; the prior is normal in log10 with the spread given, and the "
        "range holds 90 % of it. Fixed: not to be fitted. By context: the value shown is that of the reference.",
    ]  # fmt: skip
    by_module = frame.assign(home=[homes.get(name, "not used by any module") for name in frame.name])
    order = [*(m.name for m in description.modules), "not used by any module"]
    tables = [
        (f"{home}: {len(rows)} parameters", _parameters(rows, description))
        for home in order
        if len(rows := by_module[by_module.home == home])
    ]
    yield Section("Parameters", words, (), tables)


def _parameters(rows: pd.DataFrame, description: Description) -> pd.DataFrame:
    import pandas as pd

    def prior(value: float, sd: float) -> str:
        fold = 10 ** (SD_90 * sd)
        return f"{_digits(value / fold)} to {_digits(value * fold)}" if sd and value else "fixed" if not sd else "0"

    return pd.DataFrame([
        {"parameter": row.name, "value": f"{row.value:.4g}" + " (by context)" * bool(row.set_by_context),
         "unit": row.unit, "log10 sd": f"{row.prior_log10_sd:.2g}" if row.prior_log10_sd else "–",
         "90 % of the prior": prior(row.value, row.prior_log10_sd), "source": _source(row.source, description),
         "reason or note": row.note}
        for row in rows.itertuples(index=False)
    ])  # fmt: skip


def _source(source: str, description: Description) -> Cell:
    """Return the words for a source: publications with a link to the DOI, and marks in plain sight."""
    references = description.tables["references"].set_index("key")
    kind, links = kind_of(source), []
    for key in keys_of(source):
        if key in references.index:
            doi = references.doi[key]
            links.append((references.short[key], f"https://doi.org/{doi}" if doi else ""))
    marks = [key for key in keys_of(source) if key not in references.index]
    return Cell("; ".join(marks), kind if kind in (ASSUMED, UNCHECKED) else "", tuple(links))


def _assumption_sections(description: Description) -> Iterator[Section]:
    import pandas as pd

    listed = assumptions(description)
    tables = [(part, pd.DataFrame(rows, columns=["what", "value", "reason"])) for part, rows in listed.items() if rows]
    n = sum(map(len, listed.values()))
    words = (
        f"Every number that is assumed or unchecked, with its reason; alike rows of several slots are one. {n} in all."
    )
    yield Section("Assumptions", [words], (), tables)


def _reference_section(description: Description) -> Section:
    import pandas as pd

    rows = [
        {"key": row.key, "publication": Cell(row.citation, "", _doi_link(row.doi)), "note": row.note}
        for row in description.tables["references"].itertuples(index=False)
    ]
    return Section("References", (), (), [("Publications cited", pd.DataFrame(rows))])


def _doi_link(doi: str) -> tuple[tuple[str, str], ...]:
    return ((doi, f"https://doi.org/{doi}"),) if doi else ()
