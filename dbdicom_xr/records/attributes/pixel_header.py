"""What the header says of the pixels: layout, scaling, spacing of the frames of an array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.reader import Scaling
from dbdicom_xr.errors import GridError, InvalidValue, LayoutError, PixelError
from dbdicom_xr.index.table import Table
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.pixels.palette import Palette, make_palette
from dbdicom_xr.pixels.rescale import rescaled_dtype
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.padding import (
    MARK,
    PADDING,
    has_marks,
    is_marked,
    padding_limits,
)
from dbdicom_xr.records.attributes.pixel_units import pixel_units
from dbdicom_xr.records.attributes.tiles import image_sizes, refuse_mosaics

__all__ = [
    "COLOURS",
    "PALETTE",
    "PixelHeader",
    "layouts_of",
    "lut_of",
    "palette_of",
    "pixel_header",
]

Describe = Callable[[int], str]

_LAYOUT: Final = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation", "TransferSyntaxUID",
)  # fmt: skip
_KEYWORDS: Final = {0x10: "PixelData", 0x08: "FloatPixelData", 0x09: "DoubleFloatPixelData"}
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
COLOURS: Final = ("Red", "Green", "Blue")
PALETTE: Final = (
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in COLOURS),
    "PixelRepresentation", "TransferSyntaxUID",
)  # fmt: skip
LABEL_MAP: Final = "1.2.840.10008.5.1.4.1.1.66.7"
RT_DOSE: Final = "1.2.840.10008.5.1.4.1.1.481.2"
IMPLICIT: Final = "1.2.840.10008.1.2"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"


@dataclass
class PixelHeader:
    """The pixels of the frames of an array.

    Parameters
    ----------
    layouts, scalings : list
        One of each per kind of frame.
    kinds : ndarray of int, shape (frames,)
        The kind of each frame.
    dtype : numpy.dtype
        That holds the values of all frames.
    x, y : ndarray of float64
        Position of columns and rows, from the centre of the first pixel.
    in_mm : bool
        Whether those are in mm; else they count pixels.
    units : dict
        What the values are in, and how many frames are; "" for those that do not say.
    """

    layouts: list[PixelLayout]
    scalings: list[Scaling]
    kinds: npt.NDArray[np.int64]
    dtype: np.dtype[Any]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    in_mm: bool
    units: dict[str, int]

    def axis_attrs(self, what: str) -> dict[str, str]:
        """Return the attributes of the coordinate of columns or rows."""
        if self.in_mm:
            return {"long_name": f"position of the {what}", "units": "mm"}
        return {"long_name": f"number of the {what}", "units": "pixel"}


def pixel_header(
    table: Table,
    rows: npt.NDArray[Any],
    rescale: bool | str,
    padding: str | None,
    *,
    describe: Describe,
) -> PixelHeader:
    """Return what the header says of the pixels of frames.

    Parameters
    ----------
    table : Table
    rows : ndarray of int
        The frames.
    rescale, padding
        As in :meth:`Series.array`.
    describe : callable
        Names the file of a row, for messages.

    Raises
    ------
    GridError
        The frames are of several sizes, or grey and colour.
    PixelError, LayoutError
        The pixels cannot be read.
    """
    if padding not in (None, "nan"):
        raise InvalidValue(f"padding is {padding!r}; it can be None or 'nan'.")
    refuse_mosaics(table, rows, describe)
    layouts, layout_of = layouts_of(table, rows, describe)
    scalings, scaling_of = _scalings(table, rows, rescale, padding, describe)
    if (
        rescale is True
        and any(layout.has_palette for layout in layouts)
        and not _labels(table, rows)
    ):
        scalings, scaling_of = _palettes(table, rows, layouts, layout_of, describe)
    pairs, kinds = _distinct(np.stack([layout_of, scaling_of], axis=1))
    kind_layouts = [layouts[i] for i in pairs[:, 0].tolist()]
    kind_scalings = [scalings[i] for i in pairs[:, 1].tolist()]
    dtype = _dtype(kind_layouts, kind_scalings)
    spacing = _spacing(table, rows)
    first = kind_layouts[0]
    step_y, step_x = spacing or (1.0, 1.0)
    return PixelHeader(
        kind_layouts,
        kind_scalings,
        kinds,
        dtype,
        np.arange(first.columns) * step_x,
        np.arange(first.rows) * step_y,
        spacing is not None,
        {} if len(first.frame_shape) > 2 or kind_scalings[0].palette is not None
        else pixel_units(table, rows, rescale),
    )  # fmt: skip


def _distinct(rows: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the rows that occur, and which of them each row is."""
    if bool((rows == rows[:1]).all()):  # the usual case, without sorting
        return rows[:1], np.zeros(len(rows), np.int64)
    found, inverse = np.unique(rows, axis=0, return_inverse=True)
    return found, inverse.reshape(-1).astype(np.int64)


def _columns(
    table: Table, rows: npt.NDArray[Any], keywords: tuple[str, ...]
) -> tuple[list[tuple[Any, ...]], npt.NDArray[np.int64]]:
    """Return the combinations of values that occur, and the combination of each frame."""
    parts = []
    pools = []
    for keyword in keywords:
        values = parse_name(keyword).values(table)
        parts.append(np.full(len(rows), -1) if values is None else values.codes[rows])
        pools.append([None] if values is None else [*values.distinct, None])
    stacked = np.stack(parts, axis=1)
    combinations, codes = _distinct(stacked)
    return [
        tuple(pool[code] for pool, code in zip(pools, combination, strict=True))
        for combination in combinations.tolist()
    ], codes


def _labels(table: Table, rows: npt.NDArray[Any]) -> bool:
    """Return whether the values number segments; how to colour these is not what they mean."""
    classes, _ = _columns(table, rows, ("SOPClassUID",))
    return classes == [(LABEL_MAP,)]


def _palettes(
    table: Table,
    rows: npt.NDArray[Any],
    layouts: list[PixelLayout],
    layout_of: npt.NDArray[np.int64],
    describe: Describe,
) -> tuple[list[Scaling], npt.NDArray[np.int64]]:
    """Return the colours of the frames, all of which number those of a palette."""
    has = np.array([layout.has_palette for layout in layouts])[layout_of]
    if not has.all():
        raise GridError(
            f"{int(has.sum())} of {len(rows)} frames number the colours of a palette, the others "
            "do not. One array holds one kind: rescale=False reads the stored values, or choose "
            "with series.instances(PhotometricInterpretation='PALETTE COLOR') and read each with "
            "instance.array()."
        )
    combinations, codes = _columns(table, rows, PALETTE)
    scalings: list[Scaling] = []
    numbers: dict[str, int] = {}  # large tables stay in the files, and so come once per file
    kinds = []
    for number, values in enumerate(combinations):
        try:
            palette = palette_of(dict(zip(PALETTE, values, strict=True)))
        except PixelError as error:
            row = int(rows[np.flatnonzero(codes == number)[0]])
            raise PixelError(
                f"{describe(row)}: {error} rescale=False reads the numbers of the colours."
            ) from error
        kinds.append(numbers.setdefault(repr(palette), len(numbers)))
        if kinds[-1] == len(scalings):
            scalings.append(Scaling(palette=palette))
    return scalings, np.array(kinds, np.int64)[codes]


def palette_of(named: dict[str, Any]) -> Palette:
    """Return the palette of a header (PS3.3 C.7.6.3.1.5)."""
    descriptors = [named[f"{colour}PaletteColorLookupTableDescriptor"] for colour in COLOURS]
    for segmented, prefix in ((False, ""), (True, "Segmented")):
        tables = [named[f"{prefix}{colour}PaletteColorLookupTableData"] for colour in COLOURS]
        if None not in descriptors and all(isinstance(table, bytes) for table in tables):
            return make_palette(
                descriptors,
                tables,
                segmented=segmented,
                big_endian=named["TransferSyntaxUID"] == BIG_ENDIAN,
                signed=named["PixelRepresentation"] == 1,
            )
    raise PixelError("It is a PALETTE COLOR image, but its header does not hold the palette.")


def layouts_of(
    table: Table, rows: npt.NDArray[Any], describe: Describe
) -> tuple[list[PixelLayout], npt.NDArray[np.int64]]:
    """Return how the pixels of frames lie: the different layouts, and which one each frame has."""
    combinations, codes = _columns(table, rows, _LAYOUT)
    owners = table.instance_of[rows]
    elements = table.places["element"][owners]
    bytewise = table.places["bytes"][owners]
    images = image_sizes(table, rows)
    source = np.stack([codes, elements, bytewise, *images.T], axis=1)
    unique, kinds = _distinct(source)
    layouts = []
    for number, (code, element, is_bytes, *image) in enumerate(unique.tolist()):
        try:
            keyword = _KEYWORDS[element]
            layouts.append(_layout(combinations[code], keyword, bool(is_bytes), *image))
        except (LayoutError, PixelError) as error:
            row = int(rows[np.flatnonzero(kinds == number)[0]])
            raise type(error)(f"{describe(row)}: {error}") from error
    for number, layout in enumerate(layouts):
        if layout.shares_chroma:
            _check_chroma(layout, table, rows[kinds == number], describe)
    shapes: dict[tuple[int, ...], int] = {}
    for number, layout in enumerate(layouts):
        count = int((kinds == number).sum())
        shapes[layout.frame_shape] = shapes.get(layout.frame_shape, 0) + count
    if len(shapes) > 1:
        raise GridError(_several_shapes(shapes))
    return layouts, kinds


def _check_chroma(
    layout: PixelLayout, table: Table, rows: npt.NDArray[Any], describe: Describe
) -> None:
    """Raise where pixels that should share their colours have as many bytes as if they did not."""
    places = table.places[table.instance_of[rows]]
    wrong = np.flatnonzero(places["length"] * 2 >= 3 * layout.frame_bytes * places["frames"])
    if len(wrong):
        place = places[wrong[0]]
        raise LayoutError(
            f"{describe(int(rows[wrong[0]]))}: PhotometricInterpretation is "
            f"{layout.photometric_interpretation}, in which {place['frames']} frames of this size "
            f"take {layout.frame_bytes * int(place['frames'])} bytes, but the file has "
            f"{place['length']}. If its pixels do not share their colours, it should be "
            f"{layout.photometric_interpretation.removesuffix('_422')}."
        )


def _several_shapes(shapes: dict[tuple[int, ...], int]) -> str:
    parts = [
        f"{count} of {shape[0]} rows and {shape[1]} columns"
        + (" in colour" if len(shape) > 2 else "")
        for shape, count in sorted(shapes.items(), key=lambda item: -item[1])
    ]
    sizes = {shape[:2] for shape in shapes}
    rows, columns, *_ = max(shapes, key=lambda shape: shapes[shape])
    how = (
        f"series.instances(Rows={rows}, Columns={columns})"
        if len(sizes) > 1
        else "series.instances(SamplesPerPixel=1)"
    )
    return (
        f"The frames are of several {'sizes' if len(sizes) > 1 else 'kinds'}: {', '.join(parts)}. "
        f"One array holds one kind: choose with {how}, and read each with instance.array()."
    )


def _layout(
    values: tuple[Any, ...], keyword: str, is_bytes: bool, image_rows: int, image_columns: int
) -> PixelLayout:
    named = dict(zip(_LAYOUT, values, strict=True))
    for name, value in named.items():
        if isinstance(value, list):
            raise LayoutError(f"{name} is {value!r}; it can have one value only.")
    for name in ("Rows", "Columns"):
        if not isinstance(named[name], int):
            raise LayoutError(f"{name} is {named[name]!r}, so that the pixels cannot be read.")
    is_float = keyword != "PixelData"
    if not is_float and not isinstance(named["BitsAllocated"], int):
        raise LayoutError(f"BitsAllocated is {named['BitsAllocated']!r}; it has to be a number.")
    allocated = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(
        keyword, named["BitsAllocated"]
    )
    stored = allocated if is_float else named["BitsStored"] or allocated
    layout = PixelLayout(
        rows=named["Rows"],
        columns=named["Columns"],
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if named["HighBit"] is None or is_float else named["HighBit"],
        pixel_representation=named["PixelRepresentation"] or 0,
        samples_per_pixel=named["SamplesPerPixel"] or 1,
        planar_configuration=named["PlanarConfiguration"] or 0,
        photometric_interpretation=named["PhotometricInterpretation"] or "MONOCHROME2",
        transfer_syntax=named["TransferSyntaxUID"] or IMPLICIT,
        keyword=keyword,
        vr="OB" if is_bytes else "OW",
        image_rows=image_rows,
        image_columns=image_columns,
    )
    layout.check()
    return layout


def _scalings(
    table: Table,
    rows: npt.NDArray[Any],
    rescale: bool | str,
    padding: str | None,
    describe: Describe,
) -> tuple[list[Scaling], npt.NDArray[np.int64]]:
    names: tuple[str, ...] = (
        "RescaleSlope", "RescaleIntercept", "DoseGridScaling", "ModalityLUTSequence", "SOPClassUID",
        "PixelRepresentation", "TransferSyntaxUID",
    )  # fmt: skip
    marked = padding is None and bool(rescale) and has_marks(table)
    if marked:
        names += (MARK,)
    if padding is not None or marked:
        names += PADDING
    if isinstance(rescale, str):
        names += ("RealWorldValueMappingSequence",)
    combinations, codes = _columns(table, rows, names)
    scalings = []
    for number, values in enumerate(combinations):
        named = dict(zip(names, values, strict=True))
        try:
            is_nan = is_marked(named[MARK]) if marked else padding is not None
            scalings.append(_scaling(named, rescale, padding_limits(named) if is_nan else None))
        except PixelError as error:
            row = int(rows[np.flatnonzero(codes == number)[0]])
            raise PixelError(f"{describe(row)}: {error}") from error
    return scalings, codes


def _scaling(
    named: dict[str, Any], rescale: bool | str, limits: tuple[float, float] | None
) -> Scaling:
    if isinstance(rescale, str):
        slope, intercept = _real_world(named["RealWorldValueMappingSequence"], rescale)
        return Scaling(slope, intercept, None, limits)
    if not rescale:
        return Scaling(padding=limits)
    if named["ModalityLUTSequence"]:
        return Scaling(lut=lut_of(named["ModalityLUTSequence"][0], named), padding=limits)
    slope, intercept = named["RescaleSlope"], named["RescaleIntercept"]
    if named["SOPClassUID"] == RT_DOSE and slope is None:
        slope, intercept = named["DoseGridScaling"], 0.0  # PS3.3 C.8.8.3
    for name, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if value is not None and not isinstance(value, (int, float)):
            raise PixelError(
                f"{name} is {value!r}, not a number; rescale=False reads the stored values."
            )
        if isinstance(value, float) and not np.isfinite(value):
            raise PixelError(f"{name} is {value}; rescale=False reads the stored values.")
    return Scaling(
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
        None,
        limits,
    )


def lut_of(item: Any, named: dict[str, Any]) -> tuple[int, int, npt.NDArray[Any]]:
    """Return the Modality or VOI LUT of an item of its sequence (PS3.3 C.11.1.1, C.11.2.1.1)."""
    try:
        count, first, bits = (int(part) for part in item.LUTDescriptor)
        data = item.LUTData
        if isinstance(data, bytes):
            order = ">" if named["TransferSyntaxUID"] == BIG_ENDIAN else "<"
            table = np.frombuffer(data, f"{order}u2")
        else:
            table = np.atleast_1d(np.asarray(data))
    except Exception as error:  # whatever pydicom makes of a damaged sequence
        raise PixelError(
            f"The VOI or Modality LUT cannot be read ({error}); rescale=False reads the stored "
            "values."
        ) from error
    if named["PixelRepresentation"] == 1 and first >= 1 << 15:
        first -= 1 << 16
    count = count % (1 << 16) or 1 << 16  # 0 is 65536; as SS, it is negative from 32768
    if bits <= 8 and table.itemsize > 1 and len(table) == -(-count // 2):
        table = table.astype("<u2").view(np.uint8)  # two entries to a word
    return first, bits, table[:count]


def _real_world(sequence: Any, label: str) -> tuple[float, float]:
    """Return slope and intercept of the real world value map of a label (PS3.3 C.7.6.16.2.11)."""
    labels = [str(item.get("LUTLabel", "")) for item in sequence or ()]
    found = [item for item, name in zip(sequence or (), labels, strict=True) if name == label]
    if not found:
        there = f"there are {', '.join(map(repr, labels))}" if labels else "there is none"
        raise PixelError(f"There is no real world value map of the label {label!r}; {there}.")
    lines = {
        (item.get("RealWorldValueSlope"), item.get("RealWorldValueIntercept")) for item in found
    }
    if len(lines) > 1:
        raise PixelError(
            f"There are {len(lines)} real world value maps of the label {label!r}, each for a "
            "range of stored values, which cannot be read yet."
        )
    slope, intercept = lines.pop()
    if slope is None or intercept is None:
        raise PixelError(
            f"The real world value map {label!r} is a table, which cannot be read yet."
        )
    return float(slope), float(intercept)


def _dtype(layouts: list[PixelLayout], scalings: list[Scaling]) -> np.dtype[Any]:
    """Return the type that holds the values of all kinds of frames."""
    types: list[np.dtype[Any]] = []
    by_layout: dict[PixelLayout, list[Scaling]] = {}
    for layout, scaling in zip(layouts, scalings, strict=True):
        by_layout.setdefault(layout, []).append(scaling)
    for layout, group in by_layout.items():
        palettes = [scaling.palette for scaling in group if scaling.palette is not None]
        types += [palette.dtype for palette in palettes]
        if palettes:
            continue
        linear = [scaling for scaling in group if scaling.lut is None]
        if linear:
            types.append(
                rescaled_dtype(
                    [scaling.slope for scaling in linear],
                    [scaling.intercept for scaling in linear],
                    layout.dtype,
                    layout.value_bits,
                    layout.dtype.kind == "i",
                )
            )
        types += [
            np.dtype(np.uint8 if scaling.lut[1] <= 8 else np.uint16)
            for scaling in group
            if scaling.lut is not None
        ]
    dtype = np.result_type(*types)
    if dtype.kind in "iu" and any(scaling.padding is not None for scaling in scalings):
        return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    return dtype


def _spacing(table: Table, rows: npt.NDArray[Any]) -> tuple[float, float] | None:
    """Return the distance of rows and of columns in mm, where it is the same in all frames."""
    for keyword in _SPACINGS:
        values = parse_name(keyword).values(table)
        if values is None:
            continue
        found = {
            tuple(value) if isinstance(value, list) else None
            for code in np.unique(values.codes[rows]).tolist()
            for value in [values.distinct[code] if code >= 0 else None]
        }
        pairs = [pair for pair in found if pair and len(pair) == 2 and None not in pair]
        if len(pairs) != len(found) or not pairs:
            continue
        spread = np.ptp(np.array(pairs, float), axis=0)
        if float(spread.max()) > 1e-4 or min(min(pair) for pair in pairs) <= 0:
            return None
        return float(min(p[0] for p in pairs)), float(min(p[1] for p in pairs))
    return None
