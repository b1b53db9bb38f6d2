"""Rules, drugs and contexts go in; one reaction network of the leukaemia cell and its named settings come out.

Importing this package does not import PySB; `build` and the mechanism modules do.
All amounts are in nM of cell volume, all times in seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import (
    behaviours,
    contexts,
    drugs,
    fitted,
    joint,
    members,
    observables,
    parameters,
    priors,
    references,
    tables,
    variation,
)
from .names import UnknownNameError
from .network import network_path, network_source_hash

if TYPE_CHECKING:
    import pysb

__all__ = [
    "UnknownNameError",
    "behaviours",
    "build",
    "contexts",
    "drugs",
    "fitted",
    "joint",
    "members",
    "network_path",
    "network_source_hash",
    "observables",
    "parameters",
    "priors",
    "variation",
]


def build() -> pysb.Model:
    """Return the rule-based model with its nominal parameters (imports PySB; does not generate the network).

    Returns
    -------
    pysb.Model
        Amounts in nM, rates in 1/s and 1/(nM s).
    """
    from .assemble import build as build_model

    return build_model()
