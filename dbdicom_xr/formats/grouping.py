"""The frames of one kind as volumes: which are slices of one, and which come one after the other.

What several slices have in common decides, not the order of files: all frames of a volume have the
same b-value, the same number in time, and so on, wherever such an attribute tells volumes apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import GridError
from dbdicom_xr.geometry.planes import Floats
from dbdicom_xr.geometry.stacks import SAME_PLACE

__all__ = ["arrange", "split_by"]

Ints = npt.NDArray[np.intp]


def split_by(codes: Sequence[npt.ArrayLike]) -> list[Ints]:
    """Return the frames that agree in all codes, group by group.

    Parameters
    ----------
    codes : sequence of array_like of int, each of shape (frames,)
        One per attribute; equal numbers stand for equal values.

    Returns
    -------
    list of ndarray of int
        The numbers of the frames in each group, ascending; groups in the order of their codes.

    Examples
    --------
    >>> split_by([[1, 0, 1, 0], [0, 0, 0, 1]])
    [array([1]), array([3]), array([0, 2])]
    """
    _, group = np.unique(np.stack([np.asarray(c) for c in codes], 1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    return [np.flatnonzero(group == number) for number in range(int(group.max()) + 1)]


def arrange(
    locations: npt.ArrayLike, order: npt.ArrayLike, codes: Sequence[npt.ArrayLike] = ()
) -> Ints:
    """Return the frames as volumes.

    Parameters
    ----------
    locations : array_like of float, shape (frames,)
        Where the frames lie along their normal, mm.
    order : array_like of int, shape (frames,)
        The rank of each frame in the order of acquisition.
    codes : sequence of array_like of int, each of shape (frames,)
        Attributes that may tell volumes apart, the most telling first; equal numbers stand for
        equal values.

    Returns
    -------
    ndarray of int, shape (volumes, slices)
        Numbers of frames. Slices ascend along the normal, volumes follow the order of acquisition.

    Raises
    ------
    GridError
        There are more frames at some places than at others.

    Examples
    --------
    >>> arrange([0, 5, 0, 5], [0, 1, 2, 3])
    array([[0, 1],
           [2, 3]])

    Here the second slice was numbered in another order than the first, and a b-value tells so:

    >>> arrange([0, 5, 0, 5], [0, 1, 2, 3], [[0, 1000, 1000, 0]])
    array([[0, 3],
           [2, 1]])
    """
    ranks = np.asarray(order)
    place = _places(np.asarray(locations, np.float64))
    counts = np.bincount(place)
    if int(counts.min()) != int(counts.max()):
        raise GridError(_uneven_counts(np.asarray(locations, np.float64), place, counts))
    slices, volumes = len(counts), int(counts[0])
    by_rank = np.lexsort((ranks, place)).reshape(slices, volumes)
    telling = np.zeros(len(ranks), np.intp)
    for code in codes:
        joint = _joint(telling, np.asarray(code))
        if _same_everywhere(joint[by_rank]):
            telling = joint
    if bool((telling[by_rank] == telling[by_rank[0]]).all()):
        return by_rank.T
    # The attributes decide: each of their combinations stands where it was first acquired.
    first = np.full(int(telling.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, telling, ranks)
    return np.lexsort((ranks, first[telling], place)).reshape(slices, volumes).T


def _places(locations: Floats) -> Ints:
    """Return the number of the place of each frame along the normal."""
    along = np.argsort(locations, kind="stable")
    place = np.empty(len(locations), np.intp)
    place[along] = np.concatenate([[0], np.cumsum(np.diff(locations[along]) > SAME_PLACE)])
    return place


def _joint(first: Ints, second: npt.NDArray[np.int64]) -> Ints:
    _, found = np.unique(np.stack([first, second], 1), axis=0, return_inverse=True)
    return np.asarray(found.reshape(-1), np.intp)


def _same_everywhere(codes: Ints) -> bool:
    """Return whether each place has the same codes, in any order; shape (slices, volumes)."""
    ordered = np.sort(codes, axis=1)
    return bool((ordered == ordered[0]).all())


def _uneven_counts(locations: Floats, place: Ints, counts: Ints) -> str:
    numbers, times = np.unique(counts, return_counts=True)
    found = ", ".join(
        f"{number} at {time} place{'s' * (time > 1)}"
        for number, time in zip(numbers.tolist(), times.tolist(), strict=True)
    )
    usual = int(numbers[times.argmax()])
    odd = int(np.flatnonzero(counts != usual)[0])
    return (
        f"The frames do not make whole volumes: there are {found}. The first place that differs is "
        f"at {locations[place == odd][0]:.6g} mm along the normal, with {counts[odd]} frames where "
        f"most have {usual}."
    )
