"""The code cells of the manual run, page by page, without Jupyter; notebooks are kept clean.

`make docs` runs them too, in Jupyter; here a failure names the line of the page.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path

import pytest

from dbdicom_xr import errors
from dbdicom_xr.errors import DicomWarning

ROOT = Path(__file__).parents[2]
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in sorted(ROOT.glob("docs/**/*.md"))
    if "_build" not in page.parts and CELL.search(page.read_text(encoding="utf-8"))
]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


def cells(page: Path) -> list[tuple[int, str]]:
    """Return the code of each cell of a page, and the line where it starts."""
    if page.suffix == ".ipynb":
        notebook = json.loads(page.read_text(encoding="utf-8"))
        return [
            (0, "".join(cell["source"]))
            for cell in notebook["cells"]
            if cell["cell_type"] == "code"
        ]
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(1)), re.sub(r"^:[^\n]*$", "", match[1], flags=re.M))
        for match in CELL.finditer(text)
    ]


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_the_cells_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs" / "examples"), *sys.path])
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace: dict[str, object] = {"__name__": "page"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DicomWarning)  # pages show those on purpose
        for line, source in cells(page):
            code = compile("\n" * line + source, str(page), "exec")
            exec(code, namespace)


def test_there_are_pages_and_notebooks() -> None:
    assert len(PAGES) > 5
    assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_hold_no_outputs(notebook: Path) -> None:
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_every_error_and_warning_is_explained() -> None:
    page = (ROOT / "docs" / "guide" / "troubleshooting.md").read_text(encoding="utf-8")
    explained = " ".join(re.findall(r"^###? (.*)$", page, re.M))
    kinds = [
        n for n, kind in vars(errors).items() if isinstance(kind, type) and n != "DicomWarning"
    ]
    assert [name for name in kinds if not re.search(rf"\b{name}\b", explained)] == []
