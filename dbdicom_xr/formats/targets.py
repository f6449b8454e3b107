"""Where exported files go: a folder, or one file where a name with the ending is given."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dbdicom_xr.errors import FileExists, InvalidValue, NotAFolder

__all__ = [
    "Target",
    "local_name",
    "made_folder",
    "name_of",
    "refuse_existing",
    "require_folder",
    "target_of",
]


@dataclass(frozen=True)
class Target:
    """Where files go.

    Parameters
    ----------
    folder : str
        It may not be there yet.
    ending : str
        Of the files, with the dot.
    file : str or None
        The name of the only file, without its ending; None where a folder was given.
    """

    folder: str
    ending: str
    file: str | None

    def path(self, name: str) -> str:
        """Return the path of a file of this name."""
        return os.path.join(self.folder, f"{name}{self.ending}")


def name_of(path: Any) -> str:
    """Return the name of a folder or file as text.

    Raises
    ------
    InvalidValue
        It is none.

    Examples
    --------
    >>> name_of(b"tables")
    'tables'
    """
    try:
        text = os.path.expanduser(os.fsdecode(path))
        os.fsencode(text)
    except (TypeError, ValueError):  # no path; letters that no name of a file can have
        text = ""
    if not text or "\0" in text:
        raise InvalidValue(
            f"path is {path!r}, which names no folder or file: it is a text, or a pathlib.Path."
        )
    return text


def local_name(path: Any) -> str:
    """Return the name of a folder or file of this computer as text.

    Raises
    ------
    InvalidValue
        It is none, or an address on the web.
    """
    text = name_of(path)
    if "://" in text:
        raise InvalidValue(
            f"{text} is an address; files are exported into a folder of this computer. Export them "
            "into one, and copy it."
        )
    return text


def target_of(path: str | os.PathLike[str], *endings: str) -> Target:
    """Return where files go that were asked for at a path.

    Parameters
    ----------
    path : str or path
        A folder; or where it has one of the endings and is no folder, a file.
    *endings : str
        Those of the format, the usual one first.

    Raises
    ------
    InvalidValue
        It is no name, or an address on the web.
    NotAFolder
        A file is where the folder should be.

    Examples
    --------
    >>> target_of("tables/one.CSV", ".csv")
    Target(folder='tables', ending='.CSV', file='one')
    >>> target_of("tables", ".csv")
    Target(folder='tables', ending='.csv', file=None)
    """
    text = local_name(path)
    if not os.path.isdir(text):
        for ending in endings:
            if text.lower().endswith(ending) and len(os.path.basename(text)) > len(ending):
                folder, name = os.path.split(text)
                require_folder(folder, endings[0])
                cut = len(name) - len(ending)
                return Target(folder, name[cut:], name[:cut])
    require_folder(text, endings[0])
    return Target(text, endings[0], None)


def require_folder(folder: str, ending: str) -> None:
    """Raise where a file is in the way of a folder or of one above it.

    Raises
    ------
    NotAFolder
    """
    while folder and not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise NotAFolder(
                f"{folder} is a file, so that no files can be written into it. Give a folder, or "
                f"the name of a new file that ends in {ending}."
            )
        folder = os.path.dirname(folder)


def refuse_existing(paths: Sequence[str], overwrite: bool) -> None:
    """Raise where files are in the way.

    Raises
    ------
    InvalidValue
        There is a folder, a link or the like of this name.
    FileExists
        There are files of these names, and they are not to be replaced.
    """
    found = [path for path in paths if os.path.lexists(path)]
    for path in found:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise InvalidValue(
                f"{path} is a folder or a link, where a file is to be written; nothing was written."
            )
    if found and not overwrite:
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        raise FileExists(
            f"Nothing was written, since there are files of these names already: "
            f"{', '.join(found[:4])}{more}. overwrite=True replaces them."
        )


@contextmanager
def made_folder(folder: str) -> Iterator[None]:
    """Make a folder and those above it; afterwards those that were made go if nothing is in them.

    Examples
    --------
    >>> import tempfile
    >>> top = tempfile.mkdtemp()
    >>> with made_folder(f"{top}/a/b"):
    ...     os.listdir(f"{top}/a")
    ['b']
    >>> os.listdir(top)
    []
    """
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    if missing:
        os.makedirs(missing[0], exist_ok=True)
    try:
        yield
    finally:
        for made in missing:
            with suppress(OSError):  # there is something in it
                os.rmdir(made)
