"""Where a folder is: on this computer, by its path, or elsewhere, by its URL.

A URL goes wherever a path goes. What it takes to reach it, credentials among them, goes with it
from process to process, and is never shown nor stored.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from dbdicom_xr.errors import InvalidValue, StagingNotWritable
from dbdicom_xr.index.remote_errors import hidden

if TYPE_CHECKING:
    from dbdicom_xr.index.remote import RemoteFolder

__all__ = ["RemoteRoot", "checked_url", "is_remote", "place_of", "read_only", "remote_folder"]


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

    def __new__(cls, url: str, storage_options: dict[str, Any] | None = None) -> RemoteRoot:
        """Make it."""
        root = super().__new__(cls, url)
        root.storage_options = dict(storage_options or {})
        if root.storage_options or url not in _options:
            _options[url] = root.storage_options
        return root

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteRoot, (str(self), self.storage_options)


_options: dict[str, dict[str, Any]] = {}  # by which a URL alone, from a file say, is reached again


def is_remote(root: str) -> bool:
    """Return whether a folder is one that fsspec reaches, by its name.

    Examples
    --------
    >>> is_remote("s3://bucket"), is_remote("zip://::/data/a.zip"), is_remote("C:/data")
    (True, True, False)
    """
    return isinstance(root, RemoteRoot) or "://" in root


def place_of(root: str) -> str:
    """Return what tells a folder from all others: its URL, and the server where that is apart."""
    options = root.storage_options if isinstance(root, RemoteRoot) else _options.get(root, {})
    return "\n".join([str(root), *_servers(options)])


def _servers(options: dict[str, Any]) -> list[str]:
    """Return the servers that options name, at any depth: those of inner stores stand below."""
    found = []
    for name, value in sorted(options.items()):
        if isinstance(value, dict):
            found += _servers(value)
        elif name in ("endpoint_url", "host") and value:
            found.append(str(value))
    return found


def remote_folder(root: str) -> RemoteFolder:
    """Return the folder at a URL; one object for all that use it in this process."""
    from dbdicom_xr.index.remote import RemoteFolder

    options = root.storage_options if isinstance(root, RemoteRoot) else _options.get(root, {})
    with _lock:
        for folder in _folders:
            if folder.root == root and folder.root.storage_options == options:
                return folder
        folder = RemoteFolder(RemoteRoot(root, options))
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
        if "@" in place.partition("/")[0]:
            raise InvalidValue(
                f"The URL {hidden(url)} holds a user or a password, which would be shown and "
                "stored with it. Pass them as storage_options=, as in {'client_kwargs': {'auth': "
                "aiohttp.BasicAuth(user, password)}} for https, or {'username': ..., 'password': "
                "...}."
            )
        if place.partition("/")[0] and ("?" in place or "#" in place):
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
