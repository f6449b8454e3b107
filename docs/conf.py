"""How Sphinx builds the manual: `make docs`. Warnings are errors, and notebooks are run."""

import shutil
from pathlib import Path

from dbdicom_xr._version import __version__

HERE = Path(__file__).parent

# Sphinx reads only what lies below its own folder; the notebooks of users lie beside it.
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(
    HERE.parent / "notebooks",
    HERE / "notebooks",
    ignore=lambda _, names: {n for n in names if not n.endswith((".ipynb", ".md"))},
)

project = "dbdicom_xr"
author = "The dbdicom_xr developers"
copyright = f"2026, {author}"  # the name is Sphinx's
version = release = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "examples", "**/.ipynb_checkpoints"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc says the types
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300

html_theme = "pydata_sphinx_theme"
html_title = f"dbdicom_xr {release}"
html_theme_options = {"show_prev_next": False}
html_sidebars = {"index": [], "install": []}
