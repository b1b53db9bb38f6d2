"""Gradients of steady states: a loss of what is read out in, derivatives to many parameters at the price of one out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .ensemble import available_threads, steady_state
from .errors import InputError, unknown_name
from .options import SolverOptions, absolute_tolerances
from .protocol import Conditions
from .simd import PARAMETERS, aligned
from .slopes import Forward, Slopes
from .status import Status

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .result import Result

Float = npt.NDArray[np.float64]


def steady_state_gradient(
    compiled: CompiledModel,
    conditions: Conditions | None,
    observables: Sequence[str],
    loss_slopes: Callable[[Float], npt.ArrayLike],
    sensitivities: Sequence[str],
    *,
    options: SolverOptions | None = None,
    threads: int | None = None,
) -> tuple[Result, Float]:
    """Return the steady states and, per condition, the gradient of a loss of them.

    The gradient comes from one transposed linear system per condition, whatever the number of parameters (the adjoint
    method); with few parameters, or for the derivatives of every observable, use `steady_state` with sensitivities.

    Parameters
    ----------
    compiled, conditions, options, threads
        As in `steady_state`.
    observables
        Observables or species that the loss depends on; no named expressions.
    loss_slopes
        Given their values (n_conditions, n_observables), returns the derivatives of the loss to them, the same shape.
        The values of failed runs are NaN, and what is returned for these runs does not matter.
    sensitivities
        Names of parameters, or of species (their initial amounts).

    Returns
    -------
    result : Result
        The steady states of `observables`.
    gradient : (n_conditions, n_names)
        On the natural scale; NaN for failed runs.

    Raises
    ------
    InputError
        For wrong names, named expressions, or derivatives of another shape.
    """
    options = options or SolverOptions()
    if conditions is None:
        conditions = Conditions(("nominal",), compiled.nominal[None, :])
    weights = np.stack([_weights(compiled, name) for name in observables])
    slopes = Slopes(compiled, sensitivities)
    states = steady_state(compiled, conditions, observables=compiled.species, options=options, threads=threads)
    result = dataclasses.replace(
        states, observables=tuple(observables), values=_weighted(states.values[:, 0], weights.T)[:, None, :]
    )
    loss = np.asarray(loss_slopes(result.values[:, 0]), float)
    if loss.shape != (len(conditions), len(observables)):
        raise InputError(f"loss_slopes returned shape {loss.shape}, expected {(len(conditions), len(observables))}")
    gradient, solved = _adjoin(compiled, conditions, states, _weighted(loss, weights), slopes, options, threads)
    gradient[~solved] = np.nan
    return result, gradient


def _weights(compiled: CompiledModel, name: str) -> Float:
    """Return the weights (n_species,) with which an observable, or a species, sums amounts."""
    groups = compiled.network.observables
    weights = np.zeros(compiled.n_species)
    if name in compiled.species:
        weights[compiled.species.index(name)] = 1.0
    elif name in groups:
        for i, weight in groups[name]:
            weights[i] += weight
    elif name in compiled.observables:
        raise InputError(f"{name!r} is a named expression; give the observables that it is made of")
    else:
        raise unknown_name("observable", name, (*groups, *compiled.species))
    return weights


def _weighted(numbers: Float, weights: Float) -> Float:
    """Return the product (n, m) of numbers (n, k) and weights (k, m), added up in a fixed order."""
    total = np.zeros((len(numbers), weights.shape[1]))
    for column, row in zip(numbers.T, weights, strict=True):
        total += column[:, None] * row
    return total


def _adjoin(
    compiled: CompiledModel, conditions: Conditions, states: Result, weights: Float, slopes: Slopes,
    options: SolverOptions, threads: int | None,
) -> tuple[Float, npt.NDArray[np.bool_]]:  # fmt: skip
    """Return the derivatives (n, n_names) of sums of the amounts in `states`, and which were found.

    The sums have `weights` (n, n_species).
    """
    from . import response, rosenbrock
    from .equilibration import NOTHING
    from .totals import totals_of_runs

    tables, order = compiled.plan
    inner, n = order.permutation, len(conditions)
    values = compiled.values(conditions.parameters)
    k, start = compiled.rate_constants(values), compiled.initial_amounts(conditions.parameters)[:, inner]
    forward = Forward(compiled, slopes)
    derivatives = forward.runs(n, 0, 0)
    forward.enter(derivatives, values, (), start=True)
    settings = rosenbrock.Settings(
        0.0, options.equilibration_time, options.rtol, absolute_tolerances(compiled, options)[inner],
        options.nonnegative, options.max_steps, 0.0, 0.0,
    )  # fmt: skip
    at_rest = states.values[:, 0][:, inner].copy()
    runs = rosenbrock.new_runs(k, compiled.function_values(values), at_rest)
    runs.status[:] = np.where(states.ok, int(Status.RUNNING), states.status)
    totals = totals_of_runs(compiled, k, start != 0.0)
    gradient, solved = aligned(n, forward.n_blocks, PARAMETERS), np.zeros(n, bool)
    addresses = (*compiled.compiled_rates[:2], *compiled.compiled_slopes[:2])

    def work() -> None:
        w, z = compiled.workspace(0), forward.workspace(1)
        response.adjoin(
            tables, NOTHING, settings, runs, totals, forward.inputs, derivatives, weights[:, inner].copy(), gradient,
            solved, addresses, w, z,
        )  # fmt: skip

    n_threads = threads or available_threads()
    with ThreadPoolExecutor(n_threads) as pool:
        for future in [pool.submit(work) for _ in range(n_threads)]:
            future.result()
    return gradient.reshape(n, -1)[:, : len(slopes.names)], solved
