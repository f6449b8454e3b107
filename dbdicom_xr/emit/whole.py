"""Objects of many frames, put together from the parts that workers have left."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from dbdicom_xr.emit.assemble import FileMaker, pixel_data_head
from dbdicom_xr.emit.compress import encapsulated_pieces
from dbdicom_xr.emit.elements import Elements, key_of, take
from dbdicom_xr.emit.one_scale import settled
from dbdicom_xr.emit.parts import file_name
from dbdicom_xr.emit.plan import IMAGES, Manifest, WritePlan
from dbdicom_xr.index.columns import Column, Key, tidy
from dbdicom_xr.index.elements import EXPLICIT
from dbdicom_xr.index.files import TEMPORARY_SUFFIX
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.patch import delta
from dbdicom_xr.staging.uids import new_uid

__all__ = ["whole_objects"]

_INSTANCE: Final = key_of("SOPInstanceUID")
_CHUNK: Final = 1 << 22


def whole_objects(folder: str, plan: WritePlan) -> Manifest:
    """Put objects together and return the names of their files and UIDs.

    They stand in the folder of what goes into the database; parts are removed with that of the
    write.

    Parameters
    ----------
    folder : str
        Of the write, in which there is one file per image.
    plan : WritePlan
    """
    make = _enhanced if plan.form == "multiframe" else _maps
    return make(folder, plan)


def _parts_of(folder: str, plan: WritePlan) -> list[str]:
    return [os.path.join(folder, file_name(image)) for image in range(plan.count)]


# -- Enhanced MR -----------------------------------------------------------------------------------


def _enhanced(folder: str, plan: WritePlan) -> Manifest:
    from dbdicom_xr.emit.multiframe import enhanced_mr

    ready = settled(_parts_of(folder, plan), plan)
    paths = ready.paths
    said = [part.said for part in ready.parts]
    starts = [part.start for part in ready.parts]
    elements = dict(plan.elements)
    for key in dict.fromkeys(key for one in said for key in one):
        elements[key] = _column(key, [one.get(key) for one in said])
    made = enhanced_mr(elements, plan.count)
    columns: Elements = {key: delta(key, [encoded], None, 1) for key, encoded in made.items()}
    header = FileMaker(columns, (), plan.transfer_syntax).header(0, {})
    lengths = [os.path.getsize(path) - start for path, start in zip(paths, starts, strict=True)]
    name = "multiframe.dcm"
    if plan.transfer_syntax == EXPLICIT:
        pieces = _native(paths, starts, lengths, plan)
    else:
        pieces = _compressed(paths, starts, lengths)
    _stream(os.path.join(folder, IMAGES, name), header, pieces)
    uid = made[_INSTANCE].value.decode("ascii").strip("\0 ")
    error = max(part.error for part in ready.parts)
    return Manifest([name], [uid], error, ready.scales_differ)


def _native(
    paths: Sequence[str], starts: Sequence[int], lengths: Sequence[int], plan: WritePlan
) -> Iterator[bytes]:
    # A part is of even length; inside an object frames follow each other without padding.
    size = plan.frame[0] * plan.frame[1]
    bits = lengths[0] // size if lengths[0] >= 2 * size else 1
    exact = size * bits
    total = exact * len(paths)
    yield pixel_data_head(total + total % 2, "OB" if bits == 1 else "OW")
    for path, start in zip(paths, starts, strict=True):
        yield from _bytes_of(path, start, exact)
    if total % 2:
        yield b"\0"


def _compressed(
    paths: Sequence[str], starts: Sequence[int], lengths: Sequence[int]
) -> Iterator[bytes]:
    yield pixel_data_head(None, "OB")
    fragments = (
        b"".join(_bytes_of(path, start, length))
        for path, start, length in zip(paths, starts, lengths, strict=True)
    )
    yield from encapsulated_pieces(fragments, lengths)


def _bytes_of(path: str, start: int, length: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(start)
        while length:
            data = file.read(min(length, _CHUNK))
            if not data:
                raise OSError(f"{path} is shorter than it was")
            yield data
            length -= len(data)


def _stream(path: str, header: bytes, pieces: Iterator[bytes]) -> None:
    temporary = f"{path}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        with open(temporary, "xb", buffering=_CHUNK) as file:
            file.write(header)
            for piece in pieces:
                file.write(piece)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _column(key: Key, values: Sequence[Encoded | None]) -> Column:
    numbers: dict[Encoded, int] = {}
    codes = [-1 if one is None else numbers.setdefault(one, len(numbers)) for one in values]
    kinds: dict[Any, int] = {}
    kind_of = [kinds.setdefault(one.kind, len(kinds)) for one in numbers]
    raw = [one.value for one in numbers]
    return tidy(key, list(kinds), raw, kind_of, np.array(codes, np.int32))


# -- Parametric Maps -------------------------------------------------------------------------------


def _maps(folder: str, plan: WritePlan) -> Manifest:
    from pydicom.uid import UID

    from dbdicom_xr.emit.map_volumes import volumes
    from dbdicom_xr.emit.parametric import parametric_map

    paths = _parts_of(folder, plan)
    files, uids = [], []
    numbers = take(plan.elements, np.arange(plan.count))
    first = int(numbers[key_of("InstanceNumber")].decoded()[0])
    for number, images in enumerate(volumes(plan.elements, plan.count)):
        values = np.stack(
            [np.fromfile(paths[i], plan.dtype).reshape(plan.frame) for i in images.tolist()]
        )
        dataset = parametric_map(take(plan.elements, images), values)
        uid = new_uid()
        dataset.SOPInstanceUID = uid
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid)
        dataset.InstanceNumber = first + number
        name = f"map{number + 1:07d}.dcm"
        temporary = os.path.join(folder, f"{name}{TEMPORARY_SUFFIX}")
        dataset.save_as(temporary, enforce_file_format=True)
        os.replace(temporary, os.path.join(folder, IMAGES, name))
        files.append(name)
        uids.append(uid)
    return Manifest(files, uids, 0.0)
