"""Arrays written as DICOM: beside the loop that people write with pydicom, and memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
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
    stopwatch,
    take_turns,
)

# A step of 16 bits over values between about -5 and 5.
_STEP = 10 / 65534


def write(report: Report, folders: Folders) -> None:
    """Write float frames with the header of their images."""
    n = folders.sizes.dynamic
    times: Times = run(
        time_writing, folder=folders.scanned(), frames=n, turns=folders.sizes.turns
    ).result
    for ours in ("write", "write and save"):
        target = Target("times", 5) if ours == "write" else None
        report.compare(
            f"{ours} {n:,} float frames", times, ours, "pydicom, read-modify-write", target
        )


def bounded(report: Report, folders: Folders) -> None:
    """Write more than fits in memory."""
    gigabytes = folders.sizes.written
    found: dict[str, float] = run(
        time_large, home=str(folders.home), frames=int(gigabytes * 2**30 / 2 / 512**2)
    ).result
    name = f"write {found['GiB']:.3g} GiB of DICOM"
    report.add(Row(f"{name}: memory", "GiB", found["peak"], target=Target("value", 2)))
    report.add(Row(name, "s", found["seconds"]))


def time_writing(folder: str, frames: int, turns: int) -> dict[str, list[float]]:
    """Return the seconds of writing frames that are in memory."""
    import dask.array as da

    import dbdicom_xr as db

    database = db.database(folder, refresh=False)
    database.mute()
    series = database.series()[0]
    array, _ = series.array("SliceLocation")
    rows, columns = array.sizes["y"], array.sizes["x"]
    rng = np.random.default_rng(0)
    values = rng.normal(size=(frames, 1, columns, rows)).astype(np.float32)
    result = array.astype(np.float32).copy(data=da.from_array(values, chunks=(64, 1, -1, -1)))
    files = [instance.file for instance in series.array("SliceLocation")[1][:, 0]]
    saving: list[float] = []
    with tempfile.TemporaryDirectory(dir=Path(folder).parent) as home:
        turn = 0

        def loop() -> None:
            nonlocal turn
            turn += 1
            target = Path(home, str(turn))
            target.mkdir()
            for number, file in enumerate(files):
                _rewrite(file, target / f"{number:06d}.dcm", values[number, 0].T)

        def ours() -> float:
            new = series.new_sibling()
            with stopwatch() as seconds:
                result.dicom.write(new)
            with stopwatch() as more:
                new.save()
            saving.append(seconds[0] + more[0])
            if len(saving) == 1:
                _check(new, values, Path(home, "1"))
            return float(seconds[0])

        # Nothing is removed before the end: for five minutes ext4 makes files more slowly where
        # many have been, up to 0.6 ms each, and the peer removes none.
        times = take_turns({"pydicom, read-modify-write": loop, "write": ours}, turns)
    for new in database.series():
        if new != series:
            new.remove()
    database.save()
    database.close()
    return {**times, "write and save": saving}


def _rewrite(file: str, target: Path, values: npt.NDArray[Any]) -> None:
    """Write one frame as people do: read a file, replace its pixels, write it again."""
    import pydicom

    dataset = pydicom.dcmread(file)
    low, high = float(values.min()), float(values.max())
    slope = (high - low) / 65535
    dataset.PixelData = np.rint((values - low) / slope).astype("<u2").tobytes()
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.10g}", f"{low:.10g}"
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(target)


def _check(new: Any, values: npt.NDArray[Any], peers: Path) -> None:
    """Both have written the same numbers, and the same header but for what is new."""
    import pydicom

    written, header = new.array("SliceLocation")
    worst = float(np.abs(written.values - values).max())
    require_equal("no more than a step off", [True], [worst < _STEP])
    for number, file in list(enumerate(sorted(peers.iterdir())))[::97]:
        theirs, own = pydicom.dcmread(file), pydicom.dcmread(header[number, 0].file)
        real = theirs.pixel_array * theirs.RescaleSlope + theirs.RescaleIntercept
        off = np.abs(real - values[number, 0].T).max()
        require_equal("the peer is no more than a step off", [True], [bool(off < _STEP)])
        for keyword in ("PatientName", "ImagePositionPatient", "EchoTime", "FlipAngle"):
            require_equal(keyword, [theirs.get(keyword)], [own.get(keyword)])


def time_large(home: str, frames: int) -> dict[str, float]:
    """Return memory and seconds of writing frames that are made as they are written."""
    import dask.array as da

    import dbdicom_xr as db

    with tempfile.TemporaryDirectory(dir=home) as folder:
        database = db.database(folder)
        database.mute()
        series = database.new_series(PatientName="Large")
        places = da.arange(frames, chunks=32)  # type: ignore[no-untyped-call]
        ramp = np.linspace(0, 1, 512 * 512, dtype=np.float32).reshape(1, 512, 512)
        array = places[:, None, None].astype(np.float32) + ramp
        forget_peak()
        before = memory()
        with stopwatch() as seconds:
            series.set_array(array)
        peak = peak_memory() - before
        read, _ = series.array()
        off = np.abs(read[frames // 2].values - array[frames // 2].compute()).max()
        require_equal("a frame", [True], [bool(off <= 1 / 65534)])
        size = sum(Path(file).stat().st_size for file in files_of(folder))
        database.close(save=False)
    return {"peak": peak / 2**30, "seconds": seconds[0], "GiB": size / 2**30}


BENCHMARKS = [write, bounded]
