"""A series larger than the memory: a mean over time, as DICOM, by a process held to 2 GiB."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import run_apart
from benchmarks.folders import Folders
from benchmarks.harness import (
    Report,
    Row,
    Target,
    forget_peak,
    memory,
    peak_memory,
    require_equal,
    stopwatch,
)

_LIMIT = 2 << 30
_SLICES = 20
_SIDE = 512


def virtual(report: Report, folders: Folders) -> None:
    """20 GiB of images of one value, which take no disk."""
    _add(report, "virtual", 2 * folders.sizes.written, folders)


def real(report: Report, folders: Folders) -> None:
    """5 GiB of files."""
    _add(report, "of files", folders.sizes.written / 2, folders)


def _add(report: Report, what: str, gigabytes: float, folders: Folders) -> None:
    times = max(2, int(gigabytes * 2**30 / (_SLICES * _SIDE * _SIDE * 2)))
    found = run_apart(
        work_through, home=str(folders.home), times=times, virtual=what == "virtual"
    ).result
    name = f"mean over time of {found['GiB']:.3g} GiB {what}, written"
    report.add(Row(f"{name}: memory", "GiB", found["peak"], target=Target("value", 2)))
    report.add(Row(name, "s", found["seconds"]))
    if "cache" in found:
        report.add(Row(f"copy of {found['GiB']:.3g} GiB by cache()", "s", found["cache"]))
        report.add(Row("a curve fit by voxel from the copy", "s", found["curves"]))
        report.add(Row("the same from files, rechunked", "s", found["curves of files"]))


def hold_to(limit: int) -> None:
    """Let this process have no more memory, where the system can hold it to that."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def work_through(home: str, times: int, virtual: bool) -> dict[str, float]:
    """Return memory and seconds of the mean over time of a series, written as DICOM."""
    import dbdicom_xr as db

    with tempfile.TemporaryDirectory(dir=home) as folder:
        wanted: Callable[[int], Any]
        if virtual:
            database = db.database(folder)
            database.mute()
            series = database.new_patient(PatientName="Large").new_study().full(
                (_SLICES, times, 1, _SIDE, _SIDE), 7, dims=("SliceLocation", "AcquisitionTime"),
                coords={"AcquisitionTime": np.arange(times).astype("timedelta64[s]")},
            )  # fmt: skip
            wanted = lambda s: 7.0  # noqa: E731
        else:
            wanted = _make_files(Path(folder), times)
            database = db.database(folder)
            database.mute()
            series = database.series()[0]
        hold_to(_LIMIT)
        forget_peak()
        before = memory()
        with stopwatch() as seconds:
            array, _ = series.array(["SliceLocation", "AcquisitionTime"])
            mean = array.mean("AcquisitionTime")
            written = series.new_sibling(SeriesDescription="Mean").set_array(mean)
        peak = peak_memory() - before
        read, _ = written.array("SliceLocation")
        for number in (0, _SLICES - 1):
            off = float(np.abs(read[number, 0].values - wanted(number)).max())
            require_equal("a mean", [True], [off <= 0.51])
        found = {"peak": peak / 2**30, "seconds": seconds[0], "GiB": array.nbytes / 2**30}
        if not virtual:
            found |= _curves(array)
        database.close(save=False)
    return found


def _curves(array: Any) -> dict[str, float]:
    """Return the seconds of three passes that need all times of a voxel at once."""

    def spread(curves: Any) -> Any:
        return np.ptp(curves, axis=-1)

    def passes(array: Any) -> Any:
        import xarray as xr

        return [
            xr.apply_ufunc(
                spread, array, input_core_dims=[["AcquisitionTime"]], dask="parallelized",
                output_dtypes=[array.dtype],
            ).sum().compute().item()
            for _ in range(3)
        ]  # fmt: skip

    with stopwatch() as copying:
        copy = array.dicom.cache(Path(array.attrs["database"]).parent)
    with stopwatch() as fast:
        ours = passes(copy)
    with stopwatch() as slow:
        theirs = passes(array.chunk({"AcquisitionTime": -1, "SliceLocation": 1}))
    require_equal("curves", ours, theirs)
    return {"cache": copying[0], "curves": fast[0], "curves of files": slow[0]}


def _make_files(folder: Path, times: int) -> Callable[[int], Any]:
    """Write a series, as fast as the disk, and return what its means are."""
    from dbdicom_xr.testing import make_many

    made = make_many(folder, _SLICES * times, shape=(_SIDE, _SIDE), slices=_SLICES, per_folder=1000)
    order = sorted(set(made.locations.tolist()))

    def mean(number: int) -> Any:
        of_slice = np.flatnonzero(made.locations == order[number])
        total = np.zeros((_SIDE, _SIDE))
        for i in of_slice.tolist():
            total += made.frame(i)
        return total / len(of_slice)

    return mean


BENCHMARKS = [virtual, real]
