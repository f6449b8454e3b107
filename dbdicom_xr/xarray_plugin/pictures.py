"""Images of an array, ready to be drawn: values, place, window, colours, and what is said of them.

``drawing`` puts them on paper, ``plot`` and ``montage`` arrange them.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.errors import DbdicomError, DicomWarning, InvalidValue
from dbdicom_xr.formats.png import Range
from dbdicom_xr.records.attributes.display_attributes import colours_of
from dbdicom_xr.records.attributes.pixel_units import pixel_units
from dbdicom_xr.records.attributes.slices import orientations
from dbdicom_xr.records.instance import Instance
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.records.reading.header import Header
from dbdicom_xr.xarray_plugin.window import (
    CHANNEL,
    PRESETS,
    Look,
    Looks,
    ask,
    is_windowed,
    of_header,
    preset,
    require_grey,
    span_of,
    windowed,
)

__all__ = ["Pictures", "label_of", "labels_of", "letters_of", "middle", "require_image"]

_PIXELS: Final = ("y", "x", CHANNEL)
_UNSAID: Final = ("SOPInstanceUID", "frame", "SeriesInstanceUID", "StudyInstanceUID", "x", "y")
_LETTERS: Final = ("LR", "PA", "HF")  # towards which LPS coordinates grow, and away from it
_LEAST: Final = 0.1  # of a unit vector, so that up to 6 degrees off need no second letter
_STRAIGHT: Final = 1e-3  # of a step
_CLOSE: Final = 1e-5  # relative, for the same values as float32 and float64


@dataclass(frozen=True)
class Pictures:
    """Images of an array, computed.

    Parameters
    ----------
    values : xarray.DataArray
        Dimensions of the images, then ``y``, ``x``, and ``channel`` where they are coloured.
    looks : list of Window, Lut or Range
        How each is shown, in C order; empty for colours.
    inverted : list of bool
        Whether the smallest value of each is white.
    colours : ndarray of uint8, shape (256, 3), or None
        The colour map; None: grey.
    extent : tuple of float
        Left, right, bottom and top edge of the images, in ``unit``.
    unit : str
        ``"mm"``, or ``"pixel"`` where no distance is known.
    ratio : float
        Height of a pixel by its width, in ``unit``.
    letters : list of (str, str) or None
        For each image, where in the patient its rows and its columns lead.
    name : str
        Of the series, or that which the array was given.
    measure : str
        The unit of the values, "" where it is not known.
    missing : list of bool
        Whether each is a gap of the grid, and no image.
    """

    values: xr.DataArray
    looks: list[Look]
    inverted: list[bool]
    colours: npt.NDArray[np.uint8] | None
    extent: tuple[float, float, float, float]
    unit: str
    ratio: float
    letters: list[tuple[str, str] | None]
    name: str
    measure: str
    missing: list[bool]

    @classmethod
    def of(
        cls,
        array: xr.DataArray,
        chosen: Mapping[Hashable, Any],
        window: Any,
        colormap: Any,
        header: Header | None,
    ) -> Pictures:
        """Read images of an array.

        Parameters
        ----------
        array : xarray.DataArray
        chosen : mapping
            Which positions along each of its dimensions; only these images are read.
        window, colormap, header
            As the user gave them.
        """
        asked = ask(window, array)
        given = None if colormap is None else colours_of(colormap)
        part = array.isel(chosen)
        if header is not None and isinstance(header, Header) and header.dims is not None:
            header = header.isel({dim: at for dim, at in chosen.items() if dim in header.dims})
        part = part.transpose(..., *_PIXELS, missing_dims="ignore")
        upright = _upright(part)
        # Of one image the header is no array of frames, but a frame.
        known = header if isinstance(header, (Header, Instance, Common)) else None
        looks = Looks.of(upright, known)
        extent, unit, ratio = _place(upright, looks)
        values = upright.compute()
        is_colour = CHANNEL in values.dims
        found: list[Look] = []
        colours = None
        measure = str(values.attrs.get("units", ""))
        if is_colour:
            values = windowed(values, None, "uint8")
        else:
            as_read = _holds_images(values, looks)
            found = _looks(values, asked, looks, as_read)
            names = [] if colormap is not None else looks.values("colormap")
            if colormap is not None:
                colours = given
            elif len(names) == 1 and names[0] is not None:
                colours = colours_of(names[0])
            measure = measure or (_measure(looks) if as_read else "")
        inverted = [False] * len(looks.inverted) if is_windowed(array) else looks.inverted
        return cls(
            values,
            found,
            inverted,
            colours,
            extent,
            unit,
            ratio,
            _directions(looks),
            _name(array, looks),
            measure,
            (~images_of(part)).to_numpy().ravel().tolist(),
        )

    @property
    def images(self) -> list[npt.NDArray[Any]]:
        """The images in C order, each as (rows, columns) or (rows, columns, 3)."""
        pixels = 3 if CHANNEL in self.values.dims else 2
        data = self.values.to_numpy()
        return list(data.reshape(-1, *data.shape[data.ndim - pixels :]))


def images_of(array: xr.DataArray) -> xr.DataArray:
    """Return along the dimensions of the images where there are some, and no gaps of the grid."""
    dims = [dim for dim in array.dims if dim not in _PIXELS]
    there = xr.DataArray(np.ones([array.sizes[dim] for dim in dims], np.bool_), dims=dims)
    named = array.coords.get("SOPInstanceUID")
    if named is None or not set(named.dims) <= set(dims):
        return there
    texts = named.variable.compute()
    known = xr.DataArray(texts.notnull() & (texts != ""))
    return (there & known).transpose(*dims)


def middle(array: xr.DataArray, over: Sequence[Hashable] = ()) -> dict[Hashable, int]:
    """Return the middle position along each dimension of images, but that of an image.

    Of a grid with gaps: where there are most images along the dimensions `over`, which are not
    chosen from; of these the nearest to the middle.

    Examples
    --------
    >>> array = xr.DataArray(
    ...     np.zeros((2, 3, 4, 4)),
    ...     dims=("b_value", "n", "y", "x"),
    ...     coords={"SOPInstanceUID": (("b_value", "n"), [["1", "", ""], ["2", "3", "4"]])},
    ... )
    >>> middle(array), middle(array, ["n"])
    ({'b_value': 0, 'n': 0}, {'b_value': 1})
    """
    there = images_of(array)
    counts = there.sum([dim for dim in there.dims if dim in over])
    best = np.argwhere((counts == counts.max()).to_numpy())
    central = (np.array(counts.shape) - 1) // 2
    nearest = best[np.abs(best - central).sum(axis=1).argmin()]
    return dict(zip(counts.dims, nearest.tolist(), strict=True))


def require_image(array: xr.DataArray) -> None:
    """Raise where an array has no images to draw.

    Raises
    ------
    InvalidValue
        It has no rows or columns, no elements, or values that are no numbers.
    """
    missing = [dim for dim in ("x", "y") if dim not in array.dims]
    if missing:
        raise InvalidValue(
            f"The array has no dimension {' and '.join(missing)}, so it is no image. Its "
            f"dimensions are {', '.join(map(str, array.dims)) or 'none'}."
        )
    if not array.size:
        raise InvalidValue(f"The array is empty: its sizes are {dict(array.sizes)}.")
    require_grey(array)


# -- how they look -------------------------------------------------------------------------------


def _looks(
    values: xr.DataArray, asked: Look | str | None, looks: Looks, as_read: bool
) -> list[Look]:
    cells = len(looks.of_cell)
    if is_windowed(values) and asked is None:
        top = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
        return [Range(0.0, top)] * cells
    if asked == "header":
        return list(of_header(looks))
    if isinstance(asked, str) and asked in PRESETS:
        return [preset(asked, looks)] * cells
    if asked is not None and not isinstance(asked, str):
        return [asked] * cells
    known = looks.of_cell if asked is None and as_read else [None] * cells
    if all(look is not None for look in known):
        return [look for look in known if look is not None]
    low, high = span_of(values, asked or "range")
    span = Range(float(low), float(high))
    return [look or span for look in known]


def _holds_images(values: xr.DataArray, looks: Looks) -> bool:
    """Return whether the values are still those of the images, which the header's windows are for.

    A map that was made of them looks the same from outside, so one image is read again.
    """
    sources = looks.sources
    if sources is None or not sources.is_single or not len(sources.rows):
        return False
    cell = int(np.flatnonzero(sources.counts)[0])
    frame: Any = sources.records()[cell]
    dims = [dim for dim in values.dims if dim not in _PIXELS]
    at = np.unravel_index(cell, [values.sizes[dim] for dim in dims]) if dims else ()
    mine = values.isel(dict(zip(dims, map(int, at), strict=True)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DicomWarning)
            read = frame.array()
        theirs = read.sel({dim: mine[dim] for dim in ("x", "y")}).transpose(*mine.dims).to_numpy()
    except (DbdicomError, KeyError, ValueError):
        return False
    own = mine.to_numpy()
    known = np.isfinite(own)
    return bool(np.allclose(own[known], theirs[known], rtol=_CLOSE, atol=0))


def _measure(looks: Looks) -> str:
    """Return the unit of the images as their headers say it."""
    sources = looks.sources
    found = {
        unit
        for table, _, rows in ([] if sources is None else sources.by_table())
        for unit in pixel_units(table, rows, True)
    }
    return found.pop() if len(found) == 1 else ""


# -- where they lie ------------------------------------------------------------------------------


def _upright(array: xr.DataArray) -> xr.DataArray:
    """Return images with their columns and rows as stored, where an array has them reversed."""
    for dim in ("x", "y"):
        if dim in array.coords and array.sizes[dim] > 1:
            places = array.coords[dim].to_numpy()
            if places[0] > places[-1]:
                array = array.isel({dim: slice(None, None, -1)})
    return array


def _place(
    array: xr.DataArray, looks: Looks
) -> tuple[tuple[float, float, float, float], str, float]:
    (left, right, width, in_mm), (top, bottom, height, too) = (
        _along(array, dim) for dim in ("x", "y")
    )
    if in_mm and too:
        return (left, right, bottom, top), "mm", height / width
    found = looks.values("PixelAspectRatio")
    if len(found) == 1 and isinstance(found[0], list) and len(found[0]) == 2:
        tall, wide = found[0]
        if tall > 0 and wide > 0:
            return (left, right, bottom, top), "pixel", height * tall / (width * wide)
    return (left, right, bottom, top), "pixel", height / width


def _along(array: xr.DataArray, dim: str) -> tuple[float, float, float, bool]:
    """Return the two edges of images along a dimension, the step, and whether that is in mm."""
    size = array.sizes[dim]
    if dim not in array.coords:
        return -0.5, size - 0.5, 1.0, False
    coord = array.coords[dim]
    places = coord.to_numpy().astype(np.float64)
    step = float(places[-1] - places[0]) / (size - 1) if size > 1 else 1.0
    if not float(np.abs(places - places[0] - np.arange(size) * step).max()) <= _STRAIGHT * step:
        raise InvalidValue(
            f"The coordinate {dim} is not evenly spaced, so that its images cannot be drawn: "
            "select the pixels with a slice."
        )
    edges = float(places[0]) - step / 2, float(places[-1]) + step / 2
    return *edges, step, coord.attrs.get("units") == "mm"


def _directions(looks: Looks) -> list[tuple[str, str] | None]:
    """Return for each image where its rows and its columns lead."""
    found: list[list[tuple[str, str] | None]] = [[] for _ in looks.of_cell]
    if looks.sources is None or "QUADRUPED" in looks.values("AnatomicalOrientationType"):
        return [None] * len(found)
    said = looks.values("PatientOrientation")
    words = said[0] if len(said) == 1 else None
    named = None
    if isinstance(words, list) and len(words) == 2 and all(words):
        named = (str(words[0]), str(words[1]))
    for table, cells, rows in looks.sources.by_table():
        vectors = orientations(table, rows)
        for i, cell in enumerate(cells.tolist()):
            vector = np.full(6, np.nan) if vectors is None else vectors[i]
            pair = (
                (letters_of(vector[:3]), letters_of(vector[3:]))
                if np.isfinite(vector).all()
                else named
            )
            if pair not in found[cell]:
                found[cell].append(pair)
    return [one[0] if len(one) == 1 else None for one in found]


def letters_of(direction: npt.ArrayLike) -> str:
    """Return the letters of a direction in the patient, the main one first (PS3.3 C.7.6.1.1.1).

    Parameters
    ----------
    direction : array_like of float, shape (3,)
        Unit vector in patient coordinates (LPS).

    Examples
    --------
    >>> letters_of([1, 0, 0]), letters_of([0, 0.5, -0.866])
    ('L', 'FP')
    """
    parts = np.asarray(direction, np.float64)
    order = np.argsort(-np.abs(parts), kind="stable")
    return "".join(
        _LETTERS[axis][0 if parts[axis] > 0 else 1]
        for axis in order.tolist()
        if abs(parts[axis]) >= _LEAST
    )


# -- what is said of them ------------------------------------------------------------------------


def _name(array: xr.DataArray, looks: Looks) -> str:
    if array.name not in (None, "pixels"):
        return str(array.name)
    found = [value for value in looks.values("SeriesDescription") if value]
    return str(found[0]) if len(found) == 1 else ""


def label_of(coord: xr.DataArray, named: bool = True) -> str:
    """Return the label of one position in words.

    Parameters
    ----------
    coord : xarray.DataArray
        Of one element.
    named : bool
        Whether to say what it is.

    Examples
    --------
    >>> label_of(xr.DataArray(7.5, name="EchoTime", attrs={"units": "ms"}))
    'EchoTime 7.5 ms'
    """
    value = coord.to_numpy().reshape(-1)[0]
    if coord.dtype.kind == "m":
        seconds = value / np.timedelta64(1, "s")
        text = f"{int(seconds // 3600):02d}:{int(seconds // 60 % 60):02d}:{seconds % 60:04.1f}"
    elif coord.dtype.kind == "M":
        text = str(np.datetime_as_string(value, unit="auto")).replace("T", " ")
    elif coord.dtype.kind in "iuf":
        number = f"{value:.5g}" if coord.dtype.kind == "f" else str(value)
        text = f"{number} {coord.attrs.get('units', '')}".strip()
    else:
        text = str(value)
    what = coord.attrs.get("long_name", coord.name)
    return f"{what} {text}" if named and what is not None else text


def labels_of(array: xr.DataArray, counts: Mapping[Hashable, tuple[int, int]]) -> str:
    """Return what tells an image from others: its labels, and its number among how many."""
    texts = []
    for dim, (at, size) in counts.items():
        if dim not in array.coords and size > 1:
            texts.append(f"{dim} {at + 1} of {size}")
    for name, coord in array.coords.items():
        if coord.ndim or name in _UNSAID or coord.dtype.kind not in "iufmMUSO":
            continue
        text = label_of(coord)
        at, size = counts.get(name, (0, 1))
        texts.append(f"{text} ({at + 1} of {size})" if size > 1 else text)
    return ", ".join(texts)
