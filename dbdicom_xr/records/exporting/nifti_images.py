"""The frames of a series as the images that NIfTI files hold.

A file holds one kind of image: of one size, one orientation, one component of the signal, one echo.
What is left varies from volume to volume: time, b-value, flip angle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.reader import Scaling
from dbdicom_xr.errors import GridError, PixelError
from dbdicom_xr.formats.gradients import along_axes, bval_text, bvec_text
from dbdicom_xr.formats.grouping import arrange, split_by
from dbdicom_xr.formats.names import file_name
from dbdicom_xr.formats.nifti import RGB, NiftiImage, file_dtype
from dbdicom_xr.formats.sidecar import (
    phase_encoding,
    readout,
    sidecar,
    sidecar_text,
    slice_timing,
)
from dbdicom_xr.geometry.affine import orientation_of, tilt_warning
from dbdicom_xr.geometry.planes import Planes
from dbdicom_xr.geometry.stacks import (
    SAME_PLACE,
    locations_of,
    require_places,
    split_by_orientation,
    stack_affine,
)
from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.records.attributes.acquisition import (
    phase_bandwidth,
    phase_is_positive,
    slice_times,
)
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.pixel_header import PixelHeader, pixel_header
from dbdicom_xr.records.attributes.slices import planes_of
from dbdicom_xr.records.attributes.vendors.columns import first_number, private
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.layouts import require_fitting_layout
from dbdicom_xr.records.reading.series_array import describer, frame_reader, image_rows

if TYPE_CHECKING:
    from dbdicom_xr.records.levels import Series

__all__ = ["Exported", "NiftiOptions", "images_of", "objects_without_pixels"]

Ints = npt.NDArray[np.intp]

# Frames that differ in one of these are different kinds of images.
_KINDS: Final = (
    "Rows", "Columns", "SamplesPerPixel", "SOPClassUID", "image_type", "echo", "StackID",
)  # fmt: skip
# What may tell volumes of one kind apart, the most telling first.
_VOLUMES: Final = (
    "TemporalPositionIdentifier", "b_value", "gradient_direction", "FlipAngle", "InversionTime",
    "AcquisitionNumber", "TriggerTime", "CardiacCyclePosition", "ASLContext",
)  # fmt: skip
_COMPONENTS: Final = {
    "MAGNITUDE": "", "PHASE": "ph", "REAL": "real", "IMAGINARY": "imaginary",
}  # fmt: skip
_FLOAT_ERROR: Final = 0.01  # of a stored step, that a slope in 32 bits may cost


@dataclass(frozen=True)
class NiftiOptions:
    """How images are exported. See :meth:`Record.export_as_nifti`."""

    rescale: bool | str = True
    philips: str = "float"
    sidecar: bool = True
    identify: bool = False


@dataclass(frozen=True)
class Exported:
    """An image, and what stands beside it.

    Parameters
    ----------
    series : Series
    name : str
        Of the file, without its ending.
    image : NiftiImage
    texts : dict
        By ending: ``.json``, ``.bval``, ``.bvec``.
    """

    series: Series
    name: str
    image: NiftiImage
    texts: dict[str, str]

    @property
    def frames(self) -> int:
        """How many frames of DICOM it is made from."""
        volumes, slices = self.image.frames.shape[:2]
        return volumes * slices


def images_of(series: Series, wanted: Ints | None, options: NiftiOptions) -> list[Exported]:
    """Return the images of a series, or of some of its frames.

    Parameters
    ----------
    series : Series
    wanted : ndarray of int or None
        Rows of its table; None for all.
    options : NiftiOptions

    Raises
    ------
    GridError
        Some frames do not make even volumes.
    PixelError, LayoutError
        There are no images, or they cannot be read.
    """
    table = series._own_table
    if not len(table):
        raise PixelError(f"{series!r} holds no images: it is empty.")
    require_fitting_layout(series.database._view().composed(table.series.key), table)
    rows = image_rows(series, table)
    if wanted is not None:
        rows = rows[np.isin(rows, wanted)]
        if not len(rows):
            raise PixelError(f"{series!r}: what is to be exported has no pixels.")
    codes = {name: _codes(table, rows, name) for name in _KINDS}
    codes["ImageType"] = _first_words(table, rows)
    codes["spacing"] = _spacings(table, rows)
    codes["palette"] = _palettes(table, rows)
    codes["orientation"] = _orientations(table, rows)
    try:
        groups = split_by(
            [codes[name] for name in ("orientation", "image_type", "echo")]
            + [
                code
                for name, code in codes.items()
                if name not in ("orientation", "image_type", "echo")
            ]
        )
        several = {name for name, code in codes.items() if len(np.unique(code)) > 1}
        return [_image(series, table, rows[group], several, options) for group in groups]
    except (GridError, PixelError) as error:
        raise type(error)(f"{series!r}: {error}") from error


@of_one_state
def objects_without_pixels(series: Series) -> int:
    """Return how many instances of a series have no pixels."""
    return int((series._own_table.places["offset"] < 0).sum())


def _image(
    series: Series, table: Table, rows: Ints, several: set[str], options: NiftiOptions
) -> Exported:
    planes = planes_of(table, rows)
    known = bool(np.isfinite(planes.position).any() and np.isfinite(planes.orientation).any())
    order = _acquisition_order(table, rows)
    if known:
        require_places(planes)
        volumes = rows[_volumes(table, rows, planes, order)]
        affine = stack_affine(planes_of(table, volumes[0]))
        if (notice := tilt_warning(affine)) is not None:
            raise GridError(
                f"{notice} Such images have to be resampled first; series.volume() gives them with "
                "their affine."
            )
    else:
        # Each frame a volume of its own: they may be anything.
        volumes, affine = rows[np.argsort(order)][:, None], None
    name = array_name(series, table, volumes, several, affine)
    image = replace(_voxels(table, volumes, options), affine=affine)
    ask = _asker(table, volumes.ravel())
    direction = ask("InPlanePhaseEncodingDirection")
    repetition = first_number(ask("RepetitionTime"))
    image = replace(
        image,
        repetition_time=None if repetition is None else repetition / 1000,
        phase_axis={"ROW": "x", "COL": "y", "COLUMN": "y"}.get(str(direction)),
        spacing=_pixel_size(planes),
    )
    texts: dict[str, str] = {}
    if options.sidecar:
        more = _worked_out(table, volumes, image, ask, options)
        texts[".json"] = sidecar_text(sidecar(ask, more, identify=options.identify))
        texts |= _gradients(table, volumes, image)
    return Exported(series, name, image, texts)


# -- which frames belong together ------------------------------------------------------------


def _codes(table: Table, rows: Ints, name: str) -> Ints:
    """Return a number for each value of an attribute, in the order of the values; 0 for none."""
    values = parse_name(name).values(table)
    if values is None:
        return np.zeros(len(rows), np.intp)
    return _numbered(values.take(rows), _component_rank if name == "image_type" else _by_value)


def _numbered(values: Values, key: Callable[[Any], Any]) -> Ints:
    keys = [None if value is None else key(value) for value in values.distinct]
    ordered = sorted({one for one in keys if one is not None})
    number = {one: at + 1 for at, one in enumerate(ordered)}
    pool = np.array([*(0 if one is None else number[one] for one in keys), 0], np.intp)
    return np.asarray(pool[values.codes])


def _by_value(value: Any) -> tuple[Any, ...]:
    """Return a key that sorts values of any type; numbers before texts."""
    if isinstance(value, (int, float)):
        return 0, float(value), ""
    if isinstance(value, list):
        return 1, 0.0, "\\".join(map(str, value))
    return 1, 0.0, str(value)


def _component_rank(value: Any) -> tuple[int, str]:
    known = list(_COMPONENTS)
    return known.index(value) if value in known else len(known), str(value)


def _first_words(table: Table, rows: Ints) -> Ints:
    """Return whether images are original or derived (PS3.3 C.7.6.1.1.2), as numbers."""
    values = parse_name("ImageType").values(table)
    if values is None:
        return np.zeros(len(rows), np.intp)
    return _numbered(values.take(rows), lambda v: str(v[0] if isinstance(v, list) and v else v))


def _spacings(table: Table, rows: Ints) -> Ints:
    spacing = np.nan_to_num(planes_of(table, rows).pixel_spacing)
    _, found = np.unique(np.round(spacing, 4), axis=0, return_inverse=True)
    return np.asarray(found.reshape(-1), np.intp)


def _palettes(table: Table, rows: Ints) -> Ints:
    values = parse_name("PhotometricInterpretation").values(table)
    if values is None:
        return np.zeros(len(rows), np.intp)
    return _numbered(values.take(rows), lambda value: str(value) == "PALETTE COLOR")


def _orientations(table: Table, rows: Ints) -> Ints:
    found = np.zeros(len(rows), np.intp)
    orientation = planes_of(table, rows).orientation
    placed = np.flatnonzero(np.isfinite(orientation).all(axis=1))
    if len(placed):
        for number, stack in enumerate(split_by_orientation(orientation[placed])):
            found[placed[stack]] = number + 1
    return found


def _acquisition_order(table: Table, rows: Ints) -> Ints:
    """Return the rank of each frame: by InstanceNumber, else by time, else by UID and frame."""
    numbers = parse_name("InstanceNumber").values(table)
    times = [
        parse_name(keyword).values(table) for keyword in ("AcquisitionDate", "AcquisitionTime")
    ]
    owners = table.instance_of[rows]
    _, by_uid = np.unique(np.array(table.uids, object)[owners], return_inverse=True)
    keys = [
        np.zeros(len(rows), np.intp) if values is None else _numbered(values.take(rows), _by_value)
        for values in (times[1], times[0], numbers)
    ]
    # Frames of one file stand in their own order, whatever their times.
    if not table.is_classic and len(np.unique(keys[2])) == len(np.unique(owners)):
        keys = keys[2:]
    order = np.lexsort((table.frame_numbers[rows], by_uid.reshape(-1), *keys))
    ranks = np.empty(len(rows), np.intp)
    ranks[order] = np.arange(len(rows))
    return ranks


def _volumes(table: Table, rows: Ints, planes: Planes, order: Ints) -> Ints:
    """Return the frames as volumes, shape (volumes, slices); numbers within ``rows``."""
    locations = locations_of(planes)
    codes = [_codes(table, rows, name) for name in _VOLUMES]
    volumes = arrange(locations, order, [code for code in codes if len(np.unique(code)) > 1])
    spread = np.ptp(planes.position[volumes], axis=0).max(axis=1)  # per slice
    if float(spread.max()) > SAME_PLACE:
        at = int(spread.argmax())
        raise GridError(
            f"Frames at the same place along the normal, {locations[volumes[0, at]]:.6g} mm, are "
            f"up to {spread[at]:.4g} mm apart in the plane, so that they are not volumes at one "
            "place. Choose those of one place with series.subseries(...), and export these."
        )
    return volumes


def array_name(series: Series, table: Table, volumes: Ints, several: set[str], affine: Any) -> str:
    parts = []
    first = int(volumes[0, 0])
    if "orientation" in several and affine is not None:
        parts.append(orientation_of(affine).plane)
    if several & {"Rows", "Columns"}:
        size = (parse_name(name).value(table, first) for name in ("Columns", "Rows"))
        parts.append("x".join(map(str, size)))
    echo = parse_name("echo").value(table, first)
    if echo is not None and ("echo" in several or echo > 1):
        parts.append(f"e{echo}")
    kind = parse_name("image_type").value(table, first)
    if kind in _COMPONENTS:
        parts += [_COMPONENTS[kind]] * bool(_COMPONENTS[kind])
    elif kind is not None and "image_type" in several:
        parts.append(file_name(None, str(kind)))
    number, description = series.SeriesNumber, series.SeriesDescription
    return file_name(
        number[0] if number else None, str(description[0]) if description else None, *parts
    )


# -- voxels ----------------------------------------------------------------------------------


def _voxels(table: Table, volumes: Ints, options: NiftiOptions) -> NiftiImage:
    rows = volumes.ravel()
    pixels = pixel_header(table, rows, options.rescale, None, describe=describer(table))
    if options.philips == "float" and options.rescale is True:
        pixels = _as_reconstructed(table, rows, pixels)
    slope, intercept, dtype = 1.0, 0.0, pixels.dtype
    colour = len(pixels.layouts[0].frame_shape) == 3 or pixels.scalings[0].palette is not None
    linear = _one_line(pixels)
    if colour:
        if dtype != np.uint8:
            raise PixelError(
                f"The colours are of {8 * dtype.itemsize} bits each, and NIfTI has those of 8. "
                "rescale=False exports the numbers of the colours of a palette."
            )
        dtype = RGB
    elif linear is not None:
        slope, intercept = linear
        layouts = pixels.layouts
        stored = np.result_type(*(layout.dtype for layout in layouts))
        pixels = replace(pixels, scalings=[Scaling()] * len(layouts), dtype=stored)
        dtype = file_dtype(stored, max(layout.value_bits for layout in layouts))
    reader = frame_reader(
        table, pixels, np.arange(rows.size).reshape(volumes.shape), volumes, 0, False
    )
    return NiftiImage(reader, None, np.dtype(dtype), slope=slope, intercept=intercept)


def _one_line(pixels: PixelHeader) -> tuple[float, float] | None:
    """Return slope and intercept, where those of all frames fit the header of a file."""
    scalings = pixels.scalings
    if any(one.lut or one.palette or one.padding for one in scalings):
        return None
    lines = {(one.slope, one.intercept) for one in scalings}
    if len(lines) > 1 or any(layout.dtype.kind == "f" for layout in pixels.layouts):
        return None
    ((slope, intercept),) = lines
    largest = 2.0 ** max(layout.value_bits for layout in pixels.layouts)
    # The header holds them in 32 bits.
    lost = largest * abs(slope - float(np.float32(slope)))
    lost += abs(intercept - float(np.float32(intercept)))
    fits = np.isfinite(np.array([slope, intercept], np.float32)).all() and slope != 0
    return (slope, intercept) if fits and lost <= _FLOAT_ERROR * abs(slope) else None


def _as_reconstructed(table: Table, rows: Ints, pixels: PixelHeader) -> PixelHeader:
    """Return pixels of Philips scaled to the numbers of its reconstruction.

    Its RescaleSlope is that of a display window, chosen series by series. With its private scale
    slope SS, ``(stored * RescaleSlope + RescaleIntercept) / (RescaleSlope * SS)`` are the numbers
    before that (Chenevert et al., Transl Oncol 2014;7:65), in phase images rad.
    """
    factors = _scale_slopes(table, rows)
    if factors is None or any(
        one.lut is not None or one.palette is not None or one.slope == 0 for one in pixels.scalings
    ):
        return pixels
    pairs, kinds = np.unique(
        np.stack([pixels.kinds.astype(np.float64), factors], 1), axis=0, return_inverse=True
    )
    layouts, scalings = [], []
    for kind, factor in pairs.tolist():
        old = pixels.scalings[int(kind)]
        layouts.append(pixels.layouts[int(kind)])
        scalings.append(
            replace(old, slope=1 / factor, intercept=old.intercept / (old.slope * factor))
        )
    return replace(
        pixels,
        layouts=layouts,
        scalings=scalings,
        kinds=kinds.reshape(-1).astype(np.int64),
        dtype=np.dtype(np.float32),
    )


def _scale_slopes(table: Table, rows: Ints) -> npt.NDArray[np.float64] | None:
    """Return the scale slope of Philips for each frame; None where some have none."""
    values = private(table, "Philips MR Imaging DD 001", 0x2005100E, "PHILIPS")
    if values is None:
        return None
    pool = [first_number(value) or np.nan for value in values.distinct]
    factors = np.array([*pool, np.nan])[values.codes[rows]]
    return factors if bool((factors > 0).all()) else None


# -- what stands beside it -------------------------------------------------------------------


def _asker(table: Table, rows: Ints) -> Callable[[str], Any]:
    def ask(name: str) -> Any:
        values = parse_name(name).values(table)
        if values is None:
            return None
        used = values.codes[rows]
        found = {repr(values.distinct[code]) if code >= 0 else "" for code in np.unique(used)}
        return values.of(int(rows[0])) if len(found) == 1 else None

    return ask


def _pixel_size(planes: Planes) -> tuple[float, float, float]:
    rows, columns = planes.pixel_spacing[0].tolist()
    sizes = (columns, rows, float(planes.step[0]))
    x, y, z = (size if np.isfinite(size) and size > 0 else 1.0 for size in sizes)
    return x, y, z


def _worked_out(
    table: Table, volumes: Ints, image: NiftiImage, ask: Callable[[str], Any], options: NiftiOptions
) -> dict[str, Any]:
    """Return what the side-car tells beyond attributes."""
    direction = ask("InPlanePhaseEncodingDirection")
    first = int(volumes[0, 0])
    more: dict[str, Any] = dict(phase_encoding(direction, phase_is_positive(table, first)))
    echoes = parse_name("echo").values(table)
    if echoes is not None and (len(echoes.occurring()) > 1 or (echoes.of(first) or 1) > 1):
        more["EchoNumber"] = echoes.of(first)
    if image.phase_axis is not None:
        lines = image.shape["xy".index(image.phase_axis)]
        more |= readout(phase_bandwidth(table, first), lines)
    if image.affine is not None:
        times = slice_times(table, volumes[0])
        more["SliceTiming"] = slice_timing(times, image.repetition_time)
    factors = _scale_slopes(table, volumes.ravel())
    if factors is not None:
        more["PhilipsRescaleSlope"] = ask("RescaleSlope")
        more["PhilipsRescaleIntercept"] = ask("RescaleIntercept")
        more["PhilipsScaleSlope"] = float(factors[0]) if len(set(factors.tolist())) == 1 else None
        is_float = options.philips == "float" and options.rescale is True
        more["UsePhilipsFloatNotDisplayScaling"] = int(is_float)
    more["ConversionSoftware"] = "dbdicom_xr"
    return more


def _gradients(table: Table, volumes: Ints, image: NiftiImage) -> dict[str, str]:
    values = parse_name("b_value").values(table)
    if values is None:
        return {}
    b_values = values.take(volumes).as_objects()
    weighted = [b for b in b_values.ravel().tolist() if b]
    if not weighted:
        return {}
    if None in b_values.ravel().tolist():
        raise GridError("Some frames have a b-value, and others none.")
    _refuse_mixed(b_values.astype(np.float64)[..., None], 1e-2 * max(weighted), "b-value")
    numbers = b_values[:, 0].tolist()
    texts = {".bval": bval_text(numbers)}
    affine = image.stored_affine
    directions = parse_name("gradient_direction").values(table)
    # Where no direction is known, as of images of GE that lost the one of phase encoding, three
    # zeros would claim that there was none.
    if directions is None or affine is None or not directions.take(volumes.ravel()).occurring():
        return texts
    found = directions.take(volumes).as_objects()
    vectors = np.array([[0.0, 0, 0] if v is None else v for v in found.ravel().tolist()])
    _refuse_mixed(vectors.reshape(*volumes.shape, 3), 1e-2, "direction of the diffusion gradient")
    texts[".bvec"] = bvec_text(along_axes(found[:, 0].tolist(), affine))
    return texts


def _refuse_mixed(values: npt.NDArray[np.float64], tolerance: float, what: str) -> None:
    """Raise where the slices of a volume differ; values of shape (volumes, slices, parts)."""
    spread = np.ptp(values, axis=1).max(axis=1)
    if float(spread.max()) > tolerance:
        raise GridError(
            f"The slices of volume {int(spread.argmax())} do not have one {what}, so that their "
            "order does not tell which belong together."
        )
