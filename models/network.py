"""Nothing goes in; where the shipped reaction network lies, and which rules it came from, come out."""

from __future__ import annotations

from pathlib import Path

from .tables import DATA

NETWORK_FILE = "aml.net"
HASH_LABEL = "# sha256 of the BNGL source: "


def network_path() -> Path:
    """Return the path of the shipped network, a BioNetGen `.net` text (nM, seconds)."""
    return DATA / NETWORK_FILE


def network_source_hash() -> str:
    """Return the sha256 (64 hex digits) of the BNGL text from which the shipped network was generated.

    Raises
    ------
    ValueError
        If the first line of the file does not carry the hash.
    """
    with network_path().open(encoding="utf-8") as lines:
        first = lines.readline().rstrip("\n")
    if not first.startswith(HASH_LABEL):
        raise ValueError(f"{network_path()}: first line is {first!r}, expected {HASH_LABEL!r} and the hash")
    return first.removeprefix(HASH_LABEL)
