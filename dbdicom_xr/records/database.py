"""The database: a folder with its index, and the root of the tree."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dbdicom_xr
from dbdicom_xr.arrays.locator import forget
from dbdicom_xr.errors import (
    DatabaseChanged,
    DbdicomError,
    FolderNotReadable,
    IndexDamaged,
    IndexRebuilt,
    MissingFolder,
)
from dbdicom_xr.index.connection import remove_index
from dbdicom_xr.index.roots import RemoteRoot, is_remote, place_of, remember, with_options
from dbdicom_xr.index.rows import from_stored, to_stored
from dbdicom_xr.index.scan import Outcome, refresh
from dbdicom_xr.index.seen import not_seen, this_place, worker_address
from dbdicom_xr.index.store import SeriesRow, Store
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Voice, progress_bar
from dbdicom_xr.records.attributes import custom as _custom  # noqa: F401  # registers its attributes
from dbdicom_xr.records.changing import ChangingRecord
from dbdicom_xr.records.current import levels_to_user
from dbdicom_xr.records.location import may_be_replaced, staging_path
from dbdicom_xr.records.pending import Queue, Renamed
from dbdicom_xr.records.problems import Problem, Problems
from dbdicom_xr.records.record import Record
from dbdicom_xr.records.recovering import catch_up
from dbdicom_xr.records.tree import Node, Tree
from dbdicom_xr.records.writing.expected import adopt_finished, expected
from dbdicom_xr.records.writing.from_nothing_methods import FromNothing
from dbdicom_xr.staging.staging import staging_of
from dbdicom_xr.staging.view import View

if TYPE_CHECKING:
    from dbdicom_xr.records.scratch import Scratch

__all__ = ["Database", "Problem"]

# How long a record may show the database as it was before another process changed it.
_LOOK_AGAIN_SECONDS = 0.05
_TABLES_IN_MEMORY = 256
# Room for the states of what is staged between two states of the index.
_STATES: Final = 1 << 96


class Database(FromNothing, ChangingRecord):
    """A folder of DICOM files.

    Made by :func:`dbdicom_xr.database`. It is a mapping of its patients, and can be used as a
    context manager.
    """

    __slots__ = (
        "_index", "_last_look", "_own_voice", "_scratch", "_store", "_table_cache", "_tree_cache",
        "_view_cache",
    )  # fmt: skip
    level = "database"

    def __init__(self, root: str, index: Path) -> None:
        self._root = with_options(root, str(index)) if is_remote(root) else root
        self._index = index
        self._own_voice = Voice()
        self._scratch: Scratch | None = None  # while it has no folder of its own
        self._lock = threading.RLock()
        self._tree_cache: Tree | None = None
        self._table_cache: OrderedDict[tuple[int, int], Table] = OrderedDict()
        self._view_cache: View | None = None
        self._known = -1  # number of the state that is shown
        self._last_look = 0.0
        self._staging = staging_of(staging_path(root, index))
        self._seen = -1
        self._behind = False
        self._queue = Queue()
        self._renamed = Renamed()
        self._store = self._open_store()
        self._check_owner()
        remember(self._root, str(index))

    # -- the index ---------------------------------------------------------------------------

    def _open_store(self) -> Store:
        try:
            return Store(self._index)
        except IndexDamaged as error:
            return self._replace_store(error)
        except (sqlite3.Error, OSError) as error:
            if not self._index.exists():
                raise DbdicomError(
                    f"No index can be made at {self._index}: {error}. Pass index= with a place "
                    "that can be written to."
                ) from error
            raise DbdicomError(
                f"The index {self._index} cannot be opened: {error}. Is another program using it?"
            ) from error

    def _replace_store(self, reason: Exception) -> Store:
        if not may_be_replaced(self._index, self._root):
            raise DbdicomError(
                f"{self._index} is not an index of dbdicom_xr, and is left as it is ({reason}). "
                "Pass index= with another place, or remove the file."
            ) from reason
        warnings.warn(
            f"The index of {self._root} is made anew: {reason}",
            IndexRebuilt,
            stacklevel=levels_to_user(),
        )
        remove_index(self._index)
        self._tree_cache = None
        self._table_cache.clear()
        self._known = -1
        return Store(self._index)

    def _rebuild(self, reason: IndexDamaged) -> None:
        """Make the index anew, which has turned out to be damaged."""
        self._store.close()
        self._store = self._replace_store(reason)
        self._refresh(everything=True)

    def _check_owner(self) -> None:
        """Make sure that an index that lies elsewhere is that of this folder."""
        if Path(self._root) in self._index.parents:
            return
        stored = self._store.meta("root")
        if stored is None or (owner := from_stored(stored)) == place_of(self._root):
            return
        url = owner.partition("\n")[0] if is_remote(owner) else owner
        if url == self._root and isinstance(self._root, RemoteRoot) and not self._root.is_told:
            return  # what is in the index is read without them
        self._store.close()
        if url == self._root:
            raise DbdicomError(
                f"{self._index} is the index of {url} with other storage_options, which may lead "
                "to another place. Pass another index=, or remove the file if it is the same "
                "place, with a new password or token."
            )
        raise DbdicomError(
            f"{self._index} is the index of {url}, not of {self._root}. Pass "
            "another index=, or remove the file if that folder was moved here."
        )

    def _own(self) -> None:
        if self._store.meta("root") is None:
            with self._store.transaction() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO meta VALUES('root', ?)",
                    [to_stored(place_of(self._root))],
                )

    def _generation(self) -> int:
        """Return the number of the present state, of the index with what is staged."""
        staging = self._staging
        if staging.in_batch:
            staging.flush()
        else:
            self._take_in_finished()
        now = time.monotonic()
        # What this process changes, through whichever object, is seen at once.
        if (
            self._known < 0
            or self._seen != staging.seen
            or now - self._last_look > _LOOK_AGAIN_SECONDS
        ):
            if self._behind and staging.taken:
                catch_up(self)
            self._seen = staging.seen
            self._known = self._current()
            self._last_look = now
        return self._known

    def _take_in_finished(self) -> None:
        """Take in images that others have computed meanwhile."""
        staging = self._staging
        if staging.in_batch or staging.batch_of_another:
            return  # reading waits for no batch
        if not self._lock._is_owned():  # type: ignore[attr-defined]
            adopt_finished(self._root)  # takes locks that come before that one

    def _current(self) -> int:
        return self._store.generation() * _STATES + self._staging.generation()

    def _view(self) -> View:
        """Return the index with what is staged laid over it."""
        generation = self._generation()
        view = self._view_cache
        while view is None or view.number != generation:
            with self._lock:
                base = self._store.generation()
                layer = self._staging.layer()
                saving = bool(layer) and self._staging.saving()
                generation = base * _STATES + self._staging.generation()
                if generation != self._current():
                    continue
                self._known, self._last_look = generation, time.monotonic()
                view = self._view_cache = View(
                    self._store, self._root, layer, (base, generation),
                    saving=saving, previous=view,
                )  # fmt: skip
        return view

    def _tree(self) -> Tree:
        view = self._view()
        tree = self._tree_cache
        if tree is None or tree.generation != view.number:
            with self._lock:
                try:
                    rows = view.series()
                except IndexDamaged as error:
                    self._rebuild(error)
                    view = self._view()
                    rows = view.series()
                tree = self._tree_cache = Tree(rows, view.number, view.empty())
        return tree

    def _table(self, series: SeriesRow) -> Table:
        view = self._view()
        generation = view.number
        if series.id not in self._tree().series_node:
            raise DatabaseChanged(
                f"{self._root} was brought up to date meanwhile; repeat the call."
            )
        with self._lock:
            table = self._table_cache.get((series.id, generation))
            if table is None:
                table = Table(view, self._root, series, generation)
                self._table_cache[series.id, generation] = table
                while len(self._table_cache) > _TABLES_IN_MEMORY:
                    self._table_cache.popitem(last=False)
            else:
                self._table_cache.move_to_end((series.id, generation))
            return table

    def _find(self, uid: str) -> tuple[Node, Table, int] | None:
        """Return the series of an instance, its table, and the row of the instance in it."""
        tree = self._tree()
        for _, series in self._view().series_of_uid(uid):
            node = tree.series_node.get(series)
            if node is None or node.row is None:
                continue
            table = self._table(node.row)
            row = table.row_of.get(uid)
            if row is not None:
                return node, table, row
        return None

    def _refresh(self, *, everything: bool = False) -> Outcome:
        progress = _ScanProgress(self._own_voice, self._root)
        try:
            self._own()
            self._store.wait_for_save()  # which brings the index up to date by itself
            outcome = refresh(self._store, self._root, everything=everything, progress=progress)
        except IndexDamaged as error:
            self._store.close()
            self._store = self._replace_store(error)
            outcome = refresh(self._store, self._root, everything=True, progress=progress)
        except DbdicomError:
            raise
        except PermissionError as error:
            raise FolderNotReadable(
                f"{self._root} may not be read: {error.strerror}. Ask its owner for permission."
            ) from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingFolder(f"The folder {self._root} has gone: {error.strerror}.") from error
        finally:
            self._known = -1
        self._report(outcome)
        return outcome

    def _report(self, outcome: Outcome) -> None:
        if not outcome.changed:
            return
        problems = self.problems
        outside = sum(not problem.kept for problem in problems)
        irregular = len(problems) - outside
        parts = []
        if outside and not self._node.children:
            parts.append(f"There are no DICOM files in {self._root}, but {outside} other files")
        elif outside:
            parts.append(
                f"{outside} of the files in {self._root} {'is' if outside == 1 else 'are'} not in "
                "the database"
            )
        if irregular:
            parts.append(
                f"{irregular} {'file is' if irregular == 1 else 'files are'} damaged or irregular"
            )
        if parts:
            self.message(f"{'; '.join(parts)}. database.problems says why.")

    def scan(self) -> Database:
        """Read all files again, also those that seem unchanged.

        Returns
        -------
        Database
            Itself.
        """
        self._refresh(everything=True)
        return self

    @property
    def problems(self) -> Problems:
        """The files that could not be read, or only in part, and why, by path."""
        found = [
            Problem(f"{self._root}/{row.path}", row.note or "", row.series is not None)
            for row in self._store.problems()
        ]
        lost = [
            Problem(f"{self._root}: instance {uid}",
                    f"changes of it are staged ({what}), but its file has gone", False)
            for uid, what in self._view().lost()
        ]  # fmt: skip
        return Problems(found + lost)

    def close(self, save: bool | None = None) -> None:
        """Close the files of the index and of what is staged, and let others change the database.

        The database can still be used: it opens them again.

        Parameters
        ----------
        save : bool, optional
            What becomes of changes that are staged: True saves them, False restores the state
            that was saved last. None asks, or where no person is there leaves them staged, to be
            found when the database is opened again, with a ``NotSaved`` warning. A database
            without a folder goes, with that warning; ``save(path)`` keeps it.
        """
        if self._scratch is not None:
            self._scratch.close(self, save)
            return
        self._staging.require_no_batch("close()")
        if save:
            self._require_folder()
        if save is False:
            from dbdicom_xr.records.writing.adopting import give_up

            for folder in expected(self._root):  # writes not computed, which may fill the disk
                give_up(folder)
        if self._staging.layer().unsaved:
            wanted = {True: "Yes", False: "No", None: ""}[save] or self._ask_about_changes()
            if wanted == "Cancel":
                return
            if wanted == "Yes":
                self.save()
            elif wanted == "No":
                self.restore()
        self._close()

    def _close(self) -> None:
        self._staging.close()
        self._store.close()
        forget(str(self._store.path))

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        if any(exception):  # whatever went wrong, nobody has decided about what is staged
            self._close()
        else:
            self.close()

    # -- as a record -------------------------------------------------------------------------

    @property
    def database(self) -> Database:
        """Itself."""
        return self

    @property
    def parent(self) -> Record:
        """Itself: the database has nothing above it."""
        return self

    @property
    def name(self) -> str:
        """The name of the folder, "scratch" without one."""
        return os.path.basename(self._root) or self._root

    @property
    def path_on_disk(self) -> str:
        """The folder."""
        return self._root

    @property
    def _node(self) -> Node:
        return self._tree().root

    def _identity(self) -> tuple[Any, ...]:
        return (place_of(self._root),)

    def __reduce__(self) -> tuple[Any, ...]:
        from dbdicom_xr.records.unseen import unpickled

        return unpickled, (self._root, str(self._index))


class _ScanProgress:
    """Shows a scan on the front end."""

    def __init__(self, voice: Voice, root: str) -> None:
        self._voice = voice
        self._root = root

    def start(self, total: int) -> None:
        self._context = progress_bar(total, f"Reading {self._root}", "file", self._voice)
        self._bar = self._context.__enter__()

    def advance(self, count: int) -> None:
        self._bar.update(count)

    def finish(self) -> None:
        self._context.__exit__(None, None, None)


_MOST_OPEN: Final = 32  # in workers that live long, and see many databases
_opened: dict[tuple[str, str], Database] = {}
scratch_databases: weakref.WeakValueDictionary[tuple[str, str], Database] = (
    weakref.WeakValueDictionary()
)
"""Those of this process that have, or had, no folder of their own."""
_opened_lock = threading.Lock()


def reopened(root: str, index: str) -> Database:
    """Return the database that a record was pickled with, or an array read from.

    One per index in each process. No file of the folder is looked at.
    """
    dbdicom_xr._register(always=True)  # records make arrays, which this process has none of yet
    if is_remote(root):
        root = with_options(root, index)
    key = (place_of(root), index)
    with _opened_lock:
        found = scratch_databases.get((root, index)) or _opened.pop(key, None)
        if found is None:
            if not os.path.exists(index):
                if not is_remote(root) and not os.path.isdir(root):
                    raise not_seen(root)
                if worker_address() is None:
                    raise MissingFolder(
                        f"The index {index} of the database {root} is not there, by which this was "
                        "read. Open the folder, db.database(folder), and give the header of its "
                        "series: header=..., or make the array again."
                    )
                raise MissingFolder(
                    f"The index {index} of the database {root} is not there for the "
                    f"{this_place()}. If it lies elsewhere than the folder, as that of a folder "
                    "that cannot be written to, choose a place that all processes see: index=. If "
                    "it was removed, open the database again."
                )
            found = Database(root, Path(index))
        if (root, index) not in scratch_databases:
            _opened[key] = found  # the last one used stands last
        for old, other in list(_opened.items())[: max(0, len(_opened) - _MOST_OPEN)]:
            if not other._staging.taken:  # records that hold it open it again
                _opened.pop(old)._close()
        return found
