"""Where the index of a folder lives."""

from __future__ import annotations

import os
import uuid
from hashlib import blake2b
from pathlib import Path

from dbdicom_xr.index.scan import FOLDER_NAME

__all__ = ["INDEX_NAME", "index_path"]

INDEX_NAME = "index.sqlite"


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
        In the folder itself where that can be written to, else in the user's cache directory.
    """
    if index is not None:
        chosen = Path(index).expanduser().absolute()
        return chosen / INDEX_NAME if chosen.is_dir() or not chosen.suffix else chosen
    own = Path(root) / FOLDER_NAME
    if _writable(own):
        return own / INDEX_NAME
    import platformdirs

    name = blake2b(os.fsencode(os.path.realpath(root)), digest_size=12).hexdigest()
    return Path(platformdirs.user_cache_dir("dbdicom_xr")) / name / INDEX_NAME


def _writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, by making one; it is made where missing."""
    made = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
        if (existing := folder / INDEX_NAME).exists() and not os.access(existing, os.W_OK):
            return False
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError:
        if made and folder.exists():
            folder.rmdir()
        return False
    return True
