"""When a drug is there, relative to its dose, in; time segments of a protocol out.

A drug is there on intervals `[start, end)` after the start of treatment at time 0. In each it stands at `level` times
its dose at the start and falls with its half-life:

    c(t) = dose * level * 2^(-(t - start) / half_life)

At `end` the medium is exchanged: what is left is gone, unless the next piece is given on top of it. Outside all pieces
there is none. As everywhere (`simulator.protocol`), numbers at a boundary belong to the segment that ends there: a
read-out at the very time of a wash-out still sees the drug, one at the time of a dose does not see it yet.

Protocols are piecewise constant, so that a falling concentration becomes steps, each of which holds its mean: the area
under the curve is exact. With n steps per half-life and x = ln 2 / n, a step departs from the curve by at most
(e^x - 1) / x - 1 of it: 4 % with the nine steps taken here. 30 half-lives after a dose nothing of it is left.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.protocol import Segment
from ..simulator.words import SECONDS, read_quantity

STEPS_PER_HALF_LIFE = 9
GONE = 30
"""Half-lives after which nothing is left: 1e-9 of the dose."""
MOST_STEPS = 10_000
PATIENT = "patient"
"""In place of a half-life: that in patients' plasma, which only the shipped tables know."""
SAME_TIME = 1e-9
"""Boundaries closer than this, relative to their time, are one: 3 * 24 h need not be 72 h to the last bit."""
EXAMPLES = "'0h:48h', '48h:', '0h:24h, 72h:96h', '0h:, half-life 20h' or 'every 24h x 7, half-life 20h'"


@dataclass(frozen=True)
class Piece:
    """A drug there on `[start, end)`: `level` times its dose at first, then falling with `half_life`."""

    start: float
    end: float = math.inf
    level: float = 1.0
    half_life: float | str = math.inf
    """In the unit of time of the model, or `"patient"`."""
    on_top: bool = False
    """Added to what is left of the piece before, which ends where this one starts."""

    def __post_init__(self) -> None:
        span = f"[{self.start}, {self.end})"
        _check_number(self.start, "a dosing interval starts at", "a number, 0 (the start of treatment) or later", 0.0)
        if not (_is_number(self.end) and self.end > self.start):
            raise InputError(f"the dosing interval {span} does not end after it starts; give its start first")
        _check_number(self.level, f"the level on {span} is", "a multiple of the dose that is not negative", 0.0)
        if self.half_life != PATIENT and not (_is_number(self.half_life) and float(self.half_life) > 0):
            raise InputError(
                f"the half-life is {self.half_life!r}, expected a time above 0, or {PATIENT!r} for that in plasma; "
                "leave it out where the concentration stays"
            )

    def __str__(self) -> str:
        words = f"[{self.start:.12g}, {self.end:.12g})" + ("" if self.level == 1 else f" x {self.level:g}")
        words += " on top" if self.on_top else ""
        return words + ("" if self.half_life == math.inf else f" half-life {self.half_life}")


@dataclass(frozen=True)
class Dosing:
    """When a drug is there, as pieces that follow each other: `Dosing.pulse(0, 48 * 3600)`.

    Times are those of the model (seconds for the shipped one) after the start of treatment.

    Raises
    ------
    InputError
        For pieces that overlap, start before 0 or do not end after they start, and for levels and half-lives that
        cannot be.

    Examples
    --------
    >>> from residuum import Dosing
    >>> Dosing.pulse(0, 48).steps()
    [(0.0, 48.0, 1.0), (48.0, inf, 0.0)]
    >>> two = Dosing.repeated(every=24, doses=2, half_life=24)
    >>> [piece.level for piece in two.pieces], round(two.level(24), 6)
    ([1.0, 1.0], 1.5)
    """

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        try:
            pieces = tuple(p if isinstance(p, Piece) else Piece(*p) for p in self.pieces)
        except TypeError:
            raise InputError(
                f"a dosing is made of pieces (start, end, level), e.g. Dosing([(0, 24, 1.0)]); given {self.pieces!r}"
            ) from None
        object.__setattr__(self, "pieces", tuple(sorted(pieces, key=lambda piece: piece.start)))
        for before, after in itertools.pairwise(self.pieces):
            if after.start < before.end:
                raise InputError(
                    f"dosing intervals overlap: [{before.start:g}, {before.end:g}) and [{after.start:g}, "
                    f"{after.end:g}); let one end where the next starts"
                )
            if after.on_top and after.start != before.end:
                raise InputError(
                    f"the dose at {after.start:g} is on top of a piece that ended at {before.end:g}; "
                    "let that end where this one starts"
                )

    @classmethod
    def constant(cls) -> Dosing:
        """Return a drug that is there from time 0 on, at its dose."""
        return cls((Piece(0.0),))

    @classmethod
    def after(cls, start: float, *, half_life: float | str = math.inf) -> Dosing:
        """Return a drug that comes at `start` and is not taken away."""
        return cls((Piece(start, half_life=half_life),))

    @classmethod
    def pulse(cls, start: float, end: float, *, half_life: float | str = math.inf) -> Dosing:
        """Return a drug that is there on `[start, end)` and washed out at `end`."""
        return cls((Piece(start, end, half_life=half_life),))

    @classmethod
    def repeated(cls, *, every: float, doses: int, half_life: float | str, start: float = 0.0) -> Dosing:
        """Return doses given at `start` and each `every` thereafter, each on top of what is left of those before.

        The dose of the drug is the peak after the first of them. In the long run peaks are higher by
        1 / (1 - 2^(-every / half_life)).
        """
        if not (_is_number(every) and 0 < every < math.inf):
            raise InputError(f"doses are repeated every {every!r}, expected a time above 0")
        if isinstance(doses, bool) or not isinstance(doses, (int, np.integer)) or not 1 <= doses <= MOST_STEPS:
            raise InputError(f"doses is {doses!r}, expected how many are given: a whole number from 1 to {MOST_STEPS}")
        _check_number(start, "the first dose is given at", "a number, 0 (the start of treatment) or later", 0.0)
        times = [start + i * every for i in range(doses)]
        return cls(tuple(
            Piece(time, end, half_life=half_life, on_top=i > 0)
            for i, (time, end) in enumerate(itertools.pairwise((*times, math.inf)))
        ))  # fmt: skip

    def __str__(self) -> str:
        """Return the pieces in words, at most four of them, times in the unit of the model."""
        words = [str(piece) for piece in self.pieces]
        if len(words) > 4:
            words = [*words[:2], "...", f"{words[-1]} ({len(words)} in all)"]
        return "; ".join(words) or "never"

    @property
    def needs_half_life(self) -> bool:
        """Whether the half-life in patients is meant, which is still to be looked up."""
        return any(piece.half_life == PATIENT for piece in self.pieces)

    def with_half_life(self, half_life: float) -> Dosing:
        """Return the same with this half-life where that in patients is meant."""
        return Dosing(tuple(
            dataclasses.replace(piece, half_life=half_life) if piece.half_life == PATIENT else piece
            for piece in self.pieces
        ))  # fmt: skip

    def level(self, time: float) -> float:
        """Return the concentration at `time`, as a multiple of the dose, without steps; at a start that after it."""
        for piece, level in zip(self.pieces, self._levels(), strict=True):
            if piece.start <= time < piece.end:
                return level * 2.0 ** -((time - piece.start) / float(piece.half_life))
        return 0.0

    def steps(
        self, until: float = math.inf, *, per_half_life: int = STEPS_PER_HALF_LIFE
    ) -> list[tuple[float, float, float]]:
        """Return `(start, end, factor)` from time 0 on, without gaps: the dose times `factor` holds on `[start, end)`.

        Steps that start at `until` or later are left out; the others do not depend on it. The last has
        no end.

        Raises
        ------
        InputError
            For a half-life that is still to be looked up, and for more than 10,000 steps.
        """
        steps: list[tuple[float, float, float]] = []
        now, until = 0.0, max(until, math.ulp(0.0))  # what is there at time 0 counts there
        for piece, level in zip(self.pieces, self._levels(), strict=True):
            if piece.start >= until:
                break
            if piece.start > now:
                steps.append((now, piece.start, 0.0))
            for step in _falling(piece, level, per_half_life):
                if step[0] >= until:
                    break
                steps.append(step)
                if len(steps) > MOST_STEPS:
                    raise InputError(
                        f"this dosing takes more than {MOST_STEPS:,} steps; give fewer doses, or a mean level where "
                        f"the half-life ({float(piece.half_life):g}) is that short"
                    )
            now = float(piece.end)
        if now < until and now < math.inf:
            steps.append((now, math.inf, 0.0))
        start, _, factor = steps.pop()
        return [*steps, (start, math.inf, factor)]

    def _levels(self) -> list[float]:
        """Return the level at the start of each piece, with what it comes on top of."""
        if self.needs_half_life:
            raise InputError(
                f"the half-life {PATIENT!r} is known for drugs of the shipped model only (residuum.aml_protocol); "
                "give a time"
            )
        levels: list[float] = []
        for i, piece in enumerate(self.pieces):
            left = 0.0
            if piece.on_top and i:
                before = self.pieces[i - 1]
                left = levels[-1] * 2.0 ** -((before.end - before.start) / float(before.half_life))
            levels.append(piece.level + left)
        return levels


def _falling(piece: Piece, level: float, per_half_life: int) -> Iterable[tuple[float, float, float]]:
    """Yield the steps of one piece, each with the mean of its stretch of the curve.

    Mean over a step from a to b, with x = ln 2 (b - a) / half_life:  c(a) (1 - e^-x) / x.
    """
    half_life = float(piece.half_life)
    if half_life == math.inf or level == 0.0:
        yield float(piece.start), float(piece.end), level
        return
    width, gone = half_life / per_half_life, piece.start + GONE * half_life
    a = float(piece.start)
    for i in range(1, GONE * per_half_life + 1):
        b = min(piece.start + i * width, piece.end)
        x = math.log(2.0) * (b - a) / half_life
        yield a, float(b), level * 2.0 ** -((a - piece.start) / half_life) * -math.expm1(-x) / x
        if b == piece.end:
            return
        a = float(b)
    if gone < piece.end:
        yield a, float(piece.end), 0.0


def dosing_segments(
    drugs: Mapping[str, tuple[str, Dosing]],
    doses: npt.ArrayLike,
    until: float = math.inf,
    *,
    equilibrate: bool = True,
    per_half_life: int = STEPS_PER_HALF_LIFE,
) -> tuple[Segment, ...]:
    """Return the protocol under which every drug is there as its dosing says.

    Parameters
    ----------
    drugs
        Label -> (parameter that holds the dose, when the drug is there).
    doses : (n_conditions, n_drugs)
        In the unit of that parameter, drugs in the order of `drugs`.
    until
        Last time that is asked for; nothing changes after it.
    equilibrate
        Start with a segment that brings each condition to rest without drugs, on `[-inf, 0)`.
    per_half_life
        Steps in which a concentration falls by half.

    Raises
    ------
    InputError
        For doses of another shape, that are negative or no numbers; for two drugs with one parameter.
    """
    try:
        amounts = np.array(doses, float)
    except (TypeError, ValueError):
        raise InputError(f"doses must be numbers, given {doses!r}") from None
    if amounts.ndim != 2 or amounts.shape[1] != len(drugs):
        raise InputError(f"doses have shape {amounts.shape}, expected (conditions, {len(drugs)}): one column per drug")
    rest = Segment(-math.inf, 0.0, {parameter: 0.0 for parameter, _ in drugs.values()})
    protocols = [[rest]] if equilibrate else []
    for (label, (parameter, dosing)), column in zip(drugs.items(), amounts.T, strict=True):
        if bad := [dose for dose in column if not (math.isfinite(dose) and dose >= 0)]:
            raise InputError(f"the dose of {label} is {bad[0]:g}, expected a number that is not negative")
        protocols.append([
            Segment(start, end, {parameter: column * factor})
            for start, end, factor in dosing.steps(until, per_half_life=per_half_life)
        ])  # fmt: skip
    return overlaid(*protocols)


def overlaid(*protocols: Sequence[Segment]) -> tuple[Segment, ...]:
    """Return one protocol that sets what several set, on the union of their boundaries.

    An amount of a species is still set once, where the segment that names it starts.

    Raises
    ------
    InputError
        If two set the same at the same time, or pre-equilibrate until different times.
    """
    rests = {float(s.end) for protocol in protocols for s in protocol if s.start == -math.inf}
    if len(rests) > 1:
        raise InputError(f"protocols pre-equilibrate until {sorted(rests)}, expected one time; make their ends equal")
    times = sorted({float(t) for protocol in protocols for s in protocol for t in (s.start, s.end)})
    kept = _distinct_times(times)

    def near(time: float) -> float:
        return kept[bisect_right(kept, time) - 1]

    values: dict[float, dict[str, Any]] = {}
    for protocol in protocols:
        for segment in protocol:
            start = near(segment.start)
            for a in kept[bisect_left(kept, start) : bisect_left(kept, near(segment.end))]:
                here = values.setdefault(a, {})
                for name, value in segment.set.items():
                    if "(" in name and a != start:  # an amount, which is set once
                        continue
                    if name in here:
                        raise InputError(f"{name} is set twice from {a:g} on; let one of the protocols set it")
                    here[name] = value
    return tuple(Segment(a, b, values[a]) for a, b in itertools.pairwise(kept) if a in values)


def _distinct_times(times: Sequence[float]) -> list[float]:
    """Return sorted times without those that repeat the one before but for rounding."""
    kept: list[float] = []
    for time in times:
        if not kept or not math.isfinite(time) or time - kept[-1] > SAME_TIME * abs(time):
            kept.append(time)
    return kept


def read_dosing(text: str) -> Dosing:
    """Return the dosing that a text means, times with units: `"0h:48h"`, `"48h:"`, `"every 24h x 7, half-life 20h"`.

    Raises
    ------
    InputError
        For anything else, with examples.
    """
    parts = [part.strip() for part in text.split(",")]
    half_life: float | str = math.inf
    if parts[-1].startswith("half-life"):
        word = parts.pop().removeprefix("half-life").strip()
        half_life = word if word == PATIENT else read_quantity(word, SECONDS, "half-life")
    if len(parts) == 1 and parts[0].startswith("every"):
        every, x, count = parts[0].removeprefix("every").partition("x")
        if x and count.strip().isdecimal():
            if half_life == math.inf:
                raise InputError(
                    f"the dosing {text!r} has no half-life, so that its doses would pile up for ever; write for "
                    f"example '{parts[0]}, half-life 20h'"
                )
            period = read_quantity(every, SECONDS, "time between doses")
            return Dosing.repeated(every=period, doses=int(count), half_life=half_life)
    elif parts and all(part.count(":") == 1 for part in parts):
        spans = [part.split(":") for part in parts]
        return Dosing(tuple(
            Piece(
                read_quantity(start, SECONDS, "start of a dosing interval"),
                read_quantity(end, SECONDS, "end of a dosing interval") if end.strip() else math.inf,
                half_life=half_life,
            )
            for start, end in spans
        ))  # fmt: skip
    raise InputError(f"cannot read the dosing {text!r}; expected intervals START:END or doses, for example {EXAMPLES}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool) and value == value


def _check_number(value: Any, what: str, expected: str, low: float) -> None:
    if not (_is_number(value) and low <= value < math.inf):
        raise InputError(f"{what} {value!r}, expected {expected}")
