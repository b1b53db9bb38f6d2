"""A compiled model in; the same network as SBML text or as a PySB model out, so that every tool solves one model."""

from __future__ import annotations

import re
from typing import Any

import residuum
from residuum.simulator.expressions import names_in, parse

TIME = re.compile(r"\btime\(\)")
CALL = re.compile(r"\b(\w+)\(\)")


def _used(compiled: residuum.CompiledModel) -> tuple[dict[str, str], list[str]]:
    """Return the state-dependent functions that rates need, in order of dependency, and the observables they read."""
    network = compiled.network
    constant = {*compiled.parameters, *compiled.derived}
    texts = {name: text for name, text in network.functions.items() if name not in constant}
    needed: dict[str, str] = {}

    def visit(name: str) -> None:
        if name in texts and name not in needed:
            for inner in sorted(names_in(parse(texts[name]))):
                visit(inner)
            needed[name] = texts[name]

    for reaction in network.reactions:
        visit(reaction.rate)
    read = {name for text in needed.values() for name in names_in(parse(text))}
    return needed, [name for name in network.observables if name in read]


def sbml(compiled: residuum.CompiledModel) -> str:
    """Return SBML level 3: species `s0, s1, ...` in amounts, derived parameters as numbers of their own."""
    import libsbml

    document = libsbml.SBMLDocument(3, 1)
    model = document.createModel()
    box = model.createCompartment()
    box.setId("box"), box.setSize(1.0), box.setConstant(True), box.setSpatialDimensions(3)
    network = compiled.network
    functions, observables = _used(compiled)

    def parameter(name: str, value: float | None) -> None:
        p = model.createParameter()
        p.setId(name), p.setConstant(value is not None)
        if value is not None:
            p.setValue(value)

    def formula(text: str) -> Any:
        tree = libsbml.parseL3Formula(CALL.sub(r"\1", TIME.sub("time", text)))
        assert tree is not None, libsbml.getLastParseL3Error()
        return tree

    values = compiled.values(compiled.nominal)[0]
    for name, value in zip((*compiled.parameters, *compiled.derived), values, strict=True):
        parameter(name, float(value))
    for i, (amount, fixed) in enumerate(zip(compiled.initial_amounts(), network.fixed, strict=True)):
        s = model.createSpecies()
        s.setId(f"s{i}"), s.setCompartment("box"), s.setInitialAmount(float(amount)), s.setConstant(False)
        s.setHasOnlySubstanceUnits(True), s.setBoundaryCondition(bool(fixed))
    rules = {name: "+".join(f"{w:g}*s{i}" for i, w in network.observables[name]) or "0" for name in observables}
    for name, text in {**rules, **functions}.items():
        parameter(name, None)
        rule = model.createAssignmentRule()
        rule.setVariable(name), rule.setMath(formula(text))
    for r, reaction in enumerate(network.reactions):
        made = model.createReaction()
        made.setId(f"r{r}"), made.setReversible(False), made.setFast(False)
        for species, create in ((reaction.reactants, made.createReactant), (reaction.products, made.createProduct)):
            for i in sorted(set(species)):
                reference = create()
                reference.setSpecies(f"s{i}"), reference.setStoichiometry(species.count(i)), reference.setConstant(True)
        factors = [reaction.rate or None, *(f"s{i}" for i in reaction.reactants)]
        text = "*".join([repr(float(reaction.factor)), *(f for f in factors if f)])
        made.createKineticLaw().setMath(formula(text))
    return libsbml.writeSBMLToString(document)


def pysb_model(compiled: residuum.CompiledModel) -> Any:
    """Return a PySB model with the network filled in, as PySB does after BioNetGen; needs no rules and no Perl."""
    import pysb
    import sympy

    network = compiled.network
    functions, _ = _used(compiled)
    model = pysb.Model(re.sub(r"\W", "_", compiled.name), _export=False)
    values = compiled.values(compiled.nominal)[0]
    names: dict[str, Any] = {}
    for name, value in zip((*compiled.parameters, *compiled.derived), values, strict=True):
        names[name] = pysb.Parameter(name, float(value), nonnegative=False, _export=False)
        model.add_component(names[name])
    for i in range(compiled.n_species):
        monomer = pysb.Monomer(f"M{i}", _export=False)
        model.add_component(monomer)
        model.species.append(pysb.as_complex_pattern(monomer()))
    for name, group in network.observables.items():
        names[name] = observable = pysb.Observable(name, model.species[0], _export=False)
        model.add_component(observable)
        observable.species = [i for i, _ in group]
        observable.coefficients = [int(w) for _, w in group]
    for name, text in functions.items():
        text = CALL.sub(r"\1", TIME.sub("time", text)).replace("^", "**")
        names[name] = pysb.Expression(name, sympy.sympify(text, {**names, "time": pysb.time}), _export=False)
        model.add_component(names[name])
    for reaction in network.reactions:
        rate = [float(reaction.factor)] if reaction.factor != 1 or not reaction.rate else []
        rate += [names[reaction.rate]] if reaction.rate else []
        flow = sympy.Mul(*rate, *(sympy.Symbol(f"__s{i}") for i in reaction.reactants))
        model.reactions.append({"rate": flow, "reactants": reaction.reactants, "products": reaction.products,
                                "rule": (reaction.rule,), "reverse": (False,)})  # fmt: skip
    return model
