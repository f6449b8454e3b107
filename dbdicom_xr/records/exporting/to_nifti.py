"""``export_as_nifti``: which files a record becomes, and writing them.

Everything that can be refused is found out from headers, before the first byte is written.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dbdicom_xr.errors import (
    DbdicomError,
    LeftOut,
    MixedGeometry,
)
from dbdicom_xr.formats.names import unique
from dbdicom_xr.formats.nifti import write_image
from dbdicom_xr.formats.targets import Target, refuse_existing, target_of
from dbdicom_xr.interact import Bar, progress_bar
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.exporting.each import (
    OF_A_SERIES,
    left_out,
    prefix,
    refuse_all,
    refuse_several,
)
from dbdicom_xr.records.exporting.files import NewFiles, new_files
from dbdicom_xr.records.exporting.nifti_images import (
    Exported,
    NiftiOptions,
    images_of,
    objects_without_pixels,
)

if TYPE_CHECKING:
    from dbdicom_xr.records.record import Record

__all__ = ["export_nifti"]

_ENDINGS: Final = (".nii.gz", ".nii")


def export_nifti(
    record: Record, path: str | os.PathLike[str], *, overwrite: bool, options: NiftiOptions
) -> list[str]:
    """Write a record as NIfTI files. See :meth:`Record.export_as_nifti`."""
    target = target_of(path, *_ENDINGS)
    planned, refused = _plan(record, options)
    if not planned:
        refuse_all(record, refused)
    refuse_several(record, target, [one.name for one in planned])
    if target.file is not None:
        planned = [replace(planned[0], name=target.file)]
    refuse_existing([path for one in planned for path in _paths(one, target)], overwrite)
    written, failed = _write_all(record, planned, target)
    refused += failed
    if refused:
        if not written:
            refuse_all(record, refused)
        left_out(record, refused)
    for series in dict.fromkeys(one.series for one in planned):
        count = objects_without_pixels(series) if record.level != "instance" else 0
        if count:
            warnings.warn(
                f"{series!r}: {count} object{'s have' if count > 1 else ' has'} no pixels, and "
                f"{'are' if count > 1 else 'is'} not exported.",
                LeftOut,
                stacklevel=3,
            )
    unplaced = [repr(one.series) for one in planned if one.image.affine is None]
    if unplaced:
        warnings.warn(
            f"{len(unplaced)} of {len(planned)} files do not tell where their images lie in the "
            "patient, since the headers do not (sform_code and qform_code are 0); they are of "
            f"{', '.join(sorted(set(unplaced))[:4])}.",
            MixedGeometry,
            stacklevel=3,
        )
    return written


@of_one_state
def _plan(
    record: Record, options: NiftiOptions
) -> tuple[list[Exported], list[tuple[Record, DbdicomError]]]:
    """Return the images of a record, and the series that cannot be exported with the reason."""
    planned: list[Exported] = []
    refused: list[tuple[Record, DbdicomError]] = []
    if record.level in ("series", "instance"):
        series = record.series()
        ((_, rows),) = record._tables()
        planned = images_of(series, rows, options)
    else:
        for series in record.series():
            try:
                found = images_of(series, None, options)
            except OF_A_SERIES as error:
                refused.append((series, error))
                continue
            start = prefix(record, series)
            planned += [replace(one, name=f"{start}{one.name}") for one in found]
    names = unique([one.name for one in planned])
    return [replace(one, name=name) for one, name in zip(planned, names, strict=True)], refused


def _paths(one: Exported, target: Target) -> list[str]:
    """Return where the image and what stands beside it go."""
    start = os.path.join(target.folder, one.name)
    return [f"{start}{ending}" for ending in (target.ending, *one.texts)]


def _write_all(
    record: Record, planned: Sequence[Exported], target: Target
) -> tuple[list[str], list[tuple[Record, DbdicomError]]]:
    written: list[str] = []
    failed: list[tuple[Record, DbdicomError]] = []
    total = sum(one.frames for one in planned)
    alone = record.level in ("series", "instance")
    voice = record.database._own_voice
    with (
        new_files(target.folder) as files,
        progress_bar(total, "Writing NIfTI", "image", voice) as bar,
    ):
        for one in planned:
            paths = _paths(one, target)
            try:
                _write(one, paths, files, bar)
            except OF_A_SERIES as error:
                if alone:
                    raise
                files.leave_out(*paths)
                failed.append((one.series, error))
                continue
            if os.path.lexists(paths[0]):
                _remove_others(one, target, files)
            written.append(paths[0])
    return written, failed


def _write(one: Exported, paths: Sequence[str], files: NewFiles, bar: Bar) -> None:
    with open(files.new(paths[0]), "wb") as file:
        compressed = paths[0].lower().endswith(".gz")
        write_image(one.image, file, compressed=compressed, advance=bar.update)
    for path, text in zip(paths[1:], one.texts.values(), strict=True):
        with open(files.new(path), "w", encoding="utf-8", newline="\n") as side:
            side.write(text)


def _remove_others(one: Exported, target: Target, files: NewFiles) -> None:
    """Remove what stands beside an image that is replaced, and is of the former one."""
    start = os.path.join(target.folder, one.name)
    for ending in {".json", ".bval", ".bvec"} - set(one.texts):
        files.remove(f"{start}{ending}")
