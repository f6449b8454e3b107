"""Where the files of an index lie, and their pixels in them, as this process knows it.

Looked up once, and again where a file is found to be another one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import IndexDamaged, StaleArray
from dbdicom_xr.index.columns import Column
from dbdicom_xr.index.gather import FRAGMENTS
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.index.seen import not_seen, this_place
from dbdicom_xr.index.store import FileRow, Store

__all__ = ["Ints", "Locator", "Place", "forget", "locator", "moved", "place_of", "release"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pixels of a file lie in it."""

    file: FileRow
    offset: int
    length: int
    frames: int
    deflated: bool
    fragments: bytes | None


def _folder_of(index: str) -> str:
    """Return the folder whose index it is, or where that is kept elsewhere, the folder of that."""
    folder = os.path.dirname(index)
    return os.path.dirname(folder) if os.path.basename(folder) == FOLDER_NAME else folder


class Locator:
    """What the index says of the files of one database, remembered per process."""

    def __init__(self, index: str, identity: str) -> None:
        try:
            os.stat(index)  # a Store makes the index that it does not find
            self.store = Store(Path(index), writable=False)
        except Exception as error:
            if not os.path.isdir(_folder_of(index)):
                raise not_seen(_folder_of(index)) from error
            raise StaleArray(
                f"The index {index} cannot be read by the {this_place()}: {error}. If the index "
                "was removed, open the database again and make the array anew."
            ) from error
        if self.store.identity != identity:
            raise StaleArray(
                f"The index {index} has been made anew since the array was made, or the "
                f"{this_place()} has another folder of this name. Make the array again from its "
                "series."
            )
        self.index = index
        self.identity = identity
        self._places: dict[int, Place] = {}
        self._lock = threading.Lock()

    def prepare(self, files: Ints) -> None:
        """Look up files that are not known yet."""
        wanted = {int(number) for number in files.ravel() if number >= 0}
        if wanted <= self._places.keys():
            return
        with self._lock:
            self._places.update(self._current(wanted - self._places.keys()))

    def _current(self, numbers: set[int]) -> dict[int, Place]:
        while True:  # until all was read from one state of the index
            state = self.store.generation()
            try:
                found = self._look_up(numbers)
            except IndexDamaged:  # or gone while it was read
                if self.store.generation() == state:
                    raise
                continue
            if self.store.generation() == state:
                return found

    def _look_up(self, missing: set[int]) -> dict[int, Place]:
        rows = self.store.files(missing)
        found: dict[int, Place] = {}
        for series in {row.series for row in rows.values()} - {None}:
            found.update(self._of_series(int(series or 0), rows))
        return found

    def _of_series(self, series: int, rows: dict[int, FileRow]) -> dict[int, Place]:
        places = self.store.places(series)
        order = np.argsort(places["file"], kind="stable")
        ordered = places["file"][order]
        left = set(ordered.tolist())
        mine = [row for row in rows.values() if row.series == series and row.id in left]
        found = {}
        at = order[np.searchsorted(ordered, [row.id for row in mine])]
        column: Column | None = self.store.column(series, FRAGMENTS)
        for row, place in zip(mine, at.tolist(), strict=True):
            item = places[place]
            fragments = None
            if column is not None and (code := column.code(place)) >= 0:
                fragments = column.values[code]
            found[row.id] = Place(
                row, int(item["offset"]), int(item["length"]), int(item["frames"]),
                bool(item["deflated"]), fragments if isinstance(fragments, bytes) else None,
            )  # fmt: skip
        return found

    def place(self, number: int) -> Place:
        """Return where a file is."""
        found = self._places.get(number)
        if found is None:
            raise self.stale(number)
        return found

    def look_again(self, number: int) -> Place:
        """Return where a file is by now: a save may have moved it."""
        with self._lock:  # in which others go on reading by the place that they know
            if not (found := self._current({number})):
                raise self.stale(number)
            self._places.update(found)
            return found[number]

    def in_memory(self, number: int) -> tuple[Place, bytes] | None:
        """Return a file that is kept in memory."""
        return _memory.get((self.index, self.identity), {}).get(number)

    def keep(self, files: Mapping[int, tuple[Place, bytes]]) -> None:
        """Keep files in memory, until :func:`release`."""
        with _locators_lock:
            _memory.setdefault((self.index, self.identity), {}).update(files)

    def stale(self, number: int) -> StaleArray:
        """Return the error about a file that is not there any more."""
        path = self.store.retired_path(number)
        if path is None:  # it is there, but not in a series any more: its twin now counts
            path = next((row.path for row in self.store.files([number]).values()), None)
        return StaleArray(
            f"{path or 'A file of this array'} has changed or vanished since the array was made; "
            "make the array again from its series."
        )


_MOST_OPEN = 32
# Where the index and the temporary folder of databases have gone, by where they were.
_moved: dict[str, str] = {}
_locators: dict[tuple[str, str], Locator] = {}
_memory: dict[tuple[str, str], dict[int, tuple[Place, bytes]]] = {}
_locators_lock = threading.Lock()


def _forget() -> None:
    global _locators_lock
    _locators.clear()
    _locators_lock = threading.Lock()
    # dask keeps the pool of the parent, whose threads are not here: computing would wait for ever.
    threaded: Any = sys.modules.get("dask.threaded")
    if hasattr(threaded, "pools") and hasattr(threaded, "default_pool"):
        threaded.default_pool, threaded.pools_lock = None, threading.Lock()
        threaded.pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def locator(index: str, identity: str) -> Locator:
    """Return what this process knows of an index, beginning to remember it if it is new."""
    index = _moved.get(index, index)
    with _locators_lock:
        found = _locators.pop((index, identity), None)
        if found is None:
            found = Locator(index, identity)
        _locators[index, identity] = found  # the last one used stands last
        while len(_locators) > _MOST_OPEN:
            _locators.pop(next(iter(_locators))).store.close()
        return found


def moved(old: str, new: str) -> None:
    """Note that a folder, or an index, is at another place; arrays made before read it there."""
    _moved[old] = new


def place_of(root: str) -> str:
    """Return where a folder is by now."""
    return _moved.get(root, root)


def forget(index: str) -> None:
    """Close what this process has open of an index; the next read opens it again."""
    with _locators_lock:
        for key in [key for key in _locators if key[0] == index]:
            _locators.pop(key).store.close()


def release(index: str, files: Ints | None = None) -> None:
    """Give back the memory of files that ``remember`` kept; of all by default."""
    with _locators_lock:
        for key in [key for key in _memory if key[0] == index]:
            for file in list(_memory[key]) if files is None else files.ravel().tolist():
                _memory[key].pop(int(file), None)
            if not _memory[key]:
                del _memory[key]
