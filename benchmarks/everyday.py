"""What people do all day: look at a slice, take a column, pickle, search, open a tree."""

from __future__ import annotations

import pickle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.child import run
from benchmarks.folders import INDEX, Folders, files_of
from benchmarks.harness import Report, Row, Target, Times, require_equal, stopwatch, take_turns
from dbdicom_xr.testing.index import make_index


def one_slice(report: Report, folders: Folders) -> None:
    """One image of a series of 1,000."""
    times: Times = run(time_slice, folder=folders.volume(), turns=5 * folders.sizes.turns).result
    what = f"one slice of {folders.sizes.dynamic:,}"
    report.compare(f"{what}, of the array", times, "array[i].compute()", "pydicom")
    report.compare(f"{what}, of the instance", times, "instance.array()", "pydicom")


def pickles(report: Report, folders: Folders) -> None:
    """What travels to a worker, of 1,000 frames and of 100,000."""
    sizes = folders.sizes
    for folder, n in ((folders.dynamic(), sizes.dynamic), (folders.many(), sizes.many)):
        found: dict[str, float] = run(measure_pickles, folder=folder).result
        for name, size in found.items():
            report.add(Row(f"{name} of {n:,} frames, pickled", "kB", size / 1e3))


def columns(report: Report, folders: Folders) -> None:
    """One attribute of 100,000 frames."""
    found: list[dict[str, float]] = [
        run(time_columns, folder=folders.many(), frames=folders.sizes.many).result
        for _ in range(min(3, folders.sizes.turns))
    ]
    for name in found[0]:
        seconds = median(turn[name] for turn in found)
        report.add(Row(f"{name} of {folders.sizes.many:,} frames", "ms", 1e3 * seconds))


def filters(report: Report, folders: Folders) -> None:
    """Searching 10,000 series."""
    n = folders.sizes.series
    folder = folders.once(f"series-{n}", lambda home: make_index(home / INDEX, 10 * n, series=n))
    found: dict[str, float] = run(time_filters, folder=folder, series=n).result
    for name, seconds in found.items():
        report.add(Row(f"{name} over {n:,} series", "ms", 1e3 * seconds))


def trees(report: Report, folders: Folders) -> None:
    """2,000 series as a tree, by the database and by xarray."""
    n = folders.sizes.tree
    found: list[dict[str, float]] = [
        run(time_trees, folder=folders.tree(), series=n).result for _ in range(folders.sizes.turns)
    ]
    for name in found[0]:
        seconds = median(turn[name] for turn in found)
        limit = None if "filled" in name else Target("value", 3)
        report.add(Row(f"{name}, {n:,} series", "s", seconds, target=limit))


def time_slice(folder: str, turns: int) -> Times:
    """Return the seconds of reading one image."""
    from pydicom import dcmread

    import dbdicom_xr as db

    files = files_of(folder)
    middle = len(files) // 2
    series = db.database(folder).series()[0]
    array = series.array("SliceLocation")[0]
    instance = series.instances()[middle]

    def of_array() -> Any:
        return array[middle].compute().values

    def of_instance() -> Any:
        return instance.array().compute().values

    def with_pydicom() -> Any:
        return dcmread(files[middle]).pixel_array.T

    require_equal("one slice", with_pydicom(), of_array()[0], of_instance())
    return take_turns(
        {"array[i].compute()": of_array, "instance.array()": of_instance, "pydicom": with_pydicom},
        turns,
    )


def measure_pickles(folder: str) -> dict[str, float]:
    """Return the bytes of records, header and array."""
    import dbdicom_xr as db

    series = db.database(folder).series()[0]
    array, header = series.array(["SliceLocation", "AcquisitionTime"])
    back = pickle.loads(pickle.dumps(header))
    places = [np.asarray(each.SliceLocation) for each in (header, back)]
    require_equal("a header that was pickled", *places)
    things = {"series": series, "header": header, "array, with its coordinates": array}
    return {name: len(pickle.dumps(thing)) for name, thing in things.items()}


def time_columns(folder: str, frames: int) -> dict[str, float]:
    """Return the seconds of columns of the header, first and again."""
    import dbdicom_xr as db

    series = db.database(folder, refresh=False).series()[0]
    header = series.array()[1]
    found = {}
    for keyword in ("FlipAngle", "SOPInstanceUID", "ImagePositionPatient"):
        for when in ("", ", again"):
            with stopwatch() as seconds:
                column = getattr(header, keyword)
            found[f"header.{keyword}{when}"] = seconds[0]
            if column.shape != header.shape or header.size != frames:
                raise AssertionError(f"{keyword} has the shape {column.shape}")
    with stopwatch() as seconds:
        distinct = series.SliceLocation
    found["series.SliceLocation"] = seconds[0]
    with stopwatch() as seconds:
        listed = [instance.InstanceNumber for instance in header.ravel()[:1000]]
    found["h.InstanceNumber for 1,000 h in the header"] = seconds[0]
    if not distinct or None in listed:
        raise AssertionError("the header lacks values")
    return found


def time_filters(folder: str, series: int) -> dict[str, float]:
    """Return the seconds of searches, first and again."""
    from dbdicom_xr.records.opening import database

    opened = database(Path(folder), refresh=False)
    searches: dict[str, dict[str, Any]] = {
        "SeriesDescription='*1*'": {"SeriesDescription": "*1*"},
        "Modality='MR', FlipAngle=slice(0, 90)": {"Modality": "MR", "FlipAngle": slice(0, 90)},
    }
    found = {}
    for name, conditions in searches.items():
        for when in ("", ", again"):
            with stopwatch() as seconds:
                matching = opened.series(**conditions)
            found[f"series({name}){when}"] = seconds[0]
            if len(matching) > series:
                raise AssertionError(f"{len(matching)} series of {series}")
    return found


def time_trees(folder: str, series: int) -> dict[str, float]:
    """Return the seconds of trees of a folder that is indexed, and of looking at all nodes."""
    import xarray as xr

    import dbdicom_xr as db

    found = {}
    with stopwatch() as seconds:
        made = db.database(folder).to_datatree()
    found["database(folder).to_datatree()"] = seconds[0]
    with stopwatch() as seconds:
        opened = xr.open_datatree(folder, engine="dicom")
    found['xr.open_datatree(folder, engine="dicom")'] = seconds[0]
    with stopwatch() as seconds:
        images = [node for node in opened.leaves if "pixels" in node.data_vars]
    found["the same, all nodes filled"] = seconds[0]
    if not len(made.leaves) == len(images) == series:
        raise AssertionError(f"{len(made.leaves)} and {len(images)} nodes of {series} series")
    return found


BENCHMARKS = [one_slice, pickles, columns, filters, trees]
