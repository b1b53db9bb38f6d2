"""A context, drugs and what varies in; the design of a sweep of the shipped model out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .cells import aml_conditions, aml_model, checked_changes, dose_parameters

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from ..simulator import SolverOptions
    from ..sweeps import Points, SweepDesign


def aml_sweep_design(
    parameters: Points | Mapping[str, npt.ArrayLike] | pd.DataFrame,
    times: npt.ArrayLike | None = None,
    readouts: Sequence[str] | None = None,
    *,
    context: str = "blast-itd",
    drugs: Mapping[str, float] | None = None,
    changes: Mapping[str, float] | None = None,
    keep: Sequence[str] | None = None,
    options: SolverOptions | None = None,
) -> SweepDesign:
    """Return the design of a sweep of the shipped model: at rest without drugs at every point, then under them.

    Parameters
    ----------
    parameters
        The points, as in `SweepDesign`. The name of a drug stands for its dose (nM); any other is a parameter, whose
        value at a point holds in place of that of the context.
    times, readouts, keep, options
        As in `SweepDesign`; times are seconds after the drugs.
    context
        As in `aml_conditions`.
    drugs
        Drug name -> free concentration in nM at all points; at most four drugs with those that vary.
    changes
        Parameter name -> value at all points, in place of that of the context.

    Raises
    ------
    UnknownNameError
        For an unknown context, drug, parameter or read-out, with the nearest name.
    InputError
        For what both varies and is given, and for numbers that cannot be.

    Examples
    --------
    >>> import residuum
    >>> design = residuum.aml_sweep_design(
    ...     {"gilteritinib": [0.0, 10.0, 100.0], "amount_NF1_total": [1.0, 10.0]}, [7200.0], ["pERK"]
    ... )
    >>> design
    <SweepDesign aml: 6 points of gilteritinib, amount_NF1_total>
    """
    from .. import models
    from ..simulator.errors import InputError, unknown_name
    from ..sweeps import SweepDesign
    from ..sweeps.points import as_points

    points, compiled = as_points(parameters), aml_model()
    varied = [name for name in points.names if name in models.drugs.names()]
    others = [name for name in points.names if name not in varied]
    if unknown := [name for name in others if name not in compiled.parameters]:
        raise unknown_name("drug or parameter", unknown[0], (*models.drugs.names(), *compiled.parameters))
    checked_changes(dict.fromkeys(others, 0.0))
    if twice := [name for name in points.names if name in (drugs or {}) or name in (changes or {})]:
        raise InputError(f"{twice[0]} varies from point to point and is given for all; leave one out")
    given = {**(drugs or {}), **dict.fromkeys(varied, 0.0)}
    conditions = aml_conditions([context], given, changes=changes)
    slots = dose_parameters(tuple(given))
    aliases = {drug: slots[drug] for drug in varied}
    values = zip(compiled.parameters, conditions.parameters[0].tolist(), compiled.nominal.tolist(), strict=True)
    fixed = {
        name: value for name, value, nominal in values if value != nominal and name not in (*others, *aliases.values())
    }
    return SweepDesign(
        compiled, points, times, readouts, keep=keep, protocol=conditions.protocol, fixed=fixed, aliases=aliases,
        options=options,
    )  # fmt: skip
