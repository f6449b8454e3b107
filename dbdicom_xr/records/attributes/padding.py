"""Which stored values stand for no pixel: PixelPaddingValue, and the mark that it was NaN."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from dbdicom_xr.index.table import Table
from dbdicom_xr.pixels.padding import MARKED, MARKER
from dbdicom_xr.records.attributes.lookup import private_attribute

__all__ = ["MARK", "PADDING", "has_marks", "is_marked", "padding_limits"]

# PixelPaddingRangeLimit and so on are the other end of a range of values.
PADDING: Final = (
    "PixelPaddingValue", "PixelPaddingRangeLimit",
    "FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit",
    "DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit",
)  # fmt: skip
MARK: Final = private_attribute(MARKER.tag, MARKER.creator).name


def has_marks(table: Table) -> bool:
    """Return whether some images of a series may say that their padding was NaN."""
    return MARKER in table.keys


def is_marked(value: Any) -> bool:
    """Return whether this value of the mark says that padding was NaN."""
    # In implicit VR nobody knows that it is text.
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return isinstance(text, str) and text.strip(" \0") == MARKED


def padding_limits(named: dict[str, Any]) -> tuple[float, float] | None:
    """Return the lowest and highest stored value that stand for no pixel (PS3.3 C.7.5.1.1.2)."""
    ends: list[float] = []
    for name in PADDING:
        value = named[name]
        if not isinstance(value, (int, float)) or np.isnan(value):
            continue
        if isinstance(value, int):
            # Written as US beside signed pixels, -2000 reads as 63536; and the other way round.
            signed = named["PixelRepresentation"] == 1
            value += (-(1 << 16) if value >= 1 << 15 else 0) if signed else (value < 0) << 16
        if ends or not name.endswith("Limit"):
            ends.append(value)
    return (min(ends), max(ends)) if ends else None
