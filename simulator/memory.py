"""Memory: the bytes that a request needs in; nothing, or one line on what to ask less of, out."""

from __future__ import annotations

import math
import os
from pathlib import Path

from .errors import InputError

ALWAYS_THERE = 4e6
"""Bytes for which the system is not asked."""
MEMINFO = Path("/proc/meminfo")
OWN_GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
"""Linux tells here how much a container or a batch job may use, which is often less than the machine has."""


def available_bytes() -> float:
    """Return how much memory this process can get; infinity where the system does not tell."""
    return min(_left_on_the_machine(), _limit_of_the_group())


def require_memory(needed: float, request: str, instead: str) -> None:
    """Raise InputError, with the estimate and what to do `instead`, if `request` needs more bytes than there are."""
    if needed > ALWAYS_THERE and needed > (available := available_bytes()):
        raise InputError(
            f"{request} would take about {needed / 1e9:.3g} GB of memory, and {available / 1e9:.3g} GB are available; "
            f"{instead}"
        )


def _left_on_the_machine() -> float:
    try:
        lines = MEMINFO.read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) if hasattr(os, "sysconf") else math.inf


def _limit_of_the_group() -> float:
    """Return the limit on the control group (version 2) of this process, or on one above it."""
    try:
        own = next(line[3:] for line in OWN_GROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return math.inf
    folder = GROUPS / own.lstrip("/")
    return min(_limit_of(group) for group in (folder, *folder.parents) if group.is_relative_to(GROUPS))


def _limit_of(group: Path) -> float:
    try:
        return float((group / "memory.max").read_text())
    except (OSError, ValueError):  # no such group, or "max": no limit of its own
        return math.inf
