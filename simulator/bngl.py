"""BNGL text in, the `.net` text that BioNetGen generates from it out, kept by the hash of both.

BioNetGen runs as a program of its own (Perl). It gets the model and how far to expand it, and nothing else: actions
that only compute something are left out, those that change the model are refused.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

from .cache import content_hash, read_checked, writable_folder, write_checked
from .errors import InputError, MissingBioNetGenError, ModelNotice

INSTALL_BIONETGEN = 'python -m pip install "residuum[bng]"'
"""The one command that installs BioNetGen (it also needs Perl on the PATH)."""
NETWORK_SCHEMA = "3"
"""Version of the way in which networks are generated; a change makes cached networks unreachable."""

# ---- what BioNetGen is given ------------------------------------------------------------------------------------

_KEPT = ("setOption", "version", "substanceUnits")
"""Commands that belong to the model; their arguments are words and numbers."""
_IGNORED = re.compile(
    r"simulate\w*|write\w+|visualize|parameter_scan|bifurcate|LinearParameterSensitivity|"
    r"(save|reset)(Concentrations|Parameters)|setModelName|setOutputDir|codename"
)
"""Actions that compute or write something; `reset...` does nothing where nothing may be set."""
_LIMITS = {"max_iter": r"\d+", "max_agg": r"[\d.eE+]+", "max_stoich": r"\{[\w\s,=>\"']*\}", "check_iso": r"[01]"}
"""Arguments of generate_network that decide which network it makes, and how each is written."""
_WAYS = ("overwrite", "print_iter", "verbose", "prefix", "suffix", "TextSpecies", "TextReaction", "write", "continue")
"""Arguments that decide only what it prints."""
_ACTION_BLOCKS = {"actions", "protocol"}
_REFUSED_BLOCKS = ("population maps", "population types")
_REFUSED_WORDS = (
    (re.compile(r"\bTotalRate\b"), "TotalRate is not supported; divide the rate by the amounts of the reactants"),
    (re.compile(r"\btfun\s*\(", re.IGNORECASE), "a function read from a file (TFUN) is not supported; write it out"),
)
"""What the `.net` text does not carry, or only by half."""
_WORDS = re.compile(r"""\s*("[\w.+ -]*"|'[\w.+ -]*'|[\w.+-]+)(\s*,\s*("[\w.+ -]*"|'[\w.+ -]*'|[\w.+-]+))*\s*""")
_ARGUMENT = re.compile(r"""\s*(\w+)\s*=>\s*(\{[^{}]*\}|"[^"]*"|'[^']*'|[^\s,{}]+)\s*(?:,|$)""")


class Script(NamedTuple):
    """What BioNetGen is given, line by line as in the file, and the names of the actions that were left out."""

    text: str
    ignored: tuple[str, ...]


def generation_script(text: str, name: str) -> Script:
    """Return the part of a BNGL text from which the network follows, ended by one `generate_network`.

    Raises InputError, naming the line, for actions that change the model, for what would be lost on the way to the
    `.net` text (TotalRate, TFUN, population maps), and for text that is no BNGL.
    """
    lines: list[str] = []
    blocks, block = [""], ""
    ignored: dict[str, None] = {}
    limits: tuple[str, ...] | None = None
    for number, line in _whole_lines(text):
        lines += [""] * (number - 1 - len(lines))  # BioNetGen's messages then name the user's lines
        where, words = f"{name}, line {number}", " ".join(line.split())
        if words in ("", "begin model", "end model"):
            lines.append(line)
        elif words.startswith(("begin ", "end ")):
            blocks.append(block := _block_after(words, block, where))
            lines.append("" if {*blocks[-2:]} & _ACTION_BLOCKS else line)
        elif block and block not in _ACTION_BLOCKS:
            for pattern, why in _REFUSED_WORDS:
                if pattern.search(line):
                    raise InputError(f"{where}: {why}: {words!r}")
            lines.append(line)
        else:
            action, arguments = _action(words, where)
            if action == "quit":
                break
            if action == "generate_network":
                if limits not in (None, found := _limits(arguments, where)):
                    raise InputError(f"{where}: generate_network is there twice with other limits; keep one")
                limits = found
            elif action in _KEPT:
                if not _WORDS.fullmatch(arguments):
                    raise InputError(f"{where}: cannot read {words!r}; expected words and numbers in brackets")
                lines.append(words)
            elif block == "protocol" or _IGNORED.fullmatch(action):
                ignored[action] = None
            else:
                raise InputError(
                    f"{where}: the action {action} is not supported, because it changes the model or is not known; "
                    "write its effect into the model, or set values in Conditions, and remove it"
                )
    if block:
        raise InputError(f"{name}: the text stops within the block {block!r} (no 'end {block}'); is it complete?")
    if not any(blocks):
        raise InputError(f"{name}: no model; expected BNGL text with blocks such as 'begin reaction rules'")
    arguments = ", ".join(["overwrite=>1", *(limits or ())])
    return Script("\n".join([*lines, f"generate_network({{{arguments}}})", ""]), tuple(ignored))


def _block_after(words: str, block: str, where: str) -> str:
    """Return the block in which one is after a line `begin ...` or `end ...`, `""` for none."""
    kind, _, named = words.partition(" ")
    if kind == "end" and named != block:
        raise InputError(f"{where}: {words!r} ends no block that was begun")
    if kind == "begin" and block:
        raise InputError(f"{where}: block {block!r} is not ended where {named!r} begins")
    if named in _REFUSED_BLOCKS:
        raise InputError(f"{where}: {named} (hybrid particle simulation) are not supported; remove the block")
    return named if kind == "begin" else ""


def _whole_lines(text: str) -> list[tuple[int, str]]:
    """Return (number, line) of all lines, without comments, continued ones (with a backslash) joined."""
    whole: list[tuple[int, str]] = []
    begun = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].rstrip()
        if line.endswith("\\"):
            begun += line[:-1] + " "
        else:
            whole.append((number, begun + line))
            begun = ""
    return [*whole, (number, begun)] if begun else whole


def _action(words: str, where: str) -> tuple[str, str]:
    """Return name and arguments of an action, e.g. `simulate({t_end=>10})`."""
    match = re.fullmatch(r"(\w+)\s*\((.*)\)\s*;?", words)
    if match is None:
        raise InputError(f"{where}: cannot read {words!r}; expected a block or an action such as generate_network()")
    return match[1], match[2]


def _limits(arguments: str, where: str) -> tuple[str, ...]:
    """Return those arguments of `generate_network` that decide which network it makes."""
    rest = arguments.strip().removeprefix("{").removesuffix("}")
    found = []
    while rest.strip():
        match = _ARGUMENT.match(rest)
        key = match[1] if match else ""
        if match is None or not (key in _WAYS or re.fullmatch(_LIMITS.get(key, "(?!)"), match[2])):
            raise InputError(f"{where}: cannot read {rest.strip()!r} of generate_network; known: {', '.join(_LIMITS)}")
        if key in _LIMITS:
            found.append(f"{key}=>{match[2]}")
        rest = rest[match.end() :]
    return tuple(sorted(found))


# ---- generation -------------------------------------------------------------------------------------------------


def generated_net(text: str, name: str, *, cache: bool = True) -> str:
    """Return the `.net` text of a BNGL text, generated by BioNetGen unless a cached one came from the same text.

    Raises InputError where the text is refused, by `generation_script` or by BioNetGen, or has no end of species, and
    MissingBioNetGenError where a network must be generated and BioNetGen or Perl is missing. Actions that are left out
    are named in one ModelNotice.
    """
    script, ignored = generation_script(text, name)
    if ignored:
        warnings.warn(f"{name}: not run, only the model is used: {', '.join(ignored)}", ModelNotice, stacklevel=4)
    path = None
    if (folder := writable_folder("networks") if cache else None) is not None:
        file = re.sub(r"[^\w.-]", "_", name)
        path = folder / f"{file}-{content_hash(NETWORK_SCHEMA, script, bionetgen_version())}.net"
        if (kept := read_checked(path)) is not None:
            return kept
    net = run_bionetgen(script, name)
    if path is not None:
        write_checked(path, net)
    return net


def run_bionetgen(script: str, name: str) -> str:
    """Return the network text that BioNetGen writes for a script that ends in `generate_network`."""
    program = require_bionetgen(name)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.bngl").write_text(script, encoding="utf-8")
        done = subprocess.run(
            ["perl", program, "model.bngl"], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
        net = Path(folder) / "model.net"
        if done.returncode or not net.is_file():
            said = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
            why = [line for line in said if line.startswith(("ABORT", "ERROR", "at line"))] or said[-3:]
            raise InputError(f"BioNetGen could not generate the network of {name!r}: {' '.join(why)}")
        iterations = re.findall(r"^Iteration\s+\d+:\s+(\d+) species", done.stdout, re.MULTILINE)
        if "max_iter" not in script and len(iterations) > 1 and iterations[-1] != iterations[-2]:
            raise InputError(
                f"the network of {name!r} has {iterations[-1]} species after {len(iterations) - 1} rounds of its rules "
                "and still grows; limit it with generate_network({max_stoich=>{...}}), max_agg or max_iter"
            )
        return net.read_text(encoding="utf-8")


# ---- where BioNetGen is -----------------------------------------------------------------------------------------


def require_bionetgen(name: str) -> str:
    """Return the path of BNG2.pl; raise MissingBioNetGenError, saying what is missing and what helps."""
    if (program := find_bionetgen()) is not None:
        return program
    made_of_rules = f"the model {name!r} is made of rules, and its network has to be generated by BioNetGen"
    if missing_for_bionetgen() == "Perl":
        raise MissingBioNetGenError(
            f"{made_of_rules}, which is installed but needs Perl, and no perl is on the PATH: install Perl"
        )
    raise MissingBioNetGenError(
        f"{made_of_rules}, which was not found. Install it with:  {INSTALL_BIONETGEN}  (it needs Perl on the PATH)"
    )


def missing_for_bionetgen() -> str | None:
    """Return which of "BioNetGen" and "Perl" is missing (BioNetGen if both are), or `None` if networks can be made."""
    if _bionetgen_path() is None:
        return "BioNetGen"
    return "Perl" if shutil.which("perl") is None else None


def find_bionetgen() -> str | None:
    """Return the path of BioNetGen's BNG2.pl if it and Perl can be run, else `None`."""
    return _bionetgen_path() if shutil.which("perl") is not None else None


def bionetgen_version() -> str:
    """Return the version of BioNetGen as it says itself, `""` where there is none."""
    program = _bionetgen_path()
    try:
        return (Path(program).parent / "VERSION").read_text(encoding="utf-8").strip() if program else ""
    except OSError:
        return ""


def _bionetgen_path() -> str | None:
    """Return BNG2.pl from the places where PySB looks for it: `BNGPATH`, else beside Python, installed, on the PATH."""
    if chosen := os.environ.get("BNGPATH"):
        folders = [Path(chosen)]
    else:
        folders = [Path(os.environ.get("CONDA_PREFIX", "/")) / "bin", Path(sysconfig.get_path("scripts"))]
        folders += [Path("/usr/local/share/BioNetGen")]
        package = importlib.util.find_spec("bionetgen")
        system = {"linux": "bng-linux", "darwin": "bng-mac", "win32": "bng-win"}.get(sys.platform, "")
        if package is not None and package.origin is not None and system:
            folders.append(Path(package.origin).parent / system)
        folders += [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    found = (folder if folder.name == "BNG2.pl" else folder / "BNG2.pl" for folder in folders)
    return next((str(path.resolve()) for path in found if path.is_file()), None)
