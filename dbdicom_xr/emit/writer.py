"""Blocks of an array into files: what each worker does, and the end that makes it whole.

Files have names that follow from their place, and get them when they are whole, so that a block
that is computed a second time, after its worker was killed, makes the same files again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.assemble import FileMaker, pixel_data_head
from dbdicom_xr.emit.compress import encapsulated
from dbdicom_xr.emit.elements import take
from dbdicom_xr.emit.image import OF_PIXELS, pixel_bytes, pixel_elements
from dbdicom_xr.emit.parts import file_name, fragment, write_file, write_stored, write_values
from dbdicom_xr.emit.plan import (
    GAP,
    IMAGES,
    MANIFEST,
    Manifest,
    WritePlan,
    clear_errors,
    load_plan,
)
from dbdicom_xr.errors import InvalidValue, SaveFailed
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import EXPLICIT
from dbdicom_xr.index.files import TEMPORARY_SUFFIX
from dbdicom_xr.pixels.quantise import (
    Scale,
    Stored,
    common_scale,
    quantise,
    quantise_exactly,
)

__all__ = [
    "BlockWriter",
    "leave_manifest",
    "range_of",
    "read_manifest",
    "remove_strays",
    "remove_write",
]

_NATIVE: Final = EXPLICIT
_INSTANCE: Final = Key(0x00080018)


@dataclass(frozen=True)
class BlockWriter:
    """Writes the images of a block of an array; given to ``dask.array.map_blocks``.

    Parameters
    ----------
    folder : str
        Of the write, with its plan.
    """

    folder: str

    def __call__(
        self,
        block: npt.NDArray[Any],
        ends: npt.NDArray[np.float64] | None = None,
        block_info: Any = None,
    ) -> npt.NDArray[np.float64]:
        """Write the images of a block and return the largest error of each, NaN in gaps.

        Parameters
        ----------
        block : ndarray
            Cells, then ``(x, y)`` or ``(x, y, 3)``.
        ends : ndarray of float64, shape (2,), optional
            Smallest and largest value of the whole array, where all images have one scale.
        block_info : dict
            From dask: where the block lies.
        """
        plan = load_plan(self.folder)
        depth = len(plan.shape)
        place = block_info[0]["array-location"][:depth] if block_info else []
        frames = block.reshape((-1, *block.shape[depth:]))
        cells = _cells(plan.shape, place)
        images = plan.images[cells]
        errors = np.full(len(cells), np.nan)
        written = np.flatnonzero(images != GAP)
        for i in np.flatnonzero(images == GAP).tolist():
            if frames[i].dtype.kind != "f" or not np.isnan(frames[i]).all():
                raise InvalidValue(
                    f"There are numbers at {plan.place(int(cells[i]))}, but the array was read "
                    "with a gap there, so that no header belongs to them. Give header=, or select "
                    "the part without gaps."
                )
        scale = None
        if ends is not None and np.isfinite(ends).all():
            low, high = (float(end) for end in ends)
            scale = common_scale(low, high, plan.target, integers=block.dtype.kind in "biu")
        with clear_errors(self.folder):
            for i, error in self._written(plan, frames, cells, images, written, scale):
                errors[i] = error
        return errors.reshape(block.shape[:depth])

    def _written(
        self,
        plan: WritePlan,
        frames: npt.NDArray[Any],
        cells: npt.NDArray[np.intp],
        images: npt.NDArray[np.int64],
        written: npt.NDArray[np.intp],
        scale: Scale | None,
    ) -> Iterator[tuple[int, float]]:
        """Write images one by one."""
        maker = None
        folder = self.folder
        if plan.form == "images" and len(written):
            elements = take(plan.elements, images[written])
            maker = FileMaker(elements, OF_PIXELS, plan.transfer_syntax)
            folder = os.path.join(folder, IMAGES)
        for number, i in enumerate(written.tolist()):
            image = int(images[i])
            frame = frames[i].swapaxes(0, 1)
            path = os.path.join(folder, file_name(image))
            if plan.form == "maps":
                if np.isinf(frame).any():
                    raise InvalidValue(
                        f"{plan.place(int(cells[i]))} holds infinite values; write "
                        "array.where(np.isfinite(array)), which makes them NaN."
                    )
                write_file(path, [pixel_bytes(frame)])
                yield i, 0.0
                continue
            source = None
            if np.isfinite(plan.slopes[image]):
                source = Scale(
                    float(plan.slopes[image]), float(plan.intercepts[image]), plan.signed
                )
            name = plan.place(int(cells[i]))
            if plan.form == "multiframe":
                yield i, self._leave_part(path, plan, frame, source, scale, name)
                continue
            assert maker is not None
            stored = quantise(frame, plan.target, source=source, scale=scale, name=name)
            said = pixel_elements(
                stored,
                rescales=plan.rescales,
                rescale_type=plan.rescale_type,
                transfer_syntax=plan.transfer_syntax,
            )
            write_file(path, [maker.header(number, said), *_pixels(plan, stored)])
            yield i, stored.error

    @staticmethod
    def _leave_part(
        path: str,
        plan: WritePlan,
        frame: npt.NDArray[Any],
        source: Scale | None,
        scale: Scale | None,
        name: str,
    ) -> float:
        """Write what an object of many frames is made of; return the error so far."""
        if plan.one_scale:
            exact = quantise_exactly(frame, plan.target, source=source, name=name)
            if exact is None:
                write_values(path, frame)
                return 0.0
            stored = exact
        else:
            stored = quantise(frame, plan.target, source=source, scale=scale, name=name)
        write_stored(path, plan, stored, frame.dtype, error=stored.error)
        return stored.error


def _pixels(plan: WritePlan, stored: Stored) -> list[bytes]:
    """Return the pixels of an image as they stand at the end of its file."""
    data = fragment(plan, stored)
    if plan.transfer_syntax == _NATIVE:
        vr = "OB" if stored.values.dtype.itemsize == 1 else "OW"
        return [pixel_data_head(len(data), vr), data]
    return [pixel_data_head(None, "OB"), encapsulated([data])]


def _cells(shape: tuple[int, ...], place: Sequence[Any]) -> npt.NDArray[np.intp]:
    """Return the numbers of the cells of a block, in the order of its images."""
    if not shape:
        return np.zeros(1, np.intp)
    ranges = [np.arange(start, stop) for start, stop in place]
    return np.ravel_multi_index(np.ix_(*ranges), shape).ravel()


def range_of(array: Any) -> Any:
    """Return smallest and largest number of an array, computed with it: float64, shape (2,)."""
    import dask.array as da

    def ends(block: npt.NDArray[Any], axis: Any = None, keepdims: bool = False) -> Any:
        known = block[np.isfinite(block)] if block.dtype.kind == "f" else block
        pair = [np.nan, np.nan] if not known.size else [float(known.min()), float(known.max())]
        return np.array(pair).reshape((1,) * block.ndim + (2,))

    blocks = da.map_blocks(
        ends,
        array,
        dtype=np.float64,
        new_axis=array.ndim,
        chunks=(*[(1,) * n for n in array.numblocks], (2,)),
        meta=np.empty((0,) * (array.ndim + 1)),
    )  # type: ignore[no-untyped-call]
    axes = tuple(range(array.ndim))
    low = da.nanmin(blocks[..., 0], axis=axes)
    high = da.nanmax(blocks[..., 1], axis=axes)
    return da.stack([low, high])  # type: ignore[no-untyped-call]


# -- the end ---------------------------------------------------------------------------------


def leave_manifest(folder: str, errors: Sequence[npt.NDArray[np.float64]]) -> str:
    """Make what the blocks have written whole, and say that it is all there.

    Parameters
    ----------
    folder : str
        Of the write.
    errors : sequence of ndarray
        What each block returned.

    Returns
    -------
    str
        The folder.
    """
    plan = load_plan(folder)
    known = [float(np.nanmax(e)) for e in errors if e.size and not np.isnan(e).all()]
    with clear_errors(folder):
        if plan.form == "images":
            images = os.path.join(folder, IMAGES)
            names = [file_name(image) for image in range(plan.count)]
            there = set(os.listdir(images))
            missing = [name for name in names if name not in there]
            if missing:
                raise SaveFailed(
                    f"{len(missing)} of {plan.count} images are not there, such as "
                    f"{os.path.join(images, missing[0])}. Do all workers see the same folder? The "
                    "series is as it was before."
                )
            remove_strays(images, names)
            uids = plan.elements[_INSTANCE]
            texts = [text.decode("ascii").strip("\0 ") for text in map(_as_bytes, uids.values)]
            made = Manifest(names, [texts[c] for c in uids.codes_of().tolist()], max([0.0, *known]))
        else:
            from dbdicom_xr.emit.whole import whole_objects

            made = whole_objects(folder, plan)
            made = replace(made, error=max([made.error, *known]))
        path = os.path.join(folder, MANIFEST)
        data = json.dumps([made.files, made.uids, made.error, made.scales_differ]).encode()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        write_file(path, [data])
    return folder


def remove_strays(images: str, names: Sequence[str]) -> None:
    """Remove what workers that were ended have left in a folder beside the files of these names."""
    with contextlib.suppress(OSError):
        for stray in set(os.listdir(images)).difference(names):
            os.unlink(os.path.join(images, stray))


def read_manifest(folder: str) -> Manifest | None:
    """Return the manifest of a write, None while there is none."""
    try:
        with open(os.path.join(folder, MANIFEST), "rb") as file:
            return Manifest(*json.load(file))
    except FileNotFoundError:
        return None


def remove_write(folder: str) -> None:
    """Remove the folder of a write, also while workers are at it."""
    doomed = f"{folder}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        os.rename(folder, doomed)  # so that nobody makes new files in it
    except FileNotFoundError:
        return
    except OSError:  # Windows, where a file is open
        doomed = folder
    shutil.rmtree(doomed, ignore_errors=True)
    load_plan.cache_clear()


def _as_bytes(value: Any) -> bytes:
    assert isinstance(value, bytes)
    return value
