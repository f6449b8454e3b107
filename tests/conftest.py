"""What all tests share: the public scanner files, judges from outside, hypothesis profiles."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from tests.data import testdata_folder

hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of public scanner files, or a skip where it is missing."""
    folder = testdata_folder()
    if folder is None:
        pytest.skip("no DBDICOM_XR_TESTDATA (default ../shared/data)")
    return folder


@pytest.fixture(scope="session")
def dciodvfy() -> Callable[[Path], list[str]]:
    """Return the errors that David Clunie's validator finds in a file, or skip."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("no dciodvfy (apt-get install dicom3tools)")

    def errors(path: Path) -> list[str]:
        run = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
        lines = (run.stdout + run.stderr).splitlines()
        return [line for line in lines if line.startswith("Error")]

    return errors
