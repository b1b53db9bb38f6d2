"""What to keep of each run, in words such as `pERK@1h` and `auc(pERK)`, in; numbers per run out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from ..simulator.protocol import checked_times
from ..simulator.words import SECONDS, read_quantity

Float = npt.NDArray[np.float64]
_WHOLE = re.compile(r"(\w+)\((.+)\)$", re.DOTALL)


def _area(courses: Float, times: Float) -> Float:
    """Return the integrals over time (n,) of courses (n, n_times), by the trapezoidal rule."""
    area = np.zeros(len(courses))
    for i in range(len(times) - 1):  # in order: the sum of a run does not depend on those beside it
        area += 0.5 * (courses[:, i] + courses[:, i + 1]) * (times[i + 1] - times[i])
    return area


COURSES: dict[str, Callable[[Float, Float], Float]] = {
    "auc": _area,
    "max": lambda courses, _: courses.max(axis=1),
    "min": lambda courses, _: courses.min(axis=1),
}
"""What may be kept of a whole course: `auc`, the area under it, and its extremes. NaN where the course has a NaN."""


class Keep:
    """What is computed and what is kept of it.

    Attributes
    ----------
    readouts, times
        What the runs have to give.
    words
        The names of the numbers kept per run; empty if all read-outs are kept at all times.
    shape
        Of what is kept of one run.
    """

    def __init__(
        self, readouts: Sequence[str] | None, times: npt.ArrayLike | None, keep: Sequence[str] | None,
        known: Sequence[str],
    ) -> None:  # fmt: skip
        course = np.zeros(0) if times is None else checked_times(times)
        if keep is None:
            if not len(course):
                raise InputError("a sweep needs times at which to read out, or keep=['pERK@1h', ...]")
            self.words: tuple[str, ...] = ()
            self.readouts, self.times = tuple(readouts or ()), course
            self._check(known)
            self.shape: tuple[int, ...] = (len(course), len(self.readouts))
            return
        if readouts is not None:
            raise InputError("give readouts (kept at all times) or keep (numbers per run), not both")
        parsed = [_parse(word) for word in keep]
        if not parsed or len({*keep}) < len(parsed):
            raise InputError(f"keep is {list(keep)}, expected at least one entry, each once")
        at = {time for _, _, time in parsed if time is not None}
        self.words, self.readouts = tuple(keep), tuple(dict.fromkeys(name for _, name, _ in parsed))
        if len(course) < 2 and (whole := [word for word, (kind, *_) in zip(keep, parsed, strict=True) if kind]):
            raise InputError(f"{whole[0]} is of a whole course: give the times along which to follow it, two at least")
        self.times = checked_times(sorted({*course.tolist(), *at}))
        self._check(known)
        self.shape = (len(parsed),)
        place = {time: i for i, time in enumerate(self.times.tolist())}
        self._course = [place[time] for time in course.tolist()]
        self._parsed = [(kind, self.readouts.index(name), place.get(t, -1)) for kind, name, t in parsed]

    def _check(self, known: Sequence[str]) -> None:
        if unknown := [name for name in self.readouts if name not in known]:
            raise unknown_name("readout", unknown[0], known)
        if not self.readouts or len({*self.readouts}) < len(self.readouts):
            raise InputError(f"the read-outs are {list(self.readouts)}, expected at least one, each once")

    def of(self, values: Float) -> Float:
        """Return what is kept (n, *shape) of values (n, n_times, n_readouts)."""
        if not self.words:
            return values
        columns = [
            COURSES[kind](values[:, self._course, j], self.times[self._course]) if kind else values[:, i, j]
            for kind, j, i in self._parsed
        ]
        return np.stack(columns, axis=1)

    def scales(self, values: Float, noise: Float) -> tuple[Float, Float]:
        """Return how large what is kept is, and how large noise makes it, (*shape) both.

        `values` (n_times, n_readouts) are one run's, `noise` (n_readouts,) is that of a read-out at one time.
        """
        peaks = np.abs(values).max(axis=0)
        if not self.words:
            return np.broadcast_to(peaks, self.shape), np.broadcast_to(noise, self.shape)
        course = self.times[self._course]
        spans = [course[-1] - course[0] if kind == "auc" else 1.0 for kind, _, _ in self._parsed]
        places = [j for _, j, _ in self._parsed]
        return peaks[places] * spans, noise[places] * spans


def _parse(word: str) -> tuple[str, str, float | None]:
    """Return (kind, read-out, None) of `auc(pERK)`, and ("", read-out, time) of `pERK@1h`."""
    found = _WHOLE.match(word)
    if found and found[1] in COURSES:
        return found[1], found[2].strip(), None
    name, at, time = word.rpartition("@")
    if not at or not name.strip():
        raise InputError(
            f"cannot read {word!r}: expected what to keep of each run, READOUT@TIME or one of "
            f"{', '.join(f'{kind}(READOUT)' for kind in COURSES)}"
        )
    return "", name.strip(), read_quantity(time, SECONDS, "time")


def split_words(text: str) -> list[str]:
    """Return the words of `"pERK@1h, auc(pERK)"`: commas inside brackets do not separate."""
    words, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            words.append("")
        else:
            words[-1] += character
    return [word.strip() for word in words if word.strip()]
