"""Writes of this process that are computed later, perhaps by others."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from dbdicom_xr.emit.plan import MANIFEST

if TYPE_CHECKING:
    from dbdicom_xr.records.levels import Series

__all__ = ["adopt_finished", "expect", "forget"]

_expected: dict[str, dict[str, Series]] = {}  # by folder of the database, then of the write
_lock = threading.Lock()


def expect(series: Series, folder: str) -> None:
    """Take the images of a write in as soon as they are all there."""
    with _lock:
        _expected.setdefault(series.database.path_on_disk, {})[folder] = series


def forget(folder: str) -> None:
    """Expect no more of a write."""
    with _lock:
        for root, waiting in list(_expected.items()):
            waiting.pop(folder, None)
            if not waiting:
                del _expected[root]


def adopt_finished(root: str) -> None:
    """Take in what workers have finished for a database meanwhile; cheap where nothing is."""
    waiting = _expected.get(root)
    if not waiting:
        return
    for folder in list(waiting):
        if not os.path.exists(os.path.join(folder, MANIFEST)):
            continue
        with _lock:
            series = waiting.pop(folder, None)
        if series is not None:
            from dbdicom_xr.records.adopting import adopt

            adopt(series.database, folder, series)
