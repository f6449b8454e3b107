"""Where the index of a folder lives."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from dbdicom_xr.index.connection import APPLICATION
from dbdicom_xr.index.roots import is_remote, place_of
from dbdicom_xr.index.scan import FOLDER_NAME

__all__ = [
    "INDEX_NAME",
    "STAGING_NAME",
    "index_of_files",
    "index_path",
    "may_be_replaced",
    "staging_path",
]

INDEX_NAME = "index.sqlite"
STAGING_NAME = "staging.sqlite"


def index_path(root: str, index: str | os.PathLike[str] | None) -> Path:
    """Return the index file of a folder.

    Parameters
    ----------
    root : str
        The folder.
    index : path-like, optional
        The user's choice: a file, or a folder for it.

    Returns
    -------
    Path
        In the folder itself where that can be written to, else in the user's cache directory;
        there it goes by the URL of a folder that is elsewhere.
    """
    if index is not None:
        chosen = Path(index).expanduser().absolute()
        return chosen / INDEX_NAME if chosen.is_dir() or not chosen.suffix else chosen
    own = Path(root) / FOLDER_NAME
    if is_remote(root):
        return _in_cache(root)
    return own / INDEX_NAME if _writable(own) else _in_cache(root)


def index_of_files(root: str, alone: str = "") -> Path:
    """Return the index of files of a folder that are opened one by one, in the user's cache.

    Parameters
    ----------
    root : str
        The folder.
    alone : str
        The name of a file that has an index of its own.
    """
    own = blake2b(os.fsencode(alone), digest_size=12).hexdigest() if alone else "files"
    return _in_cache(root).with_name(f"{own}.sqlite")


def staging_path(root: str, index: Path) -> Path:
    """Return the file of what is staged of a folder.

    It stands beside the index, but where that is in the user's cache, which programs may empty:
    then in the user's data directory.
    """
    if index.parent == _in_cache(root).parent and index.name != INDEX_NAME:
        import platformdirs

        kept = Path(platformdirs.user_data_dir("dbdicom_xr")) / index.parent.name
        return kept / f"{index.stem}.{STAGING_NAME}"
    if index == _in_cache(root):
        import platformdirs

        own = Path(root) / FOLDER_NAME / STAGING_NAME
        return (
            own
            if os.path.exists(own)
            else Path(platformdirs.user_data_dir("dbdicom_xr")) / index.parent.name / STAGING_NAME
        )
    if index.name == INDEX_NAME:
        return index.with_name(STAGING_NAME)
    return index.with_name(f"{index.stem}.{STAGING_NAME}")


def may_be_replaced(path: Path, root: str) -> bool:
    """Return whether a file that cannot be read as the index of a folder is one all the same.

    So it is where this package alone puts files, or if it bears its mark. Any other file belongs
    to the user, who named it by mistake.
    """
    cached = _in_cache(root)
    if path in (Path(root) / FOLDER_NAME / INDEX_NAME, cached) or path.parent == cached.parent:
        return True
    with open(path, "rb") as file:
        head = file.read(72)
    # The header of an SQLite file: sqlite.org/fileformat.html, 1.3.
    return head[:16] == b"SQLite format 3\0" and head[68:] == APPLICATION.to_bytes(4, "big")


def _in_cache(root: str) -> Path:
    import platformdirs

    place = place_of(root) if is_remote(root) else os.path.realpath(root)
    name = blake2b(os.fsencode(place), digest_size=12).hexdigest()
    return Path(platformdirs.user_cache_dir("dbdicom_xr")) / name / INDEX_NAME


def _writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, by making one; it is made where missing."""
    made = not os.path.lexists(folder)
    try:
        folder.mkdir(exist_ok=True)
        if (existing := folder / INDEX_NAME).exists() and not os.access(existing, os.W_OK):
            return False
        # One name per user: what a process that was killed has left, the next one takes away.
        probe = folder / f".writable-{os.getuid() if hasattr(os, 'getuid') else 0}"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError:
        if made and os.path.lexists(folder):
            folder.rmdir()
        return False
    return True
