"""``import_nifti``: NIfTI files as new series, with the header of a template or a neutral one."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbdicom_xr.errors import DbdicomError, DicomWarning, GridError, InvalidValue
from dbdicom_xr.formats.nifti_beside import gradient_table, in_patient, read_sidecar, said_by
from dbdicom_xr.formats.nifti_reading import NiftiFile, nifti_files, open_nifti
from dbdicom_xr.formats.nifti_turns import Turn, turned_upright
from dbdicom_xr.geometry.affine import in_space
from dbdicom_xr.geometry.planes import Floats
from dbdicom_xr.records.attributes.lookup import nowhere, parse_name
from dbdicom_xr.records.current import levels_to_user
from dbdicom_xr.records.editing.edits import encoded_one
from dbdicom_xr.records.importing.nifti_templates import DIMS, Template, placed_on, template_of
from dbdicom_xr.records.writing.new_images import refuse_pixels

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.levels import Series
    from dbdicom_xr.records.reading.header import Header
    from dbdicom_xr.records.record import Record

__all__ = ["import_nifti"]

# The files beside an image say again what the template says, rounded.
_SAME_B_VALUE: Final = 0.5  # s/mm2
_SAME_DIRECTION: Final = 1e-3
_LONGEST: Final = 64  # characters of a SeriesDescription (LO, PS3.5 6.2)


@dataclass(frozen=True)
class _Weighting:
    """Diffusion weighting of each volume; directions None where they are not known."""

    b_values: list[float]
    directions: list[list[float] | None] | None


_Weighted = tuple[list[float], list[list[float] | None] | None]
"""b-value and direction of each image."""


def import_nifti(
    record: Record,
    path: Any,
    template: Any,
    *,
    bval: Any,
    bvec: Any,
    attributes: Mapping[str, Any],
) -> Series | list[Series]:
    """Make series of NIfTI files. See :meth:`Record.import_nifti`."""
    files, several = nifti_files(path)
    refuse_pixels(dict(encoded_one(parse_name(n, nowhere), v) for n, v in attributes.items()))
    for name, given in (("bval", bval), ("bvec", bvec)):
        if len(files) > 1 and given is not None and given is not False:
            raise InvalidValue(
                f"{name} is given for {len(files)} files. Import them one by one, or put it beside "
                f"each, under the same name with the ending .{name}."
            )
    frames = None if template is None else template_of(template)
    target = _target(record, frames)
    there = {target, *_above(target)}
    made: list[Series] = []
    try:
        for name in files:
            with tempfile.TemporaryDirectory(prefix="dbdicom_xr_") as scratch:
                file = open_nifti(name, scratch)
                _import_one(target, file, frames, _weighting(file, bval, bvec), attributes, made)
            target = made[-1].parent  # what comes in one call is of one study
    except BaseException:
        _take_back(made, there)
        raise
    return made if several else made[0]


def _target(record: Record, frames: Template | None) -> Any:
    """Return in which record the series is made: the study of the template, where it is below."""
    if frames is not None and record.level in ("database", "patient"):
        study = frames.series.parent
        if record in _above(study):
            return study
    return record


def _above(record: Any) -> list[Any]:
    found = []
    while record.level != "database":
        record = record.parent
        found.append(record)
    return found


def _take_back(made: Iterable[Any], there: set[Any]) -> None:
    """Remove series, and what was made above them."""
    tops: dict[Any, None] = {}
    for top in made:
        while top.parent not in there:
            top = top.parent
        tops[top] = None
    for top in tops:
        top.restore()


# -- one file ------------------------------------------------------------------------------------


def _import_one(
    target: Any,
    file: NiftiFile,
    frames: Template | None,
    weighting: _Weighting | None,
    attributes: Mapping[str, Any],
    made: list[Series],
) -> None:
    """Make the series of a file, and add it to those made as soon as it is there."""
    said: dict[str, Any] = {}
    if frames is not None:
        placed = placed_on(frames, file)
        turn, header, affine = placed.turn, placed.header, placed.affine
        notices = placed.notices
        if not placed.is_export:
            said["SeriesDescription"] = _description(file)
    else:
        turn, affine, notices = _own_place(file)
        header = None
        said, left_out = _own_words(file)
        notices += left_out
    for notice in (*file.notices, *notices):
        warnings.warn(notice, DicomWarning, stacklevel=levels_to_user())
    series: Series = target.new_series(**{**said, **attributes})
    made.append(series)
    more = {}
    if frames is not None and affine is not None and "FrameOfReferenceUID" not in attributes:
        more = _frame_of_reference(series, frames, header)
    counts_time = header is None and weighting is None and file.repetition_time is not None
    array = _labelled(file, turn, counts_time=counts_time)
    try:
        series.set_array(array, "template" if header is None else header, affine=affine, **more)
    except DbdicomError as error:
        if file.path in str(error):
            raise
        raise type(error)(f"{file.path}: {error}") from error
    _weight(series, weighting, header, (file.volumes, turn.shape(file.shape)[2]))


def _labelled(file: NiftiFile, turn: Turn, *, counts_time: bool) -> xr.DataArray:
    import xarray as xr

    dims = (*DIMS, "x", "y", *(["channel"] if file.is_colour else []))
    array = xr.DataArray(file.voxels(turn), dims=dims)
    if counts_time:
        numbers = np.arange(1, file.volumes + 1)
        array = array.assign_coords(TemporalPositionIdentifier=(DIMS[0], numbers))
    return array


def _description(file: NiftiFile) -> str:
    return file.stem.replace("\\", "_").strip()[:_LONGEST]


def _own_place(file: NiftiFile) -> tuple[Turn, Floats, tuple[str, ...]]:
    """Return how a file becomes images that no template places, and their affine."""
    if file.affine is None:
        notice = (
            f"{file.path} does not tell where its voxels lie (the codes of sform and qform are 0): "
            "its images are axial ones at the origin, as if the first voxel were on the right of "
            "the patient, at the back and at the feet. Left and right may be wrong."
        )
        return Turn(flips=(False, True, False)), np.diag([*file.spacing, 1.0]), (notice,)
    turn = turned_upright(file.path, file.affine, file.shape)
    return turn, turn.affine(file.affine, file.shape), ()


def _own_words(file: NiftiFile) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what a file and its side-car say, and what of that cannot be said in DICOM."""
    path = file.beside(".json")
    said = said_by(read_sidecar(path))
    notices = []
    for keyword, value in list(said.items()):
        try:
            encoded_one(parse_name(keyword), value)
        except DbdicomError as error:
            del said[keyword]
            notices.append(f"{path}: {keyword} is left out. {error}")
    said.setdefault("SeriesDescription", _description(file))
    if file.repetition_time is not None:
        said.setdefault("RepetitionTime", round(file.repetition_time, 6))
    return said, tuple(notices)


def _frame_of_reference(series: Series, frames: Template, header: Header | None) -> dict[str, Any]:
    """Return the frame of reference of a template: what was brought onto another grid lies in it.

    Not that of another patient (PS3.3 C.7.4.1.1.1).
    """
    key = frames.table.series.key
    if header is None or series._node.patient != (key.patient_id, key.patient_name):
        return {}
    found = set(header.column("FrameOfReferenceUID").ravel().tolist())
    uid = found.pop()
    return {} if found or not uid else {"FrameOfReferenceUID": uid}


# -- diffusion -----------------------------------------------------------------------------------


def _weighting(file: NiftiFile, bval: Any, bvec: Any) -> _Weighting | None:
    """Return the diffusion weighting that was given, or stands beside a file."""
    bval = file.beside(".bval") if bval is None else None if bval is False else bval
    bvec = file.beside(".bvec") if bvec is None else None if bvec is False else bvec
    if bval is None:
        if bvec is not None:
            raise InvalidValue(
                f"There are directions of diffusion gradients for {file.path}, and no b-values: "
                "give them as bval=, or leave the directions out with bvec=False."
            )
        return None
    b_values = gradient_table(bval, 1, file.volumes, "bval")[0].tolist()
    if bvec is None:
        return _Weighting(b_values, None)
    if file.affine is None:
        raise GridError(
            f"{file.path} does not tell how it lies in the patient, and so not which way its "
            "diffusion gradients point. bvec=False leaves them out."
        )
    table = gradient_table(bvec, 3, file.volumes, "bvec")
    directions = in_patient(table, in_space(file.affine, "RAS"))
    return _Weighting(
        b_values, [d if b else None for d, b in zip(directions, b_values, strict=True)]
    )


def _weight(
    series: Series, weighting: _Weighting | None, header: Header | None, shape: tuple[int, int]
) -> None:
    """Set the diffusion weighting of images where they do not say it (PS3.3 C.8.13.5.9).

    What the template says has more digits than the files beside an image. Some of it gets lost on
    the way: scanners tell it in places that derived images do not have.
    """
    wanted = _of_header(header)
    if weighting is not None:
        given = _of_volumes(weighting, shape[1])
        if wanted is None or not _are_same(wanted, given):
            wanted = given
    if wanted is None:
        return
    said = _of_header(series.array()[1])
    if said is not None and _are_same(said, wanted):
        return
    b_values, directions = wanted
    series.set_values("DiffusionBValue", b_values)
    if directions is None:
        return
    series.set_values("DiffusionGradientOrientation", directions)
    kinds = [
        "NONE" if b == 0 else None if direction is None else "DIRECTIONAL"
        for b, direction in zip(b_values, directions, strict=True)
    ]
    series.set_values("DiffusionDirectionality", kinds)


def _of_volumes(weighting: _Weighting, slices: int) -> _Weighted:
    """Return the weighting of images, which stand volume by volume."""
    b_values = [b for b in weighting.b_values for _ in range(slices)]
    if weighting.directions is None:
        return b_values, None
    return b_values, [one for one in weighting.directions for _ in range(slices)]


def _of_header(header: Header | None) -> _Weighted | None:
    """Return the weighting that a header tells of each image, None where there is none."""
    if header is None:
        return None
    b_values = header.column("b_value").ravel().tolist()
    if any(b is None for b in b_values) or not any(b_values):
        return None
    directions = header.column("gradient_direction").ravel().tolist()
    return b_values, directions if any(one is not None for one in directions) else None


def _are_same(first: _Weighted, second: _Weighted) -> bool:
    """Return whether two weightings are one, but for rounding. What one lacks does not count."""
    if max(abs(a - b) for a, b in zip(first[0], second[0], strict=True)) > _SAME_B_VALUE:
        return False
    if second[1] is None:
        return True
    if first[1] is None:
        return not any(one is not None for one in second[1])
    for a, b in zip(first[1], second[1], strict=True):
        if a is None or b is None:
            if a is not b:
                return False
        elif not np.allclose(a, b, rtol=0, atol=_SAME_DIRECTION):
            return False
    return True
