"""Values to grey: windows of headers and of users over an array, lazily (PS3.3 C.11.2).

How a window maps one value is in ``formats.png``, what headers say of it in ``records``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.errors import GridError, InvalidValue, NotInDatabase
from dbdicom_xr.formats.png import Lut, Range, Window, shown
from dbdicom_xr.records.attributes.display_attributes import display_of, window_of
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.instance import Instance
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.records.reading.header import Header
from dbdicom_xr.records.reading.provenance import PIXEL_DIMS
from dbdicom_xr.records.reading.sources import Sources, sources_of

__all__ = ["CHANNEL", "PRESETS", "Look", "Looks", "ask", "is_windowed", "span_of", "windowed"]

CHANNEL: Final = "channel"
PRESETS: Final = {
    "abdomen": (50.0, 400.0),
    "bone": (500.0, 2000.0),
    "brain": (40.0, 80.0),
    "liver": (60.0, 160.0),
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "stroke": (35.0, 40.0),
    "subdural": (75.0, 215.0),
}
"""Windows in common use for CT: centre and width in Hounsfield units."""

Look = Window | Lut | Range

_WAYS: Final = ("header", "range", "percentile")
_PERCENTILES: Final = (1.0, 99.0)
_IMAGES: Final = 64  # that percentiles are taken from, so that others need not be read for them
_VALUES: Final = 1 << 22  # of those, 32 MB as float64
_DTYPES: Final = ("float32", "float64", "uint8", "uint16")
_MARK: Final = "shown"  # the attribute of an array whose values are fractions of grey already


@dataclass(frozen=True)
class Looks:
    """How headers want the images of an array to be shown.

    Parameters
    ----------
    of_cell : list of Window, Lut or None
        Per image, in C order; None where its frames do not say, or do not agree.
    inverted : list of bool
        Per image: whether the smallest value is white.
    sources : Sources or None
        The frames; None where the array does not tell them.
    """

    of_cell: list[Window | Lut | None]
    inverted: list[bool]
    sources: Sources | None

    @classmethod
    def of(cls, array: xr.DataArray, header: Header | Instance | Common | None = None) -> Looks:
        """Return what is known of the images of an array; nothing where they are not known."""
        cells = int(np.prod([size for dim, size in array.sizes.items() if dim not in PIXEL_DIMS]))
        nothing = cls([None] * cells, [False] * cells, None)
        try:
            sources = sources_of(array, header)
        except (NotInDatabase, GridError):
            if header is not None:
                raise
            return nothing
        looks: list[set[Window | Lut | None]] = [set() for _ in range(cells)]
        inverted: list[set[bool]] = [set() for _ in range(cells)]
        for table, at, rows in sources.by_table():
            photometric, shape = (
                [None] * len(rows) if values is None else values.take(rows).as_objects().tolist()
                for name in ("PhotometricInterpretation", "PresentationLUTShape")
                for values in [parse_name(name).values(table)]
            )
            every = zip(at.tolist(), display_of(table, rows), photometric, shape, strict=True)
            for cell, look, kind, lut_shape in every:
                looks[cell].add(look)
                inverted[cell].add(kind == "MONOCHROME1" or lut_shape == "INVERSE")
        return cls(
            [next(iter(found)) if len(found) == 1 else None for found in looks],
            [found == {True} for found in inverted],
            sources,
        )

    def values(self, keyword: str) -> list[Any]:
        """Return the different values of an attribute in all frames, None among them."""
        found: list[Any] = []
        for table, _, rows in [] if self.sources is None else self.sources.by_table():
            values = parse_name(keyword).values(table)
            for value in [None] if values is None else values.take(rows).as_objects().tolist():
                if value not in found:
                    found.append(value)
        return found


def ask(window: Any, array: xr.DataArray) -> Look | str | None:
    """Return the window that a user gave, checked: one, the name of a way to find it, or None.

    Raises
    ------
    InvalidValue
        It is none.

    Examples
    --------
    >>> ask((40, 400), xr.DataArray(7)), ask("range", xr.DataArray(7))
    (Window(centre=40.0, width=400.0, function='LINEAR'), 'range')
    >>> ask((0.5, 1), xr.DataArray(0.7))
    Window(centre=0.5, width=1.0, function='LINEAR_EXACT')
    """
    if window is None or (isinstance(window, str) and window in (*_WAYS, *PRESETS)):
        return window
    if isinstance(window, str):
        raise InvalidValue(
            f"window is {window!r}; it is (centre, width), one of {', '.join(map(repr, _WAYS))}, "
            f"or for CT of {', '.join(map(repr, PRESETS))}."
        )
    return Window.given(*window_of(window), array.dtype)


def preset(name: str, looks: Looks) -> Window:
    """Return a window for CT by name.

    Raises
    ------
    InvalidValue
        The images are of another modality.
    """
    others = [value for value in looks.values("Modality") if value not in ("CT", None)]
    if others:
        raise InvalidValue(
            f"The window {name!r} is one for CT, in Hounsfield units, and these images are of the "
            f"modality {others[0]}. Give numbers: window=(centre, width)."
        )
    return Window(*PRESETS[name])


def is_windowed(array: xr.DataArray) -> bool:
    """Return whether the values of an array are those of :func:`windowed`."""
    return _MARK in array.attrs


def require_grey(array: xr.DataArray) -> None:
    """Raise where the values of an array are not numbers that grey can stand for."""
    if array.dtype.kind not in "iufb":
        way_out = " Show array.real, or abs(array)." if array.dtype.kind == "c" else ""
        raise InvalidValue(f"Values of the type {array.dtype} cannot be shown.{way_out}")


def windowed(
    array: xr.DataArray, window: Any, dtype: str, header: Header | None = None
) -> xr.DataArray:
    """Return what is shown of an array. See :meth:`DicomAccessor.window`."""
    if str(dtype) not in _DTYPES:
        raise InvalidValue(f"dtype is {dtype!r}; it is one of {', '.join(_DTYPES)}.")
    asked, target = ask(window, array), np.dtype(str(dtype))
    require_grey(array)
    if not array.size:
        return array.astype(target)
    result: xr.DataArray
    if CHANNEL in array.dims:
        result = xr.apply_ufunc(
            _colours, array, kwargs={"dtype": target}, dask="parallelized",
            output_dtypes=[target], keep_attrs=True,
        )  # fmt: skip
        result.attrs[_MARK] = "colours"
        return result
    looks = Looks.of(array, header)
    found = _looks(array, asked, looks)
    # Each combination once: a task gets the numbers of the images of its block.
    kinds: list[tuple[Look | None, bool]] = []
    number_of: dict[Any, int] = {}
    numbers = np.empty(len(found), np.intp)
    for cell, kind in enumerate(zip(found, looks.inverted, strict=True)):
        if kind not in number_of:
            number_of[kind] = len(kinds)
            kinds.append(kind)
        numbers[cell] = number_of[kind]
    dims = [dim for dim in array.dims if dim not in PIXEL_DIMS]
    low, high = (
        span_of(array, asked if asked == "percentile" else "range")
        if any(look is None for look, _ in kinds)
        else (0.0, 0.0)
    )
    result = xr.apply_ufunc(
        _shown,
        array,
        xr.DataArray(numbers.reshape([array.sizes[dim] for dim in dims]), dims=dims),
        low,
        high,
        kwargs={"kinds": kinds, "dtype": target},
        dask="parallelized",
        output_dtypes=[target],
        keep_attrs="override",
    )
    result.attrs.pop("units", None)  # greys have none
    result.attrs[_MARK] = "from 0, black, to 1, white" if target.kind == "f" else "grey"
    return result


def _looks(array: xr.DataArray, asked: Look | str | None, looks: Looks) -> list[Look | None]:
    """Return the window of each image; None where it follows from the values of the array."""
    cells = len(looks.of_cell)
    if asked is None:
        return list(looks.of_cell)
    if asked == "header":
        return list(of_header(looks))
    if isinstance(asked, str):
        return [preset(asked, looks) if asked in PRESETS else None] * cells
    return [asked] * cells


def of_header(looks: Looks) -> list[Window | Lut]:
    """Return the window of each image as its header says.

    Raises
    ------
    InvalidValue
        One has none.
    """
    found = [look for look in looks.of_cell if look is not None]
    if len(found) < len(looks.of_cell):
        why = "the array does not tell its frames" if looks.sources is None else "it has none"
        raise InvalidValue(
            f"The header tells no window for {len(looks.of_cell) - len(found)} of "
            f"{len(looks.of_cell)} images: {why}, or the frames of an image have different ones. "
            'window=(centre, width), "range" or "percentile" is a window for all.'
        )
    return found


def span_of(array: xr.DataArray, way: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return between which values an array is shown, lazily as the array.

    Parameters
    ----------
    array : xarray.DataArray
    way : {"range", "percentile"}
        From the smallest to the largest value, or the 1st to the 99th percentile: of at most 64
        images, and 4 million values, evenly spread. Values that are not finite do not count.
    """
    if way == "percentile":
        array = _sample(array)
    dims = list(array.dims)
    if way == "range" and array.chunks is not None:
        # Reduced block by block, so that nothing is held in memory.
        if array.dtype.kind == "f":
            finite = np.isfinite(array)
            low = array.where(finite, np.inf).min().drop_vars(list(array.coords), errors="ignore")
            high = array.where(finite, -np.inf).max()
            return low, high.drop_vars(list(array.coords), errors="ignore")
        return array.min().reset_coords(drop=True), array.max().reset_coords(drop=True)
    ends: xr.DataArray = xr.apply_ufunc(
        _ends,
        array.drop_vars(list(array.coords)),
        input_core_dims=[dims],
        output_core_dims=[["end"]],
        kwargs={"way": way},
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": {"end": 2}},
    )
    return ends.isel(end=0), ends.isel(end=1)


def _sample(array: xr.DataArray) -> xr.DataArray:
    chosen = array
    for dim in sorted((dim for dim in array.dims if dim not in PIXEL_DIMS), key=str):
        images = chosen.size // max(1, _pixels(chosen))
        step = min(chosen.sizes[dim], -(-images // _IMAGES))
        chosen = chosen.isel({dim: slice(step // 2, None, max(1, step))})
    step = int(np.ceil(np.sqrt(chosen.size / _VALUES)))
    return chosen.isel(
        {dim: slice(None, None, max(1, step)) for dim in ("x", "y")}, missing_dims="ignore"
    )


def _pixels(array: xr.DataArray) -> int:
    return int(np.prod([size for dim, size in array.sizes.items() if dim in PIXEL_DIMS]))


def _ends(values: npt.NDArray[Any], way: str) -> npt.NDArray[np.float64]:
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return np.zeros(2)
    if way == "range":
        return np.array([finite.min(), finite.max()])
    ends: npt.NDArray[np.float64] = np.percentile(finite, _PERCENTILES)
    return ends


def _shown(
    values: npt.NDArray[Any],
    numbers: npt.NDArray[np.intp],
    low: Any,
    high: Any,
    *,
    kinds: list[tuple[Look | None, bool]],
    dtype: np.dtype[Any],
) -> npt.NDArray[Any]:
    """Return the greys of a block; numbers tell the kind of each of its images."""
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    result = np.empty(values.shape, dtype)
    numbers = np.broadcast_to(numbers, values.shape)
    for number in np.unique(numbers).tolist():
        look, inverted = kinds[number]
        mine = numbers == number
        fractions = (look or Range(float(low), float(high))).apply(values[mine])
        if dtype.kind == "f":
            result[mine] = 1 - fractions if inverted else fractions
        else:
            result[mine] = shown(fractions, inverted=inverted, bits=8 * dtype.itemsize)
    return result


def _colours(values: npt.NDArray[Any], *, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return colours as fractions, or in another number of bits."""
    whole = {1: 255, 2: 65535}
    if values.dtype.kind == "f":  # fractions already, as matplotlib takes them
        fractions = np.clip(values, 0, 1)
    elif values.dtype.kind in "ub" and values.itemsize in whole:
        if values.dtype == dtype:
            return values
        fractions = values / whole[values.itemsize]
    else:
        raise InvalidValue(f"Colours of the type {values.dtype} cannot be shown.")
    if dtype.kind != "f":
        fractions = np.floor(np.nan_to_num(fractions) * whole[dtype.itemsize] + 0.5)
    return np.asarray(fractions, dtype)
