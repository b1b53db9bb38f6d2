"""Every example in a docstring runs as written."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import residuum

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOT = Path(residuum.__path__[0])
FOLDERS = [ROOT / name for name in ("models", "simulator", "doses", "sweeps", "fitting", "aml")]
MODULES = sorted(
    ".".join(("residuum", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in [ROOT / "__init__.py", *(path for folder in FOLDERS for path in folder.glob("*.py"))]
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert failed == 0
