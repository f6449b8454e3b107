"""What the errors of stores mean, in words that hold no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from weakref import WeakKeyDictionary

from dbdicom_xr.errors import (
    ConnectionLost,
    DbdicomError,
    FolderNotReadable,
    InvalidValue,
    MissingFolder,
)

__all__ = ["explained", "has_query", "has_user", "hidden", "lost", "was_answered"]

_EXTRA: Final = 'pip install "dbdicom_xr[remote]"'
_CREDENTIALS: Final = frozenset(
    ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenError",
     "NoAuthTokenError", "ProfileNotFound", "DefaultCredentialsError")
)  # fmt: skip
# What stands in storage options beside secrets, and may be shown.
_PLAIN: Final = frozenset(("endpoint_url", "region_name", "protocol", "target_protocol", "host"))
_CUT: Final = ("ClientPayloadError", "IncompleteReadError", "ResponseStreamingError")
_MOST_TEXT: Final = 300
# A password may hold any sign, as "/" in the keys of S3; a user alone ends with the server.
_USER: Final = re.compile(r"://(?:[^\s/@]*:[^\s]*@|[^\s/@]*@)")
_QUERY: Final = re.compile(r"([?#]|(?:%3F|;)[\w.-]+=).*", re.IGNORECASE)


def hidden(url: str) -> str:
    """Return a URL without what may be secret in it.

    Examples
    --------
    >>> hidden("https://me:secret@hospital.example/a?token=xyz")
    'https://***@hospital.example/a?***'
    """
    plain = _USER.sub("://***@", url)
    return _QUERY.sub(r"\1***", plain)


def has_user(place: str) -> bool:
    """Return whether what stands behind :// begins with a user or a password.

    Examples
    --------
    >>> has_user("key:sec/ret@bucket/a"), has_user("me@server/a"), has_user("bucket/a@b")
    (True, True, False)
    """
    return _USER.match(f"://{place}") is not None


def has_query(place: str) -> bool:
    """Return whether what stands behind :// has a query or parameters, written in any way.

    Examples
    --------
    >>> has_query("server/a?token=x"), has_query("server/a;token=x"), has_query("server/a;b")
    (True, True, False)
    """
    return _QUERY.search(place) is not None


def explained(error: Exception, root: str, file: str = "") -> DbdicomError | None:
    """Return what is wrong where another try would not help, else None.

    Parameters
    ----------
    error : Exception
        Of fsspec, or of what it uses.
    root : RemoteRoot
        The folder, with the options of which nothing may be told.
    file : str
        A file in it that was asked for.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    status = getattr(error, "status", None)
    url = _url(root, file)
    if isinstance(error, ImportError):
        return DbdicomError(
            f"{url} cannot be reached: a package is missing that knows this kind of store "
            f"({_text(error, root)}). {_EXTRA} installs those for s3:// and https://."
        )
    if names & _CREDENTIALS:
        return FolderNotReadable(
            f"There are no credentials for {url}. Pass storage_options={{'key': ..., 'secret': "
            "...}, or {'profile': ...}; set them where the program of the store looks for them, "
            "as the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or pass "
            "storage_options={'anon': True} for a public one."
        )
    if isinstance(error, PermissionError) or status in (401, 403, 407):
        return FolderNotReadable(
            f"{url} may not be read ({_text(error, root)}). Check the credentials in "
            "storage_options=, or ask its owner for permission; storage_options={'anon': True} "
            "opens a public one on S3."
        )
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return MissingFolder(f"There is nothing at {url}, or not any more ({_text(error, root)}).")
    if isinstance(error, (ValueError, TypeError, AttributeError, NotImplementedError, KeyError)):
        return InvalidValue(
            f"{url} cannot be opened with these storage_options: {type(error).__name__}: "
            f"{_text(error, root)}."
        )
    if "TooManyRedirects" in names:
        return DbdicomError(f"{url} cannot be read: the server sends from one address to another.")
    if "BadZipFile" in names or "LZMAError" in names:
        return DbdicomError(f"The archive {url} is damaged: {_text(error, root)}.")
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 425, 429):
        return DbdicomError(f"{url} cannot be read: {_text(error, root)}.")
    return None


def lost(error: Exception, root: str, tries: int, seconds: float, file: str = "") -> ConnectionLost:
    """Return the error after the last try."""
    tried = f" {tries} tries in {seconds:.0f} s failed, the last with" if tries > 1 else ""
    told = ConnectionLost(
        f"The connection to {_url(root, file)} was lost:{tried} {type(error).__name__}: "
        f"{_text(error, root)}. Check the network and the address, then repeat the call. What "
        "was indexed is kept; database.export_as_dicom('folder') makes a copy that needs no "
        "network."
    )
    _answered[told] = _is_answer(error)
    return told


_answered: WeakKeyDictionary[ConnectionLost, bool] = WeakKeyDictionary()


def was_answered(error: ConnectionLost) -> bool:
    """Return whether it was the store that failed, with an answer, and not the way to it."""
    return _answered.get(error, False)


def _is_answer(error: BaseException) -> bool:
    if type(error) is ConnectionError or type(error).__name__ in _CUT:
        return True  # the answer was too short
    told = getattr(error, "status", None) or getattr(error.__cause__, "response", None)
    return told is not None


def _url(root: str, file: str) -> str:
    return f"{hidden(str(root))}/{file}" if file else hidden(str(root))


def _text(error: Exception, root: str) -> str:
    text = hidden(" ".join(str(error).split())) or type(error).__name__
    for secret in sorted(set(_secrets(getattr(root, "storage_options", {}))), key=len)[::-1]:
        text = text.replace(secret, "***")
    return text[:_MOST_TEXT].rstrip(". ")


def _secrets(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _secrets(part, str(key))
    elif isinstance(value, (list, tuple, set)):
        for part in value:
            yield from _secrets(part, name)
    elif isinstance(value, (str, bytes)) and name not in _PLAIN and len(value) > 3:
        yield value.decode("utf-8", "replace") if isinstance(value, bytes) else value
