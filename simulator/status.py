"""How a run ended: a code in, a sentence a user reads out."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """How a run ended. Only `OK` runs have numbers at every time; the others are NaN after the time they reached."""

    OK = 0
    STEP_LIMIT = 1
    TOO_STIFF = 2
    NOT_FINITE = 3
    NEGATIVE = 4
    SINGULAR = 5
    STOPPED = 6
    TIME_LIMIT = 7
    NO_STEADY_STATE = 8
    BAD_START = 9
    PENDING = 10
    RUNNING = 11
    UNSTABLE = 12
    NOT_ISOLATED = 13


_SENTENCES = {
    Status.OK: "finished",
    Status.STEP_LIMIT: "step limit: {attempts} attempted steps did not reach the end (stopped at t = {time:.6g}); "
    "raise max_steps or loosen rtol",
    Status.TOO_STIFF: "too stiff at t = {time:.6g}: the step size fell below what the time can resolve; "
    "species {species} changes fastest",
    Status.NOT_FINITE: "not finite at t = {time:.6g} because of species {species}; check the rate constants it sees",
    Status.NEGATIVE: "negative beyond tolerance at t = {time:.6g}: species {species}; tighten atol, or pass "
    "nonnegative=False if the model allows negative amounts",
    Status.SINGULAR: "singular: the linear system of a step could not be solved at t = {time:.6g}",
    Status.STOPPED: "stopped by the user at t = {time:.6g}",
    Status.TIME_LIMIT: "time limit: max_seconds was used up at t = {time:.6g}",
    Status.NO_STEADY_STATE: "no steady state was reached by t = {time:.6g}; species {species} still changes",
    Status.BAD_START: "could not start at t = {time:.6g}: {species}; parameters, rates and amounts must be finite, and "
    "rate constants and amounts not negative unless nonnegative=False",
    Status.UNSTABLE: "unstable: the steady state found would be left after the smallest disturbance; species {species} "
    "moves away first. Start beside it, from small amounts of what could grow",
    Status.NOT_ISOLATED: "no isolated steady state: a deviation in species {species} does not return, so that where "
    "the model comes to rest depends on more of its start than what is conserved, or is approached ever more slowly; "
    "simulate to a late time if the end of this one trajectory is meant",
    Status.RUNNING: "still running at t = {time:.6g}",
    Status.PENDING: "not run: the computation was stopped before this run began",
}


def sentence(status: int, *, time: float, species: str, attempts: int) -> str:
    """Return what the run's status means, with the time, species and number of attempted steps concerned."""
    return _SENTENCES[Status(status)].format(time=time, species=species, attempts=attempts)
