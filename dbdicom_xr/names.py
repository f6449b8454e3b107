"""Names: of files and folders, that every system takes; of functions, as messages call them.

Beside ``errors`` the one module that all parts of the package may import.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

__all__ = ["function_name", "safe_name"]

# Names that Windows keeps for devices, with any ending.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)")
_LONGEST = 60


def safe_name(text: str, otherwise: str) -> str:
    """Return a name for a file or folder.

    Parameters
    ----------
    text : str
        What it should be called.
    otherwise : str
        What it is called where nothing of that can be used.

    Examples
    --------
    >>> safe_name("T1 w/o fat: 3/4*", "series"), safe_name("../..", "series"), safe_name("NUL", "x")
    ('T1 w_o fat_ 3_4_', 'series', 'NUL_')
    >>> safe_name("con.txt", "x")  # which Windows takes for the device too
    'con_.txt'
    """
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    text = re.sub(r"[^A-Za-z0-9 ._()+=,@-]", "_", text)
    text = re.sub(r"\s+", " ", text)[:_LONGEST].strip(" .")
    if not re.search(r"[A-Za-z0-9]", text):
        return otherwise
    stem, dot, ending = text.partition(".")
    return f"{stem}_{dot}{ending}" if _DEVICES.fullmatch(stem.rstrip()) else text


def function_name(function: Callable[..., Any]) -> str:
    """Return what a person knows a function by: its name, and where it stands.

    Examples
    --------
    >>> function_name(len), function_name(safe_name).startswith("safe_name() (names.py, line ")
    ('len()', True)
    """
    name = getattr(function, "__name__", None)
    code = getattr(function, "__code__", None)
    if name is None:
        return repr(function)
    if code is None:
        return f"{name}()"
    file = re.split(r"[\\/]", code.co_filename)[-1]
    return f"{name}() ({file}, line {code.co_firstlineno})"
