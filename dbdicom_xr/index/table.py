"""The header of one series as a table: a row per frame, columns read when asked for.

A table is a snapshot. When the index changes, what was read of it stays as it was, and what was not
read yet raises ``DatabaseChanged``: rows of two states of the index never stand beside each other.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import DatabaseChanged, IndexDamaged, StaleArray
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.elements import External
from dbdicom_xr.index.files import open_for_reading, pread, version_of
from dbdicom_xr.index.lazily import lazily
from dbdicom_xr.index.merge import SOP_INSTANCE_UID, instance_uids
from dbdicom_xr.index.roots import is_remote, remote_folder
from dbdicom_xr.index.store import FRAME, INSTANCE, FileRow, SeriesRow

__all__ = ["Readable", "Table", "Values"]

T = TypeVar("T")


class Readable(Protocol):
    """What a table is read from: an index, or an index with something laid over it."""

    @property
    def path(self) -> Path:
        """The index file."""
        ...

    @property
    def identity(self) -> str:
        """Of the index file."""
        ...

    def generation(self) -> int:
        """Return the number of the present state."""
        ...

    def places(self, series: int) -> npt.NDArray[np.void]:
        """Return where the pixels of each instance are."""
        ...

    def keys(self, series: int, scope: int = INSTANCE) -> list[Key]:
        """Return the attributes that occur."""
        ...

    def column(self, series: int, key: Key, scope: int = INSTANCE) -> Column | None:
        """Return one attribute."""
        ...

    def columns(self, series: int, scope: int = INSTANCE) -> dict[Key, Column]:
        """Return all attributes."""
        ...

    def files(self, numbers: Iterable[int] | None = None) -> dict[int, FileRow]:
        """Return files by number."""
        ...


_BYTES_AT_ONCE: Final = 32 << 20
"""Of values in files that are elsewhere."""


@dataclass(slots=True)
class Values:
    """The values of one attribute in the frames of a series.

    Parameters
    ----------
    distinct : list
        The values that occur; two of them may be equal.
    codes : ndarray of int, shape (frames,)
        For each frame its value, -1 where the attribute is absent.
    """

    distinct: list[Any]
    codes: npt.NDArray[np.int32]

    def of(self, row: int) -> Any:
        """Return the value of a frame, None where absent or empty."""
        code = self.codes[row]
        return None if code < 0 else self.distinct[code]

    def as_objects(self) -> npt.NDArray[np.object_]:
        """Return one value per frame, shape (frames,)."""
        pool = np.empty(len(self.distinct) + 1, object)
        for i, value in enumerate(self.distinct):
            pool[i] = value
        pool[-1] = None
        return pool[self.codes]

    def take(self, rows: npt.NDArray[Any]) -> Values:
        """Return the values of some frames."""
        return Values(self.distinct, self.codes[rows])

    def occurring(self) -> list[Any]:
        """Return the values that occur, None left out, in the order of their first frame."""
        used, first = np.unique(self.codes, return_index=True)
        order = used[np.argsort(first, kind="stable")]
        return [
            value
            for code in order.tolist()
            if code >= 0 and (value := self.distinct[code]) is not None
        ]


class Table:
    """The header of one series.

    Parameters
    ----------
    store : Readable
        The index, or a view of it.
    root : str
        The folder, for values that were left in the files.
    series : SeriesRow
    generation : int
        Of the index when the table was made.
    """

    def __init__(self, store: Readable, root: str, series: SeriesRow, generation: int) -> None:
        self.store = store
        self.root = root
        self.series = series
        self.generation = generation
        self._columns: dict[tuple[int, Key], Column | None] = {}
        self._loaded = False
        self._lock = threading.Lock()

    def _checked(self, value: T) -> T:
        """Return what was just read, provided that the index is still that of the table."""
        if self.store.generation() != self.generation:
            raise DatabaseChanged(
                f"{self.root} was brought up to date while it was being read; repeat the call."
            )
        return value

    def __repr__(self) -> str:
        return f"<Table of {self.series.frames} frames in {self.series.instances} instances>"

    def __len__(self) -> int:
        return len(self.instance_of)

    # -- rows --------------------------------------------------------------------------------

    @lazily
    def places(self) -> npt.NDArray[np.void]:
        """Where the pixels of each instance lie, shape (instances,)."""
        try:
            places = self.store.places(self.series.id)
        except IndexDamaged:
            self._checked(None)  # gone, perhaps, rather than damaged
            raise
        return self._checked(places)

    @lazily
    def instance_of(self) -> npt.NDArray[np.intp]:
        """The instance of each frame, shape (frames,)."""
        counts = self.places["frames"]
        return np.repeat(np.arange(len(counts)), counts)

    @lazily
    def first_frames(self) -> npt.NDArray[np.intp]:
        """The first frame of each instance, shape (instances,)."""
        counts = self.places["frames"].astype(np.intp)
        return np.asarray(np.cumsum(counts) - counts)

    @lazily
    def frame_numbers(self) -> npt.NDArray[np.intp]:
        """The number of each frame in its instance, from 1, shape (frames,)."""
        return np.arange(len(self)) - self.first_frames[self.instance_of] + 1

    @lazily
    def is_classic(self) -> bool:
        """Whether every instance has one frame."""
        return bool((self.places["frames"] == 1).all())

    @lazily
    def uids(self) -> list[str]:
        """The UID of each instance; ``file:`` and its path for one that has none."""
        uids = instance_uids(self.column(SOP_INSTANCE_UID), len(self.places))
        missing = [row for row, uid in enumerate(uids) if not uid]
        if missing:
            files = self._checked(self.store.files(self.places["file"][missing]))
            for row in missing:
                uids[row] = f"file:{files[int(self.places['file'][row])].path}"
        return uids

    @lazily
    def digest(self) -> str:
        """What tells these instances from any others, in whatever order."""
        return hashlib.sha256("\n".join(sorted(self.uids)).encode()).hexdigest()[:16]

    @lazily
    def row_of(self) -> dict[str, int]:
        """The instance of each UID."""
        return {uid: row for row, uid in enumerate(self.uids)}

    # -- columns -----------------------------------------------------------------------------

    def column(self, key: Key, scope: int = INSTANCE) -> Column | None:
        """Return a column as the index has it; None where the series lacks the attribute."""
        with self._lock:
            if (scope, key) not in self._columns:
                if self._loaded:
                    return None
                column = self.store.column(self.series.id, key, scope)
                self._columns[scope, key] = self._checked(column)
            return self._columns[scope, key]

    def load(self) -> None:
        """Read all columns at once."""
        if self._loaded:
            return
        for scope in (INSTANCE, FRAME):
            columns = self._checked(self.store.columns(self.series.id, scope))
            with self._lock:
                for key, column in columns.items():
                    self._columns.setdefault((scope, key), column)
        self._loaded = True

    @lazily
    def keys(self) -> list[Key]:
        """The attributes that instances or frames have, by tag."""
        if self._loaded:
            held = {key for (_, key), column in self._columns.items() if column is not None}
            return sorted(key for key in held if key.tag >> 16 != 0xFFFE)
        try:
            found = {
                key for scope in (INSTANCE, FRAME) for key in self.store.keys(self.series.id, scope)
            }
        except IndexDamaged:
            self._checked(None)
            raise
        return self._checked(sorted(key for key in found if key.tag >> 16 != 0xFFFE))

    def values(self, key: Key, *alternatives: Key) -> Values | None:
        """Return an attribute frame by frame.

        Parameters
        ----------
        key : Key
        *alternatives : Key
            Attributes of functional groups that stand for it, where the frame has no such one.

        Returns
        -------
        Values or None
            None where no frame has it.
        """
        layers = [self._layer(name, FRAME) for name in (key, *alternatives)]
        layers.append(self._layer(key, INSTANCE))
        found: Values | None = None
        for layer in layers:
            if layer is None:
                continue
            if found is None:
                found = layer
                continue
            behind = np.where(layer.codes >= 0, layer.codes + len(found.distinct), -1)
            codes = np.where(found.codes >= 0, found.codes, behind).astype(np.int32)
            found = Values([*found.distinct, *layer.distinct], codes)
        return found

    def _layer(self, key: Key, scope: int) -> Values | None:
        column = self.column(key, scope)
        if column is None:
            return None
        distinct, codes = column.decoded(), column.codes_of()
        if column.left_in_files:
            # One place may hold different bytes in different files, so each row is read.
            rows = np.flatnonzero(codes >= 0)
            distinct = self._inside(column, rows.tolist())
            codes = np.full(len(codes), -1, np.int32)
            codes[rows] = np.arange(len(rows), dtype=np.int32)
        if scope == INSTANCE and not self.is_classic:
            codes = codes[self.instance_of]
        return Values(distinct, codes)

    def _inside(self, column: Column, instances: Sequence[int]) -> list[Any]:
        """Return the values of instances, from their files if they were left there."""
        values: list[Any] = [column.value(instance) for instance in instances]
        left = [at for at, value in enumerate(values) if isinstance(value, External)]
        found = self.read_all([(instances[at], values[at]) for at in left])
        for at, raw in zip(left, found, strict=True):
            values[at] = column.decode_external(column.code(instances[at]), raw)
        return values

    def value(self, key: Key, row: int, *alternatives: Key) -> Any:
        """Return the value of one frame, None where absent or empty."""
        for name in (key, *alternatives):
            column = self.column(name, FRAME)
            if column is not None and (code := column.code(row)) >= 0:
                return column.decoded()[code]
        column = self.column(key, INSTANCE)
        if column is None:
            return None
        instance = row if self.is_classic else int(self.instance_of[row])
        return self._inside(column, [instance])[0]

    def left_in_files(self, key: Key) -> bool:
        """Return whether values of an attribute are so long that they were left in the files."""
        columns = (self.column(key, INSTANCE), self.column(key, FRAME))
        return any(column is not None and column.left_in_files for column in columns)

    def read(self, instance: int, place: External) -> bytes:
        """Return bytes of the file of an instance."""
        file = self.file(instance)
        return read_version(self.root, file, place.offset, place.length)

    def read_all(self, places: Sequence[tuple[int, External]]) -> Iterator[bytes]:
        """Yield bytes of the files of instances; those that are elsewhere are asked for together.

        Parameters
        ----------
        places : sequence of (int, External)
            The instance of each, and where in its file.
        """
        if not is_remote(self.root):
            yield from (self.read(instance, place) for instance, place in places)
            return
        folder = remote_folder(self.root)
        some: list[tuple[FileRow, int, int]] = []
        size = 0
        for number, (instance, place) in enumerate(places):
            some.append((self.file(instance), place.offset, place.length))
            size += place.length
            if size > _BYTES_AT_ONCE or number == len(places) - 1:
                yield from folder.read_many(some)
                some, size = [], 0

    def file(self, instance: int) -> FileRow:
        """Return the file of an instance."""
        number = int(self.places["file"][instance])
        found = self._checked(self.store.files([number])).get(number)
        if found is None:
            raise IndexDamaged(f"{self.store.path} has lost file {number}")
        return found


def read_version(root: str, file: FileRow, offset: int, length: int) -> bytes:
    """Return bytes of a file, provided that it is still the one that was indexed.

    Raises
    ------
    StaleArray
        It changed or vanished.
    """
    if is_remote(root):
        return remote_folder(root).read(file, [(offset, length)])[0]
    path = f"{root}/{file.path}"
    try:
        fd = open_for_reading(path)
    except OSError as error:
        raise StaleArray(f"{path} cannot be read any more: {error.strerror or error}") from error
    try:
        status = os.fstat(fd)
        if version_of(status) != (file.size, file.mtime):
            raise StaleArray(
                f"{path} has changed since it was indexed; database.scan() reads it again"
            )
        return pread(fd, length, offset)
    finally:
        os.close(fd)
