"""What the dictionary of pydicom says of private elements by name and by creator."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["ANY_GROUP", "private_group", "private_names"]

ANY_GROUP: Final = 1
"""Stands for a group that is not known: odd, as private groups are, but none (PS3.5 7.8)."""


def private_group(creator: str, element: int) -> int:
    """Return the group of a private element that is named without it.

    ``SIEMENS MR HEADER`` keeps the b-value in (0019,xx0c) and the field of view, as text, in
    (0051,xx0c): what a name means must not depend on which of the two a series has.

    Examples
    --------
    >>> private_group("SIEMENS MR HEADER", 0x0C) == 0x0019
    True
    """
    from pydicom._private_dict import private_dictionaries

    ending = f"xx{element & 0xFF:02X}"
    patterns = private_dictionaries.get(creator, {})
    groups = [int(pattern[:4], 16) for pattern in patterns if pattern[4:].upper() == ending.upper()]
    return min(groups, default=ANY_GROUP)


@lru_cache(maxsize=1)
def private_names() -> dict[str, tuple[str, int]]:
    """Return the names that mean one thing only: creator, and tag in the first block."""
    from pydicom._private_dict import private_dictionaries

    found: dict[str, set[tuple[str, int]]] = {}
    for creator, entries in private_dictionaries.items():
        for pattern, entry in entries.items():
            if re.fullmatch(r"[0-9A-Fa-f]{4}xx[0-9A-Fa-f]{2}", pattern):
                tag = int(pattern[:4], 16) << 16 | 0x1000 | int(pattern[6:], 16)
                found.setdefault(entry[2], set()).add((creator, tag))
    return {name: next(iter(places)) for name, places in found.items() if len(places) == 1}
