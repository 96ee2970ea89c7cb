"""Sphinx configuration of the documentation: ``make docs``."""

from importlib import metadata

project = "trajlib"
author = "The trajlib contributors"
copyright = "The trajlib contributors, MIT licence"
release = metadata.version("trajlib")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build/html", "_build/doctrees", "requirements.txt"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository that are no pages

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = False

html_theme = "furo"
html_title = "trajlib"
