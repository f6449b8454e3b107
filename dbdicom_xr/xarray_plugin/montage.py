"""``da.dicom.montage``: many images side by side."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.reading.provenance import PIXEL_DIMS
from dbdicom_xr.xarray_plugin.drawing import add_colorbar, draw, require_pyplot
from dbdicom_xr.xarray_plugin.pictures import (
    Pictures,
    label_of,
    labels_of,
    middle,
    require_image,
)

if TYPE_CHECKING:
    from dbdicom_xr.records.reading.header import Header

__all__ = ["every", "montage"]

_SIZE: Final = 8.0  # of letters, points
_WIDTH: Final = 9.0  # of the figure, inches
_PANELS: Final = (1.0, 2.5)  # least and largest width of one image, inches
_TALLEST: Final = 16.0  # inches
_TITLES: Final = 0.25  # height of the line above an image, inches


def montage(
    array: xr.DataArray,
    dims: Sequence[Hashable],
    *,
    most: int,
    columns: int | None,
    window: Any,
    colormap: Any,
    colorbar: bool,
    title: str | None,
    letters: bool,
    header: Header | None,
) -> npt.NDArray[np.object_]:
    """Draw many images. See :meth:`DicomAccessor.montage`."""
    pyplot = require_pyplot()
    require_image(array)
    for name, value in (("most", most), ("columns", 1 if columns is None else columns)):
        if not isinstance(value, int) or value < 1:
            raise InvalidValue(f"{name} is {value!r}; it is a whole number from 1.")
    over = _over(array, dims)
    if len(over) == 2 and columns is not None:
        raise InvalidValue(
            f"columns is for images along one dimension; along two, {over[1]} has the columns."
        )
    limits = _limits([array.sizes[dim] for dim in over], most)
    chosen: dict[Hashable, Any] = {
        dim: every(array.sizes[dim], limit) for dim, limit in zip(over, limits, strict=True)
    }
    rest = middle(array.isel(chosen), over)
    counts = {dim: (at, array.sizes[dim]) for dim, at in rest.items()}
    chosen |= rest
    pictures = Pictures.of(array.transpose(*over, ...), chosen, window, colormap, header)

    shown = [pictures.values.sizes[dim] for dim in over]
    count = math.prod(shown)
    grid = _grid(count, columns) if len(over) == 1 else (shown[0], shown[1])
    figure, axes = pyplot.subplots(
        *grid, squeeze=False, figsize=_figure(grid, pictures), layout="compressed"
    )
    flat = axes.ravel()
    for panel in flat:
        panel.set_axis_off()
    is_same = len(set(pictures.letters)) == 1
    drawn = None
    for number in range(count):
        panel = flat[number]
        panel.set_axis_on()
        panel.set(xticks=[], yticks=[])
        first = number == 0 or not is_same
        drawn = draw(panel, pictures, number, letters=letters and first, size=_SIZE)
        at = tuple(map(int, np.unravel_index(number, shown)))
        texts = [
            _text(pictures.values, dim, place, chosen[dim])
            for dim, place in zip(over, at, strict=True)
        ]
        if len(over) == 1 or at[0] == 0:
            panel.set_title(texts[-1], fontsize=_SIZE, pad=2)
        if len(over) == 2 and at[1] == 0:
            panel.set_ylabel(texts[0], fontsize=_SIZE)
    if title is None:
        named = ", ".join(_what(array, dim, pictures.values.sizes[dim]) for dim in over)
        others = labels_of(pictures.values, counts)
        title = "\n".join(filter(None, [pictures.name, ", ".join(filter(None, [named, others]))]))
    figure.suptitle(title, fontsize="medium")
    if colorbar:
        add_colorbar(drawn, flat.tolist(), pictures)
    return axes  # type: ignore[no-any-return]


def _over(array: xr.DataArray, dims: Sequence[Hashable]) -> list[Hashable]:
    """Return the dimensions to lay out: those asked for, or the first with several images."""
    others = [dim for dim in array.dims if dim not in PIXEL_DIMS]
    if len(dims) > 2 or len(set(dims)) < len(dims):
        raise InvalidValue(
            f"Images are laid out along one dimension, or two different ones, and not along "
            f"{', '.join(map(str, dims))}."
        )
    unknown = [dim for dim in dims if dim not in others]
    if unknown:
        raise InvalidValue(
            f"The array has no images along {unknown[0]}; it has some along "
            f"{', '.join(map(str, others)) or 'no dimension: use plot()'}."
        )
    if dims:
        return list(dims)
    several = [dim for dim in others if array.sizes[dim] > 1]
    if not several and not others:
        raise InvalidValue("The array is a single image: use plot().")
    if "SliceLocation" in several:
        return ["SliceLocation"]
    return (several or others)[:1]


def every(size: int, most: int) -> slice:
    """Return every second, third... position, so that there are at most so many.

    A slice with a step, since dask passes it on to the reader: of a list of positions it would read
    all that lies between.

    Examples
    --------
    >>> every(10, 10), every(10, 4)
    (slice(0, 10, 1), slice(0, 10, 3))
    """
    step = -(-size // most)
    return slice((size - 1) % step // 2, size, step)


def _limits(sizes: list[int], most: int) -> list[int]:
    """Return how many images are shown along each dimension at most."""
    if len(sizes) == 1:
        return [most]
    fewer = min(*sizes, math.isqrt(most))
    other = most // fewer
    return [fewer, other] if sizes[0] <= sizes[1] else [other, fewer]


def _grid(count: int, columns: int | None) -> tuple[int, int]:
    """Return rows and columns, somewhat wider than high."""
    wide = columns or math.ceil(math.sqrt(1.5 * count))
    wide = min(wide, count)
    return -(-count // wide), wide


def _figure(grid: tuple[int, int], pictures: Pictures) -> tuple[float, float]:
    rows, columns = grid
    width = min(max(_WIDTH / columns, _PANELS[0]), _PANELS[1])
    image = pictures.images[0]
    height = width * image.shape[0] * pictures.ratio / image.shape[1]
    return max(columns * width, 3.0), min(rows * (height + _TITLES) + 2 * _TITLES, _TALLEST)


def _what(array: xr.DataArray, dim: Hashable, count: int) -> str:
    what = str(dim)
    if dim in array.coords:
        what = str(array.coords[dim].attrs.get("long_name", dim))
    size = array.sizes[dim]
    return f"{what} ({count} of {size})" if count < size else what


def _text(values: xr.DataArray, dim: Hashable, place: int, chosen: slice) -> str:
    """Return the label of an image along a dimension, else its number in the whole array."""
    if dim in values.coords:
        coord = values.coords[dim].isel({dim: place})
        if coord.size == 1:
            return label_of(coord, named=False)
    return str(range(chosen.stop)[chosen][place] + 1)
