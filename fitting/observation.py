"""Simulated readouts and parameter values in, what the assay would show and how far off it may be out.

An observable formula is an expression of readouts of the model and parameters of the problem, for example
`offset_pERK + scale_pERK * pERK`; the noise formula one of fixed parameters and numbers given per measurement.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.expressions import array_function, names_in, parse
from .tables import Table, Tables, split

Float = npt.NDArray[np.float64]


def parsed(table: Table, row: int, column: str, text: str) -> ast.expr:
    """Return the syntax tree of the formula in a cell; raises InputError with the cell's place."""
    try:
        return parse(text)
    except InputError as error:
        raise table.error(row, column, str(error)) from None


class Observation:
    """The observables of a problem: formulas, noise and the measurement rows they belong to.

    Attributes
    ----------
    readouts
        Names of all simulated readouts that the formulas use.
    parameters
        Names of all parameters that the formulas use.
    sd : (n_measurements,)
        Standard deviation of the noise of each row; of the natural logarithm where the noise is log-normal.
    logarithmic : (n_measurements,)
        True where the noise is log-normal.
    """

    def __init__(
        self, tables: Tables, readouts: Collection[str], fixed: Mapping[str, float], free: Collection[str]
    ) -> None:
        table = tables.observables
        known = {*fixed, *free}
        rows_of = tables.measurements.frame["observableId"].to_numpy()
        used: set[str] = set()
        self._formulas = []
        for row, (name, formula) in enumerate(
            zip(table.frame["observableId"], table.frame["observableFormula"], strict=True)
        ):
            tree = parsed(table, row, "observableFormula", formula)
            for symbol in sorted(names_in(tree)):
                if symbol in known and symbol in readouts:
                    raise table.error(
                        row,
                        "observableFormula",
                        f"{symbol!r} is both a readout and a parameter; rename the parameter",
                    )
                if symbol not in known and symbol not in readouts:
                    raise table.unknown(row, "observableFormula", "readout or parameter", symbol, (*readouts, *known))
            used |= names_in(tree)
            place = {symbol: f"v[{symbol!r}]" for symbol in names_in(tree)}
            self._formulas.append((np.flatnonzero(rows_of == name), array_function([tree], place, "v")))
        self.readouts = tuple(sorted(used - known))
        self.parameters = frozenset(used & known)
        self.sd = self._noise(tables, fixed, free)
        log_noise = dict(
            zip(table.frame["observableId"], table.frame["noiseDistribution"] == "log-normal", strict=True)
        )
        self.logarithmic = np.array([log_noise[name] for name in rows_of])

    def _noise(self, tables: Tables, fixed: Mapping[str, float], free: Collection[str]) -> Float:
        table, measurements = tables.observables, tables.measurements
        trees = {}
        for row, name in table.cells("observableId"):
            formula = table.frame["noiseFormula"][row]
            tree, placeholders = (
                parsed(table, row, "noiseFormula", formula),
                split(table.frame["noisePlaceholders"][row]),
            )
            for symbol in names_in(tree):
                if symbol in free:
                    raise table.error(
                        row,
                        "noiseFormula",
                        f"{symbol!r} is estimated; least squares needs noise that is known: set its estimate to false",
                    )
                if symbol not in fixed and symbol not in placeholders:
                    raise table.unknown(
                        row,
                        "noiseFormula",
                        "fixed parameter or noise placeholder",
                        symbol,
                        (*fixed, *placeholders),
                    )
            trees[name] = (
                tree,
                placeholders,
                array_function([tree], {s: f"v[{s!r}]" for s in names_in(tree)}, "v"),
            )
        sd = []
        for row, name in measurements.cells("observableId"):
            _, placeholders, function = trees[name]
            numbers = measurements.numbers(row, "noiseParameters", measurements.frame["noiseParameters"][row])
            if len(numbers) != len(placeholders):
                raise measurements.error(
                    row,
                    "noiseParameters",
                    f"has {len(numbers)} numbers, but the observable {name} has {len(placeholders)} noise placeholders",
                )
            known = {**fixed, **dict(zip(placeholders, numbers, strict=True))}
            with np.errstate(all="ignore"):
                value = float(np.asarray(function({symbol: np.float64(x) for symbol, x in known.items()})[0]))
            if not (np.isfinite(value) and value > 0):
                told = f"the noise of {name} is {value:g}, expected a positive number"
                if placeholders:
                    raise measurements.error(row, "noiseParameters", told)
                raise table.error(list(trees).index(name), "noiseFormula", told)
            sd.append(value)
        return np.array(sd)

    def predict(self, readouts: Mapping[str, Float], values: Mapping[str, float]) -> Float:
        """Return what the assay would show for each measurement row, (n_measurements,).

        `readouts` maps names to simulated amounts per measurement row, each (n_measurements,).
        """
        predicted = np.full(len(self.sd), np.nan)
        known = {name: np.float64(value) for name, value in values.items()}
        with np.errstate(all="ignore"):
            for rows, function in self._formulas:
                seen = {name: column[rows] for name, column in readouts.items()}
                predicted[rows] = function({**known, **seen})[0]
        return predicted

    def residuals(self, predicted: Float, measured: Float) -> Float:
        """Return (predicted - measured) / sd, of natural logarithms where the noise is log-normal; NaN if undefined."""
        log = self.logarithmic
        with np.errstate(all="ignore"):
            difference = np.where(log, np.log(np.where(log, predicted / measured, 1.0)), predicted - measured)
        return difference / self.sd
