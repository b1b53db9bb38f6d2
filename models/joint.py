"""Nothing goes in; what the published fits of the RAF-MEK module say of its parameters together comes out.

The fits are of melanoma cells (A375). What they left open in one parameter they often closed in a product of two, so
their spread is kept as mean and covariance of the decimal logarithms, not parameter by parameter. Per parameter of
the model, `data/raf_mek_joint.tsv` says from which columns of the published table it was made; these are in uM, hours
and, `dG` and `ddG`, energies in units of RT.

Left out, since a parameter of the model stands for something else than one of the fits:

* `load_RAS_SOS_kcat`, `phosphorylate_MEK_RAF_kcat`, `phosphorylate_ERK_MEK_kcat`, `dephosphorylate_ERK_DUSP6_kcat` and
  the rates of the phosphatases that oppose them: kcat over Km here, a complex of enzyme and substrate there
* `dimerise_RAF_kd` and `dimerise_pRAF_kd_factor`: there RAF may dimerise anywhere, 10^9 times tighter on RAS-GTP; here
  on RAS-GTP only
* copies per cell, and the basal transcription that follows from them: those of A375, where a leukaemia cell has its own
* inhibitors of MEK: `drugs.tsv` has their medians, with the shifts to cells
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from . import tables

FILE = "raf_mek_joint.tsv"
COLUMNS = ("parameter", "unit", "from_columns", "source", "note", "mean_log10")
"""Then one column per parameter: the covariance with it, given on and above the diagonal."""


@dataclass(frozen=True)
class Joint:
    """Mean and covariance of the decimal logarithms of several parameters."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    """Of log10(value), the value in the parameter's own unit."""
    covariance: tuple[tuple[float, ...], ...]
    """Symmetric, of log10(value); positive semidefinite, singular where two parameters come from the same column."""


@cache
def raf_mek() -> Joint:
    """Return the parameters of the RAF-MEK-DUSP-SOS module that the fits of marm2023 give.

    Raises
    ------
    ValueError
        If the table is not an upper triangle in the order of its rows.
    """
    names = tuple(line.partition("\t")[0] for line in _lines()[1:])
    rows = tables.read(FILE, (*COLUMNS, *names))
    for i, row in enumerate(rows):
        for j, other in enumerate(names):
            if (row[other] == "") != (j < i):
                raise ValueError(f"{FILE}: {names[i]}, column {other}: covariances stand on and above the diagonal")
    upper = [[float(row[other] or 0) for other in names] for row in rows]
    n = range(len(names))
    covariance = tuple(tuple(upper[min(i, j)][max(i, j)] for j in n) for i in n)
    return Joint(names, tuple(float(row["mean_log10"]) for row in rows), covariance)


def _lines() -> list[str]:
    return (tables.DATA / FILE).read_text(encoding="utf-8").splitlines()
