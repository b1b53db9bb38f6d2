"""Reaction networks: a PySB model, BNGL or BioNetGen `.net` text in, plain tables of reactions out. PySB ends here.

BioNetGen writes the network once (cached by the hash of the model's BNGL text); the text is parsed here.
"""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bngl import generated_net
from .cache import content_hash
from .errors import InputError, nearest
from .expressions import RESERVED

if TYPE_CHECKING:
    import pysb


@dataclass(frozen=True)
class Reaction:
    """One reaction of mass action, or with a rate function: species indices (repeated as they react), rate.

    The rate is `factor * rate * product of the reactants' amounts`, where `rate` names a parameter or a function.
    """

    reactants: tuple[int, ...]
    products: tuple[int, ...]
    factor: float
    rate: str
    rule: str
    """What BioNetGen remarks: the rule it comes from, and any unit conversion in the factor."""

    def renumbered(self, new: Mapping[int, int] | Sequence[int]) -> Reaction:
        """Return the reaction with species `i` called `new[i]`."""
        reactants, products = (tuple(new[i] for i in side) for side in (self.reactants, self.products))
        return dataclasses.replace(self, reactants=reactants, products=products)


@dataclass(frozen=True)
class ReactionNetwork:
    """A reaction network as BioNetGen writes it: names, expression texts and integer tables, nothing evaluated."""

    name: str
    parameters: dict[str, str]
    """Name -> expression of numbers and parameters, in the order of the file."""
    functions: dict[str, str]
    """Name -> expression that may use observables and time."""
    species: tuple[str, ...]
    initials: tuple[str, ...]
    """Expression of the initial amount, per species."""
    fixed: tuple[bool, ...]
    """True for species whose amount the reactions do not change."""
    reactions: tuple[Reaction, ...]
    observables: dict[str, tuple[tuple[int, float], ...]]
    """Name -> (species index, weight) pairs."""
    text: str = field(repr=False, default="")

    @cached_property
    def hash(self) -> str:
        """Content hash of all tables and the text, but not of the name (32 hexadecimal digits)."""
        return content_hash(*(repr(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "name"))

    @property
    def depends_on_volumes(self) -> bool:
        """True if a factor of some reaction has the volume of a compartment in it, named or as a number."""
        return any(_CONVERSION.search(r.rule) for r in self.reactions)

    @property
    def volumes(self) -> set[str]:
        """Names of the compartment volumes whose values BioNetGen has worked into the factors of reactions."""
        conversions = {found[1] for r in self.reactions if (found := _CONVERSION.search(r.rule))}
        return {name for text in conversions for name in re.findall(r"[A-Za-z_]\w*", text)} & self.parameters.keys()


# ---- .net text --------------------------------------------------------------------------------------------------

_BLOCKS = ("parameters", "functions", "species", "reactions", "groups")
_IGNORED_BLOCKS = ("molecule types", "compartments", "energy patterns", "observables", "reaction rules")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RATE = re.compile(rf"(?:(?P<factor>{_NUMBER})\*)?(?P<name>[A-Za-z_]\w*)$|(?P<number>{_NUMBER})$")
_CONVERSION = re.compile(r"unit_conversion=(\S+)")
_RATE_LAWS = ("Sat", "MM", "Hill", "Arrhenius", "FunctionProduct")


def parse_net(text: str, name: str = "network") -> ReactionNetwork:
    """Return the network written in BioNetGen's `.net` text.

    Raises InputError, naming the line, for text that is no network and for rate laws that are not supported.
    """
    blocks = _split_blocks(text, name)
    if not blocks["species"]:
        raise InputError(f"{name}: no species; expected a BioNetGen .net text with a 'begin species' block")
    taken: dict[str, str] = {}

    def new(kind: str, key: str) -> str:
        if key in RESERVED:
            raise InputError(f"{name}: a {kind} is called {key!r}, which has a meaning of its own; rename it")
        if key in taken:
            raise InputError(f"{name}: the {kind} {key!r} has the name of a {taken[key]}; rename one of them")
        taken[key] = kind
        return key

    parameters = {}
    for line in blocks["parameters"]:
        _, key, expression = _fields(line, 3, name)
        parameters[new("parameter", key)] = expression
    functions = {}
    for line in blocks["functions"]:
        _, key, expression = _fields(line, 3, name)
        if not key.endswith("()"):
            raise InputError(f"{name}: function {key!r} has arguments; write it as a function of observables")
        functions[new("function", key[:-2])] = expression
    species, initials, fixed = [], [], []
    for line in blocks["species"]:
        _, pattern, expression = _fields(line, 3, name)
        is_fixed = pattern.startswith("$") or "::$" in pattern
        species.append(pattern.replace("$", "", 1) if is_fixed else pattern)
        initials.append(expression)
        fixed.append(is_fixed)
    if repeated := sorted(s for s, n in Counter(species).items() if n > 1):
        raise InputError(f"{name}: the species {repeated[0]} is there twice")
    observables = {}
    for line in blocks["groups"]:
        _, key, *members = _fields(line, 2, name, most=3)
        observables[new("group", key)] = _group("".join(members), len(species), line, name)
    reactions = tuple(_reaction(line, parameters, functions, len(species), name) for line in blocks["reactions"])
    return ReactionNetwork(
        name, parameters, functions, tuple(species), tuple(initials), tuple(fixed), reactions, observables, text
    )


def _split_blocks(text: str, name: str) -> dict[str, list[str]]:
    blocks: dict[str, list[str]] = {block: [] for block in _BLOCKS}
    current: list[str] | None = None
    rules: list[str] = []
    opened = ""
    for raw in text.splitlines():
        line, _, comment = raw.partition("#")
        line = line.strip()
        if not line:
            continue
        if line.startswith("begin "):
            block = line[6:].strip()
            if block not in blocks and block not in _IGNORED_BLOCKS:
                raise InputError(f"{name}: block {block!r} of the .net text is not supported")
            if opened:
                raise InputError(f"{name}: block {opened!r} is not ended where {block!r} begins; is the text complete?")
            current, opened = blocks.get(block, rules), block
        elif line.startswith("end "):
            if line[4:].strip() != opened:
                raise InputError(f"{name}: {line!r} ends no block that was begun")
            current, opened = None, ""
        elif current is not None:
            current.append(f"{line} #{comment.strip()}" if current is blocks["reactions"] else line)
    if opened:
        raise InputError(f"{name}: the text stops within the block {opened!r} (no 'end {opened}'); is it complete?")
    return blocks


def _fields(line: str, n: int, name: str, most: int = 0) -> list[str]:
    fields = line.split(None, (most or n) - 1)
    if len(fields) < n:
        raise InputError(f"{name}: cannot read the line {line!r}: expected {n} columns")
    return fields


def _group(members: str, n_species: int, line: str, name: str) -> tuple[tuple[int, float], ...]:
    weights: dict[int, float] = {}
    try:
        for member in filter(None, members.replace(" ", "").split(",")):
            weight, _, index = member.rpartition("*")
            i = int(index) - 1
            weights[i] = weights.get(i, 0.0) + float(weight or 1)
    except ValueError:
        raise InputError(f"{name}: cannot read the group {line!r}") from None
    if not all(map(math.isfinite, weights.values())):
        raise InputError(f"{name}: a weight in the group {line!r} is no finite number")
    if any(not 0 <= i < n_species for i in weights):
        raise InputError(f"{name}: the group {line!r} names a species that does not exist (there are {n_species})")
    return tuple(sorted(weights.items()))


def _reaction(line: str, parameters: dict[str, str], functions: dict[str, str], n: int, name: str) -> Reaction:
    body, _, rule = line.partition(" #")
    fields = _fields(body, 4, name)
    if fields[3].split()[0] in _RATE_LAWS:
        raise InputError(f"{name}: rate law {fields[3].split()[0]} is not supported; write it as a function: {line!r}")
    match = _RATE.match(fields[3].strip().replace("()", ""))
    if match is None:
        raise InputError(f"{name}: cannot read the rate {fields[3]!r} in {line!r}")
    if match["number"]:
        rate, factor = "", float(match["number"])
    else:
        rate, factor = match["name"], float(match["factor"] or 1)
        if rate not in parameters and rate not in functions:
            hint = nearest(rate, [*parameters, *functions])
            raise InputError(f"{name}: {hint}the rate {rate!r} in {line!r} is neither a parameter nor a function")
    if not math.isfinite(factor):
        raise InputError(f"{name}: the factor of the rate {fields[3]!r} in {line!r} is no finite number")
    try:
        reactants, products = (tuple(int(i) - 1 for i in side.split(",") if i != "0") for side in fields[1:3])
    except ValueError:
        raise InputError(f"{name}: cannot read the species in {line!r}; expected numbers as in '1,2 3'") from None
    if any(not 0 <= i < n for i in reactants + products):
        raise InputError(f"{name}: {line!r} names a species that does not exist (there are {n})")
    return Reaction(reactants, products, factor, rate, rule.strip())


def read_net(path: str | Path) -> ReactionNetwork:
    """Return the network in a `.net` file. Raises InputError if the file is missing or is no network."""
    return parse_net(_text(Path(path), "network"), Path(path).stem)


def from_bngl(text: str, name: str = "model", *, cache: bool = True) -> ReactionNetwork:
    """Return the network of a model in BNGL text, generated by BioNetGen unless a cached one has the same text.

    Actions in the text are not run: those that only compute something are named in a notice. Raises InputError for
    actions that change the model and for what is not supported, by name, and MissingBioNetGenError where a network
    must be generated and BioNetGen or Perl is missing.
    """
    return parse_net(generated_net(text, name, cache=cache), name)


def read_bngl(path: str | Path, *, cache: bool = True) -> ReactionNetwork:
    """Return the network of the model in a `.bngl` file; errors are those of `from_bngl`."""
    return from_bngl(_text(Path(path), "model"), Path(path).stem, cache=cache)


def read_model(path: str | Path, *, cache: bool = True) -> ReactionNetwork:
    """Return the network in a `.net` or `.bngl` file, told apart by the suffix."""
    suffix = Path(path).suffix
    if suffix == ".net":
        return read_net(path)
    if suffix == ".bngl":
        return read_bngl(path, cache=cache)
    raise InputError(f"{path}: expected a BioNetGen .net or .bngl file (or a PySB model object)")


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the {what} file {path}: {error}") from None


def reached(
    network: ReactionNetwork, start: Sequence[bool], runs: Sequence[bool]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the species and reactions, by number, that reactions flagged in `runs` reach from those in `start`."""
    species = {i for i, flag in enumerate(start) if flag}
    waiting = [r for r, flag in enumerate(runs) if flag]
    reactions: list[int] = []
    while ready := [r for r in waiting if species.issuperset(network.reactions[r].reactants)]:
        waiting = [r for r in waiting if not species.issuperset(network.reactions[r].reactants)]
        reactions += ready
        species.update(i for r in ready for i in network.reactions[r].products)
    return tuple(sorted(species)), tuple(sorted(reactions))


def restricted(network: ReactionNetwork, species: Sequence[int], reactions: Sequence[int]) -> ReactionNetwork:
    """Return the part of `network` made of these species and reactions, which name no other species."""
    new = {i: j for j, i in enumerate(species)}
    return dataclasses.replace(
        network,
        species=tuple(network.species[i] for i in species),
        initials=tuple(network.initials[i] for i in species),
        fixed=tuple(network.fixed[i] for i in species),
        reactions=tuple(network.reactions[r].renumbered(new) for r in reactions),
        observables={
            name: tuple((new[i], w) for i, w in group if i in new) for name, group in network.observables.items()
        },
    )


# ---- PySB -------------------------------------------------------------------------------------------------------


def from_pysb(model: pysb.Model, *, cache: bool = True) -> ReactionNetwork:
    """Return the network of a PySB model, generated by BioNetGen unless a cached one has the same BNGL text.

    Raises InputError for a model without rules, initials (or synthesis) or observables, MissingBioNetGenError where a
    network must be generated and BioNetGen or Perl is missing.
    """
    if not model.rules:
        raise InputError(f"the PySB model {model.name!r} has no Rule: nothing would ever change; add one")
    if not model.initials and all(rule.reactant_pattern.complex_patterns for rule in model.rules):
        raise InputError(
            f"the PySB model {model.name!r} has no Initial and no synthesis: every amount would stay zero; add one"
        )
    if not model.observables and not model.expressions:
        raise InputError(f"the PySB model {model.name!r} has no Observable: nothing could be read out; add one")
    # `pysb.examples.earm_1_0` and the like: the last part is what a person calls the model
    name = (model.name or "model").rpartition(".")[2]
    return parse_net(generated_net(bngl_text(model), name, cache=cache), name)


def bngl_text(model: pysb.Model) -> str:
    """Return the model as BNGL, the text whose hash names the cached network.

    PySB prints `-x^2` for -(x^2), which BioNetGen reads as (-x)^2: expressions are therefore printed here, with every
    bracket. They follow an equals sign, because BioNetGen drops the first one it sees, even that of `a<=b`.

    Raises InputError for an expression that BNGL cannot say.
    """
    import warnings

    from pysb.generator.bng import BngGenerator

    try:
        with warnings.catch_warnings():  # a model without initials has been judged before
            warnings.simplefilter("ignore", UserWarning)
            lines = BngGenerator(model).get_content().split("\n")
    except NotImplementedError as error:
        raise InputError(f"an expression of {model.name!r} cannot be written in BNGL: {error}") from None
    texts = {e.name: _expression_text(e.expr, e.name) for e in model.expressions}
    block = ""
    for number, line in enumerate(lines):
        if line.startswith(("begin ", "end ")):
            block = line
        elif block in ("begin parameters", "begin functions"):
            match = re.match(r"(\s*(\w+)\S*\s+)", line)
            if match and match[2] in texts:
                lines[number] = f"{match[1]}= {texts[match[2]]}"
    return "\n".join(lines)


_BNGL_FUNCTIONS = {
    **{name: name for name in ("exp", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: name for name in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
    "log": "ln", "Abs": "abs", "Min": "min", "Max": "max",
}  # fmt: skip
"""sympy's name -> BioNetGen's."""


def _expression_text(x: Any, expression: str) -> str:
    """Return a sympy expression as BNGL with all brackets; InputError names what BNGL cannot say, and where."""
    import pysb
    import sympy

    def text(x: Any) -> str:
        return _expression_text(x, expression)

    def joined(operator: str, parts: Iterable[str]) -> str:
        return f"({operator.join(parts)})"

    def negative(x: Any) -> bool:
        return x.is_Number and x < 0

    def power(base: Any, exponent: Any) -> str:
        if exponent == 1:
            return text(base)
        if exponent == sympy.S.Half:
            return f"sqrt({text(base)})"
        # BioNetGen drops the brackets of a negative number: (-2)^x would become -2^x
        return f"({f'(0-{text(-base)})' if negative(base) else text(base)}^{text(exponent)})"

    name = type(x).__name__
    if x is pysb.core.time:
        return "time()"
    if x.is_Symbol:
        return x.name
    if x.is_Rational:
        return str(x) if x.is_Integer and x >= 0 else f"({x})"
    if x.is_Float:
        return f"{float(x)!r}" if x >= 0 else f"({float(x)!r})"
    if x.is_NumberSymbol:
        return repr(float(x))  # BioNetGen does not know its own _pi everywhere
    if x.is_Add:
        return joined("+", map(text, x.args))
    if x.is_Mul:
        inverse = [a for a in x.args if a.is_Pow and negative(a.exp)]
        above = [text(a) for a in x.args if a not in inverse] or ["1"]
        below = [power(a.base, -a.exp) for a in inverse]
        return joined("/", [joined("*", above), joined("*", below)]) if below else joined("*", above)
    if x.is_Pow:
        return f"(1/{power(x.base, -x.exp)})" if negative(x.exp) else power(x.base, x.exp)
    if x.is_Relational and x.rel_op in ("<", "<=", ">", ">=", "==", "!="):
        return f"({text(x.lhs)}{x.rel_op}{text(x.rhs)})"
    if x.is_Boolean:
        if name in ("And", "Or"):
            return joined("&&" if name == "And" else "||", sorted(map(text, x.args)))
        if name == "Not":
            return f"({text(x.args[0])}==0)"
        if name in ("BooleanTrue", "BooleanFalse"):
            return "(1==1)" if x else "(1==0)"
    if x.is_Piecewise and x.args[-1].cond == sympy.true:
        *cases, (otherwise, _) = x.args
        result = text(otherwise)
        for value, condition in reversed(cases):
            result = f"if({text(condition)},{text(value)},{result})"
        return result
    if name in ("floor", "ceiling"):  # BioNetGen's rint(x) is floor(x + 1/2)
        return f"rint({text(x.args[0])}-0.5)" if name == "floor" else f"(0-rint(0-{text(x.args[0])}-0.5))"
    if name == "sign":
        argument = text(x.args[0])
        return f"if(({argument}>0),1,if(({argument}<0),-1,0))"
    if name in _BNGL_FUNCTIONS:
        return f"{_BNGL_FUNCTIONS[name]}({','.join(sorted(map(text, x.args)))})"
    if x.is_Function and x.args and all(isinstance(a, pysb.Tag) for a in x.args):
        return f"{name}({','.join(tag.name for tag in x.args)})"
    raise InputError(f"the expression {expression!r} contains {x}, which BioNetGen has no word for")


def species_of(model: pysb.Model, network: ReactionNetwork, pattern: pysb.ComplexPattern) -> str | None:
    """Return the name in the network of the species that a pattern describes in full; None if there is none."""
    for name in network.species:
        if _pattern(model, name).is_equivalent_to(pattern):
            return name
    return None


def pattern_text(model: pysb.Model, species: str) -> str:
    """Return how PySB writes a species of the network, for example `A(b=None) ** cell`."""
    return repr(_pattern(model, species))


def _pattern(model: pysb.Model, species: str) -> pysb.ComplexPattern:
    from pysb.bng import _parse_species

    before = list(model.species)
    try:
        _parse_species(model, f"1 {species} 0")  # a line of a .net text; PySB puts what it reads into the model
        return model.species[-1]
    except (KeyError, AttributeError):
        raise InputError(f"{species} is no species of the PySB model {model.name!r}; give the model it is of") from None
    finally:
        model.species = before


def is_pysb_model(source: object) -> bool:
    """Tell whether `source` is a pysb.Model, without importing PySB."""
    module = sys.modules.get("pysb.core")
    return module is not None and isinstance(source, module.Model)
