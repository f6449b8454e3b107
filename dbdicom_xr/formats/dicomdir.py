"""DICOMDIR: the table of contents of a disc or folder for exchange (PS3.10 8, PS3.12, PS3.3 F)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.values import without_warnings

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DICOMDIR", "lay_out"]

DICOMDIR: Final = "DICOMDIR"


def lay_out(headers: Sequence[Dataset], folder: str) -> list[str]:
    """Write a DICOMDIR for objects, and tell which names it gives to their files.

    Parameters
    ----------
    headers : sequence of Dataset
        With their file meta information; pixels are not needed.
    folder : str
        An empty one, in which the ``DICOMDIR`` is made, beside files of no use.

    Returns
    -------
    list of str
        For each object the path of its file, relative to that of the DICOMDIR, with ``/``: names
        of at most 8 capital letters and digits (PS3.10 8.2).

    Raises
    ------
    InvalidValue
        An object cannot stand in a DICOMDIR.
    """
    from pydicom.fileset import FileSet

    with without_warnings():
        files = FileSet()
        instances = []
        for header in headers:
            try:
                instances.append(files.add(header))
            except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError) as error:
                raise InvalidValue(
                    f"The instance {header.get('SOPInstanceUID', '')} cannot stand in a DICOMDIR: "
                    f"{error}. Give it what is missing, or export without dicomdir=True."
                ) from error
        names = [os.fspath(instance.FileID).replace(os.sep, "/") for instance in instances]
        try:
            files.write(folder)
        except ValueError as error:
            raise InvalidValue(f"No DICOMDIR can be made: {error}") from error
    return names
