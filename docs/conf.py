"""How Sphinx builds the manual: `make docs`. Warnings are errors; pages and notebooks are run."""

import os
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

# Where the pages find the folder that they read.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(HERE / "examples"), os.environ.get("PYTHONPATH")])
)
os.environ["COLUMNS"] = "100"

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
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples", "**/.ipynb_checkpoints"]

# Named, since a build over an older one would look only into the pages that it had.
autosummary_generate = sorted(f"api/{page.name}" for page in (HERE / "api").glob("*.md"))
# A function and a class that differ in case only share a file on Windows and macOS.
autosummary_filename_map = {
    f"dbdicom_xr.{name}": f"dbdicom_xr.{name}-function" for name in ("database", "series")
}
autodoc_typehints = "none"  # numpydoc says the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
add_module_names = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True

html_theme = "pydata_sphinx_theme"
html_title = f"dbdicom_xr {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_theme_options = {
    "show_prev_next": True,
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 2,
}
html_sidebars = {
    "index": [],
    "install": [],
    "first_steps": [],
    "design": [],
    "changelog": [],
    "contributing": [],
}
html_show_sourcelink = False
