"""Tables of comma-separated values, which spreadsheets open without taking text for formulas."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["LINE_END", "cell", "is_formula"]

LINE_END = "\r\n"  # RFC 4180
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would take a text for a formula, and work it out.

    Examples
    --------
    >>> is_formula("=1+1"), is_formula("a=1"), is_formula(" -1")
    (True, False, True)
    """
    return text.lstrip(" ").startswith(_FORMULA) or text.startswith(_FORMULA)


def cell(value: Any) -> str | None:
    r"""Return a value as it stands between two commas; None for what has no place in a table.

    Parameters
    ----------
    value
        A number, a text, None, or a list of them.

    Examples
    --------
    >>> cell(2.5), cell(-3), cell(None), cell("T1, fat"), cell('5" coil')
    ('2.5', '-3', '', '"T1, fat"', '"5"" coil"')
    >>> cell(["ORIGINAL", "PRIMARY"]), cell([-0.5, None]), cell("=cmd()"), cell(b"bytes")
    ('ORIGINAL\\PRIMARY', '-0.5\\', "'=cmd()", None)
    """
    parts = value if isinstance(value, list) else [value]
    if any(not isinstance(part, (str, int, float, type(None))) for part in parts):
        return None
    text = "\\".join(_text(part) for part in parts)
    if any(isinstance(part, str) for part in parts) and is_formula(text):
        text = f"'{text}"
    text = text.replace("\0", "")
    if any(mark in text for mark in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
