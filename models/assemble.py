"""The mechanism modules go in; one PySB model, and with BioNetGen its network text, come out.

`python -m residuum.models.assemble` writes the shipped network anew (needs the extra `bng`, and Perl).
"""

from __future__ import annotations

import hashlib

import pysb
from pysb.bng import generate_network
from pysb.generator.bng import BngGenerator

from .building import ModelBuilder, Module
from .flt3 import FLT3
from .jak_stat import JAK_STAT
from .media import MEDIA
from .network import HASH_LABEL, network_path
from .pi3k_s6 import PI3K_S6
from .ras_mapk import RAS_MAPK
from .stroma_inputs import STROMA_INPUTS
from .survival import SURVIVAL

MODEL_NAME = "aml"
MODULES = (MEDIA, FLT3, STROMA_INPUTS, JAK_STAT, RAS_MAPK, PI3K_S6, SURVIVAL)


def build() -> pysb.Model:
    """Return the model of the leukaemia cell (amounts in nM, time in seconds), without its network."""
    return ModelBuilder(MODEL_NAME).assemble(MODULES)


def build_alone(module: Module) -> pysb.Model:
    """Return the model of one module in its medium.

    Each signal it hears from others is a constant amount, set by the parameter `input_<signal>` (nM, 0).
    """
    alone = (MEDIA,) if module is MEDIA else (MEDIA, module)
    return ModelBuilder(module.name).assemble(alone)


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
