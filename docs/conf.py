"""Settings of the manual: `make docs` builds it from the pages beside this file, the docstrings and the tables."""

import sys
from pathlib import Path

import residuum

sys.path.insert(0, str(Path(__file__).parent))

project = "residuum"
author = "the residuum authors"
copyright = author
version = release = residuum.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "blocks",  # runs the pages that show figures
    "tables",  # fills in what is read from the package: commands, contexts, drugs, read-outs
]
autosummary_generate = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"npt.ArrayLike": "ArrayLike"}
numpydoc_show_class_members = False
default_role = "code"
highlight_language = "none"  # of blocks that do not say what they are
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"residuum {release}"
html_static_path = ["manual.css"]
html_css_files = ["manual.css"]
html_copy_source = False
