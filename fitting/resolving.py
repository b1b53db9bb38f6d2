"""A function that resolves names of conditions in; the same with its answers remembered, so that they can travel, out.

The function itself may know what another process does not (drugs added by the user) or be defined on the spot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Answer = dict[str, float]


class Remembered:
    """Asks a function once per question; a pickled copy knows the answers given so far and asks nobody."""

    def __init__(self, resolve: Callable[[Mapping[str, str]], Mapping[str, float]]) -> None:
        self._resolve: Callable[[Mapping[str, str]], Mapping[str, float]] | None = resolve
        self._answers: dict[tuple[tuple[str, str], ...], Answer] = {}

    def __call__(self, named: Mapping[str, str]) -> Answer:
        """Return the parameter values that `named` stands for."""
        question = tuple(named.items())
        if question not in self._answers:
            if self._resolve is None:
                raise LookupError(f"{dict(named)} was not resolved before the problem was copied to this process")
            self._answers[question] = {name: float(value) for name, value in self._resolve(named).items()}
        return self._answers[question]

    def text(self) -> str:
        """Return all questions and answers so far as text, in an order that does not depend on when they were asked."""
        return repr(sorted((question, sorted(answer.items())) for question, answer in self._answers.items()))

    def __getstate__(self) -> dict[str, object]:
        return {"_resolve": None, "_answers": self._answers}
