"""The shipped network, and a plain reading of its reaction list that shares nothing with the simulator's kernels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest

from residuum.models import network_path
from residuum.simulator import ReactionNetwork, read_net

Float = npt.NDArray[np.float64]


class Reactions:
    """A network evaluated as it is written: slowly, and therefore plainly."""

    def __init__(self, network: ReactionNetwork) -> None:
        self.network = network
        self.species = network.species
        self._parameters = {name: _code(text) for name, text in network.parameters.items()}
        self._functions = {name: _code(text) for name, text in network.functions.items()}
        self._initials = [_code(text) for text in network.initials]

    def values(self, overrides: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return every parameter, those that depend on others following the overrides."""
        overrides = overrides or {}
        assert overrides.keys() <= self._parameters.keys(), overrides.keys() - self._parameters.keys()
        values: dict[str, float] = {}
        for name, code in self._parameters.items():
            values[name] = overrides[name] if name in overrides else eval(code, {}, values)
        return values

    def initial_amounts(self, overrides: Mapping[str, float] | None = None) -> Float:
        """Return the amounts (nM) at the start, shape (n_species,)."""
        values = self.values(overrides)
        return np.array([float(eval(code, {}, values)) for code in self._initials])

    def observable(self, name: str, amounts: Float) -> float:
        """Return the weighted sum of amounts that the network calls `name`."""
        return math.fsum(weight * amounts[i] for i, weight in self.network.observables[name])

    def functions(self, amounts: Float, overrides: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return the value of every parameter, observable and function in the state `amounts`."""
        known = self.values(overrides)
        known |= {name: self.observable(name, amounts) for name in self.network.observables}
        for name, code in self._functions.items():
            known[name] = eval(code, {}, known)
        return known

    def rate_constants(self, amounts: Float, overrides: Mapping[str, float] | None = None) -> Float:
        """Return factor * rate constant of every reaction, shape (n_reactions,)."""
        known = self.functions(amounts, overrides)
        return np.array([reaction.factor * known[reaction.rate] for reaction in self.network.reactions])

    def derivative(self, amounts: Float, overrides: Mapping[str, float] | None = None) -> Float:
        """Return d(amounts)/dt in nM/s, shape (n_species,)."""
        change = np.zeros(len(amounts))
        for k, reaction in zip(self.rate_constants(amounts, overrides), self.network.reactions, strict=True):
            rate = k * math.prod(amounts[i] for i in reaction.reactants)
            for i in reaction.reactants:
                change[i] -= rate
            for i in reaction.products:
                change[i] += rate
        return change


def _code(text: str) -> object:
    return compile(re.sub(r"\^", "**", text), text, "eval")


@pytest.fixture(scope="session")
def reactions() -> Reactions:
    """Return the shipped network, readable."""
    return Reactions(read_net(network_path()))
