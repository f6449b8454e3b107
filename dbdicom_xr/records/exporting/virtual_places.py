"""Where the frames of a series lie, as addresses: of this computer, of S3, or of a web server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.files import open_for_reading, pread, version_of
from dbdicom_xr.index.roots import RemoteRoot, is_remote, remote_folder
from dbdicom_xr.index.rows import FileRow
from dbdicom_xr.index.table import Table

__all__ = ["container_of", "frames_of", "prefix_of", "why_unreachable"]

_ICECHUNK: Final = ("s3", "http", "https")
# fsspec reaches all of them by the address alone, which a chain such as zip:// is not.
_KERCHUNK: Final = (*_ICECHUNK, "gs", "gcs", "abfs", "abfss", "az", "memory")
_AT_ONCE: Final = 64 << 20  # bytes


def why_unreachable(root: str, kerchunk: bool) -> str | None:
    """Return why no reference leads into a folder; None where one does.

    Examples
    --------
    >>> why_unreachable("s3://bucket/study", kerchunk=False)
    >>> why_unreachable("zip://::a.zip", kerchunk=True)
    'its files are in an archive, into which no reference leads.'
    >>> why_unreachable("gs://bucket/study", kerchunk=False)
    'Icechunk refers to files of this computer, s3, http and https, not to gs://.'
    """
    if not is_remote(root):
        return None
    if "::" in root:
        return "its files are in an archive, into which no reference leads."
    protocol = prefix_of(root).partition("://")[0]
    reached, name = (_KERCHUNK, "kerchunk") if kerchunk else (_ICECHUNK, "Icechunk")
    if protocol in reached:
        if protocol != "s3" and not kerchunk and urlsplit(root).port:
            return f"Icechunk leaves the port out of {root}. References of kerchunk can have it."
        return None
    return (
        f"{name} refers to files of this computer, {', '.join(reached[:-1])} and {reached[-1]}, "
        f"not to {protocol}://."
    )


def prefix_of(root: str) -> str:
    """Return the address of a folder, which ends in a slash.

    Examples
    --------
    >>> prefix_of("/data/study"), prefix_of("s3a://bucket/study/")
    ('file:///data/study/', 's3://bucket/study/')
    """
    if not is_remote(root):
        return f"file://{root}/"
    text = str(root).rstrip("/") + "/"
    return f"s3{text[3:]}" if text.startswith("s3a://") else text


def container_of(root: str) -> Any:
    """Return what Icechunk is told of a folder: never who may read it."""
    import icechunk

    if not is_remote(root):
        return icechunk.VirtualChunkContainer(
            prefix_of(root), icechunk.local_filesystem_store(root)
        )
    prefix = prefix_of(root)
    if not prefix.startswith("s3://"):
        options = {"allow_http": "true"} if prefix.startswith("http://") else None
        return icechunk.VirtualChunkContainer(prefix, icechunk.http_store(options))
    given = root.storage_options if isinstance(root, RemoteRoot) else {}
    inner = given.get("client_kwargs") or {}
    endpoint = given.get("endpoint_url") or inner.get("endpoint_url")
    store = icechunk.s3_store(
        region=inner.get("region_name") or ("us-east-1" if endpoint else None),
        endpoint_url=endpoint,
        allow_http=str(endpoint).startswith("http://"),
        anonymous=bool(given.get("anon")),
        force_path_style=bool(endpoint),
    )
    return icechunk.VirtualChunkContainer(prefix, store)


def frames_of(
    table: Table,
    instances: npt.NDArray[Any],
    offsets: npt.NDArray[Any],
    length: int,
    pixels: bool,
    refusal: Callable[[str], Exception],
) -> Iterator[tuple[int, str, bytes]]:
    """Yield each frame, file by file; each file is found to be the one of the index.

    Parameters
    ----------
    table : Table
    instances, offsets : ndarray
        Of each frame, flat: its instance, and where in its file it begins.
    length : int
        Bytes of a frame.
    pixels : bool
        Whether to read them.
    refusal : callable
        Makes the error about a file that changed.

    Yields
    ------
    (int, str, bytes)
        Number of the frame, its file, its bytes, b"" where they are not wanted.
    """
    order = np.lexsort((offsets, instances))
    files = {number: table.file(number) for number in np.unique(instances).tolist()}
    if is_remote(table.root):
        yield from _far(table.root, files, order, instances, offsets, length if pixels else 0)
        return
    fd, opened = -1, -1
    try:
        for at in order.tolist():
            number = int(instances[at])
            file = files[number]
            path = f"{table.root}/{file.path}"
            if number != opened:
                if fd >= 0:
                    os.close(fd)
                fd, opened = -1, number
                fd = open_for_reading(path)
                if version_of(os.fstat(fd)) != (file.size, file.mtime):
                    raise refusal(
                        f"{path} has changed since it was indexed; database.scan() reads it again."
                    )
            yield at, path, pread(fd, length, int(offsets[at])) if pixels else b""
    finally:
        if fd >= 0:
            os.close(fd)


def _far(
    root: str,
    files: dict[int, FileRow],
    order: npt.NDArray[np.intp],
    instances: npt.NDArray[Any],
    offsets: npt.NDArray[Any],
    length: int,
) -> Iterator[tuple[int, str, bytes]]:
    """Yield frames of another computer, many in one go; a byte of a file tells its version."""
    folder = remote_folder(root)
    step = max(1, _AT_ONCE // max(length, 1 << 14))
    for begin in range(0, len(order), step):
        some = order[begin : begin + step].tolist()
        owners = [files[int(instances[at])] for at in some]
        if length:
            places = [
                (file, int(offsets[at]), length) for at, file in zip(some, owners, strict=True)
            ]
            read = folder.read_many(places)
        else:
            folder.read_many([(file, 0, 1) for file in {file.id: file for file in owners}.values()])
            read = [b""] * len(some)
        for at, file, data in zip(some, owners, read, strict=True):
            yield at, f"{root}/{file.path}", data
