"""Which files a person means by a path, and whether two files hold the same DICOM object."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

from dbdicom_xr.errors import InvalidValue, MissingFolder

__all__ = ["files_of", "same_object"]

_CHUNK: Final = 1 << 20


def files_of(
    path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], passed_over: str
) -> Iterator[str]:
    """Yield files: the file itself, those in a folder and below, or those that a pattern meets.

    Parameters
    ----------
    path : path-like, or an iterable of them
    passed_over : str
        The name of folders that are not looked into.

    Raises
    ------
    MissingFolder
        There is nothing at a path, or no path.
    InvalidValue
        What should be a path is none.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> for name in "ab":
    ...     open(os.path.join(folder, name), "w").close()
    >>> [os.path.basename(file) for file in files_of(folder, ".git")]
    ['a', 'b']
    """
    seen: set[str] = set()
    paths: list[Any] = [path]
    if isinstance(path, Iterable) and not isinstance(path, str | bytes | os.PathLike):
        paths = list(path)
    if not paths:
        raise MissingFolder(
            f"{path!r} names no files, so that nothing was imported. Where it comes from a search, "
            "look at what was searched for."
        )
    for one in paths:
        for file in _files_of(_text(one), passed_over):
            if file not in seen:
                seen.add(file)
                yield file


def _text(path: Any) -> str:
    try:
        return os.fsdecode(path)
    except TypeError:
        raise InvalidValue(
            f"{path!r} names no file or folder: it is a text, or a pathlib.Path, or a list of "
            "these. Nothing was imported."
        ) from None


def _files_of(text: str, passed_over: str) -> Iterator[str]:
    if not text:
        raise MissingFolder("'' names no file or folder; write '.' for the current folder.")
    full = os.path.abspath(os.path.expanduser(text))
    if "\0" in full:
        raise MissingFolder(f"{text!r} cannot be the name of a file.")
    if os.path.isdir(full):
        for folder, folders, names in os.walk(full):
            folders[:] = sorted(name for name in folders if name != passed_over)
            yield from (os.path.join(folder, name) for name in sorted(names))
        return
    if os.path.lexists(full):
        yield full
        return
    found = sorted(glob.glob(full, recursive=True)) if glob.has_magic(full) else []
    if not found:
        what = "No file matches" if glob.has_magic(full) else "There is no"
        raise MissingFolder(f"{what} {full}. Check the name; nothing was imported.")
    for one in found:
        yield from _files_of(glob.escape(one) if not os.path.lexists(one) else one, passed_over)


def same_object(one: str, other: str) -> bool:
    """Return whether two files hold the same object, byte for byte.

    Preamble and file meta information, in which programs write their own names, may differ.

    Raises
    ------
    OSError
    """
    first, second = _start_of_data(one), _start_of_data(other)
    if first[1] != second[1]:
        return False
    sizes = [os.stat(path).st_size - start for path, (start, _) in ((one, first), (other, second))]
    return sizes[0] == sizes[1] and _digest(one, first[0]) == _digest(other, second[0])


def _start_of_data(path: str) -> tuple[int, str]:
    """Return where the data set begins, and the transfer syntax; (0, "") where that is not told."""
    from pydicom.filereader import read_file_meta_info

    with open(path, "rb") as file:
        head = file.read(144)
    # (0002,0000) UL, which tells the length of what follows: PS3.10 7.1.
    if head[128:140] != b"DICM\2\0\0\0UL\4\0":
        return 0, ""
    try:
        syntax = str(read_file_meta_info(path).get("TransferSyntaxUID", ""))
    except Exception:  # damaged: compared as a whole
        return 0, ""
    return 144 + int.from_bytes(head[140:144], "little"), syntax


def _digest(path: str, start: int) -> bytes:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        while data := file.read(_CHUNK):
            digest.update(data)
    return digest.digest()
