"""DICOMDIR: the table of contents of a disc or folder for exchange (PS3.10 8, PS3.12, PS3.3 F)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.values import without_warnings

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DICOMDIR", "lay_out"]

DICOMDIR: Final = "DICOMDIR"

# Type 1 in the records of a DICOMDIR, type 2 in most objects; who writes it makes values (PS3.3
# F.5.1 to F.5.4). The objects stay as they are.
_NEEDED: Final = {
    "PatientID": "UNKNOWN", "StudyDate": "19000101", "StudyTime": "000000", "StudyID": "1",
    "Modality": "OT", "SeriesNumber": 1,
}  # fmt: skip


def lay_out(headers: Sequence[Dataset], folder: str) -> list[str]:
    """Write a DICOMDIR for objects, and tell which names it gives to their files.

    Parameters
    ----------
    headers : sequence of Dataset
        With their file meta information; pixels are not needed. What the DICOMDIR needs and they
        lack is added.
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

    with without_warnings(), closing(_Files(FileSet())) as held:
        files = held.files
        instances = []
        for number, header in enumerate(headers, start=1):
            for keyword, value in {**_NEEDED, "InstanceNumber": number}.items():
                if header.get(keyword) in (None, ""):
                    setattr(header, keyword, value)
            try:
                instances.append(files.add(header))
            except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError) as error:
                # What is behind it says what is missing, without the words of a programmer.
                reason = str(error.__cause__ or error).replace("The instance's ", "its ")
                raise InvalidValue(
                    f"The instance {header.get('SOPInstanceUID', '')} cannot stand in a DICOMDIR: "
                    f"{reason} (PS3.3 F.5). Give it what is missing; or leave it out: remove() it "
                    "first, and restore() afterwards; or export without dicomdir=True."
                ) from error
        names = [os.fspath(instance.FileID).replace(os.sep, "/") for instance in instances]
        try:
            files.write(folder)
        except ValueError as error:
            raise InvalidValue(f"No DICOMDIR can be made: {error}") from error
    return names


class _Files:
    """A file-set of pydicom, whose temporary folder is removed when it is closed."""

    def __init__(self, files: Any) -> None:
        self.files = files

    def close(self) -> None:
        """Remove the folder; pydicom leaves that to the collector, with a warning."""
        folder = self.files._stage.get("t")
        if folder is not None:
            folder.cleanup()
