"""Settings of the manual: `make docs` builds it from the pages beside this file and the docstrings."""

import residuum

project = "residuum"
author = "the residuum authors"
copyright = author
version = release = residuum.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc", "myst_parser"]
myst_enable_extensions = ["dollarmath"]
numpydoc_show_class_members = False
autodoc_typehints = "signature"
html_theme = "alabaster"
