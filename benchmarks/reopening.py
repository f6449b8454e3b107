"""Opening a folder that has its index already."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median

from benchmarks.child import run
from benchmarks.folders import INDEX, Folders
from benchmarks.harness import (
    Report,
    Row,
    Target,
    Unequal,
    peak_memory,
    stopwatch,
    take_turns,
)
from dbdicom_xr.testing.index import make_index


def reopen(report: Report, folders: Folders) -> None:
    """5,000 files that did not change."""
    sizes = folders.sizes
    folder = folders.study()
    turns = [run(time_reopening, folder=folder, turns=5).result for _ in range(sizes.turns)]
    ours = [seconds for turn in turns for seconds in turn["dbdicom_xr"]]
    floor = [seconds for turn in turns for seconds in turn["os.scandir and stat"]]
    what = f"reopen {sizes.study:,} files"
    report.add(Row(what, "ms", 1e3 * median(ours), target=Target("value", 50)))
    report.compare(
        what, {"ours": ours, "os.scandir and stat": floor}, "ours", "os.scandir and stat"
    )
    first = median(turn["first"] for turn in turns)
    report.add(Row(f"{what}, first in a process", "ms", 1e3 * first))
    cold = median(run(open_once, folder=folder).seconds for _ in range(sizes.turns))
    report.add(Row(f"{what}, with starting Python and importing", "ms", 1e3 * cold))


def million(report: Report, folders: Folders) -> None:
    """An index of a million instances, without their files: open and print."""
    n = folders.sizes.million
    folder = folders.once(
        f"million-{n}", lambda home: make_index(home / INDEX, n, series=max(1, n // 100))
    )
    turns = [run(open_and_print, folder=folder).result for _ in range(folders.sizes.turns)]
    if any(turn["instances"] != n for turn in turns):
        raise Unequal(f"the index of {n:,} instances opens with {turns[0]['instances']:,}")
    what = f"open and print an index of {n:,} instances"
    seconds = median(turn["seconds"] for turn in turns)
    report.add(Row(what, "s", seconds, target=Target("value", 1)))
    peak = max(turn["peak"] for turn in turns) / 1e6
    report.add(Row(f"{what}: peak memory of the process", "MB", peak, target=Target("value", 300)))


def open_once(folder: str) -> int:
    """Open a folder; return how many series it has."""
    import dbdicom_xr as db

    return len(db.database(folder).series())


def time_reopening(folder: str, turns: int) -> dict[str, float | list[float]]:
    """Return the seconds of opening, when everything has been imported."""
    from dbdicom_xr.records.opening import database

    with stopwatch() as first:
        database(folder).series()

    def ours() -> None:
        database(folder).series()

    return {
        "first": first[0],
        **take_turns({"dbdicom_xr": ours, "os.scandir and stat": lambda: _list(folder)}, turns),
    }


def _list(folder: str) -> int:
    with os.scandir(folder) as entries:
        return len([entry.stat() for entry in entries if entry.is_file()])


def open_and_print(folder: str) -> dict[str, float]:
    """Open an index without looking at files, print it; seconds and the peak of memory."""
    from dbdicom_xr.records.opening import database

    with stopwatch() as seconds:
        opened = database(Path(folder), refresh=False)
        text = str(opened)
    peak = peak_memory()
    if "instances" not in text:
        raise Unequal(f"the database prints as {text!r}")
    count = sum(row.instances for row in opened._node.series())
    return {"seconds": seconds[0], "peak": peak, "instances": count}


BENCHMARKS = [reopen, million]
