"""A dose matrix and a folder in; tables, figures and a report in it out, with nothing stale left beside them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator import plots
from ..simulator.report import Section, write_report, write_whole
from . import figures
from .matrix import DoseMatrix, dose_dims
from .synergy import LONG_NAMES, synergy_scores

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
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
    also: Sequence[str] = (), models: Sequence[str] = (), structural: Collection[str] | None = None,
) -> Path:  # fmt: skip
    """Write matrix.nc, matrix.csv, figures and report.html, return the report; figures of former runs are removed.

    `also` are endings (`.pdf`, `.svg`) of formats in which each figure is written beside the PNG; `models` the null
    models of synergy, all that the doses allow if none is given; `structural` is as in `synergy_scores`.
    """
    write_tables(folder, "matrix", matrix)
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.is_file():
            path.unlink()
    drugs, place = matrix.drugs, Place(folder, also)
    varied = [drug for drug in drugs if matrix.dataset.sizes[drug] > 1]
    sections = [_short(place, matrix)]
    if len(drugs) == 2 and len(varied) == 2:
        sections.append(Section("Dose matrices", (), _maps(place, matrix)))
    elif len(varied) == 1:
        sections.append(Section("Dose response", (), _curves(place, matrix)))
    elif len(drugs) > 2:
        words = f"The figures show the corners of a matrix of {len(drugs)} drugs; matrix.csv and matrix.nc hold all."
        sections.append(Section("Dose matrices", [words]))
    if len(varied) > 1:
        sections.append(_synergy(place, matrix, models, structural))
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


def _synergy(
    place: Place, matrix: DoseMatrix, models: Sequence[str], structural: Collection[str] | None
) -> Section:  # fmt: skip
    varied = [drug for drug in matrix.drugs if matrix.dataset.sizes[drug] > 1]
    without = [drug for drug in varied if not np.any(matrix.dataset[drug] == 0)]
    if without:
        missing = f"Not computed: it needs each drug alone, and 0 is not among the doses of {' and '.join(without)}."
        return Section("Synergy", [missing])
    _, label, tag = _times(matrix)[-1]
    left = matrix.residual().isel(time=[-1]).squeeze([drug for drug in matrix.drugs if drug not in varied], drop=True)
    scores = synergy_scores(left, models=models or None, structural=structural)
    attributes, known = scores.attrs, scores["known"].to_numpy()
    partial = known[(known > 0) & (known < 1 - 1e-9)]
    words = [
        "Excess is what drugs silence together beyond what a null model expects of drugs that do nothing for each "
        "other, as a fraction of the control: above 0 is synergy, below 0 antagonism. Tables tell its mean over all "
        f"combinations. Models disagree where one says more than {attributes['threshold']:g} and another less than "
        f"-{attributes['threshold']:g}.",
        f"All beside {beside}." if (beside := figures.background(matrix)) else "",
        f"Members without one are left out; the others have at least {partial.min():.0%} of the weight."
        if partial.size else "",
        attributes["note"],
        *(f"{what}: {attributes[key]}." for key, what in (("left_out", "Left out"), ("unknown", "Not known"))
          if attributes[key]),
    ]  # fmt: skip
    pictures = []
    for readout in matrix.readouts if len(varied) == 2 else ():
        path = place.save(figures.synergy_figure(scores, readout), f"synergy_{readout}_{tag}")
        pictures.append((f"Excess over null models, {readout}, {label} after the drugs.", path))
    return Section("Synergy", list(filter(None, words)), pictures, _scored(scores, label))


def _scored(scores: xr.Dataset, label: str) -> list[tuple[str, pd.DataFrame]]:
    """Return the mean excess over each null model and where they disagree and, of an ensemble, probabilities."""
    import pandas as pd

    excess, probability, many = [], [], scores.sizes["member"] > 1
    names = [LONG_NAMES[str(model)] for model in scores["model"].values]
    for readout in scores["readout"].values:
        for context in scores["context"].values:
            here = scores.sel(context=context, readout=readout).isel(time=0)
            row = {"context": str(context), "readout": str(readout)}
            disagree = here["disagree"][{drug: slice(1, None) for drug in dose_dims(here)}]
            bands = here["mean_bands"].transpose("model", "quantile").to_numpy()
            excess.append({
                **row, **{name: _signed(band, many) for name, band in zip(names, bands, strict=True)},
                "models disagree at": f"{int(disagree.sum())} of {disagree.size} doses",
            })  # fmt: skip
            sides = here["probability"].to_numpy(), here["antagonism"].to_numpy()
            shares = (f"{above:.0%}, {below:.0%}" if above == above else "not known"
                      for above, below in zip(*sides, strict=True))  # fmt: skip
            probability.append({**row, **dict(zip(names, shares, strict=True))})
    threshold = scores.attrs["threshold"]
    band = ", median [5 %, 95 %]" if many else ""
    tables = [(f"Mean excess, {label} after the drugs{band}", pd.DataFrame(excess))]
    if many:
        title = f"Probability of synergy (mean excess above {threshold:g}), of antagonism (below -{threshold:g})"
        tables.append((title, pd.DataFrame(probability)))
    return tables


def _signed(quantiles: npt.NDArray[np.float64], many: bool) -> str:
    """Return a median with its sign and, of an ensemble, the band."""
    if np.isnan(quantiles).any():
        return "not known"
    low, middle, high = (f"{value + 0.0:+.2f}" for value in np.round(quantiles, 2))  # no -0.00
    return f"{middle} [{low}, {high}]" if many else middle


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
