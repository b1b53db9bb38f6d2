"""The bibliography goes in; what a citation key stands for comes out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .tables import DATA

FILE = "references.bib"
_ENTRY = re.compile(r"^@\w+\{(?P<key>[^,\s]+),(?P<fields>.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"(\w+)\s*=\s*\{")
_ACCENT = re.compile(r"\{?\\(?P<mark>[\"'`^~c])\s*\{?(?P<letter>\w)\}?\}?")
_COMBINING = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "c": "\u0327"}


@dataclass(frozen=True)
class Reference:
    """A publication that a table cites."""

    key: str
    short: str
    """Name and year, as in a sentence: `Davis et al. 2011`."""
    citation: str
    """All that is known of authors, title, journal, year, volume and pages."""
    doi: str
    """Empty if none was found."""
    note: str
    """What was read of it, and what is unchecked."""


@cache
def table() -> tuple[Reference, ...]:
    """Return all references, by key.

    Raises
    ------
    ValueError
        If a key occurs twice.
    """
    text = (DATA / FILE).read_text(encoding="utf-8")
    found: dict[str, Reference] = {}
    for entry in _ENTRY.finditer(text):
        if entry["key"] in found:
            raise ValueError(f"{FILE}: {entry['key']} occurs twice")
        found[entry["key"]] = _reference(entry["key"], dict(_fields(entry["fields"])))
    return tuple(found[key] for key in sorted(found))


def _reference(key: str, fields: dict[str, str]) -> Reference:
    authors = [_surname_last(name) for name in fields.get("author", "").split(" and ") if name]
    first = fields.get("author", "").partition(",")[0].partition(" and ")[0]
    year = fields.get("year", "")
    several = " et al." if len(authors) > 1 else ""
    where = " ".join(filter(None, (fields.get("journal", ""), fields.get("volume", ""))))
    pages = fields.get("pages", "")
    parts = (", ".join(authors).replace(", others", " et al."), fields.get("title", ""),
             where + (f":{pages}" if pages else ""), year)  # fmt: skip
    return Reference(
        key=key,
        short=f"{first}{several} {year}" if first else f"{fields.get('title', key)} ({year})",
        citation=". ".join(part.rstrip(".") if part.endswith("al.") else part for part in parts if part) + ".",
        doi=fields.get("doi", ""),
        note=fields.get("note", ""),
    )


def _surname_last(name: str) -> str:
    """Return `Davis MI` for `Davis, M. I.`; a name without a comma as it is."""
    surname, _, given = name.partition(",")
    initials = re.sub(r"[.\s]", "", given)
    return f"{surname.strip()} {initials}".strip()


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and values of the fields of an entry; braces within a value are balanced."""
    position = 0
    while found := _FIELD.search(text, position):
        depth, end = 1, found.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield found[1], _plain(text[found.end() : end - 1])
        position = end


def _plain(text: str) -> str:
    """Return LaTeX text as Unicode on one line."""
    accented = _ACCENT.sub(lambda m: unicodedata.normalize("NFC", m["letter"] + _COMBINING[m["mark"]]), text)
    return " ".join(accented.replace("--", "–").replace("{", "").replace("}", "").replace("\\&", "&").split())
