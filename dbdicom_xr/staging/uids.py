"""New unique identifiers (PS3.5 9 and B.2)."""

from __future__ import annotations

import os

__all__ = ["new_uid", "new_uids"]


def new_uids(count: int) -> list[str]:
    """Return unique identifiers, derived from random UUIDs (PS3.5 B.2).

    Examples
    --------
    >>> uids = new_uids(3)
    >>> len(set(uids)), all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)
    (3, True)
    """
    data = os.urandom(16 * count)
    result = []
    for start in range(0, len(data), 16):
        number = int.from_bytes(data[start : start + 16], "big")
        # Version 4, variant 1: RFC 4122, 4.4.
        number &= ~(0xF000 << 64 | 0xC000 << 48)
        number |= 0x4000 << 64 | 0x8000 << 48
        result.append(f"2.25.{number}")
    return result


def new_uid() -> str:
    """Return one unique identifier."""
    return new_uids(1)[0]
