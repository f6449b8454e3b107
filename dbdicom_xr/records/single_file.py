"""A single file as an instance, without an index beside it.

Where a folder above it has an index, the file is looked up there, and shown with what is staged of
it. Else it is read into an index in the user's cache directory, which holds those files of its
folder that were opened one by one.
"""

from __future__ import annotations

import os
from pathlib import Path

from dbdicom_xr.errors import DbdicomError, FolderNotReadable, MissingFolder
from dbdicom_xr.index.files import version_of
from dbdicom_xr.index.merge import SOP_INSTANCE_UID, instance_uids
from dbdicom_xr.index.scan import FOLDER_NAME, reread
from dbdicom_xr.records.database import Database, reopened
from dbdicom_xr.records.instance import Instance
from dbdicom_xr.records.location import INDEX_NAME, index_of_files, index_path
from dbdicom_xr.records.opening import refuse_archive

__all__ = ["instance_of_file"]


def instance_of_file(
    path: str | os.PathLike[str],
    *,
    index: str | os.PathLike[str] | None = None,
) -> Instance:
    """Return the instance in a file.

    Parameters
    ----------
    path : path-like
        The file.
    index : path-like, optional
        Where to keep the index: a file, or a folder for it.

    Returns
    -------
    Instance

    Raises
    ------
    MissingFolder, FolderNotReadable
        There is no such file, or it may not be read.
    NotAFolder
        It is a zip file.
    DbdicomError
        It is no DICOM file that can be read.

    Examples
    --------
    >>> import tempfile
    >>> from dbdicom_xr.testing import make_series
    >>> files = make_series(tempfile.mkdtemp()).files
    >>> instance_of_file(files[0]).Modality
    'MR'
    """
    where = Path(os.path.abspath(os.path.expanduser(os.fsdecode(path))))
    try:
        version = version_of(os.stat(where))
    except FileNotFoundError:
        raise MissingFolder(f"The file {where} does not exist. Check its name.") from None
    except OSError as error:
        raise FolderNotReadable(f"{where} may not be read: {error.strerror}.") from error
    if index is None:
        for folder in where.parents:
            if (own := folder / FOLDER_NAME / INDEX_NAME).exists():
                database = reopened(_slashes(folder), str(own))
                found = _known(database, where, version)
                if found is not None:
                    return found
    root = _slashes(where.parent)
    chosen = index_of_files(root) if index is None else index_path(root, index)
    found = _known(Database(root, chosen), where, version, read=True)
    if found is None:
        # Another file of the folder has its SOPInstanceUID, and counts in that index.
        chosen = index_of_files(root, where.name)
        found = _known(Database(root, chosen), where, version, read=True)
    if found is None:
        refuse_archive(str(where))
        raise DbdicomError(f"{where} is no DICOM file that can be read{_why(root, chosen, where)}")
    return found


def _slashes(folder: Path) -> str:
    return str(folder).replace(os.sep, "/")


def _known(
    database: Database, path: Path, version: tuple[int, int], *, read: bool = False
) -> Instance | None:
    """Return the instance of a file, as far as the index knows this version of it.

    Parameters
    ----------
    database : Database
    path : Path
    version : (int, int)
        Size and modification time.
    read : bool
        Whether to read the file into the index where it is not.
    """
    name = path.relative_to(database.path_on_disk).as_posix()
    row = database._store.file_at(name)
    if read and (row is None or (row.size, row.mtime) != version):
        database._own()
        database._store.wait_for_save()
        reread(database._store, database.path_on_disk, [name], [])
        database._look_again()
        row = database._store.file_at(name)
    if row is None or row.series is None or (row.size, row.mtime) != version:
        return None
    store = database._store
    files = store.places(row.series)["file"]
    held = (files == row.id).nonzero()[0]
    if not len(held):
        return None
    uids = instance_uids(store.column(row.series, SOP_INSTANCE_UID), len(files))
    uid = uids[int(held[0])] or f"file:{name}"
    found = database._find(uid)  # wherever it stands by now
    return None if found is None else Instance(database, found[0].key, uid)


def _why(root: str, index: Path, path: Path) -> str:
    row = Database(root, index)._store.file_at(path.name)
    return "." if row is None or not row.note else f": {row.note}."
