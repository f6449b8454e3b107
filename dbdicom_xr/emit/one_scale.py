"""One slope and intercept for all frames of an object.

Some programs, those on GDCM among them, apply those of the first frame to all. So values that have
to be rounded are rounded to the steps of one scale; what is exact stays exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from dbdicom_xr.emit.parts import Number, Part, read_part, values_of, write_stored
from dbdicom_xr.emit.plan import WritePlan
from dbdicom_xr.pixels.quantise import Scale, common_scale, quantise
from dbdicom_xr.pixels.scales import code, unsigned

__all__ = ["Settled", "settled"]

# Files beside those of the parts: a task that is done a second time finds these as they were.
_SUFFIX: Final = ".one"
_ATTEMPTS: Final = 3
# What the text of an intercept may be off, in steps, where values count as those of a grid.
_ROUNDED_TEXT: Final = 2e-5


@dataclass(frozen=True)
class Settled:
    """Parts whose pixels stand as they will in their object.

    Parameters
    ----------
    paths : list of str
    parts : list of Part
    scales_differ : bool
        Whether no single scale holds all of them exactly.
    """

    paths: list[str]
    parts: list[Part]
    scales_differ: bool = False


def settled(paths: Sequence[str], plan: WritePlan) -> Settled:
    """Return parts with one scale, where values are rounded or one holds them exactly.

    One part is in memory at a time.

    Parameters
    ----------
    paths : sequence of str
        Of the parts, as the workers left them.
    plan : WritePlan
    """
    parts = [read_part(path) for path in paths]
    as_left = Settled(list(paths), parts)
    if not plan.one_scale:
        return as_left
    if any(part.scale is None for part in parts):
        scale = _of_all(parts, plan)
        made = None if scale is None else _with_scale(as_left, scale, plan)
        assert made is not None
        return made
    found = Counter(part.scale for part in parts if part.scale is not None and part.low is not None)
    if len(found) <= 1 and all(part.low is not None for part in parts):
        return as_left
    for candidate in _candidates(found, parts, plan):
        made = _with_scale(as_left, candidate, plan, exact=True)
        if made is not None:
            return made
    return replace(as_left, scales_differ=len(found) > 1)


def _of_all(parts: Sequence[Part], plan: WritePlan, *, whole: bool = False) -> Scale | None:
    """Return the scale that spans the values of all parts; None where there are none."""
    low, high = _ends(parts)
    if low is None or high is None:
        return None
    integers = whole or np.dtype(parts[0].dtype).kind != "f"
    return common_scale(low, high, plan.target, integers=integers)


def _ends(parts: Sequence[Part]) -> tuple[Number | None, Number | None]:
    lows = [part.low for part in parts if part.low is not None]
    highs = [part.high for part in parts if part.high is not None]
    return min(lows, default=None), max(highs, default=None)


def _candidates(found: Counter[Scale], parts: Sequence[Part], plan: WritePlan) -> list[Scale]:
    """Return the scales that may hold all values exactly."""
    is_float = np.dtype(parts[0].dtype).kind == "f"
    padding = 0 if is_float else None
    scales = [
        replace(scale, signed=False, padding=padding) for scale, _ in found.most_common(_ATTEMPTS)
    ]
    if all(scale.slope == 1 and scale.intercept.is_integer() for scale in found):
        whole = _of_all(parts, plan, whole=True)
        if whole is not None and whole.slope == 1:
            scales.insert(0, whole)
    return scales


def _with_scale(
    left: Settled, scale: Scale, plan: WritePlan, *, exact: bool = False
) -> Settled | None:
    """Return parts that are stored with a scale; None where that has to be exact and is not."""
    low, high = _ends(left.parts)
    if exact and low is not None and high is not None:
        limits = np.iinfo(unsigned(plan.target))
        ends = [code(low, scale), code(high, scale)]
        free = scale.padding is None or not min(ends) <= scale.padding <= max(ends)
        if not (free and limits.min <= min(ends) <= max(ends) <= limits.max):
            return None
    paths, parts = [], []
    for path, part in zip(left.paths, left.parts, strict=True):
        if part.scale is None or (part.scale.slope, part.scale.intercept) != (
            scale.slope,
            scale.intercept,
        ):
            values = values_of(path, part, plan)
            stored = quantise(values, plan.target, scale=scale)
            if exact and stored.error > _tolerance(part, scale):
                return None
            path += _SUFFIX
            write_stored(path, plan, stored, np.dtype(part.dtype), error=part.error + stored.error)
            part = read_part(path)
        paths.append(path)
        parts.append(part)
    return Settled(paths, parts)


def _tolerance(part: Part, scale: Scale) -> float:
    """Return how far values may be off that count as exact."""
    if part.scale is None or np.dtype(part.dtype).kind != "f":
        return 0.0
    return _ROUNDED_TEXT * min(abs(scale.slope), abs(part.scale.slope))
