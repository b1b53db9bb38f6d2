"""Parameter rows and mechanism modules go in; one PySB model comes out.

A module is two functions on a builder: `species` adds its monomers, where they start and what is seen of them; `rules`
adds what happens, and may then ask for the signals of other modules. Signals of modules that are not built are stood
in for by a constant amount, so that any module runs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pysb
import sympy
from pysb.builder import Builder

from . import parameters
from .names import checked

STAND_IN = "input_{signal}"
"""Name of the parameter (nM) that stands in for a signal in a model of some modules only."""


class ModelBuilder:
    """Adds components to one PySB model; parameters come from the table, by name and only from there.

    Nothing is exported into a caller's namespace.
    """

    def __init__(self, model_name: str) -> None:
        self._builder = Builder()
        self._builder.model.name = model_name
        self._allowed: tuple[str, ...] | None = None

    @property
    def model(self) -> pysb.Model:
        """The model built so far."""
        return self._builder.model

    def parameter(self, name: str) -> pysb.Parameter:
        """Return the parameter `name`, adding it on first use.

        Raises
        ------
        UnknownNameError
            If the table has no such row.
        """
        existing = self.model.parameters.get(name)
        if existing is not None:
            return existing
        return self._builder.parameter(name, parameters.row(name).value)

    def monomer(self, name: str, **states: list[str] | None) -> pysb.Monomer:
        """Add a monomer; each keyword is a site, its value the site's states, None for a site that only binds."""
        site_states = {site: values for site, values in states.items() if values is not None}
        return self._builder.monomer(name, list(states), site_states)

    def __getitem__(self, monomer: str) -> pysb.Monomer:
        """Return the monomer of that name."""
        return self.model.monomers[monomer]

    def initial(self, pattern: pysb.ComplexPattern, amount: str) -> None:
        """Start `pattern` at the value of parameter `amount` (nM)."""
        self._builder.initial(pattern, self.parameter(amount))

    def rule(self, name: str, rule: pysb.RuleExpression, *rates: pysb.Parameter | pysb.Expression) -> pysb.Rule:
        """Add a rule with its one rate, or two if it is reversible."""
        return self._builder.rule(name, rule, *rates)

    def observable(self, name: str, pattern: pysb.ReactionPattern) -> pysb.Observable:
        """Add an observable, the sum (nM) over all species that match."""
        return self._builder.observable(name, pattern)

    def observed(self, name: str) -> pysb.Observable:
        """Return an observable of the module itself, or of the medium."""
        return self.model.observables[name]

    def signal(self, name: str) -> pysb.Observable:
        """Return an observable that modules talk by: a declared input or output of the one being built.

        Raises
        ------
        UnknownNameError
            If the module has not declared it.
        """
        return self.model.observables[checked("signal of this module", name, self._allowed or ())]

    def expression(self, name: str, formula: sympy.Expr) -> pysb.Expression:
        """Return the named formula of parameters and observables, adding it on first use; only + - * / **."""
        existing = self.model.expressions.get(name)
        return self._builder.expression(name, formula) if existing is None else existing

    def assemble(self, modules: Iterable[Module]) -> pysb.Model:
        """Add all species, then a constant amount for every signal that none of them gives, then all rules."""
        modules = tuple(modules)
        for module in modules:
            module.species(self)
        for module in modules:
            for signal in module.inputs:
                if self.model.observables.get(signal) is None:
                    self._stand_in(signal)
        for module in modules:
            self._allowed = (*module.inputs, *module.outputs)
            module.rules(self)
        self._allowed = None
        return self.model

    def _stand_in(self, signal: str) -> None:
        monomer = self.monomer(f"in_{signal}")
        amount = self._builder.parameter(STAND_IN.format(signal=signal), 0.0)
        self._builder.initial(monomer(), amount)
        self.observable(signal, monomer())


@dataclass(frozen=True)
class Module:
    """One mechanism of the cell, with what it hears from others and what it tells them."""

    name: str
    """Of the file that holds it."""
    title: str
    """A few words for a diagram."""
    inputs: tuple[str, ...]
    """Observables of other modules; drugs and ligands of the medium are not listed."""
    outputs: tuple[str, ...]
    """Observables of this module that others hear, or that are read out."""
    species: Callable[[ModelBuilder], None]
    rules: Callable[[ModelBuilder], None]
