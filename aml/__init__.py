"""The shipped model by name: where cells, stroma and drugs meet the simulator, the doses and the fits.

Everything below `aml` knows parameters of compiled models only. What is not listed here is private. Names are loaded
when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .behaviours import aml_behaviours
    from .calibration import aml_ensemble, aml_fitted, aml_left_out, aml_predictions, aml_problem, aml_raf_mek_draws
    from .cells import add_drugs, aml_conditions, aml_model, remove_drug
    from .matrices import aml_structural, cheapest_doses, dose_matrix, find_dose
    from .populations import aml_population, aml_population_residual
    from .protocols import aml_protocol, read_design
    from .ranking import aml_doses, aml_rank
    from .tables import aml_modules, aml_tables

_ROOMS = {
    "cells": ("add_drugs", "aml_conditions", "aml_model", "remove_drug"),
    "protocols": ("aml_protocol", "read_design"),
    "matrices": ("aml_structural", "cheapest_doses", "dose_matrix", "find_dose"),
    "behaviours": ("aml_behaviours",),
    "calibration": (
        "aml_ensemble",
        "aml_fitted",
        "aml_left_out",
        "aml_predictions",
        "aml_problem",
        "aml_raf_mek_draws",
    ),
    "populations": ("aml_population", "aml_population_residual"),
    "ranking": ("aml_doses", "aml_rank"),
    "tables": ("aml_modules", "aml_tables"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
