"""Reading the pixels of a series, against other readers and against bare reads of the bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.child import run
from benchmarks.folders import Folders, files_of
from benchmarks.harness import (
    Report,
    Row,
    Target,
    Times,
    forget_peak,
    memory,
    peak_memory,
    require_equal,
    take_turns,
)

Pixels = npt.NDArray[np.uint16]


def volume(report: Report, folders: Folders) -> None:
    """1,000 images of 256 x 256 as one array (n, x, y)."""
    sizes = folders.sizes
    times: Times = run(time_volume, folder=folders.volume(), turns=sizes.turns + 2).result
    what = f"compute {sizes.dynamic:,} frames"
    report.compare(what, times, "dbdicom_xr", "pydicom", Target("times", 6))
    if "preadv and transposed copy" in times:
        report.compare(what, times, "dbdicom_xr", "preadv and transposed copy", Target("ratio", 1))
    report.compare(what, times, "dbdicom_xr", "SimpleITK, not transposed")
    report.add(Row(f"{what}, first in a process", "ms", 1e3 * times["first"][0]))


def mean(report: Report, folders: Folders) -> None:
    """The mean over time of 1,000 images, against reading their bytes."""
    sizes = folders.sizes
    if not hasattr(os, "preadv"):
        report.note("skipped: no preadv on this system to compare the mean over time with")
        return
    times: Times = run(time_mean, folder=folders.dynamic(), turns=sizes.turns + 2).result
    what = f"mean over time of {sizes.dynamic:,} frames"
    # The bytes have to be somewhere to be averaged: all are read into memory that was just taken.
    report.compare(what, times, "dbdicom_xr", "bare preadv", Target("ratio", 2.5))
    report.compare(what, times, "dbdicom_xr", "bare preadv, one buffer over and over")


def peak(report: Report, folders: Folders) -> None:
    """How much memory computing takes, beside the result."""
    sizes = folders.sizes
    for folder, n in ((folders.volume(), sizes.dynamic), (folders.study(), sizes.study)):
        found = [run(measure_peak, folder=folder).result for _ in range(min(3, sizes.turns))]
        beside = median((turn["peak"] - turn["result"]) / turn["chunk"] for turn in found)
        chunk, chunks = found[0]["chunk"] / 2**20, found[0]["chunks"]
        what = (
            f"compute {n:,} frames: memory beside the result, in chunks of {chunk:.3g} MiB "
            f"({chunks} in the array)"
        )
        # "A few": one being read by each of up to four threads, and one in passing.
        report.add(Row(what, "chunks", beside, target=Target("value", 5)))


# -- in a process of its own -------------------------------------------------------------------


def time_volume(folder: str, turns: int) -> Times:
    """Return the seconds of each reader of the same array."""
    from pydicom import dcmread

    import dbdicom_xr as db

    files = files_of(folder)
    shape = dcmread(files[0]).pixel_array.T.shape
    array = db.database(folder).series()[0].array("SliceLocation")[0]

    def ours() -> Pixels:
        return np.asarray(array.compute().values)

    def with_pydicom() -> Pixels:
        return np.stack([dcmread(file).pixel_array.T for file in files])

    contenders: dict[str, Callable[[], Any]] = {
        "dbdicom_xr": ours,
        "pydicom": with_pydicom,
        "SimpleITK, not transposed": lambda: _with_itk(files),
    }
    first = take_turns({"first": ours}, 1)
    expected = with_pydicom()
    require_equal("pixels", expected, ours()[:, 0])
    require_equal("pixels of SimpleITK", expected, _with_itk(files).transpose(0, 2, 1))
    if hasattr(os, "preadv"):
        offsets = _offsets(files)
        contenders["preadv and transposed copy"] = lambda: _with_preadv(files, offsets, shape)
        require_equal("pixels of preadv", expected, _with_preadv(files, offsets, shape))
    touched = 3 * expected.nbytes
    del expected
    return {**first, **take_turns(contenders, turns, touched)}


def time_mean(folder: str, turns: int) -> Times:
    """Return the seconds of the mean over time and of reading the same bytes."""
    import dbdicom_xr as db

    files = files_of(folder)
    offsets = _offsets(files)
    series = db.database(folder).series()[0]
    array, header = series.array(["SliceLocation", "AcquisitionTime"])

    def ours() -> Any:
        return array.mean("AcquisitionTime").compute().values

    shape = array.shape[-2:]
    slices = array.sizes["SliceLocation"]
    # File i is at slice i % slices and time i // slices.
    frames = _with_preadv(files, offsets, shape).reshape(-1, slices, 1, *shape)
    require_equal("mean over time", frames.mean(0, dtype=np.float64), np.asarray(ours(), float))
    touched = 3 * frames.nbytes
    del header, frames

    def bare(memory: Pixels) -> None:
        for i, (file, offset) in enumerate(zip(files, offsets, strict=True)):
            fd = os.open(file, os.O_RDONLY)
            os.preadv(fd, [memory[i % len(memory)]], offset)
            os.close(fd)

    one = np.empty((1, *shape), np.uint16)
    contenders: dict[str, Callable[[], Any]] = {
        "dbdicom_xr": ours,
        "bare preadv": lambda: bare(np.empty((len(files), *shape), np.uint16)),
        "bare preadv, one buffer over and over": lambda: bare(one),
    }
    return take_turns(contenders, turns, touched)


def measure_peak(folder: str) -> dict[str, float]:
    """Return how far memory grows while a whole series is computed, in bytes."""
    import dbdicom_xr as db

    array = db.database(folder).series()[0].array("SliceLocation")[0]
    array[0].compute()  # threads, connections and places of the pixels are there before
    before = memory()
    forget_peak()
    result = array.compute()
    return {
        "peak": peak_memory() - before,
        "result": result.nbytes,
        "chunk": int(np.prod(array.data.chunksize)) * array.dtype.itemsize,
        "chunks": array.data.npartitions,
    }


def _with_itk(files: list[str]) -> npt.NDArray[Any]:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(files)
    return np.asarray(SimpleITK.GetArrayFromImage(reader.Execute()))


def _offsets(files: list[str]) -> list[int]:
    """Return where the pixels of each file start: the makers write nothing after them."""
    from pydicom import dcmread

    length = len(dcmread(files[0]).PixelData)
    return [os.path.getsize(file) - length for file in files]


def _with_preadv(files: list[str], offsets: list[int], shape: tuple[int, ...]) -> Pixels:
    columns, rows = shape
    result = np.empty((len(files), columns, rows), np.uint16)
    buffer = np.empty((rows, columns), "<u2")
    for i, (file, offset) in enumerate(zip(files, offsets, strict=True)):
        fd = os.open(file, os.O_RDONLY)
        os.preadv(fd, [buffer], offset)
        os.close(fd)
        result[i] = buffer.T
    return result


BENCHMARKS = [volume, mean, peak]
