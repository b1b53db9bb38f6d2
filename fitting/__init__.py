"""Fitting: PEtab tables and a compiled model in; an objective, its best parameters and a figure out.

A problem is five tables (conditions, experiments, measurements, observables, parameters). `fitting` knows parameters
of compiled models only: names of drugs and contexts in a conditions table are resolved by a function of the caller.
What is not listed here is private. Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .objective import Evaluation, Problem, read_problem
    from .petab import lint_petab, read_petab, write_petab
    from .plots import plot_bands, plot_data_bands, plot_fit, plot_parameters, plot_profiles, plot_waterfall
    from .posterior import Ensemble, bands, load_ensemble
    from .profile import Profile, Profiles, profile_likelihood, saved_point
    from .result import Fit
    from .sampling import laplace_posterior, log_posterior, refitted_posterior, sample_posterior
    from .search import fit
    from .tables import Tables, read_tables
    from .tidy import read_midas, read_table
    from .validation import Group, leave_out, left_out_summary, without

_HOME = {
    "Evaluation": "objective", "Problem": "objective", "read_problem": "objective",
    "lint_petab": "petab", "read_petab": "petab", "write_petab": "petab",
    "plot_bands": "plots", "plot_data_bands": "plots", "plot_fit": "plots", "plot_parameters": "plots",
    "plot_profiles": "plots", "plot_waterfall": "plots",
    "Ensemble": "posterior", "bands": "posterior", "load_ensemble": "posterior",
    "Profile": "profile", "Profiles": "profile", "profile_likelihood": "profile", "saved_point": "profile",
    "Fit": "result",
    "laplace_posterior": "sampling", "log_posterior": "sampling", "refitted_posterior": "sampling",
    "sample_posterior": "sampling",
    "fit": "search",
    "Tables": "tables", "read_tables": "tables",
    "read_midas": "tidy", "read_table": "tidy",
    "Group": "validation", "leave_out": "validation", "left_out_summary": "validation",
    "without": "validation",
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
