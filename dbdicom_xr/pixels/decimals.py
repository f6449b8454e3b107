"""Numbers as a decimal string of at most 16 characters holds them (PS3.5 6.2, DS)."""

from __future__ import annotations

import math

from dbdicom_xr.errors import InvalidValue

__all__ = ["ds_bound", "ds_text", "is_ds"]

_LENGTH = 16
_DIGITS = 17  # that tell any double from its neighbours


def ds_text(value: float) -> str:
    """Return the decimal of at most 16 characters that is nearest to a number.

    Parameters
    ----------
    value : float

    Raises
    ------
    InvalidValue
        The number is not finite.

    Examples
    --------
    >>> ds_text(4.6), ds_text(-1 / 3), ds_text(1 / 3e5), ds_text(1e300)
    ('4.6', '-.33333333333333', '333333333333E-17', '1E300')
    """
    return _text(value, None)


def ds_bound(value: float, *, above: bool, digits: int = _DIGITS) -> float:
    """Return the nearest number not below, or not above, that a DS holds.

    Parameters
    ----------
    value : float
    above : bool
        Whether it is not below.
    digits : int
        At most as many significant digits.

    Examples
    --------
    >>> ds_bound(1 / 3, above=True), ds_bound(1 / 3, above=False), ds_bound(0.5, above=True)
    (0.333333333333334, 0.333333333333333, 0.5)
    """
    return float(_text(value, above, digits))


def is_ds(value: float) -> bool:
    """Return whether a DS holds exactly this number.

    Examples
    --------
    >>> is_ds(0.1), is_ds(1 / 3), is_ds(float("nan"))
    (True, False, False)
    """
    return math.isfinite(value) and float(ds_text(value)) == value


def _text(value: float, above: bool | None, digits: int = _DIGITS) -> str:
    value = float(value)
    if not math.isfinite(value):
        raise InvalidValue(f"DS has no {value} (PS3.5 6.2).")
    exact = repr(value)
    if value == 0:
        return "0"
    if digits == _DIGITS and len(exact) <= _LENGTH and "e" not in exact:
        return exact.removesuffix(".0")
    for count in range(digits, 0, -1):
        front, _, power = f"{abs(value):.{count - 1}e}".partition("e")
        number, exponent = int(front.replace(".", "")), int(power) - count + 1
        nearest = math.copysign(float(f"{number}e{exponent}"), value)
        if above is not None and nearest != value and (nearest < value) == above:
            number += 1 if above == (value > 0) else -1
        elif math.isinf(nearest):
            number -= 1
        text = _laid_out("-" if value < 0 else "", number, exponent)
        if len(text) <= _LENGTH:
            return text
    raise InvalidValue(f"DS does not hold {value} (PS3.5 6.2).")


def _laid_out(sign: str, number: int, exponent: int) -> str:
    """Return the shorter of the forms with and without exponent; the latter where it fits."""
    digits = str(number).rstrip("0")
    if not digits:
        return "0"
    exponent += len(str(number)) - len(digits)
    point = len(digits) + exponent  # digits in front of the point
    scientific = f"{sign}{digits}E{exponent}"
    if not -4 < point <= _LENGTH:
        return scientific
    if exponent >= 0:
        fixed = f"{sign}{digits}{'0' * exponent}"
    elif point > 0:
        fixed = f"{sign}{digits[:point]}.{digits[point:]}"
    else:
        fixed = f"{sign}0.{'0' * -point}{digits}"
        if len(fixed) > _LENGTH:
            fixed = fixed.replace("0.", ".", 1)
    return fixed if len(fixed) <= _LENGTH else scientific
