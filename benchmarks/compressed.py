"""Pixels that have to be decoded, and frames of large files."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.child import run
from benchmarks.folders import Folders, files_of
from benchmarks.harness import Report, Row, Target, Times, require_equal, stopwatch, take_turns

SYNTAXES = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


def series(report: Report, folders: Folders) -> None:
    """A series in each of the usual compressed formats, on two threads."""
    sizes = folders.sizes
    count = max(sizes.dynamic * 3 // 5, 2)
    for name in SYNTAXES:
        folder = folders.home / f"compressed-{name.replace(' ', '-')}-{count}"
        times: Times = run(
            time_series, folder=str(folder), source=folders.dynamic(), name=name, count=count,
            turns=max(1, sizes.turns - 2),
        ).result  # fmt: skip
        report.compare(
            f"compute {count:,} frames in {name}, 2 threads", times, "dbdicom_xr",
            "pydicom, decoders as installed", Target("times", 1.6),
        )  # fmt: skip
        report.compare(
            f"compute {count:,} frames in {name}, 2 threads", times, "dbdicom_xr",
            "pydicom, with the same decoder", Target("times", 1.6),
        )  # fmt: skip


def one_frame(report: Report, folders: Folders) -> None:
    """One frame of a large multi-frame file, uncompressed and compressed."""
    sizes = folders.sizes
    frames = sizes.dynamic * 10
    for compressed in (False, True):
        what = "JPEG-LS" if compressed else "not compressed"
        folder = folders.home / f"multiframe-{what.replace(' ', '-')}-{frames}"
        found = run(time_frame, folder=str(folder), frames=frames, compressed=compressed).result
        report.add(
            Row(
                f"one of {frames:,} frames of 64 x 64, {what}, after opening", "ms",
                1e3 * median(found["again"]), target=Target("value", 5),
            )
        )  # fmt: skip
        report.add(Row("the same, first in a process", "ms", 1e3 * found["first"]))


def twins(report: Report, folders: Folders) -> None:
    """The same frames as many classic files and as one enhanced file."""
    sizes = folders.sizes
    count = max(sizes.dynamic // 2, 4)
    folder = folders.home / f"twins-{count}-{sizes.shape[0]}"
    times: Times = run(
        time_twins, folder=str(folder), frames=count, shape=list(sizes.shape), turns=sizes.turns + 2
    ).result
    for job in ("array()", "compute()"):
        report.compare(
            f"{job} of {count:,} frames, enhanced against classic", times, f"enhanced {job}",
            f"classic {job}", Target("ratio", 1.3),
        )  # fmt: skip


# -- in a process of its own -------------------------------------------------------------------


def time_series(folder: str, source: str, name: str, count: int, turns: int) -> Times:
    """Return the seconds in which a compressed series is read."""
    import dask
    from pydicom import dcmread

    import dbdicom_xr as db

    if not Path(folder).exists():
        _compress(Path(folder), files_of(source)[:count], name)
    files = files_of(folder)
    array = db.database(folder).series()[0].array()[0]

    def ours() -> npt.NDArray[Any]:
        with dask.config.set(scheduler="threads", num_workers=2):
            return np.asarray(array.compute().values)

    def with_pydicom() -> npt.NDArray[Any]:
        return np.stack([dcmread(file).pixel_array.T for file in files])

    def with_our_decoder() -> npt.NDArray[Any]:
        loaded = []
        for file in files:
            dataset = dcmread(file)
            dataset.pixel_array_options(decoding_plugin="imagecodecs")
            loaded.append(dataset.pixel_array.T)
        return np.stack(loaded)

    require_equal(f"pixels in {name}", with_pydicom(), ours())
    require_equal(f"pixels in {name}", with_our_decoder(), ours())
    contenders: dict[str, Callable[[], Any]] = {
        "dbdicom_xr": ours,
        "pydicom, decoders as installed": with_pydicom,
        "pydicom, with the same decoder": with_our_decoder,
    }
    return take_turns(contenders, turns)


def time_frame(folder: str, frames: int, compressed: bool) -> dict[str, Any]:
    """Return the seconds in which one frame of a large file is read."""
    import dbdicom_xr as db

    values = _smooth((64, 64))
    if not Path(folder).exists():
        _multiframe(Path(folder), values, frames, compressed)
    with db.database(folder) as database:
        database.series()[0].instances()[0].array()
    with db.database(folder, refresh=False) as database:
        with stopwatch() as first:
            instance = database.series()[0].instances()[0]
            got = instance.array()[frames // 2].compute()
        require_equal("one frame", got.values, (values + frames // 2 % 7).T)
        again = []
        rng = np.random.default_rng(0)
        for number in rng.integers(0, frames, 30).tolist():
            frame = instance.children()[number] if number % 2 else None
            with stopwatch() as seconds:
                if frame is not None:
                    got = frame.array().compute()
                else:
                    got = instance.array()[number].compute()
            again += seconds
            require_equal("one frame", got.values, (values + number % 7).T)
    return {"first": first[0], "again": again}


def time_twins(folder: str, frames: int, shape: list[int], turns: int) -> Times:
    """Return the seconds in which the same frames are read from classic and enhanced files."""
    import dbdicom_xr as db
    from dbdicom_xr.testing import make_enhanced, make_series

    slices = 2 if frames < 20 else 20
    keys: dict[Any, Any] = {
        "SliceLocation": [2.5 * i for i in range(slices)],
        "TemporalPositionIndex": list(range(1, frames // slices + 1)),
    }
    made = {}
    makers: dict[str, Callable[..., Any]] = {"classic": make_series, "enhanced": make_enhanced}
    for kind, make in makers.items():
        home = Path(folder) / kind
        if not home.exists():
            make(home, keys=keys, shape=(shape[1], shape[0]))
        made[kind] = db.database(home).series()[0]
    arrays = {kind: one.array(list(keys))[0] for kind, one in made.items()}
    require_equal("twins", arrays["classic"].values, arrays["enhanced"].values)
    contenders: dict[str, Callable[[], Any]] = {}
    for kind in made:
        contenders[f"{kind} array()"] = partial(made[kind].array, list(keys))
        contenders[f"{kind} compute()"] = arrays[kind].compute
    return take_turns(contenders, turns, 3 * arrays["classic"].nbytes)


# -- files -------------------------------------------------------------------------------------


def _smooth(shape: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Return what looks like an image to a compressor: smooth, with noise."""
    rows, columns = np.indices(shape)
    noise = np.random.default_rng(0).normal(0, 20, shape)
    return (1000 + 800 * np.sin(rows / 17) * np.cos(columns / 23) + noise).astype(np.uint16)


def _encode(frame: npt.NDArray[np.uint16], name: str) -> bytes:
    import imagecodecs

    if name == "JPEG lossless":
        return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, bitspersample=12))
    if name == "JPEG-LS":
        return bytes(imagecodecs.jpegls_encode(frame))
    if name == "JPEG 2000":
        return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K", bitspersample=12))
    planes = [frame >> 8, frame & 255]  # the most significant byte first (PS3.5 G)
    segments = [
        b"".join(bytes(imagecodecs.packbits_encode(row)) for row in plane.astype(np.uint8))
        for plane in planes
    ]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    header = np.zeros(16, "<u4")
    header[:3] = 2, 64, 64 + len(segments[0])
    return header.tobytes() + b"".join(segments)


def _compress(folder: Path, files: list[str], name: str) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        dataset = dcmread(file)
        values = np.roll(_smooth((dataset.Rows, dataset.Columns)), number, axis=0)
        dataset.PixelData = encapsulate([_encode(values, name)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.file_meta.TransferSyntaxUID = UID(SYNTAXES[name])
        dataset.save_as(folder / os.path.basename(file))


def _multiframe(
    folder: Path, values: npt.NDArray[np.uint16], frames: int, compressed: bool
) -> None:
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian

    from dbdicom_xr.testing import make_many

    made = make_many(folder, 1, shape=values.shape)
    dataset = dcmread(made.files[0])
    different = [values + number for number in range(7)]
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = frames
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    if compressed:
        encoded = [_encode(frame, "JPEG-LS") for frame in different]
        dataset.PixelData = encapsulate([encoded[i % 7] for i in range(frames)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.PixelData = b"".join(different[i % 7].tobytes() for i in range(frames))
    dataset.file_meta.TransferSyntaxUID = UID(
        SYNTAXES["JPEG-LS"] if compressed else ExplicitVRLittleEndian
    )
    dataset.save_as(made.files[0])


BENCHMARKS = [series, one_frame, twins]
