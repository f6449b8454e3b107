"""One NIfTI-1 file from frames that are read as they are written.

What is written follows the habits of dcm2niix: the last row of an image first, so that the axes of
axial images are left, anterior, superior; sform and qform alike; mm and seconds.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue, PixelError
from dbdicom_xr.geometry.affine import in_space, sub_grid
from dbdicom_xr.geometry.planes import Floats

__all__ = ["RGB", "Frames", "NiftiImage", "file_dtype", "make_header", "write_image"]

RGB: Final = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
"""The type of colour voxels, NIFTI_TYPE_RGB24."""

_LONGEST: Final = 32767  # dimensions are 16-bit integers
# Bytes read at a time: exports of any size take some 50 MB of memory with it.
_BLOCK: Final = 1 << 23
# Of 34 MB of scanner files level 1 makes 17.3 MB in 0.54 s, level 6 16.5 MB in 1.91 s.
_LEVEL: Final = 1
_START: Final = 352  # of the voxels: a header of 348 bytes, and four that say that nothing follows


class Frames(Protocol):
    """Frames that can be read in parts, shape (volumes, slices, x, y), or with channel behind."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all frames."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        ...

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return a block."""
        ...


@dataclass(frozen=True)
class NiftiImage:
    """What a NIfTI file is made from.

    Parameters
    ----------
    frames : Frames
        Shape (volumes, slices, x, y), or for colour (volumes, slices, x, y, 3).
    affine : ndarray of float64, shape (4, 4), or None
        From (x, y, slice) to LPS, mm. None: the place in the patient is not known.
    spacing : tuple of float
        Of the voxels along x, y and slice, mm; where there is an affine, it follows from that.
    dtype : numpy.dtype
        Of the voxels in the file.
    slope, intercept : float
        Real values are ``voxel * slope + intercept``.
    repetition_time : float or None
        s.
    phase_axis : {"x", "y", None}
        Along which of the axes of an image the phase was encoded.
    """

    frames: Frames
    affine: Floats | None
    dtype: np.dtype[Any]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    slope: float = 1.0
    intercept: float = 0.0
    repetition_time: float | None = None
    phase_axis: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the file: x, y, slices, and volumes where there are several."""
        volumes, slices, x, y = self.frames.shape[:4]
        return (x, y, slices, volumes) if volumes > 1 else (x, y, slices)

    @property
    def stored_affine(self) -> Floats | None:
        """From the voxels of the file, with their rows reversed, to RAS; mm."""
        if self.affine is None:
            return None
        rows = self.shape[1]
        return in_space(sub_grid(self.affine, [0, rows - 1, 0], [1, -1, 1]), "RAS")


def file_dtype(stored: npt.DTypeLike, bits: int) -> np.dtype[Any]:
    """Return the type for stored integers: signed where they fit, which all programs read.

    Parameters
    ----------
    stored : dtype
        Of the pixels.
    bits : int
        That a value may occupy.

    Examples
    --------
    >>> file_dtype("uint16", 12), file_dtype("uint16", 16), file_dtype("uint8", 8)
    (dtype('int16'), dtype('uint16'), dtype('uint8'))
    """
    dtype = np.dtype(stored)
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "u" and dtype.itemsize > 1 and bits < 8 * dtype.itemsize:
        return np.dtype(f"i{dtype.itemsize}")
    return dtype


def _header_class() -> Any:  # nibabel does not tell its types
    from nibabel.nifti1 import Nifti1Header

    return Nifti1Header


def make_header(image: NiftiImage) -> Any:
    """Return the header of the file, a ``nibabel.Nifti1Header``.

    Raises
    ------
    InvalidValue
        The format cannot hold the size.
    """
    if max(image.shape) > _LONGEST:
        raise InvalidValue(f"The shape is {image.shape}; a NIfTI file holds up to {_LONGEST} each.")
    header: Any = _header_class()(endianness="<")
    header.set_data_dtype(image.dtype)
    header.set_data_shape(image.shape)
    time = image.repetition_time or 0.0
    affine = image.stored_affine
    if affine is None:
        header["pixdim"][1:4] = image.spacing
    else:
        header.set_qform(affine, code="scanner")
        header.set_sform(affine, code="scanner")
    # dcm2niix tells it also of a single volume, which has no fourth dimension.
    header["pixdim"][4] = time
    header.set_xyzt_units("mm", "sec")
    if image.dtype != RGB:
        header.set_slope_inter(image.slope, image.intercept)
    if image.phase_axis is not None:
        phase = "xy".index(image.phase_axis)
        header.set_dim_info(freq=1 - phase, phase=phase, slice=2)
    header["vox_offset"] = _START
    header["magic"] = b"n+1"
    return header


def write_image(
    image: NiftiImage,
    file: BinaryIO,
    *,
    compressed: bool,
    advance: Callable[[int], None] = lambda frames: None,
) -> None:
    """Write a NIfTI file, reading no more than some of its frames at a time.

    Parameters
    ----------
    image : NiftiImage
    file : binary file
        Open for writing.
    compressed : bool
        As ``.nii.gz``. The bytes are the same whenever they are written.
    advance : callable
        Told how many frames have been written since it was last called.
    """
    if compressed:
        with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
            _write(image, packed, advance)
    else:
        _write(image, file, advance)


def _write(image: NiftiImage, file: Any, advance: Callable[[int], None]) -> None:
    file.write(make_header(image).binaryblock)
    file.write(bytes(_START - 348))
    for block in _blocks(image.frames):
        # (slice, x, y) to (slice, y, x): in the file x varies fastest.
        rows = _checked(block, image.dtype).swapaxes(1, 2)[:, ::-1]
        file.write(np.ascontiguousarray(rows).data.cast("B"))
        advance(len(block))


def _blocks(frames: Frames) -> Iterator[npt.NDArray[Any]]:
    """Yield all frames in the order of the file, some slices of a volume at a time."""
    volumes, slices, *pixels = frames.shape
    size = max(1, int(np.prod(pixels)) * frames.dtype.itemsize)
    # A whole volume where that fits: slices of a mosaic are decoded together.
    room = max(1, _BLOCK // size)
    for volume in range(volumes):
        for start in range(0, slices, room):
            yield frames[volume, start : start + room]


def _checked(block: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return frames in the type of the file, shape (frames, x, y)."""
    if dtype == RGB:
        return np.ascontiguousarray(block).view(RGB)[..., 0]
    if block.dtype.kind == "u" and dtype.kind == "i" and block.size:
        limit = np.iinfo(dtype).max
        if int(block.max()) > limit:
            raise PixelError(f"A pixel is {block.max()}, more than the bits that BitsStored tells.")
    return block.astype(dtype.newbyteorder("<"), copy=False)
