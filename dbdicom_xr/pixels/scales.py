"""Which slope and intercept values are stored with, and in which type of integers.

Both are what a DS (PS3.5 6.2) of 16 characters can say. The stored values are made of them in
``pixels/quantise.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dbdicom_xr.decimals import decimal_bound, decimal_text, is_decimal
from dbdicom_xr.errors import InvalidValue

__all__ = [
    "Scale",
    "Target",
    "code",
    "code_type",
    "common_scale",
    "refusal",
    "scales_to_try",
    "unsigned",
    "whole_scale",
]

# Doubles hold all integers up to here.
WHOLE = 1 << 53
# A value that was read as float32 is off its grid by less than this part of a step: see rescale.py.
_AS_FLOAT32 = 1 / 50
_LEAST = 5e-324
_BEYOND = 1 << 64  # all types of integers


@dataclass(frozen=True)
class Target:
    """What a kind of object can store.

    Parameters
    ----------
    bits : tuple of int
        BitsAllocated that it takes, smallest first: ``(16,)`` or ``(8, 16)``.
    signed : bool
        Whether PixelRepresentation may be 1.
    intercept : bool
        Whether RescaleIntercept may be other than 0, which it may not in PET (PS3.3 C.8.9.4).
    reserve : bool
        Keep the lowest code free for padding in every frame of floats: frames of one multi-frame
        object share their PixelPaddingValue. With ``signed=False`` they share their type too.
    """

    bits: tuple[int, ...] = (16,)
    signed: bool = True
    intercept: bool = True
    reserve: bool = False


@dataclass(frozen=True)
class Scale:
    """How stored values become real ones: ``stored * slope + intercept``.

    Parameters
    ----------
    slope, intercept : float
        Exactly what their DS texts say.
    signed : bool, optional
        PixelRepresentation of all frames, where one scale is for a series; else as a frame needs.
    padding : int, optional
        The code that is kept for NaN in all frames of a series.
    """

    slope: float
    intercept: float
    signed: bool | None = None
    padding: int | None = None


def unsigned(target: Target) -> np.dtype[Any]:
    """Return the largest type without sign."""
    return np.dtype(f"u{target.bits[-1] // 8}")


def code(value: float, scale: Scale) -> int:
    """Return the stored value that is nearest to a real one; one beyond all types for infinity."""
    exact = (float(value) - scale.intercept) / scale.slope
    return round(exact) if math.isfinite(exact) else _BEYOND if exact > 0 else -_BEYOND


def code_type(
    first: int,
    last: int,
    target: Target,
    *,
    missing: bool = False,
    reserve: bool = False,
    prefer_signed: bool = False,
) -> np.dtype[Any] | None:
    """Return the type that holds codes from `first` to `last`, None where none does.

    Parameters
    ----------
    first, last : int
    target : Target
    missing : bool
        There are values for which padding stands. Its code is below all others if possible, so
        that a viewer that does not know of padding shows it dark.
    reserve : bool
        The lowest code has to be free.
    prefer_signed : bool
    """
    types = [unsigned(target)]
    if target.signed and target.bits[-1] == 16:
        types.insert(0 if prefer_signed else 1, np.dtype(np.int16))
    limits = [(np.iinfo(dtype), dtype) for dtype in types]
    fitting = [(info, dtype) for info, dtype in limits if info.min <= first and last <= info.max]
    below = [dtype for info, dtype in fitting if info.min < first]
    above = [dtype for info, dtype in fitting if last < info.max]
    if reserve:
        wanted = below
    elif missing:
        wanted = below or above or [dtype for _, dtype in fitting]
    else:
        wanted = [dtype for _, dtype in fitting]
    return wanted[0] if wanted else None


def whole_scale(low: int, high: int, target: Target, *, reserved: bool) -> Scale | None:
    """Return the scale of slope 1 that brings whole numbers into the range of unsigned ones.

    Parameters
    ----------
    low, high : int
        Smallest and largest number.
    target : Target
    reserved : bool
        Whether code 0 is kept for padding.
    """
    first = 1 if reserved else 0
    top = (1 << target.bits[-1]) - 1
    if not target.intercept or high - low > top - first:
        return None
    # Of numbers of 15 digits or more a DS may not hold the lowest, but one below it.
    intercept = int(decimal_bound(float(low - first), above=False))
    fits = intercept + first <= low and high - intercept <= top
    return Scale(1.0, float(intercept)) if fits else None


def scales_to_try(
    is_float: bool,
    low: float,
    high: float,
    target: Target,
    *,
    source: Scale | None,
    missing: bool,
    name: str,
) -> Iterator[tuple[Scale, float]]:
    """Yield scales for the values of a frame, best first, and the error that each may have.

    Parameters
    ----------
    is_float : bool
        Else integers, which fit 16 bits neither as they are nor with an intercept.
    low, high : float
        Smallest and largest value.
    target : Target
    source : Scale, optional
        Of the image that the frame comes from.
    missing : bool
        There is NaN.
    name : str
        Of the frame, for messages.
    """
    reserved = is_float and (missing or target.reserve)
    if source is not None and _usable(source, target) and (is_float or max(-low, high) <= WHOLE):
        # Values that were read as float32 and converted since are beside the grid, but closer
        # than any other grid would come.
        tolerance = min((high / 2 - low / 2) / 65534, abs(source.slope) * _AS_FLOAT32)
        if reserved and target.reserve and target.intercept:
            # The same grid with higher codes, in all frames alike: code 0 is kept, and there are
            # no negative ones.
            higher = source.intercept - source.slope * (32768 if source.signed else 1)
            texts = decimal_text(higher)
            if abs(float(texts) - higher) <= abs(source.slope) * _AS_FLOAT32 * 1e-3:
                yield Scale(source.slope, float(texts)), tolerance
        yield Scale(source.slope, source.intercept), tolerance if is_float else 0.0
    if is_float and low.is_integer() and high.is_integer():
        yield Scale(1.0, 0.0), 0.0
        whole = whole_scale(int(low), int(high), target, reserved=reserved)
        if whole is not None:
            yield whole, 0.0
    constant = _constant(low, target) if is_float and low == high else None
    if constant is not None:
        yield constant, np.inf
    scale = _spread(float(low), float(high), target, reserved, name)
    if scale is not None:
        yield scale, np.inf


def _usable(source: Scale, target: Target) -> bool:
    return (
        is_decimal(source.slope)
        and is_decimal(source.intercept)
        and source.slope != 0
        and (target.intercept or source.intercept == 0)
    )


def _constant(value: float, target: Target) -> Scale | None:
    """Return the scale of frames of one value, which is exact where a DS holds it."""
    if not target.intercept:
        return Scale(float(decimal_text(abs(value))), 0.0) if value else None
    if not is_decimal(value):
        return None
    # Beside a large step a value would be read as float32.
    with np.errstate(over="ignore"):
        fits = float(np.float32(value)) == value
    return Scale(1.0 if fits else float(decimal_text(math.ulp(value))), value)


def _spread(low: float, high: float, target: Target, reserved: bool, name: str) -> Scale | None:
    """Return the scale of the smallest step for values of a range."""
    if not math.isfinite(max(-low, high, high - low) * 1.01):
        raise InvalidValue(
            f"{name} has values from {low:g} to {high:g}, beyond what slope and intercept can "
            "bring back; divide the array, as in array / 1e10, and give it another unit."
        )
    codes = 1 << target.bits[-1]
    if not target.intercept:
        if low >= 0 and not target.reserve:
            return Scale(_step(high / (codes - 2)), 0.0)
        if not target.signed:
            return None if low < 0 else Scale(_step(high / (codes - 2)), 0.0)
        return Scale(_step(max(-low, high) / (codes // 2 - 1)), 0.0)
    first, last = (1, codes - 1) if reserved else (0, codes - 2)
    step = max((high - low) / (last - first), _LEAST)
    scale = _through_zero(low, high, step, first, last) if low <= 0 <= high else None
    if scale is not None:
        return scale
    # The rounding of the intercept to DS can be more than a step, so the step follows from it.
    below = max(step, math.ulp(low)) if first else 0.0
    intercept = decimal_bound(low - below, above=False)
    return Scale(_step((high - intercept) / last), intercept)


def _step(size: float) -> float:
    return decimal_bound(max(size, _LEAST), above=True)


def _through_zero(low: float, high: float, step: float, first: int, last: int) -> Scale | None:
    """Return a scale that has a code for zero: its intercept is a multiple of its step.

    A DS must hold both, so the step has few digits: 9 make it larger by 1e-8 at most.
    """
    for digits in (17, 9, 8, 7):
        slope = decimal_bound(step, above=True, digits=digits)
        for _ in range(3):  # the product is the nearest double to its decimal in most cases
            zero = first - round(low / slope)
            intercept = -(zero * slope)
            if is_decimal(intercept) and round((high - intercept) / slope) <= last:
                return Scale(slope, intercept)
            if digits == 17:
                break
            slope = decimal_bound(slope * (1 + 10.0**-digits), above=True, digits=digits)
    return None


def common_scale(smallest: float, largest: float, target: Target, *, integers: bool) -> Scale:
    """Return one scale for all frames of a series.

    Parameters
    ----------
    smallest, largest : float
        Of all frames, without NaN.
    target : Target
    integers : bool
        Whether all values are whole numbers.

    Returns
    -------
    Scale
        With the PixelRepresentation of all frames, and the code that stands for NaN in all.

    Raises
    ------
    InvalidValue
        The values are not finite, or such as the kind of object cannot store.

    Examples
    --------
    >>> common_scale(0, 4095, Target(), integers=True)
    Scale(slope=1.0, intercept=0.0, signed=False, padding=65535)
    >>> common_scale(0.0, 1.0, Target(intercept=False), integers=False).intercept
    0.0
    """
    name = "The series"
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise InvalidValue(
            f"{name} has values from {smallest} to {largest}; infinite ones cannot be stored: "
            "array.where(np.isfinite(array)) makes them NaN."
        )
    low, high = float(smallest), float(largest)
    scales: list[Scale | None] = []
    if integers:
        whole = whole_scale(int(smallest), int(largest), target, reserved=target.reserve)
        scales = [Scale(1.0, 0.0), whole]
    elif low == high:
        scales = [_constant(low, target)]
    for scale in scales:
        found = None if scale is None else _for_all_frames(low, high, scale, target)
        if found is not None:
            return found
    scale = _spread(low, high, target, target.intercept or target.reserve, name)
    found = None if scale is None else _for_all_frames(low, high, scale, target)
    if found is None:
        raise refusal(name, low, high)
    return found


def _for_all_frames(low: float, high: float, scale: Scale, target: Target) -> Scale | None:
    """Return a scale with the type of all frames, and a code that none of them uses."""
    first, last = sorted((code(low, scale), code(high, scale)))
    dtype = code_type(first, last, target, reserve=target.reserve)
    if dtype is None:
        return None
    limits = np.iinfo(dtype)
    free = [end for end in (limits.min, limits.max) if not first <= end <= last]
    return Scale(scale.slope, scale.intercept, dtype.kind == "i", int(free[0]) if free else None)


def refusal(name: str, low: float, high: float) -> InvalidValue:
    """Return the error that says that values cannot be stored in a kind of object."""
    return InvalidValue(
        f"{name} has values from {low:g} to {high:g}, which this kind of object cannot store; "
        "write it as another kind, or shift the values."
    )
