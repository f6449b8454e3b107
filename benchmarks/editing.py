"""Changing a database: attributes, structure, and saving it."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.child import run
from benchmarks.folders import Folders, files_of
from benchmarks.harness import Report, Row, Target, Times, require_equal, stopwatch, take_turns


def stage(report: Report, folders: Folders) -> None:
    """Set an attribute of 100,000 instances, copy, move and remove them; restore."""
    sizes = folders.sizes
    found: list[dict[str, float]] = [
        run(time_staging, folder=folders.many(), instances=sizes.many).result
        for _ in range(min(3, sizes.turns))
    ]
    for name in found[0]:
        limit = {"set": 2, "copy": 2, "move": 2, "remove": 2}.get(name.split()[0])
        target = None if limit is None else Target("value", limit)
        seconds = median(turn[name] for turn in found)
        report.add(Row(f"{name}, {sizes.many:,} instances", "s", seconds, target=target))


def batch(report: Report, folders: Folders) -> None:
    """1,000 single edits in a batch."""
    n = folders.sizes.dynamic
    turns = [
        run(time_batch, folder=folders.dynamic(), edits=n).result
        for _ in range(folders.sizes.turns)
    ]
    report.add(Row(f"{n:,} edits in a batch", "s", median(turns), target=Target("value", 0.5)))


def save(report: Report, folders: Folders) -> None:
    """Save one edited element in 5,000 files, beside copying the files."""
    n = folders.sizes.study
    times: Times = run(
        time_saving, folder=folders.study(), turns=min(3, folders.sizes.turns)
    ).result
    for peer in ("shutil.copytree and sync", "shutil.copytree"):
        report.compare(f"save one element in {n:,} files", times, "save", peer, Target("ratio", 3))


def time_staging(folder: str, instances: int) -> dict[str, float]:
    """Return the seconds of each kind of change."""
    import dbdicom_xr as db

    found = {}
    database = db.database(folder, refresh=False)
    series = database.series()[0]
    with stopwatch() as seconds:
        series.SeriesDescription = "set"
    found["set an attribute"] = seconds[0]
    require_equal("the attribute", ["set"], list(series.SeriesDescription))
    with stopwatch() as seconds:
        copied = series.copy()
    found["copy"] = seconds[0]
    study = database.new_study(PatientName="Other")
    with stopwatch() as seconds:
        series.move_to(study)
    found["move"] = seconds[0]
    counts = [len(one.instances()) for one in database.series()]
    require_equal("instances", [instances] * 2, counts)
    with stopwatch() as seconds:
        copied.remove()
    found["remove the copies"] = seconds[0]
    with stopwatch() as seconds:
        series.remove()
    found["remove"] = seconds[0]
    require_equal("what is left", [0], [len(database.instances())])
    with stopwatch() as seconds:
        database.restore()
    found["restore it all"] = seconds[0]
    require_equal("instances", [instances], [len(database.instances())])
    _close(database)
    return found


def _close(database: Any) -> None:
    """Leave the folder as other benchmarks expect it."""
    database.close()
    Path(database.path_on_disk, ".dbdicom_xr", "staging.sqlite").unlink()


def time_batch(folder: str, edits: int) -> float:
    """Return the seconds of single edits."""
    import dbdicom_xr as db

    database = db.database(folder, refresh=False)
    instances = database.instances()[:edits]
    with stopwatch() as seconds, database.batch():
        for number, instance in enumerate(instances):
            instance.ImageComments = f"image {number}"
    require_equal("edits", [len(instances)], [len(database.ImageComments)])
    database.restore()
    _close(database)
    return seconds[0]


def time_saving(folder: str, turns: int) -> Times:
    """Return the seconds of a save and of copies of all files, in memory and on the disk.

    Each turn saves files of its own, and nothing is removed before the end, but for what the save
    itself removes: for five minutes ext4 makes files more slowly where many have been.
    """
    import pydicom

    import dbdicom_xr as db

    without_index = shutil.ignore_patterns(".dbdicom_xr")
    with tempfile.TemporaryDirectory(dir=Path(folder).parent) as home:
        edited = [Path(home, f"edited-{turn}") for turn in range(turns)]
        databases = []
        for target in edited:
            shutil.copytree(folder, target, ignore=without_index)
            database = db.database(target)
            database.mute()
            database.PatientName = "Saved^Name"
            databases.append(database)
        waiting = iter(databases)
        copies = (Path(home, f"copy-{number}") for number in range(2 * turns))

        def copy(*, sync: bool) -> float:
            os.sync()  # so that nobody waits for what the contender before has left
            target = next(copies)
            with stopwatch() as seconds:
                shutil.copytree(folder, target, ignore=without_index)
                if sync:
                    os.sync()
            return float(seconds[0])

        def save() -> float:
            os.sync()
            with stopwatch() as seconds:
                next(waiting).save()
            return float(seconds[0])

        contenders: dict[str, Any] = {
            "save": save,
            "shutil.copytree": partial(copy, sync=False),
            "shutil.copytree and sync": partial(copy, sync=True),
        }
        times = take_turns(contenders, turns, memory_to_touch=2 << 30)
        for target, database in zip(edited, databases, strict=True):
            pairs = zip(files_of(folder), files_of(str(target)), strict=True)
            for before, after in list(pairs)[::97]:
                old, new = pydicom.dcmread(before), pydicom.dcmread(after)
                require_equal("the name", "Saved^Name", str(new.PatientName))
                new.PatientName = old.PatientName
                require_equal("all else", [old], [new])
            database.close()
    return times


BENCHMARKS = [stage, batch, save]
