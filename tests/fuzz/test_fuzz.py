"""Damaged files of every kind: an array or an error of our own, in bounded time and memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.data import ROOT
from tests.fuzz.kinds import bomb, kinds

if sys.platform == "win32":
    pytest.skip("limits of memory are set as Unix does", allow_module_level=True)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own, which may crash."""
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_damaged_files(tmp_path) -> None:
    done = run("--cases", "240", "--seed", "1", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "'read'" in done.stdout
    assert "'PixelError'" in done.stdout


def test_files_are_sound_before_they_are_damaged(tmp_path) -> None:
    from tests.fuzz.__main__ import read_all

    for name, data in kinds().items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.dcm").write_bytes(data)
        found = read_all(tmp_path / name)
        expected = {"PixelError"} if name == "nothing" else set()
        assert found.keys() - {"read", "problems"} == expected, (name, found)
        assert found["problems"] == 0, name


def test_a_deflate_bomb(tmp_path) -> None:
    data = bomb()
    assert len(data) < 1 << 20
    (tmp_path / "bomb.dcm").write_bytes(data)
    done = run("--file", str(tmp_path / "bomb.dcm"))
    assert done.returncode == 0, done.stderr[-2000:]
