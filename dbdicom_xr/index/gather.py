"""The headers of many files, read one after the other, as blocks of columns.

This is what a worker process does for the scan: paths in, findings out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from dbdicom_xr.index.blocks import FRAGMENTS, PLACE, Block, Findings, SeriesKey
from dbdicom_xr.index.elements import Malformed, Unusual
from dbdicom_xr.index.fallback import read_with_pydicom
from dbdicom_xr.index.files import open_for_reading, version_of
from dbdicom_xr.index.group import Group, group_key
from dbdicom_xr.index.repeats import Repeats
from dbdicom_xr.index.walker import walk

__all__ = ["FRAGMENTS", "PLACE", "Block", "Findings", "SeriesKey", "gather"]


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
    findings = Findings()
    repeats = Repeats()
    groups: dict[object, Group] = {}
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
                raise Malformed("not a regular file")
            if status.st_size == 0:
                raise Malformed("an empty file")
            try:
                header = walk(fd, status.st_size, hint, repeats)
            except Unusual as unusual:
                header = read_with_pydicom(fd, status.st_size, str(unusual))
            if header.contiguous:
                hint = min(max(header.contiguous + 256, 4096), 65536)
            key = group_key(header)
            group = groups.get(key)
            if group is None:
                group = groups[key] = Group(header)
            group.add(fd, number, header)
            if header.notes:
                findings.notes[number] = "; ".join(header.notes)
        except Malformed as error:
            findings.problems[number] = str(error)
        except OSError as error:
            findings.problems[number] = f"cannot be read: {error.strerror or error}"
        except Exception as error:  # no file is so odd that it may hide the others
            findings.problems[number] = f"cannot be read: {type(error).__name__}: {error}"
        finally:
            os.close(fd)
    findings.blocks = [group.block() for group in groups.values()]
    return findings
