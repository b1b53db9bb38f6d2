"""A problem and its optimum in; what the data, and data with priors, say about single parameters, in numbers and words.

The profile of a parameter x is the smallest misfit left with x held at a value and all others fitted anew,

    excess(x) = 2 (min over the others of loss - min over all of loss),

and the interval at a level of confidence is where it stays below the quantile of chi2 with one degree of freedom
(Venzon and Moolgavkar 1988; Raue et al. 2009). The profile of the likelihood leaves the priors out, that of the
posterior keeps them. Unlike a standard deviation at the optimum it sees bounds, bent valleys and flat directions.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from ..simulator.progress import progress_bar
from ..simulator.report import write_whole
from .checkpoint import beside_tables
from .minimise import tolerance_of_squares
from .result import NEAR_BOUND, spread

if TYPE_CHECKING:
    import pandas as pd

    from .objective import Problem

Float = npt.NDArray[np.float64]

SCHEMA = "residuum-profiles-1"
LIKELIHOOD, POSTERIOR = "likelihood", "posterior"
STEPS_TO_THE_END = 4
"""Points between the optimum and the end of an interval, evenly spaced in the root of the excess."""
FINEST = 1e-5
"""Smallest step, as a fraction of the distance between the bounds."""
BETTER = 0.02
"""A loss that much below that of the optimum is another optimum, from which the profiles start anew."""
UNSEEN = 0.1
"""A profile that nowhere rises above this fraction of the threshold is flat."""
CROSSED, AT_BOUND, FAILED, UNFINISHED = "crossed", "bound", "failed", "unfinished"


@dataclass(frozen=True)
class Profile:
    """One parameter's profile.

    Attributes
    ----------
    parameter, kind
        Name; `likelihood` or `posterior`.
    thetas : (n_points, n_free)
        Points on the search scale in increasing order of the parameter, the other parameters fitted.
    excess : (n_points,)
        Twice the loss above that of the optimum.
    optimum, lower, upper
        On the search scale: the best value and the ends of the interval; the bound where `ends` is not `crossed`.
    ends
        Why the profile ends below and above: `crossed` the threshold, reached the `bound`, runs `failed` beyond,
        `unfinished` (more points than allowed).
    """

    parameter: str
    kind: str
    thetas: Float
    excess: Float
    optimum: float
    lower: float
    upper: float
    ends: tuple[str, str]

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether the interval ends below and above."""
        return self.ends[0] == CROSSED, self.ends[1] == CROSSED


@dataclass(frozen=True)
class Profiles:
    """Outcome of `profile_likelihood`.

    Attributes
    ----------
    table
        One row per parameter: `parameter`, `value` (at the optimum of the posterior), `lower`, `upper` (interval from
        the data alone), `lower_with_prior`, `upper_with_prior`, `verdict`. An end is NaN where there is none.
    profiles
        The curves behind it, by (parameter, kind).
    optima
        Kind -> best point (n_free,), on the search scale.
    names
        All estimated parameters: the meaning of the columns of points.
    level, threshold
        Confidence, and the excess that belongs to it.
    stopped
        True if it was stopped before all parameters were done.
    provenance
        Versions, hashes, settings.
    """

    table: pd.DataFrame
    profiles: Mapping[tuple[str, str], Profile] = field(repr=False)
    optima: Mapping[str, Float] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    level: float
    threshold: float
    stopped: bool
    provenance: Mapping[str, Any] = field(repr=False)
    logarithmic: frozenset[str] = field(default=frozenset(), repr=False)
    """Parameters whose search scale is the decimal logarithm."""

    def __repr__(self) -> str:
        counted = self.table["verdict"].str.split(":").str[0].value_counts()
        return f"<Profiles {self.level:.0%}: {', '.join(f'{n} {words}' for words, n in counted.items())}>"

    def report(self) -> str:
        """Return one line per parameter: its name and what is known of it."""
        width = max(map(len, self.table["parameter"]), default=0)
        return "\n".join(f"{row.parameter:<{width}}  {row.verdict}" for row in self.table.itertuples())

    def plot(self, axes: Any = None) -> Any:
        """Draw one panel per parameter; see `plots.plot_profiles`."""
        from .plots import plot_profiles

        return plot_profiles(self, axes)

    def save(self, folder: str | Path) -> list[Path]:
        """Write `profiles.tsv` (the table) and `profiles.json` (the curves too) into `folder`, each whole or not."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = _content(dict(self.provenance), self.optima, self.profiles)
        return [
            write_whole(folder / "profiles.tsv", lambda path: self.table.to_csv(path, sep="\t", index=False)),
            write_whole(folder / "profiles.json", lambda path: path.write_text(content, encoding="utf-8")),
        ]


def profile_likelihood(
    problem: Problem,
    theta: npt.ArrayLike | None = None,
    parameters: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    prior: bool | None = None,
    tolerance: float = 1e-5,
    max_points: int = 60,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Profiles:
    """Return the profiles of some parameters, their intervals and a verdict on each.

    Parameters
    ----------
    problem
        Data, experiments and parameters.
    theta : (n_free,)
        A point near the optimum, on the search scale (`Fit.theta`); the nominal point if None. It is improved first.
    parameters
        Names; all estimated parameters if None.
    level
        Confidence of the intervals, between 0 and 1.
    prior
        True: profiles of the posterior only; False: of the likelihood only; None: both.
    tolerance
        Relative change of loss, point and gradient below which a constrained fit has converged.
    max_points
        Limit on the points to either side of the optimum.
    checkpoint
        File that keeps each finished profile.
    resume
        Take from `checkpoint` what is done; it must be of the same model, data and settings.
    progress
        Show a bar on standard error.

    Raises
    ------
    InputError
        For unknown or repeated parameters, settings out of range, an optimum at which runs fail, a checkpoint of
        something else.

    Notes
    -----
    Each point starts from the extrapolation of its neighbours, so a profile follows the valley in which the optimum
    lies; a deeper one that it meets becomes the new optimum and the profiles start anew. A second valley that is never
    met goes unseen: start from the best of several searches. Ctrl-C returns the parameters done.
    """
    names = _checked(problem, parameters, level, tolerance, max_points, checkpoint, resume)
    from scipy.stats import chi2

    threshold = float(chi2.ppf(level, 1))
    start = starting_point(problem, theta)
    kinds = [LIKELIHOOD, POSTERIOR] if prior is None else [POSTERIOR if prior else LIKELIHOOD]
    if not problem.n_priors:
        kinds = [LIKELIHOOD]
    settings = {**beside_tables(problem), "level": level, "tolerance": tolerance, "max_points": max_points}
    identity = {**problem.provenance(), **settings}
    book = _Book(None if checkpoint is None else Path(checkpoint), identity, ("model_hash", "data_hash", *settings))
    if resume:
        book.read()
    stopped = False
    with progress_bar(len(kinds) * len(names), "profiles", shown=progress) as advance:
        try:
            for done, kind in enumerate(kinds):
                partly = PartialLoss(problem, kind == POSTERIOR, tolerance)
                shown = partial(_shifted, advance, done * len(names))
                _profiles_of(partly, kind, names, start, threshold, max_points, book, shown)
        except KeyboardInterrupt:
            stopped = True
            print("profiles: stopped by the user; what is done is given", file=sys.stderr)
    frame = problem.tables.parameters.frame
    return Profiles(
        table=_table(problem, names, book, threshold, level),
        profiles=book.profiles,
        optima=book.optima,
        names=tuple(problem.names),
        level=level,
        threshold=threshold,
        stopped=stopped,
        provenance=identity,
        logarithmic=frozenset(frame["parameterId"][frame["parameterScale"] == "log10"]),
    )


def _checked(problem: Problem, parameters: Sequence[str] | None, level: float, tolerance: float, max_points: int,
             checkpoint: str | Path | None, resume: bool) -> tuple[str, ...]:  # fmt: skip
    if isinstance(parameters, str):
        parameters = [parameters]
    names = tuple(problem.names if parameters is None else parameters)
    for name in names:
        if name not in problem.names:
            raise unknown_name("estimated parameter", name, problem.names)
        if names.count(name) > 1:
            raise InputError(f"the parameter {name!r} was given twice; give it once")
    if not names:
        raise InputError(f"no parameter was given; name some of {', '.join(problem.names)}")
    if not 0 < level < 1:
        raise InputError(f"the level is {level}, expected a number between 0 and 1 such as 0.95")
    if not 0 < tolerance < 1:
        raise InputError(f"the tolerance is {tolerance}, expected a small positive number such as 1e-5")
    if max_points < 1:
        raise InputError(f"max_points is {max_points}, expected at least 1")
    if resume and checkpoint is None:
        raise InputError("resume needs the checkpoint file of the run to go on with; give checkpoint")
    return names


def _shifted(advance: Callable[[int], None], before: int, done: int) -> None:
    advance(before + done)


def starting_point(problem: Problem, theta: npt.ArrayLike | None) -> Float:
    """Return `theta` (n_free,) within the bounds, the nominal point if None; raises InputError if it cannot be one."""
    try:
        start = problem.nominal if theta is None else np.asarray(theta, float)
    except (TypeError, ValueError):
        raise InputError(f"theta is {theta!r}, expected ({problem.n_free},) numbers: give Fit.theta") from None
    if start.shape != (problem.n_free,) or not np.all(np.isfinite(start)):
        raise InputError(f"theta has shape {start.shape}, expected ({problem.n_free},) finite numbers: give Fit.theta")
    return np.clip(start, problem.lower, problem.upper)


def saved_point(problem: Problem, path: str | Path) -> Float:
    """Return the optimum (n_free,) in a `fit.json`, or in the folder that holds it, of the same problem.

    Raises InputError if there is none, or if it is of another model or other tables.
    """
    path = Path(path)
    path = path / "fit.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        theta, origin = np.array(content["theta"], float), content["provenance"]
        known = origin["model_hash"], origin["data_hash"]
    except OSError:
        raise InputError(f"{path} cannot be read; give the folder that `residuum fit` wrote") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not what `residuum fit` writes ({error}); fit again") from None
    for what, mine, theirs in zip(
        ("model", "tables"), (problem.compiled.hash, problem.tables.hash), known, strict=True
    ):
        if mine != theirs:
            raise InputError(f"{path} is a fit of another state of the {what}: {theirs}, now {mine}; fit again")
    return starting_point(problem, theta)


# ---- constrained fits -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Point:
    theta: Float
    loss: float
    failed: bool


@dataclass(frozen=True)
class PartialLoss:
    """The loss with or without the priors, and its minimum over some of the parameters."""

    problem: Problem
    prior: bool
    tolerance: float

    def _kept(self, rows: Float) -> Float:
        """Return those rows of residuals or of information that count: the data come first, then the priors."""
        n_data, n_priors = self.problem.n_data, self.problem.n_priors
        return rows if self.prior else np.delete(rows, np.s_[n_data : n_data + n_priors], axis=0)

    def at(self, theta: Float) -> _Point:
        """Return the loss at one point."""
        evaluation = self.problem.evaluate(theta)
        residuals = self._kept(evaluation.residuals)
        return _Point(theta.copy(), 0.5 * float(residuals @ residuals), evaluation.failed)

    def jacobian(self, theta: Float, columns: npt.NDArray[np.intp]) -> Float:
        """Return the derivatives (n_residuals, n_columns) of the residuals that count."""
        return self._kept(self.problem.jacobian(theta, columns=columns))

    def spread(self, theta: Float) -> Float:
        """Return the standard deviations (n_free,) under the linearised model, on the search scale."""
        return spread(self._kept(self.problem.information_rows(theta)))

    def minimum(self, start: Float, free: npt.NDArray[np.intp], added: Float | float = 0.0) -> _Point:
        """Return the best point with the parameters numbered `free` fitted within their bounds, the others as given.

        `added` (n_residuals,) is put on top of the residuals.
        """
        from scipy.optimize import least_squares

        if not len(free):
            return self.at(start)
        best: _Point | None = None

        def whole(part: Float) -> Float:
            theta = start.copy()
            theta[free] = part
            return theta

        def residuals(part: Float) -> Float:
            nonlocal best
            evaluation = self.problem.evaluate(whole(part))
            kept = self._kept(evaluation.residuals) + added
            here = _Point(whole(part), 0.5 * float(kept @ kept), evaluation.failed)
            if best is None or (here.failed, here.loss) < (best.failed, best.loss):
                best = here
            return kept

        lower, upper = self.problem.lower[free], self.problem.upper[free]
        margin = 1e-9 * (upper - lower)
        least_squares(
            residuals, np.clip(start[free], lower + margin, upper - margin), bounds=(lower, upper), method="trf",
            jac=lambda part: self.jacobian(whole(part), free), x_scale="jac", max_nfev=100,
            ftol=tolerance_of_squares(self.problem, self.tolerance), xtol=self.tolerance, gtol=self.tolerance,
        )  # fmt: skip
        assert best is not None
        return best


class _DeeperError(Exception):
    """A point below the optimum was met."""

    def __init__(self, theta: Float) -> None:
        self.theta = theta


def _profiles_of(partly: PartialLoss, kind: str, names: Sequence[str], start: Float, threshold: float, max_points: int,
                 book: _Book, advance: Callable[[int], None]) -> None:  # fmt: skip
    """Fill the book with the profiles of one kind; begin again from each deeper optimum that is met."""
    everything = np.arange(partly.problem.n_free)
    for attempt in range(5):
        if kind not in book.optima:
            optimum = partly.minimum(start, everything)
            if optimum.failed:
                raise InputError("simulations fail at the optimum; give a theta at which they do not")
            book.optima[kind] = optimum.theta
        optimum = partly.at(book.optima[kind])
        try:
            for done, name in enumerate(names, start=1):
                if (name, kind) not in book.profiles:
                    book.add(_profile(partly, kind, name, optimum, threshold, max_points, last=attempt == 4))
                advance(done)
            return
        except _DeeperError as deeper:
            book.forget(kind)
            start = deeper.theta


def _profile(
    partly: PartialLoss, kind: str, name: str, optimum: _Point, threshold: float, max_points: int, *, last: bool
) -> Profile:
    """Return one profile; raises _DeeperError where it meets a better optimum, unless this is the last attempt."""
    k = partly.problem.names.index(name)
    sides = []
    sd = float(partly.spread(optimum.theta)[k])
    for direction in (-1, 1):
        points, end, x = _side(partly, k, optimum, direction, threshold, sd, max_points)
        lowest = min(points, key=lambda point: point.loss)
        if not last and lowest.loss < optimum.loss - BETTER:
            raise _DeeperError(lowest.theta)
        sides.append((points, end, x))
    (below, end_below, lower), (above, end_above, upper) = sides
    points = sorted([*below[1:], *above], key=lambda point: float(point.theta[k]))
    return Profile(
        name, kind, np.array([point.theta for point in points]),
        np.array([2 * (point.loss - optimum.loss) for point in points]),
        float(optimum.theta[k]), lower, upper, (end_below, end_above),
    )  # fmt: skip


def _side(partly: PartialLoss, k: int, optimum: _Point, direction: int, threshold: float, sd: float,
          max_points: int) -> tuple[list[_Point], str, float]:  # fmt: skip
    """Follow the profile of parameter `k` to one side; return its points, why it ends and where."""
    problem = partly.problem
    limit = float((problem.lower if direction < 0 else problem.upper)[k])
    width = float(problem.upper[k] - problem.lower[k])
    others = np.delete(np.arange(problem.n_free), k)
    wanted = math.sqrt(threshold) / STEPS_TO_THE_END
    # at least this far, or a zero derivative at the optimum would stop us
    step = float(np.clip(wanted * sd if math.isfinite(sd) else width, 10 * FINEST * width, width / 10))
    points = [optimum]

    def root(point: _Point) -> float:
        return math.sqrt(max(2 * (point.loss - optimum.loss), 0.0))

    def fitted(x: float, guess: Float) -> _Point:
        theta = np.clip(guess, problem.lower, problem.upper)
        theta[k] = x
        return partly.minimum(theta, others)

    while abs(limit - points[-1].theta[k]) > 1e-9 * width:
        here = points[-1]
        x = float(here.theta[k]) + direction * step
        x = limit if (limit - x) * direction < FINEST * width else x
        point = fitted(x, _extrapolated(points, k, x))
        rise = root(point) - root(here)
        if (point.failed or rise > 2 * wanted) and abs(x - here.theta[k]) > FINEST * width:
            step = abs(x - float(here.theta[k])) / 2
            continue
        if point.failed:
            return points, FAILED, float(here.theta[k])
        points.append(point)
        _settle(fitted, points, k)
        if root(point) >= math.sqrt(threshold):
            return points, CROSSED, _crossing(fitted, root, points, k, math.sqrt(threshold))
        if len(points) > max_points:
            return points, UNFINISHED, x
        step = min(step * float(np.clip(wanted / max(rise, 1e-3 * wanted), 0.5, 2.5)), width / 8)
    return points, AT_BOUND, limit


def _settle(fitted: Callable[[float, Float], _Point], points: list[_Point], k: int) -> None:
    """Fit points anew, from their outer neighbour, that lie above it: a profile that falls outwards was not at rest."""
    for i in range(len(points) - 2, 0, -1):
        if points[i].loss <= points[i + 1].loss + 1e-3:
            return
        again = fitted(float(points[i].theta[k]), points[i + 1].theta.copy())
        if not again.failed and again.loss < points[i].loss:
            points[i] = again


def _extrapolated(points: Sequence[_Point], k: int, x: float) -> Float:
    """Return the straight line through the last two points, at the value `x` of parameter `k`."""
    last = points[-1].theta
    if len(points) < 2:
        return last.copy()
    before = points[-2].theta
    return last + (last - before) * (x - last[k]) / (last[k] - before[k])


def _crossing(fitted: Callable[[float, Float], _Point], root: Callable[[_Point], float], points: list[_Point], k: int,
              level: float) -> float:  # fmt: skip
    """Return where the root of the excess is `level`, between the last two points; new points join `points`.

    The root of the excess is a straight line where the loss is a parabola, so the secant finds it at once.
    """
    inner, outer = points[-2], points.pop()
    for i in range(12):
        a, b = root(inner), root(outer)
        share = (level - a) / (b - a)
        if i % 3 == 2:  # a curved end may hold one side of the bracket
            share = 0.5
        theta = inner.theta + share * (outer.theta - inner.theta)
        point = fitted(float(theta[k]), theta)
        if point.failed:
            break
        if abs(root(point) - level) < 1e-4 * level:
            points += [point, outer]
            return float(point.theta[k])
        if root(point) < level:
            points.append(point)
            inner = point
        else:
            outer = point
    points.append(outer)
    a, b = root(inner), root(outer)
    return float(inner.theta[k] + (level - a) / (b - a) * (outer.theta[k] - inner.theta[k]))


# ---- words ------------------------------------------------------------------------------------------------------


def _table(problem: Problem, names: Sequence[str], book: _Book, threshold: float, level: float) -> pd.DataFrame:
    import pandas as pd

    def value(k: int, x: float) -> float:
        theta = problem.nominal.copy()
        theta[k] = x
        return float(problem.scaling.to_values(theta)[k])

    rows = []
    for name in names:
        k = problem.names.index(name)
        both = {kind: book.profiles.get((name, kind)) for kind in (LIKELIHOOD, POSTERIOR)}
        row: dict[str, Any] = {"parameter": name, "value": math.nan}
        for kind, tag in ((LIKELIHOOD, ""), (POSTERIOR, "_with_prior")):
            p = both[kind]
            row[f"lower{tag}"] = value(k, p.lower) if p is not None and p.closed[0] else math.nan
            row[f"upper{tag}"] = value(k, p.upper) if p is not None and p.closed[1] else math.nan
        best = both[POSTERIOR] or both[LIKELIHOOD]
        if best is not None:
            row["value"] = value(k, best.optimum)
        row["verdict"] = _verdict(problem, k, both[LIKELIHOOD], both[POSTERIOR], threshold, partial(value, k))
        rows.append(row)
    table = pd.DataFrame(rows)
    table.attrs["level"] = level
    return table


def _verdict(problem: Problem, k: int, likelihood: Profile | None, posterior: Profile | None, threshold: float,
             value: Callable[[float], float]) -> str:  # fmt: skip
    """Return what is known of parameter `k`, in words."""
    if likelihood is None and posterior is None:
        return "not done"
    main = likelihood or posterior
    assert main is not None
    low, high = f"{value(main.lower):.3g}", f"{value(main.upper):.3g}"
    flat = not any(main.closed) and float(np.max(main.excess)) < UNSEEN * threshold
    if FAILED in main.ends or UNFINISHED in main.ends:
        side = [f"{'runs fail' if end == FAILED else 'not followed'} {where} {number}"
                for end, where, number in zip(main.ends, ("below", "above"), (low, high), strict=True)
                if end in (FAILED, UNFINISHED)]  # fmt: skip
        rest = [f"{'at least' if i == 0 else 'at most'} {number}"
                for i, (closed, number) in enumerate(zip(main.closed, (low, high), strict=True)) if closed]  # fmt: skip
        words = f"not known to the end: {', '.join([*rest, *side])}"
    elif all(main.closed):
        words = f"identified: {low} to {high}"
    elif not any(main.closed):
        words = "not seen by the data" if flat else f"hardly seen by the data: anywhere from {low} to {high}"
        if flat and posterior is None:
            words += f": anywhere within its bounds, {low} to {high}"
    elif _at_bound(problem, k, main.optimum):
        words = f"at its bound: {value(main.optimum):.3g}, {f'at most {high}' if main.closed[1] else f'at least {low}'}"
    elif main.closed[1]:
        words = f"bounded from above only: at most {high}"
    else:
        words = f"bounded from below only: at least {low}"
    if likelihood is None:
        return f"{words} (data and priors)"
    if posterior is None:
        return words
    ends = [f"{value(x):.3g}" for x in (posterior.lower, posterior.upper)]
    if flat:
        informed = not math.isnan(float(problem.scaling.prior_spread()[k]))
        says = "the prior alone" if informed else "no prior of its own"
        return f"{words}: {says}, {ends[0]} to {ends[1]}"
    return words if all(main.closed) else f"{words}; {ends[0]} to {ends[1]} with priors"


def _at_bound(problem: Problem, k: int, x: float) -> bool:
    width = problem.upper[k] - problem.lower[k]
    return bool(min(x - problem.lower[k], problem.upper[k] - x) < NEAR_BOUND * width)


# ---- the checkpoint ---------------------------------------------------------------------------------------------


class _Book:
    """Optima and finished profiles, kept in a file where there is one; one that agrees in `decisive` can be read."""

    def __init__(self, path: Path | None, identity: Mapping[str, Any], decisive: Sequence[str]) -> None:
        self.path, self.identity, self._decisive = path, dict(identity), tuple(decisive)
        self.optima: dict[str, Float] = {}
        self.profiles: dict[tuple[str, str], Profile] = {}

    def add(self, profile: Profile) -> None:
        self.profiles[profile.parameter, profile.kind] = profile
        if self.path is not None:
            content = _content(self.identity, self.optima, self.profiles)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, lambda part: part.write_text(content, encoding="utf-8"))

    def forget(self, kind: str) -> None:
        self.optima.pop(kind, None)
        self.profiles = {key: profile for key, profile in self.profiles.items() if key[1] != kind}

    def read(self) -> None:
        """Take what the file holds; nothing if there is none yet."""
        assert self.path is not None
        if not self.path.exists():
            return
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            schema, theirs = content["schema"], content["provenance"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path} is no checkpoint of profiles ({error}); remove it to begin anew") from None
        if schema != SCHEMA:
            raise InputError(f"{self.path} has the format {schema!r}, this version reads {SCHEMA!r}; begin anew")
        for what in self._decisive:
            if theirs.get(what) != self.identity[what]:
                raise InputError(
                    f"{self.path} was made with {what} {theirs.get(what)}, now it is {self.identity[what]}; go on with "
                    "the same, or give another checkpoint"
                )
        try:
            self.optima = {kind: np.array(theta, float) for kind, theta in content["optima"].items()}
            for record in content["profiles"]:
                arrays = {name: np.array(record[name], float) for name in ("thetas", "excess")}
                profile = Profile(**{**record, **arrays, "ends": tuple(record["ends"])})
                self.profiles[profile.parameter, profile.kind] = profile
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{self.path} is damaged ({error}); remove it to begin anew") from None


def _content(
    identity: Mapping[str, Any], optima: Mapping[str, Float], profiles: Mapping[tuple[str, str], Profile]
) -> str:
    records = [
        {**dataclasses.asdict(p), "thetas": p.thetas.tolist(), "excess": p.excess.tolist(), "ends": list(p.ends)}
        for p in profiles.values()
    ]
    kept = {kind: theta.tolist() for kind, theta in optima.items()}
    content = {"schema": SCHEMA, "provenance": dict(identity), "optima": kept, "profiles": records}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
