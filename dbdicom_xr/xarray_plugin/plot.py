"""``da.dicom.plot``: one image as a viewer shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from dbdicom_xr.xarray_plugin.drawing import (
    add_colorbar,
    draw,
    require_pyplot,
    window_text,
    write,
)
from dbdicom_xr.xarray_plugin.pictures import Pictures, labels_of, middle, require_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dbdicom_xr.records.reading.header import Header

__all__ = ["plot"]

_SIZE = 11.0  # of letters, points


def plot(
    array: xr.DataArray,
    ax: Axes | None,
    *,
    window: Any,
    colormap: Any,
    colorbar: bool,
    title: str | None,
    letters: bool,
    header: Header | None,
) -> Axes:
    """Draw one image. See :meth:`DicomAccessor.plot`."""
    pyplot = require_pyplot()
    require_image(array)
    chosen = middle(array)
    counts = {dim: (at, array.sizes[dim]) for dim, at in chosen.items()}
    pictures = Pictures.of(array, chosen, window, colormap, header)
    axes = pyplot.subplots(layout="constrained")[1] if ax is None else ax
    drawn = draw(axes, pictures, 0, letters=letters, size=_SIZE)
    if title is None:
        title = "\n".join(filter(None, [pictures.name, labels_of(pictures.values, counts)]))
    axes.set_title(title, fontsize="medium")
    axes.set(xlabel=pictures.unit, ylabel=pictures.unit)
    if colorbar:
        add_colorbar(drawn, axes, pictures)
    elif pictures.looks:
        write(axes, window_text(pictures.looks[0]), 0.015, 0.015, 0.7 * _SIZE)
    return axes
