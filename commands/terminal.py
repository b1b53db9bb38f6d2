"""Sentences, progress and exit codes: how the commands speak to a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# exit codes
MISSING_PARTS, BAD_INPUT, FAILED_RUNS, INTERRUPTED = 1, 2, 3, 130


def show_progress(progress: bool | None) -> bool:
    """Return whether to show progress: as asked for, else if standard error is a terminal."""
    return sys.stderr.isatty() if progress is None else progress


@contextmanager
def status_line(text: str) -> Iterator[None]:
    """Show what is going on, on a terminal, while the body runs."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        yield


def say(text: str) -> None:
    """Print one line on standard error."""
    print(" ".join(text.split()), file=sys.stderr)
