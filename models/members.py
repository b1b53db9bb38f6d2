"""A member of an ensemble, a context and a drug go in; the parameter values that hold for it there come out.

A member is a fitted parameter set, numbers drawn from priors, or both; what was fitted stays as fitted. A number drawn
depends on the seed, the member and what it is a number of, and on nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from . import contexts, drugs, fitted, priors

FIT = "fit"
NORMAL = NormalDist()


@dataclass(frozen=True)
class Members:
    """Members 0 to n - 1."""

    n: int
    sets: Sequence[Mapping[str, float]] = ()
    """Estimated values of `aml_problem`, at least n, or none."""
    kinds: Sequence[str] = ()
    """What is drawn from its prior: of `priors.KINDS`."""
    seed: int = 0
    redrawn: str = ""
    """The kind, or `fit`, that is drawn anew, or taken from other sets, while all else stays."""
    _known: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    def cell(self, member: int, context: str) -> dict[str, float]:
        """Return parameter -> value of the cell in `context`, without drugs.

        Raises
        ------
        UnknownNameError
            If there is no such context.
        """
        certain = self._once(contexts.overrides, context)
        return certain | self._drawn(member, self._once(priors.of_cell, context)) | self._fitted(member, context)

    def drug(self, member: int, slot: int, drug: str, context: str) -> dict[str, float]:
        """Return parameter -> value of a drug in a slot; the dose is not among them.

        Raises
        ------
        UnknownNameError
            If there is no such slot, drug or context.
        """
        key = ("drug", member, slot, drug, context)
        if key not in self._known:
            of_drug = self._once(drugs.slot_overrides, slot, drug, context)
            of_drug |= self._drawn(member, self._once(priors.of_drug, slot, drug, context))
            self._known[key] = of_drug | fitted.shifted(self._set(member), context, slot, drug)
        return dict(self._known[key])

    def _fitted(self, member: int, context: str) -> dict[str, float]:
        return fitted.overrides(self._set(member), context) if self.sets else {}

    def _set(self, member: int) -> Mapping[str, float]:
        if not self.sets:
            return {}
        beside = (self.n if self.n < len(self.sets) else 1) if self.redrawn == FIT else 0
        return self.sets[(member + beside) % len(self.sets)]

    def _drawn(self, member: int, of: Mapping[str, priors.Prior]) -> dict[str, float]:
        return {
            name: prior.at(self._once(self._score, member, prior.kind, prior.key))
            for name, prior in of.items()
            if prior.kind in self.kinds
        }

    def _score(self, member: int, kind: str, key: str) -> float:
        again = " again" if kind == self.redrawn else ""
        return NORMAL.inv_cdf(random.Random(f"{self.seed}{again} {key} {member}").random())

    def _once(self, function: Any, *arguments: Any) -> Any:
        """Return what the function gives, computed once; mappings as a copy."""
        key = (function.__module__, function.__qualname__, *arguments)
        if key not in self._known:
            self._known[key] = function(*arguments)
        found = self._known[key]
        return dict(found) if isinstance(found, dict) else found
