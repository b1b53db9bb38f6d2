"""A problem, a seed and a number of starts in; the points at which the searches begin out.

The first is the nominal point. The others cover the priors, each cut off at the bounds, evenly: in a scrambled Sobol'
sequence, of which point k does not depend on how many are asked for, or in a Latin hypercube, in which it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..simulator.errors import unknown_name

if TYPE_CHECKING:
    from .objective import Problem

Float = npt.NDArray[np.float64]

SAMPLINGS = ("sobol", "latin_hypercube")


def starting_points(problem: Problem, starts: int, seed: int, sampling: str = "sobol") -> Float:
    """Return the points (starts, n_free) on the search scale, the nominal one first.

    Raises
    ------
    UnknownNameError
        For a `sampling` other than `sobol` and `latin_hypercube`.
    """
    from scipy.stats import qmc

    if sampling not in SAMPLINGS:
        raise unknown_name("sampling", sampling, SAMPLINGS)
    if starts == 1:
        return problem.nominal[None].copy()
    generator = np.random.default_rng(seed)
    if sampling == "sobol":
        # in whole powers of two, in which the sequence is balanced; the rest is not used
        quantiles = qmc.Sobol(problem.n_free, seed=generator).random_base2((starts - 2).bit_length())[: starts - 1]
    else:
        quantiles = qmc.LatinHypercube(problem.n_free, seed=generator).random(starts - 1)
    return np.array([problem.nominal, *(problem.scaling.at_quantiles(row) for row in quantiles)])
