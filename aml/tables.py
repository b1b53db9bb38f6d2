"""Nothing in; what the shipped model knows, as tables with units and sources, out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ..simulator.diagrams import Module


def aml_tables() -> dict[str, pd.DataFrame]:
    """Return what the shipped model knows, as tables, with units and sources.

    The tables are contexts, drugs, exposure (of patients to drugs), readouts, parameters, variation (between cells
    and between patients), behaviours, references and notes (choices of the model, what it leaves out, what it
    misses). The contexts are of three kinds: cells, stroma presets, and the alleles that cells hold. A parameter
    that every context sets has the value of the reference context; `unknown` affinities show as such.
    """
    import pandas as pd

    from .. import models

    readouts = [{"readout": name, **dataclasses.asdict(r)} for name, r in models.observables.READOUTS.items()]
    files = {**models.contexts.FILES, models.alleles.KIND: models.alleles.FILE}
    contexts = [
        {"kind": kind, "name": row[kind], **{column: row[column] for column in models.tables.QUANTITY_COLUMNS}}
        for kind, file in files.items()
        for row in models.tables.read(file, (kind, *models.tables.QUANTITY_COLUMNS))
    ]
    behaviours = [
        {"id": b.id, "statement": b.statement, "tolerance": b.tolerance, "publications": " ".join(b.source),
         "tuned": b.tuned}
        for b in models.behaviours.BEHAVIOURS
    ]  # fmt: skip
    return {
        "contexts": pd.DataFrame(contexts),
        "drugs": pd.DataFrame(models.drugs.cells()),
        "exposure": pd.DataFrame(models.tables.read(models.drugs.EXPOSURE_FILE, models.drugs.EXPOSURE_COLUMNS)),
        "readouts": pd.DataFrame(readouts),
        "parameters": pd.DataFrame([dataclasses.asdict(row) for row in models.parameters.table()]),
        "variation": pd.DataFrame(models.tables.read(models.variation.FILE, models.variation.COLUMNS)),
        "behaviours": pd.DataFrame(behaviours),
        "references": pd.DataFrame([dataclasses.asdict(row) for row in models.references.table()]),
        "notes": pd.DataFrame(models.tables.read("notes.tsv", ("kind", "subject", "note"))),
    }


def aml_modules() -> list[Module]:
    """Return the mechanisms of the shipped model: what each hears and tells, its monomers and its parameters."""
    from ..models import outline
    from ..simulator.diagrams import Module

    return [Module(**dataclasses.asdict(part)) for part in outline.parts()]
