"""Mosaics: the slices of a volume as tiles of one image, in columns with a row per tile.

Siemens and United Imaging store a volume so. Here tiles become frames: how many there are, how
large they are, and where each lies in the patient, under the keywords of classic images. All else
that the header says holds for the volume, and so for each of its tiles.

A mosaic whose header does not tell, or tells two things, is left as it is: positions are never
guessed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.columns import Column, Key, tidy
from dbdicom_xr.index.elements import External, Header, tag_bytes
from dbdicom_xr.index.functional import frame_columns
from dbdicom_xr.index.values import Kind, decode, without_warnings

__all__ = ["NoTiles", "is_mosaic", "is_tiled", "pack_tiles", "tiles_of_mosaic"]

Elements = dict[bytes, bytes | External]  # by tag
Read = Callable[[External], bytes]
Vector = npt.NDArray[np.float64]

_WORDS: Final = ((b"MOSAIC", "siemens"), (b"VFRAME", "uih"))
_ROWS: Final = 0x00280010
_COLUMNS: Final = 0x00280011
_POSITION: Final = 0x00200032
_ORIENTATION: Final = 0x00200037
_LOCATION: Final = 0x00201041
_PIXEL_SPACING: Final = 0x00280030
_SLICE_SPACING: Final = 0x00180088
_CSA: Final = (0x0029, "SIEMENS CSA HEADER", 0x10)
_SIEMENS_COUNT: Final = (0x0019, "SIEMENS MR HEADER", 0x0A)
_UIH_COUNT: Final = (0x0065, "Image Private Header", 0x50)
_UIH_SLICES: Final = (0x0065, "Image Private Header", 0x51)

# The normal in the CSA header has 8 digits, the direction cosines up to 13; programs that rewrite
# headers leave 6. An order of slices against the normal differs by 2.
_NORMAL: Final = 1e-3
_LOCATION_MM: Final = 0.05


class NoTiles(Exception):
    """The tiles of a mosaic cannot be told apart; the text says why."""


@lru_cache(maxsize=1024)  # every image is asked, and few words occur: 0.1 us in place of 0.7
def is_mosaic(image_type: bytes | External | None) -> bool:
    r"""Return whether the raw ImageType says that an image is a mosaic.

    Examples
    --------
    >>> is_mosaic(rb"ORIGINAL\PRIMARY\M\ND\MOSAIC")
    True
    >>> is_mosaic(rb"ORIGINAL\PRIMARY\M\ND ")
    False
    """
    return bool(_vendor(image_type))


def _vendor(image_type: bytes | External | None) -> str:
    if not isinstance(image_type, bytes):
        return ""
    for word, vendor in _WORDS:
        if word in [part.strip(b" \0") for part in image_type.split(b"\\")]:
            return vendor
    return ""


def tiles_of_mosaic(header: Header, encoding: Kind, read: Read) -> tuple[int, dict[Key, Column]]:
    """Return how many tiles a mosaic has, and the attributes in which tiles differ from it.

    Parameters
    ----------
    header : Header
        Of a file for which :func:`is_mosaic` is true.
    encoding : Kind
        Of its data set.
    read : callable
        Gives the bytes of a value that was left in the file.

    Returns
    -------
    tiles : int
    columns : dict
        Rows, Columns, ImagePositionPatient (of the tile's own first pixel) and SliceLocation, with
        a row per tile; from United Imaging all that the header says of each slice.

    Raises
    ------
    NoTiles
        The header does not say how the image is composed, or contradicts itself.
    """
    elements: Elements = {name[:4]: value for name, value in header.elements.items()}
    rows, columns = (_size(elements, tag, encoding.big_endian) for tag in (_ROWS, _COLUMNS))
    if _vendor(elements.get(tag_bytes(0x00080008))) == "uih":
        return _uih(elements, rows, columns, encoding, read)
    return _siemens(elements, rows, columns, encoding, read)


def is_tiled(columns: dict[Key, Column]) -> bool:
    """Return whether these attributes of frames are those of tiles: only tiles have a size."""
    return Key(_ROWS) in columns


def pack_tiles(items: tuple[tuple[int, int], ...], tiles: int) -> bytes:
    """Return the places of the fragments of a mosaic, all of which belong to each tile.

    Parameters
    ----------
    items : tuple of (int, int)
        Offset and length of each item of the pixel data, the basic offset table first.
    tiles : int

    Returns
    -------
    bytes
        As of :func:`~dbdicom_xr.index.fragments.pack_fragments`.
    """
    count = len(items) - 1
    pairs = [(-tiles, count), *items[1:], *[(0, count)] * tiles]
    return np.array(pairs, "<i8").tobytes()


def _siemens(
    elements: Elements, rows: int, columns: int, encoding: Kind, read: Read
) -> tuple[int, dict[Key, Column]]:
    csa = _bytes(_private(elements, *_CSA), read)
    if csa is None:
        raise NoTiles(
            "the CSA header of Siemens, (0029,xx10), which tells their number and order, is missing"
        )
    tiles, normal = _csa_tiles(csa)
    declared = _private(elements, *_SIEMENS_COUNT)
    if isinstance(declared, bytes) and len(declared) == 2:
        number = int.from_bytes(declared, "big" if encoding.big_endian else "little")
        if number != tiles:
            raise NoTiles(f"there are {tiles} by the CSA header, but {number} by (0019,xx0a)")
    # The image is as many tiles wide as high, the last ones empty.
    across = math.isqrt(tiles - 1) + 1
    height, width = _tile_size(tiles, across, across, rows, columns)
    raws = [
        elements.get(tag_bytes(tag))
        for tag in (_POSITION, _ORIENTATION, _PIXEL_SPACING, _SLICE_SPACING, _LOCATION)
    ]
    raws = [raw if isinstance(raw, bytes) else None for raw in raws]
    return tiles, _siemens_columns(tiles, (rows, columns), (height, width), normal, *raws)


def _csa_tiles(csa: bytes) -> tuple[int, tuple[float, ...]]:
    """Return the number of tiles, and the direction in which their slices follow each other."""
    try:
        tags = _csa_reader()(csa)["tags"]
        tiles, normal, times = (
            tags[name]["items"] if name in tags else []
            for name in ("NumberOfImagesInMosaic", "SliceNormalVector", "MosaicRefAcqTimes")
        )
    except Exception as error:  # of whatever kind: nibabel leaves it to the bytes
        raise NoTiles(f"its CSA header is damaged ({type(error).__name__}: {error})") from error
    if len(tiles) != 1 or not isinstance(tiles[0], int) or tiles[0] < 1:
        raise NoTiles("its CSA header does not tell their number (NumberOfImagesInMosaic)")
    if len(normal) != 3 or not all(
        isinstance(part, float) and math.isfinite(part) for part in normal
    ):
        raise NoTiles("its CSA header does not tell their order (SliceNormalVector)")
    number: int = tiles[0]
    if times and len(times) != number:
        raise NoTiles(f"its CSA header tells of {number} tiles, but of {len(times)} slice times")
    return number, tuple(normal)


@lru_cache(maxsize=1)
def _csa_reader() -> Callable[[bytes], Any]:
    with without_warnings():  # nibabel.nicom calls itself experimental
        from nibabel.nicom import csareader
    return csareader.read


@lru_cache(maxsize=64)  # the volumes of a time series lie in one place
def _siemens_columns(
    tiles: int,
    image: tuple[int, int],
    tile: tuple[int, int],
    normal: tuple[float, ...],
    position: bytes | None,
    orientation: bytes | None,
    pixel_spacing: bytes | None,
    slice_spacing: bytes | None,
    location: bytes | None,
) -> dict[Key, Column]:
    corner = _numbers(_POSITION, position, 3, "ImagePositionPatient")
    cosines = _numbers(_ORIENTATION, orientation, 6, "ImageOrientationPatient")
    down, right = _numbers(_PIXEL_SPACING, pixel_spacing, 2, "PixelSpacing")
    across, along = cosines[:3], cosines[3:]  # towards the next column, towards the next row
    normal_of_plane = np.cross(across, along)
    length = float(np.linalg.norm(normal_of_plane))
    lengths = [float(np.linalg.norm(part)) for part in (across, along)]
    if abs(length - 1) > _NORMAL or max(abs(part - 1) for part in lengths) > _NORMAL:
        raise NoTiles(f"its ImageOrientationPatient is {cosines.tolist()}, which is no orientation")
    normal_of_plane /= length
    sign = math.copysign(1.0, float(normal_of_plane @ np.array(normal)))
    if np.abs(sign * normal_of_plane - normal).max() > _NORMAL:
        raise NoTiles(
            f"the SliceNormalVector of its CSA header is {normal}, which is not the normal of the "
            "plane by ImageOrientationPatient"
        )
    gap = 0.0
    if tiles > 1:
        gap = float(_numbers(_SLICE_SPACING, slice_spacing, 1, "SpacingBetweenSlices")[0])
    if min(down, right) <= 0 or (tiles > 1 and gap <= 0):
        raise NoTiles(f"its PixelSpacing or SpacingBetweenSlices ({gap}) is not above 0")
    # The position in the file is that of an image as large as the mosaic around the centre of the
    # first slice. Found in scanner files; nibabel's manual explains it (dicom_mosaic).
    first = (
        corner + (image[0] - tile[0]) / 2 * down * along + (image[1] - tile[1]) / 2 * right * across
    )
    steps: Vector = np.arange(tiles, dtype=np.float64)[:, None] * (gap * sign)
    return {
        **_tile_sizes(tile, tiles),
        Key(_POSITION): _decimals(_POSITION, first + steps * normal_of_plane),
        Key(_LOCATION): _decimals(_LOCATION, _locations(location, first, steps, normal_of_plane)),
    }


def _locations(raw: bytes | None, first: Vector, steps: Vector, normal: Vector) -> Vector:
    """Return SliceLocation of the tiles: the file tells that of the first.

    Siemens counts it along the axis of the patient that is nearest to the normal, so that it may
    run against the normal of the plane.
    """
    along = float(first @ normal)
    written = None if raw is None else decode(_LOCATION, "", Kind("DS"), raw, quiet=True)
    if not isinstance(written, float):
        return along + steps
    usual = math.copysign(1.0, float(normal[np.argmax(np.abs(normal))]))
    misses = {sign: abs(sign * along - written) > _LOCATION_MM for sign in (usual, -usual)}
    sign = -usual if misses[usual] and not misses[-usual] else usual
    return written + sign * steps


def _uih(
    elements: Elements, rows: int, columns: int, encoding: Kind, read: Read
) -> tuple[int, dict[Key, Column]]:
    raw, sequence = _private(elements, *_UIH_COUNT), _private(elements, *_UIH_SLICES)
    number = _numbers(0, raw if isinstance(raw, bytes) else None, 1, "(0065,xx50)")[0]
    slices = _bytes(sequence, read)
    if not number.is_integer() or number < 1 or slices is None:
        raise NoTiles(
            "the header does not tell their number and places, (0065,xx50) and (0065,xx51)"
        )
    tiles = int(number)
    across = math.isqrt(tiles - 1) + 1
    tile = _tile_size(tiles, -(-tiles // across), across, rows, columns)
    try:
        found, items = frame_columns(None, slices, tiles, encoding)
    except Exception as error:
        raise NoTiles(f"what the header says of each, (0065,xx51), is damaged: {error}") from error
    if items != tiles:
        raise NoTiles(f"there are {tiles} by (0065,xx50), but {items} by (0065,xx51)")
    position = found.get(Key(_POSITION))
    if position is None or not all(
        isinstance(value, list) and len(value) == 3 for value in _each(position, tiles)
    ):
        raise NoTiles("the header does not tell ImagePositionPatient of each")
    return tiles, {**_tile_sizes(tile, tiles), **found}


def _each(column: Column, tiles: int) -> list[Any]:
    return [column.value(tile) for tile in range(tiles)]


def _tile_size(tiles: int, down: int, across: int, rows: int, columns: int) -> tuple[int, int]:
    if rows < down or columns < across or rows % down or columns % across:
        raise NoTiles(
            f"{tiles} tiles, {across} in a row, do not fit an image of {rows} rows and {columns} "
            "columns"
        )
    return rows // down, columns // across


def _tile_sizes(tile: tuple[int, int], tiles: int) -> dict[Key, Column]:
    return {
        Key(tag): Column(Key(tag), [Kind("US")], [struct.pack("<H", size)], [0], None, tiles)
        for tag, size in zip((_ROWS, _COLUMNS), tile, strict=True)
    }


def _decimals(tag: int, values: Vector) -> Column:
    from pydicom.valuerep import format_number_as_ds

    raws = [
        "\\".join(format_number_as_ds(float(part) + 0.0) for part in row).encode("ascii")
        for row in values
    ]
    codes = np.arange(len(raws), dtype=np.int32)
    return tidy(Key(tag), [Kind("DS")], raws, [0] * len(raws), codes)


def _numbers(tag: int, raw: bytes | None, count: int, name: str) -> Vector:
    value = None if raw is None else decode(tag, "", Kind("DS"), raw, quiet=True)
    parts = value if isinstance(value, list) else [value]
    if len(parts) != count or not all(
        isinstance(part, float) and math.isfinite(part) for part in parts
    ):
        raise NoTiles(f"its {name} is {value!r}")
    return np.array(parts, np.float64)


def _size(elements: Elements, tag: int, big_endian: bool) -> int:
    raw = elements.get(tag_bytes(tag))
    if not isinstance(raw, bytes) or len(raw) != 2:
        raise NoTiles("its Rows or Columns are missing")
    return int.from_bytes(raw, "big" if big_endian else "little")


def _private(elements: Elements, group: int, creator: str, element: int) -> bytes | External | None:
    """Return a private value, in whichever block the creator has it (PS3.5 7.8.1)."""
    for block in range(0x10, 0x100):
        owner = elements.get(tag_bytes(group << 16 | block))
        if isinstance(owner, bytes) and owner.strip(b" \0") == creator.encode("ascii"):
            return elements.get(tag_bytes(group << 16 | block << 8 | element))
    return None


def _bytes(value: bytes | External | None, read: Read) -> bytes | None:
    if isinstance(value, External):
        return read(value)
    return value or None
