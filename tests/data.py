"""Where the public scanner files are, for tests that need them while they are collected."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def testdata_folder() -> Path | None:
    """Return the folder named by DBDICOM_XR_TESTDATA (default ../shared/data), if it exists."""
    folder = ROOT / os.environ.get("DBDICOM_XR_TESTDATA", "../shared/data")
    return folder.resolve() if folder.is_dir() else None


def testdata_files(*parts: str) -> list[Path]:
    """Return all files under one folder of the test data, sorted; none where it is missing."""
    folder = testdata_folder()
    if folder is None:
        return []
    return sorted(path for path in folder.joinpath(*parts).rglob("*") if path.is_file())


testdata_folder.__test__ = False  # type: ignore[attr-defined]
testdata_files.__test__ = False  # type: ignore[attr-defined]
