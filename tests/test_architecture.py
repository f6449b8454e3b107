"""The package keeps the shape that docs/design.md describes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dbdicom_xr

PACKAGE = Path(dbdicom_xr.__file__).parent
# What each folder may import, beside errors and itself.
MAY_IMPORT = {
    "interact": set(),
    "index": set(),
    "staging": {"index"},
    "pixels": {"index"},
    "arrays": {"pixels", "index"},
    "geometry": {"pixels", "index"},
    "formats": {"arrays", "geometry", "pixels", "index"},
    "emit": {"arrays", "geometry", "pixels", "staging", "index"},
    "deidentify": {"staging", "index"},
    "records": {
        "deidentify", "formats", "emit", "arrays", "geometry", "pixels", "staging", "index",
        "interact",
    },
    "xarray_plugin": {
        "records", "deidentify", "formats", "emit", "arrays", "geometry", "pixels", "staging",
        "index", "interact",
    },
    "wrappers": {"records"},
}  # fmt: skip
# The same for the folders of `records`, as their modules are loaded, beside its own modules.
IN_RECORDS = {
    "attributes": set(),
    "reading": {"attributes"},
    "editing": {"attributes"},
    "writing": {"attributes", "reading", "editing"},
    "exporting": {"attributes", "reading", "editing"},
    "importing": {"attributes", "reading", "editing", "writing", "exporting"},
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("dbdicom_xr.")}


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_imports_point_one_way(folder: str) -> None:
    allowed = MAY_IMPORT[folder] | {folder, "errors"}
    wrong = {
        str(path.relative_to(PACKAGE)): extra
        for path in (PACKAGE / folder).rglob("*.py")
        if (extra := imported(path) & set(MAY_IMPORT) - allowed)
    }
    assert not wrong


@pytest.mark.parametrize("folder", sorted(IN_RECORDS))
def test_imports_within_records_point_one_way(folder: str) -> None:
    wrong = {}
    for path in (PACKAGE / "records" / folder).rglob("*.py"):
        loaded = ast.parse(path.read_text(encoding="utf-8")).body
        names = {node.module or "" for node in loaded if isinstance(node, ast.ImportFrom)}
        parts = {name.split(".")[2] for name in names if name.startswith("dbdicom_xr.records.")}
        if extra := parts & set(IN_RECORDS) - IN_RECORDS[folder] - {folder}:
            wrong[path.name] = extra
    assert not wrong


def test_modules_are_small() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > 500} == {}


def test_every_module_says_what_it_owns() -> None:
    silent = [
        str(path)
        for path in MODULES
        if path.name != "_version.py"
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_processes_that_scan_import_neither_xarray_nor_pydicom() -> None:
    # They start in 0.15 s, and would take 0.6.
    code = (
        "import sys, dbdicom_xr.index.worker;"
        "print({'xarray', 'dask', 'pandas', 'pydicom'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
        cwd=PACKAGE.parent,
    )  # fmt: skip
    assert done.stdout.strip() == "set()"
