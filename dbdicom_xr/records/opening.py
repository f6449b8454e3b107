"""Opening a folder as a database."""

from __future__ import annotations

import os
import stat
import zipfile
from contextlib import suppress
from typing import Any

from dbdicom_xr.errors import (
    DbdicomError,
    FolderNotReadable,
    InvalidValue,
    MissingFolder,
    NotAFolder,
)
from dbdicom_xr.index.connection import remove_index
from dbdicom_xr.index.roots import RemoteRoot, checked_url, is_remote, read_only
from dbdicom_xr.records.database import Database
from dbdicom_xr.records.location import index_path
from dbdicom_xr.records.record import Record
from dbdicom_xr.records.recovering import tidy_left_behind
from dbdicom_xr.records.writing.adopting import sweep

__all__ = ["database", "folder_at", "refuse_archive"]


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
    path : path-like, optional
        The folder, or the URL of one that is elsewhere, as fsspec knows it: ``s3://bucket/study``,
        ``https://server/study/``, ``zip://::s3://bucket/study.zip``. Those are read-only; their
        index is in the user's cache directory. Without a folder the database is a temporary
        one, which ``database.save(path)`` puts into a folder, and which goes when it is closed.
    create : bool
        Make the folder if it does not exist.
    refresh : bool
        Look for changed files. False trusts the index, and looks at no file.
    index : path-like, optional
        Where to keep the index: a file, or a folder for it.
    storage_options : dict, optional
        Of a URL: what fsspec needs to reach it, such as ``{"anon": True}``. They are never stored
        nor shown; workers get them with the arrays that they read.

    Returns
    -------
    Database

    Raises
    ------
    MissingFolder, NotAFolder, FolderNotReadable
        There is no folder to open.
    ConnectionLost
        A remote folder did not answer. What was indexed until then is kept.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> with db.database(folder) as database:
    ...     print(len(database.series()), len(database.instances()))
    1 30
    >>> with db.database() as scratch:
    ...     _ = scratch.new_patient(PatientName="Phantom")
    ...     _ = scratch.save(tempfile.mkdtemp())
    """
    if path is None:
        if index is not None or storage_options is not None:
            raise DbdicomError(
                "index= and storage_options= belong to a folder: db.database('/data/study', ...)."
            )
        from dbdicom_xr.records.scratch import scratch_database

        return scratch_database()
    given: Any = path  # whatever the annotation says
    if not isinstance(given, (str, bytes, os.PathLike)):
        own = " A record is in a database already: record.database."
        raise InvalidValue(
            f"{given!r} is no folder to open: give its path as text, such as "
            f"db.database('/data/study').{own if isinstance(given, Record) else ''}"
        )
    text = os.fsdecode(path)
    if text.startswith(("file://", "local://")):
        text = text.partition("://")[2]
    if is_remote(text) or "::" in text:
        return _remote(text, create, refresh, index, storage_options)
    if storage_options is not None:
        raise InvalidValue(
            f"storage_options= belong to a URL, as in db.database('s3://bucket/folder'); {text!r} "
            "is a folder of this computer."
        )
    root = folder_at(text, create=create)
    opened = Database(root, index_path(root, index))
    opened._recover()
    # 0: new, or made anew, so there is nothing to trust.
    if refresh or opened._store.generation() == 0:
        opened._refresh()
    sweep(opened)
    if refresh:
        tidy_left_behind(opened)
    if opened._staging.layer().unsaved:
        opened.message(
            f"There are changes in {root} that are not saved: database.changes() lists them, "
            "save() writes them into the files, restore() undoes them."
        )
    return opened


def _remote(
    url: str,
    create: bool,
    refresh: bool,
    index: str | os.PathLike[str] | None,
    storage_options: dict[str, Any] | None,
) -> Database:
    _require_archive(url, storage_options)
    root = RemoteRoot(checked_url(url), storage_options)
    if create:
        raise read_only(root)
    if index is not None and is_remote(os.fsdecode(index)):
        raise InvalidValue("index= is a place on this computer; it cannot be a URL.")
    place = index_path(root, index)
    new = not place.exists()
    opened = Database(root, place)
    try:
        if refresh or opened._store.generation() == 0:
            opened._refresh()
    except DbdicomError:
        if new and opened._store.generation() == 0:  # there is nothing to go on from
            opened._close()
            remove_index(place)
            with suppress(OSError):
                place.parent.rmdir()
        raise
    return opened


def _require_archive(url: str, storage_options: dict[str, Any] | None) -> None:
    """Raise where an archive stands in the place of the folder in it."""
    folder, chained, _ = url.partition("::")
    protocol, named, file = folder.partition("://")
    if protocol not in ("zip", "tar") or "fo" in (storage_options or {}):
        return
    if not chained or not named:
        file = file or url.partition("::")[2] or "study.zip"
        raise InvalidValue(
            f"{url} names no archive: its file stands behind ::, {protocol}://::{file} or for a "
            f"folder in it {protocol}://folder::{file}."
        )


def folder_at(text: str, *, create: bool) -> str:
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
        refuse_archive(root)
        raise NotAFolder(
            f"{root} is a file. A database is a folder: open {os.path.dirname(root)!r} instead."
        )
    return root.replace(os.sep, "/") if os.sep != "/" else root


def refuse_archive(path: str) -> None:
    """Raise where a file is a zip file, and say how to open what is in it."""
    if zipfile.is_zipfile(path):
        raise NotAFolder(
            f"{path} is a zip file. db.database('zip://::{path}') reads what is in it, as does "
            f"xr.open_dataset('zip://::{path}', engine='dicom'). database.import_dicom(file) "
            "copies that into a folder, where it can be changed."
        )


def _make(root: str) -> None:
    try:
        os.makedirs(root)
    except PermissionError as error:
        raise FolderNotReadable(f"{root} cannot be made: {error.strerror}.") from error
    except OSError as error:
        raise MissingFolder(f"{root} cannot be made: {error.strerror or error}.") from error
