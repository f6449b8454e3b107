"""Zarr stores in folders: whole or not there, in blocks that suit images, of types that all read.

Version 3 of the format. A chunk holds whole images, about 1 MiB of them; a shard is one file of
many chunks, 32 to 128 MiB before compression. Each chunk has a checksum.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import FileExists, InvalidValue
from dbdicom_xr.formats.zarr_contents import foreign_entry

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ENDING",
    "ByteSink",
    "chunk_shape",
    "consolidate",
    "put_back_former",
    "put_in_place",
    "refuse_store",
    "write_dataset",
]

ENDING: Final = ".zarr"
_FORMER: Final = "former "  # begins the name of a store that waits in the folder of an export
_CHUNK: Final = 1 << 20  # bytes
_SHARD: Final = 64 << 20
_BYTES_CHUNK: Final = 8 << 20
_LABELS: Final = 1 << 18  # elements of a coordinate in one chunk


# -- whole or not there --------------------------------------------------------------------------


def refuse_store(path: str, overwrite: bool) -> None:
    """Raise where something is in the way of a store.

    Raises
    ------
    InvalidValue
        It is no store, or one that holds anything else than an export wrote, so that it is never
        replaced.
    FileExists
        There is a store, and it is not to be replaced.
    """
    if not os.path.lexists(path):
        return
    if not os.path.isdir(path) or os.path.islink(path):
        raise InvalidValue(f"{path} is a file or a link, where a zarr store is to be made.")
    if not os.listdir(path):
        return
    if not any(os.path.lexists(os.path.join(path, name)) for name in ("zarr.json", ".zgroup")):
        raise InvalidValue(
            f"{path} is a folder with other files than those of a zarr store, and is never "
            "replaced. Choose another name."
        )
    if not overwrite:
        raise FileExists(
            f"Nothing was written, since there is a store {path} already. overwrite=True replaces "
            "it."
        )
    if (foreign := foreign_entry(path)) is not None:
        what = (
            "was not made by export_as_zarr()"
            if foreign == path
            else f"holds {os.path.relpath(foreign, path)}, which export_as_zarr() did not write"
        )
        raise InvalidValue(
            f"Nothing was written: {path} {what}, and would be gone with it. Move it away, or "
            "choose another name."
        )


def put_in_place(name: str, path: str, overwrite: bool = True) -> None:
    """Give a folder or file its name.

    Parameters
    ----------
    name : str
        In the folder of an export. A store that is there waits in that folder, from where
        :func:`put_back_former` gets it where the process is killed meanwhile.
    path : str
    overwrite : bool
        Replace a store that is there.

    Raises
    ------
    FileExists

    Examples
    --------
    >>> import tempfile
    >>> top = tempfile.mkdtemp()
    >>> for folder in (".export", ".export/new", "a.zarr"):
    ...     os.mkdir(f"{top}/{folder}")
    >>> put_in_place(f"{top}/.export/new", f"{top}/a.zarr")
    >>> os.listdir(f"{top}/.export"), sorted(os.listdir(top), reverse=True)
    ([], ['a.zarr', '.export'])
    """
    if not os.path.isdir(name):
        os.replace(name, path)
        return
    try:
        os.rename(name, path)  # which replaces no folder but an empty one
        return
    except OSError:
        if not os.path.isdir(path):
            raise
    if not overwrite:
        raise FileExists(
            f"Nothing was written, since another program made {path} meanwhile. overwrite=True "
            "replaces it."
        )
    # No call of Python exchanges two folders.
    old = os.path.join(os.path.dirname(name), f"{_FORMER}{os.path.basename(path)}")
    os.rename(path, old)
    try:
        os.rename(name, path)
    except BaseException:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def put_back_former(folder: str) -> None:
    """Give stores their places again that wait in the folder of an export that was killed.

    Those whose places are taken stay.

    Raises
    ------
    OSError

    Examples
    --------
    >>> import tempfile
    >>> top = tempfile.mkdtemp()
    >>> os.makedirs(f"{top}/.export/former a.zarr")
    >>> put_back_former(f"{top}/.export")
    >>> sorted(os.listdir(top))
    ['.export', 'a.zarr']
    """
    for name in os.listdir(folder):
        path = os.path.join(os.path.dirname(folder), name.removeprefix(_FORMER))
        if name.startswith(_FORMER) and not os.path.lexists(path):
            os.rename(os.path.join(folder, name), path)


# -- arrays --------------------------------------------------------------------------------------


def chunk_shape(block: Sequence[int], frame: int) -> tuple[int, ...]:
    """Return how many images a chunk holds along each dimension of the grid.

    Parameters
    ----------
    block : sequence of int
        How many are computed at once, which is a shard; the last dimension varies fastest.
    frame : int
        Bytes of an image.

    Examples
    --------
    >>> chunk_shape((3, 256), 128 << 10), chunk_shape((40, 97), 128 << 10), chunk_shape((), 8)
    ((1, 8), (1, 1), ())
    """
    room = max(1, _CHUNK // max(1, frame))
    result = []
    for size in reversed(block):
        take = max(n for n in range(1, min(size, room) + 1) if size % n == 0)
        result.append(take)
        # A chunk is one run of images in the order of the array.
        room = room // take if take == size else 1
    return tuple(reversed(result))


def _pixel_codecs() -> list[Any]:
    # Of 7 codecs on MR and CT, zstd 1 after bitshuffle made the smallest (0.33 to 0.57 of the
    # bytes; zstd alone 0.37 to 0.61) and the fastest but for LZ4, 300 MB/s on one thread.
    from zarr.codecs import BloscCodec, Crc32cCodec

    return [BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"), Crc32cCodec()]


def _plain_codecs() -> list[Any]:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return [ZstdCodec(level=3), Crc32cCodec()]


def write_dataset(
    dataset: xr.Dataset,
    store: str,
    group: str,
    image: str | None = None,
    pixel_dims: Sequence[str] = (),
) -> None:
    """Write a dataset into a group of a store.

    Parameters
    ----------
    dataset : xarray.Dataset
    store : str
        The folder.
    group : str
        "" for the root.
    image : str, optional
        The variable that holds images.
    pixel_dims : sequence of str
        Its dimensions that are not cut.
    """
    texts = {
        name: (value.dims, _texts(value.values), value.attrs)
        for name, value in dataset.variables.items()
        if value.dtype.kind in "OUT"
    }
    dataset = dataset.assign_coords({k: v for k, v in texts.items() if k in dataset.coords})
    dataset = dataset.assign({k: v for k, v in texts.items() if k not in dataset.coords})
    encoding: dict[Any, Any] = {}
    for name, value in dataset.variables.items():
        value.encoding = {}
        if name == image:
            encoding[name] = _image_encoding(value, pixel_dims)
        else:
            encoding[name] = {
                "compressors": _plain_codecs(),
                "chunks": _label_chunks(value.shape),
                "write_empty_chunks": True,
            }
    dataset.to_zarr(
        store, group=group or None, mode="a", zarr_format=3, consolidated=False, encoding=encoding
    )


def _label_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    sizes, room = [], _LABELS
    for size in reversed(shape):
        sizes.append(max(1, min(size, room)))
        room = max(1, room // sizes[-1])
    return tuple(reversed(sizes))


def _image_encoding(value: Any, pixel_dims: Sequence[str]) -> dict[str, Any]:
    # A chunk is never empty to zarr, so that one that is missing shows.
    encoding: dict[str, Any] = {"compressors": _pixel_codecs(), "write_empty_chunks": True}
    blocks = value.chunks or tuple((size,) for size in value.shape)
    block = tuple(sizes[0] for sizes in blocks)
    grid = [n for n, dim in enumerate(value.dims) if dim not in pixel_dims]
    frame = int(np.prod([block[n] for n in range(len(block)) if n not in grid]))
    inner = list(block)
    for n, size in zip(
        grid, chunk_shape([block[n] for n in grid], frame * value.dtype.itemsize), strict=True
    ):
        inner[n] = size
    encoding["chunks"] = tuple(inner)
    if tuple(inner) != block:
        encoding["shards"] = block
    return encoding


def _texts(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return texts as zarr has a settled type for them: of any length, each one a text."""
    flat = ["" if text is None else str(text) for text in values.ravel().tolist()]
    result = np.empty(len(flat), np.dtypes.StringDType())
    result[:] = flat
    return result.reshape(values.shape)


def consolidate(store: str, groups: Sequence[str]) -> None:
    """Put together what is said of all arrays, so that opening reads one file.

    Without it xarray warns; programs that do not know it pass it over.
    """
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        for group in groups:
            zarr.consolidate_metadata(store, path=group or None, zarr_format=3)


class ByteSink:
    """An array of bytes that grows, written a shard at a time.

    Parameters
    ----------
    group : zarr.Group
    name : str
    attributes : mapping
    """

    def __init__(self, group: Any, name: str, attributes: Mapping[str, Any]) -> None:
        self._array = group.create_array(
            name,
            shape=(0,),
            dtype="uint8",
            chunks=(_BYTES_CHUNK,),
            shards=(_SHARD,),
            compressors=_plain_codecs(),
            dimension_names=("byte",),
            attributes=dict(attributes),
            config={"write_empty_chunks": True},
        )
        self._waiting: list[bytes] = []
        self._held = 0
        self._written = 0

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._written + self._held

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._waiting.append(data)
        self._held += len(data)
        if self._held >= _SHARD:
            self._flush(self._held // _SHARD * _SHARD)

    def close(self) -> None:
        """Write what waits."""
        if self._held:
            self._flush(self._held)

    def _flush(self, count: int) -> None:
        data = b"".join(self._waiting)
        self._waiting, self._held = [data[count:]], len(data) - count
        self._array.resize((self._written + count,))
        self._array[self._written :] = np.frombuffer(data, np.uint8, count)
        self._written += count
