"""Parameter rows go in; PySB components, added to one model by name, come out."""

from __future__ import annotations

import pysb
import sympy
from pysb.builder import Builder

from . import parameters


class ModelBuilder:
    """Adds components to one PySB model; parameters come from the table, by name and only from there.

    A mechanism module is a function on this builder. Nothing is exported into a caller's namespace.
    """

    def __init__(self, model_name: str) -> None:
        self._builder = Builder()
        self._builder.model.name = model_name

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

    def initial(self, pattern: pysb.ComplexPattern, amount: str) -> None:
        """Start `pattern` at the value of parameter `amount` (nM)."""
        self._builder.initial(pattern, self.parameter(amount))

    def rule(self, name: str, rule: pysb.RuleExpression, *rates: pysb.Parameter | pysb.Expression) -> pysb.Rule:
        """Add a rule with its one rate, or two if it is reversible."""
        return self._builder.rule(name, rule, *rates)

    def observable(self, name: str, pattern: pysb.ReactionPattern) -> pysb.Observable:
        """Add an observable, the sum (nM) over all species that match."""
        return self._builder.observable(name, pattern)

    def constant(self, name: str, formula: sympy.Expr) -> pysb.Expression:
        """Return the named formula of parameters, adding it on first use."""
        existing = self.model.expressions.get(name)
        return self.expression(name, formula) if existing is None else existing

    def expression(self, name: str, formula: sympy.Expr) -> pysb.Expression:
        """Add a named formula of parameters and observables; only + - * / ** and parentheses."""
        return self._builder.expression(name, formula)
