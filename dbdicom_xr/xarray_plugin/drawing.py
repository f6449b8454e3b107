"""Images on paper, by matplotlib, which may not be installed."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.formats.png import LINEAR, LINEAR_EXACT, Range, Window
from dbdicom_xr.xarray_plugin.pictures import Pictures
from dbdicom_xr.xarray_plugin.window import Look

__all__ = ["add_colorbar", "draw", "require_pyplot", "window_text", "write"]

_OPPOSITE: Final = dict(zip("LRPAHF", "RLAPFH", strict=True))


def require_pyplot() -> Any:
    """Return matplotlib.pyplot.

    Raises
    ------
    InvalidValue
        matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise InvalidValue(
            "Images are drawn with matplotlib, which is not installed: "
            'pip install "dbdicom_xr[plot]". export_as_png needs none.'
        ) from error
    return pyplot


def draw(axes: Any, pictures: Pictures, number: int, *, letters: bool, size: float) -> Any:
    """Draw one image into axes of matplotlib; return it.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    pictures : Pictures
    number : int
        Which one.
    letters : bool
        Whether to write at the edges where in the patient they lie.
    size : float
        Of the letters, points.
    """
    image = pictures.images[number]
    how = {}
    if pictures.looks:
        how = {
            "norm": _norm(pictures.looks[number]),
            "cmap": _map(pictures.colours, pictures.inverted[number]),
        }
        image = image.astype(np.float64) if image.dtype.kind != "f" else image
    step_x = (pictures.extent[1] - pictures.extent[0]) / image.shape[1]
    step_y = (pictures.extent[2] - pictures.extent[3]) / image.shape[0]
    aspect = pictures.ratio * step_x / step_y  # 1 for mm
    drawn = axes.imshow(image, extent=pictures.extent, aspect=aspect, **how)
    if pictures.missing[number]:
        write(axes, "no image", 0.5, 0.5, size)
        return drawn
    along = pictures.letters[number]
    if letters and along is not None:
        for text, x, y in (
            (along[0], 0.985, 0.5),
            (_turned(along[0]), 0.015, 0.5),
            (along[1], 0.5, 0.015),
            (_turned(along[1]), 0.5, 0.985),
        ):
            write(axes, text, x, y, size)
    return drawn


def write(axes: Any, text: str, x: float, y: float, size: float) -> None:
    """Write into an image, legible on any background; x and y are fractions of its size."""
    from matplotlib.patheffects import withStroke

    axes.text(
        x,
        y,
        text,
        transform=axes.transAxes,
        ha="left" if x < 0.3 else "right" if x > 0.7 else "center",
        va="bottom" if y < 0.3 else "top" if y > 0.7 else "center",
        color="white",
        fontsize=size,
        path_effects=[withStroke(linewidth=size / 5, foreground="black")],
    )


def add_colorbar(drawn: Any, axes: Any, pictures: Pictures) -> None:
    """Draw beside images what their colours mean.

    Raises
    ------
    InvalidValue
        They have several windows, or none that is a line.
    """
    looks = set(pictures.looks)
    if len(looks) != 1 or linear_ends(next(iter(looks))) is None:
        what = "Colours have" if not looks else "Images with several windows or a table have"
        raise InvalidValue(
            f"{what} no colour bar. One window for all: window=(centre, width), or 'range'."
        )
    drawn.figure.colorbar(drawn, ax=axes, label=pictures.measure)


def window_text(look: Look) -> str:
    """Return a window in words.

    Examples
    --------
    >>> window_text(Window(40, 400)), window_text(Range(0, 1.5))
    ('C 40 W 400', '0 to 1.5')
    """
    if isinstance(look, Window):
        return f"C {look.centre:g} W {look.width:g}"
    if isinstance(look, Range):
        return f"{look.low:.4g} to {look.high:.4g}"
    return "VOI LUT"


def _turned(letters: str) -> str:
    """Return the opposite direction."""
    return "".join(_OPPOSITE.get(letter, letter) for letter in letters)


def linear_ends(look: Look) -> tuple[float, float] | None:
    """Return the values that are black and white, where what lies between follows a line."""
    if isinstance(look, Range):
        return (look.low, look.high) if look.high > look.low else None
    if not isinstance(look, Window) or look.function not in (LINEAR, LINEAR_EXACT):
        return None
    centre, width = look.centre, look.width
    if look.function == LINEAR:
        centre, width = centre - 0.5, width - 1
    return (centre - width / 2, centre + width / 2) if width > 0 else None


def _norm(look: Look) -> Any:
    from matplotlib.colors import Normalize

    ends = linear_ends(look)
    if ends is not None:
        return Normalize(*ends, clip=True)

    class Shown(Normalize):
        """As the look says, which is no line."""

        def __call__(self, value: Any, clip: bool | None = None) -> Any:
            values = np.ma.asarray(value)
            fractions = look.apply(values.filled(np.nan) if values.dtype.kind == "f" else values)
            return np.ma.masked_invalid(fractions)

    return Shown(0, 1)


def _map(colours: npt.NDArray[np.uint8] | None, inverted: bool) -> Any:
    from matplotlib.colors import ListedColormap

    table = np.repeat(np.arange(256)[:, None], 3, axis=1) if colours is None else colours
    # Without a value: black, as export_as_png writes it.
    return ListedColormap(table[::-1] / 255 if inverted else table / 255).with_extremes(bad="black")
