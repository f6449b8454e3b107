"""Which fragments of encapsulated pixel data make a frame (PS3.5 A.4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import PixelError

__all__ = ["fragments_of_frame"]

Pairs = npt.NDArray[np.int64]


def fragments_of_frame(
    items: Pairs, frame: int, frames: int, read: Callable[[int, int], bytes]
) -> Pairs:
    """Return where the fragments of one frame lie.

    Parameters
    ----------
    items : ndarray of int64, shape (items, 2)
        Offset and length of each item of the pixel data, the basic offset table first.
    frame : int
        Number of the frame, from 0.
    frames : int
        Number of frames.
    read : callable
        Gives ``length`` bytes at ``offset``, for the basic offset table.

    Returns
    -------
    ndarray of int64, shape (fragments, 2)

    Raises
    ------
    PixelError
        Neither the number of fragments nor the table says which belong to the frame.

    Examples
    --------
    >>> items = np.array([[100, 0], [108, 50], [166, 60]])
    >>> fragments_of_frame(items, 1, 2, read=None)
    array([[166,  60]])
    """
    fragments = items[1:]
    if frames == 1 and len(fragments):
        return fragments
    if len(fragments) == frames:
        return fragments[frame : frame + 1]
    table = items[:1]
    if len(table) and table[0, 1] == 4 * frames:
        offset, length = table[0].tolist()
        # The table counts from the tag of the first fragment, 8 bytes before its value.
        starts = np.frombuffer(read(length, offset), "<u4").astype(np.int64) + fragments[0, 0]
        first = int(np.searchsorted(fragments[:, 0], starts[frame]))
        last = (
            int(np.searchsorted(fragments[:, 0], starts[frame + 1]))
            if frame + 1 < frames
            else len(fragments)
        )
        if first < last and fragments[first, 0] == starts[frame]:
            return fragments[first:last]
    raise PixelError(
        f"{len(fragments)} fragments of pixel data cannot be told apart into {frames} frames: "
        "there is no usable offset table."
    )
