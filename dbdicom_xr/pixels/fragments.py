"""Where the fragments of a frame lie, by what the index noted (``index/fragments``)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import PixelError

__all__ = ["fragments_of_frame"]

Pairs = npt.NDArray[np.int64]


def fragments_of_frame(items: Pairs, frame: int, frames: int, read: object = None) -> Pairs:
    """Return where the fragments of one frame lie.

    Parameters
    ----------
    items : ndarray of int64, shape (items, 2)
        As :func:`dbdicom_xr.index.fragments.pack_fragments` noted them: offset and length of each
        item of the pixel data, the basic offset table first; or, where frames have several
        fragments, minus the number of frames and the number of fragments, then the fragments, and
        for each frame its first fragment and the one behind its last.
    frame : int
        Number of the frame, from 0.
    frames : int
        Number of frames.
    read : object, optional
        Not needed any more: nothing is read to find a frame.

    Returns
    -------
    ndarray of int64, shape (fragments, 2)

    Raises
    ------
    PixelError
        It is not known which fragments belong to the frame.

    Examples
    --------
    >>> fragments_of_frame(np.array([[100, 0], [108, 50], [166, 60]]), 1, 2)
    array([[166,  60]])
    >>> items = np.array([[-2, 3], [108, 50], [166, 60], [234, 20], [0, 1], [1, 3]])
    >>> fragments_of_frame(items, 1, 2)
    array([[166,  60],
           [234,  20]])
    """
    fragments = items[1:]
    if len(items) and items[0, 0] == -frames:
        count = int(items[0, 1])
        first, last = items[1 + count + frame].tolist()
        return fragments[first:last]
    if frames == 1 and len(fragments):
        return fragments
    if len(fragments) == frames:
        return fragments[frame : frame + 1]
    raise PixelError(
        f"{len(fragments)} fragments of pixel data cannot be told apart into {frames} frames: "
        "there is no usable offset table."
    )
