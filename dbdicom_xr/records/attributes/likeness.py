"""Which attributes of the standard a name is like: what was meant by one that does not exist.

pydicom's dictionary of private elements has names such as ``Patient's Name`` and ``Echo Number``.
Somebody who writes one of these means the attribute of the standard.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

from dbdicom_xr.records.attributes.private_names import private_names

__all__ = ["is_like_standard", "near_keywords", "nearest", "private_hint", "same_as_standard"]


def nearest(name: str, words: Iterable[str]) -> list[str]:
    """Return at most three words that a name may be a misspelling of, the nearest first.

    Examples
    --------
    >>> nearest("EcoTime", ["FlipAngle", "EchoTime"])
    ['EchoTime']
    """
    lower = {word.lower(): word for word in words}
    close = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.75)
    return [lower[word] for word in close]


def same_as_standard(name: str) -> str:
    """Return the keyword of the standard that a name is, but for blanks, marks and case.

    Examples
    --------
    >>> same_as_standard("Patient's Name"), same_as_standard("series_description")
    ('PatientName', 'SeriesDescription')
    >>> same_as_standard("B_value")
    ''
    """
    return _standard().get(_plain(name), "")


@lru_cache(maxsize=4096)  # 10 ms each; programs that look at any object ask for the same few names
def near_keywords(name: str) -> tuple[str, ...]:
    """Return the keywords of the standard that a name may be meant for, the nearest first.

    Examples
    --------
    >>> near_keywords("EchoNumber")[0], near_keywords("B_value")
    ('EchoNumbers', ())
    """
    same = same_as_standard(name)
    return (same,) if same else tuple(nearest(_plain(name), _keywords()))


def is_like_standard(name: str) -> bool:
    """Return whether a name is, or is near, a keyword of the standard."""
    return bool(near_keywords(name))


def private_hint(name: str) -> str:
    """Return a sentence on the private element that has this name, or nothing.

    Examples
    --------
    >>> private_hint("Echo Time")[:52]
    " The private attribute of this name is '[Echo Time]'"
    """
    if name not in private_names():
        return ""
    creator, _ = private_names()[name]
    bracketed = f"[{name}]"
    return f" The private attribute of this name is {bracketed!r} ({creator})."


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


@lru_cache(maxsize=1)
def _keywords() -> list[str]:
    from pydicom._dicom_dict import DicomDictionary

    return [entry[4] for entry in DicomDictionary.values() if entry[4]]


@lru_cache(maxsize=1)
def _standard() -> dict[str, str]:
    """Return the keyword for each keyword and name of the standard, as ``_plain`` makes them."""
    from pydicom._dicom_dict import DicomDictionary

    entries = [entry for entry in DicomDictionary.values() if entry[4]]
    names = {_plain(entry[2]): entry[4] for entry in entries}
    return names | {_plain(entry[4]): entry[4] for entry in entries}
