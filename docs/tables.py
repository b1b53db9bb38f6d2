"""What the manual reads from the package itself: the commands, and the names of the shipped model.

Two kinds of lines give way to what is made when the manual is built, so that it cannot fall behind: `% table: NAME`,
and `% calls: NAME, NAME`, which lists public calls and then shows the docstring of each.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

import pandas as pd
from typer.main import get_command
from typer.testing import CliRunner

import residuum
from residuum.commands import app as command_line

TABLE = re.compile(r"^% table: (\w+)$", re.MULTILINE)
CALLS = re.compile(r"^% calls: (.*)$", re.MULTILINE)


def commands() -> str:
    """Return every command of `residuum`, with its `--help`: prose as prose, options as they stand in a terminal."""
    command_line.rich_markup_mode = None  # help as plain text, without boxes
    return "\n\n".join(_section(words, command) for words, command in _below(get_command(command_line)))


def _below(group: Any, *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the commands of a group, each with the words that call it."""
    for name, command in group.commands.items():
        yield (*above, name), command
        if hasattr(command, "commands"):
            yield from _below(command, *above, name)


def _section(words: Sequence[str], command: Any) -> str:
    shown = CliRunner().invoke(command_line, [*words, "--help"], prog_name="residuum", terminal_width=96).output
    usage = shown.split("\n\n")[0].removeprefix("Usage:")
    options = re.split(r"^(?=Arguments:|Options:)", shown, maxsplit=1, flags=re.MULTILINE)[1]
    head = [f"## {' '.join(words)}", "", f"`{' '.join(usage.split())}`", "", inspect.cleandoc(command.help)]
    return "\n".join([*head, "", "```", options.rstrip(), "```"])


def contexts() -> str:
    """Return cells and stroma of the shipped model."""
    known = residuum.aml_tables()["contexts"]
    cells, stroma = (sorted(known.loc[known["kind"] == kind, "name"].unique()) for kind in ("cell", "stroma"))
    return table(("cells", "stroma"), [(_names(cells), _names(stroma))])


def drugs() -> str:
    """Return the drugs of the shipped model with what they bind tightest."""
    known = residuum.aml_tables()["drugs"]
    return table(("drug", "binds (Kd in nM, as listed)"), [
        (f"`{drug}`", ", ".join(_affinities(rows))) for drug, rows in known.groupby("drug", sort=True)
    ])  # fmt: skip


def _affinities(rows: Any) -> Iterator[str]:
    """Yield the targets that the drug is known to bind, tightest first."""
    known = rows.assign(kd=pd.to_numeric(rows["kd_nM"], errors="coerce")).dropna(subset="kd").sort_values("kd")
    yield from (f"{target} ({kd:g})" for target, kd in zip(known["target"], known["kd"], strict=True))


def readouts() -> str:
    """Return the read-outs of the shipped model with the assay each stands for."""
    known = residuum.aml_tables()["readouts"]
    columns = ["protein", "site", "assay", "note"]
    return table(("read-out", *columns), [
        (f"`{row['readout']}`", *(str(row[column]) for column in columns)) for _, row in known.iterrows()
    ])  # fmt: skip


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |" for row in cells
    )


TABLES = {f.__name__: f for f in (commands, contexts, drugs, readouts)}


def named_calls(text: str) -> list[str]:
    """Return the calls that a page shows, by full name."""
    return [name if "." in name else f"residuum.{name}" for found in CALLS.findall(text) for name in found.split(", ")]


def calls(names: Sequence[str]) -> str:
    """Return directives that list the calls and then show each."""
    shown = []
    for module, name in (name.rsplit(".", 1) for name in names):
        kind = "autoclass" if inspect.isclass(getattr(import_module(module), name)) else "autofunction"
        shown += [f".. {kind}:: {module}.{name}", "   :members:" if kind == "autoclass" else "", ""]
    listed = [
        ".. autosummary::",
        "   :nosignatures:",
        "",
        *(f"   {name.removeprefix('residuum.')}" for name in names),
        "",
    ]
    return "\n".join(["```{eval-rst}", ".. currentmodule:: residuum", "", *listed, *shown, "```"])


def fill(app: Any, page: str, source: list[str]) -> None:
    """Put tables and calls where a page asks for them."""
    text = TABLE.sub(lambda found: TABLES[found[1]](), source[0])
    source[0] = CALLS.sub(lambda found: calls(named_calls(found[0])), text)


def setup(app: Any) -> dict[str, bool]:
    """Fill pages in when they are read."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
