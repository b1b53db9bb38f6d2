"""Solver options: what a user asks for in, checked numbers and a tolerance per species out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import InputError, unknown_name

if TYPE_CHECKING:
    from .compiled import CompiledModel

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SolverOptions:
    """Settings of the integrator.

    Attributes
    ----------
    rtol
        Relative tolerance of the local error, in the maximum norm over species.
    atol
        Absolute tolerance: one value, one per species (n_species,), or `{species: value}`; None, and species that a
        mapping leaves out, take `min(1e-10, 1e-6 rtol)` of the model's largest nominal initial amount, clamped species
        left out.
    method
        `"auto"` or `"rodas5p"`.
    max_steps
        Limit on attempted steps of one run, rejected ones included.
    max_seconds
        Limit on wall time of one run; None for no limit.
    nonnegative
        Refuse steps that make an amount negative beyond atol, and runs that begin with such an amount or with a
        negative rate constant of mass action (rate functions may have any sign).
    equilibration_time
        Longest model time granted to reach a steady state, and the time over which a state must stay put
        to count as steady; deviations that take longer to grow or to return are not seen.
    """

    rtol: float = 1e-4
    atol: float | npt.ArrayLike | Mapping[str, float] | None = None
    method: Literal["auto", "rodas5p"] = "auto"
    max_steps: int = 100_000
    max_seconds: float | None = None
    nonnegative: bool = True
    equilibration_time: float = 1e7

    def __post_init__(self) -> None:
        atol = list(self.atol.values()) if isinstance(self.atol, Mapping) else self.atol
        if not _all_numbers(self.rtol, lambda x: (x >= 1e-14) & (x < 1)):
            raise InputError(f"rtol is {self.rtol}, expected a number from 1e-14 to below 1")
        if atol is not None and not _all_numbers(atol, lambda x: (x > 0) & (x < np.inf), several=True):
            raise InputError(f"atol is {self.atol}, expected positive numbers")
        if self.method not in ("auto", "rodas5p"):
            raise unknown_name("method", self.method, ("auto", "rodas5p"))
        if not _all_numbers(self.max_steps, lambda x: (x >= 1) & (x < 2**62) & (x == np.floor(x))):
            raise InputError(f"max_steps is {self.max_steps}, expected a whole number above 0")
        if self.max_seconds is not None and not _all_numbers(self.max_seconds, lambda x: x > 0):
            raise InputError(f"max_seconds is {self.max_seconds}, expected a number above 0, or None for no limit")
        if not _all_numbers(self.equilibration_time, lambda x: (x > 0) & (x < np.inf)):
            raise InputError(f"equilibration_time is {self.equilibration_time}, expected a positive number")
        # the kernels are compiled for these types; another one would compile them again
        for name, kind in (("rtol", float), ("max_steps", int), ("nonnegative", bool), ("equilibration_time", float)):
            object.__setattr__(self, name, kind(getattr(self, name)))


def _all_numbers(given: Any, good: Callable[[Float], Any], *, several: bool = False) -> bool:
    """Tell whether `given` is a number, or numbers where `several` are allowed, and all of it is `good`."""
    try:
        numbers = np.asarray(given, float)
    except (TypeError, ValueError):
        return False
    return (several or numbers.ndim == 0) and bool(np.all(good(numbers)))


def default_atol(compiled: CompiledModel, rtol: float) -> float:
    """Return the absolute tolerance for `rtol`: `min(1e-10, 1e-6 rtol)` of the largest nominal initial amount.

    Clamped species (drugs, ligands) are left out. With the default rtol of 1e-4, the error of a whole course of
    `earm_1_0` with parameters x/÷10 stays below 1e-3 in 99 of 100 runs and below 1e-2 in all (docs/solver.md).

    Raises
    ------
    InputError
        If no species starts above zero: then nothing says how small an amount matters.
    """
    amounts = np.abs(compiled.initial_amounts())[~np.array(compiled.network.fixed)]
    finite = np.isfinite(amounts)
    largest = float(np.max(amounts, initial=0.0, where=finite)) if finite.any() else 1.0
    if largest == 0.0 and finite.all():
        raise InputError(
            f"{compiled.name}: every amount starts at zero nominally, so that no absolute tolerance can be derived; "
            "pass SolverOptions(atol=...), an amount of the model's unit that does not matter"
        )
    return min(1e-10, 1e-6 * rtol) * largest


def absolute_tolerances(compiled: CompiledModel, options: SolverOptions) -> Float:
    """Return the absolute tolerance of each species, shape (n_species,), from what `options.atol` says.

    Raises InputError for an array of another length, UnknownNameError for a species that the model does not have.
    """
    if not isinstance(options.atol, Mapping):
        atol = np.asarray(default_atol(compiled, options.rtol) if options.atol is None else options.atol, float)
        if atol.ndim and atol.shape != (compiled.n_species,):
            raise InputError(
                f"atol has shape {atol.shape}, expected one value or one per species ({compiled.n_species},); "
                "a mapping {species: value} sets some of them"
            )
        return np.broadcast_to(atol, compiled.n_species)
    given = dict(options.atol)
    if unknown := sorted(given.keys() - set(compiled.species)):
        raise unknown_name("species in atol", unknown[0], compiled.species)
    other = default_atol(compiled, options.rtol) if len(given) < compiled.n_species else 0.0
    return np.array([given.get(species, other) for species in compiled.species], float)
