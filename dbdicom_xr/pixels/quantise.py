"""Real values to stored integers, with the slope and intercept that bring them back.

The other way round is ``pixels/rescale.py``. What is exact in 16 bits is stored exactly; the rest
is rounded to nearest, on the finest grid of ``pixels/scales.py``.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.pixels.rescale import copy_frame
from dbdicom_xr.pixels.scales import (
    WHOLE,
    Scale,
    Target,
    code,
    code_type,
    common_scale,
    refusal,
    scales_to_try,
    unsigned,
    whole_scale,
)

__all__ = [
    "Scale",
    "Stored",
    "Target",
    "common_scale",
    "quantise",
    "quantise_exactly",
    "require_numbers",
]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# Values computed at a time. Threads hand the interpreter to each other between any two steps: two
# of them take 116 us a frame of 256 x 256 in all, where strips of 2**14 take 189.
_STRIP = 1 << 16
_kept = threading.local()


@dataclass
class Stored:
    """A frame as it is stored.

    Parameters
    ----------
    values : ndarray of uint8, uint16 or int16, C-contiguous
    scale : Scale
    padding : int, optional
        The stored value that stands for NaN; None where there is no NaN.
    smallest, largest : int
        Of the stored values without padding; the padding where there is nothing else.
    error : float
        No difference between a value and what ``stored * slope + intercept`` gives in float64 is
        larger; 0.0 where that, in the type of the frame, is each value again.
    """

    values: Array
    scale: Scale
    padding: int | None
    smallest: int
    largest: int
    error: float


def require_numbers(dtype: npt.DTypeLike) -> None:
    """Raise where values of a type cannot be stored as pixels.

    Parameters
    ----------
    dtype : dtype

    Raises
    ------
    InvalidValue
        With the way out.

    Examples
    --------
    >>> require_numbers("complex64")
    Traceback (most recent call last):
      ...
    dbdicom_xr.errors.InvalidValue: Pixels are real numbers, not complex64; write array.real...
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return
    ways = {
        "c": "write array.real, array.imag or abs(array)",
        "f": "convert it with array.astype('float64')",
        "m": "divide it by a unit, as in array / np.timedelta64(1, 's')",
        "M": "subtract a date and divide by a unit, as in (array - date) / np.timedelta64(1, 's')",
        "O": "convert it with array.astype(float)",
    }
    way = ways.get(dtype.kind, "convert it to numbers")
    raise InvalidValue(f"Pixels are real numbers, not {dtype}; {way}.")


def quantise(
    frame: npt.ArrayLike,
    target: Target,
    *,
    source: Scale | None = None,
    scale: Scale | None = None,
    name: str = "",
) -> Stored:
    """Return a frame as stored integers, and how they become real values again.

    Booleans and integers that fit are stored as they are; floats exactly where they lie on the
    grid of `source`, or are whole numbers that fit. Others are rounded to nearest; the step is
    range / 65534, but for the rounding of DS. Zero stays zero where a DS can say so.

    Parameters
    ----------
    frame : array_like, shape (rows, columns) or (rows, columns, 3)
        Real values; colours are uint8. Fastest where it, or its transpose, is contiguous.
    target : Target
    source : Scale, optional
        Of the image that the frame comes from.
    scale : Scale, optional
        To be used whatever the values are, as :func:`common_scale` gives it for a series.
    name : str
        What messages call the frame.

    Raises
    ------
    InvalidValue
        There are infinite values, numbers of another kind, or values that `scale` or `target`
        cannot store.

    Examples
    --------
    >>> stored = quantise(np.array([[0.0, np.nan], [0.5, 3.0]], np.float32), Target())
    >>> stored.values.tolist(), stored.padding, stored.error < 3.0 / 65534
    ([[1, 0], [10923, 65535]], 0, True)
    >>> quantise(np.array([[-3, 40]]), Target()).values
    array([[-3, 40]], dtype=int16)
    """
    stored = _quantised(np.asarray(frame), target, source, scale, name or "The frame")
    assert stored is not None
    return stored


def quantise_exactly(
    frame: npt.ArrayLike, target: Target, *, source: Scale | None = None, name: str = ""
) -> Stored | None:
    """Return a frame as stored integers, None where its values would have to be rounded.

    Parameters and errors are those of :func:`quantise`.

    Examples
    --------
    >>> quantise_exactly(np.array([[0.5, 3.0]]), Target(), source=Scale(0.5, 0.0)).values
    array([[1, 6]], dtype=uint16)
    >>> quantise_exactly(np.array([[0.5, 3.0]]), Target()) is None
    True
    """
    return _quantised(np.asarray(frame), target, source, None, name or "The frame", exact=True)


def _quantised(
    frame: Array,
    target: Target,
    source: Scale | None,
    scale: Scale | None,
    name: str,
    *,
    exact: bool = False,
) -> Stored | None:
    require_numbers(frame.dtype)
    if frame.size == 0 or frame.ndim not in (2, 3):
        raise InvalidValue(f"{name} has shape {frame.shape}; it has to have rows and columns.")
    if frame.ndim == 3:
        return _colours(frame, name)
    # Arrays are (x, y), so that most frames come transposed; they are computed as they lie.
    turned = frame.flags.f_contiguous and not frame.flags.c_contiguous
    values = np.ascontiguousarray(frame.T if turned else frame)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    make = _floats if values.dtype.kind == "f" else _integers
    stored = make(values, target, source, scale, name, exact=exact)
    if turned and stored is not None:
        transposed = np.empty(frame.shape, stored.values.dtype)
        copy_frame(transposed.T, stored.values)
        stored.values = transposed
    return stored


def _colours(frame: Array, name: str) -> Stored:
    if frame.dtype != np.uint8 or frame.shape[2] != 3:
        raise InvalidValue(
            f"{name} has {frame.shape[2]} channels of {frame.dtype}; DICOM has 3 of uint8. Bring "
            "the colours to the range from 0 to 255, and write array.astype('uint8')."
        )
    values = np.ascontiguousarray(frame)
    return Stored(values, Scale(1.0, 0.0), None, int(values.min()), int(values.max()), 0.0)


# -- integers --------------------------------------------------------------------------------


def _integers(
    frame: Array,
    target: Target,
    source: Scale | None,
    scale: Scale | None,
    name: str,
    *,
    exact: bool,
) -> Stored | None:
    low, high = int(frame.min()), int(frame.max())
    if scale is not None:
        return _fixed(frame, low, high, None, target, scale, name)
    dtype = _own_type(frame.dtype, low, high, target)
    if dtype is not None:
        return _shifted(frame, low, high, Scale(1.0, 0.0), dtype)
    whole = whole_scale(low, high, target, reserved=False)
    if whole is not None:
        return _shifted(frame, low, high, whole, unsigned(target))
    return _first_that_fits(frame, low, high, None, target, source, name, exact=exact)


def _own_type(dtype: np.dtype[Any], low: int, high: int, target: Target) -> np.dtype[Any] | None:
    """Return the type that stores integers as they are: by their type, so that frames agree."""
    bits = 8 * dtype.itemsize
    if dtype.kind == "u" and bits <= target.bits[-1]:
        return np.dtype(f"u{min(b for b in target.bits if b >= bits) // 8}")
    if dtype.kind == "i" and bits <= target.bits[-1] == 16 and target.signed:
        return np.dtype(np.int16)
    return code_type(low, high, target, prefer_signed=dtype.kind == "i")


def _shifted(frame: Array, low: int, high: int, scale: Scale, dtype: np.dtype[Any]) -> Stored:
    """Subtract a whole number, modulo 2**bits as integers wrap: the result fits, so it is exact."""
    without_sign = np.dtype(f"u{dtype.itemsize}")
    intercept = int(scale.intercept)
    values = frame.astype(without_sign)
    if intercept:
        values -= without_sign.type(intercept % (1 << 8 * dtype.itemsize))
    return Stored(values.view(dtype), scale, None, low - intercept, high - intercept, 0.0)


# -- floats ----------------------------------------------------------------------------------


def _floats(
    frame: Array,
    target: Target,
    source: Scale | None,
    scale: Scale | None,
    name: str,
    *,
    exact: bool,
) -> Stored | None:
    low, high = float(frame.min()), float(frame.max())
    missing = None
    if np.isnan(low):  # so it is where there is a NaN
        low, high = (float(ufunc.reduce(frame, axis=None)) for ufunc in (np.fmin, np.fmax))
        missing = np.isnan(frame)
        if np.isnan(low):
            return _nothing(frame.shape, target, scale)
        # 20 us for 256 x 256, where masks take 100: also below.
        frame = np.fmax(frame, frame.dtype.type(low))
    if np.isinf(low) or np.isinf(high):
        raise InvalidValue(
            f"{name} has infinite values, which DICOM cannot store; "
            "array.where(np.isfinite(array)) makes them NaN, which it can."
        )
    if scale is not None:
        return _fixed(frame, low, high, missing, target, scale, name)
    return _first_that_fits(frame, low, high, missing, target, source, name, exact=exact)


def _nothing(shape: tuple[int, ...], target: Target, scale: Scale | None) -> Stored:
    """Return a frame in which all is padding."""
    dtype, padding = unsigned(target), 0
    if scale is not None and scale.signed is not None:
        dtype = np.dtype(np.int16) if scale.signed else dtype
        padding = int(np.iinfo(dtype).min) if scale.padding is None else scale.padding
    values = np.full(shape, padding, dtype)
    return Stored(values, scale or Scale(1.0, 0.0), padding, padding, padding, 0.0)


# -- by a scale ------------------------------------------------------------------------------


def _first_that_fits(
    frame: Array,
    low: float,
    high: float,
    missing: Mask | None,
    target: Target,
    source: Scale | None,
    name: str,
    *,
    exact: bool,
) -> Stored | None:
    """Store a frame with the first scale that is as exact as it has to be."""
    is_float, has_gaps = frame.dtype.kind == "f", missing is not None
    for scale, tolerance in scales_to_try(
        is_float, low, high, target, source=source, missing=has_gaps, name=name
    ):
        if exact and tolerance == np.inf:
            return None
        first, last = sorted((code(low, scale), code(high, scale)))
        reserve = is_float and target.reserve
        dtype = code_type(first, last, target, missing=has_gaps, reserve=reserve)
        if dtype is None or not _sample_fits(frame, scale, tolerance):
            continue
        measured = tolerance < np.inf or not _is_coarse(frame.dtype, low, high, scale)
        stored = _encoded(frame, scale, first, last, dtype, missing, measured=measured)
        if stored is not None and stored.error <= tolerance:
            return stored
    raise refusal(name, low, high)


def _fixed(
    frame: Array,
    low: float,
    high: float,
    missing: Mask | None,
    target: Target,
    scale: Scale,
    name: str,
) -> Stored:
    """Store a frame with a scale that was given."""
    first, last = sorted((code(low, scale), code(high, scale)))
    dtype = code_type(first, last, target, missing=missing is not None)
    if scale.signed is not None:
        dtype = np.dtype(np.int16) if scale.signed else unsigned(target)
    limits = None if dtype is None else np.iinfo(dtype)
    if (
        dtype is None
        or limits is None
        or not limits.min <= first <= last <= limits.max
        or (scale.padding is not None and first <= scale.padding <= last)
    ):
        raise InvalidValue(
            f"{name} has values from {low:g} to {high:g}, which the scale of the series (slope "
            f"{scale.slope}, intercept {scale.intercept}) does not hold; write with scale='frame'."
        )
    if frame.dtype.kind != "f" and scale.slope == 1 and scale.intercept.is_integer():
        is_byte = frame.dtype == np.uint8 and scale.intercept == 0 and target.bits[0] == 8
        return _shifted(frame, int(low), int(high), scale, frame.dtype if is_byte else dtype)
    stored = _encoded(frame, scale, first, last, dtype, missing)
    if stored is None:
        raise InvalidValue(
            f"{name} has NaN, but its values use all codes that the scale of the series gives; "
            "write with scale='frame'."
        )
    return stored


def _encoded(
    frame: Array,
    scale: Scale,
    first: int,
    last: int,
    dtype: np.dtype[Any],
    missing: Mask | None,
    *,
    measured: bool = True,
) -> Stored | None:
    """Return a frame in codes from `first` to `last`; None where they leave none for padding."""
    values = np.empty(frame.shape, dtype)
    error = _encode(frame.ravel(), scale, values.ravel(), measured=measured)
    padding = None
    if missing is not None:
        padding = scale.padding
        if padding is None:
            padding = _free_code(values, missing, first, last)
        if padding is None:
            return None
        # All that is missing has the code of the lowest value; the difference wraps.
        codes = values.view(f"u{dtype.itemsize}")
        there = int(codes.flat[missing.argmax()])
        codes += missing * codes.dtype.type((padding - there) % (1 << 8 * dtype.itemsize))
    return Stored(values, scale, padding, first, last, error)


def _free_code(codes: Array, missing: Mask, first: int, last: int) -> int | None:
    """Return a code that no value has, below all others if there is one."""
    limits = np.iinfo(codes.dtype)
    if first > limits.min:
        return int(limits.min)
    if last < limits.max:
        return int(limits.max)
    free = np.flatnonzero(np.bincount(codes[~missing].astype(np.int64) - first) == 0)
    return int(free[0]) + first if len(free) else None


def _sample_fits(frame: Array, scale: Scale, tolerance: float) -> bool:
    """Return whether some of the values are near those that can be restored."""
    if tolerance == np.inf:
        return True
    rows, columns = frame.shape
    sample = frame[:: rows // 8 + 1, :: columns // 8 + 1].ravel()
    return _encode(sample, scale, np.empty(sample.size)) <= tolerance


def _room(size: int) -> npt.NDArray[np.float64]:
    """Return memory to compute in, which each thread keeps.

    To get it anew took two threads 220 us a frame of 256 x 256 in all, where this takes 180.
    """
    room: npt.NDArray[np.float64] | None = getattr(_kept, "room", None)
    if room is None:
        room = _kept.room = np.empty((2, _STRIP))
    return room[:, :size]


def _is_coarse(dtype: np.dtype[Any], low: float, high: float, scale: Scale) -> bool:
    """Return whether steps are so wide that values are rounded for certain."""
    if dtype.kind != "f" or low == high:
        return False
    kind, largest = np.finfo(dtype), max(-low, high, abs(scale.intercept))
    return abs(scale.slope) > 16 * (largest * float(kind.eps) + float(kind.smallest_subnormal))


def _half_a_step(values: Array, scale: Scale) -> float:
    """Return what no value is further off than, with the rounding of the computation."""
    largest = max(-float(values.min()), float(values.max()), abs(scale.intercept))
    return abs(scale.slope) * (0.5 + 2.0**-32) + 4 * math.ulp(largest)


def _encode(values: Array, scale: Scale, codes: Array, *, measured: bool = True) -> float:
    """Put the codes of values into `codes`, and return the error of what they restore.

    Not measured, which takes half of the time, it is half a step.
    """
    slope, intercept = scale.slope, scale.intercept
    room = _room(_STRIP)
    lowest = highest = 0.0
    for start in range(0, values.size, _STRIP):
        part = values[start : start + _STRIP]
        real, numbers = room[:, : part.size]
        np.copyto(real, part)
        np.subtract(real, intercept, out=numbers)
        np.divide(numbers, slope, out=numbers)
        np.rint(numbers, out=numbers)
        np.copyto(codes[start : start + _STRIP], numbers, casting="unsafe")
        if measured:
            with np.errstate(over="ignore"):  # the error is infinite then
                np.multiply(numbers, slope, out=numbers)
                np.add(numbers, intercept, out=numbers)
                np.subtract(numbers, real, out=numbers)
            lowest, highest = min(lowest, numbers.min()), max(highest, numbers.max())
    if not measured:
        return _half_a_step(values, scale)
    error = float(max(-lowest, highest)) * (1 + 2.0**-52)  # the difference is rounded too
    if values.dtype.kind != "f":
        magnitude = max(abs(int(values.min())), abs(int(values.max())))
        return error + (math.ulp(magnitude) if magnitude > WHOLE else 0.0)
    if (
        0 < error < np.inf
        and values.dtype != np.float64
        and _is_restored(values, scale, codes, error)
    ):
        return 0.0
    return error


def _is_restored(values: Array, scale: Scale, codes: Array, error: float) -> bool:
    """Return whether all values come back in their own type, though they do not in float64."""
    kind = values.dtype.type
    # Half the distance to the next number is what rounding to the type can bring back.
    largest = max(-float(values.min()), float(values.max()))
    if error > largest * float(np.finfo(kind).eps) + float(np.finfo(kind).smallest_subnormal):
        return False
    room = np.empty(min(values.size, _STRIP))
    own = np.empty(room.size, kind)
    with np.errstate(over="ignore"):
        for start in range(0, values.size, _STRIP):
            part = values[start : start + _STRIP]
            numbers, restored = room[: part.size], own[: part.size]
            np.multiply(codes[start : start + _STRIP], scale.slope, out=numbers)
            np.add(numbers, scale.intercept, out=numbers)
            np.copyto(restored, numbers, casting="unsafe")
            if not np.array_equal(restored, part):
                return False
    return True
