"""What is asked of a store: which files it has, and the bytes of a range, with their version.

S3 and HTTP tell the version of a file with the bytes of each answer, so that one request reads and
checks. Other stores are asked for it beside, which costs another one where they are far away.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable, Collection
from hashlib import blake2b
from typing import Any, ClassVar, Final, NamedTuple, Protocol
from urllib.parse import unquote

from dbdicom_xr.errors import DbdicomError, FolderNotReadable, MissingFolder, NotAFolder
from dbdicom_xr.index.files import Version, is_temporary

__all__ = ["AsyncStore", "Got", "PlainStore", "store_at"]

_OWN: Final = ".dbdicom_xr"
_CONNECT_SECONDS: Final = 10
_SILENT_SECONDS: Final = 30
_PATIENCE: Final = {
    "connect_timeout": _CONNECT_SECONDS,
    "read_timeout": _SILENT_SECONDS,
    "max_pool_connections": 64,
}
_BLOCK: Final = 1 << 17
"""Bytes that are read ahead in an archive that is elsewhere: of fsspec it would be 50 MB."""
_UNKNOWN: Final = (-1, -1)
_DEEPEST: Final = 64
_MOST_FOLDERS: Final = 100_000
_RANGE: Final = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", re.ASCII)
# Where stores tell by what a file is known, the best first.
_MARKS: Final = (
    "ETag", "etag", "md5Hash", "md5", "content_md5", "generation", "CRC", "checksum",
)  # fmt: skip
_TIMES: Final = (
    "LastModified", "last_modified", "updated", "mtime", "modified", "date_time", "created",
)  # fmt: skip

Patient = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""What does something that may need several tries."""


class Got(NamedTuple):
    """The bytes of a range, and the version of the file that they are of."""

    data: bytes
    version: Version


def mark(*parts: Any) -> int:
    """Return a number for what a store tells of a file: 63 bits; 0 where it tells nothing."""
    if not any(parts):
        return 0
    text = "\n".join(map(str, parts)).encode("utf-8", "replace")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1


def _version(info: dict[str, Any]) -> Version:
    told = next(([info[name]] for name in _MARKS if info.get(name)), [])
    if not told or "CRC" in info:
        told += [info[name] for name in _TIMES if info.get(name)][:1]
    size = info.get("size")
    return (-1 if size is None else int(size)), mark(*told)


def _is_ours(path: str) -> bool:
    """Return whether a path is one of this package's own files, or no file at all."""
    parts = path.split("/")
    return not parts[-1] or _OWN in parts or ".." in parts or is_temporary(parts[-1])


class AsyncStore:
    """A store that answers many requests at a time."""

    tells: ClassVar[bool] = False  # the version of a file with its bytes

    def __init__(self, fs: Any, path: str) -> None:
        self.fs = fs
        self.path = path.rstrip("/")

    @property
    def loop(self) -> Any:
        """Of the thread in which requests are made."""
        return self.fs.loop

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name

    async def listing(
        self, patient: Patient, known: Collection[str]
    ) -> tuple[dict[str, Version], list[str]]:
        """Return the files by path, with their versions, and folders that cannot be listed."""

        async def find() -> Any:
            self.fs.invalidate_cache()
            return await self.fs._find(self.path, detail=True)

        return _files(await patient(find), self.path), []

    async def get(self, name: str, start: int, stop: int) -> Got:
        """Return a range of the bytes of a file; fewer where it ends."""
        path = self._at(name)
        version = _version(await self.fs._info(path))
        data = await self.fs._cat_file(path, start=start, end=min(stop, version[0]))
        return Got(_complete(data, start, stop, version[0]), version)


def _files(found: dict[str, dict[str, Any]], root: str) -> dict[str, Version]:
    prefix = f"{root.strip('/')}/" if root.strip("/") else ""
    files = {}
    for full, info in found.items():
        if info.get("type") == "directory" or full.endswith("/"):  # some stores keep empty ones so
            continue
        if full.strip("/") == root.strip("/"):
            raise NotAFolder(
                f"{full} is a file. A database is a folder, or an archive as in "
                "'zip://::s3://bucket/study.zip'."
            )
        name = full.lstrip("/").removeprefix(prefix)
        if not _is_ours(name):
            files[name] = _version(info)
    if not files:
        raise FileNotFoundError("no files are below it")
    return files


def _complete(data: bytes, start: int, stop: int, size: int) -> bytes:
    """Return bytes, provided that all are there."""
    wanted = max(0, min(stop, size) - start)
    if len(data) < wanted:
        raise ConnectionError(f"only {len(data)} of {wanted} bytes came")
    return data[:wanted]


class _S3(AsyncStore):
    async def get(self, name: str, start: int, stop: int) -> Got:
        path = self._at(name)
        bucket, key, _ = self.fs.split_path(path)
        answer = await self.fs._call_s3(
            "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}"
        )
        try:
            data = await answer["Body"].read()
        finally:
            answer["Body"].close()
        version = mark(answer.get("ETag"))
        if not answer.get("ContentRange") and _status(answer) == 200:  # it knows no ranges
            size = int(answer.get("ContentLength", len(data)))
            return Got(_complete(data[start:], start, stop, size), (size, version))
        first, last, told = _range(answer.get("ContentRange"), name)
        size = await self._size(path, version) if told is None else told
        return Got(_cut(data, (first, last, size), start, stop, name), (size, version))

    async def _size(self, path: str, version: int) -> int:
        bucket, key, _ = self.fs.split_path(path)
        told = await self.fs._call_s3("head_object", Bucket=bucket, Key=key)
        if mark(told.get("ETag")) != version:
            raise ConnectionError("the file changed while it was read")
        return int(told["ContentLength"])


def _status(answer: dict[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _range(content_range: str | None, name: str) -> tuple[int, int, int | None]:
    """Return which bytes an answer holds, and of how many if it tells (RFC 9110, 14.4).

    Raises
    ------
    DbdicomError
        It does not say so: its bytes may be any.
    """
    found = _RANGE.fullmatch(content_range or "")
    if found is None or int(found[1]) > int(found[2]):
        raise DbdicomError(
            f"the server does not say which bytes of {name} it has sent (Content-Range: "
            f"{content_range!r})"
        )
    return int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])


def _cut(data: bytes, told: tuple[int, int, int], start: int, stop: int, name: str) -> bytes:
    """Return the bytes that were asked for of those that came, which may begin earlier.

    Raises
    ------
    DbdicomError
        The server has sent others.
    """
    first, last, size = told
    stop = min(stop, size)
    if last >= size or len(data) > last + 1 - first or first > start or last + 1 < stop:
        raise DbdicomError(
            f"the server was asked for bytes {start} to {stop - 1} of {name}, and has sent "
            f"{len(data)} bytes that it says are {first} to {last} of {size}"
        )
    return _complete(data[start - first :], start, stop, size)


def _without_dots(name: str) -> str:
    """Return a path without parts that lead nowhere, as in ./a//b/."""
    end = "/" if name.endswith("/") else ""
    return "/".join(part for part in name.split("/") if part not in ("", ".")) + end


class _Http(AsyncStore):
    def __init__(self, fs: Any, path: str) -> None:
        super().__init__(fs, path)
        self._sizes: dict[tuple[str, int], int] = {}  # where a range does not tell it

    def _options(self, **headers: str) -> dict[str, Any]:
        import aiohttp

        options = {**self.fs.kwargs}
        options.setdefault(
            "timeout",
            aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS
            ),
        )
        # Ranges count in the file as it is, not in a compressed form of it.
        options["headers"] = {
            **options.get("headers", {}), "Accept-Encoding": "identity", **headers,
        }  # fmt: skip
        return options

    async def listing(
        self, patient: Patient, known: Collection[str]
    ) -> tuple[dict[str, Version], list[str]]:
        import asyncio

        names: set[str] = set()
        unreadable: list[str] = []
        visited = {""}
        shown: dict[str, frozenset[str]] = {}
        level = [""]

        async def links(folder: str) -> list[str]:
            url = f"{self.path}/{folder}"
            try:
                found = await patient(lambda: self.fs._ls_real(url, detail=False))
            except (FolderNotReadable, MissingFolder) as error:
                if not folder:
                    raise
                if isinstance(error, FolderNotReadable):
                    unreadable.append(folder.rstrip("/"))
                return []
            start = f"{self.path}/"
            inside = {
                _without_dots(text.removeprefix(start))
                for text in found
                if text.startswith(start) and "?" not in text and "#" not in text
            }
            if self._is_loop(folder, inside, shown):
                unreadable.append(folder.rstrip("/"))
                return []
            return sorted(inside)

        while level:
            found = [name for part in await asyncio.gather(*map(links, level)) for name in part]
            level = []
            if len(visited) > _MOST_FOLDERS:
                raise DbdicomError(
                    f"The server shows more than {_MOST_FOLDERS:,} folders: do links lead back to "
                    "the folders that they are in? Open one of them instead."
                )
            for name in found:
                if not name.endswith("/"):
                    if not _is_ours(name) and "/../" not in f"/{unquote(name)}/":
                        names.add(name)
                elif name not in visited and not _is_ours(f"{name}-") and name.strip("./"):
                    visited.add(name)
                    level.append(name)

        async def version(name: str) -> Version:
            try:
                found: Version = await patient(lambda: self._head(name))
                return found
            except (FolderNotReadable, MissingFolder):
                return _UNKNOWN

        if not names and not unreadable:
            raise FileNotFoundError("the server shows no list of files there")
        asked = [name for name in names if name in known]
        versions = dict(zip(asked, await asyncio.gather(*map(version, asked)), strict=True))
        # A folder that may not be listed stands among the files too, so that reading it tells why.
        names.update(unreadable)
        return {name: versions.get(name, _UNKNOWN) for name in names}, unreadable

    @staticmethod
    def _is_loop(folder: str, inside: set[str], shown: dict[str, frozenset[str]]) -> bool:
        """Return whether a folder seems to be one that it lies in, by a link of the server."""
        own = frozenset(name.removeprefix(folder) for name in inside if name.startswith(folder))
        shown[folder] = own
        parts = folder.split("/")[:-1]
        if len(parts) > _DEEPEST:
            return True
        above = ["/".join([*parts[:depth], ""]) if depth else "" for depth in range(len(parts))]
        same = sum(shown.get(name) == own for name in above)
        folders = sum(name.endswith("/") for name in own)
        # Folders in folders of one name are common; with files of the same names they are not.
        return folders > 0 and same > (0 if folders < len(own) else 3)

    async def _head(self, name: str) -> Version:
        session = await self.fs.set_session()
        url = self.fs.encode_url(self._at(name))
        async with session.head(url, **{"allow_redirects": True, **self._options()}) as answer:
            self.fs._raise_not_found_for_status(answer, url)
            size = answer.headers.get("Content-Length", "")
            return (int(size) if size.isdigit() else -1), _tag(answer)

    async def get(self, name: str, start: int, stop: int) -> Got:
        session = await self.fs.set_session()
        url = self.fs.encode_url(self._at(name))
        options = self._options(Range=f"bytes={start}-{stop - 1}")
        async with session.get(url, **options) as answer:
            if answer.status == 416:  # behind the end: the file is empty, or shorter by now
                told = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
                if told.isdigit() and int(told) <= start:
                    return Got(b"", (int(told), _tag(answer)))
            self.fs._raise_not_found_for_status(answer, url)
            packed = answer.headers.get("Content-Encoding", "identity").lower() != "identity"
            if answer.status == 206:
                first, last, total = _range(answer.headers.get("Content-Range"), name)
                if packed:
                    raise DbdicomError(f"the server has sent a part of {name} in compressed form")
                data = await answer.read()
                size = await self._size(name, _tag(answer)) if total is None else total
                return Got(_cut(data, (first, last, size), start, stop, name), (size, _tag(answer)))
            # The server knows no ranges: what comes before is passed over, what comes after not
            # waited for.
            length = answer.headers.get("Content-Length", "")
            if packed or not length.isdigit():
                whole = await answer.read()
                return Got(whole[start:stop], (len(whole), _tag(answer)))
            size = int(length)
            data = await answer.content.readexactly(min(stop, size))
            if stop < size:
                answer.close()
            return Got(_complete(data[start:], start, stop, size), (size, _tag(answer)))

    async def _size(self, name: str, version: int) -> int:
        """Return the size of a file of which ranges do not tell it."""
        if not version or (name, version) not in self._sizes:
            size, now = await self._head(name)
            if now != version:
                raise ConnectionError("the file changed while it was read")
            if size < 0:
                raise DbdicomError(f"the server does not tell the size of {name}")
            self._sizes[name, version] = size
        return self._sizes[name, version]


def _tag(answer: Any) -> int:
    return mark(answer.headers.get("ETag") or answer.headers.get("Last-Modified"))


class PlainStore:
    """A store that answers one request at a time: an archive, or the memory of this process."""

    def __init__(self, fs: Any, path: str) -> None:
        self.fs = fs
        self.path = path.rstrip("/")

    def listing(self) -> dict[str, Version]:
        """Return the files by path, with their versions."""
        self.fs.invalidate_cache()
        return _files(self.fs.find(self.path, detail=True), self.path)

    def get(self, name: str, start: int, stop: int) -> Got:
        """Return a range of the bytes of a file; fewer where it ends."""
        path = f"{self.path}/{name}" if self.path else name
        version = _version(self.fs.info(path))
        stop = min(stop, version[0])
        if stop <= start:
            return Got(b"", version)
        try:
            data = self.fs.cat_file(path, start=start, end=stop)
        except zlib.error as error:
            raise DbdicomError(f"{name} is damaged: {error}") from None
        return Got(_complete(data, start, stop, version[0]), version)


class _Opens(Protocol):
    def __call__(self, fs: Any, path: str) -> AsyncStore: ...


def store_at(url: str, options: dict[str, Any]) -> AsyncStore | PlainStore:
    """Return the store of a folder.

    Parameters
    ----------
    url : str
        As fsspec understands it.
    options : dict
        Of its file system.
    """
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0].rpartition("::")[2]
    given = {**options, "skip_instance_cache": True}
    if protocol in ("s3", "s3a"):
        given.setdefault("use_listings_cache", False)
        # The tries are counted here, so that they do not multiply.
        given["config_kwargs"] = {
            **_PATIENCE, "retries": {"max_attempts": 0}, **given.get("config_kwargs", {}),
        }  # fmt: skip
    inner = url.partition("::")[2].partition("://")[0]
    if inner in ("s3", "s3a"):
        own = given.get(inner, {})
        config = {**_PATIENCE, **own.get("config_kwargs", {})}
        given[inner] = {"default_block_size": _BLOCK, "default_cache_type": "readahead",
                        **own, "config_kwargs": config}  # fmt: skip
    elif inner in ("http", "https"):
        given[inner] = {"block_size": _BLOCK, "cache_type": "readahead", **given.get(inner, {})}
    fs, path = url_to_fs(url, **given)
    if not getattr(fs, "async_impl", False):
        return PlainStore(fs, path)
    if protocol in ("s3", "s3a"):
        fs.retries = 1
        return _S3(fs, path)
    if protocol in ("http", "https"):
        return _Http(fs, path)
    return AsyncStore(fs, path)
