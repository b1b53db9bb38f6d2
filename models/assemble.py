"""The mechanism modules go in; one PySB model, and with BioNetGen its network text, come out.

`python -m residuum.models.assemble` writes the shipped network anew (needs the extra `bng`, and Perl).
"""

from __future__ import annotations

import hashlib

import pysb
from pysb.bng import generate_network
from pysb.generator.bng import BngGenerator

from .building import ModelBuilder
from .flt3 import flt3
from .jak_stat import jak2, stat5
from .media import media
from .network import HASH_LABEL, network_path
from .ras_mapk import ras_mapk
from .stroma_inputs import fgfr1

MODEL_NAME = "aml"
MECHANISMS = (media, flt3, fgfr1, jak2, stat5, ras_mapk)
"""In this order: a mechanism finds the monomers and observables it needs already there."""


def build() -> pysb.Model:
    """Return the model of the leukaemia cell (amounts in nM, time in seconds), without its network."""
    builder = ModelBuilder(MODEL_NAME)
    for mechanism in MECHANISMS:
        mechanism(builder)
    both_alleles = builder.model.monomers["FLT3A"](y="p") + builder.model.monomers["FLT3B"](y="p")
    builder.observable("pFLT3", both_alleles)
    return builder.model


def source_text(model: pysb.Model) -> str:
    """Return the BNGL text of `model`."""
    return str(BngGenerator(model).get_content())


def source_hash(model: pysb.Model) -> str:
    """Return the sha256 (64 hex digits) of the BNGL text of `model`."""
    return hashlib.sha256(source_text(model).encode()).hexdigest()


def network_text(model: pysb.Model) -> str:
    """Return the BioNetGen `.net` text of `model`, its first line carrying the hash of the BNGL text.

    Runs BioNetGen, which takes some seconds.
    """
    generated = generate_network(model, append_stdout=False)
    return f"{HASH_LABEL}{source_hash(model)}\n{generated}"


def main() -> None:
    """Write the shipped network."""
    text = network_text(build())
    network_path().write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
