"""Figures of a model: modules, reaction network, affinities, behaviours; data and an axis in, the axis out.

What is not known is hatched, never blank. Sizes are in inches, so that text fits its box whatever the model.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from .plots import LINES, MARKERS, PALETTE, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .network import Reaction, ReactionNetwork

Float = npt.NDArray[np.float64]

FORWARD, BACK, INK, PALE = "#0072B2", "#D55E00", "#1a1a1a", "#f2f5f8"
LINE_HEIGHT, LETTER = 0.135, 0.062
"""Inches that a line and a letter of 7.5 points take."""
UNKNOWN_HATCH = "////"
MANY_CURVES = 6
"""More than this are not drawn into one panel."""


@dataclass(frozen=True)
class Module:
    """A part of a model with declared borders: what it reads, what it offers, what it is made of."""

    name: str
    title: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    monomers: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    pockets: tuple[str, ...] = ()
    """Where drugs bind."""


class Curve(Protocol):
    """A line or a row of bars: `x` are numbers, or names of bars."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def x(self) -> Sequence[float] | Sequence[str]: ...  # noqa: D102
    @property
    def y(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def x_label(self) -> str: ...  # noqa: D102
    @property
    def y_label(self) -> str: ...  # noqa: D102


# ---- names ------------------------------------------------------------------------------------------------------

_SLOT = re.compile(r"\d(?=_|$)|(?<=\d)[A-Z](?=_|$)")


def folded(names: Iterable[str]) -> list[str]:
    """Return the names, those that differ only in a number or a letter after one written once, in order.

    Examples
    --------
    >>> from residuum.simulator.diagrams import folded
    >>> folded(["DRUG1", "DRUG2", "DRUG3", "FL", "pFLT3A", "pFLT3B"])
    ['DRUG1-3', 'FL', 'pFLT3A/B']
    """
    families: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        families.setdefault(_SLOT.sub("\0", name), []).append(name)
    short: list[str] = []
    for pattern, members in families.items():
        marks = sorted(tuple(_SLOT.findall(name)) for name in members)
        values = [sorted(set(column)) for column in zip(*marks, strict=True)]
        if len(members) == 1 or marks != list(product(*values)):
            short += members
            continue
        parts = pattern.split("\0")
        short.append(parts[0] + "".join(_range(v) + part for v, part in zip(values, parts[1:], strict=True)))
    return short


def _range(values: Sequence[str]) -> str:
    codes = [ord(v) for v in values]
    in_a_row = len(codes) > 2 and codes == list(range(codes[0], codes[0] + len(codes)))
    return f"{values[0]}-{values[-1]}" if in_a_row else "/".join(values)


# ---- modules ----------------------------------------------------------------------------------------------------


def module_figure(modules: Sequence[Module], read_outs: Iterable[str] = ()) -> Figure:
    """Return the diagram of modules on a page of the size that it needs."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=150)
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    module_diagram(modules, ax, read_outs)
    width, height = ax.get_xlim()[1], ax.get_ylim()[0]
    figure.set_size_inches(width, height)
    return figure


def module_diagram(modules: Sequence[Module], ax: Axes, read_outs: Iterable[str] = ()) -> Axes:
    """Draw modules as boxes down the diagonal and the signals between them where row and column meet.

    What a module offers leaves it sideways; what it reads comes from above, or from below where the signal runs
    back. Nothing can cross but at right angles. Signals of no module enter in a row of their own above all; read-outs
    leave in a column at the right.
    """
    from matplotlib.patches import FancyBboxPatch

    chips, n = _chips(modules, set(read_outs)), len(modules)
    boxes = [[m.name, *textwrap.wrap(m.title, 26)] for m in modules]
    rows, columns = range(-1, n), range(n + 1)
    heights = {i: LINE_HEIGHT * max([len(t) for (r, _), t in chips.items() if r == i] + [0]) + 0.12 for i in rows}
    widths = {j: LETTER * max([_width(t) for (_, c), t in chips.items() if c == j] + [0]) + 0.14 for j in columns}
    for i, lines in enumerate(boxes):
        heights[i] = max(heights[i], LINE_HEIGHT * len(lines) + 0.2)
        widths[i] = max(widths[i], LETTER * _width(lines) + 0.24)
    legend, gap = 0.35, 0.24
    heights[-1] = heights[-1] if any(r == -1 for r, _ in chips) else 0.0
    widths[n] = widths[n] if any(c == n for _, c in chips) else 0.0
    y, x, top, left = {}, {}, legend + 0.1, 0.15
    for i in rows:
        y[i], top = top + heights[i] / 2, top + heights[i] + gap
    for j in columns:
        x[j], left = left + widths[j] / 2, left + widths[j] + gap

    line: dict[str, Any] = {"linewidth": 1.1, "solid_capstyle": "round", "zorder": 1}
    for i in range(n):
        ahead = [c for r, c in chips if r == i and c > i]
        behind = [c for r, c in chips if r == i and c < i]
        if ahead:
            ax.plot([x[i], x[max(ahead)]], [y[i], y[i]], color=FORWARD, **line)
        if behind:
            ax.plot([x[i], x[min(behind)]], [y[i], y[i]], color=BACK, **line)
    for j in range(n):
        above = [r for r, c in chips if c == j and r < j]
        below = [r for r, c in chips if c == j and r > j]
        edge = heights[j] / 2
        for sources, end, colour in ((above, y[j] - edge, FORWARD), (below, y[j] + edge, BACK)):
            if sources:
                start = y[min(sources)] if colour == FORWARD else y[max(sources)]
                ax.plot([x[j], x[j]], [start, end], color="white", linewidth=4, zorder=1.5)
                ax.annotate("", (x[j], end), (x[j], start), zorder=2,
                            arrowprops={"arrowstyle": "-|>,head_width=0.18,head_length=0.35", "color": colour,
                                        "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
    for (i, j), text in chips.items():
        colour = FORWARD if j > i else BACK
        w, h = LETTER * _width(text) + 0.1, LINE_HEIGHT * len(text) + 0.06
        ax.add_patch(FancyBboxPatch((x[j] - w / 2, y[i] - h / 2), w, h, boxstyle="round,pad=0,rounding_size=0.05",
                                    facecolor="white", edgecolor=colour, linewidth=0.7, zorder=3))  # fmt: skip
        ax.text(x[j], y[i], "\n".join(text), fontsize=7.5, ha="center", va="center", linespacing=1.15, color=INK,
                zorder=4)  # fmt: skip
    for i, lines in enumerate(boxes):
        w, h = widths[i], heights[i]
        ax.add_patch(FancyBboxPatch((x[i] - w / 2, y[i] - h / 2), w, h, boxstyle="round,pad=0,rounding_size=0.08",
                                    facecolor=PALE, edgecolor=INK, linewidth=1.3, zorder=5))  # fmt: skip
        under = LINE_HEIGHT * (len(lines) - 1) / 2
        ax.text(x[i], y[i] - under, lines[0], fontsize=9, fontweight="bold", ha="center", va="center", zorder=6)
        ax.text(x[i], y[i] + 0.09, "\n".join(lines[1:]), fontsize=7.5, ha="center", va="center", linespacing=1.15,
                color="#444444", zorder=6)  # fmt: skip
    if heights[-1]:
        ax.text(0.15, y[-1], "set from\noutside", fontsize=8, style="italic", va="center")
    if widths[n]:
        first = min(y[r] - LINE_HEIGHT * len(t) / 2 for (r, c), t in chips.items() if c == n)
        ax.text(x[n], first - 0.15, "read out", fontsize=8, style="italic", ha="center", va="center")
    for start, colour, words in ((0.15, FORWARD, "signal"), (1.0, BACK, "signal that runs back: a feedback")):
        ax.plot([start, start + 0.25], [0.18, 0.18], color=colour, linewidth=1.5)
        ax.text(start + 0.3, 0.18, words, fontsize=8, va="center")
    ax.set(xlim=(0, left), ylim=(top, 0), aspect="equal")
    ax.axis("off")
    return ax


def _chips(modules: Sequence[Module], read_outs: set[str]) -> dict[tuple[int, int], list[str]]:
    """Return (row of the source, column of the reader) -> lines of signal names; row -1: no source, column n: read."""
    n, offered = len(modules), {name for m in modules for name in m.outputs}
    signals = {}
    for i, source in enumerate(modules):
        for j, reader in enumerate(modules):
            if i != j:
                signals[i, j] = [name for name in source.outputs if name in reader.inputs]
        signals[i, n] = [name for name in source.outputs if name in read_outs]
    for j, reader in enumerate(modules):
        signals[-1, j] = [name for name in reader.inputs if name not in offered]
    return {where: textwrap.wrap(", ".join(folded(names)), 18, break_long_words=False, break_on_hyphens=False)
            for where, names in signals.items() if names}  # fmt: skip


def _width(lines: Sequence[str]) -> int:
    return max(map(len, lines), default=0)


# ---- the reaction network ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Species made of the same monomers: those that occur together in a complex, and lone ones numbered in a row."""

    monomers: tuple[str, ...]
    species: tuple[int, ...]
    reactions: tuple[int, ...]
    """Those that change an amount of the group."""
    module: str = ""

    @property
    def label(self) -> str:
        """The monomers, alike ones written once."""
        return ", ".join(folded(self.monomers))


def groups_of(network: ReactionNetwork, modules: Sequence[Module] = ()) -> list[Group]:
    """Return the groups of a network in the order of their modules, each with its module's name where known."""
    monomers = [tuple(dict.fromkeys(re.findall(r"(\w+)\(", name))) or (name,) for name in network.species]
    home = {name: name for found in monomers for name in found}

    def root(name: str) -> str:
        return name if home[name] == name else root(home[name])

    for found in monomers:
        for name in found[1:]:
            home[root(name)] = root(found[0])
    order = {name: (k, module.name) for k, module in enumerate(modules) for name in module.monomers}
    n_of = Counter(root(found[0]) for found in monomers)
    lone = [name for name, n in n_of.items() if n == 1]
    n_alike = Counter(_SLOT.sub("#", name) for name in lone)
    members: dict[str, list[int]] = {}
    for i, found in enumerate(monomers):
        key = root(found[0])
        members.setdefault(alike if n_alike[alike := _SLOT.sub("#", key)] > 2 and n_of[key] == 1 else key, []).append(i)
    of_species = {i: key for key, species in members.items() for i in species}
    changing: dict[str, list[int]] = {key: [] for key in members}
    for r, reaction in enumerate(network.reactions):
        used, made = _used_and_made(reaction)
        for key in {of_species[i] for i in (*used, *made)}:
            changing[key].append(r)
    groups = []
    for key, species in members.items():
        names = tuple(dict.fromkeys(name for i in species for name in monomers[i]))
        rank, module = order.get(names[0], (len(modules), ""))
        groups.append((rank, Group(names, tuple(species), tuple(changing[key]), module)))
    return [group for _, group in sorted(groups, key=lambda pair: pair[0])]


def network_figure(network: ReactionNetwork, groups: Sequence[Group], width: float = 12.0) -> Figure:
    """Return the map of all species and reactions on a page of the size that it needs."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=200)
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    network_map(network, groups, ax, width)
    figure.set_size_inches(ax.get_xlim()[1], ax.get_ylim()[0])
    return figure


def network_map(network: ReactionNetwork, groups: Sequence[Group], ax: Axes, width: float = 12.0) -> Axes:
    """Draw every species as a dot and every reaction as lines from what it uses up to what it makes, group by group.

    Distances within a group follow the number of reactions between two species. What a reaction leaves as it was, a
    catalyst or a drug kept constant, has no line. A box is a module.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.patches import FancyBboxPatch

    boxes, height = _packed(groups, width)
    xy = np.zeros((len(network.species), 2))
    links = sorted({pair for r in network.reactions for pair in product(*_used_and_made(r))})
    colours = {
        module: PALETTE[k % (len(PALETTE) - 1)] for k, module in enumerate(dict.fromkeys(g.module for g in groups))
    }
    for module, (x, y, w, h), _ in boxes:
        ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.08", facecolor=PALE,
                                    edgecolor=colours[module], linewidth=1.0, zorder=0))  # fmt: skip
        ax.text(x + 0.08, y + 0.13, module, fontsize=8.5, fontweight="bold", color=colours[module], va="center")
    for _, _, discs in boxes:
        for group, (x, y, radius) in discs:
            own = list(group.species)
            xy[own] = _spread(len(own), _within(links, own)) * radius * 0.88 + (x, y)
            count = f" ({len(own)})" if len(own) > 1 else ""
            below = xy[own, 1].max() + 0.13
            ax.text(x, below, group.label + count, fontsize=7, ha="center", va="center", zorder=4)
            ax.scatter(xy[own, 0], xy[own, 1], s=9, color=colours[group.module], linewidths=0, zorder=3)
    segments = [(xy[a], xy[b]) for a, b in links]
    ax.add_collection(LineCollection(segments, colors="#555555", linewidths=0.4, alpha=0.5, zorder=2))
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    return ax


def _used_and_made(reaction: Reaction) -> tuple[list[int], list[int]]:
    before, after = Counter(reaction.reactants), Counter(reaction.products)
    return list(before - after), list(after - before)


def _within(links: Iterable[tuple[int, int]], species: Sequence[int]) -> list[tuple[int, int]]:
    place = {s: k for k, s in enumerate(species)}
    return [(place[a], place[b]) for a, b in links if a in place and b in place]


def _packed(groups: Sequence[Group], width: float) -> tuple[list[Any], float]:
    """Return boxes (module, (x, y, w, h), discs) on shelves of `width` inches, and the height in all.

    A disc is (group, (x, y, radius)); its area follows the number of species.
    """
    margin, heading = 0.15, 0.28
    boxes, x, y, shelf = [], margin, margin, 0.0
    for module, members in groupby(groups, key=lambda group: group.module):
        discs, left, top, row, widest = [], 0.12, heading, 0.0, LETTER * len(module) + 0.3
        for group in members:
            radius = 0.08 + 0.105 * math.sqrt(len(group.species))
            wide = max(2 * radius, 0.055 * (len(group.label) + 5)) + 0.08
            if left + wide > width - 2 * margin and left > 0.12:
                left, top, row = 0.12, top + row, 0.0
            discs.append((group, (left + wide / 2, top + radius, radius)))
            left, row = left + wide, max(row, 2 * radius + 0.26)
            widest = max(widest, left + 0.06)
        h = top + row
        if x + widest > width - margin and x > margin:
            x, y, shelf = margin, y + shelf + margin, 0.0
        boxes.append((module, (x, y, widest, h), [(g, (x + dx, y + dy, r)) for g, (dx, dy, r) in discs]))
        x, shelf = x + widest + margin, max(shelf, h)
    return boxes, y + shelf + margin


def _spread(n: int, links: Sequence[tuple[int, int]], steps: int = 150) -> Float:
    """Return places (n, 2) within the unit disc whose distances follow the steps along the links (least stress)."""
    if n == 1:
        return np.zeros((1, 2))
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import shortest_path

    ends = np.array(links, int).reshape(-1, 2).T
    graph = csr_array((np.ones(ends.shape[1]), tuple(ends)), shape=(n, n))
    apart = shortest_path(graph, directed=False, unweighted=True)
    far = np.isinf(apart)
    apart[far] = np.max(apart[~far], initial=0.0) + 2.0
    places = _first_places(apart)
    weights = 1.0 / np.where(apart > 0, apart, 1.0) ** 2
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    inverse = np.linalg.pinv(laplacian)
    for _ in range(steps):  # majorisation of the stress (Gansner, Koren & North 2004)
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
        pull = weights * apart / np.where(gaps > 1e-9, gaps, np.inf)
        places = inverse @ ((np.diag(pull.sum(axis=1)) - pull) @ places)
    places -= places.mean(axis=0)
    return places / max(1e-9, float(np.linalg.norm(places, axis=1).max()))


def _first_places(apart: Float) -> Float:
    """Return the two leading coordinates of classical scaling, moved a little so that no two points coincide."""
    n = len(apart)
    centre = np.eye(n) - 1.0 / n
    values, vectors = np.linalg.eigh(-0.5 * centre @ apart**2 @ centre)
    places = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 1e-3))
    angle = np.arange(n) * math.pi * (3 - math.sqrt(5))
    return places + 0.05 * np.column_stack([np.cos(angle), np.sin(angle)])


def sizes_figure(groups: Sequence[Group], smallest: int = 3) -> Figure:
    """Return bars of species and of reactions per group, largest above; those of few species are one bar."""
    ranked = sorted(groups, key=lambda g: (len(g.species) >= smallest, len(g.species), len(g.reactions)))
    few = [g for g in ranked if len(g.species) < smallest]
    if len(few) > 1:
        label = f"{len(few)} others, at most {smallest - 1} species each"
        ranked = [together(few, label), *ranked[len(few) :]]
    figure, axes = new_figure(2, 1, width=4.2, height=0.8 + 0.17 * len(ranked), sharey=True)
    for ax, name, values, colour in (
        (axes[0, 0], "species", [len(g.species) for g in ranked], PALETTE[0]),
        (axes[0, 1], "reactions", [len(g.reactions) for g in ranked], PALETTE[1]),
    ):
        bars = ax.barh(range(len(ranked)), values, color=colour, height=0.7)
        ax.bar_label(bars, fontsize=7, padding=2)
        ax.set_xlabel(name, fontsize=9)
        ax.tick_params(labelsize=8)
        ax.margins(x=0.14, y=0.01)
        ax.spines[["top", "right"]].set_visible(False)
    labels = [textwrap.shorten(g.label, 42, placeholder=" …") for g in ranked]
    axes[0, 0].set_yticks(range(len(ranked)), labels, fontsize=7)
    return figure


def together(groups: Sequence[Group], label: str) -> Group:
    """Return several groups as one; a reaction that changes two of them counts once."""
    species = tuple(i for group in groups for i in group.species)
    return Group((label,), species, tuple({r for group in groups for r in group.reactions}))


# ---- drugs ------------------------------------------------------------------------------------------------------


def affinity_figure(kd: pd.DataFrame, own: pd.DataFrame) -> Figure:
    """Return the map of dissociation constants on a page of the size that it needs."""
    figure, axes = new_figure(1, 1, width=max(7.5, 1.9 + 0.55 * kd.shape[1]),
                              height=1.8 + 0.27 * kd.shape[0])  # fmt: skip
    affinity_map(kd, own, axes[0, 0])
    return figure


def affinity_map(kd: pd.DataFrame, own: pd.DataFrame, ax: Axes) -> Axes:
    """Draw dissociation constants (nM), one row per drug and one column per target.

    NaN is hatched: not known. Infinity is blank: known not to bind. Where `own` is false the value is that of the
    target's wild type, and in brackets.
    """
    import matplotlib as mpl
    from matplotlib.patches import Patch, Rectangle

    values = kd.to_numpy(float)
    bound = np.isfinite(values)
    shades = mpl.colormaps["cividis"].with_extremes(bad="white")
    logs = np.ma.masked_array(np.log10(np.where(bound, values, 1.0)), ~bound)
    low, high = (float(np.floor(logs.min())), float(np.ceil(logs.max()))) if bound.any() else (0.0, 1.0)
    mesh = ax.pcolormesh(logs, cmap=shades, vmin=low, vmax=high, edgecolors="#dddddd", linewidth=0.5)
    for i, j in np.argwhere(bound):
        dark = (logs[i, j] - low) / max(high - low, 1.0) < 0.55
        number = np.format_float_positional(float(f"{values[i, j]:.2g}"), trim="-")
        ax.text(j + 0.5, i + 0.5, number if own.iat[i, j] else f"({number})", ha="center", va="center", fontsize=7,
                color="white" if dark else "black")  # fmt: skip
    for i, j in np.argwhere(np.isnan(values)):
        ax.add_patch(Rectangle((j, i), 1, 1, fill=False, hatch=UNKNOWN_HATCH, edgecolor="#999999", linewidth=0))
    ax.set_xticks(np.arange(kd.shape[1]) + 0.5, list(kd.columns), rotation=45, ha="right", fontsize=8)
    ax.set_yticks(np.arange(kd.shape[0]) + 0.5, list(kd.index), fontsize=8)
    ax.tick_params(length=0)
    ax.invert_yaxis()
    bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.8, pad=0.02)
    decades = range(int(low), int(high) + 1)
    bar.set_ticks(list(decades), labels=[np.format_float_positional(10.0**k, trim="-") for k in decades], fontsize=8)
    bar.set_label("dissociation constant in the cell (nM)", fontsize=8)
    handles = [Patch(facecolor="white", edgecolor="#999999", hatch=UNKNOWN_HATCH, label="not known"),
               Patch(facecolor="white", edgecolor="#999999", label="known not to bind (above 10,000 nM)"),
               Patch(alpha=0, label="(1.3)  taken over from the wild type")]  # fmt: skip
    ax.legend(handles=handles, fontsize=8, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    return ax


# ---- behaviours -------------------------------------------------------------------------------------------------


def behaviour_figure(curves: Sequence[Curve]) -> Figure:
    """Return one panel per pair of axis labels, with the curves that share it.

    Where they are many, a panel holds those whose labels begin alike, up to the first comma.
    """
    panels: dict[tuple[str, ...], list[Curve]] = {}
    n_sharing = Counter((curve.x_label, curve.y_label) for curve in curves)
    for curve in curves:
        axes_labels = (curve.x_label, curve.y_label)
        family = curve.label.partition(", ")[0] if n_sharing[axes_labels] > MANY_CURVES else ""
        panels.setdefault((*axes_labels, family), []).append(curve)
    n_columns, legend = min(3, len(panels)), 0.16 * max(map(len, panels.values()))
    figure, axes = new_figure(n_columns, -(-len(panels) // n_columns), width=3.5, height=2.5 + legend)
    for ax, ((x_label, y_label, _), shared) in zip(axes.flat, panels.items(), strict=False):
        (_bars if _named(shared[0]) else _lines)(shared, ax)
        ax.set_xlabel(textwrap.fill(x_label, 40), fontsize=8)
        ax.set_ylabel(textwrap.fill(y_label, 32), fontsize=8)
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
        if any(curve.label for curve in shared):
            ax.legend(fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    return figure


def _named(curve: Curve) -> bool:
    return any(isinstance(x, str) for x in curve.x)


def _lines(curves: Sequence[Curve], ax: Axes) -> Axes:
    """Draw curves over numbers; the axis is logarithmic over a range of 30-fold or more, a dose of 0 drawn apart."""
    every = np.concatenate([np.asarray(curve.x, float) for curve in curves])
    positive = every[every > 0]
    spread = len(positive) > 0 and positive.max() >= 30 * positive.min() and np.median(every) < 0.3 * every.max()
    for i, curve in enumerate(curves):
        x, y = np.asarray(curve.x, float), np.asarray(curve.y, float)
        if spread:
            x = np.where(x > 0, x, positive.min() / 4)
        ax.plot(x, y, LINES[i % len(LINES)], color=PALETTE[i % len(PALETTE)], label=curve.label, linewidth=1.4,
                marker=MARKERS[i % len(MARKERS)] if len(x) < 25 else None, markersize=3)  # fmt: skip
    if spread:
        ax.set_xscale("log")
    ax.set_ylim(*_from_zero([curve.y for curve in curves]))
    return ax


def _bars(curves: Sequence[Curve], ax: Axes) -> Axes:
    """Draw rows of bars side by side, over the names of the first."""
    names = list(dict.fromkeys(str(x) for curve in curves for x in curve.x))
    step = 0.8 / len(curves)
    for i, curve in enumerate(curves):
        at = np.array([names.index(str(x)) for x in curve.x]) + (i - (len(curves) - 1) / 2) * step
        ax.bar(at, np.asarray(curve.y, float), 0.9 * step, color=PALETTE[i % len(PALETTE)], label=curve.label)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_ylim(*_from_zero([curve.y for curve in curves]))
    return ax


def _from_zero(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    values = np.concatenate([np.asarray(row, float) for row in rows])
    low, high = float(np.nanmin(values, initial=0.0)), float(np.nanmax(values, initial=0.0))
    return low * 1.05, (high or 1.0) * 1.05
