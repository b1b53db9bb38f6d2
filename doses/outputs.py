"""A dose matrix and a folder in; tables, figures and a report in it out, with nothing stale left beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator import plots
from ..simulator.report import Section, write_report, write_whole
from . import figures
from .matrix import DoseMatrix

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TIME = r"_[\d.e+]+(s|min|h)"
OURS = re.compile(
    rf"((matrix|contour)_\w+{TIME}|synergy_\w+({TIME})?|arms({TIME})?|dose_response{TIME})\.(png|pdf)"
    r"|report\.html|matrix\.partial\.(nc|csv)"
)
"""Names under which a former run may have left what the next one makes stale; `matrix.nc` and `.csv` are replaced."""


def write_tables(folder: Path, name: str, matrix: DoseMatrix) -> list[Path]:
    """Write `name.nc` and `name.csv`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = matrix.to_frame()
    return [
        matrix.save(folder / f"{name}.nc"),
        write_whole(folder / f"{name}.csv", lambda path: frame.to_csv(path, index=False)),
    ]


@dataclass(frozen=True)
class Place:
    """A folder for figures, and the formats in which each is written besides the one that the report holds."""

    folder: Path
    also: Sequence[str] = ()

    def save(self, figure: Figure, name: str) -> Path:
        """Write a figure as `name`.png, and in the other formats; return the first."""
        for suffix in self.also:
            plots.save(figure, self.folder / f"{name}{suffix}")
        return plots.save(figure, self.folder / f"{name}.png")


def write_matrix(
    folder: Path, matrix: DoseMatrix, provenance: Mapping[str, str], extra: Sequence[Section] = (), *,
    also: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Write matrix.nc, matrix.csv, figures and report.html, return the report; figures of former runs are removed.

    `also` are endings (`.pdf`, `.svg`) of formats in which each figure is written beside the PNG.
    """
    write_tables(folder, "matrix", matrix)
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.is_file():
            path.unlink()
    drugs, place = matrix.drugs, Place(folder, also)
    varied = [drug for drug in drugs if matrix.dataset.sizes[drug] > 1]
    sections = [_short(place, matrix)]
    if len(drugs) == 2 and len(varied) == 2:
        sections += [Section("Dose matrices", (), _maps(place, matrix)), _synergy(place, matrix)]
    elif len(varied) == 1:
        sections.append(Section("Dose response", (), _curves(place, matrix)))
    elif len(drugs) > 2:
        words = f"The figures show the corners of a matrix of {len(drugs)} drugs; matrix.csv and matrix.nc hold all."
        sections.append(Section("Dose matrices", [words]))
    attributes = {str(name): str(value) for name, value in sorted(matrix.dataset.attrs.items()) if str(value)}
    sections += [*extra, Section("Provenance", (), (), [("This run", _pairs({**provenance, **attributes}))])]
    return write_report(folder / "report.html", f"Residual signalling: {' x '.join(drugs)}", sections)


# ---- sections ---------------------------------------------------------------------------------------------------


def _short(place: Place, matrix: DoseMatrix) -> Section:
    reference = matrix.reference
    control = (
        "the untreated cell in the same context and at the same time"
        if reference == "untreated"
        else f"the untreated cell of {reference} at the same time, in every context"
    )
    when = (
        "Each cell is brought to steady state without drugs; the drugs are then there at constant free concentrations."
        if matrix.dataset.attrs["dosing"] == "{}"
        else f"Protocol, times in {matrix.dataset['time'].attrs['units']}: {matrix.dataset.attrs['protocol']}."
    )
    words = [f"{when} Numbers are fractions of {control}.", f"{matrix.summary()}."]
    if (n_members := matrix.dataset.sizes["member"]) > 1:
        words.append(
            f"Numbers are medians over {n_members} members of an ensemble, bands reach from their 5 % to 95 % quantile."
        )
    if int(matrix.dataset.attrs["n_failed"]):
        words.append("Failed runs are grey in figures and named in tables, never a number.")
    if silent := matrix.without_control():
        words.append(f"No signal in the control, and so no fraction of it (hatched in figures): {'; '.join(silent)}.")
    pictures, tables = [], []
    readouts = list(matrix.readouts)
    for time, label, tag in _times(matrix):
        path = place.save(figures.bars_figure(matrix, readouts, time=time), f"arms_{tag}")
        pictures.append((f"Each drug alone and all together, at the highest doses, {label} after the drugs.", path))
        tables.append((f"Fraction left, {label} after the drugs, at the highest doses", _corners(matrix, time)))
    return Section("In short", words, pictures, tables)


def _maps(place: Place, matrix: DoseMatrix) -> list[tuple[str, Path]]:
    maps = []
    readouts = list(matrix.readouts)
    control = figures.reference_words(matrix)
    for time, label, tag in _times(matrix):
        for readout in readouts:
            path = place.save(figures.matrix_figure(matrix, readout, time=time), f"matrix_{readout}_{tag}")
            maps.append((f"{readout}, {label} after the drugs: fraction of the {control} left.", path))
        if min(matrix.dataset.sizes[drug] for drug in matrix.drugs) > 2:  # two doses enclose no contour
            path = place.save(figures.contour_figure(matrix, readouts[0], time=time), f"contour_{readouts[0]}_{tag}")
            maps.append((f"Doses that leave a quarter of {readouts[0]}, {label} after the drugs.", path))
    return maps


def _synergy(place: Place, matrix: DoseMatrix) -> Section:
    without = [drug for drug in matrix.drugs if not np.any(matrix.dataset[drug] == 0)]
    if without:
        words = f"Not computed: it needs each drug alone, and 0 is not among the doses of {' and '.join(without)}."
        return Section("Synergy", [words])
    excess, readout = [matrix.synergy(model) for model in ("bliss", "hsa")], matrix.readouts[0]
    pictures = []
    for time, label, tag in _times(matrix):
        path = place.save(figures.synergy_figure(excess, readout, time=time), f"synergy_{readout}_{tag}")
        pictures.append((f"Excess over two null models, {readout}, {label} after the drugs.", path))
    return Section("Synergy", [excess[0].attrs["note"]], pictures)


def _curves(place: Place, matrix: DoseMatrix) -> list[tuple[str, Path]]:
    readouts, curves = list(matrix.readouts), []
    for time, label, tag in _times(matrix):
        path = place.save(figures.dose_response_figure(matrix, readouts, time=time), f"dose_response_{tag}")
        curves.append((f"{label} after the drugs; the dose that leaves half is interpolated on its logarithm.", path))
    return curves


def _corners(matrix: DoseMatrix, time: float) -> pd.DataFrame:
    """Return what is left in each arm, one row per context and readout; a word where there is no number."""
    import pandas as pd

    rows = []
    chosen = {label: doses for label, doses in figures.arms(matrix).items() if label != "untreated"}
    for readout in matrix.readouts:
        values = figures.bands_of(matrix, readout=readout, time=time)
        why = figures.reasons(matrix, readout=readout, time=time)
        for context in matrix.contexts:
            left: dict[str, Any] = {}
            for arm, doses in chosen.items():
                cell = {"context": context, **doses}
                left[arm] = str(why.sel(cell).values) or _with_band(values.sel(cell).values, matrix)
            rows.append({"context": context, "readout": readout, **left})
    return pd.DataFrame(rows)


def _with_band(quantiles: npt.NDArray[np.float64], matrix: DoseMatrix) -> float | str:
    low, middle, high = map(float, quantiles)
    return middle if matrix.dataset.sizes["member"] == 1 else f"{middle:.3g} [{low:.2g}, {high:.2g}]"


def _pairs(values: Mapping[str, str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"what": list(values), "value": list(values.values())})


def _times(matrix: DoseMatrix) -> list[tuple[float, str, str]]:
    """Return each time with its words and their form in file names: 7200.0, `2 h`, `2h`."""
    unit = str(matrix.dataset["time"].attrs.get("units", "s"))
    labels = [(float(t), plots.duration(float(t), unit)) for t in matrix.times]
    return [(t, label, label.replace(" ", "")) for t, label in labels]
