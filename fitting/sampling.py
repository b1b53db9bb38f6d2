"""A problem and its optimum in; parameter sets drawn from the posterior, with diagnostics in words, out.

Three ways. `sample_posterior` walks: the affine-invariant ensemble sampler of Goodman and Weare (2010) in emcee (extra
`fit`), with moves by differential evolution (ter Braak 2006); it needs thousands of evaluations and assumes nothing.
`refitted_posterior` fits anew to data and priors with noise of their own added; one fit per member, which is what a
problem of many parameters can afford. `laplace_posterior` needs nothing but the optimum: draws from the normal
distribution with the Fisher information, weighted by how far off that is at each draw. All see the density over the
search scale, exp(-loss), within bounds.
"""

from __future__ import annotations

import math
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.progress import progress_bar
from ..simulator.report import write_whole
from .checkpoint import beside_tables
from .posterior import Ensemble
from .profile import PartialLoss, starting_point
from .result import NEAR_BOUND

if TYPE_CHECKING:
    from .objective import Problem

Float = npt.NDArray[np.float64]

SCHEMA = "residuum-draws-1"
LENGTHS = 50
"""Autocorrelation times that a chain must last for its estimates to be trusted (emcee's rule)."""
FORGOTTEN = 5
"""Autocorrelation times after which the start is forgotten."""
BLOCK = 100
"""Steps between looks at the chain."""
TRUSTED = 0.1
"""Share of draws, as effective size, above which the Laplace approximation is usable."""


# ---- walking ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Diagnostics:
    """How well a chain has mixed.

    Attributes
    ----------
    steps, walkers
        Size of the chain.
    autocorrelation : (n_free,)
        Integrated autocorrelation time of each parameter, in steps.
    effective
        Independent draws that the chain is worth, for the slowest parameter.
    acceptance
        Share of proposals accepted, between 0 and 1.
    """

    steps: int
    walkers: int
    autocorrelation: Float
    effective: float
    acceptance: float

    @property
    def converged(self) -> bool:
        """Whether the chain is long enough for its own autocorrelation time to be trusted."""
        return bool(np.all(self.steps >= LENGTHS * self.autocorrelation))

    def words(self, names: Sequence[str]) -> str:
        """Return the verdict in a sentence."""
        slowest = int(np.argmax(self.autocorrelation))
        if not np.isfinite(self.autocorrelation[slowest]):
            return f"too short: {self.steps} steps of {self.walkers} walkers say nothing; allow more"
        tau = float(self.autocorrelation[slowest])
        told = (
            f"{self.steps} steps of {self.walkers} walkers, autocorrelation time {tau:.0f} steps at most "
            f"({names[slowest]}), worth {self.effective:.0f} independent draws, {self.acceptance:.0%} accepted"
        )
        if self.converged:
            return f"long enough: {told}"
        return f"too short: {told}; at least {math.ceil(LENGTHS * tau)} steps are needed to trust these draws"


def sample_posterior(
    problem: Problem,
    theta: npt.ArrayLike | None = None,
    *,
    members: int = 1000,
    walkers: int | None = None,
    max_steps: int = 5000,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Ensemble:
    """Return members drawn from the posterior by an ensemble of walkers.

    Parameters
    ----------
    problem, theta
        As in `profile_likelihood`; the walkers start around the improved point.
    members
        Draws to return, evenly spaced in the chain.
    walkers
        An even number of at least twice the parameters; four times the parameters, and 32 at least, if None.
    max_steps
        Limit on the steps of each walker. It ends sooner when the chain lasts 50 autocorrelation times and is worth
        `members` independent draws.
    seed
        Of starts, proposals and choice: the same seed gives the same members, whatever the number of threads.
    checkpoint
        File that keeps the chain, written every 100 steps.
    resume
        Go on with the chain in `checkpoint`, to the same end as a run that was never stopped.
    progress
        Show a bar on standard error.

    Returns
    -------
    Ensemble
        With `provenance["diagnostics"]`, a sentence that says whether the chain is long enough, and its numbers.
        Ctrl-C returns draws from the chain so far, and the sentence says so.

    Raises
    ------
    InputError
        Without emcee; for settings out of range; if runs fail at the start; for a checkpoint of something else.
    """
    try:
        import emcee
    except ImportError:
        raise InputError(
            "sampling needs emcee, which is not installed: python -m pip install 'residuum[fit]'; "
            "laplace_posterior does without"
        ) from None

    n = problem.n_free
    walkers = max(4 * n, 32) if walkers is None else walkers
    if walkers < 2 * n or walkers % 2 or walkers < 4:
        raise InputError(f"walkers is {walkers}, expected an even number of at least {max(2 * n, 4)}")
    if members < 1 or max_steps < 1:
        raise InputError(f"members is {members} and max_steps {max_steps}; both must be at least 1")
    if resume and checkpoint is None:
        raise InputError("resume needs the checkpoint file of the run to go on with; give checkpoint")
    start = starting_point(problem, theta)
    identity = _identity(problem, start, seed=seed, walkers=walkers)
    path = None if checkpoint is None else Path(checkpoint)
    random = np.random.RandomState(seed)  # emcee's kind of generator
    if resume and path is not None and path.exists():
        chain, losses, random_state = _read_walk(path, identity)
    else:
        first = _first_walkers(problem, _optimum(problem, start), walkers, random)
        chain, losses, random_state = first[None], -log_posterior(problem, first)[None], random.get_state()
    sampler = emcee.EnsembleSampler(
        walkers, n, lambda points: log_posterior(problem, points), vectorize=True,
        moves=[(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)],
    )  # fmt: skip
    stopped, diagnosed = False, _diagnose(chain)
    with progress_bar(max_steps, "steps", shown=progress) as advance:
        try:
            while len(chain) - 1 < max_steps and not (diagnosed.converged and diagnosed.effective >= members):
                advance(len(chain) - 1)
                state = emcee.State(chain[-1], log_prob=-losses[-1], random_state=random_state)
                steps = min(BLOCK - (len(chain) - 1) % BLOCK, max_steps + 1 - len(chain))
                points, values = [], []
                for moved in sampler.sample(state, iterations=steps, store=False):
                    points.append(moved.coords.copy())
                    values.append(-moved.log_prob)
                random_state = moved.random_state
                chain, losses = np.concatenate([chain, points]), np.concatenate([losses, values])
                diagnosed = _diagnose(chain)
                if path is not None:
                    _write_walk(path, identity, chain, losses, random_state)
        except KeyboardInterrupt:
            stopped = True
            print("sampling: stopped by the user; draws from the chain so far are given", file=sys.stderr)
    forgotten = int(min(FORGOTTEN * np.max(diagnosed.autocorrelation), len(chain) // 2))
    kept = chain[forgotten:].reshape(-1, n)
    chosen = kept[np.linspace(0, len(kept) - 1, min(members, len(kept))).astype(int)]
    words = diagnosed.words(problem.names)
    return Ensemble.from_points(
        problem, chosen, method="emcee", seed=seed, emcee=emcee.__version__, walkers=walkers,
        diagnostics=f"stopped by the user; {words}" if stopped else words, converged=diagnosed.converged,
        steps=diagnosed.steps, effective=diagnosed.effective, acceptance=diagnosed.acceptance,
        autocorrelation=dict(zip(problem.names, map(float, diagnosed.autocorrelation), strict=True)),
    )  # fmt: skip


def log_posterior(problem: Problem, thetas: Float) -> Float:
    """Return the log posterior up to a constant, (n_points,), at points (n_points, n_free), simulated in one call.

    It is minus infinity outside the bounds and where a run fails.
    """
    value = np.full(len(thetas), -np.inf)
    inside = np.flatnonzero(np.all((thetas >= problem.lower) & (thetas <= problem.upper), axis=1))
    if len(inside):
        for i, evaluation in zip(inside, problem.evaluate_many([thetas[i] for i in inside]), strict=True):
            value[i] = -np.inf if evaluation.failed else -evaluation.loss
    return value


def _first_walkers(problem: Problem, start: Float, walkers: int, random: Any) -> Float:
    """Return points (walkers, n_free) around the start, as wide as the normal approximation, at which runs do not fail.

    Raises InputError if hardly any such point is found.
    """
    root = normal_root(problem, start)
    found: list[Float] = []
    for shrink in (1.0, 1.0, 0.5, 0.25, 0.1, 0.01):
        points = start + shrink * random.standard_normal((2 * walkers, problem.n_free)) @ root.T
        # what falls outside is put back by reflection, once; a point twice outside is dropped below
        points = np.where(points < problem.lower, 2 * problem.lower - points, points)
        points = np.where(points > problem.upper, 2 * problem.upper - points, points)
        found += list(points[np.isfinite(log_posterior(problem, points))])
        if len(found) >= walkers:
            return np.array(found[:walkers])
    raise InputError("simulations fail nearly everywhere around the start; give a theta at which they do not")


def _diagnose(chain: Float) -> Diagnostics:
    """Return the diagnostics of a chain (steps + 1, walkers, n_free), after the start is forgotten."""
    import emcee

    steps, walkers, n = len(chain) - 1, chain.shape[1], chain.shape[2]
    if steps < 2:
        return Diagnostics(steps, walkers, np.full(n, np.inf), 0.0, 0.0)
    half = chain[steps // 2 :] if steps < 20 else chain[steps // 4 :]
    with np.errstate(all="ignore"):
        tau = np.atleast_1d(emcee.autocorr.integrated_time(half, tol=0, quiet=True))
    tau = np.where(np.isfinite(tau), np.maximum(tau, 1.0), np.inf)
    moved = np.any(chain[1:] != chain[:-1], axis=2)
    return Diagnostics(steps, walkers, tau, float(half.shape[0] * walkers / np.max(tau)), float(moved.mean()))


def _write_walk(path: Path, identity: dict[str, str], chain: Float, losses: Float, state: Any) -> None:
    arrays = {"chain": chain, "losses": losses, "keys": state[1], "place": np.array(state[2:4]), "cached": state[4]}
    _write_arrays(path, identity, arrays)


def _read_walk(path: Path, identity: dict[str, str]) -> tuple[Float, Float, Any]:
    chain, losses, keys, place, cached = _read_arrays(path, identity, ("chain", "losses", "keys", "place", "cached"))
    return chain, losses, ("MT19937", keys, int(place[0]), int(place[1]), float(cached))


def _identity(problem: Problem, start: Float, **settings: float) -> dict[str, str]:
    """Return what a checkpoint of draws belongs to, by name."""
    return {
        "model_hash": problem.compiled.hash,
        "data_hash": problem.tables.hash,
        **beside_tables(problem),
        **{name: str(value) for name, value in settings.items()},
        "start": start.tobytes().hex(),
    }


def _write_arrays(path: Path, identity: dict[str, str], arrays: dict[str, Any]) -> None:
    """Write arrays and what they belong to, whole or not at all."""
    content: dict[str, Any] = {"schema": SCHEMA, **arrays, **identity}

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, **content)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write)


def _read_arrays(path: Path, identity: dict[str, str], names: Sequence[str]) -> list[Any]:
    """Return the arrays of a file that `_write_arrays` wrote; raises InputError if it belongs to something else."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
        schema = str(kept["schema"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no checkpoint of draws ({error}); remove it to begin anew") from None
    if schema != SCHEMA:
        raise InputError(f"{path} has the format {schema!r}, this version reads {SCHEMA!r}; begin anew")
    for what, now in identity.items():
        if str(kept.get(what)) != now:
            told = "another start" if what == "start" else f"{what} {kept.get(what)}, now it is {now}"
            raise InputError(f"{path} was made with {told}; go on with the same, or give another checkpoint")
    if missing := [name for name in names if name not in kept]:
        raise InputError(f"{path} is no checkpoint of this method: it lacks {missing[0]}; begin anew")
    return [kept[name] for name in names]


# ---- fitting anew -----------------------------------------------------------------------------------------------


def refitted_posterior(
    problem: Problem,
    theta: npt.ArrayLike | None = None,
    *,
    members: int = 100,
    seed: int = 0,
    tolerance: float = 1e-4,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Ensemble:
    """Return members each of which is the best fit to data and priors with noise of their own added.

    Parameters
    ----------
    problem, theta
        As in `profile_likelihood`.
    members
        Number of fits.
    seed
        Of the noise; every member has a stream of its own, so that member 3 is the same whatever their number.
    tolerance
        Relative change of loss, point and gradient below which a fit has converged.
    checkpoint
        File that keeps every finished member.
    resume
        Take the members in `checkpoint`, and fit those that are missing.
    progress
        As in `sample_posterior`.

    Returns
    -------
    Ensemble
        Equal weights; members at which runs fail are left out and counted in `provenance["diagnostics"]`. Ctrl-C
        returns the members so far.

    Raises
    ------
    InputError
        For settings out of range, where no member is left, or for a checkpoint of something else; for censored rows,
        noise other than normal or log-normal, and sigmas that are estimated.

    Notes
    -----
    Residuals r(theta) + e with e standard normal are minimised (randomised maximum likelihood: Oliver, He and Reynolds
    1996; Bardsley et al. 2014). These are draws from the posterior where predictions are linear in theta and noise and
    priors normal; elsewhere they are an approximation without weights. At the bound of a uniform prior members pile up,
    whereas the posterior ends there. Each fit starts from a draw of the normal approximation, so that what neither data
    nor priors see keeps its spread.
    """
    _require_quadratic(problem)
    if members < 1:
        raise InputError(f"members is {members}, expected at least 1")
    if not 0 < tolerance < 1:
        raise InputError(f"the tolerance is {tolerance}, expected a small positive number such as 1e-4")
    if resume and checkpoint is None:
        raise InputError("resume needs the checkpoint file of the run to go on with; give checkpoint")
    start = starting_point(problem, theta)
    path = None if checkpoint is None else Path(checkpoint)
    identity = _identity(problem, start, seed=seed, tolerance=tolerance)
    points = np.empty((0, problem.n_free))
    losses = np.empty(0)
    if resume and path is not None and path.exists():
        points, losses = _read_arrays(path, identity, ("points", "losses"))
    everything, whole = np.arange(problem.n_free), PartialLoss(problem, True, tolerance)
    stopped = False
    with progress_bar(members, "members", shown=progress) as advance:
        try:
            optimum = _optimum(problem, start)
            root, n_residuals = normal_root(problem, optimum), len(problem.residuals(optimum))
            streams = np.random.SeedSequence(seed).spawn(members)
            for i in range(len(points), members):
                advance(i)
                generator = np.random.default_rng(streams[i])
                first = optimum + root @ generator.standard_normal(problem.n_free)
                first = np.clip(first, problem.lower, problem.upper)
                found = whole.minimum(first, everything, generator.standard_normal(n_residuals))
                loss = np.inf if found.failed else problem.loss(found.theta)
                points, losses = np.vstack([points, found.theta]), np.append(losses, loss)
                if path is not None:
                    _write_arrays(path, identity, {"points": points, "losses": losses})
        except KeyboardInterrupt:
            stopped = True
            print("refitting: stopped by the user; the members so far are given", file=sys.stderr)
    good = np.isfinite(losses[:members])
    if not good.any():
        if stopped:
            raise KeyboardInterrupt
        raise InputError("simulations fail at all members; give a theta at which they do not")
    told = f"{len(good)} fits to data and priors with noise added, {np.count_nonzero(~good)} left out because runs fail"
    told += f"; exact only where predictions are linear in the parameters{_piled_up(problem, points[:members][good])}"
    return Ensemble.from_points(
        problem, points[:members][good], method="refit", seed=seed, tolerance=tolerance,
        diagnostics=f"stopped by the user; {told}" if stopped else told, loss=losses[:members][good].tolist(),
    )  # fmt: skip


def _require_quadratic(problem: Problem) -> None:
    rows = problem.fit_rows
    for n, words in (
        (np.count_nonzero(~problem.observation.quadratic[rows]), "are censored or have noise that is not normal"),
        (problem.n_spreads, "have a sigma that is estimated"),
    ):
        if n:
            raise InputError(
                f"{n} of {len(rows)} measurements {words}, to which refitting adds no noise that would be right; "
                "use sample_posterior, or laplace_posterior"
            )


def _piled_up(problem: Problem, points: Float) -> str:
    """Return how many members lie at the bound of a uniform prior, and of which parameters, in words."""
    width = problem.upper - problem.lower
    near = np.minimum(points - problem.lower, problem.upper - points) < NEAR_BOUND * width
    near &= np.isnan(problem.scaling.prior_spread())
    if not near.any():
        return ""
    each = ", ".join(f"{name} in {n}" for name, n in zip(problem.names, near.sum(axis=0), strict=True) if n)
    n = f"{np.count_nonzero(near.any(axis=1))} of {len(points)}"
    return f"; {n} members lie at the bound of a uniform prior ({each}), more than the posterior has there"


# ---- the normal approximation -----------------------------------------------------------------------------------


def laplace_posterior(
    problem: Problem, theta: npt.ArrayLike | None = None, *, members: int = 1000, seed: int = 0, optimum: bool = False
) -> Ensemble:
    """Return weighted members drawn from the normal approximation of the posterior at its optimum.

    Parameters
    ----------
    problem, theta
        As in `profile_likelihood`.
    members
        Number of draws.
    seed
        Of the draws.
    optimum
        True if `theta` is the optimum already, and not to be improved.

    Returns
    -------
    Ensemble
        Weighted by posterior over approximation; draws outside the bounds or with failed runs weigh nothing and are
        left out. `provenance["diagnostics"]` says in a sentence whether the weights are even enough to be trusted.

    Raises
    ------
    InputError
        For settings out of range, or where no draw has a finite posterior.

    Notes
    -----
    The covariance is (I + D)^-1, with I that of `Problem.information` and D the inverse variances of uniform
    distributions between the bounds, which keep directions finite that nothing determines. Limits: one optimum; what
    is bent or has heavier tails than a normal distribution is reached by few draws with large weights, and what no
    draw reaches is not missed by the effective size.
    """
    if members < 2:
        raise InputError(f"members is {members}, expected at least 2")
    start = starting_point(problem, theta)
    if not optimum:
        start = _optimum(problem, start)
    root = normal_root(problem, start)
    normal = np.random.default_rng(seed).standard_normal((members, problem.n_free))
    points = start + normal @ root.T
    value = np.concatenate(
        [log_posterior(problem, points[block]) for block in np.array_split(np.arange(members), -(-members // 64))]
    )
    inside = np.isfinite(value)
    if not inside.any():
        raise InputError("simulations fail, or bounds are crossed, at all draws; start from an optimum within bounds")
    log_weight = value[inside] + 0.5 * np.sum(normal[inside] ** 2, axis=1)
    weights = np.exp(log_weight - log_weight.max())
    weights /= weights.sum()
    effective = 1.0 / float(np.sum(weights**2))
    told = (
        f"{members} draws, {members - np.count_nonzero(inside)} of them outside the bounds or failed, worth "
        f"{effective:.0f} independent draws, the heaviest has {weights.max():.1%} of the weight"
    )
    good = effective >= TRUSTED * members
    words = f"usable: {told}" if good else f"not to be trusted: {told}; the posterior is not normal, sample it"
    return Ensemble.from_points(
        problem, points[inside], weights=weights, method="laplace", seed=seed, diagnostics=words, converged=bool(good),
        effective=effective,
    )  # fmt: skip


def _optimum(problem: Problem, start: Float) -> Float:
    return PartialLoss(problem, True, 1e-5).minimum(start, np.arange(problem.n_free)).theta


def normal_root(problem: Problem, theta: Float) -> Float:
    """Return R (n_free, n_free) with R R^T the covariance of the normal approximation at `theta`."""
    hessian = problem.information(theta) + np.diag(12.0 / (problem.upper - problem.lower) ** 2)
    values, vectors = np.linalg.eigh(hessian)
    return vectors / np.sqrt(np.maximum(values, 1e-12 * values.max()))
