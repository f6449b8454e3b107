"""The order of frames in an object: stacks of planes, and the dimensions that tell them apart.

PS3.3 C.7.6.16.2.2 (StackID, InStackPositionNumber) and C.7.6.17 (Multi-frame Dimension).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.elements import Elements, key_of, per_image
from dbdicom_xr.emit.macros import Frames
from dbdicom_xr.geometry.planes import positions_along_normal
from dbdicom_xr.geometry.stacks import SAME_PLACE, split_by_orientation
from dbdicom_xr.index.table import Values
from dbdicom_xr.staging.uids import new_uid

__all__ = ["Stacks", "dimensions_of", "repeats_of", "spacing_of", "stacks_of"]

_CONTENT: Final = "FrameContentSequence"
# Attributes by which frames are counted, the macro they stand in, and the classic keyword.
_DIMENSIONS: Final = (
    ("TemporalPositionIndex", _CONTENT, "TemporalPositionIdentifier"),
    ("EffectiveEchoTime", "MREchoSequence", "EchoTime"),
    ("InversionTimes", "MRModifierSequence", "InversionTime"),
    ("FlipAngle", "MRTimingAndRelatedParametersSequence", "FlipAngle"),
    ("RepetitionTime", "MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    ("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence", "TriggerTime"),
    ("DiffusionBValue", "MRDiffusionSequence", "DiffusionBValue"),
    ("DiffusionGradientOrientation", "MRDiffusionSequence", "DiffusionGradientOrientation"),
    ("ComplexImageComponent", "MRImageFrameTypeSequence", "ComplexImageComponent"),
    ("FrameAcquisitionDateTime", _CONTENT, "AcquisitionTime"),
)  # fmt: skip

# Positions are written with few digits.
_UNEVEN: Final = 0.01


class Stacks(NamedTuple):
    """Where frames lie: in stacks of parallel planes."""

    stacks: npt.NDArray[np.int32]
    """The number of the stack, from 1, shape (frames,)."""
    places: npt.NDArray[np.int32]
    """The place along its normal, from 1."""
    steps: npt.NDArray[np.float64]
    """The distance to the next place, mm; NaN where there is none, or not one for all."""


def stacks_of(frames: Frames) -> Stacks:
    """Return where frames lie; each in a place of its own where nothing is known of that."""
    count = frames.count
    nowhere = Stacks(
        np.ones(count, np.int32), np.arange(1, count + 1, dtype=np.int32), np.full(count, np.nan)
    )
    position = _vectors(frames, "ImagePositionPatient", 3)
    orientation = _vectors(frames, "ImageOrientationPatient", 6)
    if not (np.isfinite(position).all() and np.isfinite(orientation).all()):
        return nowhere
    found = Stacks(nowhere.stacks.copy(), nowhere.places.copy(), nowhere.steps.copy())
    for number, stack in enumerate(split_by_orientation(orientation), 1):
        typical = np.median(orientation[stack], axis=0)
        location = positions_along_normal(position[stack], np.tile(typical, (len(stack), 1)))
        if location is None:
            return nowhere
        order = np.argsort(location, kind="stable")
        apart = np.diff(location[order], prepend=location[order[0]])
        found.places[stack[order]] = 1 + np.cumsum(apart > SAME_PLACE)
        found.stacks[stack] = number
        apart = apart[apart > SAME_PLACE]
        if len(apart) and np.ptp(apart) <= _UNEVEN * np.median(apart):
            found.steps[stack] = np.round(np.median(apart), 4)
    return found


def _vectors(frames: Frames, keyword: str, size: int) -> npt.NDArray[np.float64]:
    values = frames.values(keyword)
    unknown = [np.nan] * size
    if values is None:
        return np.full((frames.count, size), np.nan)
    rows = [
        value if isinstance(value, list) and len(value) == size else unknown
        for value in (*values.distinct, None)
    ]
    return np.array(rows, np.float64)[values.codes]


def spacing_of(frames: Frames, planes: Stacks) -> Elements:
    """Return SpacingBetweenSlices as the positions of the frames tell it, where they do.

    Programs that read enhanced objects (dcm2niix) believe it rather than the positions, and what
    images say that were selected from a stack may be the spacing of that.
    """
    if bool(np.isnan(planes.steps).any()):
        return {}
    values = frames.values("SpacingBetweenSlices")
    told = np.full(frames.count, np.nan)
    if values is not None:
        known = [value if isinstance(value, float) else np.nan for value in values.distinct]
        told = np.array([*known, np.nan])[values.codes]
    agree = np.abs(np.abs(told) - planes.steps) <= _UNEVEN * planes.steps
    if bool(agree.all()):
        return {}
    column = per_image("SpacingBetweenSlices", planes.steps.tolist())
    return {column.key: column}


def dimensions_of(
    frames: Frames, planes: Stacks, known: Mapping[str, Values | None], macros: Set[int]
) -> tuple[npt.NDArray[np.int64], list[tuple[str, Any]]]:
    """Return DimensionIndexValues of each frame, and the elements that say what they count.

    Stack and place in it, and of what else differs as much as tells the frames apart.

    Parameters
    ----------
    frames : Frames
    planes : Stacks
    known : mapping
        The attributes of the Frame Content macro, and others that are worked out.
    macros : set of int
        The functional groups that there are; attributes of others are not assigned to one.
    """
    chosen = [
        ("StackID", _CONTENT),
        ("InStackPositionNumber", _CONTENT),
    ]
    columns = [planes.stacks.astype(np.int64), planes.places.astype(np.int64)]
    points = _distinct(columns)
    for keyword, macro, classic in _DIMENSIONS:
        if points == frames.count:
            break
        values = known.get(keyword) or frames.values(classic, keyword)
        place = keyword, macro
        if macro != _CONTENT and key_of(macro).tag not in macros:
            own = classic if key_of(classic) in frames.elements else keyword
            place = own, "UnassignedPerFrameConvertedAttributesSequence"
        if values is None or bool((values.codes < 0).any()):
            continue
        ranks = _ranks(values)
        if keyword == "FrameAcquisitionDateTime":
            ranks = _ranks_within(columns, ranks)
        if (more := _distinct([*columns, ranks])) > points:
            points = more
            columns.append(ranks)
            chosen.append(place)
    uid = new_uid()
    items = [
        {
            "DimensionOrganizationUID": uid,
            "DimensionIndexPointer": key_of(keyword).tag,
            "FunctionalGroupPointer": key_of(macro).tag,
            "DimensionDescriptionLabel": keyword,
        }
        for keyword, macro in chosen
    ]
    return np.stack(columns, axis=1), [
        ("DimensionOrganizationSequence", [{"DimensionOrganizationUID": uid}]),
        ("DimensionIndexSequence", items),
    ]


def repeats_of(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Return for each frame how many before it have the same indices, and itself.

    Examples
    --------
    >>> repeats_of(np.array([[1, 1], [1, 2], [1, 1]]))
    array([1, 1, 2], dtype=int32)
    """
    _, point = np.unique(indices, axis=0, return_inverse=True)
    point = point.reshape(-1)
    order = np.argsort(point, kind="stable")
    starts = np.searchsorted(point[order], point[order])
    result = np.empty(len(point), np.int32)
    result[order] = np.arange(len(point)) - starts + 1
    return result


def _distinct(columns: list[npt.NDArray[np.int64]]) -> int:
    return len(np.unique(np.stack(columns, axis=1), axis=0))


def _ranks(values: Values) -> npt.NDArray[np.int64]:
    """Return for each frame the rank of its value, from 1; those without come last."""
    occurring = list(dict.fromkeys(map(_hashable, values.occurring())))
    if all(isinstance(value, (int, float)) for value in occurring) or all(
        isinstance(value, str) for value in occurring
    ):
        occurring.sort()
    rank = {value: number for number, value in enumerate(occurring, 1)}
    of = [rank.get(_hashable(value), len(rank) + 1) for value in (*values.distinct, None)]
    return np.array(of, np.int64)[values.codes]


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _ranks_within(
    columns: list[npt.NDArray[np.int64]], ranks: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return ranks that count anew at each point of the dimensions before.

    Each slice has times of its own, and the first of each is time 1.
    """
    _, point = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    pairs, of = np.unique(np.stack([point.reshape(-1), ranks], axis=1), axis=0, return_inverse=True)
    starts = np.searchsorted(pairs[:, 0], pairs[:, 0])
    return np.asarray((np.arange(len(pairs)) - starts + 1)[of.reshape(-1)])
