"""Simulated readouts and parameter values in, what the assay would show and how far off it may be out.

An observable formula is an expression of readouts of the model and parameters of the problem, for example
`offset_pERK + scale_pERK * pERK`; the noise formula one of parameters, estimated ones too, and of what is given per
measurement: numbers or parameters. Each formula has a twin that gives its derivatives.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.expressions import array_function, derivative, is_zero, names_in, parse
from .noise import Misfit, information, is_logarithmic, log_likelihood, misfit
from .tables import Table, Tables, split

Float = npt.NDArray[np.float64]
LEAST_RESIDUAL = 1e-6
"""Where |residual| is smaller, the slope of a residual sqrt(2 misfit) is that at this value: Laplace noise has none."""


def parsed(table: Table, row: int, column: str, text: str) -> ast.expr:
    """Return the syntax tree of the formula in a cell; raises InputError with the cell's place."""
    try:
        return parse(text)
    except InputError as error:
        raise table.error(row, column, str(error)) from None


class Formula:
    """An expression and its derivatives, evaluated on arrays by name.

    Attributes
    ----------
    names
        What the expression is made of.
    trees
        Name -> derivative, where there is one.
    """

    def __init__(self, tree: ast.expr) -> None:
        self.names = tuple(sorted(names_in(tree)))
        place = {name: f"v[{name!r}]" for name in self.names}
        slopes = {name: derivative(tree, name) for name in self.names}
        self.trees = {name: slope for name, slope in slopes.items() if not is_zero(slope)}
        self._value = array_function([tree], place, "v")
        self._slopes = array_function(self.trees.values(), place, "v")

    def __call__(self, values: Mapping[str, npt.ArrayLike]) -> Float:
        """Return the value for arrays (or numbers) by name."""
        with np.errstate(all="ignore"):
            return np.asarray(self._value(self._arrays(values))[0], float)

    def slopes(self, values: Mapping[str, npt.ArrayLike]) -> dict[str, Float]:
        """Return the derivative to each name to which there is one."""
        with np.errstate(all="ignore"):
            slopes = self._slopes(self._arrays(values))
        return {name: np.asarray(slope, float) for name, slope in zip(self.trees, slopes, strict=True)}

    def _arrays(self, values: Mapping[str, npt.ArrayLike]) -> dict[str, Float]:
        return {name: np.asarray(values[name], float)[()] for name in self.names}


class Observation:
    """The observables of a problem: formulas, noise and the measurement rows they belong to.

    Attributes
    ----------
    readouts
        Names of all simulated readouts that the formulas use.
    parameters
        Names of all parameters that the formulas use.
    sd : (n_measurements,)
        Sigma of the noise of each row at the nominal parameters; of the natural logarithm where `logarithmic`.
    sd_is_free : (n_measurements,)
        True where it depends on an estimated parameter.
    distribution, logarithmic, censoring : (n_measurements,)
        Name of the noise, whether it is that of the logarithm, and `left`, `right`, `interval` or nothing.
    measured, upper : (n_measurements,)
        Measurements, and the upper ends of intervals (else NaN).
    quadratic : (n_measurements,)
        True where the noise is normal or log-normal and the row not censored.
    formulas, noise
        Per observable, its measurement rows and formula; of the noise, with what the rows give for placeholders.
    """

    def __init__(
        self, tables: Tables, readouts: Collection[str], fixed: Mapping[str, float], free: Mapping[str, float]
    ) -> None:
        """`fixed` and `free` map the problem's parameters to their nominal values."""
        table, rows = tables.observables, tables.measurements.frame
        known = {*fixed, *free}
        rows_of = rows["observableId"].to_numpy()
        used: set[str] = set()
        self.formulas: list[tuple[npt.NDArray[np.intp], Formula]] = []
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
            self.formulas.append((np.flatnonzero(rows_of == name), Formula(tree)))
        self.readouts = tuple(sorted(used - known))
        self.noise = self._read_noise(tables, known)
        in_noise = {name for _, formula, given in self.noise for name in (*formula.names, *_names(given))}
        self.parameters = frozenset((used & known) | (in_noise & known))
        self.sd_is_free = np.zeros(len(rows_of), bool)
        for at, formula, given in self.noise:
            own = bool({*formula.names} - {*given} & {*free})
            by_row = [any(names[i] in free for names in given.values()) for i in range(len(at))]
            self.sd_is_free[at] = np.array(by_row, bool) | own
        self.sd = self.sigma({**fixed, **free})
        self._check_noise(tables)
        noise = dict(zip(table.frame["observableId"], table.frame["noiseDistribution"], strict=True))
        self.distribution = np.array([noise[name] for name in rows_of])
        self.logarithmic = np.array([is_logarithmic(name) for name in self.distribution])
        self.measured = rows["measurement"].to_numpy(float)
        self.censoring = rows["censoring"].to_numpy(str)
        self.upper = np.array([float(cell) if cell != "" else np.nan for cell in rows["measurementUpper"]])
        self.quadratic = np.isin(self.distribution, ("normal", "log-normal")) & (self.censoring == "")

    # ---- tables -------------------------------------------------------------------------------------------------

    @staticmethod
    def _read_noise(
        tables: Tables, known: Collection[str]
    ) -> list[tuple[npt.NDArray[np.intp], Formula, dict[str, tuple[float | str, ...]]]]:
        """Return, per observable, its rows, the noise formula, and per placeholder what each row gives for it."""
        table, measurements = tables.observables, tables.measurements
        rows_of = measurements.frame["observableId"].to_numpy()
        noise = []
        for row, name in table.cells("observableId"):
            tree = parsed(table, row, "noiseFormula", table.frame["noiseFormula"][row])
            placeholders = split(table.frame["noisePlaceholders"][row])
            for symbol in sorted(names_in(tree)):
                if symbol not in known and symbol not in placeholders:
                    raise table.unknown(
                        row, "noiseFormula", "parameter or noise placeholder", symbol, (*known, *placeholders)
                    )
            at = np.flatnonzero(rows_of == name)
            cells = [_given(measurements, int(i), name, len(placeholders), known) for i in at]
            given = {symbol: tuple(cell[j] for cell in cells) for j, symbol in enumerate(placeholders)}
            noise.append((at, Formula(tree), given))
        return noise

    def _check_noise(self, tables: Tables) -> None:
        """Raise InputError where the noise is not a positive number at the nominal parameters."""
        for row, (at, _, given) in enumerate(self.noise):
            for i in at:
                if not (np.isfinite(self.sd[i]) and self.sd[i] > 0):
                    name = tables.observables.frame["observableId"][row]
                    told = f"the noise of {name} is {self.sd[i]:g}, expected a positive number"
                    if given:
                        raise tables.measurements.error(int(i), "noiseParameters", told)
                    raise tables.observables.error(row, "noiseFormula", told)

    # ---- stations, each with its twin ---------------------------------------------------------------------------

    def predict(self, readouts: Mapping[str, Float], values: Mapping[str, float]) -> Float:
        """Return what the assay would show for each measurement row, (n_measurements,).

        `readouts` maps names to simulated amounts per measurement row, each (n_measurements,).
        """
        predicted = np.full(len(self.sd), np.nan)
        for rows, formula in self.formulas:
            predicted[rows] = formula({**values, **{name: column[rows] for name, column in readouts.items()}})
        return predicted

    def predict_slopes(
        self, readouts: Mapping[str, Float], values: Mapping[str, float], names: Sequence[str]
    ) -> tuple[dict[str, Float], Float]:
        """Return the derivatives of predictions: to each readout (n_measurements,), to `names` (n_measurements, n)."""
        by_readout = {name: np.zeros(len(self.sd)) for name in self.readouts}
        by_name, place = np.zeros((len(self.sd), len(names))), {name: j for j, name in enumerate(names)}
        for rows, formula in self.formulas:
            seen = {name: column[rows] for name, column in readouts.items()}
            for name, slope in formula.slopes({**values, **seen}).items():
                if name in by_readout:
                    by_readout[name][rows] = slope
                elif name in place:
                    by_name[rows, place[name]] = slope
        return by_readout, by_name

    def readouts_of(self, rows: npt.NDArray[np.intp]) -> dict[str, int]:
        """Return each readout that measurement `rows` depend on, with the number of these rows."""
        numbers: dict[str, int] = {}
        for at, formula in self.formulas:
            n = int(np.isin(at, rows).sum())
            numbers.update({name: numbers.get(name, 0) + n for name in formula.names if name in self.readouts and n})
        return numbers

    def sigma(self, values: Mapping[str, float]) -> Float:
        """Return sigma of each row, (n_measurements,)."""
        sigma = np.full(sum(len(rows) for rows, *_ in self.noise), np.nan)
        for rows, formula, given in self.noise:
            sigma[rows] = formula({**values, **_numbers(given, values)})
        return sigma

    def sigma_slopes(self, values: Mapping[str, float], names: Sequence[str]) -> Float:
        """Return the derivatives of sigma to `names`, (n_measurements, n)."""
        slopes, place = np.zeros((len(self.sd), len(names))), {name: j for j, name in enumerate(names)}
        for rows, formula, given in self.noise:
            for symbol, slope in formula.slopes({**values, **_numbers(given, values)}).items():
                slope = np.broadcast_to(slope, rows.shape)
                of = given.get(symbol, (symbol,) * len(rows))
                for i, (row, name) in enumerate(zip(rows, of, strict=True)):
                    if name in place:
                        slopes[row, place[str(name)]] += slope[i]
        return slopes

    def misfit(self, predicted: Float, sigma: Float) -> Misfit:
        """Return the misfit of each row, with its derivatives; see `noise`."""
        columns = np.full((4, len(self.sd)), np.nan)
        for name in np.unique(self.distribution):
            rows = self.distribution == name
            columns[:, rows] = misfit(
                name, predicted[rows], self.measured[rows], sigma[rows], self.censoring[rows], self.upper[rows]
            )
        return Misfit(*columns)

    def log_likelihood(self, predicted: Float, sigma: Float) -> Float:
        """Return the log-likelihood of each row, (n_measurements,)."""
        values = np.full(len(self.sd), np.nan)
        for name in np.unique(self.distribution):
            rows = self.distribution == name
            values[rows] = log_likelihood(
                name, predicted[rows], self.measured[rows], sigma[rows], self.censoring[rows], self.upper[rows]
            )
        return values

    def as_residuals(self, misfit: Misfit) -> Float:
        """Return residuals with half their squares the misfits: predicted - measured over sigma where quadratic.

        They have the sign of the deviation, but in censored rows one sign throughout: there they are nowhere 0.
        """
        side = np.where(self.censoring == "", misfit.deviation, np.where(self.censoring == "right", -1.0, 1.0))
        with np.errstate(all="ignore"):
            return np.where(self.quadratic, misfit.deviation, np.copysign(np.sqrt(2 * misfit.value), side))

    def residual_slopes(self, misfit: Misfit, predicted: Float, sigma: Float) -> tuple[Float, Float]:
        """Return the derivatives of `as_residuals` to the predictions and to sigma, each (n_measurements,)."""
        residuals = self.as_residuals(misfit)
        size = np.copysign(np.maximum(np.abs(residuals), LEAST_RESIDUAL), residuals)
        straight = self.quadratic & (np.abs(residuals) < LEAST_RESIDUAL)
        with np.errstate(all="ignore"):
            exact = 1 / (sigma * np.where(self.logarithmic, predicted, 1.0))
            return np.where(straight, exact, misfit.by_predicted / size), misfit.by_sigma / size

    def information_roots(self, misfit: Misfit, predicted: Float, sigma: Float) -> Float:
        """Return F (n_measurements, 2, 2) with F^T F the information on prediction and sigma; see `noise.information`.

        Where no estimated parameter acts on sigma, what is said of sigma is left out.
        """
        found = np.zeros((len(self.sd), 2, 2))
        for name in np.unique(self.distribution):
            rows = self.distribution == name
            found[rows] = information(
                name, predicted[rows], self.measured[rows], sigma[rows], self.censoring[rows], self.upper[rows]
            )
        found[~self.sd_is_free, 1, :] = found[~self.sd_is_free, :, 1] = 0.0
        values, vectors = np.linalg.eigh(np.where(np.isfinite(found), found, 0.0))
        roots = (np.sqrt(np.maximum(values, 0.0))[..., None] * np.swapaxes(vectors, -1, -2))[:, ::-1]  # largest first
        plain = self.censoring == ""
        roots[plain] = np.sqrt(found[plain])
        # the same number, but to the last digit that of the residual
        roots[self.quadratic, 0, 0] = self.residual_slopes(misfit, predicted, sigma)[0][self.quadratic]
        return roots

    def residuals(self, predicted: Float, sigma: Float) -> Float:
        """Return the residual of each row, (n_measurements,); NaN if undefined."""
        return self.as_residuals(self.misfit(predicted, sigma))


def _given(measurements: Table, row: int, observable: str, n: int, known: Collection[str]) -> tuple[float | str, ...]:
    """Return what a measurement gives for the `n` noise placeholders: numbers, or names of parameters."""
    cell = measurements.frame["noiseParameters"][row]
    given: list[float | str] = [
        part if part in known else measurements.number(row, "noiseParameters", part) for part in split(str(cell))
    ]
    if len(given) != n:
        raise measurements.error(
            row,
            "noiseParameters",
            f"has {len(given)} numbers, but the observable {observable} has {n} noise placeholders",
        )
    return tuple(given)


def _names(given: Mapping[str, Sequence[float | str]]) -> set[str]:
    return {name for cells in given.values() for name in cells if isinstance(name, str)}


def _numbers(given: Mapping[str, Sequence[float | str]], values: Mapping[str, float]) -> dict[str, Float]:
    return {
        symbol: np.array([values[cell] if isinstance(cell, str) else cell for cell in cells], float)
        for symbol, cells in given.items()
    }
