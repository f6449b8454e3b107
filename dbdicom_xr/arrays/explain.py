"""What to tell a person about frames that do not form a grid, or only by order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from dbdicom_xr.arrays.align import Distinct, Ints, Points, text_of

Describe: TypeAlias = Callable[[int], str]
Suggestions: TypeAlias = Callable[[], list[tuple[str, ...]]]

_SHOWN = 5


def lacking(name: str, rows: Ints, n: int, describe: Describe | None) -> str:
    """Tell which frames lack a tag, and how to go on."""
    if len(rows) == n:
        return (
            f"No frame has a value of {name}: leave it out of sortby. "
            f"series.varying() shows the tags that vary."
        )
    absent = f"{name}=None" if name.isidentifier() else f"**{{{name!r}: None}}"
    return (
        f"{_count(rows, n)} no {name}{_examples(rows, describe)}. Every frame needs a value of "
        f"each tag in sortby. Leave {name} out of sortby; series.frames({absent}) lists the frames "
        f"without it."
    )


def not_finite(name: str, rows: Ints, n: int, describe: Describe | None) -> str:
    """Tell which frames have NaN, inf or NaT as their value."""
    return (
        f"{_count(rows, n)} no finite {name}{_examples(rows, describe)}: such a value has no place "
        f"on a grid. Leave {name} out of sortby, or these frames out by a filter."
    )


def notice(names: tuple[str, ...], at: Points, ordered: list[int], *, full: bool) -> str:
    """Tell which tags were aligned by order, why, and what that means."""
    lines = []
    for j in ordered:
        earlier = ", ".join(names[:j])
        lines.append(
            f"{names[j]} is aligned by order, because its {at.distinct[j]} values differ from one "
            f"{earlier} to the next: position i is the i-th value there (of {at.most[j]}), and "
            f"the coordinate {names[j]}({earlier}, {names[j]}) holds the true values."
        )
        if at.least[j] < at.most[j]:
            lines.append(
                f"Some have only {at.least[j]}: their gaps are at the end, and where a frame is "
                f"missing before the end, those after it have moved up."
            )
    if not full:
        lines.append("The grid has gaps.")
    lines.append('align="value" gives each value a position of its own.')
    return " ".join(lines)


def no_grid(
    names: tuple[str, ...],
    values: Sequence[Distinct],
    at: Points,
    suggestions: Suggestions | None,
) -> str:
    """Tell how far the frames are from a grid, what varies, and what would give one."""
    filled, by_value = len(at.frames), math.prod(at.distinct)
    return (
        f"The frames do not form a grid along {', '.join(names)}: their values fill {filled} of "
        f"{by_value} cells ({100 * filled / by_value:.2g} %), aligned by order {filled} of "
        f"{math.prod(at.most)}.\n{_table(names, values, at)}{_ways_out(suggestions)}\n"
        f'align="value" keeps the gaps; align="order" aligns the values by their order, with gaps '
        f"at the end."
    )


def gaps(
    names: tuple[str, ...],
    values: Sequence[Distinct],
    at: Points,
    suggestions: Suggestions | None,
) -> str:
    """Name the first cells of a grid by value that have no frame, or fewer than others."""

    def where(codes: Sequence[int]) -> str:
        labels = [text_of(v.labels[code]) for v, code in zip(values, codes, strict=True)]
        return " ".join(f"{name}={label}" for name, label in zip(names, labels, strict=True))

    filled, cells, depth = len(at.frames), math.prod(at.distinct), int(at.frames.max())
    columns = [column.tolist() for column in at.by_value]
    if filled < cells:
        count, what = cells - filled, "have no frame"
        points = zip(*columns, strict=True)  # sorted, as the cells are
        point = next(points, None)
        shown: list[str] = []
        for cell in itertools.product(*map(range, at.distinct)):
            if cell == point:
                point = next(points, None)
            else:
                shown.append(where(cell))
                if len(shown) == _SHOWN:
                    break
    else:
        short = np.flatnonzero(at.frames < depth)
        count, what = len(short), f"have fewer than {depth} frames"
        shown = [where([column[p] for column in columns]) for p in short[:_SHOWN]]
    more = f"; and {count - len(shown)} more" if count > len(shown) else ""
    return (
        f"The grid along {', '.join(names)} has gaps: {count} of {cells} cells {what}: "
        f"{'; '.join(shown)}{more}.\n{_table(names, values, at)}{_ways_out(suggestions)}\n"
        f'align="value" keeps the gaps.'
    )


def too_sparse(
    names: tuple[str, ...],
    values: Sequence[Distinct],
    at: Points,
    shape: tuple[int, ...],
    suggestions: Suggestions | None,
) -> str:
    """Tell that a grid would be too large to hold."""
    return (
        f"A grid along {', '.join(names)} would have {' x '.join(map(str, shape))} cells for "
        f"{int(at.frames.sum())} frames.\n{_table(names, values, at)}{_ways_out(suggestions)}"
    )


def _table(names: tuple[str, ...], values: Sequence[Distinct], at: Points) -> str:
    lines = []
    for j, (name, found) in enumerate(zip(names, values, strict=True)):
        count = len(found.labels)
        line = f"  {name}: {count} value{'s' * (count > 1)}, {text_of(found.labels[0])}"
        if count > 1:
            line += f" to {text_of(found.labels[-1])}"
        if j:
            least, most = at.least[j], at.most[j]
            each = f"{most}" if least == most else f"{least} to {most}"
            line += f"; {each} at each {', '.join(names[:j])}"
        lines.append(line)
    return "\n".join(lines)


def _ways_out(suggestions: Suggestions | None) -> str:
    found = suggestions() if suggestions is not None else []
    if not found:
        return ""
    return f"\nA full grid: sortby={' or '.join(repr(list(tags)) for tags in found[:3])}."


def _count(rows: Ints, n: int) -> str:
    return f"{len(rows)} of {n} frames {'has' if len(rows) == 1 else 'have'}"


def _examples(rows: Ints, describe: Describe | None) -> str:
    if describe is None:
        return ""
    more = ", ..." if len(rows) > _SHOWN else ""
    return f" ({', '.join(describe(int(row)) for row in rows[:_SHOWN])}{more})"
