"""Dose matrices: a compiled model, drugs and contexts in; the signalling that is left, and what follows from it, out.

`doses` knows parameters of compiled models only; names of drugs and contexts are resolved by its callers. What is not
listed here is private. Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .design import Design, read_design
    from .dosing import Dosing, Piece, dosing_segments, overlaid, read_dosing
    from .matrix import DoseAxis, DoseMatrix, dose_matrix, load_matrix
    from .musyc import musyc_fit
    from .population import draw_population, population_residual, variation
    from .ranking import compare, gained, ranked, shares_of_spread
    from .search import DoseSearch, cheapest_doses, find_dose, left_at
    from .synergy import score, synergy_scores

_HOME = {
    "Design": "design", "read_design": "design",
    "Dosing": "dosing", "Piece": "dosing", "dosing_segments": "dosing", "overlaid": "dosing", "read_dosing": "dosing",
    "DoseAxis": "matrix", "DoseMatrix": "matrix", "dose_matrix": "matrix", "load_matrix": "matrix",
    "compare": "ranking", "gained": "ranking", "ranked": "ranking",
    "shares_of_spread": "ranking",
    "draw_population": "population", "population_residual": "population", "variation": "population",
    "DoseSearch": "search", "cheapest_doses": "search", "find_dose": "search", "left_at": "search",
    "musyc_fit": "musyc", "score": "synergy", "synergy_scores": "synergy",
}  # fmt: skip

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
