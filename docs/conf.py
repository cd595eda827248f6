"""Sphinx configuration. `make docs` builds the site into `docs/_build/html`; the build needs no network."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
# The site describes this checkout, not another installed copy of the package.
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_extensions")]

from neuron_explainer import __version__  # noqa: E402

project = "neuron_explainer"
author = "The neuron_explainer developers"
copyright = author
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "api_pages",
    "command_line_page",
    "table_pages",
    "notebook_pages",
    "repository_links",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_build", "_extensions", "generated/static"]

# The committed notebooks are shown as they are.
nb_execution_mode = "off"
# The only folded cell is the one for Colab.
nb_code_prompt_show = "Set-up for Google Colab"
nb_code_prompt_hide = "Set-up for Google Colab"

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3
# In prose a formula is code or plain text: no script draws it.
myst_dmath_double_inline = False
suppress_warnings = ["mystnb.unknown_mime_type"]

# Only dashes are made typographic: quotation marks in formulas stay as they are.
smartquotes_action = "D"

# `name` in a docstring is a link where the name is documented, and code everywhere else.
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autosummary_generate = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_title = f"neuron_explainer {__version__}"
html_static_path = ["_static", "generated/static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#8a4b08", "color-brand-content": "#8a4b08"},
    "dark_css_variables": {"color-brand-primary": "#f2a65a", "color-brand-content": "#f2a65a"},
}
