"""Right-hand side and Jacobian by tables: amounts and rate constants in, dy/dt and df/dy out. Machine code.

All species indices here are in elimination order (`Tables.position` of `compiled.py` maps to it).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .kernel_cache import kernel
from .rates import call_rates

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


class Tables(NamedTuple):
    """One network as flat tables, model-independent in type so that no model recompiles a kernel.

    Ragged lists are stored as `pointer` and content: list `i` is `content[pointer[i]:pointer[i + 1]]`.
    """

    n_species: int
    reactant_pointer: Index
    reactant: Index
    """Species that enter the rate, repeated as often as they react."""
    change_pointer: Index
    change: Index
    """Species that the reaction changes (fixed ones left out) ..."""
    change_by: Float
    """... and by how much."""
    # constant part of the Jacobian's bookkeeping: term = d rate of reaction / d one reactant
    term_reaction: Index
    term_skip: Index
    """Place in `reactant` of the factor that is differentiated away."""
    entry_pointer: Index
    entry: Index
    """Places in the Jacobian to which a term is added ..."""
    entry_by: Float
    """... and the stoichiometric factor."""
    # reactions whose rate constant is a function of observables or time
    dynamic_reaction: Index
    dynamic_rate: Index
    """Which rate function each of them uses."""
    dynamic_factor: Float
    observable_pointer: Index
    observable: Index
    """Species of each observable that rate functions use ..."""
    observable_weight: Float
    """... and its weight."""
    partial_rate: Index
    partial_observable: Index
    """Observable (-1: time) of each nonzero partial derivative of the rate functions."""
    # term = one (dynamic reaction, partial derivative) pair
    chain_dynamic: Index
    chain_partial: Index
    chain_pointer: Index
    chain_entry: Index
    chain_by: Float
    """Stoichiometric factor times the observable's weight, per entry of the Jacobian."""
    # Jacobian and its factors
    jacobian_pointer: Index
    jacobian_column: Index
    lu_pointer: Index
    lu_diagonal: Index
    lu_column: Index
    jacobian_in_lu: Index
    """Place in the LU pattern of each entry of the Jacobian."""
    n_rates: int


@kernel
def update_rates(tables, values, t, y, rates_address, x, rate_values, k):
    """Evaluate the rate functions at (t, y) and put the rate constants of the dynamic reactions into `k`."""
    if tables.n_rates == 0:
        return
    x[0] = t
    for o in range(tables.observable_pointer.size - 1):
        total = 0.0
        for q in range(tables.observable_pointer[o], tables.observable_pointer[o + 1]):
            total += tables.observable_weight[q] * y[tables.observable[q]]
        x[o + 1] = total
    call_rates(rates_address, x, values, rate_values)
    for d in range(tables.dynamic_reaction.size):
        k[tables.dynamic_reaction[d]] = tables.dynamic_factor[d] * rate_values[tables.dynamic_rate[d]]


@kernel
def rhs(tables, k, y, dy):
    """Write dy/dt for rate constants `k` (n_reactions,) and amounts `y` (n_species,) into `dy`."""
    dy[:] = 0.0
    for r in range(k.size):
        v = k[r]
        for q in range(tables.reactant_pointer[r], tables.reactant_pointer[r + 1]):
            v *= y[tables.reactant[q]]
        for q in range(tables.change_pointer[r], tables.change_pointer[r + 1]):
            dy[tables.change[q]] += tables.change_by[q] * v


@kernel
def jacobian(tables, k, y, partials, entries, dfdt):
    """Write df/dy into `entries` (pattern of `tables`) and the explicit df/dt into `dfdt` (n_species,).

    `partials` holds the partial derivatives of the rate functions at the present time and amounts.
    """
    entries[:] = 0.0
    for m in range(tables.term_reaction.size):
        r = tables.term_reaction[m]
        v = k[r]
        for q in range(tables.reactant_pointer[r], tables.reactant_pointer[r + 1]):
            if q != tables.term_skip[m]:
                v *= y[tables.reactant[q]]
        for q in range(tables.entry_pointer[m], tables.entry_pointer[m + 1]):
            entries[tables.entry[q]] += tables.entry_by[q] * v
    dfdt[:] = 0.0
    for m in range(tables.chain_dynamic.size):
        d = tables.chain_dynamic[m]
        r = tables.dynamic_reaction[d]
        v = tables.dynamic_factor[d] * partials[tables.chain_partial[m]]
        for q in range(tables.reactant_pointer[r], tables.reactant_pointer[r + 1]):
            v *= y[tables.reactant[q]]
        if tables.partial_observable[tables.chain_partial[m]] < 0:
            for q in range(tables.change_pointer[r], tables.change_pointer[r + 1]):
                dfdt[tables.change[q]] += tables.change_by[q] * v
        else:
            for q in range(tables.chain_pointer[m], tables.chain_pointer[m + 1]):
                entries[tables.chain_entry[q]] += tables.chain_by[q] * v


@kernel
def evaluate_partials(partials_address, x, values, partials):
    """Write the partial derivatives of the rate functions into `partials`; `x` comes from `update_rates`."""
    call_rates(partials_address, x, values, partials)
