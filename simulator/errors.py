"""Errors at the border: what was given and what is known in, one sentence with the nearest name out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The input cannot be worked with; the message says what was given, what was expected and what to do."""


class UnknownNameError(InputError, KeyError):
    """A name is not among those known; the message names the nearest one."""

    def __str__(self) -> str:
        return str(self.args[0])


class ModelNotice(UserWarning):
    """A part of a model file, which does not belong to the model itself, is left out."""


class MissingBioNetGenError(InputError):
    """A rule-based model needs network generation and BioNetGen is not installed."""


def nearest(given: str, known: Iterable[str]) -> str:
    """Return `"did you mean 'name'? "` with the nearest of the known names, `""` if none is near."""
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    if not near:
        lowered = {name.lower(): name for name in known}
        near = [lowered[m] for m in difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=0.5)]
    return f"did you mean {near[0]!r}? " if near else ""


def unknown_name(kind: str, given: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a `kind` of thing called `given` where only `known` exist."""
    known = list(known)
    shown = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")
    return UnknownNameError(f"unknown {kind} {given!r}: {nearest(given, known)}known: {shown or 'none'}")
