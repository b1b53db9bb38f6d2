"""Reaction networks: a PySB model or BioNetGen `.net` text in, plain tables of reactions out. PySB ends here.

BioNetGen writes the network once (cached by the hash of the model's BNGL text); the text is parsed here.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .cache import content_hash, read_checked, writable_folder, write_checked
from .errors import InputError, MissingBioNetGenError

if TYPE_CHECKING:
    import pysb

INSTALL_BIONETGEN = 'python -m pip install "residuum[bng]"'
"""The one command that installs BioNetGen for PySB (it also needs Perl on the PATH)."""


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

    @property
    def hash(self) -> str:
        """Content hash of the network text (32 hexadecimal digits)."""
        return content_hash(self.text)


# ---- .net text --------------------------------------------------------------------------------------------------

_BLOCKS = ("parameters", "functions", "species", "reactions", "groups")
_IGNORED_BLOCKS = ("molecule types", "compartments", "energy patterns", "observables", "reaction rules")
_RATE = re.compile(r"(?:(?P<factor>[-+\d.eE]+)\*)?(?P<name>[A-Za-z_]\w*)$|(?P<number>[-+]?[\d.][-+\d.eE]*)$")
_RATE_LAWS = ("Sat", "MM", "Hill", "Arrhenius", "FunctionProduct")


def parse_net(text: str, name: str = "network") -> ReactionNetwork:
    """Return the network written in BioNetGen's `.net` text.

    Raises InputError, naming the line, for text that is no network and for rate laws that are not supported.
    """
    blocks = _split_blocks(text, name)
    if not blocks["species"]:
        raise InputError(f"{name}: no species; expected a BioNetGen .net text with a 'begin species' block")
    parameters = {}
    for line in blocks["parameters"]:
        _, key, expression = _fields(line, 3, name)
        parameters[key] = expression
    functions = {}
    for line in blocks["functions"]:
        _, key, expression = _fields(line, 3, name)
        if not key.endswith("()"):
            raise InputError(f"{name}: function {key!r} has arguments; write it as a function of observables")
        functions[key[:-2]] = expression
    species, initials, fixed = [], [], []
    for line in blocks["species"]:
        _, pattern, expression = _fields(line, 3, name)
        is_fixed = pattern.startswith("$") or "::$" in pattern
        species.append(pattern.replace("$", "", 1) if is_fixed else pattern)
        initials.append(expression)
        fixed.append(is_fixed)
    observables = {}
    for line in blocks["groups"]:
        fields = line.split(None, 2)
        observables[fields[1]] = _group(fields[2] if len(fields) > 2 else "", len(species), line, name)
    reactions = tuple(_reaction(line, parameters, functions, len(species), name) for line in blocks["reactions"])
    return ReactionNetwork(
        name, parameters, functions, tuple(species), tuple(initials), tuple(fixed), reactions, observables, text
    )


def _split_blocks(text: str, name: str) -> dict[str, list[str]]:
    blocks: dict[str, list[str]] = {block: [] for block in _BLOCKS}
    current: list[str] | None = None
    rules: list[str] = []
    for raw in text.splitlines():
        line, _, comment = raw.partition("#")
        line = line.strip()
        if not line:
            continue
        if line.startswith("begin "):
            block = line[6:].strip()
            if block not in blocks and block not in _IGNORED_BLOCKS:
                raise InputError(f"{name}: block {block!r} of the .net text is not supported")
            current = blocks.get(block, rules)
        elif line.startswith("end "):
            current = None
        elif current is not None:
            current.append(f"{line} #{comment.strip()}" if current is blocks["reactions"] else line)
    return blocks


def _fields(line: str, n: int, name: str) -> list[str]:
    fields = line.split(None, n - 1)
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
            raise InputError(f"{name}: the rate {rate!r} in {line!r} is neither a parameter nor a function")
    reactants, products = (tuple(int(i) - 1 for i in side.split(",") if i != "0") for side in fields[1:3])
    if any(not 0 <= i < n for i in reactants + products):
        raise InputError(f"{name}: {line!r} names a species that does not exist (there are {n})")
    return Reaction(reactants, products, factor, rate, rule.strip())


def read_net(path: str | Path) -> ReactionNetwork:
    """Return the network in a `.net` file. Raises InputError if the file is missing or is no network."""
    path = Path(path)
    if path.suffix != ".net":
        raise InputError(f"{path}: expected a BioNetGen .net file (or a PySB model object)")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the network file {path}: {error}") from None
    return parse_net(text, path.stem)


def restricted(network: ReactionNetwork, start: Sequence[bool], runs: Sequence[bool]) -> ReactionNetwork:
    """Return the part of `network` that reactions flagged in `runs` can reach from species flagged in `start`."""
    reached = {i for i, flag in enumerate(start) if flag}
    waiting = [reaction for reaction, flag in zip(network.reactions, runs, strict=True) if flag]
    kept: list[Reaction] = []
    while ready := [reaction for reaction in waiting if reached.issuperset(reaction.reactants)]:
        waiting = [reaction for reaction in waiting if not reached.issuperset(reaction.reactants)]
        kept += ready
        reached.update(i for reaction in ready for i in reaction.products)
    old = sorted(reached)
    new = {i: j for j, i in enumerate(old)}

    def renumber(species: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new[i] for i in species)

    return dataclasses.replace(
        network,
        species=tuple(network.species[i] for i in old),
        initials=tuple(network.initials[i] for i in old),
        fixed=tuple(network.fixed[i] for i in old),
        reactions=tuple(
            dataclasses.replace(r, reactants=renumber(r.reactants), products=renumber(r.products)) for r in kept
        ),
        observables={
            name: tuple((new[i], w) for i, w in group if i in new) for name, group in network.observables.items()
        },
        text=f"{network.text}\n# restricted to species {old}, {len(kept)} reactions\n",
    )


# ---- PySB -------------------------------------------------------------------------------------------------------


def from_pysb(model: pysb.Model, *, cache: bool = True) -> ReactionNetwork:
    """Return the network of a PySB model, generated by BioNetGen unless a cached one has the same BNGL text.

    Raises InputError for a model without initials (or synthesis) or observables, MissingBioNetGenError where a network
    must be generated and BioNetGen or Perl is missing.
    """
    if not model.initials and all(rule.reactant_pattern.complex_patterns for rule in model.rules):
        raise InputError(
            f"the PySB model {model.name!r} has no Initial and no synthesis: every amount would stay zero; add one"
        )
    if not model.observables and not model.expressions:
        raise InputError(f"the PySB model {model.name!r} has no Observable: nothing could be read out; add one")
    # `pysb.examples.earm_1_0` and the like: the last part is what a person calls the model
    name = (model.name or "model").rpartition(".")[2]
    folder = writable_folder("networks") if cache else None
    path = None
    if folder is not None:
        path = folder / f"{name}-{content_hash(bngl_text(model))}.net"
        if (text := read_checked(path)) is not None:
            return parse_net(text, name)
    text = generate_net(model)
    if path is not None:
        write_checked(path, text)
    return parse_net(text, name)


def bngl_text(model: pysb.Model) -> str:
    """Return the model as BNGL, the text whose hash names the cached network."""
    import warnings

    from pysb.generator.bng import BngGenerator

    with warnings.catch_warnings():  # a model without initials has been judged before
        warnings.simplefilter("ignore", UserWarning)
        return BngGenerator(model).get_content()


def generate_net(model: pysb.Model) -> str:
    """Return the `.net` text that BioNetGen generates from a PySB model.

    Raises MissingBioNetGenError if BioNetGen or Perl is not there, InputError if BioNetGen rejects the model.
    """
    from pysb import bng

    require_bionetgen(model.name)
    try:
        return bng.generate_network(model)
    except bng.BngInterfaceError as error:
        raise InputError(f"BioNetGen could not generate the network of {model.name!r}: {error}") from error


def require_bionetgen(name: str) -> None:
    """Raise MissingBioNetGenError, with the command that helps, unless BioNetGen can run."""
    found = find_bionetgen()
    if found is None:
        raise MissingBioNetGenError(
            f"the model {name!r} is made of rules, and its network has to be generated by BioNetGen, "
            f"which was not found. Install it with:  {INSTALL_BIONETGEN}  (it needs Perl on the PATH)"
        )


def find_bionetgen() -> str | None:
    """Return the path of BioNetGen's BNG2.pl if it and Perl can be run, else `None`."""
    import shutil

    from pysb.pathfinder import get_path

    if shutil.which("perl") is None:
        return None
    try:
        return str(get_path("bng"))
    except Exception:  # PySB raises plain Exception when nothing is found
        return None


def is_pysb_model(source: object) -> bool:
    """Tell whether `source` is a pysb.Model, without importing PySB."""
    module = sys.modules.get("pysb.core")
    return module is not None and isinstance(source, module.Model)
