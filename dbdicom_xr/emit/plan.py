"""What is to be written, as a file that every worker reads: no task carries headers.

A write has a folder of its own. It holds the plan, then the files that workers make, and at the
end a manifest, which says that they are all there. What goes into the database has a folder in it,
which moves there as it is. Whoever finds a manifest can take the files
into the database; a folder without one is what a write left behind that came to nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.elements import Elements
from dbdicom_xr.errors import DbdicomError, MissingFolder, SaveFailed
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.elements import EXPLICIT
from dbdicom_xr.index.files import TEMPORARY_SUFFIX
from dbdicom_xr.index.seen import not_seen, this_place, worker_address
from dbdicom_xr.pixels.quantise import Target

__all__ = [
    "GAP",
    "IMAGES",
    "MANIFEST",
    "PLAN",
    "Form",
    "Manifest",
    "WritePlan",
    "clear_errors",
    "load_plan",
    "store_plan",
]

PLAN: Final = "plan"
MANIFEST: Final = "manifest"
IMAGES: Final = "images"
"""The folder of what goes into the database."""
GAP: Final = -1
"""Stands for a place of the array that has no image."""

_HEAD: Final = struct.Struct("<8sI")
_MAGIC: Final = b"DBDXRW02"
_GONE: Final = (
    "There is no {folder} any more: this write has been computed already, or was given up. Write "
    "the array again to get another one."
)

Form = Literal["images", "multiframe", "maps"]
"""One file per image; one for all; Parametric Maps."""


@dataclass(frozen=True, eq=False)
class WritePlan:
    """What is to be written.

    Parameters
    ----------
    elements : Elements
        What the images say, a row per image.
    images : ndarray of int, shape (cells,)
        For each cell of the array the number of its image, ``GAP`` where there is none.
    shape : tuple of int
        Of the cells.
    names : list of str
        What messages call the dimensions of the cells.
    target : Target
        What the kind of object can store.
    frame : tuple of int
        Rows and columns of an image.
    dtype : str
        Of Parametric Maps.
    form : str
    transfer_syntax : str
        UID.
    rescales : bool
        Whether slope and intercept stand in each image.
    rescale_type : str
        What RescaleType says beside them.
    signed : bool
        Whether the sources store negative numbers.
    slopes, intercepts : ndarray of float64, shape (images,)
        Of the sources, NaN where there is none: values on their grid are stored exactly.
    one_scale : bool
        Whether the images of one object get one slope and intercept where values are rounded.
    """

    elements: Elements
    images: npt.NDArray[np.int64]
    shape: tuple[int, ...]
    names: list[str]
    frame: tuple[int, int]
    target: Target = field(default_factory=Target)
    dtype: str = ""
    form: Form = "images"
    transfer_syntax: str = EXPLICIT
    rescales: bool = False
    rescale_type: str = ""
    signed: bool = False
    slopes: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    intercepts: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    one_scale: bool = False

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.slopes)

    def place(self, cell: int) -> str:
        """Return how messages call a cell."""
        if not self.shape:
            return "the image"
        index = np.unravel_index(cell, self.shape)
        parts = [f"{name}={int(i)}" for name, i in zip(self.names, index, strict=True)]
        return f"the image at {', '.join(parts)} (counted from 0)"


@dataclass(frozen=True)
class Manifest:
    """What a write has made.

    Parameters
    ----------
    files : list of str
        Names in its folder of images.
    uids : list of str
        SOPInstanceUID of each.
    error : float
        The largest difference between a number of the array and what its file says.
    scales_differ : bool
        Whether frames of one file have slopes or intercepts of their own, though one was wanted.
    """

    files: list[str]
    uids: list[str]
    error: float
    scales_differ: bool = False


def store_plan(folder: str, plan: WritePlan) -> None:
    """Write a plan into its folder."""
    blobs: list[bytes] = []
    columns = []
    for key, column in plan.elements.items():
        packed = column.pack()
        columns.append([key.tag, key.creator, len(packed)])
        blobs.append(packed)
    arrays = []
    for values in (plan.images, plan.slopes, plan.intercepts):
        blobs.append(values.tobytes())
        arrays.append([values.dtype.str, len(values)])
    head = json.dumps(
        {
            "columns": columns, "arrays": arrays, "shape": plan.shape, "names": plan.names,
            "frame": plan.frame, "dtype": plan.dtype, "target": asdict(plan.target),
            "form": plan.form,
            "transfer_syntax": plan.transfer_syntax, "rescales": plan.rescales,
            "rescale_type": plan.rescale_type, "signed": plan.signed, "one_scale": plan.one_scale,
        }
    ).encode()  # fmt: skip
    path = os.path.join(folder, PLAN)
    with clear_errors(folder):
        with open(path + TEMPORARY_SUFFIX, "xb") as file:
            file.write(_HEAD.pack(_MAGIC, len(head)) + head)
            for blob in blobs:
                file.write(blob)
        os.replace(path + TEMPORARY_SUFFIX, path)


@contextlib.contextmanager
def clear_errors(folder: str) -> Iterator[None]:
    """Say what a disk that is full or gone means for the user."""
    try:
        yield
    except DbdicomError:
        raise
    except OSError as error:
        if not os.path.isdir(folder):
            raise _gone(folder) from error
        raise SaveFailed(
            f"The images could not be written to {folder}: {error.strerror or error}. The series "
            "is as it was before."
        ) from error


def _root_of(folder: str) -> str:
    """Return the folder of the database: <root>/.dbdicom_xr/writing/<name>."""
    return os.path.dirname(os.path.dirname(os.path.dirname(folder)))


def _gone(folder: str) -> DbdicomError:
    """Return the error about the folder of a write that is not there, or that of its database."""
    root = _root_of(folder)
    if os.path.isdir(root):
        return DbdicomError(
            f"{_GONE.format(folder=folder)} Or the {this_place()} has another folder of the name "
            "of the database."
        )
    if worker_address() is not None:
        return not_seen(root)
    return MissingFolder(
        f"The folder {root} is not there, into which this array is to be written. Give it this "
        "name again and compute once more, or open it where it is now, db.database(folder), and "
        "write the array again. The series is as it was before."
    )


@functools.lru_cache(maxsize=4)
def load_plan(folder: str) -> WritePlan:
    """Return the plan in a folder, read once per process.

    Raises
    ------
    DbdicomError
        There is none: the write was given up, or this process cannot see the folder.
    """
    try:
        with open(os.path.join(folder, PLAN), "rb") as file:
            data = file.read()
    except OSError as error:
        raise _gone(folder) from error
    magic, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise DbdicomError(f"{folder} holds the plan of another version of dbdicom_xr.")
    position = _HEAD.size + length
    head: dict[str, Any] = json.loads(data[_HEAD.size : position])
    elements: Elements = {}
    for tag, creator, size in head["columns"]:
        key = Key(tag, creator)
        elements[key] = Column.unpack(key, data[position : position + size])
        position += size
    arrays = []
    for dtype, count in head["arrays"]:
        values = np.frombuffer(data, dtype, count, position)
        position += values.nbytes
        arrays.append(values)
    target = head["target"]
    return WritePlan(
        elements,
        arrays[0],
        tuple(head["shape"]),
        head["names"],
        tuple(head["frame"]),
        Target(**{**target, "bits": tuple(target["bits"])}),
        head["dtype"],
        head["form"],
        head["transfer_syntax"],
        head["rescales"],
        head["rescale_type"],
        head["signed"],
        arrays[1],
        arrays[2],
        head["one_scale"],
    )
