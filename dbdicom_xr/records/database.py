"""The database: a folder with its index, and the root of the tree."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
import time
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from dbdicom_xr.arrays.source import forget
from dbdicom_xr.errors import (
    DatabaseChanged,
    DbdicomError,
    FolderNotReadable,
    IndexDamaged,
    IndexRebuilt,
    MissingFolder,
    NotAFolder,
)
from dbdicom_xr.index.connection import remove_index
from dbdicom_xr.index.rows import from_stored, to_stored
from dbdicom_xr.index.scan import Outcome, refresh
from dbdicom_xr.index.store import SeriesRow, Store
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Voice, progress_bar
from dbdicom_xr.records import custom as _custom  # noqa: F401  # registers its attributes
from dbdicom_xr.records.levels import NodeRecord
from dbdicom_xr.records.location import index_path, may_be_replaced
from dbdicom_xr.records.record import Record
from dbdicom_xr.records.tree import Node, Tree

__all__ = ["Database", "Problem", "database"]

# How long a record may show the database as it was before another process changed it.
_LOOK_AGAIN_SECONDS = 0.05
_TABLES_IN_MEMORY = 256


class Problem(NamedTuple):
    """A file about which there is something to say.

    ``kept`` tells whether it stands in the tree all the same.
    """

    file: str
    reason: str
    kept: bool


class Database(NodeRecord):
    """A folder of DICOM files.

    Made by :func:`dbdicom_xr.database`. It is a mapping of its patients, and can be used as a
    context manager.
    """

    __slots__ = (
        "_index", "_known", "_last_look", "_lock", "_own_voice", "_root", "_store",
        "_table_cache", "_tree_cache",
    )  # fmt: skip
    level = "database"

    def __init__(self, root: str, index: Path) -> None:
        self._root = root
        self._index = index
        self._own_voice = Voice()
        self._lock = threading.RLock()
        self._tree_cache: Tree | None = None
        self._table_cache: OrderedDict[tuple[int, int], Table] = OrderedDict()
        self._known = -1  # generation of the index
        self._last_look = 0.0
        self._store = self._open_store()
        self._check_owner()

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
            stacklevel=_levels_to_user(),
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
        owner = self._store.meta("root")
        if owner is not None and from_stored(owner) != self._root:
            self._store.close()
            raise DbdicomError(
                f"{self._index} is the index of {from_stored(owner)}, not of {self._root}. Pass "
                "another index=, or remove the file if that folder was moved here."
            )

    def _own(self) -> None:
        if self._store.meta("root") is None:
            with self._store.transaction() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO meta VALUES('root', ?)", [to_stored(self._root)]
                )

    def _look_again(self) -> None:
        """Ask the index for its state at the next use, however recently that was done."""
        self._known = -1

    def _generation(self) -> int:
        now = time.monotonic()
        if self._known < 0 or now - self._last_look > _LOOK_AGAIN_SECONDS:
            self._known = self._store.generation()
            self._last_look = now
        return self._known

    def _tree(self) -> Tree:
        generation = self._generation()
        tree = self._tree_cache
        if tree is None or tree.generation != generation:
            with self._lock:
                try:
                    rows = self._store.series()
                except IndexDamaged as error:
                    self._rebuild(error)
                    generation, rows = self._generation(), self._store.series()
                tree = self._tree_cache = Tree(rows, generation)
        return tree

    def _table(self, series: SeriesRow) -> Table:
        generation = self._generation()
        if series.id not in self._tree().series_node:
            raise DatabaseChanged(
                f"{self._root} was brought up to date meanwhile; repeat the call."
            )
        with self._lock:
            table = self._table_cache.get((series.id, generation))
            if table is None:
                table = Table(self._store, self._root, series, generation)
                self._table_cache[series.id, generation] = table
                while len(self._table_cache) > _TABLES_IN_MEMORY:
                    self._table_cache.popitem(last=False)
            else:
                self._table_cache.move_to_end((series.id, generation))
            return table

    def _find(self, uid: str) -> tuple[Node, Table, int] | None:
        """Return the series of an instance, its table, and the row of the instance in it."""
        tree = self._tree()
        for _, series in self._store.series_of_uid(uid):
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
            outcome = refresh(self._store, self._root, everything=everything, progress=progress)
        except IndexDamaged as error:
            self._store.close()
            self._store = self._replace_store(error)
            outcome = refresh(self._store, self._root, everything=True, progress=progress)
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
    def problems(self) -> list[Problem]:
        """The files that could not be read, or only in part, and why, by path."""
        return [
            Problem(f"{self._root}/{row.path}", row.note or "", row.series is not None)
            for row in self._store.problems()
        ]

    def close(self) -> None:
        """Close the index file. The database can still be used: it opens it again."""
        self._store.close()
        forget(str(self._store.path))

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
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
        """The name of the folder."""
        return os.path.basename(self._root) or self._root

    @property
    def path_on_disk(self) -> str:
        """The folder."""
        return self._root

    @property
    def _node(self) -> Node:
        return self._tree().root

    def _identity(self) -> tuple[Any, ...]:
        return (self._root,)

    def __reduce__(self) -> tuple[Any, ...]:
        return reopened, (self._root, str(self._index))


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


def database(
    path: str | os.PathLike[str] | None = None,
    *,
    create: bool = False,
    refresh: bool = True,
    index: str | os.PathLike[str] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Database:
    """Open a folder of DICOM files as a database.

    The first time all files are read and indexed, later only those that changed by name, size or
    modification time. No file of the folder is changed; the index is kept in its sub-folder
    ``.dbdicom_xr``, or in the user's cache directory where the folder cannot be written to.

    Parameters
    ----------
    path : path-like
        The folder.
    create : bool
        Make the folder if it does not exist.
    refresh : bool
        Look for changed files. False trusts the index, and looks at no file.
    index : path-like, optional
        Where to keep the index: a file, or a folder for it.
    storage_options : dict, optional
        For remote folders, which this version cannot open yet.

    Returns
    -------
    Database

    Raises
    ------
    MissingFolder, NotAFolder, FolderNotReadable
        There is no folder to open.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> with db.database(folder) as database:
    ...     print(len(database.series()), len(database.instances()))
    1 30
    """
    if path is None:
        raise DbdicomError("db.database() needs a folder: db.database('/data/study')")
    text = os.fsdecode(path)
    if storage_options is not None or "://" in text:
        raise DbdicomError(
            f"{text!r} is not a folder of this computer; remote folders cannot be opened yet."
        )
    root = _folder(text, create=create)
    opened = Database(root, index_path(root, index))
    if refresh or opened._generation() == 0:  # 0: new, or made anew, so there is nothing to trust
        opened._refresh()
    return opened


def _folder(text: str, *, create: bool) -> str:
    """Return the absolute path of a folder that exists, with ``/`` on every system."""
    if not text:  # an unset variable rather than the current folder
        raise MissingFolder("'' names no folder; write '.' for the current one.")
    root = os.path.abspath(os.path.expanduser(text))
    try:
        is_folder = stat.S_ISDIR(os.stat(root).st_mode)
    except FileNotFoundError:
        if not create:
            raise MissingFolder(
                f"The folder {root} does not exist. Check its name, or pass create=True to make it."
            ) from None
        _make(root)
        is_folder = True
    except NotADirectoryError:
        raise NotAFolder(f"{root} cannot be a folder: a part of its path is a file.") from None
    except PermissionError as error:
        raise FolderNotReadable(
            f"{root} may not be looked at: {error.strerror}. Ask its owner for permission."
        ) from error
    except (OSError, ValueError) as error:  # too long, a loop of links, a null character
        raise MissingFolder(f"{root!r} cannot be a folder: {error}.") from error
    if not is_folder:
        raise NotAFolder(
            f"{root} is a file. A database is a folder: open {os.path.dirname(root)!r} instead."
        )
    return root.replace(os.sep, "/") if os.sep != "/" else root


def _make(root: str) -> None:
    try:
        os.makedirs(root)
    except PermissionError as error:
        raise FolderNotReadable(f"{root} cannot be made: {error.strerror}.") from error
    except OSError as error:
        raise MissingFolder(f"{root} cannot be made: {error.strerror or error}.") from error


def _levels_to_user() -> int:
    """Return the stack level, seen from the caller, of the first code outside this package."""
    package = __name__.partition(".")[0] + "."
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(package):
        frame, levels = frame.f_back, levels + 1
    return levels


_opened: dict[tuple[str, str], Database] = {}
_opened_lock = threading.Lock()


def reopened(root: str, index: str) -> Database:
    """Return the database that a record was pickled with, or an array read from.

    One per index in each process. No file of the folder is looked at.
    """
    with _opened_lock:
        found = _opened.get((root, index))
        if found is None:
            if not os.path.exists(index):
                raise MissingFolder(
                    f"The index {index} of the database {root} is not there. Can this process see "
                    "the folder? If the index was removed, open the database again."
                )
            found = _opened[root, index] = Database(root, Path(index))
        return found
