"""Where a folder is: on this computer, by its path, or elsewhere, by its URL.

A URL goes wherever a path goes. What it takes to reach it, credentials among them, goes with it
from process to process, and is never shown nor stored.
"""

from __future__ import annotations

import os
import pickle
import threading
from hashlib import pbkdf2_hmac
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from dbdicom_xr.errors import InvalidValue, StagingNotWritable
from dbdicom_xr.index.remote_errors import has_query, has_user, hidden

if TYPE_CHECKING:
    from dbdicom_xr.index.remote import RemoteFolder

__all__ = [
    "RemoteRoot", "checked_url", "is_remote", "place_of", "read_only", "remember", "remote_folder",
    "with_options",
]  # fmt: skip

_ROUNDS: Final = 100_000
_PROCESS: Final = uuid4().hex


class RemoteRoot(str):
    """The URL of a folder, and what it takes to reach it.

    It is its URL wherever it is shown or stored; only a pickle has the options too, so that workers
    reach what this process reaches.

    Parameters
    ----------
    url : str
    storage_options : dict, optional
        Of fsspec; credentials among them, maybe.

    Examples
    --------
    >>> root = RemoteRoot("s3://bucket/study", {"secret": "xyz"})
    >>> root, f"{root}/a.dcm", root.storage_options["secret"]
    ('s3://bucket/study', 's3://bucket/study/a.dcm', 'xyz')
    """

    storage_options: dict[str, Any]
    is_told: bool  # whether the options are those of this folder; else they are not known
    _digest: str | None

    def __new__(cls, url: str, storage_options: dict[str, Any] | None = None) -> RemoteRoot:
        """Make it."""
        if storage_options is not None and not isinstance(storage_options, dict):
            raise InvalidValue(
                "storage_options= is a dict of what fsspec needs, as in {'anon': True}; not a "
                f"{type(storage_options).__name__}."
            )
        root = super().__new__(cls, url)
        root.storage_options = dict(storage_options or {})
        root.is_told = True
        root._digest = None
        return root

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_told:
            return str, (str(self),)
        return RemoteRoot, (str(self), self.storage_options)

    @property
    def digest(self) -> str:
        """What tells these options from others, and tells nothing of them; "" for none.

        It stands in the index, and in its name. A secret that could be guessed takes long to try.
        """
        if not self.storage_options:
            return ""
        if self._digest is None:
            told = _canonical(self.storage_options).encode("utf-8", "surrogatepass")
            slow = pbkdf2_hmac("sha256", told, b"dbdicom_xr" + os.fsencode(str(self)), _ROUNDS, 16)
            self._digest = slow.hex()
        return self._digest


def _canonical(value: Any) -> str:
    """Return what tells a value from all others, the same in all processes where it can be."""
    if isinstance(value, dict):
        parts = sorted(f"{_canonical(name)}:{_canonical(part)}" for name, part in value.items())
        return f"{{{','.join(parts)}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({','.join(map(_canonical, value))})"
    if value is None or isinstance(value, (str, bytes, int, float)):
        return repr(value)
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    try:
        return f"{type(value).__qualname__}({pickle.dumps(value, 4)!r})"
    except Exception:  # it is another one in each process
        return f"{type(value).__qualname__}({_PROCESS}, {id(value)})"


_by_index: dict[tuple[str, str], RemoteRoot] = {}
"""Those of this process, by URL and index: an array that comes from a file tells no more."""


def with_options(url: str, index: str) -> RemoteRoot:
    """Return a remote folder with what it takes to reach it.

    Parameters
    ----------
    url : str
        Alone, it is known by its index what it takes, if this process has had it open.
    index : str
        The index file.
    """
    if isinstance(url, RemoteRoot):
        return url
    root = _by_index.get((url, index))
    if root is None:
        root = RemoteRoot(url)
        root.is_told = False
    return root


def remember(root: str, index: str) -> None:
    """Remember what it takes to reach the folder of an index."""
    if isinstance(root, RemoteRoot) and root.is_told:
        _by_index[str(root), index] = root


def is_remote(root: str) -> bool:
    """Return whether a folder is one that fsspec reaches, by its name.

    Examples
    --------
    >>> is_remote("s3://bucket"), is_remote("zip://::/data/a.zip"), is_remote("C:/data")
    (True, True, False)
    """
    return isinstance(root, RemoteRoot) or "://" in root


def place_of(root: str) -> str:
    """Return what tells a folder from all others: its URL, and the options that lead to it.

    Two accounts, servers or archives may have one URL.
    """
    if isinstance(root, RemoteRoot) and root.digest:
        return f"{root!s}\n{root.digest}"
    return str(root)


def remote_folder(root: str) -> RemoteFolder:
    """Return the folder at a URL; one object for all that use it in this process."""
    from dbdicom_xr.index.remote import RemoteFolder

    wanted = root if isinstance(root, RemoteRoot) else RemoteRoot(root)
    place = place_of(wanted)
    with _lock:
        for folder in _folders:
            if place_of(folder.root) == place:
                return folder
        folder = RemoteFolder(wanted)
        _folders.append(folder)
        while len(_folders) > _MOST_OPEN:
            _folders.pop(0)
        return folder


_MOST_OPEN: Final = 32
_folders: list[RemoteFolder] = []
_abandoned: list[Any] = []
_lock = threading.Lock()


def _forget() -> None:
    global _lock
    # Connections must not cross a fork. They are kept, since to close them is the parent's affair.
    _abandoned.append(list(_folders))
    _folders.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def checked_url(url: str) -> str:
    """Return the URL of a folder as it is known from then on.

    Raises
    ------
    InvalidValue
        It holds credentials, which would be shown and stored with it; or a query.
    """
    for part in url.split("::"):
        place = part.partition("://")[2]
        if has_user(place):
            raise InvalidValue(
                f"The URL {hidden(url)} holds a user or a password, which would be shown and "
                "stored with it. Pass them as storage_options=, as in {'client_kwargs': {'auth': "
                "aiohttp.BasicAuth(user, password)}} for https, or {'username': ..., 'password': "
                "...}. An @ in the name of a folder of a web server is written %40."
            )
        if place.partition("/")[0] and has_query(place):
            raise InvalidValue(
                f"{hidden(url)} is no URL of a folder: files have no names below one that ends "
                "in a query. What it says goes into storage_options=."
            )
    head, mark, rest = url.partition("::")
    protocol, sep, path = head.partition("://")
    path = path.removesuffix("*").rstrip("/")
    return f"{protocol}{sep}{path}{mark}{rest.rstrip('/')}"


def read_only(root: str) -> StagingNotWritable:
    """Return the error of whoever wants to change a folder that is elsewhere."""
    return StagingNotWritable(
        f"{root!s} is read-only, as all folders that are opened by a URL are. To change a copy: "
        "database.export_as_dicom('folder') or series.export_as_dicom('folder'), then "
        "db.database('folder'). Arrays that are computed from it can be written into any database "
        "of this computer: db.database('folder', create=True)."
    )
