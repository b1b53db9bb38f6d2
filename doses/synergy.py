"""Synergy of drug combinations: residual signalling on a dose grid in, excess over a null model out.

With r the signal left at doses (a, b) as a fraction of that at doses (0, 0), and r_a, r_b that of each drug alone at
its dose (so that the control a matrix was made with does not matter):

* Bliss independence (C. I. Bliss, Ann. Appl. Biol. 26:585, 1939): expected r_a r_b
* highest single agent (M. C. Berenbaum, Pharmacol. Rev. 41:93, 1989): expected min(r_a, r_b)

Excess = expected - observed: positive where the combination silences more than the null model says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..simulator.errors import InputError
from .matrix import DoseMatrix, dose_dims

if TYPE_CHECKING:
    import xarray as xr

STRUCTURAL = (
    "Where two drugs act on one cascade, the Bliss excess on its end product mostly follows from the wiring (two "
    "partial blocks in series): it is a property of the pathway, and no evidence of synergy in survival."
)


def bliss_excess(matrix: DoseMatrix | xr.DataArray) -> xr.DataArray:
    """Return the excess over Bliss independence, `prod_i r_i - r`, with the dims of `DoseMatrix.residual`.

    Raises InputError unless the matrix has two or more drugs, each with a dose of 0.
    """
    return _excess(matrix, lambda a, b: a * b, "Bliss excess")


def hsa_excess(matrix: DoseMatrix | xr.DataArray) -> xr.DataArray:
    """Return the excess over the highest single agent, `min_i r_i - r`, with the dims of `DoseMatrix.residual`.

    Raises InputError unless the matrix has two or more drugs, each with a dose of 0.
    """
    import xarray as xr

    return _excess(matrix, lambda a, b: xr.where(a < b, a, b).where(a.notnull() & b.notnull()), "HSA excess")


def _excess(
    matrix: DoseMatrix | xr.DataArray, combine: Callable[[xr.DataArray, xr.DataArray], xr.DataArray], name: str
) -> xr.DataArray:
    left = matrix.residual() if isinstance(matrix, DoseMatrix) else matrix
    drugs = dose_dims(left)
    if len(drugs) < 2:
        raise InputError(f"synergy needs two or more drugs, the matrix has {len(drugs)}")
    for drug in drugs:
        if not np.any(left[drug] == 0):
            raise InputError(f"synergy needs each drug alone: add the dose 0 to the axis of the others and of {drug}")
    untreated = left.sel(dict.fromkeys(drugs, 0.0), drop=True)
    residual = (left / untreated.where(untreated > 0)).transpose(*left.dims)
    expected: xr.DataArray | None = None
    for drug in drugs:
        alone = residual.sel({other: 0.0 for other in drugs if other != drug}, drop=True)
        expected = alone if expected is None else combine(expected, alone)
    assert expected is not None
    excess = (expected - residual).transpose(*residual.dims)
    excess = excess.assign_coords({name: left[name] for name in residual.coords})  # with units and roles
    excess.name = name.lower().replace(" ", "_")
    excess.attrs = {"long_name": name, "units": "fraction of control", "note": STRUCTURAL}
    return excess
