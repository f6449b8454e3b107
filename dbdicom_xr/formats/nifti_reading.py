"""NIfTI files as they are read: which there are, where their voxels lie, and the voxels, lazily.

What a file says of its place becomes an affine to LPS in mm.
"""

from __future__ import annotations

import gzip
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import GridError, InvalidValue, PixelError
from dbdicom_xr.formats.nifti import RGB
from dbdicom_xr.formats.nifti_turns import Turn
from dbdicom_xr.geometry.affine import in_space
from dbdicom_xr.geometry.planes import Floats

__all__ = ["NiftiFile", "nifti_files", "open_nifti"]

_ENDINGS: Final = (".nii.gz", ".nii", ".hdr.gz", ".hdr", ".img.gz", ".img")
_MILLIMETRES: Final = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # by the code of xyzt_units
_MILLISECONDS: Final = {8: 1000.0, 16: 1.0, 24: 0.001}
# sform and qform that put a corner further apart are two places and not one: mm, and part of the
# size of the grid. Slices that are shifted by up to 0.05 degrees are exported, and a qform cannot
# tell it; in scanner files that makes 0.2 mm.
_APART: Final = (0.1, 1e-3)
_BLOCK: Final = 1 << 25  # bytes of voxels that are read at a time
_COPIED: Final = 1 << 20  # bytes unpacked at a time


@dataclass(frozen=True)
class NiftiFile:
    """A NIfTI file that was opened.

    Parameters
    ----------
    path : str
        As the user knows it.
    source : str
        The file that its voxels are read from: itself, or what was unpacked from it.
    shape : tuple of int
        Of the three dimensions of space.
    volumes : int
    dtype : numpy.dtype
        Of the values: as stored where nothing scales them, integers where they stay such.
    slope, intercept : float
    affine : ndarray of float64, shape (4, 4), or None
        From voxels of the file to LPS, mm; None where the file does not tell its place.
    spacing : tuple of float
        Of voxels, mm.
    repetition_time : float or None
        ms; None where there are no volumes in time.
    notices : tuple of str
        What a user should know of it.
    """

    path: str
    source: str
    shape: tuple[int, int, int]
    volumes: int
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    affine: Floats | None
    spacing: tuple[float, float, float]
    repetition_time: float | None
    notices: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """Its name without folder and ending."""
        return _split(self.path)[1]

    def beside(self, ending: str) -> str | None:
        """Return the file of this ending beside it, None where there is none."""
        folder, stem, _ = _split(self.path)
        path = os.path.join(folder, f"{stem}{ending}")
        return path if os.path.isfile(path) else None

    @property
    def is_colour(self) -> bool:
        """Whether voxels have a red, a green and a blue part."""
        return self.dtype == RGB

    def voxels(self, turn: Turn) -> Any:
        """Return the values as a lazy array, shape (volume, slice, x, y), for colour also 3."""
        import dask.array as da

        reader = _Reader(self, turn)
        x, y = reader.shape[2:4]
        room = max(1, _BLOCK // max(1, x * y * (3 if self.is_colour else self.dtype.itemsize)))
        chunks = (1, min(room, reader.shape[1]), *reader.shape[2:])
        meta: Any = np.empty((0,) * reader.ndim, reader.dtype)
        return da.from_array(reader, chunks, name=False, asarray=False, meta=meta)  # type: ignore[no-untyped-call]


class _Reader:
    """Voxels of a file in the order of images; holds no more than a name."""

    def __init__(self, file: NiftiFile, turn: Turn) -> None:
        self.file, self.turn = file, turn
        x, y, z = turn.shape(file.shape)
        self.shape = (file.volumes, z, x, y, *([3] if file.is_colour else []))
        self.dtype = np.dtype(np.uint8) if file.is_colour else file.dtype
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        file = self.file
        try:
            stored = _load(file.source).dataobj.get_unscaled()
            grid = np.asarray(stored).reshape((*file.shape, file.volumes), order="F")
            block = self.turn.images(grid)[tuple(key)[:4]].copy(order="K")
        except (OSError, ValueError) as error:
            raise PixelError(f"{file.path} cannot be read any more: {error}") from error
        if file.is_colour:
            colours = np.stack([block[part] for part in ("R", "G", "B")], -1)
            return np.asarray(colours[(..., *tuple(key)[4:])])
        if (file.slope, file.intercept) == (1, 0):
            return np.asarray(block.astype(file.dtype, copy=False))
        if file.dtype.kind in "iu":
            values = block.astype(np.int64) * int(file.slope) + int(file.intercept)
            return np.asarray(values.astype(file.dtype))
        return np.asarray(block.astype(np.float64) * file.slope + file.intercept)


# -- which files ---------------------------------------------------------------------------------


def nifti_files(path: Any) -> tuple[list[str], bool]:
    """Return the NIfTI files that are meant, and whether they may be several.

    Parameters
    ----------
    path : path-like, or a list of them
        A file, or a folder for all files in it.

    Raises
    ------
    InvalidValue
        There is none, or it is of another kind.
    """
    if isinstance(path, (list, tuple)):
        if not path:
            raise InvalidValue("path is an empty list; give the names of NIfTI files.")
        return [file for one in path for file in nifti_files(one)[0]], True
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text:
        raise InvalidValue(
            f"path is {path!r}; it has to be the name of a NIfTI file or of a folder of such, or a "
            "list of names. An image of nibabel in memory: image.to_filename(...) first."
        )
    if os.path.isdir(text):
        names = sorted(name for name in os.listdir(text) if not name.startswith("."))
        found = [name for name in names if _is_first(name, names)]
        if not found:
            raise InvalidValue(
                f"The folder {text} holds no NIfTI files ({', '.join(_ENDINGS[:4])}). Those in "
                "folders below it are not looked for: name the one that holds them."
            )
        return [os.path.join(text, name) for name in found], True
    if not os.path.exists(text):
        raise InvalidValue(f"There is no file {text}: look at the spelling, and at the folder.")
    if not text.lower().endswith(_ENDINGS):
        raise InvalidValue(f"{text} is no NIfTI file: they end in {', '.join(_ENDINGS)}.")
    return [text], False


def _is_first(name: str, names: Sequence[str]) -> bool:
    """Return whether a file in a folder is to be read: of a pair the header."""
    small = name.lower()
    if not small.endswith(_ENDINGS):
        return False
    if small.endswith((".img", ".img.gz")):
        stem = name[: small.rindex(".img")]
        return not any(f"{stem}{ending}" in names for ending in (".hdr", ".hdr.gz"))
    return True


def _split(path: str) -> tuple[str, str, str]:
    folder, name = os.path.split(path)
    for ending in _ENDINGS:
        if name.lower().endswith(ending):
            return folder, name[: -len(ending)], name[len(name) - len(ending) :]
    return folder, name, ""


# -- opening -------------------------------------------------------------------------------------


def _load(path: str) -> Any:
    import nibabel

    return nibabel.load(path)


def open_nifti(path: str, scratch: str) -> NiftiFile:
    """Open a NIfTI file.

    Parameters
    ----------
    path : str
    scratch : str
        A folder to unpack compressed files into. They cannot be read in parts.

    Raises
    ------
    InvalidValue
        It is no NIfTI file, or of numbers that images cannot hold.
    PixelError
        It is damaged or ends too early.
    GridError
        Its place is none that images can have.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    source = _unpacked(path, scratch)
    try:
        image = _load(source)
        header = image.header
    except (ImageFileError, HeaderDataError, OSError, ValueError, EOFError, KeyError) as error:
        raise InvalidValue(f"{path} cannot be read as NIfTI: {error}") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise InvalidValue(
            f"{path} is no NIfTI image but {type(image).__name__}. "
            "If nibabel reads it rightly: nibabel.Nifti1Image(image.get_fdata(), image.affine)"
            ".to_filename('...nii.gz') makes one of it."
        )
    shape, volumes = _shape(path, tuple(map(int, header.get_data_shape())), header)
    stored = header.get_data_dtype().newbyteorder("=")
    _refuse_type(path, stored)
    _require_whole(path, image, stored)
    slope, intercept = _scaling(image, header)
    affine, notices = _place(path, header, shape)
    codes = int(header["xyzt_units"])
    step = float(header["pixdim"][4]) * _MILLISECONDS.get(codes & 0x38, 0.0)
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    sizes = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1.0) * _MILLIMETRES.get(codes & 7, 1)
    return NiftiFile(
        path, source, shape, volumes,
        dtype=_value_type(stored, slope, intercept),
        slope=slope,
        intercept=intercept,
        affine=affine,
        spacing=(float(sizes[0]), float(sizes[1]), float(sizes[2])),
        repetition_time=step if volumes > 1 and np.isfinite(step) and step > 0 else None,
        notices=notices,
    )  # fmt: skip


def _unpacked(path: str, scratch: str) -> str:
    """Return the name of the file, or of what it holds where it is compressed."""
    folder, stem, ending = _split(path)
    pair = {".hdr": ".img", ".img": ".hdr"}.get(ending.lower().removesuffix(".gz"))
    endings = [ending]
    if pair is not None:
        there = [f"{pair}{more}" for more in (ending[4:], "", ".gz")]
        other = [one for one in there if os.path.isfile(os.path.join(folder, f"{stem}{one}"))]
        if not other:
            raise InvalidValue(
                f"{path} is half of a pair: {stem}{there[0]}, which holds the rest, is missing."
            )
        endings.append(other[0])
    if not any(one.lower().endswith(".gz") for one in endings):
        return path
    target = tempfile.mkdtemp(dir=scratch)
    for one in endings:
        packed = os.path.join(folder, f"{stem}{one}")
        name = os.path.join(target, f"nifti{one.lower().removesuffix('.gz')}")
        if one.lower().endswith(".gz"):
            _unpack(packed, name)
        else:
            shutil.copyfile(packed, name)
    return os.path.join(target, f"nifti{ending.lower().removesuffix('.gz')}")


def _unpack(path: str, target: str) -> None:
    """Unpack a file, at most as much as the image that it holds can be large."""
    try:
        with gzip.open(path) as packed, open(target, "wb") as file:
            free = shutil.disk_usage(os.path.dirname(target)).free
            told = _size_told(packed.peek(540)[:540])
            if told is not None and told > free:
                raise PixelError(
                    f"{path} needs {told / 1e9:.3g} GB when it is unpacked, and there is less on "
                    f"the disk of {tempfile.gettempdir()}. The variable TMPDIR names another one."
                )
            left = free if told is None else told
            while left > 0 and (block := packed.read(min(left, _COPIED))):
                file.write(block)
                left -= len(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PixelError(
            f"{path} is damaged, or not all of it is there: {error}. Copy it again."
        ) from error


def _size_told(start: bytes) -> int | None:
    """Return how many bytes a NIfTI file says it has at most; None where it does not say."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError

    kinds: tuple[Any, ...] = (Nifti1Header, Nifti2Header)
    for kind in kinds:
        size = kind.template_dtype.itemsize
        if len(start) < size:
            continue
        try:
            header = kind(start[:size], check=False)
            if int(header["sizeof_hdr"]) != size:
                continue
            each = int(header.get_data_dtype().itemsize)
            voxels = math.prod(int(n) for n in header.get_data_shape())
            return voxels * each + int(header["vox_offset"]) + _COPIED
        except (HeaderDataError, ValueError, KeyError):  # no header of this version
            continue
    return None


def _shape(path: str, shape: tuple[int, ...], header: Any) -> tuple[tuple[int, int, int], int]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 4:
        intent = header.get_intent()[0]
        raise InvalidValue(
            f"{path} has the shape {shape}: several numbers at each voxel"
            f"{f' ({intent})' if intent != 'none' else ''}, as of vectors or of channels. Images "
            "have one. Write each of them into a file of its own, or as the volumes of one: "
            "nibabel.Nifti1Image(image.get_fdata().squeeze(), image.affine).to_filename(...)."
        )
    if len(shape) < 2 or 0 in shape:
        raise InvalidValue(f"{path} has the shape {shape}, which are no images.")
    x, y, z, volumes = (*shape, 1, 1)[:4]
    return (x, y, z), volumes


def _refuse_type(path: str, stored: np.dtype[Any]) -> None:
    if stored == RGB or (stored.kind in "biuf" and stored.itemsize <= 8):
        return
    if stored.kind == "c":
        way = (
            "write np.abs(...) and np.angle(...), or the real and the imaginary part, each into a "
            "file of its own"
        )
    elif stored.fields:
        way = "write red, green and blue without the fourth part, as RGB24"
    else:
        way = "write them as float64"
    name = "colours with transparency (RGBA32)" if stored.fields else str(stored)
    raise InvalidValue(f"{path} holds {name}, and images hold real numbers: {way}.")


def _require_whole(path: str, image: Any, stored: np.dtype[Any]) -> None:
    proxy = image.dataobj
    there = os.path.getsize(image.file_map["image"].filename)
    size = math.prod(int(n) for n in proxy.shape) * stored.itemsize
    if there < proxy.offset + size:
        raise PixelError(
            f"{path} is not all there: {there} bytes of {proxy.offset + size}. Copy it again."
        )


def _scaling(image: Any, header: Any) -> tuple[float, float]:
    """Return slope and intercept of the values, as they were meant."""
    found = []
    for name, value in (("scl_slope", image.dataobj.slope), ("scl_inter", image.dataobj.inter)):
        number = float(value)
        if header[name].dtype.itemsize == 4:
            # The shortest decimal of the 32 bits: 0.1 became 0.10000000149 in the file.
            number = float(str(np.float32(number)))
        found.append(number)
    return found[0], found[1]


def _value_type(stored: np.dtype[Any], slope: float, intercept: float) -> np.dtype[Any]:
    """Return the type that holds the values: integers where they are, else floats."""
    if (slope, intercept) == (1, 0) or stored == RGB:
        return stored
    if stored.kind in "iu" and slope.is_integer() and intercept.is_integer():
        info = np.iinfo(stored)
        ends = [int(slope) * end + int(intercept) for end in (info.min, info.max)]
        if max(map(abs, ends)) < 1 << 62:
            return np.result_type(*map(np.min_scalar_type, ends))
    return np.dtype(np.float64)


# -- where it lies -------------------------------------------------------------------------------


def _place(
    path: str, header: Any, shape: tuple[int, int, int]
) -> tuple[Floats | None, tuple[str, ...]]:
    """Return the affine to LPS, mm, of the sform, else of the qform."""
    from nibabel.spatialimages import HeaderDataError

    factor = np.diag([*[_MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)] * 3, 1.0])
    found: dict[str, Floats] = {}
    notices: list[str] = []
    for name, read in (("sform", header.get_sform), ("qform", header.get_qform)):
        if int(header[f"{name}_code"]) <= 0:
            continue
        try:
            matrix = factor @ np.asarray(read(), np.float64)
            usable = bool(np.isfinite(matrix).all()) and abs(np.linalg.det(matrix[:3, :3])) > 0
        except (HeaderDataError, ValueError, FloatingPointError):
            usable = False
        if usable:
            found[name] = matrix
        else:
            notices.append(f"{path}: its {name} is no affine, and is not used.")
    if not found:
        if notices:
            raise GridError(f"{notices[0]} image.set_sform(...) of nibabel gives it another one.")
        return None, ()
    if len(found) == 2:
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape], [1])).reshape(4, -1)
        apart = (found["sform"] - found["qform"])[:3] @ corners
        most = float(np.linalg.norm(apart, axis=0).max())
        size = float(np.linalg.norm(found["sform"][:3, :3] @ (np.array(shape) - 1)))
        if most > max(_APART[0], _APART[1] * size):
            codes = [int(header[f"{name}_code"]) for name in ("sform", "qform")]
            notices.append(
                f"{path}: sform (code {codes[0]}) and qform (code {codes[1]}) put voxels up to "
                f"{most:.4g} mm apart. The sform was taken; to take the other, set the code of the "
                "sform to 0: image.set_sform(None)."
            )
    # From RAS to LPS the same signs change as from LPS to RAS.
    return in_space(found["sform" if "sform" in found else "qform"], "RAS"), tuple(notices)
