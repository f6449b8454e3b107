"""Arrays of real series written back, and what programs of others find in what was written.

Nothing here is asked of this package: values and places come from pydicom and SimpleITK, in the
source files that SourceImageSequence names and in the new ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array

from dbdicom_xr.emit.obsolete import is_obsolete, is_of_a_mosaic
from dbdicom_xr.errors import DbdicomError
from dbdicom_xr.index.columns import Key
from tests.emit.judges import dcmdump_ok, errors_of, gdcm_pixels, highdicom_values, sitk_pixels

__all__ = ["WAYS", "Judgement", "Way", "judge_series", "judged", "plane_of", "real_values"]

_NOT_JUDGED: Final = "Information Object Not found"
_MOST: Final = 60_000_000  # numbers of one array
_MEAN: Final = "mean"
_TILES: Final = (0x0019, 0x100A)  # how many a mosaic of Siemens has


@dataclass(frozen=True)
class Way:
    """A way from the array of a series to a new one.

    Parameters
    ----------
    name : str
    change : callable
        Takes the array; gives None where the way is not for such an array.
    options : mapping
        Of ``da.dicom.write``.
    stays : bool
        Whether each image has the pixels and the place of its source.
    """

    name: str
    change: Callable[[Any], Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    stays: bool = True


def _mean(array: Any) -> Any:
    dims = [dim for dim in array.dims if dim not in ("x", "y", "channel")]
    if "channel" in array.dims or not dims:
        return None
    return array.astype("float64").mean(dims[0], keep_attrs=True)


WAYS: Final = {
    way.name: way
    for way in (
        Way("unchanged", lambda array: array),
        Way(_MEAN, _mean, stays=False),
        Way("multiframe", lambda array: array, {"multiframe": True}),
        Way("map", lambda array: array.astype("float32"), {"dtype": "float32"}),
        Way("RLE", lambda array: array, {"transfer_syntax": "RLE"}),
        Way("JPEG-LS", lambda array: array, {"transfer_syntax": "JPEG-LS"}),
        Way("crop", lambda array: array.isel(x=slice(2, None), y=slice(1, -1)), stays=False),
        Way("flip", lambda array: array.isel(x=slice(None, None, -1)), stays=False),
    )
}


@dataclass
class Judgement:
    """What was found in a series that was written from another.

    Parameters
    ----------
    way : str
    source, file : Path
        The first source file, and the first new one.
    sop_class : str
        Name of the class written.
    files : int
    error, span : float
        The largest difference of a value to that of its source, and the range of the values.
    checked : int
        How many images were compared with their sources, or with the mean of these.
    new_errors : set of str
        Those of dciodvfy that no source has.
    missing, differing : set of str
        Attributes of a source of one frame that are not in its image, or say another thing.
    readers : dict of str to bool
        Who reads the new files, with equal values.
    wrong : list of str
        All else that is not as it should be.
    refused : str
        Why the array was not written.
    """

    way: str
    source: Path
    file: Path | None = None
    sop_class: str = ""
    files: int = 0
    error: float = 0.0
    span: float = 0.0
    checked: int = 0
    new_errors: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    differing: set[str] = field(default_factory=set)
    readers: dict[str, bool] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    refused: str = ""

    @property
    def is_right(self) -> bool:
        """Whether nobody found anything wrong."""
        return not self.new_errors and not self.wrong and all(self.readers.values())


def judge_series(series: Any, way: Way, *, most: int = 3) -> Judgement | None:
    """Write the array of a series to a new sibling, and judge it.

    Parameters
    ----------
    series : Series
        In a database that may be changed.
    way : Way
    most : int
        How many of the new files are looked at.

    Returns
    -------
    Judgement or None
        None where the series has no array, or the way is not for it.
    """
    if way.options.get("multiframe") and series.Modality != ["MR"]:
        return None
    try:
        array, header = series.array()
    except DbdicomError:
        return None
    if array.size > _MOST:
        some = slice(0, max(1, array.shape[0] * _MOST // array.size))
        array, header = array.isel({array.dims[0]: some}), header[some]
    changed = way.change(array)
    several_frames = way.options.get("multiframe") or way.options.get("dtype")
    if changed is None or ("channel" in array.dims and several_frames):
        return None
    new = series.new_sibling()
    try:
        # A mean over all images does not tell by itself of which.
        changed.dicom.write(new, header if way.name == _MEAN else None, **way.options)
    except DbdicomError as error:
        return Judgement(way.name, Path(series.files()[0]), refused=str(error))
    except Exception as error:  # of a library below: not a refusal, but for the table to show
        text = f"broke down: {type(error).__name__}: {error}"
        return Judgement(way.name, Path(series.files()[0]), refused=text)
    return judged(series, new, way, most=most)


def judged(series: Any, new: Any, way: Way, *, most: int = 3) -> Judgement:
    """Return what others find in a series that was written from another."""
    files = [Path(path) for path in new.files()]
    datasets = {path: dcmread(path, stop_before_pixels=True) for path in files}
    files.sort(key=lambda path: int(datasets[path].InstanceNumber))
    sources = _source_files(series)
    first = dcmread(files[0], stop_before_pixels=True)
    result = Judgement(
        way.name, next(iter(sources.values()))[0], files[0], first.SOPClassUID.name, len(files)
    )
    _judge_identity(series, new, [datasets[path] for path in files], result)
    places = np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).astype(int))
    for path in [files[place] for place in places]:
        _judge_file(path, sources, way, result)
    return result


def _source_files(series: Any) -> dict[str, tuple[Path, Dataset]]:
    found: dict[str, tuple[Path, Dataset]] = {}
    for one in series.instances():
        path = Path(one.file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, stop_before_pixels=True, force=True)
        found[str(dataset.get("SOPInstanceUID", f"file:{path}"))] = (path, dataset)
    return found


# -- identity --------------------------------------------------------------------------------------


def _judge_identity(series: Any, new: Any, datasets: list[Dataset], result: Judgement) -> None:
    uids = [one.SOPInstanceUID for one in datasets]
    if len(set(uids)) != len(uids):
        result.wrong.append("SOPInstanceUID not unique")
    known = {one.SOPInstanceUID for other in series.parent.series() if other != new
             for one in other.instances()}  # fmt: skip
    if known & set(uids):
        result.wrong.append("SOPInstanceUID of another instance")
    numbers = [int(one.InstanceNumber) for one in datasets]
    if numbers != list(range(1, len(numbers) + 1)):
        result.wrong.append(f"InstanceNumber {numbers[:5]}")
    if [{one.SeriesInstanceUID for one in datasets}] != [set(new.SeriesInstanceUID)]:
        result.wrong.append("SeriesInstanceUID")
    if set(new.SeriesInstanceUID) == set(series.SeriesInstanceUID):
        result.wrong.append("the same SeriesInstanceUID")
    taken = {
        number for other in series.parent.series() if other != new for number in other.SeriesNumber
    }
    if any(one.SeriesNumber in taken for one in datasets):
        result.wrong.append(f"SeriesNumber {datasets[0].SeriesNumber} is taken")
    for one in datasets:
        last = one.ContributingEquipmentSequence[-1]
        if last.Manufacturer != "dbdicom_xr" or one.ImageType[0] != "DERIVED":
            result.wrong.append("not traceable")
            break


# -- one file --------------------------------------------------------------------------------------


def _judge_file(
    path: Path, sources: Mapping[str, tuple[Path, Dataset]], way: Way, result: Judgement
) -> None:
    new = dcmread(path)
    used, numbers = _referenced(new, sources, result)
    _judge_errors(path, used, sources, result)
    _vote(result, "dcmdump", dcmdump_ok(path))
    real = _frames_of(new)
    if way.options.get("dtype"):
        _vote(result, "highdicom", _equal(highdicom_values(path), real))
    else:
        _vote(result, "GDCM", _equal(gdcm_pixels(path), new.pixel_array))
        if _has_one_scale(new):  # it reads all frames with the scale of the first
            _vote(result, "SimpleITK", _equal(sitk_pixels(path), real))
    if way.name == _MEAN and len(real) == 1:
        _judge_mean(real[0], new.get("SourceImageSequence", []), sources, result)
    if not way.stays or not used:
        return
    for frame, (source, number) in enumerate(zip(used, numbers, strict=True)):
        if frame not in (0, len(used) // 2, len(used) - 1):
            continue
        _judge_values(real[frame], sources[source], number, result, new)
        _judge_place(plane_of(new, frame), sources[source][1], number, result)
    if len(used) == 1 and "NumberOfFrames" not in new:
        _judge_header(new, sources[used[0]], numbers[0], result)


def _vote(result: Judgement, reader: str, agrees: bool) -> None:
    result.readers[reader] = agrees and result.readers.get(reader, True)


def _equal(one: Any, other: Any) -> bool:
    one, other = (np.squeeze(np.asarray(values, float)) for values in (one, other))
    return one.shape == other.shape and bool(
        np.allclose(one, other, rtol=1e-6, atol=1e-6, equal_nan=True)
    )


def _referenced(
    new: Dataset, sources: Mapping[str, tuple[Path, Dataset]], result: Judgement
) -> tuple[list[str], list[int]]:
    """Return the source instance and frame (from 1) of each frame of a new file."""
    sequences = [new.get("SourceImageSequence", [])]
    if "PerFrameFunctionalGroupsSequence" in new:
        (shared,) = new.SharedFunctionalGroupsSequence
        sequences = []
        for group in new.PerFrameFunctionalGroupsSequence:
            (derivation,) = (
                group.get("DerivationImageSequence")
                or shared.get("DerivationImageSequence")
                or [Dataset()]
            )
            sequences.append(derivation.get("SourceImageSequence", []))
    used, numbers = [], []
    for sequence in sequences:
        for item in sequence:
            uid = item.ReferencedSOPInstanceUID
            if uid not in sources:
                result.wrong.append("SourceImageSequence names what is not there")
                continue
            if item.ReferencedSOPClassUID != sources[uid][1].SOPClassUID:
                result.wrong.append("SourceImageSequence names a wrong class")
            number = item.get("ReferencedFrameNumber", 1)
            used.append(str(uid))
            numbers.append(number if isinstance(number, int) else int(number[0]))
    if not used and all("file:" not in uid for uid in sources):
        result.wrong.append("no SourceImageSequence")
    return used, numbers


@cache
def _known_errors(path: Path) -> frozenset[str]:
    try:
        return frozenset(errors_of(path))
    except AssertionError:  # dciodvfy itself breaks down over it
        return frozenset([_NOT_JUDGED])


def _judge_errors(
    path: Path, used: list[str], sources: Mapping[str, tuple[Path, Dataset]], result: Judgement
) -> None:
    of = {result.source, *(sources[uid][0] for uid in (used[:1] + used[-1:]))}
    known = {error for one in of for error in _known_errors(one)}
    if _NOT_JUDGED in known:
        return
    found = errors_of(path)
    own = "SOPInstanceUID(0008,0018)"
    known |= {"Referenced" + e.replace("0008,0018", "0008,1155") for e in known if own in e}
    result.new_errors |= found - known


# -- values and places -----------------------------------------------------------------------------


def real_values(
    path: Path, dataset: Dataset, number: int, *, colour: bool = False
) -> np.ndarray[Any, Any]:
    """Return the real values of a frame (from 1), as pydicom reads them; colours of a palette."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = number - 1 if int(dataset.get("NumberOfFrames", 1) or 1) > 1 else None
        values = pixel_array(path, index=index, force=True)
        if colour and dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            return apply_color_lut(values, dataset)
        if "DoseGridScaling" in dataset:
            return values * float(dataset.DoseGridScaling)
        transformation = _group(dataset, number - 1, "PixelValueTransformationSequence")
        if transformation is not None:
            return values * float(transformation.RescaleSlope) + float(
                transformation.RescaleIntercept
            )
        return np.asarray(apply_modality_lut(values, dataset))


def _group(dataset: Dataset, frame: int, keyword: str) -> Dataset | None:
    """Return the item of a functional group of a frame, None where there is none."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*frames[frame : frame + 1], *(dataset.get("SharedFunctionalGroupsSequence") or [])]
    for group in groups:
        if group.get(keyword):
            return group[keyword].value[0]  # type: ignore[no-any-return]
    return None


def _has_one_scale(dataset: Dataset) -> bool:
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    said = {str(group.get("PixelValueTransformationSequence")) for group in groups}
    return len(said) < 2


def _frames_of(dataset: Dataset) -> np.ndarray[Any, Any]:
    """Return the real values of all frames, shape (frames, rows, columns[, 3])."""
    values = np.asarray(dataset.pixel_array)
    frames = int(dataset.get("NumberOfFrames", 1))
    values = values.reshape(frames, *values.shape[-3:]) if dataset.SamplesPerPixel == 3 else (
        values.reshape(frames, *values.shape[-2:]))  # fmt: skip
    if "FloatPixelData" in dataset:
        return values
    if frames == 1 and "SharedFunctionalGroupsSequence" not in dataset:
        return np.asarray(apply_modality_lut(values, dataset))
    result = []
    for frame, stored in enumerate(values):
        transformation = _group(dataset, frame, "PixelValueTransformationSequence")
        assert transformation is not None
        slope, intercept = transformation.RescaleSlope, transformation.RescaleIntercept
        result.append(stored * float(slope) + float(intercept))
    return np.array(result)


def _judge_values(
    real: np.ndarray[Any, Any],
    source: tuple[Path, Dataset],
    number: int,
    result: Judgement,
    new: Dataset,
) -> None:
    try:
        wanted = np.asarray(real_values(*source, number, colour=real.ndim == 3), float)
    except (AttributeError, ValueError, NotImplementedError, RuntimeError, TypeError):
        return  # pydicom cannot read it
    found = np.asarray(real, float)
    if wanted.shape != found.shape:
        wanted = _nearest_tile(wanted, found)
    off = np.abs(found - wanted)
    padding = new.get("PixelPaddingValue")
    if "DBDICOM_XR" in {e.value for e in new.group_dataset(0x0099)} and padding is not None:
        off = off[found != padding]
    result.error = max(result.error, float(off.max()) if off.size else 0.0)
    result.span = max(result.span, float(np.ptp(wanted)))
    result.checked += 1


def _judge_mean(
    real: np.ndarray[Any, Any],
    named: Any,
    sources: Mapping[str, tuple[Path, Dataset]],
    result: Judgement,
) -> None:
    """Compare an image with the mean of its sources, in float64; all there are if none is named."""
    frames: list[tuple[str, int]] = []
    for item in named:
        uid = str(item.ReferencedSOPInstanceUID)
        if uid not in sources:
            return
        numbers = item.get("ReferencedFrameNumber") or range(1, _count(sources[uid][1]) + 1)
        frames += [(uid, int(number)) for number in np.atleast_1d(numbers)]
    if not frames:
        for uid, (_, dataset) in sources.items():
            frames += [(uid, number) for number in range(1, _count(dataset) + 1)]
    total, count = np.zeros(real.shape), 0
    for uid, number in dict.fromkeys(frames):
        path, dataset = sources[uid]
        try:
            values = np.asarray(real_values(path, dataset, number), float)
        except (AttributeError, ValueError, NotImplementedError, RuntimeError, TypeError):
            return  # pydicom cannot read it
        if values.shape == real.shape:
            total, count = total + values, count + 1
        elif _TILES in dataset:  # places without a tile hold zeros
            total = total + sum(_tiles(values, real.shape))
            count += int(dataset[_TILES].value)
        else:
            return
    wanted = total / count
    result.error = max(result.error, float(np.abs(real - wanted).max()))
    result.span = max(result.span, float(np.ptp(wanted)))
    result.checked += 1


def _count(dataset: Dataset) -> int:
    return int(dataset.get("NumberOfFrames", 1) or 1)


def _nearest_tile(mosaic: np.ndarray[Any, Any], tile: np.ndarray[Any, Any]) -> Any:
    """Return the tile of a mosaic that is most like another."""
    return min(_tiles(mosaic, tile.shape), key=lambda one: float(np.abs(one - tile).max()))


def _tiles(mosaic: np.ndarray[Any, Any], shape: tuple[int, ...]) -> list[np.ndarray[Any, Any]]:
    rows, columns = shape[:2]
    return [
        mosaic[row : row + rows, column : column + columns]
        for row in range(0, mosaic.shape[0] - rows + 1, rows)
        for column in range(0, mosaic.shape[1] - columns + 1, columns)
    ]


def plane_of(dataset: Dataset, frame: int = 0) -> np.ndarray[Any, Any] | None:
    """Return position, orientation and spacing of a frame (from 0), None where it lacks one."""
    said: list[float] = []
    for keyword, macro in (
        ("ImagePositionPatient", "PlanePositionSequence"),
        ("ImageOrientationPatient", "PlaneOrientationSequence"),
        ("PixelSpacing", "PixelMeasuresSequence"),
    ):
        group = _group(dataset, frame, macro)
        value = (dataset if group is None else group).get(keyword)
        if not value:
            return None
        said += map(float, value)
    return np.array(said)


def _judge_place(
    new: np.ndarray[Any, Any] | None, source: Dataset, number: int, result: Judgement
) -> None:
    wanted = plane_of(source, number - 1)
    if wanted is None or _is_mosaic(source) or "GridFrameOffsetVector" in source:
        return
    if new is None or not np.allclose(new, wanted, rtol=0, atol=1e-5):
        result.wrong.append(f"place {new} instead of {wanted}")


def _is_mosaic(dataset: Dataset) -> bool:
    return not {"MOSAIC", "VFRAME"}.isdisjoint(dataset.get("ImageType") or [])


# -- what is said ----------------------------------------------------------------------------------

MAY_DIFFER: Final = frozenset(
    (
        # of the new instance, and where it comes from
        "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "SeriesNumber",
        "SpecificCharacterSet", "ImageType", "InstanceCreationDate", "InstanceCreationTime",
        "ContentDate", "ContentTime", "DerivationDescription", "SourceImageSequence",
        "ContributingEquipmentSequence", "InstanceCreatorUID",
    )
)  # fmt: skip


_OF_TILES: Final = frozenset(("ImagePositionPatient", "SliceLocation"))
_OF_MANY_FRAMES: Final = frozenset(("EnergyWindowVector", "DetectorVector", "SliceVector"))
# Indexes of the functional groups of a source; in another class they say something else.
_OF_THE_CLASS: Final = frozenset(("ReferencedSeriesSequence",))


def _judge_header(
    new: Dataset, source: tuple[Path, Dataset], number: int, result: Judgement
) -> None:
    """Compare what an image says with what its source does, where that has one frame."""
    old = source[1]
    if int(old.get("NumberOfFrames", 1) or 1) > 1:
        return
    other_class = new.SOPClassUID != old.get("SOPClassUID")
    for element in old:
        name, creator = element.keyword, str(element.private_creator or "").strip()
        key = Key(element.tag & 0xFFFF00FF if creator else int(element.tag), creator)
        if (
            name in MAY_DIFFER
            or name in _OF_MANY_FRAMES
            or (other_class and name in _OF_THE_CLASS)
            or is_obsolete(key)
            or element.tag.is_private_creator
            or element.is_empty
            or (_is_mosaic(old) and (name in _OF_TILES or is_of_a_mosaic(key)))
        ):
            continue
        found: Any = new.get(element.tag)
        if element.private_creator:
            try:
                block = new.private_block(element.tag.group, element.private_creator)
                found = block[element.tag & 0xFF]
            except KeyError:
                found = None
        if found is None:
            result.missing.add(name or str(key))
        elif _plain(found) != _plain(element):
            result.differing.add(name or str(key))


def _plain(element: Any) -> Any:
    """Return the value of an element, that of sequences without what says how it is encoded."""
    if element.VR == "SQ":
        return [
            [(one.tag, _plain(one)) for one in item if one.keyword != "SpecificCharacterSet"]
            for item in element.value
        ]
    return element.value
