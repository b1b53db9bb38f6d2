"""The command line `residuum`: words in; tables, figures and one-line errors out. One file per group of commands."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, TextIO

import typer

from ..simulator.cache import CacheNotice
from ..simulator.errors import InputError, ModelNotice
from . import calibration, demo, fit, installation, matrix, models, ranking, search, simulation, sweeping, uncertainty
from .terminal import BAD_INPUT, say

app = typer.Typer(
    name="residuum",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Residual signalling under drug combinations, from rule-based models.\n\n"
    "Start with `residuum models` to see contexts, drugs and readouts, and `residuum doctor` if something is missing.",
)
for group in (simulation, matrix, search, ranking, demo, fit, uncertainty, calibration, sweeping, models, installation):
    app.add_typer(group.app)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        from .. import __version__

        print(f"residuum {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; wrong input ends with one line on standard error and exit code 2."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CacheNotice)
        warnings.simplefilter("always", ModelNotice)
        warnings.showwarning = _note
        try:
            code = app(standalone_mode=False)
        except InputError as error:
            say(f"error: {error}")
            code = BAD_INPUT
        except OSError as error:
            say(f"error: {error.filename or 'a file'} could not be read or written: {error.strerror or error}")
            code = BAD_INPUT
        except Exception as error:
            if not hasattr(error, "format_message"):  # typer's errors of usage; where their class lives has changed
                raise
            command = getattr(getattr(error, "ctx", None), "command_path", "residuum")
            message = error.format_message().rstrip(".")  # empty after a bare `residuum`, which has printed its help
            message = message.replace("Value error, ", "")  # put before a choice that is none
            code = BAD_INPUT if message else 0
            if message:
                say(f"error: {message}; see {command} --help")
    sys.exit(code if isinstance(code, int) else 0)


def _note(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """Show a notice about the cache or the model file as one line, any other warning as Python does."""
    if issubclass(category, (CacheNotice, ModelNotice)):
        say(f"note: {message}")
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)
