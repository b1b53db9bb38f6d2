"""Gradient check: a user's own model and parameters in, sensitivities beside central differences with a verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .ensemble import simulate
from .errors import InputError
from .options import SolverOptions
from .protocol import Conditions, Segment

if TYPE_CHECKING:
    import pandas as pd

    from .compiled import CompiledModel
    from .result import Result

Float = npt.NDArray[np.float64]
STEPS = 10.0 ** np.arange(-5.0, -0.9, 0.5)
"""Sizes of the differences, relative to the parameter (absolute where it is zero)."""


def check_gradient(
    compiled: CompiledModel,
    times: npt.ArrayLike,
    conditions: Conditions | None = None,
    names: Sequence[str] | None = None,
    *,
    observables: Sequence[str] | None = None,
    options: SolverOptions | None = None,
    tolerance: float = 1e-4,
    threads: int | None = None,
) -> pd.DataFrame:
    """Compare the sensitivities of a model with central differences, parameter by parameter.

    Differences are noise where their step is small and curved where it is large; in between they do not depend on it.
    For each observable the step is taken at which the next larger one changes them least: the plateau.

    Parameters
    ----------
    compiled, times, conditions, observables, threads
        As for `simulate`.
    names
        Parameters to check; if None, all that can be set but those that decide a time at which a rate function switches
        (`CompiledModel.switch_parameters`), where sensitivities jump.
    options
        Tolerances of the runs; None takes rtol 1e-9, because differences are the noisier the looser it is.
    tolerance
        Deviation, relative to the largest derivative of the observable over the times, up to which the two agree; ten
        times rtol of the observable's largest value is granted in addition. A plateau that is wider shows nothing.

    Returns
    -------
    DataFrame
        One row per condition and parameter: `analytic` and `difference` with `observable` and `time` where they deviate
        most, the relative `step`, the relative width of the `plateau`, the relative `deviation`, and a `verdict` that
        begins with "agrees", "differs", "no plateau", "no effect" or "not run".

    Raises
    ------
    InputError
        As `simulate`, and for names of species, whose initial amounts cannot be set in a condition.
    """
    import pandas as pd

    options = options or SolverOptions(rtol=1e-9)
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance is {tolerance}, expected a number between 0 and 1")
    if conditions is None:
        conditions = Conditions(("nominal",), compiled.nominal[None, :])
    if names is None:
        left_out = compiled.frozen | compiled.switch_parameters
        names = tuple(name for name in compiled.parameters if name not in left_out)
    columns = [compiled.parameter_index(name) for name in names]
    result = simulate(
        compiled, times, conditions, observables=observables, sensitivities=names, options=options, threads=threads
    )
    moved = _moved(conditions, columns)
    around = simulate(compiled, times, moved, observables=observables, options=options, threads=threads)
    ends = around.values.reshape(len(conditions), len(names), len(STEPS), 2, *result.values.shape[1:])
    differences = (ends[:, :, :, 0] - ends[:, :, :, 1]) / (2 * STEPS[:, None, None])
    scales = _scales(conditions, columns)
    rows = [
        {
            "condition": condition,
            "parameter": name,
            **_compared(
                result,
                c,
                j,
                differences[c, j],
                scales[c, j],
                conditions.parameters[c, columns[j]] == 0.0,
                tolerance,
                options.rtol,
            ),
        }
        for c, condition in enumerate(conditions.names)
        for j, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=["condition", "parameter", "observable", "time", "analytic", "difference", "step",
                                       "plateau", "deviation", "verdict"])  # fmt: skip


def _scales(conditions: Conditions, columns: Sequence[int]) -> Float:
    """Return the size of each parameter (n_conditions, n_names), 1 where it is zero."""
    sizes = np.abs(conditions.parameters[:, columns])
    return np.where(sizes == 0.0, 1.0, sizes)


def _moved(conditions: Conditions, columns: Sequence[int]) -> Conditions:
    """Return every condition with every parameter moved by every step, up and down, in this order."""
    n, copies = len(conditions), len(columns) * len(STEPS) * 2
    parameters = np.repeat(conditions.parameters, copies, axis=0).reshape(n, len(columns), len(STEPS), 2, -1)
    steps = _scales(conditions, columns)[:, :, None, None] * np.stack([STEPS, -STEPS], axis=1)
    for j, column in enumerate(columns):
        parameters[:, j, :, :, column] += steps[:, j]
    protocol = tuple(
        Segment(segment.start, segment.end, {
            name: np.repeat(value, copies) if np.ndim(value) else value for name, value in segment.set.items()
        })
        for segment in conditions.protocol
    )  # fmt: skip
    names = tuple(f"{name} {i}" for name in conditions.names for i in range(copies))
    return replace(conditions, names=names, parameters=parameters.reshape(n * copies, -1), protocol=protocol)


def _compared(
    result: Result,
    condition: int,
    parameter: int,
    differences: Float,
    scale: float,
    at_zero: bool,
    tolerance: float,
    rtol: float,
) -> dict[str, object]:
    """Return the comparison for one parameter.

    `differences` (n_steps, n_times, n_observables) are per change of the parameter by `scale`.
    """
    if not result.ok[condition]:
        return {"verdict": f"not run: {result.message(condition)}"}
    assert result.sensitivities is not None
    analytic = result.sensitivities[condition, :, :, parameter] * scale
    changes = np.abs(np.diff(differences, axis=0)).max(axis=1)
    usable = np.isfinite(changes)
    if not usable.any(axis=0).all():
        return {"verdict": "no plateau: the runs with changed values failed"}
    best = np.argmin(np.where(usable, changes, np.inf), axis=0)
    everyone = np.arange(len(best))
    plateau = differences[best, :, everyone].T
    width = changes[best, everyone]
    error = np.abs(analytic - plateau)
    size = np.maximum(np.abs(analytic).max(axis=0), np.abs(plateau).max(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation, relative_width = np.where(size > 0, error / size, 0.0), np.where(size > 0, width / size, 0.0)
    seen = size > 3 * width  # the change stands out of the scatter of the differences
    clear = seen & (relative_width <= tolerance)
    # neither side is better than the integrator, whose error is a few times its tolerance
    granted = tolerance * size + 10 * rtol * np.abs(result.values[condition]).max(axis=0)
    wrong = clear & (error > granted)
    shown = next(some for some in (wrong, clear, seen, np.ones_like(seen)) if some.any())
    time, o = np.unravel_index(np.argmax(np.where(shown, deviation, -1.0)), deviation.shape)
    if not seen.any():
        verdict = f"no effect above the noise of the differences at rtol={rtol:g}"
    elif not clear.any():
        verdict = f"no plateau: the simulation is too noisy at rtol={rtol:g}"
    elif not wrong.any():
        verdict = "agrees"
    elif at_zero:
        verdict = f"differs; the parameter is 0, and steps from {STEPS[0]:g} up may be too large for it"
    else:
        verdict = "differs"
    return {
        "observable": result.observables[o], "time": result.times[time], "analytic": analytic[time, o] / scale,
        "difference": plateau[time, o] / scale, "step": STEPS[best[o]], "plateau": relative_width[o],
        "deviation": deviation[time, o], "verdict": verdict,
    }  # fmt: skip
