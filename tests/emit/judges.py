"""What programs of others say of a file that was written: dciodvfy, DCMTK, GDCM, SimpleITK."""

from __future__ import annotations

import re
import shutil
import subprocess
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

__all__ = [
    "dcmdump_ok", "errors_of", "gdcm_pixels", "highdicom_values", "new_errors", "sitk_pixels",
]  # fmt: skip

AnyPath: TypeAlias = "str | PathLike[str]"

# "Error - </SharedFunctionalGroupsSequence(5200,9229)[1]/Rows(0028,0010)[1]> - Bad = <7> - ..."
_MESSAGE = re.compile(r"Error - </(?:.*/)?([^/>]*?)(?:\[\d+\])?> - (.*)")
_NOT_JUDGED = "Information Object Not found"
_VALUE = re.compile(r"= <[^>]*>")


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} (apt-get install {package})")
    return found


def errors_of(path: AnyPath) -> set[str]:
    """Return the errors that ``dciodvfy -new`` finds in a file.

    Each is the attribute and the message, without the items it stands in and without its value:
    ``"PatientSex(0010,0040): Missing attribute for Type 2 Required - Module=<Patient>"``. So those
    of a derived image can be compared with those of its source, which may be of another class.
    """
    program = _program("dciodvfy", "dicom3tools")
    done = subprocess.run(
        [program, "-new", str(path)],
        capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=60,
    )  # fmt: skip
    lines = [one for one in (done.stdout + done.stderr).splitlines() if one.strip()]
    if done.returncode < 0 or not lines:
        raise AssertionError(f"dciodvfy broke down over {path} ({done.returncode})")
    errors = set()
    for line in lines:
        if not line.startswith("Error"):
            continue
        match = _MESSAGE.fullmatch(line)
        text = f"{match[1]}: {match[2]}" if match else line.removeprefix("Error - ")
        errors.add(_VALUE.sub("= <>", text))
    return errors


def new_errors(path: AnyPath, source: AnyPath) -> set[str]:
    """Return the errors that a derived file has and its source has not.

    A wrong UID of the source stands in the reference to it, too. None where dciodvfy does not know
    the class of the source, and so did not judge it.
    """
    known = errors_of(source)
    if _NOT_JUDGED in known:
        return set()
    own = "SOPInstanceUID(0008,0018)"
    known |= {
        "Referenced" + e.replace("0008,0018", "0008,1155") for e in known if e.startswith(own)
    }
    return errors_of(path) - known


def dcmdump_ok(path: AnyPath) -> bool:
    """Return whether DCMTK parses a file to its end, without a complaint."""
    program = _program("dcmdump", "dcmtk")
    done = subprocess.run([program, "-q", "-M", str(path)], capture_output=True, check=False)
    return done.returncode == 0 and not done.stderr.strip() and bool(done.stdout)


def gdcm_pixels(path: AnyPath) -> np.ndarray[Any, Any]:
    """Return the stored values as GDCM reads them, shape ([frames,] rows, columns[, 3])."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise AssertionError(f"GDCM does not read {Path(path).name}")
    image = reader.GetImage()
    pixel = image.GetPixelFormat()
    kind = "i" if pixel.GetPixelRepresentation() else "u"
    dtype = np.dtype(f"<{kind}{pixel.GetBitsAllocated() // 8}")
    # The binding hands bytes over as text, with what is not UTF-8 in surrogates.
    buffer = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    columns, rows, *frames = image.GetDimensions()[: image.GetNumberOfDimensions()]
    samples = pixel.GetSamplesPerPixel()
    shape = (*frames, rows, columns, *([samples] if samples > 1 else []))
    return np.frombuffer(buffer, dtype)[: int(np.prod(shape))].reshape(shape)


def sitk_pixels(path: AnyPath) -> np.ndarray[Any, Any]:
    """Return the real values as SimpleITK reads them, shape (frames, rows, columns[, 3])."""
    sitk = pytest.importorskip("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def highdicom_values(path: AnyPath) -> np.ndarray[Any, Any]:
    """Return the values of a Parametric Map as highdicom reads them, (frames, rows, columns)."""
    highdicom = pytest.importorskip("highdicom")
    return np.asarray(
        highdicom.imread(path).get_frames(apply_real_world_transform=False, dtype="float64")
    )
