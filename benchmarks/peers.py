"""Lazy arrays of a folder, made in the ways that people make them: graph, size, a slice, all."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import run
from benchmarks.folders import Folders, files_of
from benchmarks.harness import Report, Row, Times, require_equal, take_turns

_OURS = "dbdicom_xr"
_JOBS = {
    "build": "build a lazy array of",
    "slice": "one image of a lazy array of",
    "threads": "all pixels by threads,",
    "workers": "a mean by 2 workers,",
}


def against(report: Report, folders: Folders) -> None:
    """1,000 images of 256 x 256: delayed pydicom, da.stack of it, dask-image's imread."""
    _report(report, run(time_files, folder=folders.volume(), turns=folders.sizes.turns).result,
            folders.sizes.dynamic)  # fmt: skip


def against_highdicom(report: Report, folders: Folders) -> None:
    """One file of many frames: highdicom's lazy frames."""
    frames = folders.sizes.dynamic // 4
    found = run(time_frames, home=str(folders.home), frames=frames, turns=folders.sizes.turns)
    _report(report, found.result, frames)


def _report(report: Report, found: dict[str, Any], frames: int) -> None:
    for job, times in found["times"].items():
        for peer in times:
            if peer != _OURS:
                report.compare(f"{_JOBS[job]} {frames:,} frames", times, _OURS, peer)
    for peer, size in found["sizes"].items():
        if peer != _OURS:
            report.add(
                Row(f"its graph pickled, {frames:,} frames", "kB", found["sizes"][_OURS] / 1e3,
                    peer, size / 1e3)
            )  # fmt: skip
    for note in found["notes"]:
        report.note(note)


# -- in a process of its own -------------------------------------------------------------------


def read_file(path: str) -> Any:
    """Return the pixels of a file, as people read them."""
    from pydicom import dcmread

    return dcmread(path).pixel_array


def delayed_stack(files: list[str]) -> Any:
    """A ``dask.delayed`` for each file, in a stack."""
    import dask
    import dask.array as da

    first = read_file(files[0])
    lazy = dask.delayed(read_file)
    return da.stack([da.from_delayed(lazy(file), first.shape, first.dtype) for file in files])


class _Volume:
    """Files as an array-like, for ``da.from_array``."""

    def __init__(self, path: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self.shape, self.dtype, self.ndim = path, shape, dtype, len(shape)

    def __getitem__(self, key: Any) -> Any:
        return read_file(self.path)[key]


def stack_of_arrays(files: list[str]) -> Any:
    """``da.stack`` of an array for each file."""
    import dask.array as da

    first = read_file(files[0])
    return da.stack(
        [da.from_array(_Volume(file, first.shape, first.dtype), chunks=-1, meta=first[:0, :0],
                       name=file) for file in files]
    )  # fmt: skip


def imread(files: list[str]) -> Any:
    """``dask_image.imread`` of the folder: it reads by pims, which knows no DICOM."""
    from dask_image import imread as module

    folder = Path(files[0]).parent
    return module.imread(f"{folder}/*.dcm")


def time_files(folder: str, turns: int) -> dict[str, Any]:
    """Return times and sizes of the lazy arrays of a folder of files."""
    import dbdicom_xr as db

    files = files_of(folder)
    series = db.database(folder, refresh=False).series()[0]
    makers: dict[str, Callable[[], Any]] = {
        _OURS: lambda: series.array("SliceLocation")[0][:, 0].transpose(..., "y", "x").data,
        "dask.delayed of pydicom": lambda: delayed_stack(files),
        "da.stack of pydicom": lambda: stack_of_arrays(files),
    }
    notes = []
    try:
        imread(files)[0].compute()
    except Exception as error:
        reason = str(error).partition(".")[0]
        notes.append(f"dask-image's imread does not read DICOM: {reason}")
    else:
        makers["dask-image, imread"] = lambda: imread(files)
    found = _timed(makers, turns)
    return {**found, "notes": [*notes, *found["notes"]]}


def time_frames(home: str, frames: int, turns: int) -> dict[str, Any]:
    """Return times and sizes of the frames of one file."""
    import dask.array as da
    import highdicom

    import dbdicom_xr as db
    from dbdicom_xr.testing import make_enhanced

    with tempfile.TemporaryDirectory(dir=home) as folder:
        made = make_enhanced(folder, keys={"SliceLocation": [2.0 * i for i in range(frames)]},
                             shape=(128, 128))  # fmt: skip
        path = str(next(Path(folder).rglob("*.dcm")))
        del made
        series = db.database(folder).series()[0]

        def theirs() -> Any:
            image = highdicom.imread(path, lazy_frame_retrieval=True)
            alone = threading.Lock()  # a thread closes the file while another one reads

            def block(block_info: Any = None) -> Any:
                first, last = block_info[None]["array-location"][0]
                with alone:
                    return np.stack([image.get_stored_frame(i + 1) for i in range(first, last)])

            ends = [*range(0, frames, 64), frames]
            sizes = tuple(np.diff(ends).tolist())
            return da.map_blocks(
                block,
                chunks=(sizes, (image.Rows,), (image.Columns,)),
                dtype=np.uint16,
                meta=np.empty((0, 0, 0), np.uint16),
            )  # type: ignore[no-untyped-call]

        makers = {
            _OURS: lambda: series.array(rescale=False)[0].transpose(..., "y", "x").data,
            "highdicom, lazy frames": theirs,
        }
        return _timed(makers, turns, workers=False)


def _timed(
    makers: dict[str, Callable[[], Any]], turns: int, *, workers: bool = True
) -> dict[str, Any]:
    import cloudpickle
    import dask
    import distributed

    arrays = {name: make() for name, make in makers.items()}
    expected = arrays[_OURS].compute()
    for name, array in arrays.items():
        require_equal(f"pixels of {name}", expected, np.asarray(array.compute()))
    middle = len(expected) // 2
    times: dict[str, Times] = {"build": take_turns(makers, turns)}
    times["slice"] = take_turns({n: lambda a=a: a[middle].compute() for n, a in arrays.items()},
                                turns)  # fmt: skip
    with dask.config.set(scheduler="threads", num_workers=2):
        times["threads"] = take_turns({n: a.compute for n, a in arrays.items()}, turns)
    if workers:
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            means = {name: array.mean(0, dtype=np.float64) for name, array in arrays.items()}
            for worker in client.scheduler_info()["workers"]:  # what each has to import and open
                for mean in means.values():
                    client.compute(mean, workers=[worker]).result()
            times["workers"] = take_turns({n: m.compute for n, m in means.items()}, turns)
    sizes: dict[str, float] = {}
    notes = []
    for name, array in arrays.items():
        (graph,) = dask.optimize(array)
        try:
            sizes[name] = float(len(cloudpickle.dumps(dict(graph.__dask_graph__()))))
        except (TypeError, AttributeError):
            notes.append(f"{name} cannot be sent to another process")
    return {"times": times, "sizes": sizes, "notes": notes}


BENCHMARKS = [against, against_highdicom]
