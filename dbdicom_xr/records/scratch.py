"""Databases without a folder: in a temporary one, until they are saved into one of the user's."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from dbdicom_xr.arrays.locator import forget, moved
from dbdicom_xr.errors import (
    DbdicomError,
    DicomWarning,
    FileExists,
    FolderNotReadable,
    InvalidValue,
    NoPerson,
    NotSaved,
    SaveFailed,
)
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.rows import to_stored
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.index.store import Store
from dbdicom_xr.records.current import levels_to_user
from dbdicom_xr.records.database import Database, scratch_databases
from dbdicom_xr.records.editing.saving import save
from dbdicom_xr.records.editing.saving_to import named_folder, take_back
from dbdicom_xr.records.location import INDEX_NAME, STAGING_NAME
from dbdicom_xr.staging.durable import temporary_beside
from dbdicom_xr.staging.file import Layer
from dbdicom_xr.staging.lease import Process, has_ended, this_process
from dbdicom_xr.staging.patch import Patch, Role
from dbdicom_xr.staging.staging import Staging, staging_of

__all__ = ["Scratch", "save_scratch", "scratch_database"]

_PREFIX: Final = "dbdicom_xr-scratch"
# The numbering of processes that is meant, the process, its start, and something random.
_CHANGED: Final = [os.path.join(FOLDER_NAME, name) for name in (INDEX_NAME, STAGING_NAME)]
"""Files that are changed in place, and so never two names of one."""
_DESCRIPTION: Final = Key(0x0008103E)
_NAMED_AT_MOST: Final = 3
_NAME: Final = re.compile(rf"{_PREFIX}-([0-9a-f]+)-(\d+)-(\w*)-\w+")


def scratch_database() -> Database:
    """Make a database without a folder; see :func:`dbdicom_xr.database`."""
    _remove_left_behind()
    scratch = Scratch()
    root = scratch.root.replace(os.sep, "/")
    database = Database(root, Path(root) / FOLDER_NAME / INDEX_NAME)
    database._scratch = scratch
    scratch.watch(database)
    scratch_databases[root, str(database._index)] = database
    database._refresh()
    return database


class Scratch:
    """The temporary folder of a database, which goes with it.

    Its name tells the process that it belongs to, so that those of processes that were killed can
    be removed.
    """

    def __init__(self) -> None:
        numbering, self._pid, started = this_process()
        prefix = f"{_PREFIX}-{_short(numbering)}-{self._pid}-{started}-"
        try:
            self.folder = tempfile.mkdtemp(prefix=prefix)
            self.root = os.path.join(self.folder, "scratch")
            os.mkdir(self.root)
        except OSError as error:
            raise DbdicomError(
                f"A database without a folder needs room in {tempfile.gettempdir()}: "
                f"{error.strerror or error}. Set the environment variable TMPDIR to another place."
            ) from error
        self._exported: dict[SeriesKey, Sequence[Patch]] = {}

    def watch(self, database: Database) -> None:
        """Have the folder removed when the database goes, or Python ends."""
        self._staging = database._staging
        self._finalizer = weakref.finalize(database, self._leave)

    def _leave(self) -> None:
        # A process that was forked has the object, not the folder. No locks are taken, nor files
        # opened: the collector may run at any time.
        if os.getpid() != self._pid:
            return
        try:
            layer = self._staging.known()
            if self.holds_anything(layer):
                self._warn("has gone", layer, stacklevel=2)
        finally:
            self.discard()

    def _warn(self, what: str, layer: Layer, stacklevel: int) -> None:
        lost = [_named(key, patches, layer) for key, patches in self._unsaved(layer).items()]
        if len(lost) > _NAMED_AT_MOST:
            lost[_NAMED_AT_MOST:] = [f"{len(lost) - _NAMED_AT_MOST} more series"]
        named = f": {', '.join(lost)}" if lost else ""
        warnings.warn(
            f"A database without a folder {what}, and what was in it was not saved{named}. "
            "database.save(path) puts it into a folder; database.close(save=False) says that it "
            "is not needed.",
            NotSaved,
            stacklevel=stacklevel,
        )

    def discard(self) -> None:
        """Remove the folder."""
        self._finalizer.detach()
        if os.getpid() == self._pid:
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self, database: Database, save: bool | None) -> None:
        """Close the database, and remove its folder; see ``Database.close``."""
        database._staging.require_no_batch("close()")
        if save:
            raise DbdicomError(
                "This database has no folder to be saved in: database.save('/data/study') first."
            )
        if not os.path.isdir(self.folder):  # closed before
            return
        layer = database._staging.layer()
        if save is None and self.holds_anything(layer):
            try:
                answer = database.dialog.question(
                    "This database has no folder, and what is in it is not saved. Close it, and "
                    "lose that?",
                    decides="close(save=False), or save(path) before,",
                )
            except NoPerson:
                self._warn("was closed", layer, stacklevel=levels_to_user() + 1)
                answer = "Yes"
            if answer != "Yes":
                return
        database._close()
        self.discard()

    # -- what would be lost ------------------------------------------------------------------

    def note_exported(self, key: SeriesKey, layer: Layer) -> None:
        """Note that a series, as it is, has been written into files elsewhere."""
        self._exported[key] = _patches_of(layer).get(key, [])

    def holds_anything(self, layer: Layer) -> bool:
        """Return whether the database holds something that is in no file elsewhere."""
        if self._unsaved(layer) or any(_files_in(self.root, FOLDER_NAME)):
            return True
        return bool(layer.empty) and not _patches_of(layer)

    def _unsaved(self, layer: Layer) -> dict[SeriesKey, list[Patch]]:
        """Return the series that are in no file elsewhere as they are."""
        return {
            key: patches
            for key, patches in _patches_of(layer).items()
            if not _same(self._exported.get(key, ()), patches)
        }


def _same(saved: Sequence[Patch], patches: Sequence[Patch]) -> bool:
    """Return whether a series is as it was saved; its patches may have been read anew since."""
    return len(saved) == len(patches) and all(
        one is other or one.says_as(other) for one, other in zip(saved, patches, strict=True)
    )


def _named(key: SeriesKey, patches: Sequence[Patch], layer: Layer) -> str:
    """Return what a series is called, by what is known without its table."""
    made = layer.empty.get(("series", key))
    texts = [column.values for patch in patches if (column := patch.columns.get(_DESCRIPTION))]
    raw = [text for values in texts for text in values if isinstance(text, bytes)]
    if made is not None and (said := made.attributes.get(_DESCRIPTION)) is not None:
        raw.insert(0, said.value)
    name = raw[0].decode("utf-8", "replace").strip() if raw else ""
    count = sum(map(len, patches))
    of = f" of {key.patient_name or key.patient_id}" if key.patient_name or key.patient_id else ""
    images = f"{count} image{'' if count == 1 else 's'}"
    return f"the series {name!r}{of} ({images})" if name else f"a series{of} ({images})"


def _patches_of(layer: Layer) -> dict[SeriesKey, list[Patch]]:
    found: dict[SeriesKey, list[Patch]] = {}
    for key, patch in layer.patches.items():
        if key.role != Role.REMOVED:
            found.setdefault(key.target, []).append(patch)
    return found


def _files_in(root: str, *but: str) -> Iterator[str]:
    """Yield the files in a folder, by their path in it, without those of some sub-folders of it."""
    for folder, folders, names in os.walk(root):
        if folder == root:
            folders[:] = [name for name in folders if name not in but]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _remove_left_behind() -> None:
    """Remove the folders of processes that were killed."""
    numbering, _, _ = this_process()
    try:
        entries = list(os.scandir(tempfile.gettempdir()))
    except OSError:
        return
    for entry in entries:
        found = _NAME.fullmatch(entry.name)
        if found is None or found[1] != _short(numbering):
            continue
        with suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if not own or not stat.S_ISDIR(status.st_mode):
                continue
            if has_ended(Process(numbering, int(found[2]), found[3])):
                shutil.rmtree(entry.path, ignore_errors=True)


# -- into a folder -------------------------------------------------------------------------------


def save_scratch(database: Database, path: str | os.PathLike[str]) -> list[str]:
    """Put a database into a folder, where it is from then on; see ``Record.save``."""
    scratch = database._scratch
    if scratch is None:
        raise InvalidValue(
            f"This database has its folder, {database.path_on_disk}, where database.save() writes "
            "what is staged. For copies of its files elsewhere: patient.save(path) for each "
            "patient."
        )
    staging = database._staging
    staging.require_no_batch("save(path)")
    with staging.changing, database._lock:
        named = named_folder(path)
        there = os.path.isdir(named)
        root = _target(named)
        before = _found(root)
        source = _Home.of(database)
        copied: list[str] = []
        try:
            _copy(scratch.root, root, copied)
            _Home.at(root).move_in(database)
            database._scratch = None
            database._own()
            with database._store.transaction() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES('root', ?)", [to_stored(root)]
                )
            save(database)
        except BaseException as error:
            if database._staging is not staging and (file := database._staging.file) is not None:
                take_back(file, root)
            source.move_in(database)
            database._scratch = scratch
            _take_away(root, copied, before, there=there)
            if isinstance(error, OSError) and not isinstance(error, DbdicomError):
                raise SaveFailed(
                    f"{root} cannot be written: {error.strerror or error}. The database is as it "
                    "was before."
                ) from error
            raise
        moved(source.root, root)
        moved(str(source.index), str(database._index))
        scratch.discard()
    written = sorted(_found(root) - before)
    written = [path for path in written if os.path.isfile(path)]
    if before:
        _take_in_others(database)
    return [path.replace(os.sep, "/") for path in written]


def _take_in_others(database: Database) -> None:
    """Read the files that were in the folder before; the database is saved in any case."""
    try:
        database._refresh()
    except (OSError, DbdicomError) as error:
        warnings.warn(
            f"The database is saved, but the files that {database.path_on_disk} held before are "
            f"not in it yet: {error}. database.scan() tries again.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )


def _target(path: str) -> str:
    """Return the folder that a database may be put into."""
    from dbdicom_xr.records.opening import folder_at

    there = os.path.isdir(path)
    root = folder_at(path, create=True)
    if os.path.lexists(f"{root}/{FOLDER_NAME}"):
        raise InvalidValue(
            f"{root} is the folder of a database already. Save into another folder, or write "
            "the files there with patient.save(path) for each patient."
        )
    if not os.access(root, os.W_OK):
        if not there:
            os.rmdir(root)
        raise FolderNotReadable(f"{root} cannot be written to. Choose another folder.")
    return root


class _Home:
    """Where a database is: its folder, its index, and what is staged."""

    def __init__(self, root: str, index: Path, staging: Staging, store: Store) -> None:
        self.root = root
        self.index = index
        self.staging = staging
        self.store = store

    @classmethod
    def of(cls, database: Database) -> _Home:
        """Return where a database is, with nothing of it open."""
        database._generation()  # which makes what was noted part of it
        database._close()
        return cls(database._root, database._index, database._staging, database._store)

    @classmethod
    def at(cls, root: str) -> _Home:
        """Return a place with the files of a database."""
        index = Path(root) / FOLDER_NAME / INDEX_NAME
        return cls(root, index, staging_of(index.with_name(STAGING_NAME)), Store(index))

    def move_in(self, database: Database) -> None:
        """Let a database be here."""
        database._close()
        database._root, database._index = self.root, self.index
        database._staging, database._store = self.staging, self.store
        database._view_cache = database._tree_cache = None
        database._table_cache.clear()
        database._known = database._seen = -1
        forget(str(self.index))


def _copy(source: str, target: str, copied: list[str]) -> None:
    """Copy the files of a database; those with pixels become one with the old where they can.

    What is staged comes last: a process that is killed leaves all of it, or nothing.
    """
    for name in sorted(_files_in(source), key=lambda name: (name in _CHANGED, name)):
        old, new = os.path.join(source, name), os.path.join(target, name)
        os.makedirs(os.path.dirname(new), exist_ok=True)
        if os.path.lexists(new):
            raise FileExists(f"There is a file {new} already, and no file is overwritten.")
        copied.append(new)
        if name not in _CHANGED:
            try:
                os.link(old, new)
                continue
            except OSError:  # not on one disk, or not on this one
                pass
        temporary = temporary_beside(new)
        copied.append(temporary)
        shutil.copy2(old, temporary)  # with its time, by which the index knows it
        os.replace(temporary, new)


def _found(root: str) -> set[str]:
    """Return the files and folders in a folder, but for those of a database."""
    return {
        os.path.join(folder, name)
        for folder, folders, names in os.walk(root)
        for name in (*folders, *names)
        if name != FOLDER_NAME and FOLDER_NAME not in Path(folder).relative_to(root).parts[:1]
    }


def _take_away(root: str, copied: list[str], before: set[str], *, there: bool) -> None:
    """Remove what was copied, unless there are files of the save still to be taken back.

    Then the next opening of the folder does that, with what is noted in it.
    """
    new = _found(root) - before
    if any(os.path.isfile(path) for path in new.difference(copied)):
        return
    for path in new.intersection(copied):
        with suppress(OSError):
            os.unlink(path)
    shutil.rmtree(os.path.join(root, FOLDER_NAME), ignore_errors=True)
    for folder in [*sorted(new.difference(copied), reverse=True), *([] if there else [root])]:
        with suppress(OSError):
            os.rmdir(folder)
