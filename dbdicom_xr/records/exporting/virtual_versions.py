"""By which time the references of an Icechunk repository know a file that was changed.

Icechunk compares whole seconds with the time at which a file was written: what is later is refused
when it is read. So the time that is kept has to be over before files are looked at for the last
time; a change after that is later than it.
"""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Sequence
from typing import Final

from dbdicom_xr.errors import DicomWarning
from dbdicom_xr.index.roots import is_remote
from dbdicom_xr.records.current import levels_to_user

__all__ = ["settled"]

_SECOND: Final = 10**9  # ns
_TICK: Final = 0.02  # s; file systems take their times from a clock that lags as much as 10 ms
_COARSE: Final = 2  # s; where times have whole seconds, or two as on memory sticks
_PATIENCE: Final = 5  # s
_LAST: Final = 2**32 - 1  # s; Icechunk has 32 bits


def settled(root: str, mtimes: Sequence[int]) -> datetime.datetime:
    """Return a time that files are not later than, when later changes get later times.

    Files that were written within this second are waited for.

    Parameters
    ----------
    root : str
        Where the files are.
    mtimes : sequence of int
        When they were written, in nanoseconds since 1970. Those of another computer do not tell,
        and are taken for written now.

    Warns
    -----
    DicomWarning
        A file says that it was written later than now.

    Examples
    --------
    >>> settled("/data", [1_500_000_000])
    datetime.datetime(1970, 1, 1, 0, 0, 2, tzinfo=datetime.timezone.utc)
    """
    if is_remote(root):
        newest, grain = time.time_ns(), float(_COARSE)
    else:
        newest = max(mtimes, default=0)
        grain = _COARSE if all(mtime % _SECOND == 0 for mtime in mtimes) else _TICK
    second = min(max(-(-newest // _SECOND), 0), _LAST)
    wait = second + grain - time.time()
    until = datetime.datetime.fromtimestamp(second, datetime.UTC)
    if wait > _PATIENCE:
        warnings.warn(
            f"Files in {root} say that they were written later than now, at {until:%Y-%m-%d %H:%M} "
            "(UTC): the virtual store does not notice files that are changed before then. Set the "
            "clock, or the times of the files, and make it again.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )
    elif wait > 0:
        time.sleep(wait)
    return until
