"""The changing half of a database: what is collected, made one state, recovered and listed."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dbdicom_xr.errors import (
    DatabaseChanged,
    MissingFolder,
    NoPerson,
    NotInDatabase,
    NotSaved,
    SaveRecovered,
)
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.roots import is_remote, read_only
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.current import levels_to_user
from dbdicom_xr.records.editing.edits import edit_rows
from dbdicom_xr.records.levels import NodeRecord, record_of
from dbdicom_xr.records.pending import Queue, Renamed
from dbdicom_xr.records.recovering import recover_save
from dbdicom_xr.records.tree import Tree
from dbdicom_xr.staging.changing import Change
from dbdicom_xr.staging.staging import Staging

if TYPE_CHECKING:
    import pandas as pd

    from dbdicom_xr.records.attributes.lookup import Attribute
    from dbdicom_xr.records.record import Record

__all__ = ["ChangingRecord"]

T = TypeVar("T")

_TRIES: Final = 10  # each time another process would have to change something meanwhile


class ChangingRecord(NodeRecord):
    """What a database knows of its changes; :class:`Database` adds the folder and its index."""

    __slots__ = ("_behind", "_known", "_lock", "_queue", "_renamed", "_root", "_seen", "_staging")

    _behind: bool  # whether the index is to be brought up to date after a save that failed
    _known: int
    _lock: threading.RLock
    _queue: Queue
    _renamed: Renamed
    _root: str
    _seen: int
    _staging: Staging

    def _look_again(self) -> None:
        """Ask the index for its state at the next use, however recently that was done."""
        self._known = -1

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Collect the changes of a ``with`` block and make them one.

        Many small changes take milliseconds rather than seconds. They are on the disk when the
        block ends; where an error ends it, none of them is made.

        A batch belongs to its thread. Changes by other threads wait until it has ended, what they
        read does not.

        Raises
        ------
        Locked
            Another process is changing the database, or another thread has been in a batch for
            longer than half a minute.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> database = db.database(folder)
        >>> with database.batch():
        ...     for number, instance in enumerate(database.instances()):
        ...         instance.InstanceNumber = 100 + number
        >>> database.InstanceNumber[0]
        100
        >>> _ = database.restore()
        """
        self._take()
        try:
            with self._staging.batch():
                renamed = len(self._renamed)
                try:
                    yield
                except BaseException:
                    self._renamed.undone_since(renamed, self.database._current())
                    raise
        finally:
            self._look_again()

    @contextmanager
    def _change(self) -> Iterator[Change]:
        """Give a change in the making, which becomes the present state when the block ends."""
        with self._staging.changing:
            known = self._known
            self._take()
            if known >= 0 and known != self.database._current():
                self._look_again()
                raise DatabaseChanged(f"{self._root} was changed meanwhile; repeat the call.")
            self._staging.flush()
            with self._lock:
                self._look_again()
                change = Change(self.database._view())
                yield change
                self._staging.replace(change.result())
                self._look_again()

    def _require_folder(self) -> None:
        """Raise where the folder has gone, and with it perhaps what was staged."""
        if not is_remote(self._root) and not os.path.isdir(self._root):
            self._take()  # which says so

    def _take(self) -> None:
        """Become the one that changes the database, whatever another one has left behind."""
        if is_remote(self._root):
            raise read_only(self._root)
        if not os.path.isdir(self._root):
            self._staging.give()  # to whoever opens it at its new place
            raise MissingFolder(
                f"The folder {self._root} has gone. If it was moved or renamed, open it at its new "
                "place: what is staged is there too."
            )
        with self._staging.changing:
            self._staging.take()
            if self._staging.left_behind():
                self._recover()
                self._staging.take()

    def _queue_edit(self, record: Record, attribute: Attribute, value: Any) -> bool:
        """Note the edit of one instance in a batch, if that is all there is to it."""
        if not self._staging.in_batch or record.level != "instance":
            return False
        instance: Any = record
        at = instance._at
        if at is None or at[0].generation != self._known or self._seen != self._staging.seen:
            self._staging.flush()
            at = instance._locate()
        self._staging.flush(but=self._flush)
        self._staging.note(self._flush)
        with self._lock:
            return self._queue.add(at[0], at[1], attribute, value)

    def _flush(self) -> None:
        """Make the edits that were noted part of what is staged, while the batch lasts."""
        if not self._queue:
            return
        with self._staging.changing, self._lock:
            queued, self._queue = self._queue, Queue()
            if not self._staging.in_batch:
                return
            change = Change(self.database._view())
            for table, edits in queued.tables():
                edit_rows(change, table, edits)
            self._staging.replace(change.result())
            self._look_again()

    def _record_at(self, level: str, key: SeriesKey) -> Record:
        """Return the patient, study or series at a place."""
        node = self.database._tree().at(level, key)
        if node is None:
            raise NotInDatabase(f"There is no {level} at {'/'.join(key)}.")
        return record_of(self.database, node)

    def _table_of(self, key: SeriesKey) -> Table | None:
        """Return the table of a series at a place."""
        node = self.database._tree().at("series", key)
        return None if node is None or node.row is None else self.database._table(node.row)

    def _recover(self) -> None:
        """Complete or undo a save that was interrupted, and say so."""
        if self._staging.left_behind() or self.database._store.saving():
            recovered = recover_save(self.database)
            if recovered is not None:
                warnings.warn(recovered, SaveRecovered, stacklevel=levels_to_user())

    def _at_once(self, read: Callable[[], T]) -> T:
        """Return what is read in several steps, all from one state of the database."""
        database = self.database
        for _ in range(_TRIES):
            state = database._view().number
            result = read()
            if database._view().number == state:
                break
        return result

    def _saved_tree(self) -> Tree:
        """Return the tree as it is in the files."""
        database = self.database
        view = database._view()
        return Tree(view.base.series(), view.number, view.layer.kept.values())

    def changes(self) -> pd.DataFrame:
        """Return what is staged, before it is saved.

        Returns
        -------
        pandas.DataFrame
            A row per series and kind of change: the ``record``, the ``change`` ("edited",
            "moved", "copied", "new", "removed", "made"), the ``attribute``, and how many
            ``instances``.
        """
        from dbdicom_xr.records.changes import table_of_changes

        return table_of_changes(self.database)

    def _ask_about_changes(self) -> str:
        """Return whether to save, or to restore ("No"), or to "Leave" it, or not to close."""
        try:
            answer = self.dialog.question(
                f"There are changes in {self._root} that are not saved. Save them? No undoes them.",
                cancel=True,
                decides="close(save=True|False)",
            )
        except NoPerson:
            warnings.warn(
                f"{self._root} was closed with changes that are not saved. They stay staged, and "
                "are there when it is opened again. close(save=True) saves them, "
                "close(save=False) undoes them.",
                NotSaved,
                stacklevel=levels_to_user(),
            )
            return "Leave"
        return answer
