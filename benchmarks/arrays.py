"""`series.array()` before any pixel is read: the grid, the header, the graph."""

from __future__ import annotations

import functools
import pickle
import tempfile
import time
from statistics import median
from typing import Any

import dbdicom_xr as db
from benchmarks.child import run
from benchmarks.folders import Folders
from benchmarks.harness import Report, Row, Target, Unequal, stopwatch
from dbdicom_xr.testing import make_many

_SORTS: list[Any] = [["SliceLocation", "AcquisitionTime"], "AcquisitionTime", None]


def build_many(report: Report, folders: Folders) -> None:
    """100,000 frames, by two attributes, by one, and unsorted."""
    sizes = folders.sizes
    for sortby in _SORTS:
        _build(report, folders.many(), sizes.many, sortby, 500, sizes.turns, graph=100)


def build_shuffled(report: Report, folders: Folders) -> None:
    """100,000 frames in files whose names say nothing of their order."""
    sizes = folders.sizes
    _build(
        report, folders.shuffled(), sizes.many, _SORTS[0], 500, sizes.turns, graph=100,
        about=", file names in random order",
    )  # fmt: skip


def build_dynamic(report: Report, folders: Folders) -> None:
    """1,000 frames."""
    sizes = folders.sizes
    for sortby in _SORTS:
        _build(report, folders.dynamic(), sizes.dynamic, sortby, 50, sizes.turns)


def _build(
    report: Report,
    folder: str,
    frames: int,
    sortby: Any,
    limit: float,
    turns: int,
    graph: float | None = None,
    about: str = "",
) -> None:
    found = [
        run(time_building, folder=folder, sortby=sortby, frames=frames).result for _ in range(turns)
    ]
    by = " x ".join([sortby] if isinstance(sortby, str) else sortby or ["no sortby"])
    what = f"array() of {frames:,} frames, {by}{about}"
    first = 1e3 * median(turn["first"] for turn in found)
    again = 1e3 * median(turn["again"] for turn in found)
    report.add(Row(what, "ms", first, target=Target("value", limit)))
    report.add(Row(f"{what}, again", "ms", again))
    # What it would take if nothing else ran on the machine: one thread does it all.
    processor = 1e3 * median(turn["processor"] for turn in found)
    report.add(Row(f"{what}, time of the processor", "ms", processor))
    if graph is not None:
        size = max(turn["graph"] for turn in found) / 1e3
        report.add(Row(f"{what}: graph pickled", "kB", size, target=Target("value", graph)))


def time_building(folder: str, sortby: Any, frames: int) -> dict[str, float]:
    """Return the seconds of the first array of a database just opened, and of the next."""
    import cloudpickle
    import dask

    _warm_up()
    series = db.database(folder, refresh=False).series()[0]
    with stopwatch() as first:
        before = time.process_time()
        array, header = series.array(sortby)
        processor = time.process_time() - before
    if header.size != frames or array.size != frames * array.sizes["x"] * array.sizes["y"]:
        raise Unequal(f"{header.size} frames in the header of {frames}")
    again = []
    for _ in range(5):
        with stopwatch() as seconds:
            series.array(sortby)
        again += seconds
    (optimised,) = dask.optimize(array)
    graphs = [array.__dask_graph__(), optimised.__dask_graph__(), dict(array.__dask_graph__())]
    size = max(len(dump(g)) for g in graphs for dump in (pickle.dumps, cloudpickle.dumps))
    return {"first": first[0], "again": median(again), "processor": processor, "graph": size}


@functools.cache
def _warm_up() -> None:
    """Import, by use, all that making an array needs."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        make_many(folder, 6, shape=(4, 4), slices=3)
        with db.database(folder) as database:
            for sortby in _SORTS:
                database.series()[0].array(sortby)[0].compute()


BENCHMARKS = [build_many, build_shuffled, build_dynamic]
