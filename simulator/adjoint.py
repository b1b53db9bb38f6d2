"""Gradients of steady states: a loss of what is read out in, derivatives to many parameters at the price of one out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import batch as batches
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
Index = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


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
        As in `steady_state`; a run is NOT_ISOLATED also where a parameter that is zero would make it so.
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
    gradient, blamed = _adjoin(compiled, conditions, states, _weighted(loss, weights), slopes, options, threads)
    lost = states.ok & (blamed >= 0)
    if lost.any():
        culprits = [compiled.species[b] if b >= 0 else c for b, c in zip(blamed, states.culprits, strict=True)]
        result = dataclasses.replace(
            result, status=np.where(lost, int(Status.NOT_ISOLATED), states.status), culprits=tuple(culprits),
            values=np.where(lost[:, None, None], np.nan, result.values),
            failed_at=np.where(lost, states.reached, states.failed_at),
        )  # fmt: skip
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
) -> tuple[Float, Index]:  # fmt: skip
    """Return the derivatives (n, n_names) of sums of the amounts in `states`, block by block of conditions.

    The sums have `weights` (n, n_species). Where a derivative does not exist it is NaN, and the second array has the
    species to blame; -1 elsewhere.
    """
    n, inner, forward = len(conditions), compiled.plan[1].permutation, Forward(compiled, slopes)
    gradient, blamed = np.full((n, len(slopes.names)), np.nan), np.full(n, -1)
    n_threads = threads or available_threads()
    block = max(min(batches.BLOCK, batches.BLOCK_BYTES // max(forward.bytes_per_run(0), 1)), batches.FEWEST)
    with ThreadPoolExecutor(n_threads) as pool:

        def in_threads(work: Callable[[], None]) -> None:
            for future in [pool.submit(work) for _ in range(n_threads)]:
                future.result()

        for first in range(0, n, block):
            rows = slice(first, first + block)
            found, solved, culprit = _adjoin_block(
                forward, conditions.parameters[rows], states.values[rows, 0][:, inner], states.status[rows],
                weights[rows][:, inner], options, in_threads,
            )  # fmt: skip
            gradient[rows] = np.where(solved[:, None], found, np.nan)
            blamed[rows] = np.where(states.ok[rows] & ~solved, inner[culprit], -1)
    return gradient, blamed


def _adjoin_block(
    forward: Forward, parameters: Float, at_rest: Float, status: Index, weights: Float, options: SolverOptions,
    in_threads: Callable[[Callable[[], None]], None],
) -> tuple[Float, Flags, Index]:  # fmt: skip
    """Return the derivatives (n, n_names) of sums of the amounts `at_rest`, which were found, and species to blame.

    Species, those of `at_rest` and `weights` (n, n_species) too, are in elimination order.
    """
    from . import response, rosenbrock
    from .equilibration import NOTHING
    from .totals import totals_of_runs

    compiled, n = forward.compiled, len(parameters)
    tables, order = compiled.plan
    values = compiled.values(parameters)
    k, start = compiled.rate_constants(values), compiled.initial_amounts(parameters)[:, order.permutation]
    derivatives = forward.runs(n, 0, 0)
    forward.enter(derivatives, values, (), start=True)
    rates, amounts = forward.moves(derivatives)
    totals = totals_of_runs(compiled, (k != 0.0) | rates, (start != 0.0) | amounts)
    atol = absolute_tolerances(compiled, options)[order.permutation]
    settings = rosenbrock.Settings(
        0.0, options.equilibration_time, options.rtol, atol, options.nonnegative, options.max_steps, 0.0, 0.0
    )
    runs = rosenbrock.new_runs(k, compiled.function_values(values), np.ascontiguousarray(at_rest))
    runs.status[:] = np.where(status == int(Status.OK), int(Status.RUNNING), status)
    gradient, solved, sums = aligned(n, forward.n_blocks, PARAMETERS), np.zeros(n, bool), np.ascontiguousarray(weights)
    addresses = (*compiled.compiled_rates[:2], *compiled.compiled_slopes[:2])

    def work() -> None:
        w, z = compiled.workspace(0), forward.workspace(1)
        if options.nonnegative:
            w.floor[0] = 0.0
        response.adjoin(
            tables, NOTHING, settings, runs, totals, forward.inputs, derivatives, sums, gradient, solved, addresses,
            w, z,
        )  # fmt: skip

    in_threads(work)
    return forward.by_name(gradient[:, None, None])[:, 0, 0], solved, runs.counts[:, rosenbrock.CULPRIT]
