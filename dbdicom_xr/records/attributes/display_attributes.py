"""How images are shown: ``window``, ``lut``, ``colormap``; read, checked and written."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.formats.png import LINEAR, LINEAR_EXACT, Lut, Window
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.records.attributes.lookup import Attribute, Written, parse_name, private_attribute
from dbdicom_xr.records.attributes.pixel_header import COLOURS, PALETTE, lut_of, palette_of
from dbdicom_xr.records.attributes.vendors.columns import work_out

__all__ = [
    "colormaps",
    "colours_of",
    "display_of",
    "first_window",
    "luts",
    "window_of",
    "write_colormap",
    "write_lut",
    "write_window",
]

Rows = npt.NDArray[np.intp]

# Beside PixelPaddingValue's mark in the block of this package: the name of a colour map.
COLORMAP: Final = Key(0x00990003, "DBDICOM_XR")
NAME: Final = private_attribute(COLORMAP.tag, COLORMAP.creator).name

_ENTRIES: Final = 256
_WITH_PALETTE: Final = {
    "PhotometricInterpretation": frozenset(("PALETTE COLOR",)),
    "PixelPresentation": frozenset(("COLOR", "MIXED")),
}
_PLAIN: Final = ("gray", "grey")  # known without matplotlib


def window_of(value: Any) -> tuple[float, float]:
    """Return a window as centre and width.

    Raises
    ------
    InvalidValue
        It is none.

    Examples
    --------
    >>> window_of([40, 400])
    (40.0, 400.0)
    """
    parts = list(value) if isinstance(value, (list, tuple, np.ndarray)) else []
    if len(parts) != 2 or not all(
        isinstance(part, (int, float, np.integer, np.floating))
        and not isinstance(part, bool)
        and np.isfinite(part)
        for part in parts
    ):
        raise InvalidValue(f"window is {value!r}; it is (centre, width), two numbers.")
    centre, width = (float(part) for part in parts)
    if not width > 0:
        raise InvalidValue(f"window is {value!r}; its width, the second number, is above 0.")
    return centre, width


def colours_of(colormap: Any) -> npt.NDArray[np.uint8] | None:
    """Return the colours of a colour map, shape (256, 3); None for grey.

    Parameters
    ----------
    colormap : str or matplotlib.colors.Colormap

    Raises
    ------
    InvalidValue
        There is no such map, or matplotlib is not installed.

    Examples
    --------
    >>> colours_of("gray")
    >>> colours_of("viridis")[0].tolist()
    [68, 1, 84]
    """
    if isinstance(colormap, str) and colormap in _PLAIN:
        return None
    try:
        import matplotlib as mpl
        from matplotlib.colors import Colormap
    except ImportError:
        raise InvalidValue(
            f"The colour map {colormap!r} is one of matplotlib, which is not installed: "
            "pip install matplotlib, or use 'gray'."
        ) from None
    if isinstance(colormap, str):
        if colormap not in mpl.colormaps:
            from dbdicom_xr.records.attributes.likeness import nearest

            near = nearest(colormap, list(mpl.colormaps))
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise InvalidValue(f"{colormap!r} is not a colour map of matplotlib.{hint}")
        colormap = mpl.colormaps[colormap]
    if not isinstance(colormap, Colormap):
        raise InvalidValue(
            f"{colormap!r} is not a colour map: give a name that matplotlib knows, such as "
            "'viridis'."
        )
    steps = (np.arange(_ENTRIES) + 0.5) / _ENTRIES
    colours: npt.NDArray[np.uint8] = np.asarray(colormap(steps, bytes=True)[:, :3], np.uint8)
    return colours


def display_of(table: Table, rows: npt.NDArray[np.intp]) -> list[Window | Lut | None]:
    """Return how the header wants frames to be shown; None where it does not say.

    The first window counts, else the first VOI LUT (PS3.3 C.11.2.1: alternatives, of which one is
    to be chosen).
    """
    names = ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence")
    others = ("PixelRepresentation", "RescaleIntercept", "TransferSyntaxUID")
    columns = [parse_name(name).values(table) for name in (*names, *others)]
    known: dict[tuple[int, ...], Window | Lut | None] = {}
    result = []
    codes = np.stack(
        [np.full(len(rows), -1) if one is None else one.codes[rows] for one in columns], axis=1
    )
    for row, key in zip(rows.tolist(), map(tuple, codes.tolist()), strict=True):
        if key not in known:
            values = [None if one is None else one.of(row) for one in columns]
            known[key] = _display(*values)
        result.append(known[key])
    return result


def _display(
    centre: Any,
    width: Any,
    function: Any,
    sequence: Any,
    representation: Any,
    intercept: Any,
    syntax: Any,
) -> Window | Lut | None:
    window = first_window(centre, width)
    if window is not None and window[1] > 0:
        kind = str(function or LINEAR)
        if kind == LINEAR and window[1] < 1:
            kind = LINEAR_EXACT  # as was meant, though the standard does not allow it
        return Window(window[0], window[1], kind)
    if not sequence:
        return None
    signed = representation == 1 or (isinstance(intercept, (int, float)) and intercept < 0)
    named = {"PixelRepresentation": int(signed), "TransferSyntaxUID": syntax}
    first, bits, entries = lut_of(sequence[0], named)
    return Lut(first, bits, entries)


def first_window(centre: Any, width: Any) -> list[float] | None:
    """Return the first of the windows of a header as [centre, width]."""
    first = [value[0] if isinstance(value, list) and value else value for value in (centre, width)]
    if not all(isinstance(value, (int, float)) for value in first):
        return None
    return [float(value) for value in first]


# -- window ------------------------------------------------------------------------------------


def write_window(table: Table, rows: Rows, values: list[Any]) -> Written:
    """Return what sets ``window``: None takes it away. There is no VOI LUT then any more."""
    wanted = [None if value is None else window_of(value) for value in values]
    edits: dict[Attribute, list[Any]] = {
        parse_name("WindowCenter"): [None if value is None else value[0] for value in wanted],
        parse_name("WindowWidth"): [None if value is None else value[1] for value in wanted],
    }
    for keyword in ("VOILUTSequence", "WindowCenterWidthExplanation"):
        # They are of the windows that go.
        if parse_name(keyword).values(table) is not None:
            edits[parse_name(keyword)] = [None] * len(rows)
    found = parse_name("VOILUTFunction").values(table)
    before = [None] * len(rows) if found is None else found.take(rows).as_objects().tolist()
    after = [_function(value, name) for value, name in zip(wanted, before, strict=True)]
    if after != before:
        edits[parse_name("VOILUTFunction")] = after
    return edits, [None if value is None else list(value) for value in wanted]


def _function(window: tuple[float, float] | None, before: Any) -> Any:
    """Return VOILUTFunction: the one before, which belongs to the image and not to a window.

    The formula of LINEAR does not allow a width below 1 (PS3.3 C.11.2.1.2.1).
    """
    if window is None:
        return None
    return LINEAR_EXACT if window[1] < 1 and before in (None, LINEAR) else before


# -- lut ---------------------------------------------------------------------------------------


def luts(table: Table) -> Values | None:
    """Return the palette of each frame, shape (entries, 3); None for images that have none.

    Also the supplemental palette of enhanced images, whose numbers stay grey values (PS3.3
    C.7.6.19): it is there where PixelPresentation is COLOR or MIXED.
    """
    kinds = [parse_name(name).values(table) for name in _WITH_PALETTE]
    if not any(
        column is not None and set(column.distinct) & values
        for column, values in zip(kinds, _WITH_PALETTE.values(), strict=True)
    ):
        return None
    columns = [*kinds, *(parse_name(name).values(table) for name in PALETTE)]
    return work_out(columns, len(table), _lut)


def _lut(photometric: Any, presentation: Any, *values: Any) -> npt.NDArray[Any] | None:
    if photometric != "PALETTE COLOR" and (
        presentation not in _WITH_PALETTE["PixelPresentation"] or values[0] is None
    ):
        return None
    return palette_of(dict(zip(PALETTE, values, strict=True))).colours


def write_lut(table: Table, rows: Rows, values: list[Any]) -> Written:
    """Return what sets ``lut`` of images whose numbers are those of colours."""
    kinds = parse_name("PhotometricInterpretation").values(table)
    for kind in [None] if kinds is None else kinds.take(rows).occurring():
        if kind != "PALETTE COLOR":
            raise InvalidValue(
                f"lut can be set for PALETTE COLOR images only, and these are {kind}: a palette "
                "would make colours of their numbers. record.colormap = 'viridis' keeps the "
                "numbers, and tells how to show them."
            )
    made: dict[int, tuple[npt.NDArray[Any], list[bytes]]] = {}
    for value in values:
        if id(value) not in made:
            entries = _entries(value)
            dtype = "<u1" if entries.dtype == np.uint8 else "<u2"
            raw = [np.ascontiguousarray(entries[:, i]).astype(dtype).tobytes() for i in range(3)]
            made[id(value)] = entries, [one + b"\0" * (len(one) % 2) for one in raw]
    before = parse_name(PALETTE[0]).values(table)
    firsts = (
        [0] * len(rows)
        if before is None
        else [
            value[1] if isinstance(value, list) and len(value) == 3 else 0
            for value in before.take(rows).as_objects().tolist()
        ]
    )
    edits: dict[Attribute, list[Any]] = {}
    for i, colour in enumerate(COLOURS):
        start = f"{colour}PaletteColorLookupTable"
        edits[parse_name(f"{start}Descriptor")] = [
            [len(made[id(value)][0]) % (1 << 16), first, 8 * made[id(value)][0].itemsize]
            for value, first in zip(values, firsts, strict=True)
        ]
        edits[parse_name(f"{start}Data")] = [made[id(value)][1][i] for value in values]
        segmented = parse_name(f"Segmented{start}Data")
        if segmented.values(table) is not None:
            edits[segmented] = [None] * len(rows)
    if parse_name("PaletteColorLookupTableUID").values(table) is not None:
        edits[parse_name("PaletteColorLookupTableUID")] = [None] * len(rows)
    name = parse_name(NAME)
    if name.values(table) is not None:  # of another map
        edits[name] = [None] * len(rows)
    return edits, [made[id(value)][0] for value in values]


def _entries(value: Any) -> npt.NDArray[Any]:
    """Return a palette that a user gave as whole numbers of 8 or 16 bits, shape (entries, 3)."""
    try:
        colours = np.asarray(value)
    except ValueError:
        colours = np.empty(0)
    if colours.ndim != 2 or colours.shape[1] not in (3, 4) or not 1 <= len(colours) <= 1 << 16:
        raise InvalidValue(
            f"lut is an array of shape {colours.shape}; it has a row for each colour, up to 65536, "
            "and three columns: red, green, blue."
        )
    if colours.dtype.kind not in "iuf":
        raise InvalidValue(f"lut is of the type {colours.dtype}; its entries are numbers.")
    colours = colours[:, :3]  # a palette has no transparency
    if colours.dtype.kind == "f":
        if not (np.isfinite(colours).all() and colours.min() >= 0 and colours.max() <= 1):
            raise InvalidValue("lut has fractions outside 0 to 1. Whole numbers go up to 65535.")
        return np.floor(colours * 65535 + 0.5).astype(np.uint16)
    if colours.min() < 0 or colours.max() > 65535:
        raise InvalidValue("lut has numbers outside 0 to 65535.")
    is_bytes = colours.dtype == np.uint8 or (colours.dtype != np.uint16 and colours.max() < 256)
    return colours.astype(np.uint8 if is_bytes else np.uint16)


# -- colormap ----------------------------------------------------------------------------------


def colormaps(table: Table) -> Values | None:
    """Return the name of the colour map of each frame."""
    values = parse_name(NAME).values(table)
    if values is None:
        return None
    names = [
        value.decode("utf-8", "replace").strip(" \0") if isinstance(value, bytes) else value
        for value in values.distinct
    ]
    return Values([name or None for name in names], values.codes)


def write_colormap(table: Table, rows: Rows, values: list[Any]) -> Written:
    """Return what sets ``colormap``: its name, and where the images have a palette, its colours."""
    names: list[str | None] = []
    colours: dict[str, npt.NDArray[np.uint8]] = {}
    for value in values:
        name = value if isinstance(value, str) or value is None else getattr(value, "name", None)
        if value is not None and name not in colours:
            found = colours_of(value)
            if not isinstance(name, str) or not name:
                raise InvalidValue(f"{value!r} is not a colour map.")
            ramp = np.repeat(np.arange(_ENTRIES, dtype=np.uint8)[:, None], 3, axis=1)
            colours[name] = ramp if found is None else found
        names.append(name)
    edits: dict[Attribute, list[Any]] = {}
    kinds = parse_name("PhotometricInterpretation").values(table)
    found_kinds = set() if kinds is None else set(kinds.take(rows).occurring())
    if found_kinds & {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"}:
        raise InvalidValue("colormap is for grey images; the pixels of these are colours.")
    if found_kinds == {"PALETTE COLOR"} and None not in names:
        sizes = _palette_sizes(table, rows)
        palettes = {
            key: colours[key[0]][(np.arange(key[1]) * _ENTRIES // key[1]).clip(max=_ENTRIES - 1)]
            for key in set(zip([str(name) for name in names], sizes, strict=True))
        }
        chosen = [palettes[str(name), size] for name, size in zip(names, sizes, strict=True)]
        edits, _ = write_lut(table, rows, chosen)
    edits[parse_name(NAME)] = names
    return edits, names


def _palette_sizes(table: Table, rows: Rows) -> list[int]:
    """Return how many entries the palettes of frames have."""
    values = parse_name(PALETTE[0]).values(table)
    if values is None:
        return [_ENTRIES] * len(rows)
    return [
        value[0] % (1 << 16) or 1 << 16 if isinstance(value, list) and value else _ENTRIES
        for value in values.take(rows).as_objects().tolist()
    ]
