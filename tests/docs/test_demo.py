"""The demo runs, again over what it left, and only in a folder that it made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pydicom

ROOT = Path(__file__).parents[2]


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "docs" / "examples" / "demo.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, encoding="utf-8", check=False, timeout=120,
    )  # fmt: skip


def test_the_demo_writes_a_map_and_reads_it_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = run(tmp_path / "output")
        assert done.returncode == 0, done.stderr
    maps = [
        path
        for path in (tmp_path / "output" / "dicom").rglob("*.dcm")
        if "Ktrans" in str(pydicom.dcmread(path, specific_tags=["SeriesDescription"]))
    ]
    assert len(maps) == 3
    written = pydicom.dcmread(maps[0])
    assert list(written.ImageType) == ["DERIVED", "SECONDARY", "KTRANS"]
    assert len(written.SourceImageSequence) == 30
    assert str(maps[0].parent) in done.stdout
    assert (tmp_path / "output" / "ktrans.png").stat().st_size > 10_000
    assert {path.name for path in tmp_path.iterdir()} == {"output"}


def test_the_demo_leaves_the_folders_of_others_alone(tmp_path: Path) -> None:
    mine = tmp_path / "dicom" / "mine.dcm"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    assert run(tmp_path).returncode != 0
    assert [path.name for path in mine.parent.iterdir()] == ["mine.dcm"]
