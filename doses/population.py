"""Populations: spreads of parameters and a treatment in; the cells whose signal stays up, and what decides which, out.

Cell c of patient p has the parameters

    x_i = x_i0 exp(a_pi - A_i^2 / 2) exp(b_pci - B_i^2 / 2) exp(s_pc - S^2 / 2)

with independent normal a, b, s of standard deviations A_i (between patients), B_i (between cells) and S (shared by all
parameters of a cell), each sqrt(ln(1 + cv^2)): log-normal with mean x_i0. What counts as left is the read-out under the
drugs over that of the median untreated cell of the same patient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.ensemble import simulate
from ..simulator.errors import InputError, unknown_name
from ..simulator.options import SolverOptions
from ..simulator.protocol import Conditions, Segment, checked_times
from ..simulator.status import Status

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]
SHARED = "shared"
"""Column of a population: the factor that all varied parameters of a cell have in common."""
LABELS = ("patient", "cell", "context")
AT_LEAST = 3
"""Cells for one source of variation, below which no share is computed."""


def draw_population(
    contexts: Mapping[str, Mapping[str, float]],
    shares: Mapping[str, float] | None = None,
    *,
    between_cells: Mapping[str, float],
    between_patients: Mapping[str, float] | None = None,
    shared: float = 0.0,
    patients: int = 1,
    cells: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the varied parameters of every cell of every patient, one row per cell.

    Parameters
    ----------
    contexts
        Genotype or environment -> parameter -> mean.
    shares
        Genotype -> how frequent it is, to any sum; equally frequent if None.
    between_cells, between_patients
        Parameter -> coefficient of variation; both name parameters of the contexts.
    shared
        Coefficient of variation of the factor that all varied parameters of a cell have in common.
    patients, cells
        Number of patients, and of cells of each.
    seed
        Patient i is the same for any number of patients.

    Returns
    -------
    DataFrame
        Columns `patient`, `cell`, `context`, `shared` (that factor) and one per varied parameter.

    Raises
    ------
    InputError
        For numbers that cannot be, and parameters that a context does not hold.
    """
    import pandas as pd

    weights = np.array([(shares or dict.fromkeys(contexts, 1.0)).get(name, 0.0) for name in contexts], float)
    if unknown := sorted(set(shares or ()) - set(contexts)):
        raise unknown_name("context", unknown[0], list(contexts))
    if not len(weights) or not np.all(np.isfinite(weights)) or np.any(weights < 0) or not weights.sum() > 0:
        raise InputError(f"shares are {dict(shares or {})}, expected numbers that are not negative, one above 0")
    if patients < 1 or cells < 1 or seed < 0:
        raise InputError(
            f"{patients} patients of {cells} cells under seed {seed}: expected at least one of each, "
            "and a seed that is not negative"
        )
    names = list(dict.fromkeys([*between_cells, *(between_patients or {})]))
    for context, values in contexts.items():
        if missing := [name for name in names if name not in values]:
            raise InputError(f"{missing[0]} varies, but the context {context!r} gives it no mean")
    of_cells, of_patients = (_log_sds(cv, names) for cv in (between_cells, between_patients or {}))
    common = float(_log_sds({SHARED: shared}, [SHARED])[0])

    chosen, sizes, amounts = [], [], []
    for sequence in np.random.SeedSequence(seed).spawn(patients):
        random = np.random.default_rng(sequence)
        context = list(contexts)[int(np.searchsorted(np.cumsum(weights / weights.sum()), random.random()))]
        means = np.array([contexts[context][name] for name in names])
        own = _factors(of_patients, random.standard_normal(len(names)))
        size = _factors(common, random.standard_normal((cells, 1)))
        amounts.append(means * own * _factors(of_cells, random.standard_normal((cells, len(names)))) * size)
        chosen.append(context)
        sizes.append(size[:, 0])
    labels = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(patients), cells),
            "cell": np.tile(np.arange(cells), patients),
            "context": np.repeat(np.array(chosen, object), cells),
            SHARED: np.concatenate(sizes),
        }
    )
    return pd.concat([labels, pd.DataFrame(np.concatenate(amounts), columns=names)], axis=1)


def population_residual(
    compiled: CompiledModel,
    population: pd.DataFrame,
    contexts: Mapping[str, Mapping[str, float]],
    doses: Mapping[str, npt.ArrayLike],
    readout: str,
    time: float,
    *,
    threshold: float = 0.25,
    at_rest: Mapping[str, float] | None = None,
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Return what each cell of a population keeps of a read-out, and the share of cells that keep too much of it.

    Parameters
    ----------
    compiled
        The model.
    population
        As from `draw_population`: the same number of cells of every patient.
    contexts
        Context of the population -> all parameter values that make it; the population's own come on top.
    doses
        Parameter that holds a dose -> one number, or as many as the others that have several: step i gives all their
        i-th doses.
    readout, time
        An observable or named expression, and the time after the drugs at which it is read.
    threshold
        Fraction of the median untreated cell of the same patient above which a cell keeps too much.
    at_rest
        Parameter values that hold before the drugs, in place of the cell's; the doses are 0 then in any case.
    options, threads, progress
        As in `simulate`.

    Returns
    -------
    Dataset
        `left` (patient, cell, step), as fraction of the median untreated cell of the patient; `control` (patient,
        cell), in the unit of the read-out; `above` (patient, step), the share of cells above the threshold among those
        that did not fail; `n_failed` (patient, step); `status`, `factor` (patient, cell, source): each varied
        parameter over its mean and without the shared factor, which is a source of its own.

    Raises
    ------
    InputError
        For a table that is no population, and for doses and names that cannot be, before any run starts.
    """
    import xarray as xr

    grid, labels = _checked(compiled, population, contexts, doses, readout, threshold)
    times = checked_times([time])
    names = [name for name in population.columns if name not in (*LABELS, SHARED)]
    patients, cells = labels
    n_steps = len(next(iter(grid.values())))

    rows = Conditions.from_rows(compiled, {str(i): contexts[c] for i, c in enumerate(population["context"])})
    p = np.repeat(rows.parameters[:, None, :], 1 + n_steps, axis=1)  # the untreated cell first
    for name in names:
        p[:, :, compiled.parameter_index(name)] = population[name].to_numpy(float)[:, None]
    for name, values in grid.items():
        p[:, 0, compiled.parameter_index(name)] = 0.0
        p[:, 1:, compiled.parameter_index(name)] = values
    before = Segment(-math.inf, 0.0, {**(at_rest or {}), **dict.fromkeys(grid, 0.0)})
    run_names = tuple(
        f"patient {row.patient}, cell {row.cell}, step {step}"
        for row in population.itertuples() for step in range(1 + n_steps)
    )  # fmt: skip
    conditions = Conditions(run_names, p.reshape(-1, compiled.n_parameters), (before,))
    result = simulate(compiled, times, conditions, observables=[readout], options=options, threads=threads,
                      progress=progress)  # fmt: skip

    shape = (len(patients), len(cells), 1 + n_steps)
    values, status = result.values[:, 0, 0].reshape(shape), result.status.reshape(shape)
    with np.errstate(all="ignore"):
        median = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan
                           for row in values[:, :, 0]])  # fmt: skip
        left = np.where(median[:, None, None] > 0, values[:, :, 1:] / median[:, None, None], np.nan)
    known = np.isfinite(left)
    with np.errstate(all="ignore"):
        above = np.where(known.any(axis=1), (left > threshold).sum(axis=1) / known.sum(axis=1), np.nan)
    means = np.array([[contexts[c][name] for name in names] for c in population["context"]]).reshape(-1, len(names))
    shared = population[SHARED].to_numpy(float)
    own = _over(population[names].to_numpy(float), means * shared[:, None])
    factors = np.column_stack([shared, own])
    unit = compiled.units["amount"] if readout in compiled.observables else ""
    first = population.groupby("patient", sort=False)["context"].first()
    return xr.Dataset(
        {
            "left": (("patient", "cell", "step"), left, {"units": "1", "long_name": f"{readout} left"}),
            "control": (("patient", "cell"), values[:, :, 0], {"units": unit}),
            "above": (("patient", "step"), above, {"units": "1"}),
            "n_failed": (("patient", "step"), (~known).sum(axis=1)),
            "status": (("patient", "cell", "step"), status[:, :, 1:]),
            "control_status": (("patient", "cell"), status[:, :, 0]),
            "factor": (("patient", "cell", "source"), factors.reshape(*shape[:2], -1), {"units": "1"}),
        },
        coords={
            "patient": patients,
            "cell": cells,
            "source": [SHARED, *names],
            "context": ("patient", list(first)),
            **{name: ("step", v, {"units": compiled.units["amount"], "role": "dose"}) for name, v in grid.items()},
        },
        attrs={
            **result.attributes,
            "readout": readout,
            "time": float(time),
            "threshold": float(threshold),
            "reference": "median untreated cell of the same patient",
            "n_runs": len(conditions),
            "n_failed": int(np.count_nonzero(result.status != int(Status.OK))),
            "failures": result.summary(),
            "interrupted": int(result.interrupted),
        },
    )


def variation(residual: xr.Dataset, step: int = -1) -> pd.DataFrame:
    """Return the sources of variation of what is left, the strongest first.

    Parameters
    ----------
    residual
        As from `population_residual`; cells that failed are passed over.
    step
        Which doses; the last if not given.

    Returns
    -------
    DataFrame
        Columns `source`, `share` (of the variance of log10 of what is left) and `rank_correlation` (Spearman's).

        The share of `context` is the variance between its means; the others come from a linear regression within
        contexts on the logarithms of the factors, of which each takes b^2 var(x) (first order; factors are drawn
        independently). `unexplained` is what the line does not describe: curvature and interactions.

    Raises
    ------
    InputError
        If there are fewer than three cells per source.
    """
    import pandas as pd
    from scipy.stats import spearmanr

    left = residual["left"].isel(step=step).to_numpy().ravel()
    factors = residual["factor"].to_numpy().reshape(len(left), -1)
    groups = np.repeat(residual["context"].to_numpy(), residual.sizes["cell"])
    with np.errstate(all="ignore"):
        y, x = np.log10(left), np.log10(factors)
    good = np.isfinite(y)
    varied = [j for j in range(x.shape[1]) if np.isfinite(x[good, j]).any() and np.nanstd(x[good, j]) > 0]
    if good.sum() < AT_LEAST * (len(varied) + 1):
        raise InputError(
            f"{good.sum()} cells have a number, too few for {len(varied)} sources: draw at least "
            f"{AT_LEAST * (len(varied) + 1)} cells"
        )
    y, x, groups = y[good], np.nan_to_num(x[np.ix_(good, varied)]), groups[good]
    total = float(np.var(y))
    within, centred = y.copy(), x.copy()
    for group in np.unique(groups):
        here = groups == group
        within[here] -= y[here].mean()
        centred[here] -= x[here].mean(axis=0)
    slopes, *_ = np.linalg.lstsq(centred, within, rcond=None)
    shares = slopes**2 * centred.var(axis=0) / total if total > 0 else np.zeros(len(varied))
    rest = float(np.var(within - centred @ slopes)) / total if total > 0 else 0.0
    names = [str(name) for name in residual["source"].to_numpy()[varied]]
    rows = [
        {"source": name, "share": share, "rank_correlation": float(spearmanr(x[:, j], y).statistic)}
        for j, (name, share) in enumerate(zip(names, shares, strict=True))
    ]
    if len(np.unique(groups)) > 1:
        between = 1.0 - float(np.var(within)) / total if total > 0 else 0.0
        rows.append({"source": "context", "share": between, "rank_correlation": np.nan})
    ranked = pd.DataFrame(rows).sort_values("share", ascending=False, kind="stable", ignore_index=True)
    ranked.loc[len(ranked)] = ["unexplained", rest, np.nan]
    return ranked


def _log_sds(cv: Mapping[str, float], names: Sequence[str]) -> Float:
    values = np.array([float(cv.get(name, 0.0)) for name in names])
    if np.any(~np.isfinite(values) | (values < 0)):
        bad = names[int(np.flatnonzero(~np.isfinite(values) | (values < 0))[0])]
        raise InputError(f"the coefficient of variation of {bad} is {cv[bad]}, expected a number that is not negative")
    return np.sqrt(np.log1p(values**2))


def _factors(log_sd: Any, z: Float) -> Float:
    factors: Float = np.exp(log_sd * z - log_sd**2 / 2)
    return factors


def _over(values: Float, means: Float) -> Float:
    """Return values / means, 1 where both are 0: an amount that is absent does not vary."""
    return np.where(means == 0, 1.0, values / np.where(means == 0, 1.0, means))


def _checked(compiled: CompiledModel, population: pd.DataFrame, contexts: Mapping[str, Mapping[str, float]],
             doses: Mapping[str, npt.ArrayLike], readout: str,
             threshold: float) -> tuple[dict[str, Float], Any]:  # fmt: skip
    """Return the doses, all of one length, and the labels of patients and of cells."""
    if missing := [name for name in (*LABELS, SHARED) if name not in population.columns]:
        raise InputError(f"the population has no column {missing[0]!r}; draw it with draw_population")
    patients, cells = population["patient"].unique(), population["cell"].unique()
    if len(population) != len(patients) * len(cells) or population.duplicated(["patient", "cell"]).any():
        raise InputError("the population does not hold the same number of cells of every patient, one after the other")
    for context in population["context"].unique():
        if context not in contexts:
            raise unknown_name("context", str(context), list(contexts))
    if readout not in (*compiled.observables, *compiled.network.functions, *compiled.species):
        raise unknown_name("readout", readout, compiled.observables)
    if not 0 < threshold < math.inf:
        raise InputError(f"the threshold is {threshold}, expected a fraction above 0 of the median untreated cell")
    grid = {name: np.atleast_1d(np.asarray(values, float)) for name, values in doses.items()}
    lengths = {len(values) for values in grid.values()} - {1}
    if not grid or len(lengths) > 1:
        raise InputError(
            f"the doses have lengths {sorted(lengths)}, expected at least one drug, and one number of steps"
        )
    for name, values in grid.items():
        compiled.parameter_index(name)
        if values.ndim != 1 or not np.all(np.isfinite(values)) or np.any(values < 0):
            raise InputError(f"the doses of {name} are {values.tolist()}, expected numbers that are not negative")
    n_steps = max(lengths, default=1)
    return {name: np.broadcast_to(values, n_steps) for name, values in grid.items()}, (patients, cells)
