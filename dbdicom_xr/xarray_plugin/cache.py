"""``array.dicom.cache()``: a copy of an array on a fast disk, for what reads it many times.

The copy is a zarr array in a folder of its own, which goes when nothing reads from it any more, or
when Python ends. Blocks are written one by one, so that an array may be larger than the memory.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import socket
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbdicom_xr.errors import DbdicomError, InvalidValue, PixelError, SaveFailed
from dbdicom_xr.index.seen import not_seen
from dbdicom_xr.staging.lease import Process, has_ended, this_process

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["StoredBlocks", "cached"]

_PREFIX: Final = "dbdicom_xr-cache-"
_GONE: Final = ".gone"
_OWNER: Final = "process"
_MIB: Final = 1 << 20
# What one task computes and writes; and what is read and decompressed at least, to get one value.
_WRITTEN: Final = 128 * _MIB
_STORED: Final = 4 * _MIB
_PIXELS: Final = ("x", "y", "channel")


class StoredBlocks:
    """The copy of an array, as dask reads it; pickles to the place where it is.

    Parameters
    ----------
    folder : str
        Of the copy.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._keeper: Any = None
        self._stored: Any = None
        self._open()

    def _open(self) -> None:
        import zarr

        if not os.path.isdir(self.folder):
            raise not_seen(self.folder)
        self._stored = zarr.open_array(os.path.join(self.folder, "array"), mode="r")
        self.shape: tuple[int, ...] = self._stored.shape
        self.dtype: np.dtype[Any] = self._stored.dtype
        self.ndim = len(self.shape)

    def keep(self) -> None:
        """Remove the folder with this object, or when this process ends."""
        self._keeper = weakref.finalize(self, _remove, self.folder, os.getpid())

    def __getitem__(self, key: Any) -> Any:
        if self._stored is None:
            self._open()
        try:
            values = self._stored[key]
        except Exception as error:  # of a codec, each with a class of its own
            self._require_whole(key)
            raise PixelError(f"{self._damaged()}: {error}") from error
        self._require_whole(key)
        return values

    def _require_whole(self, key: Any) -> None:
        """Raise where a block of a part is missing, which zarr takes for zeros."""
        if not os.path.isdir(self.folder):
            raise not_seen(self.folder)
        parts = key if isinstance(key, tuple) else (key,)
        parts = (*parts, *[slice(None)] * (self.ndim - len(parts)))
        blocks = [
            sorted({place // size for place in np.atleast_1d(np.arange(count)[part]).tolist()})
            for part, count, size in zip(parts, self.shape, self._stored.chunks, strict=True)
        ]
        for block in itertools.product(*blocks):
            name = os.path.join(self.folder, "array", "c", *map(str, block))
            if not os.path.isfile(name):
                raise PixelError(f"{self._damaged()}: {name} has gone")

    def _damaged(self) -> str:
        return (
            f"The copy of an array in {self.folder} is damaged. Make it again with "
            "array.dicom.cache(), in a folder that nobody tidies: cache(path)"
        )

    def __reduce__(self) -> Any:
        return _elsewhere, (self.folder, self.shape, self.dtype)

    def __dask_tokenize__(self) -> Any:
        return ("dbdicom_xr.StoredBlocks", self.folder)


def _elsewhere(folder: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> StoredBlocks:
    """Return a copy in another process, which opens it when it reads: unpickling may not raise."""
    found = StoredBlocks.__new__(StoredBlocks)
    found.folder, found.shape, found.dtype, found.ndim = folder, shape, dtype, len(shape)
    found._keeper = found._stored = None
    return found


def _remove(folder: str, pid: int) -> None:
    if os.getpid() != pid:  # a process that was forked has the object, not the folder
        return
    gone = folder + _GONE
    with suppress(OSError):
        os.rename(folder, gone)  # at once, so that nobody reads what is left of it
    for path in (gone, folder):
        shutil.rmtree(path, ignore_errors=True)


def cached(
    array: xr.DataArray,
    path: str | os.PathLike[str] | None = None,
    *,
    chunks: Mapping[str, int] | None = None,
) -> xr.DataArray:
    """Return an array that reads from a copy on disk; see :meth:`DicomAccessor.cache`."""
    if array.chunks is None:
        array = array.chunk()
    if not array.size or array.dtype.kind not in "biufc":
        raise InvalidValue(f"An array of {array.dtype} and shape {array.shape} cannot be copied.")
    home = _home(path)
    written, stored = _sizes(array, chunks)
    folder = _new_folder(home)
    try:
        _write(array, folder, written, stored)
        copy = StoredBlocks(folder)
        copy.keep()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return array.copy(data=_blocks(copy, array, stored, chunks or {}))


def _home(path: str | os.PathLike[str] | None) -> str:
    """Return the folder that the copy is made in."""
    if path is not None:
        home = os.path.abspath(os.path.expanduser(os.fsdecode(path)))
        try:
            os.makedirs(home, exist_ok=True)
        except OSError as error:
            raise SaveFailed(f"{home} cannot be made: {error.strerror or error}.") from error
    else:
        home = tempfile.gettempdir()
        away = _workers_elsewhere()
        if away:
            raise InvalidValue(
                f"The workers of the cluster, such as {away}, do not see {home} of this machine: "
                "array.dicom.cache(path) with a folder that they all see."
            )
    _remove_left_behind(home)
    return home


def _workers_elsewhere() -> str:
    """Return a worker on another machine, that would compute; an empty text if there is none."""
    import sys

    if "distributed" not in sys.modules:
        return ""
    try:
        client = sys.modules["distributed"].default_client()
        workers = client.scheduler_info(n_workers=-1)["workers"]
    except (ValueError, TypeError):  # no client; or an older one, which tells all workers
        return ""
    here = {socket.gethostname(), "127.0.0.1", "localhost", "::1"}
    with suppress(OSError):
        here |= {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)}
    return next((name for name, worker in workers.items() if worker["host"] not in here), "")


def _sizes(
    array: xr.DataArray, chunks: Mapping[str, int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the blocks that are written by one task, and those that are stored.

    A stored block lies within one that is written, so that each is written once, by one task. By
    default it holds all values of its voxels, of a part of one image or of few.
    """
    wanted = dict(chunks or {})
    unknown = set(wanted) - set(map(str, array.dims))
    if unknown:
        raise InvalidValue(f"chunks= names {sorted(unknown)}; the dimensions are {array.dims}.")
    sizes = {str(dim): size for dim, size in array.sizes.items()}
    for dim, size in wanted.items():
        if not isinstance(size, (int, np.integer)) or not (size > 0 or size == -1):
            raise InvalidValue(f"chunks= of {dim} is {size!r}; it can be a number, or -1 for all.")
        wanted[dim] = sizes[dim] if size == -1 else min(int(size), sizes[dim])
    # Whole images, since a part of one costs as much to read; as many as fit, the last dimensions
    # first but for the slices, of which one block may hold one.
    order = [dim for dim in reversed(sizes) if dim in _PIXELS]
    order += [dim for dim in reversed(sizes) if dim not in _PIXELS and dim != "SliceLocation"]
    order += [dim for dim in sizes if dim == "SliceLocation"]
    written: dict[str, int] = {}
    room = max(1, _WRITTEN // array.dtype.itemsize)
    for dim in order:
        step = 1 if dim in _PIXELS else wanted.get(dim, 1)
        fits = sizes[dim] if dim in _PIXELS else max(step, min(sizes[dim], room) // step * step)
        written[dim] = min(fits, sizes[dim])
        room = max(1, room // written[dim])
    stored = {dim: wanted.get(dim, written[dim]) for dim in order}
    # Cut where nothing was asked for: slices first, then columns of pixels, then rows.
    for dim in ("SliceLocation", "x", "y"):
        if dim in stored and dim not in wanted:
            count = math.prod(stored.values()) * array.dtype.itemsize
            parts = min(stored[dim], -(-count // _STORED))
            stored[dim] = -(-stored[dim] // parts)
    for dim in order:  # so that blocks begin where stored ones do
        if written[dim] < sizes[dim]:
            written[dim] = max(1, written[dim] // stored[dim]) * stored[dim]
    names = [str(dim) for dim in array.dims]
    return tuple(written[dim] for dim in names), tuple(stored[dim] for dim in names)


def _write(
    array: xr.DataArray, folder: str, written: tuple[int, ...], stored: tuple[int, ...]
) -> None:
    import dask.array as da
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    target = zarr.create_array(
        os.path.join(folder, "array"),
        shape=array.shape,
        chunks=stored,
        dtype=array.dtype,
        # Little is gained by better ones: pixels are noise. This one is as fast as the disk.
        compressors=[BloscCodec(cname="lz4", clevel=1), Crc32cCodec()],
        config={"write_empty_chunks": True},  # so that one that is missing is known to be lost
    )
    try:
        da.store(array.data.rechunk(written), target, lock=False)  # type: ignore[arg-type]
    except OSError as error:
        if error.errno is None or isinstance(error, DbdicomError):  # of what is computed
            raise
        raise SaveFailed(
            f"The copy of the array could not be written to {folder}: "
            f"{error.strerror or error}. array.dicom.cache(path) puts it elsewhere."
        ) from error


def _blocks(
    copy: StoredBlocks, array: xr.DataArray, stored: tuple[int, ...], chunks: Mapping[str, int]
) -> Any:
    """Return the copy as dask sees it: several stored blocks for each of its own.

    They hold whole curves: what is applied to those wants them in one block.
    """
    import dask.array as da

    sizes = [
        size if dim in (*_PIXELS, "SliceLocation") or dim in chunks else array.sizes[dim]
        for dim, size in zip(array.dims, stored, strict=True)
    ]
    limit = _WRITTEN // 4
    for axis, dim in reversed(list(enumerate(array.dims))):
        if dim not in chunks:
            count = math.prod(sizes) * copy.dtype.itemsize
            times = max(1, min(-(-copy.shape[axis] // sizes[axis]), limit // count))
            sizes[axis] = min(sizes[axis] * times, copy.shape[axis])
    meta = np.empty((0,) * copy.ndim, copy.dtype)
    return da.from_array(  # type: ignore[no-untyped-call]
        copy, chunks=tuple(sizes), asarray=False, meta=meta
    )


# -- the folder -----------------------------------------------------------------------------------


def _new_folder(home: str) -> str:
    try:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=home)
        with open(os.path.join(folder, _OWNER), "w", encoding="utf-8") as file:
            json.dump(this_process(), file)
    except OSError as error:
        raise SaveFailed(
            f"The copy of the array could not be written to {home}: {error.strerror or error}. "
            "array.dicom.cache(path) puts it elsewhere."
        ) from error
    return folder


def _remove_left_behind(home: str) -> None:
    """Remove the copies of processes of this machine that were killed."""
    with suppress(OSError):
        for entry in os.scandir(home):
            if not entry.name.startswith(_PREFIX):
                continue
            if entry.name.endswith(_GONE):
                shutil.rmtree(entry.path, ignore_errors=True)
            with suppress(OSError, ValueError, TypeError):
                with open(os.path.join(entry.path, _OWNER), encoding="utf-8") as file:
                    owner = Process(*json.load(file))
                if has_ended(owner):
                    shutil.rmtree(entry.path, ignore_errors=True)
