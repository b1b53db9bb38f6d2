"""The examples of the manual: a page in; what its code prints, beside what the page says that it prints, out.

A page is a session. Its `python` and `console` blocks run from top to bottom in one namespace and one folder; a `text`
block right after a `python` block, or the lines under `$ residuum ...`, is what they print (`...` stands for anything).
A block that begins with `# NAME.py` or `# NAME.toml` is a file, which is saved and not run. Blocks of any other kind
are left alone.
"""

from __future__ import annotations

import contextlib
import doctest
import hashlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import residuum

FOLDER = Path(__file__).resolve().parent
FIGURES = FOLDER.parent / "build" / "manual"
"""Where the pages that show figures are run; they show them from there."""

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (\w+\.(?:py|toml))\n")
COMMAND = re.compile(r"^\$ residuum ((?:.*\\\n)*.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One step of a page: Python or the arguments of a command, and what it prints (None: the page does not say)."""

    line: int
    code: str
    printed: str | None
    command: bool = False


def pages() -> dict[str, Path]:
    """Return the pages of the manual by name, the README first."""
    manual = {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in sorted(FOLDER.rglob("*.md"))}
    return {"README": FOLDER.parent / "README.md", **manual}


def blocks(text: str) -> Iterator[Block]:
    """Yield what of a page is run, in its order."""
    fenced = list(FENCED.finditer(text))
    for i, found in enumerate(fenced):
        language, code = found.groups()
        line = text.count("\n", 0, found.start()) + 2
        if language in ("python", "toml"):
            following = [
                b for b in fenced[i + 1 : i + 2] if b[1] == "text" and not text[found.end() : b.start()].strip()
            ]
            yield Block(line, code, following[0][2] if following else None)
        elif language == "console":
            commands = [*COMMAND.finditer(code)]
            ends = [command.start() for command in commands[1:]] + [len(code)]
            for command, end in zip(commands, ends, strict=True):
                yield Block(line, command[1].replace("\\\n", " "), code[command.end() : end] or None, command=True)


def disagreements(text: str, folder: Path) -> list[str]:
    """Run a page in a folder; return a sentence for each block that prints something else than the page says."""
    found: list[str] = []
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(folder), patch.object(sys, "path", [str(folder), *sys.path]):
        for block in blocks(text):
            printed = _run_command(block.code) if block.command else _run_python(block, names)
            if block.printed is not None and not _agree(block.printed, printed):
                found.append(f"line {block.line}: the page says\n{block.printed}and the code prints\n{printed}")
    return found


def _run_python(block: Block, names: dict[str, Any]) -> str:
    """Return what the code of a block prints, or save it if it is a file."""
    if file := FILE.match(block.code):
        Path(file[1]).write_text(block.code, encoding="utf-8")
        return ""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(block.code, f"line {block.line}", "exec"), names)
    return out.getvalue()


def _run_command(arguments: str) -> str:
    """Return what a command prints, in a process of its own; raises RuntimeError if it fails."""
    command = [sys.executable, "-c", "from residuum.commands import main; main()", *shlex.split(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"residuum {arguments}: exit code {done.returncode}: {done.stdout}")
    return done.stdout


def _agree(said: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(said, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)


def make_figures(app: Any) -> None:
    """Run the pages that show figures, where page or package have changed since; a disagreement is a warning."""
    from sphinx.util import logging

    for name, page in pages().items():
        text = page.read_text(encoding="utf-8")
        shown = re.findall(r"build/manual/([\w/.-]+)", text)
        if not shown:
            continue
        folder = FIGURES / name
        key, stamp = _fingerprint(text), folder / "made-from"
        if all((FIGURES / figure).is_file() for figure in shown) and stamp.is_file() and stamp.read_text() == key:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if found := disagreements(text, folder):
            logging.getLogger(__name__).warning("\n".join(found), location=name)
        else:
            stamp.write_text(key)


def _fingerprint(text: str) -> str:
    library = sorted(path for path in Path(residuum.__path__[0]).glob("*/*.py") if path.parent.name != "tests")
    return hashlib.sha256(b"".join([text.encode(), *(path.read_bytes() for path in library)])).hexdigest()


def setup(app: Any) -> dict[str, bool]:
    """Make the figures before the pages are read."""
    app.connect("builder-inited", make_figures)
    return {"parallel_read_safe": True}
