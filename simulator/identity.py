"""What decides the numbers of a job in, by name; its hash, and what differs between two jobs, out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .options import SolverOptions, absolute_tolerances
from .protocol import Segment

if TYPE_CHECKING:
    from .compiled import CompiledModel

Float = npt.NDArray[np.float64]


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Return the hash of an identity: 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return `name was this, is that` for all that differs between two identities."""
    before, after = _flat(then), _flat(now)
    return [
        f"{name} was {_short(before.get(name, 'not given'))}, is {_short(after.get(name, 'not given'))}"
        for name in dict.fromkeys((*after, *before))
        if before.get(name) != after.get(name)
    ]


def _flat(identity: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in identity.items():
        path = f"{above}{name}"
        flat |= _flat(value, f"{path}: ") if isinstance(value, Mapping) else {path: value}
    return flat


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:60]} ... ({checksum(text.encode())})"


def checksum(*parts: Float | bytes) -> str:
    """Return the hash of numbers and bytes: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part, "<f8").tobytes())
    return digest.hexdigest()[:16]


def software() -> dict[str, str]:
    """Return the versions of all that decides the last digits on one kind of machine."""
    import llvmlite
    import numba

    from .kernel_cache import HERE, KERNEL_FILES

    return {
        "residuum": getattr(sys.modules[__name__.partition(".")[0]], "__version__", "unknown"),
        "kernels": checksum(*((HERE / name).read_bytes() for name in KERNEL_FILES)),
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def solver(compiled: CompiledModel, options: SolverOptions) -> dict[str, Any]:
    """Return the settings of the solver that decide numbers; the limit of wall time is none of them."""
    atol = absolute_tolerances(compiled, options)
    return {
        "options": {
            field.name: getattr(options, field.name)
            for field in dataclasses.fields(options)
            if field.name not in ("atol", "max_seconds")
        },
        "atol": float(atol[0]) if np.ptp(atol) == 0 else f"per species ({checksum(atol)})",
    }


def plain(segment: Segment) -> dict[str, Any]:
    """Return a segment of a protocol in values that JSON can hold."""

    def number(x: float) -> float | str:
        return float(x) if math.isfinite(x) else str(float(x))

    values = {
        name: f"per point ({checksum(np.asarray(value, float))})" if np.ndim(value) else float(np.asarray(value))
        for name, value in segment.set.items()
    }
    return {"start": number(segment.start), "end": number(segment.end), "set": values}
