"""``from_zarr``: the DICOM files that a store was made of, byte for byte.

Everything that is read has a checksum. A store of which a part is missing, or was changed, raises;
zarr itself would read zeros in its place.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import (
    DbdicomError,
    FileExists,
    InvalidValue,
    MissingFolder,
    PixelError,
    SaveFailed,
)
from dbdicom_xr.formats.zarr_contents import FILES_FORMAT
from dbdicom_xr.formats.zarr_pixels import FrameForm
from dbdicom_xr.formats.zarr_store import ENDING
from dbdicom_xr.interact import Bar, progress_bar
from dbdicom_xr.names import safe_name
from dbdicom_xr.records.editing.saving_to import named_folder
from dbdicom_xr.records.exporting.files import new_files
from dbdicom_xr.records.exporting.zarr_files import (
    FILE_COLUMNS,
    IMAGE_COLUMNS,
    blocks_of,
)

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database

__all__ = ["from_zarr"]

_PIECE: Final = 16 << 20


def from_zarr(
    store: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str] | None = None,
) -> Database:
    """Make a database of the DICOM files that were exported into a zarr store.

    The files are those that were exported, byte for byte, with the same UIDs: it is the same data.
    Pixels come from the array of the store, the rest from beside it. An array that was changed is
    no longer that of the files, and refused: ``array.dicom.write(series)`` makes images of it.

    Parameters
    ----------
    store : str or path, or several
        Of :meth:`Record.export_as_zarr`. A folder of stores is all stores in it.
    path : str or path, optional
        A new or empty folder. Without it the database is a temporary one: ``save(path)`` puts it
        into a folder.

    Returns
    -------
    Database

    Raises
    ------
    MissingFolder
        There is no such store.
    InvalidValue
        It is no store of :meth:`Record.export_as_zarr`.
    PixelError
        A part of the store is missing, damaged or changed; no files are made.
    FileExists
        The folder has files already.
    SaveFailed
        The disk is full, or the folder may not be written to.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> with db.database(folder) as database:
    ...     stores = database.export_as_zarr(f"{tempfile.mkdtemp()}/all.zarr")
    >>> with db.from_zarr(stores, f"{tempfile.mkdtemp()}/again") as again:
    ...     print(len(again.instances()))
    30
    """
    from dbdicom_xr.records.opening import database

    stores = _stores(store)
    if path is None:
        result = database()
        try:
            with tempfile.TemporaryDirectory(prefix="dbdicom_xr-") as folder:
                _make_files(stores, folder)
                result.mute()
                report = result.import_dicom(folder)
                result.unmute()
        except OSError as error:
            result.close(save=False)
            if isinstance(error, DbdicomError):
                raise
            raise SaveFailed(
                f"{tempfile.gettempdir()}, the folder of temporary files, cannot take those of "
                f"{', '.join(stores)}: {error.strerror or error}. Give another folder: "
                "from_zarr(store, '/data/study')."
            ) from error
        except BaseException:
            result.close(save=False)
            raise
        if report.failures or report.conflicts:
            result.close(save=False)
            raise InvalidValue(
                f"A temporary database cannot hold all files of {', '.join(stores)}. {report} "
                "Give a folder: from_zarr(store, '/data/study')."
            )
        return result
    root = named_folder(path)
    if os.path.isdir(root) and os.listdir(root):
        raise FileExists(f"{root} has files already. Give a new or an empty folder.")
    with new_files(os.path.dirname(root)) as files:
        folder = os.path.join(files.folder, "files")
        _make_files(stores, folder)
        if os.path.isdir(root):
            os.rmdir(root)
        os.rename(folder, root)
    return database(root)


def _stores(given: Any) -> list[str]:
    several = given if isinstance(given, (list, tuple)) else [given]
    result: list[str] = []
    for one in several:
        text = os.path.abspath(os.path.expanduser(os.fsdecode(one)))
        if not os.path.lexists(text):
            raise MissingFolder(f"There is no store {text}. Check the name.")
        if not os.path.isdir(text):
            raise InvalidValue(f"{text} is a file; a store of export_as_zarr is a folder.")
        if os.path.lexists(os.path.join(text, "zarr.json")):
            result.append(text)
            continue
        inside = sorted(
            os.path.join(text, name) for name in os.listdir(text) if name.lower().endswith(ENDING)
        )
        if not inside:
            raise InvalidValue(
                f"{text} is no zarr store (there is no zarr.json in it), nor a folder of stores. "
                "If an export was stopped, export again."
            )
        result += inside
    if not result:
        raise InvalidValue("There are no stores in an empty list.")
    return result


# -- a store -------------------------------------------------------------------------------------


def _make_files(stores: Sequence[str], folder: str) -> None:
    taken: set[str] = set()
    for store in stores:
        try:
            groups = list(_groups(store))
            total = sum(group.images for group in groups)
            with progress_bar(total, f"Reading {os.path.basename(store)}", "image", None) as bar:
                for group in groups:
                    group.make(os.path.join(folder, group.folder(taken)), bar)
        except DbdicomError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # What is said of the files contradicts itself.
            raise _damaged(store, "", f"{type(error).__name__}: {error}") from error


def _groups(store: str) -> Iterator[_Group]:
    """Yield the series of a store."""
    import zarr

    found: list[tuple[str, Any]] = []
    try:
        # What is said of all arrays in one place may tell of some that are not there any more.
        # So folders are looked at, and each group and array is opened by itself.
        for folder, names, _ in os.walk(store):
            names[:] = sorted(name for name in names if name != "c")
            if os.path.basename(folder) == "files":
                group = zarr.open_group(folder, mode="r", use_consolidated=False)
                found.append((os.path.relpath(folder, store), dict(group.attrs)))
                names.clear()
        zarr.open_group(store, mode="r", use_consolidated=False)
    except Exception as error:
        raise _damaged(store, "", f"{type(error).__name__}: {error}") from error
    marked = [(name, attrs) for name, attrs in found if attrs.get("format") == FILES_FORMAT]
    if not marked:
        newer = [attrs["format"] for _, attrs in found if "format" in attrs]
        what = f" It is of the format {newer[0]!r}, of another version." if newer else ""
        raise InvalidValue(
            f"{store} was not made by export_as_zarr: no group in it keeps DICOM files.{what} "
            "array.dicom.write(series) makes images of any array."
        )
    for name, attrs in marked:
        yield _Group(store, os.path.dirname(name).replace(os.sep, "/"), attrs)


def _damaged(store: str, array: str, error: object) -> PixelError:
    where = f", array {array}" if array else ""
    return PixelError(
        f"{store}{where}: a part of the store is missing, damaged or was changed ({error}). No "
        "files were made of it. Export again, or copy the whole store again."
    )


class _Group:
    """A series in a store."""

    def __init__(self, store: str, name: str, attrs: dict[str, Any]) -> None:
        self._store = store
        self._name = name
        self._attrs = attrs
        self._table = {
            f"{part}_{name}": column
            for part, columns in (("file", FILE_COLUMNS), ("image", IMAGE_COLUMNS))
            for name, column in zip(columns, self._columns(f"files/{part}_table"), strict=True)
        }
        forms = attrs["forms"]
        self._forms = [None if form is None else FrameForm(**form) for form in forms]
        self._bytes = self._array("files/bytes")
        if self._bytes.shape[0] != attrs["size"]:
            raise self._wrong("files/bytes", f"{self._bytes.shape[0]} bytes are there")
        self._require_whole(self._bytes, "files/bytes")
        self._pixels: Any = None
        if attrs["pixels"]:
            self._pixels = self._array("pixels")
            self._require_whole(self._pixels, "pixels")

    @property
    def images(self) -> int:
        """How many files and frames there are to make."""
        return len(self._table["file_size"]) + len(self._table["image_file"])

    def _wrong(self, array: str, error: object) -> PixelError:
        return _damaged(self._store, f"{self._name}/{array}" if self._name else array, error)

    def _array(self, name: str) -> Any:
        import zarr

        try:
            return zarr.open_array(
                os.path.join(self._store, *self._name.split("/"), *name.split("/")), mode="r"
            )
        except Exception as error:
            raise self._wrong(name, f"{type(error).__name__}: {error}") from error

    def _require_whole(self, array: Any, name: str) -> None:
        """Raise where a file of an array is not there, which zarr reads as zeros."""
        step = array.shards or array.chunks
        counts = [-(-size // width) for size, width in zip(array.shape, step, strict=True)]
        folder = os.path.join(self._store, *self._name.split("/"), *name.split("/"))
        missing = [
            place
            for place in np.ndindex(*counts)
            if not os.path.isfile(os.path.join(folder, array.metadata.encode_chunk_key(place)))
        ]
        if missing:
            total = int(np.prod(counts, dtype=np.int64))
            raise self._wrong(name, f"{len(missing)} of its {total} files are not there")

    def _columns(self, name: str) -> npt.NDArray[np.int64]:
        array = self._array(name)
        self._require_whole(array, name)
        return np.asarray(self._read(array, slice(None), name), np.int64).T

    def _read(self, array: Any, key: Any, name: str) -> npt.NDArray[Any]:
        try:
            return np.asarray(array[key])
        except Exception as error:
            raise self._wrong(name, f"{type(error).__name__}: {error}") from error

    def folder(self, taken: set[str]) -> str:
        """Return where the files go, below the folder of the database."""
        # The text may come from anybody: no part of it leads anywhere else.
        parts = [safe_name(part, "series") for part in str(self._attrs["folder"]).split("/")]
        name = full = os.path.join(*parts)
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{full} ({number})"
        taken.add(name.lower())
        return name

    def make(self, folder: str, bar: Bar) -> None:
        """Make the files."""
        os.makedirs(folder)
        width = max(6, len(str(len(self._table["file_size"]))))
        paths = [
            os.path.join(folder, f"{number + 1:0{width}d}.dcm")
            for number in range(len(self._table["file_size"]))
        ]
        self._make_rest(paths, bar)
        if len(self._table["image_file"]):
            self._make_pixels(paths, bar)

    def _make_rest(self, paths: list[str], bar: Bar) -> None:
        table = self._table
        reader = _Window(self)
        for number, path in enumerate(paths):
            start, size, offset, length, pixel_start, expected, of_pixels = (
                int(table[f"file_{name}"][number]) for name in FILE_COLUMNS
            )
            with open(path, "wb") as file:
                first = self._copy(reader, file, start, offset, 0)
                file.seek(length, os.SEEK_CUR)
                rest = size - offset - length
                if self._copy(reader, file, start + offset, rest, first) != expected:
                    raise self._wrong("files/bytes", "a checksum differs")
                if pixel_start >= 0:
                    file.seek(offset)
                    if self._copy(reader, file, pixel_start, length, 0) != of_pixels:
                        raise self._wrong("files/bytes", "a checksum differs")
                file.truncate(size)
            bar.update()

    def _copy(self, reader: _Window, file: Any, start: int, count: int, checksum: int) -> int:
        for begin in range(start, start + count, _PIECE):
            data = reader.read(begin, min(_PIECE, start + count - begin))
            checksum = zlib.crc32(data, checksum)
            file.write(data)
        return checksum

    def _make_pixels(self, paths: list[str], bar: Bar) -> None:
        table, pixels = self._table, self._pixels
        grid = pixels.ndim - (3 if pixels.metadata.dimension_names[-1] == "channel" else 2)
        order = np.argsort(table["image_place"], kind="stable")
        places = table["image_place"][order]
        kept = table["file_pixel_start"][table["image_file"][order]] >= 0
        blocks = blocks_of(pixels, grid)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            while True:
                try:
                    block, values = next(blocks)
                except StopIteration:
                    break
                except Exception as error:
                    raise self._wrong("pixels", f"{type(error).__name__}: {error}") from error
                at = np.searchsorted(places, block)
                at[at == len(places)] = 0
                found = places[at] == block
                jobs = [
                    (paths, int(order[i]), values[n])
                    for n, i in zip(np.flatnonzero(found).tolist(), at[found].tolist(), strict=True)
                    if not kept[i]
                ]
                for _ in pool.map(self._put, jobs):
                    bar.update()

    def _put(self, job: tuple[list[str], int, npt.NDArray[Any]]) -> None:
        paths, image, values = job
        table = self._table
        file, number, code = (
            int(table[name][image]) for name in ("image_file", "image_number", "image_form")
        )
        form = self._forms[code]
        runs = [] if form is None else form.stored(values)
        if form is None or zlib.crc32(b"".join(runs)) != table["image_checksum"][image]:
            raise self._wrong(
                "pixels", f"the image at place {int(table['image_place'][image])} differs"
            )
        offset = int(table["file_pixel_offset"][file])
        with open(paths[file], "r+b", buffering=0) as opened:
            for (at, _), run in zip(form.spans(number), runs, strict=True):
                opened.seek(offset + at)
                opened.write(run)


class _Window:
    """The kept bytes, read a piece at a time, since files are smaller than chunks."""

    def __init__(self, group: _Group) -> None:
        self._group = group
        self._begin = 0
        self._data = b""

    def read(self, start: int, count: int) -> bytes:
        """Return some bytes."""
        end = start + count
        if start < self._begin or end > self._begin + len(self._data):
            stop = min(max(end, start + _PIECE), self._group._bytes.shape[0])
            self._begin = start
            self._data = self._group._read(
                self._group._bytes, slice(start, stop), "files/bytes"
            ).tobytes()
        if end > self._begin + len(self._data):
            raise self._group._wrong("files/bytes", "it ends too early")
        return self._data[start - self._begin : end - self._begin]
