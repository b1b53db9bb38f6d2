"""Parameter sets with weights in; predictions of any condition with their bands, and a file with provenance out.

A member is one value per parameter of a problem. What it means for the model is kept as the problem's conditions state
it: formulas such as `kcat * gain`, which scale what a condition has. A formula that all experiments share, and whose
target is not set by a named thing (a context, a drug), holds in every condition; the others belong to the experiments
that have them, and whoever knows the names says where else they hold.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.ensemble import simulate
from ..simulator.errors import InputError, unknown_name
from ..simulator.expressions import array_function, names_in, parse
from ..simulator.protocol import Conditions, Segment, check_protocol, segment_amounts, segment_parameters
from ..simulator.quantiles import weighted_quantiles
from ..simulator.report import write_whole
from ..simulator.status import Status
from .tables import is_number

if TYPE_CHECKING:
    import xarray as xr

    from ..simulator.compiled import CompiledModel
    from ..simulator.options import SolverOptions
    from .objective import Problem

Float = npt.NDArray[np.float64]

Overrides = Callable[[Mapping[str, float], str], Mapping[str, float]]
"""A member (parameter -> value) and the name of a condition -> parameters of the model."""

SCHEMA = "residuum-ensemble-1"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Overlay:
    """What one experiment, in its last period, makes of a problem's parameters.

    Attributes
    ----------
    named
        The named things of its conditions, `{"context": "baf3-itd-jmd", "midostaurin": "100"}`, as they were resolved.
    formulas
        Parameter of the model -> formula of parameters of the problem and of the model.
    resolved
        Parameters of the model that the named things set.
    """

    named: Mapping[str, str]
    formulas: Mapping[str, str]
    resolved: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ensemble:
    """Parameter sets that stand for what is known after a fit, or before it.

    Attributes
    ----------
    names
        Parameters.
    values : (n_members, n_parameters)
        In the parameters' own units, not on the search scale.
    weights : (n_members,)
        They sum to 1.
    direct
        Those parameters that are the model's own and replace its values in every condition.
    experiments
        What the experiments of the problem make of the others.
    provenance
        Versions, hashes of model and data, seed, method, diagnostics.
    """

    names: tuple[str, ...]
    values: Float
    weights: Float
    direct: tuple[str, ...] = ()
    experiments: Mapping[str, Overlay] = field(default_factory=dict, repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        values, weights = np.array(self.values, float), np.array(self.weights, float)
        if values.ndim != 2 or values.shape != (len(weights), len(self.names)) or not len(values):
            raise InputError(
                f"an ensemble needs values (n_members, {len(self.names)}) and a weight per member, "
                f"given {values.shape} and {weights.shape}"
            )
        if not np.all(np.isfinite(values)):
            i, j = np.argwhere(~np.isfinite(values))[0]
            raise InputError(f"{self.names[j]} of member {i} is {values[i, j]}, expected a finite number")
        if not (np.all(weights >= 0) and np.isfinite(weights.sum()) and weights.sum() > 0):
            raise InputError("weights must be finite, not negative and not all zero")
        object.__setattr__(self, "values", values)
        # what sums to 1 already stays as it is, to the last digit: a file gives back what was written
        total = weights.sum() if abs(weights.sum() - 1) > 1e-12 else 1.0
        object.__setattr__(self, "weights", weights / total)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        method = self.provenance.get("method", "given")
        return f"<Ensemble of {len(self)} members, {len(self.names)} parameters, {method}>"

    # ---- where members come from ------------------------------------------------------------------------------

    @classmethod
    def from_points(cls, problem: Problem, thetas: npt.ArrayLike, *, weights: npt.ArrayLike | None = None,
                    method: str = "given", **provenance: Any) -> Ensemble:  # fmt: skip
        """Return an ensemble of points (n_members, n_free) on the search scale; equal weights if None.

        Raises InputError for points of another shape or that are not finite.
        """
        if problem.inner is not None:
            raise InputError(
                "parameters that are solved for keep no spread in an ensemble; make the problem without inner"
            )
        points = np.array(thetas, float)
        if points.ndim != 2 or points.shape[1] != problem.n_free or not len(points):
            raise InputError(f"points have shape {points.shape}, expected (n_members, {problem.n_free})")
        names = (*problem.names, *problem.fixed)
        fixed = np.tile(list(problem.fixed.values()), (len(points), 1)).reshape(len(points), len(problem.fixed))
        experiments, direct = _overlays(problem, names)
        return cls(
            names, np.hstack([problem.scaling.to_values(points), fixed]),
            np.ones(len(points)) if weights is None else np.asarray(weights, float), direct, experiments,
            {**problem.provenance(), "method": method, **provenance},
        )  # fmt: skip

    @classmethod
    def from_prior(cls, problem: Problem, n: int, seed: int = 0) -> Ensemble:
        """Return `n` members drawn from the priors of `problem`; member i is the same whatever `n`."""
        if n < 1:
            raise InputError(f"n is {n}, expected at least one member")
        streams = np.random.SeedSequence(seed).spawn(n)
        points = [problem.scaling.draw(np.random.default_rng(stream)) for stream in streams]
        return cls.from_points(problem, points, method="prior", seed=seed)

    def with_parameters(self, draws: Mapping[str, npt.ArrayLike]) -> Ensemble:
        """Return the ensemble with further parameters of the model, one value per member (n_members,), laid directly.

        Raises InputError for a parameter that is there already, or another number of values.
        """
        columns = []
        for name, given in draws.items():
            column = np.asarray(given, float)
            if name in self.names:
                raise InputError(f"the ensemble has the parameter {name!r} already")
            if column.shape != (len(self),):
                raise InputError(f"{name} has shape {column.shape}, expected one value per member, ({len(self)},)")
            columns.append(column)
        values = np.hstack([self.values, *(column[:, None] for column in columns)])
        return replace(self, names=(*self.names, *draws), values=values, direct=(*self.direct, *draws))

    def __getitem__(self, name: str) -> Float:
        """Return the values of one parameter, (n_members,)."""
        if name not in self.names:
            raise unknown_name("parameter of the ensemble", name, self.names)
        return self.values[:, self.names.index(name)]

    def members(self) -> list[dict[str, float]]:
        """Return each member as parameter -> value."""
        return [dict(zip(self.names, map(float, row), strict=True)) for row in self.values]

    def first(self, n: int) -> Ensemble:
        """Return the first `n` members, weighted among themselves; InputError if there are not so many."""
        if not 1 <= n <= len(self):
            raise InputError(f"the first {n} members were asked for, the ensemble has {len(self)}")
        return replace(self, values=self.values[:n], weights=self.weights[:n])

    @property
    def effective_size(self) -> float:
        """Number of equally weighted members that would say as much: 1 / sum of squared weights."""
        return 1.0 / float(np.sum(self.weights**2))

    # ---- what members mean for the model ----------------------------------------------------------------------

    @property
    def shared(self) -> dict[str, str]:
        """Parameter of the model -> formula, of what holds in every condition."""
        overlays = list(self.experiments.values())
        if not overlays:
            return {}
        resolved = frozenset().union(*(overlay.resolved for overlay in overlays))
        return {
            target: formula
            for target, formula in overlays[0].formulas.items()
            if target not in resolved and all(o.formulas.get(target) == formula for o in overlays)
        }

    def as_in(self, experiment: str) -> dict[str, str]:
        """Return parameter of the model -> formula, as the last period of one experiment has them."""
        if experiment not in self.experiments:
            raise unknown_name("experiment of the ensemble", experiment, self.experiments)
        return dict(self.experiments[experiment].formulas)

    def laid_over(self, compiled: CompiledModel, parameters: Float, formulas: Mapping[str, str]) -> Float:
        """Return the parameters (n_members, n_parameters) that members make of a condition's (n_parameters,).

        A name in a formula is a parameter of the ensemble, or else the model's with the value of the condition.
        """
        p = np.tile(parameters, (len(self), 1))
        for name in self.direct:
            p[:, compiled.parameter_index(name)] = self[name]
        before = p.copy()
        for target, text in formulas.items():
            tree = parse(text)
            names = names_in(tree)
            known = {
                name: self[name] if name in self.names else before[:, compiled.parameter_index(name)] for name in names
            }
            function = array_function([tree], {name: f"v[{name!r}]" for name in names}, "v")
            with np.errstate(all="ignore"):  # what is not finite fails as a run
                p[:, compiled.parameter_index(target)] = function(known)[0]
        return p

    # ---- predictions ------------------------------------------------------------------------------------------

    def predict(
        self,
        compiled: CompiledModel,
        conditions: Conditions,
        times: npt.ArrayLike,
        readouts: Sequence[str] | None = None,
        *,
        formulas: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        overrides: Overrides | None = None,
        options: SolverOptions | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> xr.Dataset:
        """Simulate every condition under every member.

        Parameters
        ----------
        compiled
            The model that the ensemble belongs to.
        conditions
            Any conditions of that model, with their protocol; a member is laid over each of its stretches. Amounts of
            species that a segment sets are the same for all members.
        times : (n_times,)
            Model times.
        readouts
            Observables, expressions or species; all observables if None.
        formulas
            What members make of a condition (parameter of the model -> formula), for all or one per condition;
            `Ensemble.shared` if None. See `as_in`.
        overrides
            In place of `formulas` and of `direct`: a function of a member (parameter -> value) and the name of a
            condition that returns parameter of the model -> value, laid over every stretch of it.
        options, threads, progress
            Passed on to `simulate`.

        Returns
        -------
        Dataset
            `value` (member, condition, time, readout), `status` and `message` (member, condition), `weight` (member).
            A run that failed is NaN from there on, and its message says why; `attrs["failures"]` counts them.

        Raises
        ------
        InputError
            For another model, with both hashes, and for anything wrong with conditions, times, readouts or formulas.
        """
        self.require_model(compiled)
        if overrides is not None and formulas is not None:
            raise InputError("both formulas and overrides were given; give one")
        each = self._formulas_of(conditions, formulas)
        check_protocol(compiled, conditions)
        everywhere = range(len(conditions))
        stretches = [
            segment_parameters(compiled, conditions.parameters, segment, everywhere)
            for segment in (None, *conditions.protocol)
        ]
        if overrides is None:
            laid = [self._runs(compiled, parameters, each) for parameters in stretches]
        else:
            laid = self._overridden(compiled, conditions.names, stretches, overrides)
        lost = ~np.all([np.isfinite(p).all(axis=1) for p in laid], axis=0)
        for p, parameters in zip(laid, stretches, strict=True):  # they run as if untouched, and are taken out below
            p[lost] = np.tile(parameters, (len(self), 1))[lost]
        base, *during = laid
        protocol = []
        for s, p in zip(conditions.protocol, during, strict=True):
            changes = {compiled.parameters[j]: p[:, j] for j in np.flatnonzero(np.any(p != base, axis=0))}
            amounts = {
                compiled.species[i]: np.tile(np.broadcast_to(amount, len(conditions)), len(self))
                for i, amount in segment_amounts(compiled, s, everywhere).items()
            }
            protocol.append(Segment(s.start, s.end, changes | amounts))
        names = [f"member {i}, {name}" for i, name in itertools.product(range(len(self)), conditions.names)]
        result = simulate(compiled, times, Conditions(tuple(names), base, tuple(protocol)), observables=readouts,
                          options=options, threads=threads, progress=progress)  # fmt: skip
        values, status = result.values.copy(), result.status.copy()
        message = np.array(["" if good else result.message(i) for i, good in enumerate(result.ok)], dtype=object)
        values[lost], status[lost] = np.nan, int(Status.BAD_START)
        message[lost] = "a parameter that this member gives the model is not finite"
        shape = len(self), len(conditions)
        return self._dataset(
            values.reshape(*shape, *values.shape[1:]), status.reshape(shape), message.reshape(shape),
            conditions.names, result.times, result.observables, compiled,
        )  # fmt: skip

    def _runs(self, compiled: CompiledModel, parameters: Float, formulas: Sequence[Mapping[str, str]]) -> Float:
        """Return the parameters of all runs, member by member: (n_members * n_conditions, n_parameters)."""
        laid = [self.laid_over(compiled, *given) for given in zip(parameters, formulas, strict=True)]
        return np.stack(laid, axis=1).reshape(-1, parameters.shape[1])

    def _overridden(self, compiled: CompiledModel, conditions: Sequence[str], stretches: Sequence[Float],
                    overrides: Overrides) -> list[Float]:  # fmt: skip
        """Return per stretch the parameters of all runs, (n_members * n_conditions, n_parameters), member by member."""
        laid = [np.tile(parameters, (len(self), 1)) for parameters in stretches]
        for run, (member, condition) in enumerate(itertools.product(self.members(), conditions)):
            for name, value in overrides(member, condition).items():
                for p in laid:
                    p[run, compiled.parameter_index(name)] = value
        return laid

    def require_model(self, compiled: CompiledModel) -> None:
        """Raise InputError, with both hashes, unless the ensemble belongs to this model."""
        known = self.provenance.get("model_hash", compiled.hash)
        if known != compiled.hash:
            raise InputError(
                f"the ensemble belongs to the model {self.provenance.get('model')} with hash {known}, the model given, "
                f"{compiled.name}, has {compiled.hash}; its parameters may mean something else: fit again"
            )

    def _formulas_of(
        self, conditions: Conditions, formulas: Mapping[str, str] | Sequence[Mapping[str, str]] | None
    ) -> list[Mapping[str, str]]:
        if formulas is None or isinstance(formulas, Mapping):
            return [self.shared if formulas is None else formulas] * len(conditions)
        if len(formulas) != len(conditions):
            raise InputError(f"{len(formulas)} sets of formulas were given for {len(conditions)} conditions")
        return list(formulas)

    def _dataset(self, values: Float, status: npt.NDArray[np.int64], message: npt.NDArray[Any],
                 conditions: Sequence[str], times: Float, readouts: Sequence[str],
                 compiled: CompiledModel) -> xr.Dataset:  # fmt: skip
        import xarray as xr

        waiting = np.isin(status, (Status.STOPPED, Status.PENDING))
        failed = (status != Status.OK) & ~waiting
        counted = f"{status.size} runs of {len(self)} members, {np.count_nonzero(failed)} failed"
        if failed.any():
            i, j = np.argwhere(failed)[0]
            counted += f" in {np.count_nonzero(failed.any(axis=1))} members; first: member {i}, {conditions[j]}: "
            counted += str(message[i, j])
        return xr.Dataset(
            {
                "value": (("member", "condition", "time", "readout"), values),
                "status": (("member", "condition"), status, {"meaning": str({s.name: int(s) for s in Status})}),
                "message": (("member", "condition"), message.astype(str)),
                "weight": ("member", self.weights),
            },
            coords={
                "member": np.arange(len(self)),
                "condition": list(conditions),
                "time": ("time", times, {"units": compiled.units["time"]}),
                "readout": list(readouts),
            },
            attrs={
                "failures": counted,
                "n_failed": int(np.count_nonzero(failed)),
                "interrupted": int(waiting.any()),
                "unit_amount": compiled.units["amount"],
                "ensemble": json.dumps(dict(self.provenance)),
            },
        )

    def predict_data(self, problem: Problem) -> xr.Dataset:
        """Return what the assay would show under every member, noise left out: `value` (member, measurement).

        Fitted and held-out rows, in the order of the measurement table; NaN where a run failed, counted in
        `attrs["n_failed"]`.
        """
        import xarray as xr

        self.require_model(problem.compiled)
        for name in problem.names:
            if name not in self.names:
                raise unknown_name("parameter of the ensemble", name, self.names)
        points = problem.scaling.to_search(np.stack([self[name] for name in problem.names], axis=1))
        values = np.full((len(self), len(problem.measured)), np.nan)
        for block in np.array_split(np.arange(len(self)), -(-len(self) // 64)):
            for i, evaluation in zip(block, problem.evaluate_many(list(points[block]), validation=True), strict=True):
                values[i] = evaluation.predicted
        n_failed = int(np.count_nonzero(np.isnan(values).any(axis=1)))
        return xr.Dataset(
            {"value": (("member", "measurement"), values), "weight": ("member", self.weights)},
            attrs={"n_failed": n_failed, "ensemble": json.dumps(dict(self.provenance))},
        )

    # ---- files ------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the ensemble as netCDF, whole or not at all; returns the path."""
        import xarray as xr

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        overlays = {
            name: {"named": dict(o.named), "formulas": dict(o.formulas), "resolved": sorted(o.resolved)}
            for name, o in self.experiments.items()
        }
        dataset = xr.Dataset(
            {
                "value": (("member", "parameter"), self.values),
                "weight": ("member", self.weights),
                "direct": ("parameter", np.isin(self.names, self.direct).astype(np.int8)),
            },
            coords={"parameter": np.array(self.names, dtype=object)},
            attrs={
                "schema": SCHEMA,
                "provenance": json.dumps(dict(self.provenance)),
                "experiments": json.dumps(overlays),
            },
        )
        return write_whole(path, lambda part: dataset.to_netcdf(part, engine="h5netcdf"))


def load_ensemble(path: str | Path) -> Ensemble:
    """Return the ensemble in a file that `Ensemble.save` wrote.

    Raises
    ------
    InputError
        If the file is not there, is not an ensemble, is damaged or was written in a format not known here.
    """
    import xarray as xr

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the file that Ensemble.save wrote")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            dataset = opened.load()
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise InputError(f"{path} cannot be read as netCDF ({error}); it is damaged or something else") from None
    schema = dataset.attrs.get("schema")
    if schema != SCHEMA:
        raise InputError(
            f"{path} has the format {schema!r}, this version reads {SCHEMA!r}; "
            + ("update residuum" if str(schema).startswith("residuum-ensemble-") else "give the file of an ensemble")
        )
    try:
        names = tuple(map(str, dataset["parameter"].values))
        experiments = {
            name: Overlay(cells["named"], cells["formulas"], frozenset(cells["resolved"]))
            for name, cells in json.loads(dataset.attrs["experiments"]).items()
        }
        return Ensemble(
            names, dataset["value"].values, dataset["weight"].values,
            tuple(name for name, flag in zip(names, dataset["direct"].values, strict=True) if flag),
            experiments, json.loads(dataset.attrs["provenance"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


def bands(predictions: xr.Dataset, quantiles: Sequence[float] = QUANTILES) -> xr.Dataset:
    """Return weighted quantiles over the members that have a number: `value` (quantile, ...), and their share `left`.

    The q-quantile is the smallest value up to which the weights sum to q. It is NaN where no member has a number.

    Raises InputError for quantiles outside 0 to 1.
    """
    import xarray as xr

    value = predictions["value"]
    dims = tuple(dim for dim in value.dims if dim != "member")
    numbers = value.transpose("member", *dims).to_numpy()
    found, left = weighted_quantiles(numbers, predictions["weight"].to_numpy(), quantiles)
    return xr.Dataset(
        {"value": (("quantile", *dims), found), "left": (dims, left)},
        coords={
            "quantile": np.atleast_1d(np.asarray(quantiles, float)),
            **{name: predictions[name] for name in dims if name in predictions.coords},
        },
        attrs=dict(predictions.attrs),
    )


def _overlays(problem: Problem, names: Sequence[str]) -> tuple[dict[str, Overlay], tuple[str, ...]]:
    """Return what each experiment makes of the parameters, and which are the model's own in all of them."""
    conditions, experiments = problem.tables.conditions.frame, problem.tables.experiments.frame
    place, species = set(problem.compiled.parameters), set(problem.compiled.species)
    own = [name for name in names if name in place]
    overlays, settled_in = {}, []
    for experiment in problem.experiments.names:
        rows = experiments[experiments["experimentId"] == experiment].sort_values("time", kind="stable")
        cells: dict[str, str] = {}
        for condition in rows["conditionId"]:
            chosen = conditions[conditions["conditionId"] == condition]
            cells |= dict(zip(chosen["targetId"], map(str, chosen["targetValue"]), strict=True))
        period = problem.experiments.last_period(experiment)
        formulas = {name: name for name in own if name not in period.settled}
        formulas |= {target: text for target, text in cells.items() if target in place and not is_number(text)}
        named = {target: cells[target] for target in sorted(cells, key=str.casefold) if target not in place | species}
        overlays[experiment] = Overlay(named, formulas, period.resolved)
        settled_in.append(period.settled)
    direct = tuple(name for name in own if not any(name in settled for settled in settled_in))
    cleaned = {
        name: replace(o, formulas={t: text for t, text in o.formulas.items() if t not in direct})
        for name, o in overlays.items()
    }
    return cleaned, direct
