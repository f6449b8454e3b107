"""Numbers as a decimal string of at most 16 characters holds them (PS3.5 6.2, DS)."""

from __future__ import annotations

import math
from decimal import Decimal

from dbdicom_xr.errors import InvalidValue

__all__ = ["NO_DOUBLE", "decimal_bound", "decimal_text", "is_decimal"]

_DIGITS = 17  # that tell any double from its neighbours


def decimal_text(value: float | Decimal) -> str:
    """Return the decimal of at most 16 characters nearest to a number (PS3.5 6.2, DS).

    Examples
    --------
    >>> decimal_text(4.6), decimal_text(-1 / 3), decimal_text(1 / 3e5)
    ('4.6', '-.33333333333333', '3.33333333333E-6')
    """
    if type(value) is float:
        exact = repr(value)
        if value - value != 0:
            raise InvalidValue(
                f"DS has no {exact} (PS3.5 6.2); None deletes the attribute, '' leaves it empty."
            )
        size = abs(value)
        if 1e-4 <= size < 1e14:
            if len(exact) <= 16:
                return exact.removesuffix(".0")
            return _fixed(value)
        if size == 0:
            return exact.removesuffix(".0")
        mantissa, _, power = exact.lstrip("-").partition("e")
        front, _, behind = mantissa.partition(".")
        return _general(value, value < 0, front + behind, int(power or 0) - len(behind))
    number = Decimal(value)
    if not number.is_finite():
        raise InvalidValue(f"DS has no {value} (PS3.5 6.2); None deletes the attribute.")
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # it is finite
    return _general(number, sign, "".join(map(str, digits)), exponent)


def _fixed(value: float) -> str:
    """Return a number between 1e-4 and 1e14 without an exponent: ten times as fast."""
    negative, size = value < 0, abs(value)
    if size < 1:
        decimals = 15 - negative
        digits = f"{size:.{decimals}f}".removeprefix("0")
    else:
        decimals = 15 - negative - len(str(int(size)))
        digits = f"{size:.{decimals}f}"
    if decimals:
        # Rounding up to one more digit in front leaves zeros behind the point, which go.
        digits = digits.rstrip("0").rstrip(".")
    return f"-{digits}" if negative else digits


def _general(value: float | Decimal, sign: int, digits: str, exponent: int) -> str:
    """Return the decimal with most digits whose shortest form has 16 characters."""
    found = _laid_out(sign, digits, exponent)
    # With an exponent there is room for 14 digits, below 1e-4 for 12: 123456789012E-17.
    place = len(digits) + exponent
    count = min(len(digits), 16 if -4 < place <= 16 else 14 if place > 0 else 12)
    while found is None and count:
        mantissa, _, power = f"{value:.{count - 1}e}".lstrip("-").partition("e")
        rounded = mantissa.replace(".", "")
        found = _laid_out(sign, rounded, int(power) - count + 1)
        if found and math.isinf(float(found)) and -_ABOVE_ALL < value < _ABOVE_ALL:
            # Rounded up, it would be beyond the largest double: the next one below.
            found = _laid_out(sign, str(int(rounded) - 1), int(power) - count + 1)
        count -= 1
    if found is None or math.isinf(float(found)) or (float(found) == 0) != (value == 0):
        raise InvalidValue(NO_DOUBLE)
    return found


_ABOVE_ALL = Decimal(2**1024 - 2**970)  # reads as infinity
NO_DOUBLE = "it is beyond double precision, as which a DS is read (5E-324 to 1.79E308 in size)."


def _laid_out(sign: int, digits: str, exponent: int) -> str | None:
    """Return digits times a power of ten in the form that is usual, of those that fit."""
    front = "-" if sign else ""
    digits = digits.lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return f"{front}0"
    exponent += len(digits) - len(kept)
    place = len(kept) + exponent  # of the point, from the first digit
    room = 16 - sign
    shortest = f"{kept}E{exponent}"
    # Without an exponent it takes a point, zeros behind it, or zeros at the end.
    plain_length = max(place, len(kept) + 1 - min(place, 0) if exponent < 0 else 0)
    if len(shortest) > room and plain_length > room:
        return None
    if place > 16 or place < -16:
        plain = ""
    elif place <= 0:
        plain = "0." + "0" * -place + kept
    elif exponent >= 0:
        plain = kept + "0" * exponent
    else:
        plain = kept[:place] + "." + kept[place:]
    scientific = f"{kept[0]}{'.' + kept[1:] if kept[1:] else ''}E{place - 1}"
    forms = [plain, plain.removeprefix("0"), scientific, shortest]
    if not -5 < place - 1 < 16:
        forms = forms[2:] + forms[:2]
    return next((front + form for form in forms if form and len(form) <= room), None)


def decimal_bound(value: float, *, above: bool, digits: int = _DIGITS) -> float:
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
    >>> decimal_bound(1 / 3, above=True), decimal_bound(1 / 3, above=False)
    (0.333333333333334, 0.333333333333333)
    """
    value = float(value)
    if value == 0 or not math.isfinite(value):
        return float(decimal_text(value))
    if digits == _DIGITS:
        nearest = float(decimal_text(value))
        if nearest == value or (nearest > value) == above:
            return nearest
    for count in range(digits, 0, -1):
        front, _, power = f"{abs(value):.{count - 1}e}".partition("e")
        number, exponent = int(front.replace(".", "")), int(power) - count + 1
        nearest = math.copysign(float(f"{number}e{exponent}"), value)
        if nearest != value and (nearest < value) == above:
            number += 1 if above == (value > 0) else -1
        elif math.isinf(nearest):
            number -= 1
        text = _laid_out(value < 0, str(number), exponent)
        if text is not None:
            return float(text)
    raise InvalidValue(NO_DOUBLE)


def is_decimal(value: float) -> bool:
    """Return whether a DS holds exactly this number.

    Examples
    --------
    >>> is_decimal(0.1), is_decimal(1 / 3), is_decimal(float("nan"))
    (True, False, False)
    """
    return math.isfinite(value) and float(decimal_text(value)) == value
