"""How the cost of a computation grows, from a thousand to a million frames."""

from __future__ import annotations

import pickle
import tempfile
from typing import Any

import numpy as np

from benchmarks.child import run
from benchmarks.folders import Folders
from benchmarks.harness import Report, Row, require_equal, stopwatch

_SLICES = 20
_STEPS = 4


def grow(report: Report, folders: Folders) -> None:
    """A mean over time of images of 16 x 16 pixels of one value: all but the reading of pixels."""
    most = folders.sizes.million
    steps = (most // 10**step for step in reversed(range(_STEPS)))
    for frames in dict.fromkeys(count for count in steps if count >= 1_000):
        times = max(2, frames // _SLICES)
        for chunks in ("auto", 100):
            found = run(build_and_compute, times=times, chunks=chunks).result
            what = f"{times * _SLICES:,} frames, " + (
                "chunks as they come" if chunks == "auto" else "100 images per chunk"
            )
            report.add(Row(f"{what}: array()", "ms", 1e3 * found["array"]))
            report.add(Row(f"{what}: tasks of the mean over time", "tasks", found["tasks"]))
            report.add(Row(f"{what}: its graph pickled", "kB", found["graph"] / 1e3))
            report.add(Row(f"{what}: computed by threads", "s", found["threads"]))
            report.add(Row(f"{what}: computed by 2 workers", "s", found["workers"]))


def build_and_compute(times: int, chunks: Any) -> dict[str, float]:
    """Return what a mean over time costs: its tasks, its graph, and seconds."""
    import dask
    import distributed

    import dbdicom_xr as db

    with tempfile.TemporaryDirectory() as folder:
        database = db.database(folder)
        database.mute()
        series = database.new_patient(PatientName="Growth").new_study().full(
            (_SLICES, times, 1, 16, 16), 7,
            dims=("SliceLocation", "TemporalPositionIdentifier"),
            coords={"TemporalPositionIdentifier": np.arange(times)},
        )  # fmt: skip
        sortby = ["SliceLocation", "TemporalPositionIdentifier"]
        series.array(sortby)
        small = {"SliceLocation": 1, "TemporalPositionIdentifier": 100}
        with stopwatch() as building:
            array, _ = series.array(sortby, chunks=small if chunks == 100 else chunks)
        mean = array.mean("TemporalPositionIdentifier")
        (optimised,) = dask.optimize(mean)
        graph = dict(optimised.__dask_graph__())
        with stopwatch() as threads:
            values = mean.values
        require_equal("the mean", [7.0] * 2, [float(values.min()), float(values.max())])
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            client.run(lambda: __import__("dbdicom_xr.records.levels"))
            with stopwatch() as workers:
                mean.compute()
        database.close(save=False)
    return {
        "array": building[0],
        "tasks": float(len(graph)),
        "graph": float(len(pickle.dumps(optimised.__dask_graph__()))),
        "threads": threads[0],
        "workers": workers[0],
    }


BENCHMARKS = [grow]
