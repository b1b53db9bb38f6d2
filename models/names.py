"""A name and the allowed names go in; the name, or an error that suggests the nearest one, comes out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnknownNameError(ValueError):
    """A name that is in none of the tables; says what was given, the nearest name and all allowed ones."""


def checked(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return `name` if it is allowed.

    Parameters
    ----------
    kind
        What is being named, in words for the message: "drug", "context", "parameter".
    name
        What was given.
    allowed
        All names that exist.

    Raises
    ------
    UnknownNameError
        If `name` is not among them.
    """
    names = sorted(allowed)
    if name in names:
        return name
    folded = {candidate.casefold(): candidate for candidate in names}
    nearest = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.5)
    suggestion = f" Did you mean {folded[nearest[0]]!r}?" if nearest else ""
    raise UnknownNameError(f"Unknown {kind} {name!r}.{suggestion} Known: {', '.join(names)}.")
