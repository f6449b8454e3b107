"""Arrays into series: what the new images say, and the graph that writes them.

Nothing of the series changes before all images are on the disk.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.compress import syntax_uid
from dbdicom_xr.emit.elements import Elements, constant, key_of, lookup
from dbdicom_xr.emit.frame_references import source_evidence
from dbdicom_xr.emit.kinds import Kind, kind_for, kind_named, rescale_type
from dbdicom_xr.emit.parametric import require_highdicom
from dbdicom_xr.emit.plan import GAP, IMAGES, Form, WritePlan, store_plan
from dbdicom_xr.emit.writer import BlockWriter, leave_manifest, range_of
from dbdicom_xr.errors import DicomWarning, InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.interact import progress_bar
from dbdicom_xr.pixels.quantise import Target, require_numbers
from dbdicom_xr.records.current import levels_to_user, of_one_state
from dbdicom_xr.records.editing.placing import key_of_node, said_at
from dbdicom_xr.records.reading.sources import Sources, sources_of
from dbdicom_xr.records.writing.adopting import Mode, begin_write, give_up, let_go
from dbdicom_xr.records.writing.expected import adopt_computed, adopt_finished, expect
from dbdicom_xr.records.writing.labelled import labelled_images
from dbdicom_xr.records.writing.meanwhile import Said, said_by
from dbdicom_xr.records.writing.new_images import new_elements

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.levels import Series

__all__ = ["write_array"]

_MODALITY: Final = Key(0x00080060)
_EVIDENCE: Final = key_of("SourceImageEvidenceSequence")
_CLASS: Final = Key(0x00080016)
_LOOK_SECONDS: Final = 0.3


@dataclass(frozen=True)
class _Options:
    """How an array is to be written."""

    mode: Mode
    dtype: str | None
    scale: Literal["frame", "series", "file"]
    form: Form
    transfer_syntax: str


def write_array(
    series: Series,
    array: Any,
    header: Any = None,
    *,
    pixels_first: bool = False,
    mode: str = "w",
    dtype: Any = None,
    scale: str | None = None,
    multiframe: bool = False,
    transfer_syntax: str | None = None,
    compute: bool = True,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    kind: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Any:
    """Write an array into a series; see :meth:`Series.set_array`.

    Parameters
    ----------
    kind : {"mri", "ct", "pet", "sc"}, optional
        The kind of object; by default that of the sources.
    """
    options = _options(mode, dtype, scale, multiframe, transfer_syntax)
    labelled = labelled_images(array, header, pixels_first=pixels_first, kind=kind)
    require_numbers(labelled.dtype)
    if not labelled.size:
        raise InvalidValue(f"There is nothing to write in an array of shape {labelled.shape}.")
    plan, said = _planned(
        series, labelled, header, options, kind=kind, affine=affine, spacing=spacing,
        attributes=attributes or {},
    )  # fmt: skip
    return _carried_out(series, labelled, plan, options, said, compute=compute)


@of_one_state
def _planned(
    series: Series,
    labelled: xr.DataArray,
    header: Any,
    options: _Options,
    *,
    kind: str | None,
    affine: npt.ArrayLike | None,
    spacing: Sequence[float] | None,
    attributes: Mapping[str, Any],
) -> tuple[WritePlan, Said]:
    """Return what is to be written, and what is said of the series meanwhile."""
    sources = _sources(series, labelled, header)
    if sources is None and header is None and kind is None:
        _check_neutral_header(series, options)
    depth = labelled.ndim - (3 if "channel" in labelled.dims else 2)
    shape, names = labelled.shape[:depth], [str(dim) for dim in labelled.dims[:depth]]
    cells = int(np.prod(shape, dtype=np.int64))
    wanted = _kind(series, sources, "channel" in labelled.dims, kind)
    _check_form(options, wanted)
    if options.mode == "a":
        _check_fit(series, labelled, wanted)
    if options.mode == "a" and sources is None:
        known = series.FrameOfReferenceUID
        attributes = {**({"FrameOfReferenceUID": known[0]} if known else {}), **attributes}
    elements, kept = new_elements(
        series, labelled, sources, wanted, attributes,
        append=options.mode == "a", single=options.form == "multiframe", affine=affine,
        spacing=spacing,
    )  # fmt: skip
    count = len(kept)
    if options.mode == "a":
        _check_place(series, elements)
    if sources is not None and options.form != "images":
        evidence = source_evidence(_instances_of(sources))
        if evidence is not None:
            elements[_EVIDENCE] = constant(_EVIDENCE, evidence, count)
    slopes, intercepts = _source_scales(sources, cells)
    images = np.full(cells, GAP, np.int64)
    images[kept] = np.arange(count)
    plan = WritePlan(
        elements, images, shape, names,
        frame=(labelled.sizes["y"], labelled.sizes["x"]),
        dtype=options.dtype or "",
        target=_target(wanted, options, labelled.dtype),
        form=options.form,
        transfer_syntax=options.transfer_syntax,
        rescales=wanted.rescales,
        rescale_type=_rescale_type(wanted, sources, elements),
        signed=sources is not None and _is_signed(sources),
        slopes=slopes[kept],
        intercepts=intercepts[kept],
        one_scale=options.scale == "file",
    )  # fmt: skip
    return plan, said_by(series, sources)


def _check_fit(series: Series, array: xr.DataArray, kind: Kind) -> None:
    """Refuse images that cannot stand in one series with those that are there."""
    row = series._node.row
    if row is None or not row.instances:
        return
    here: dict[str, Any] = {"Rows": array.sizes["y"], "Columns": array.sizes["x"]}
    if kind.name != "sc":
        here["Modality"] = kind.modality
    for keyword, value in here.items():
        known = series[keyword]
        if known and value not in known:
            raise InvalidValue(
                f"{series!r} has images of {keyword} {', '.join(map(str, known))}, and those of "
                f"the array are of {value}: write them into a series of their own."
            )


def _check_place(series: Series, elements: Elements) -> None:
    """Refuse images of another frame of reference than that of their series (PS3.3 C.7.4.1)."""
    column = elements.get(key_of("FrameOfReferenceUID"))
    known = series.FrameOfReferenceUID
    new = [] if column is None else [uid for uid in column.decoded() if uid]
    if known and new and not set(new) <= set(known):
        raise InvalidValue(
            f"The images lie in another frame of reference than those of {series!r}, so that "
            "their places do not compare: write them into a series of their own, or give the "
            f"one that holds for them: FrameOfReferenceUID={known[0]!r}."
        )


def _check_form(options: _Options, kind: Kind) -> None:
    """Refuse forms that a kind of object does not have."""
    if options.form == "multiframe" and kind.name != "mri":
        raise InvalidValue(
            f"multiframe=True makes Enhanced MR, and these images are of the kind {kind.name!r}: "
            "leave it out, for one file per image."
        )
    if options.form == "maps":
        if kind.colour:
            raise InvalidValue("A Parametric Map holds numbers, not colours: leave out dtype.")
        require_highdicom()


# -- what is asked for ---------------------------------------------------------------------------


def _options(mode: Any, dtype: Any, scale: Any, multiframe: Any, transfer_syntax: Any) -> _Options:
    if mode not in ("w", "a"):
        raise InvalidValue(f"mode is {mode!r}; it can be 'w' (replace the images) or 'a' (add).")
    if scale not in (None, "frame", "series"):
        raise InvalidValue(f"scale is {scale!r}; it can be None, 'frame' or 'series'.")
    try:
        name = None if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in (None, "float32", "float64"):
        raise InvalidValue(
            f"dtype is {dtype!r}; it can be None (16 bits per pixel), 'float32' or 'float64' "
            "(Parametric Maps). To write other integers, convert the array: array.astype(...)."
        )
    syntax = syntax_uid(transfer_syntax)
    if name is not None and (multiframe or transfer_syntax is not None):
        raise InvalidValue(
            "Parametric Maps (dtype='float32' or 'float64') are multi-frame files without "
            "compression: leave out multiframe and transfer_syntax."
        )
    form: Form = "maps" if name else "multiframe" if multiframe else "images"
    by_default: Literal["file", "frame"] = "file" if form == "multiframe" else "frame"
    return _Options(mode, name, scale or by_default, form, syntax)


# -- what the images say --------------------------------------------------------------------------


def _sources(series: Series, array: xr.DataArray, header: Any) -> Sources | None:
    """Return the frames that an array was made from, None where it gets a neutral header."""
    if isinstance(header, str):
        if header != "template":
            raise InvalidValue(f"header is {header!r}; a text can only be 'template'.")
        return None
    return None if header is None and not _carries(array) else sources_of(array, header)


def _check_neutral_header(series: Series, options: _Options) -> None:
    """Tell that images lose what is known of them, where that may not be meant."""
    row = series._node.row
    filled = row is not None and row.instances > 0
    if filled and options.mode == "a":
        raise InvalidValue(
            f"The array does not tell what it was made from, and {series!r} has images: beside "
            "them it needs a header. header=... gives one; header='template' a neutral one."
        )
    study = series._node.parent
    if filled or (study is not None and any(row.instances for row in study.series())):
        warnings.warn(
            f"The array does not tell what it was made from, so that its images in {series!r} get "
            "a neutral header, of no scanner and no place. header=... gives them one; "
            "header='template' silences this.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )


def _carries(array: xr.DataArray) -> bool:
    """Return whether an array says anything of where it is from."""
    return "SOPInstanceUID" in array.coords or any(
        name in array.attrs for name in ("database", "SeriesInstanceUID")
    )


def _kind(series: Series, sources: Sources | None, colour: bool, name: str | None) -> Kind:
    if name is not None:
        return (
            kind_named(name)
            if not colour
            else kind_for(kind_named("sc").sop_class, "OT", colour=True)
        )
    encoded = said_at(series.database, series._node).get(_MODALITY)
    said = "" if encoded is None else encoded.value.decode("ascii").strip()
    row = series._node.row
    if said and (row is None or not row.instances):  # as it was made
        by_modality = {"MR": "mri", "CT": "ct", "PT": "pet"}.get(said, "sc")
        sop_class, modality = kind_named(by_modality).sop_class, said
        if sources is not None and said == _text(sources.first(_MODALITY)):
            sop_class = _text(sources.first(_CLASS))
    elif sources is not None:
        sop_class, modality = _text(sources.first(_CLASS)), _text(sources.first(_MODALITY))
    else:
        made = series.SOPClassUID
        sop_class, modality = made[0] if made else kind_named("mri").sop_class, said
    return kind_for(sop_class, modality, colour=colour)


def _instances_of(sources: Sources) -> Iterator[tuple[str, str, str, str]]:
    """Yield UIDs of study and series, class and UID of each instance that was a source."""
    for number, table in enumerate(sources.tables):
        rows = sources.rows[sources.table_of == number]
        column, key = table.column(_CLASS), table.series.key
        for instance in np.unique(table.instance_of[rows]).tolist():
            uid = table.uids[instance]
            sop_class = "" if column is None else str(column.value(instance) or "")
            named = "" if uid.startswith("file:") else uid
            yield key.study_uid, key.series_uid, sop_class, named


def _rescale_type(kind: Kind, sources: Sources | None, elements: Elements) -> str:
    """Return the unit that RescaleType tells: what is said, else that of the sources."""
    # What the caller gives: images that are derived from others leave it out.
    said = lookup(elements, "RescaleType")
    if said and said[0]:
        return str(said[0])
    if kind.name != "ct" or sources is None:
        return rescale_type(kind, elements)
    key = key_of("RescaleType")
    first, common = sources.first(key), sources.common(key)
    if kind_for(_text(sources.first(_CLASS)), "", colour=False).name != "ct":
        return "US"
    if first is None:
        return rescale_type(kind, {})
    if common is None or bool((common.codes_of() != first.codes_of()).any()):
        return "US"
    return rescale_type(kind, {key: first})


def _target(kind: Kind, options: _Options, dtype: Any) -> Target:
    """Return how pixels are stored; the frames of one object share their type and padding."""
    if options.form == "multiframe":
        small = dtype.kind == "i" and dtype.itemsize <= 2  # stored as they are, all of them
        return replace(kind.target, signed=small, reserve=True)
    return kind.target


def _text(column: Any) -> str:
    if column is None:
        return ""
    return str(next((value for value in column.decoded() if value), ""))


def _source_scales(
    sources: Sources | None, cells: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return slope and intercept of the sources of each image, NaN where they differ."""
    slopes, intercepts = np.full(cells, np.nan), np.full(cells, np.nan)
    if sources is None:
        return slopes, intercepts
    for values, keyword in ((slopes, "RescaleSlope"), (intercepts, "RescaleIntercept")):
        common, first = sources.common(key_of(keyword)), sources.first(key_of(keyword))
        if common is not None:
            known = np.array([_number(value) for value in common.decoded()] + [np.nan])
            values[:] = known[common.codes_of()]
        if values is intercepts:
            values[np.full(cells, True) if first is None else first.codes_of() < 0] = 0.0
    return slopes, np.where(np.isnan(slopes), np.nan, intercepts)


def _is_signed(sources: Sources) -> bool:
    """Return whether some source stores negative numbers."""
    column = sources.first(key_of("PixelRepresentation"))
    return column is not None and 1 in column.decoded()


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else np.nan


# -- doing it --------------------------------------------------------------------------------------


def _carried_out(
    series: Series,
    array: xr.DataArray,
    plan: WritePlan,
    options: _Options,
    said: Said,
    *,
    compute: bool,
) -> Any:
    database = series.database
    whole_numbers = array.dtype.kind in "biu" and options.form != "maps"
    folder = begin_write(
        database, key_of_node(series._node), options.mode, whole_numbers=whole_numbers, said=said
    )
    try:
        store_plan(folder, plan)
        data = array.data.astype(options.dtype) if options.dtype else array.data
        writing = _graph(data, plan, folder, options, _Result(series), compute=compute)
        if not compute:
            expect(series, folder)
            let_go(database)
            return writing
        with database._staging.keeping(), _progress(series, folder, plan):
            writing.compute()
    except BaseException:
        give_up(folder)
        let_go(database)
        raise
    adopt_computed(series, folder)
    return series


@dataclass(frozen=True)
class _Result:
    """Holds the series in a graph: dask would look into a record, which is a mapping."""

    series: Series

    def __dask_tokenize__(self) -> Any:
        return repr(self.series)


def _graph(
    data: Any, plan: WritePlan, folder: str, options: _Options, result: _Result, *, compute: bool
) -> Any:
    """Return the write as a Delayed that gives the series."""
    from dask.delayed import delayed

    depth = len(plan.shape)
    more = {}
    if options.scale == "series" and options.form != "maps":
        more["ends"] = delayed(np.asarray)(range_of(data))
    errors = data.map_blocks(
        BlockWriter(folder),
        dtype=np.float64,
        drop_axis=list(range(depth, data.ndim)),
        meta=np.empty((0,) * depth),
        name=f"write-{os.path.basename(folder)}",
        **more,
    )
    # Not optimised where it is computed later: writes that are computed together share what they
    # read only as long as their graphs name it alike.
    blocks = errors.to_delayed(optimize_graph=compute).ravel().tolist()
    return delayed(_finish, pure=False)(folder, blocks, result)


def _finish(folder: str, errors: Sequence[Any], result: _Result) -> Series:
    """Say that all images are there; the process that expects them takes them in."""
    leave_manifest(folder, errors)
    adopt_finished(os.path.dirname(os.path.dirname(os.path.dirname(folder))), folder)
    return result.series


@contextmanager
def _progress(series: Series, folder: str, plan: WritePlan) -> Iterator[None]:
    """Show how many images there are, whoever writes them."""
    ended = threading.Event()
    known, count = 0, plan.count
    place = os.path.join(folder, IMAGES) if plan.form == "images" else folder

    def advance(to: int) -> None:
        nonlocal known
        bar.update(max(0, to - known))
        known = max(to, known)

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            try:
                advance(sum(name.endswith(".dcm") for name in os.listdir(place)))
            except OSError:
                return

    with progress_bar(count, f"Writing {series.name}", "image", series.database._own_voice) as bar:
        thread = threading.Thread(target=look, name="dbdicom_xr progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        advance(count)
