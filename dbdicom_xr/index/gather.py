"""The headers of many files, read one after the other, as blocks of columns.

This is what a worker process does for the scan: paths in, findings out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from dbdicom_xr.index.blocks import FRAGMENTS, PLACE, Block, Findings, SeriesKey
from dbdicom_xr.index.elements import Header, Malformed, Unusual
from dbdicom_xr.index.fallback import read_with_pydicom
from dbdicom_xr.index.files import Opened, open_for_reading, version_of
from dbdicom_xr.index.group import Group, group_key
from dbdicom_xr.index.repeats import Repeats
from dbdicom_xr.index.walker import walk

__all__ = ["FRAGMENTS", "PLACE", "Block", "Findings", "Gathering", "SeriesKey", "gather"]


def gather(paths: Sequence[str]) -> Findings:
    """Read the headers of files.

    Parameters
    ----------
    paths : sequence of str

    Returns
    -------
    Findings
        Files that cannot be read are among its problems; no exception is raised.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> findings = gather([get_testdata_file("CT_small.dcm"), "no such file"])
    >>> findings.blocks[0].uids
    ['1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322']
    >>> findings.problems
    {1: 'cannot be opened: No such file or directory'}
    """
    gathering = Gathering()
    findings = gathering.findings
    hint = 16384
    for number, path in enumerate(paths):
        try:
            fd = open_for_reading(path)
        except OSError as error:
            findings.problems[number] = f"cannot be opened: {error.strerror or error}"
            continue
        try:
            status = os.fstat(fd)
            findings.versions[number] = version_of(status)
            if not stat.S_ISREG(status.st_mode):
                findings.problems[number] = "not a regular file"
                continue
            header = gathering.add(fd, status.st_size, number, hint)
            if header is not None and header.contiguous:
                hint = min(max(header.contiguous + 256, 4096), 65536)
        except OSError as error:
            findings.problems[number] = f"cannot be read: {error.strerror or error}"
        finally:
            os.close(fd)
    return gathering.done()


class Gathering:
    """Files that are read one after the other, wherever they are."""

    def __init__(self) -> None:
        self.findings = Findings()
        self._repeats = Repeats()
        self._groups: dict[object, Group] = {}

    def add(self, file: Opened, size: int, number: int, hint: int) -> Header | None:
        """Read the header of an open file.

        Parameters
        ----------
        file : int or Bytes
        size : int
        number : int
            Its place in the list of files.
        hint : int
            How many bytes to read first.

        Returns
        -------
        Header or None
            None where it cannot be read, which is then among the problems.
        """
        findings = self.findings
        try:
            if size == 0:
                raise Malformed("an empty file")
            try:
                header = walk(file, size, hint, self._repeats)
            except Unusual as unusual:
                header = read_with_pydicom(file, size, str(unusual))
            key = group_key(header)
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = Group(header)
            group.add(file, number, header)
            if header.notes:
                findings.notes[number] = "; ".join(header.notes)
            return header
        except Malformed as error:
            findings.problems[number] = str(error)
        except OSError as error:
            findings.problems[number] = f"cannot be read: {error.strerror or error}"
        except Exception as error:  # no file is so odd that it may hide the others
            findings.problems[number] = f"cannot be read: {type(error).__name__}: {error}"
        return None

    def done(self) -> Findings:
        """Return all that was found."""
        self.findings.blocks = [group.block() for group in self._groups.values() if len(group)]
        return self.findings
