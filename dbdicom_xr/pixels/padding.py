"""The mark by which a file that this package wrote says that its padding was NaN.

Of any other file nobody knows what PixelPaddingValue (PS3.3 C.7.5.1.1.2) stands for: it is a value
like any other there.
"""

from __future__ import annotations

from typing import Final

from dbdicom_xr.index.columns import Key

__all__ = ["MARKED", "MARKER"]

MARKER: Final = Key(0x00990001, "DBDICOM_XR")
"""A private CS beside PixelPaddingValue."""
MARKED: Final = "NAN"
"""What it says where PixelPaddingValue stands for NaN."""
