"""Which frames of a template each image of a NIfTI file was made from.

Places decide which slices they are. Which volumes, the export decides: what it would write of the
template is compared with the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import DbdicomError, GridError, InvalidValue
from dbdicom_xr.formats.nifti_beside import read_sidecar
from dbdicom_xr.formats.nifti_reading import NiftiFile
from dbdicom_xr.formats.nifti_turns import Turn, turned_onto, turned_upright
from dbdicom_xr.geometry.affine import spacing_of
from dbdicom_xr.geometry.planes import Floats, Planes
from dbdicom_xr.geometry.stacks import split_by_orientation
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.slices import planes_of
from dbdicom_xr.records.exporting.nifti_images import NiftiOptions, images_of
from dbdicom_xr.records.instance import Instance
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.records.reading.gathered import Sources
from dbdicom_xr.records.reading.header import Header
from dbdicom_xr.records.reading.series_array import image_rows

if TYPE_CHECKING:
    from dbdicom_xr.records.levels import Series

__all__ = ["DIMS", "Placed", "Template", "placed_on", "template_of"]

Ints = npt.NDArray[np.intp]

DIMS: Final = ("volume", "slice")
"""The dimensions of images that come from a file."""

_SAME_GRID: Final = 0.05  # mm between voxels that are one, which went through 32 bits and 6 digits
_OF_A_STEP: Final = 0.25
# By which the side-car tells the files of one series apart.
_TELLING: Final = ("ImageType", "EchoTime", "EchoNumber", "InversionTime")


@dataclass(frozen=True)
class Template:
    """The frames whose header new images get.

    Parameters
    ----------
    series : Series
    table : Table
    rows : ndarray of int
        The frames, rows of the table.
    """

    series: Series
    table: Table
    rows: Ints


@dataclass(frozen=True)
class Placed:
    """What the images of a file get from a template.

    Parameters
    ----------
    turn : Turn
        How the voxels become images.
    header : Header
        Over volumes and slices.
    affine : ndarray of float64, shape (4, 4), or None
        The geometry, where it is not that of the header.
    is_export : bool
        Whether the file has the name that the export gives it.
    notices : tuple of str
    """

    turn: Turn
    header: Header
    affine: Floats | None
    is_export: bool
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    """A file that the export would write of the template."""

    name: str
    volumes: Ints  # rows of the table, shape (volumes, slices)
    shape: tuple[int, int]  # columns and rows
    affine: Floats | None
    said: Mapping[str, Any]


def template_of(template: Any) -> Template:
    """Return the frames of a template.

    Raises
    ------
    InvalidValue
        It is of another kind, or of several series.
    """
    if hasattr(template, "_own_table"):
        table = template._own_table
        return Template(template, table, image_rows(template, table))
    records: list[Any]
    if isinstance(template, (Instance, Common)):
        records = [template]
    elif isinstance(template, (list, tuple, np.ndarray)):
        records = np.asarray(template, dtype=object).ravel().tolist()
    else:
        records = [template]
    for one in records:
        if one is not None and not isinstance(one, (Instance, Common)):
            raise InvalidValue(
                f"template is {one!r}: give a series, the header that series.array() gave, an "
                "instance or a list of instances; or None for a neutral header."
            )
    found = Sources.of_records(records, ("n",), (len(records),))
    if found is None:
        raise InvalidValue("The template holds no frames. template=None gives a neutral header.")
    if len(found.tables) > 1:
        raise InvalidValue(
            f"The template holds frames of {len(found.tables)} series. Give those of the one that "
            "the file was made from."
        )
    (table,) = found.tables
    series: Any = found.database._record_at("series", table.series.key)
    rows = np.unique(found.rows)
    return Template(series, table, rows[np.isin(rows, image_rows(series, table))])


def placed_on(template: Template, file: NiftiFile) -> Placed:
    """Return what the images of a file get from a template.

    Raises
    ------
    GridError
        The file does not tell its place, and the template has one; or tells one that images cannot
        have.
    """
    if file.affine is None:
        return _by_size(template, file)
    found = _on_slices(template, file)
    if found is None:
        return _elsewhere(template, file)
    turn, rows, slice_of = found
    slices = turn.shape(file.shape)[2]
    groups = None
    if len(rows) > slices:
        groups = [g for g in _groups(template, rows) if g.volumes.shape[1] == slices]
    elif file.volumes == 1:
        cells = [rows[slice_of == number] for number in range(slices)]
        return Placed(turn, _header(template, cells, (1, slices)), None, False, ())
    chosen, told, notices = _chosen(template, groups or [], file)
    if chosen is not None and len(chosen) == file.volumes:
        cells = [np.array([row]) for row in chosen.ravel().tolist()]
    else:
        if chosen is not None:
            kept = np.isin(rows, chosen)
            rows, slice_of = rows[kept], slice_of[kept]
        cells = [rows[slice_of == number] for number in range(slices)] * file.volumes
    header = _header(template, cells, (file.volumes, slices))
    return Placed(turn, header, None, told, notices)


def _header(template: Template, cells: Sequence[Ints], shape: tuple[int, int]) -> Header:
    """Return the header over volumes and slices of frames, which are given for each image."""
    counts = [len(cell) for cell in cells]
    rows = np.concatenate(list(cells))
    sources = Sources(
        template.series.database,
        (template.table,),
        np.zeros(len(rows), np.intp),
        rows,
        np.concatenate([[0], np.cumsum(counts)]),
        DIMS,
        shape,
    )
    return Header.of_records(sources.records(), shape, DIMS, {})


# -- by place ------------------------------------------------------------------------------------


def _on_slices(template: Template, file: NiftiFile) -> tuple[Turn, Ints, Ints] | None:
    """Return how a file lies on slices of a template: their frames, and which slice each is."""
    assert file.affine is not None
    planes = planes_of(template.table, template.rows)
    known = np.isfinite(np.hstack([planes.position, planes.orientation, planes.pixel_spacing]))
    placed = np.flatnonzero(known.all(axis=1))
    if not len(placed):
        return None
    sizes = _sizes(template)
    for stack in split_by_orientation(planes.orientation[placed]):
        mine = placed[stack]
        turn = turned_onto(file.affine, file.shape, planes.orientation[mine[0]])
        if turn is None:
            continue
        columns, rows, slices = turn.shape(file.shape)
        mine = mine[(sizes[mine] == (columns, rows)).all(axis=1)]
        if not len(mine):
            continue
        affine = turn.affine(file.affine, file.shape)
        number = _slice_numbers(planes.take(mine), affine, (columns, rows, slices))
        if len(np.unique(number[number >= 0])) == slices:
            return turn, template.rows[mine[number >= 0]], number[number >= 0]
    return None


def _sizes(template: Template) -> npt.NDArray[np.int64]:
    """Return columns and rows of each frame, shape (frames, 2)."""
    found = []
    for keyword in ("Columns", "Rows"):
        values = parse_name(keyword).values(template.table)
        assert values is not None  # it has pixels
        pool = np.array([v if isinstance(v, int) else -1 for v in (*values.distinct, None)])
        found.append(pool[values.codes[template.rows]])
    return np.stack(found, 1)


def _slice_numbers(planes: Planes, affine: Floats, shape: tuple[int, int, int]) -> Ints:
    """Return the slice that each plane is, -1 for none: its corners lie where those of it do."""
    columns, rows, slices = shape
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    step = float(affine[:3, 2] @ normal)
    along = (planes.position - affine[:3, 3]) @ normal
    number = np.zeros(len(planes), np.intp)
    if slices > 1 and step:
        number = np.clip(np.round(along / step), 0, slices - 1).astype(np.intp)
    tolerance = min(_SAME_GRID, _OF_A_STEP * step) if slices > 1 else _SAME_GRID
    x, y = planes.orientation[:, :3], planes.orientation[:, 3:]
    x = x * planes.pixel_spacing[:, 1:] * (columns - 1)
    y = y * planes.pixel_spacing[:, :1] * (rows - 1)
    first = affine[:3, 3] + number[:, None] * affine[:3, 2]
    off = np.zeros(len(planes))
    for right, down in ((0, 0), (1, 0), (0, 1)):
        corner = first + right * (columns - 1) * affine[:3, 0] + down * (rows - 1) * affine[:3, 1]
        there = planes.position + right * x + down * y
        off = np.maximum(off, np.linalg.norm(there - corner, axis=1))
    return np.where(off <= tolerance, number, -1)


def _by_size(template: Template, file: NiftiFile) -> Placed:
    """Return what a file gets that tells no place, as the export writes images without one."""
    turn = Turn(flips=(False, True, False))
    groups = [group for group in _groups(template, template.rows) if group.affine is None]
    fitting = [
        group for group in groups
        if (*group.shape, group.volumes.shape[1]) == file.shape
        and len(group.volumes) == file.volumes
    ]  # fmt: skip
    told = [group for group in fitting if _is_name(file.stem, group.name)]
    if len(told) != 1 and len(fitting) != 1:
        raise GridError(
            f"{file.path} does not tell where its voxels lie (the codes of sform and qform are 0), "
            f"so that it cannot be laid on {template.series!r}. Give it its place with nibabel, "
            "image.set_sform(affine, code=1), or leave out the template."
        )
    (group,) = told if len(told) == 1 else fitting
    cells = [np.array([row]) for row in group.volumes.ravel().tolist()]
    header = _header(template, cells, (len(group.volumes), group.volumes.shape[1]))
    return Placed(turn, header, None, len(told) == 1, ())


def _elsewhere(template: Template, file: NiftiFile) -> Placed:
    """Return what a file gets whose voxels are not those of the template."""
    assert file.affine is not None
    turn = turned_upright(file.path, file.affine, file.shape)
    slices = turn.shape(file.shape)[2]
    groups = _groups(template, template.rows)
    chosen, told, notices = _chosen(template, groups, file)
    volumes: list[Ints] = [template.rows] * file.volumes
    if chosen is not None:
        same = len(chosen) == file.volumes
        volumes = list(chosen) if same else [chosen.ravel()] * file.volumes
    cells = [volume for volume in volumes for _ in range(slices)]
    sizes = " by ".join(map(str, file.shape))
    spacing = " by ".join(f"{size:.4g}" for size in spacing_of(file.affine))
    notice = (
        f"{file.path} lies on another grid than {template.series!r}: it has {sizes} voxels of "
        f"{spacing} mm{_described(groups)}. Its images say what those of the template have in "
        "common, and lie where the file says."
    )
    affine = turn.affine(file.affine, file.shape)
    header = _header(template, cells, (file.volumes, slices))
    return Placed(turn, header, affine, told, (notice, *notices))


def _described(groups: Sequence[_Group]) -> str:
    for group in groups:
        if group.affine is not None:
            sizes = " by ".join(map(str, (*group.shape, group.volumes.shape[1])))
            spacing = " by ".join(f"{size:.4g}" for size in spacing_of(group.affine))
            return f", and the template {sizes} of {spacing} mm"
    return ""


# -- by volume -----------------------------------------------------------------------------------


def _groups(template: Template, rows: Ints) -> list[_Group]:
    """Return what the export would make of frames; nothing where it refuses them."""
    for sidecar in (True, False):
        try:
            found = images_of(template.series, rows, NiftiOptions(sidecar=sidecar))
        except DbdicomError:  # gradients that vary within a volume; then slices that are uneven
            continue
        return [
            _Group(
                one.name,
                np.asarray(one.image.frames.rows, np.intp),  # type: ignore[attr-defined]
                one.image.frames.shape[2:4],  # type: ignore[arg-type]
                one.image.affine,
                json.loads(one.texts.get(".json", "{}")),
            )
            for one in found
        ]
    return []


def _chosen(
    template: Template, groups: Sequence[_Group], file: NiftiFile
) -> tuple[Ints | None, bool, tuple[str, ...]]:
    """Return the frames that a file was made from, shape (volumes, slices).

    Returns
    -------
    volumes : ndarray of int or None
        As many as the file has; or others, of which it was computed. None: all at its place.
    told : bool
        Whether the name of the file tells so.
    notices : tuple of str
    """
    named = [group for group in groups if _is_name(file.stem, group.name)]
    told = len(named) == 1
    left = named if told else _by_sidecar(groups, file)
    if len(left) == 1:
        volumes = left[0].volumes
    elif file.volumes > 1 and len(fit := [g for g in left if len(g.volumes) == file.volumes]) == 1:
        volumes = fit[0].volumes
    elif file.volumes > 1 and _are_together(left, file.volumes):
        volumes = np.concatenate([group.volumes for group in left])
    else:
        volumes = None
    if file.volumes == 1 or (volumes is not None and len(volumes) == file.volumes):
        return volumes, told, ()
    counts = sorted({len(group.volumes) for group in groups})
    notice = (
        f"{file.path} has {file.volumes} volumes, and {template.series!r} "
        f"{' or '.join(map(str, counts)) or 'others'}, so that it is not known which are which: "
        "its images say what all at their place have in common."
    )
    return volumes, told, (notice,)


def _are_together(groups: Sequence[_Group], volumes: int) -> bool:
    """Return whether the volumes of several groups are those of one file."""
    same = len({group.volumes.shape[1] for group in groups}) == 1
    return same and sum(len(group.volumes) for group in groups) == volumes


def _is_name(stem: str, name: str) -> bool:
    """Return whether a file has the name that the export gives it, also after a patient's."""
    return stem == name or stem.endswith(f"_{name}")


def _by_sidecar(groups: Sequence[_Group], file: NiftiFile) -> list[_Group]:
    """Return the groups that say what the side-car of a file says, all where it tells nothing."""
    left = list(groups)
    content = read_sidecar(file.beside(".json")) if len(groups) > 1 else {}
    for name in _TELLING:
        if name in content:
            left = [g for g in left if _is_told(g.said.get(name), content[name])] or left
    return left


def _is_told(own: Any, told: Any) -> bool:
    """Return whether a side-car tells a value.

    dcm2niix cuts an ImageType at underscores, and adds words.
    """
    if isinstance(own, list) and isinstance(told, list):
        words, others = (
            {word for part in one for word in str(part).split("_")} for one in (own, told)
        )
        return words <= others
    return bool(own == told)
