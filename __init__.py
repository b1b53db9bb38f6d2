"""residuum: residual signalling under drug combinations, from rule-based models to dose matrices.

The public surface of the package. Names are loaded when they are first used: `import residuum` costs milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .aml import (
        add_drugs,
        aml_behaviours,
        aml_conditions,
        aml_doses,
        aml_ensemble,
        aml_fitted,
        aml_left_out,
        aml_model,
        aml_modules,
        aml_population,
        aml_population_residual,
        aml_predictions,
        aml_problem,
        aml_protocol,
        aml_raf_mek_draws,
        aml_rank,
        aml_structural,
        aml_tables,
        cheapest_doses,
        dose_matrix,
        find_dose,
        read_design,
        remove_drug,
    )
    from .doses import (
        Design,
        DoseMatrix,
        DoseSearch,
        Dosing,
        gained,
        load_matrix,
        musyc_fit,
        ranked,
        shares_of_spread,
        synergy_scores,
        variation,
    )
    from .fitting import (
        Ensemble,
        Fit,
        Group,
        Problem,
        Profiles,
        bands,
        fit,
        laplace_posterior,
        leave_out,
        left_out_summary,
        load_ensemble,
        plot_bands,
        plot_data_bands,
        profile_likelihood,
        read_midas,
        read_problem,
        read_table,
        refitted_posterior,
        sample_posterior,
        saved_point,
    )
    from .simulator import (
        CompiledModel,
        Conditions,
        InputError,
        MissingBioNetGenError,
        ModelNotice,
        ReactionNetwork,
        Result,
        Segment,
        SolverOptions,
        Status,
        UnknownNameError,
        check_gradient,
        compile_model,
        from_bngl,
        parse_net,
        read_bngl,
        read_net,
        simulate,
        steady_state,
        steady_state_gradient,
        warmup,
    )
    from .sweeps import (
        Computed,
        Grid,
        PointTable,
        Prior,
        Sobol,
        Sweep,
        SweepDesign,
        estimate_sweep,
        open_sweep,
        read_priors,
        sweep,
        verify_sweep,
    )

_AML = (
    "add_drugs", "aml_behaviours", "aml_conditions", "aml_doses", "aml_ensemble", "aml_fitted", "aml_left_out",
    "aml_model", "aml_modules", "aml_population", "aml_population_residual", "aml_predictions", "aml_problem",
    "aml_protocol", "aml_raf_mek_draws", "aml_rank", "aml_structural", "aml_tables", "cheapest_doses", "dose_matrix",
    "find_dose", "read_design", "remove_drug",
)  # fmt: skip

_SIMULATOR = (
    "CompiledModel", "Conditions", "InputError", "MissingBioNetGenError", "ModelNotice", "ReactionNetwork", "Result",
    "Segment", "SolverOptions", "Status", "UnknownNameError", "check_gradient", "compile_model",
    "from_bngl", "parse_net", "read_bngl", "read_net", "simulate", "steady_state",
    "steady_state_gradient", "warmup",
)  # fmt: skip

_DOSES = (
    "Design", "DoseMatrix", "DoseSearch", "Dosing", "gained", "load_matrix", "musyc_fit", "ranked",
    "shares_of_spread", "synergy_scores", "variation",
)  # fmt: skip

_SWEEPS = (
    "Computed", "Grid", "PointTable", "Prior", "Sobol", "Sweep", "SweepDesign", "estimate_sweep", "open_sweep",
    "read_priors", "sweep", "verify_sweep",
)  # fmt: skip

_FITTING = (
    "Ensemble", "Fit", "Group", "Problem", "Profiles", "bands", "fit", "laplace_posterior", "leave_out",
    "left_out_summary", "load_ensemble", "plot_bands", "plot_data_bands", "profile_likelihood", "read_midas",
    "read_problem", "read_table", "refitted_posterior", "sample_posterior", "saved_point",
)  # fmt: skip

_HOMES = {".aml": _AML, ".simulator": _SIMULATOR, ".doses": _DOSES, ".sweeps": _SWEEPS, ".fitting": _FITTING}

__all__ = ["__version__", *_AML, *_SIMULATOR, *_DOSES, *_SWEEPS, *_FITTING]


def __getattr__(name: str) -> Any:
    home = next((place for place, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
