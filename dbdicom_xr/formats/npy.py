"""NumPy's ``.npy`` files, written block by block, and the text that stands beside them."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import FolderNotReadable, InvalidValue, MissingFolder
from dbdicom_xr.formats.targets import name_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "FORMAT",
    "NpyWriter",
    "column_content",
    "digest_of",
    "labels",
    "load_npy",
    "plain",
    "side_text",
]

FORMAT: Final = "dbdicom_xr array"
_PART: Final = 1 << 16  # bytes
_NEEDED: Final = (
    "name", "dims", "shape", "dtype", "coords", "attrs", "constant", "varying",
)  # fmt: skip


class NpyWriter:
    """A ``.npy`` file as something that dask stores blocks in, in any order and from any thread.

    Not a memory map: where a disk fills, writing into one ends the process without an error.

    Parameters
    ----------
    file : binary file, open for writing
    shape : tuple of int
    dtype : dtype
    advance : callable, optional
        Told of each block how many elements it has.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> writer = NpyWriter(file, (2, 2), "int16")
    >>> writer[:, 1:] = np.array([[2], [4]])
    >>> writer[:, :1] = np.array([[1], [3]])
    >>> _ = file.seek(0)
    >>> np.load(file)
    array([[1, 2],
           [3, 4]], dtype=int16)
    """

    def __init__(
        self,
        file: BinaryIO,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._file = file
        self._advance = advance
        self._lock = threading.Lock()
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(file, header)
        self._start = file.tell()

    def __setitem__(self, key: tuple[slice, ...], block: npt.NDArray[Any]) -> None:
        begins = [part.indices(size)[0] for part, size in zip(key, self.shape, strict=True)]
        # What lies behind the last dimension that is cut is written in one piece.
        depth = len(self.shape)
        while depth and block.shape[depth - 1] == self.shape[depth - 1]:
            depth -= 1
        outer = max(depth - 1, 0)
        strides = [math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))]
        data = np.ascontiguousarray(block, self.dtype)
        for index in np.ndindex(data.shape[:outer]):
            place = [*(begin + i for begin, i in zip(begins, index, strict=False))]
            place += begins[outer:]
            first = sum(at * stride for at, stride in zip(place, strides, strict=True))
            with self._lock:
                self._file.seek(self._start + first * self.dtype.itemsize)
                self._file.write(data[index].data)
        if self._advance is not None:
            self._advance(data.size)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dates and times as ISO 8601 has them, NaN as null.

    Examples
    --------
    >>> plain(np.datetime64("2024-02-29T09:00:00", "ns")), plain(np.timedelta64(3661, "s"))
    ('2024-02-29T09:00:00', '01:01:01')
    >>> plain(float("nan")), plain([1, np.float32(0.5)]), plain(np.timedelta64("NaT"))
    (None, [1, 0.5], None)
    """
    if isinstance(value, (np.datetime64, np.timedelta64)):
        if np.isnat(value):
            return None
        if isinstance(value, np.datetime64):
            text = str(value.astype("datetime64[ns]"))
            return text.rstrip("0").rstrip(".") if "." in text else text
        micros = int(value.astype("timedelta64[us]").astype(np.int64))
        minutes, micros = divmod(micros, 60_000_000)
        hours, minutes = divmod(minutes, 60)
        text = f"{hours:02d}:{minutes:02d}:{micros // 1_000_000:02d}"
        return f"{text}.{micros % 1_000_000:06d}" if micros % 1_000_000 else text
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return plain(value[()])
    if isinstance(value, np.ndarray):
        return [plain(part) for part in (value if value.dtype.kind in "mM" else value.tolist())]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def labels(
    dims: tuple[str, ...], values: npt.NDArray[Any], attrs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a coordinate as it stands in the text: dimensions, type, values, what is said of it.

    Examples
    --------
    >>> labels(("EchoTime",), np.array([2.5, np.nan]), {"units": "ms"})
    {'dims': ['EchoTime'], 'dtype': 'float64', 'values': [2.5, None], 'attrs': {'units': 'ms'}}
    """
    kind = "str" if values.dtype.kind in "UOT" else values.dtype.name
    return {"dims": list(dims), "dtype": kind, "values": plain(values), "attrs": plain(attrs)}


def column_content(distinct: list[Any], codes: npt.NDArray[Any]) -> dict[str, Any]:
    """Return an attribute that is not the same in all images: its values, and whose each is.

    Parameters
    ----------
    distinct : list
        The values.
    codes : ndarray of int
        For each image the place of its value; -1 where it has none.

    Examples
    --------
    >>> column_content([2.5, 5.0], np.array([[0, 1], [0, -1]]))
    {'values': [2.5, 5.0], 'of': [[0, 1], [0, None]]}
    """
    used = np.unique(codes[codes >= 0])
    place = np.full(len(distinct) + 1, -1)
    place[used] = np.arange(len(used))
    of = np.where(codes >= 0, place[codes], -1).astype(object)
    of[of == -1] = None
    return {"values": [plain(distinct[i]) for i in used.tolist()], "of": of.tolist()}


def side_text(content: Mapping[str, Any]) -> str:
    """Return the text of the file, a line per entry so that people can read it.

    Examples
    --------
    >>> print(side_text({"dims": ["x", "y"], "attrs": {}}))
    {
      "dims": ["x", "y"],
      "attrs": {}
    }
    """
    lines = []
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            inner = ",\n".join(f"    {_json(key)}: {_json(part)}" for key, part in value.items())
            lines.append(f"  {_json(name)}: {{\n{inner}\n  }}")
        else:
            lines.append(f"  {_json(name)}: {_json(value)}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def digest_of(path: str) -> str:
    """Return what tells a file from another one: a digest of its size and of parts of it.

    Of 16 parts of 64 kB, the first and the last among them: whole files take too long to read.

    Raises
    ------
    OSError
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(str(size).encode())
        last = max(size - _PART, 0)
        for begin in sorted({last * number // 15 for number in range(16)}):
            file.seek(begin)
            digest.update(file.read(_PART))
    return digest.hexdigest()


def load_npy(path: str | os.PathLike[str]) -> xr.DataArray:
    """Return an array that was exported, with its labels.

    Parameters
    ----------
    path : str or path
        The ``.npy`` file, beside which the ``.npy.json`` stands.

    Returns
    -------
    xarray.DataArray
        Read from the disk where it is used. Its ``attrs`` hold ``constant`` and ``varying``, the
        header of the images.

    Raises
    ------
    MissingFolder
        One of the two files is not there.
    InvalidValue
        They are not those of an exported array, or one of them is damaged.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> series = db.database(folder).series()[0]
    >>> (file,) = series.export_as_npy(tempfile.mkdtemp(), sortby=["SliceLocation"])
    >>> array = db.load_npy(file)
    >>> array.dims, bool((array == series.array("SliceLocation")[0]).all())
    (('SliceLocation', 'n', 'x', 'y'), True)
    """
    import xarray as xr

    text = name_of(path)
    beside = f"{text}.json"
    if not os.path.isfile(beside):  # as it was called before
        former = f"{os.path.splitext(text)[0]}.json"
        beside = former if os.path.isfile(former) else beside
    content = _read_text(text, beside)
    data = _read_numbers(text)
    if list(data.shape) != content["shape"] or data.dtype.name != content["dtype"]:
        raise InvalidValue(
            f"{text} holds {data.dtype.name} of shape {list(data.shape)}, but {beside} tells of "
            f"{content['dtype']} of shape {content['shape']}: one of them was replaced or changed "
            "without the other. Export them again."
        )
    if content.get("npy", digest := digest_of(text)) != digest:
        raise InvalidValue(
            f"{text} and {beside} do not belong together: one of them was "
            "replaced or changed without the other. Export them again."
        )
    try:
        coords = {name: _coordinate(value) for name, value in content["coords"].items()}
        header = {name: content[name] for name in ("constant", "varying")}
        array = xr.DataArray(data, dims=content["dims"], name=content["name"])
        return array.assign_coords(coords).assign_attrs({**content["attrs"], **header})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _changed(beside, f"{type(error).__name__}: {error}") from error


def _read_text(text: str, beside: str) -> dict[str, Any]:
    """Return what stands beside an array."""
    if not os.path.exists(text) and os.path.exists(f"{text}.npy"):
        raise MissingFolder(f"There is no file {text}; give its whole name, {text}.npy.")
    for needed, what in ((text, "array"), (beside, "header of the array")):
        if not os.path.isfile(needed):
            raise MissingFolder(
                f"There is no file {needed}, the {what}: export_as_npy() writes a .npy and a "
                ".npy.json, which stay side by side. np.load() reads an array alone."
            )
    try:
        with open(beside, encoding="utf-8") as file:
            content = json.load(file)
    except OSError as error:
        raise FolderNotReadable(f"{beside} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise _changed(beside, f"it is no JSON ({error})") from error
    if not isinstance(content, dict) or not str(content.get("format")).startswith(FORMAT):
        raise InvalidValue(f"{beside} is not that of an exported array, so {text} is not read.")
    missing = [name for name in _NEEDED if name not in content]
    if missing:
        raise _changed(beside, f"it lacks {', '.join(missing)}")
    return content


def _read_numbers(text: str) -> npt.NDArray[Any]:
    try:
        data = np.load(text, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise FolderNotReadable(f"{text} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # numpy parses the header as Python
        raise InvalidValue(
            f"{text} is damaged, cut off, or no file of NumPy: {error}. Export it again."
        ) from error
    if not isinstance(data, np.ndarray):
        data.close()
        raise InvalidValue(f"{text} holds several arrays, and is not one that was exported.")
    return data


def _changed(beside: str, why: str) -> InvalidValue:
    return InvalidValue(f"{beside} was damaged or changed: {why}. Export the array again.")


def _coordinate(content: Mapping[str, Any]) -> Any:
    import pandas as pd

    kind = content["dtype"]
    values = np.array(content["values"], object)
    if kind.startswith(("datetime", "timedelta")):
        flat: Any
        texts = pd.Series(values.ravel(), dtype=object)
        if kind.startswith("datetime"):
            flat = pd.to_datetime(texts, format="ISO8601").to_numpy()
        else:
            flat = pd.to_timedelta(texts).to_numpy()
        values = flat.astype(kind).reshape(values.shape)
    elif kind == "str":
        values = values.astype(str) if None not in values.ravel().tolist() else values
    else:
        values = np.where(values == None, np.nan, values).astype(kind)  # noqa: E711
    return tuple(content["dims"]), values, content["attrs"]
