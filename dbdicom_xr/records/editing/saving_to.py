"""Writing records, with what is staged of them, as DICOM files into a folder of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from dbdicom_xr.errors import (
    DbdicomError,
    FileExists,
    FolderNotReadable,
    InvalidValue,
    MissingFolder,
    NotAFolder,
    SaveFailed,
)
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.connection import SqliteFile
from dbdicom_xr.index.files import version_of
from dbdicom_xr.index.roots import is_remote, remote_folder
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.index.store import FileRow
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import progress_bar
from dbdicom_xr.names import safe_name
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.layouts import require_fitting_layout
from dbdicom_xr.staging import plan as plans
from dbdicom_xr.staging.constant import with_pixels
from dbdicom_xr.staging.durable import look, remove
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.file import Layer, StagingFile
from dbdicom_xr.staging.journal import Step, save_files
from dbdicom_xr.staging.names import NewPaths
from dbdicom_xr.staging.splice import create, splice

__all__ = ["Copies", "copies_of", "named_folder", "save_to", "take_back", "target_folder"]

_LONGEST: Final = 200  # characters of a path in a message
_INSTANCE_NUMBER: Final = Key(0x00200013)

_FILES_AT_ONCE: Final = 64
_BYTES_AT_ONCE: Final = 64 << 20

Edits = Mapping[Key, Encoded | None]


@dataclass
class Copies:
    """The files that are to be written."""

    root: str  # the folder that they go to
    layer: Layer
    paths: list[str] = field(default_factory=list)
    sources: list[tuple[str, FileRow] | None] = field(default_factory=list)
    edits: list[Edits] = field(default_factory=list)
    whole: list[SeriesKey] = field(default_factory=list)  # series of which all is written
    home: str = ""  # the folder that they come from
    _here: dict[int, bytes] = field(default_factory=dict, init=False)
    _fetching: threading.Lock = field(default_factory=threading.Lock, init=False)

    def write(self, number: int, path: str) -> None:
        """Write one file."""
        edits, source = self.edits[number], self.sources[number]
        if source is None:
            create(path, with_pixels(edits))
            return
        old, known = source
        if is_remote(self.home):
            with self._fetching:
                data = self._fetched(number)
            with open(path, "wb") as file:
                file.write(data)
            return
        if version_of(os.stat(old)) != (known.size, known.mtime):
            raise SaveFailed(
                f"{old} has been changed by another program, so that nothing was written. "
                "database.scan() reads it again."
            )
        if edits:
            splice(old, path, edits)
        else:
            shutil.copyfile(old, path)

    def _fetched(self, number: int) -> bytes:
        """Return a file that is elsewhere; those that come next are fetched along with it."""
        if number not in self._here:
            some: list[FileRow] = []
            size = 0
            for at in range(number, min(number + _FILES_AT_ONCE, len(self.sources))):
                source = self.sources[at]
                if source is None or (some and size + source[1].size > _BYTES_AT_ONCE):
                    break
                some.append(source[1])
                size += source[1].size
            self._here.update(enumerate(remote_folder(self.home).whole(some), number))
        return self._here.pop(number)


def save_to(record: Any, path: str | os.PathLike[str]) -> list[str]:
    """Write a record into a folder; see ``Record.save``."""
    if record.level == "database":
        from dbdicom_xr.records.scratch import save_scratch

        return save_scratch(record, path)
    database = record.database
    database._staging.require_no_batch("save(path)")
    root = target_folder(database.path_on_disk, path)
    copies = copies_of(record, root)
    for folder in sorted({os.path.dirname(path) for path in copies.paths}):
        _require_empty(folder)
    with progress_bar(len(copies.paths), f"Saving into {root}", "file", database._own_voice) as bar:
        try:
            _write_all(copies, lambda count: bar.update(1))
        except OSError as error:
            if isinstance(error, DbdicomError):
                raise
            raise SaveFailed(
                f"{error.filename or tempfile.gettempdir()}: {error.strerror or error}. Nothing "
                "was written."
            ) from error
    if database._scratch is not None:
        for key in copies.whole:
            database._scratch.note_exported(key, copies.layer)
    return copies.paths


def _require_empty(folder: str) -> None:
    """Refuse to put images beside those of an earlier save of the same series."""
    try:
        empty = not os.listdir(folder)
    except OSError:
        return
    if not empty:
        raise FileExists(
            f"{folder} has files already, perhaps of an earlier save of this series: beside them, "
            "images would be there twice. Save into another folder, or remove that one."
        )


def _write_all(copies: Copies, progress: Callable[[int], None]) -> None:
    """Write all files or none."""
    with tempfile.TemporaryDirectory(prefix="dbdicom_xr-", ignore_cleanup_errors=True) as folder:
        journal = StagingFile(Path(folder) / "staging.sqlite")
        try:
            save_files(
                journal,
                [Step("create", path) for path in copies.paths],
                copies.write,
                lambda connection, payload: None,
                root=copies.root,
                progress=progress,
            )
        except BaseException:
            take_back(journal, copies.root)
            raise
        finally:
            journal.close()


def take_back(journal: SqliteFile, root: str) -> None:
    """Remove what a save that failed could not put back, as on a disk that is full.

    Only for one that made new files: what it was to delete is a copy.
    """
    folders: list[str] = []
    with suppress(DbdicomError):
        for plan in plans.load(journal, root, None):
            if plan.state in ("done", "saved"):
                continue
            for entry in plan.entries:
                if entry.action in ("create", "move"):
                    for path in (entry.path, entry.hidden):
                        if entry.new is not None and look(path) == entry.new:
                            remove(path)
            folders += plan.folders
    for folder in reversed(folders):
        with suppress(OSError):
            os.rmdir(folder)


def named_folder(path: Any) -> str:
    """Return the absolute path of a folder that files may be put into, or that can be made."""
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise InvalidValue(
            f"{path!r} names no folder: a path is a text, or a pathlib.Path."
        ) from None
    if not text:
        raise MissingFolder("'' names no folder; write '.' for the current one.")
    root = os.path.abspath(os.path.expanduser(text))
    try:
        here = Path(os.path.realpath(root))
        there = next(folder for folder in (here, *here.parents) if os.path.lexists(folder))
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(root)
    except PermissionError as error:
        raise FolderNotReadable(f"{root} may not be looked at: {error.strerror}.") from error
    except (OSError, ValueError) as error:  # too long, a loop of links, a null character
        shown = root if len(root) <= _LONGEST else f"{root[:_LONGEST]}..."
        reason = getattr(error, "strerror", None) or error
        raise MissingFolder(f"{shown!r} cannot be a folder: {reason}.") from error
    if not there.is_dir():
        what = "is a file" if there == here else f"cannot be a folder: {there} is a file"
        raise NotAFolder(f"{root} {what}. Save into a folder, as in '/data/study'.")
    if FOLDER_NAME in here.parts:
        raise InvalidValue(
            f"{root} is in a folder {FOLDER_NAME}, where a database keeps its index, and in which "
            "no images are looked for. Save into another folder."
        )
    return root


def target_folder(own: str, path: str | os.PathLike[str]) -> str:
    """Return the absolute path of a folder outside the database."""
    root = named_folder(path)
    real = Path(os.path.realpath(own))
    if real in (here := Path(os.path.realpath(root)), *here.parents):
        raise InvalidValue(
            f"{root} is in the folder of the database, where the files would be of instances that "
            "are there already. copy() makes new ones; save() without a path writes what is staged."
        )
    return root.replace(os.sep, "/")


@of_one_state
def copies_of(record: Any, root: str) -> Copies:
    """Return which files a record becomes in a folder, and where each comes from."""
    database = record.database
    view = database._view()
    copies = Copies(root, view.layer, home=database.path_on_disk)
    names = NewPaths(root)
    for table, rows in record._tables():
        instances = np.arange(len(table.places))
        if rows is not None:
            instances = np.unique(table.instance_of[rows])
        else:
            copies.whole.append(table.series.key)
        composed = view.composed(table.series.key)
        require_fitting_layout(composed, table)
        folder = _folder_of(database, table)
        found: list[tuple[Any, Edits]] = [(None, {})] * len(instances)
        for piece, at, positions in composed.split(instances):
            edits: list[Edits] = [{}] * len(at)
            if piece.patch is not None:
                edits = list(piece.patch.edits(piece.patch_rows[at]))
            numbers = piece.places["file"][at].tolist()
            known = view.files(numbers) if piece.table is not None else {}
            for place, number, each in zip(positions.tolist(), numbers, edits, strict=True):
                found[place] = (None if piece.table is None else known[number], each)
        for instance, (file, each) in zip(instances.tolist(), found, strict=True):
            number = table.value(_INSTANCE_NUMBER, int(table.first_frames[instance]))
            name = f"{number:06d}" if isinstance(number, int) and number >= 0 else ""
            name = name or safe_name(table.uids[instance][-16:], "instance")
            copies.paths.append(f"{root}/{names.of(folder, name)}")
            copies.sources.append(None if file is None else (f"{table.root}/{file.path}", file))
            copies.edits.append(each)
    return copies


def _folder_of(database: Any, table: Table) -> str:
    node = database._tree().at("series", table.series.key)
    parts = []
    while node is not None and node.level != "database":
        parts.append(safe_name(node.name, node.level))
        node = node.parent
    return "/".join(reversed(parts))
