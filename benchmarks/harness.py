"""Timing in turns, memory, and the table of results.

Contenders take turns (A B A B), so that what else the machine does hits both alike; what counts is
the ratio of the medians, and how far the ratios of the single turns scatter.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

import psutil

Times = dict[str, list[float]]


class Care:
    """Off where figures do not matter: nothing in a new process, garbage stays where it is."""

    taken = True


class Unequal(Exception):
    """Two readers disagree about the same file: no time of theirs means anything."""


def require_equal(question: str, *answers: Any) -> None:
    """Raise `Unequal` where the answers differ, and where there is nothing to compare."""
    import numpy as np

    first, *others = answers
    if len(first) == 0:
        raise Unequal(f"{question}: nothing to compare")
    for other in others:
        if isinstance(first, np.ndarray):
            same = first.shape == other.shape and np.array_equal(first, other)
        else:
            same = first == other
        if not same:
            raise Unequal(f"{question}: the readers disagree")


# -- targets and results ---------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Asked for: so many ``times`` faster, a ``ratio`` to the peer, a ``value`` to stay below."""

    kind: Literal["times", "ratio", "value"]
    limit: float

    def text(self, unit: str) -> str:
        """Return it as the table shows it."""
        if self.kind == "times":
            return f">= {self.limit:g}x faster"
        return f"<= {self.limit:g}" if self.kind == "ratio" else f"< {self.limit:g} {unit}"


@dataclass(frozen=True)
class Row:
    """One line of the table: ours and theirs in ``unit``, a value of ``ratios`` per turn."""

    name: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    ratios: Sequence[float] = ()
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over theirs."""
        return None if self.theirs is None else self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None without one."""
        if self.target is None:
            return None
        if self.target.kind == "value":
            return self.ours < self.target.limit
        assert self.ratio is not None
        if self.target.kind == "times":
            return self.ratio <= 1 / self.target.limit
        return self.ratio <= self.target.limit

    def cells(self) -> list[str]:
        """Return the line as text."""
        theirs = "" if self.theirs is None else f"{self.theirs:,.4g} {self.unit}"
        verdict = {None: "", True: "ok", False: "MISSED"}[self.met]
        return [
            self.name,
            f"{self.ours:,.4g} {self.unit}",
            f"{self.peer}: {theirs}" if theirs else self.peer,
            self._ratio_text(),
            "" if self.target is None else self.target.text(self.unit),
            verdict,
        ]

    def _ratio_text(self) -> str:
        if self.ratio is None:
            return ""
        faster = self.target is not None and self.target.kind == "times"

        def shown(ratio: float) -> str:
            return f"{1 / ratio:.3g}x" if faster else f"{ratio:.3g}"

        ends = sorted(self.ratios, reverse=faster)
        scatter = f" ({shown(ends[0])}..{shown(ends[-1])})" if ends else ""
        return shown(self.ratio) + scatter


HEADINGS = ["", "dbdicom_xr", "peer", "ratio (min..max)", "target", ""]


@dataclass
class Report:
    """Collects the rows, and shows each when it is there."""

    judges: bool = True  # whether targets hold: not where the sizes are small
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Add a result."""
        if not self.judges:
            row = replace(row, target=None)
        self.rows.append(row)
        print("  " + " | ".join(cell for cell in row.cells() if cell), flush=True)

    def note(self, text: str) -> None:
        """Say why a result is missing, or what it means."""
        self.notes.append(text)
        print(f"  {text}", flush=True)

    def compare(
        self, name: str, times: Times, ours: str, theirs: str, target: Target | None = None
    ) -> None:
        """Add the ratio of two contenders, from seconds."""
        unit, scale = ("s", 1.0) if median(times[ours]) >= 1 else ("ms", 1e3)
        self.add(
            Row(
                name, unit, median(times[ours]) * scale, theirs, median(times[theirs]) * scale,
                [a / b for a, b in zip(times[ours], times[theirs], strict=True)], target,
            )
        )  # fmt: skip

    def markdown(self) -> str:
        """Return the table."""
        lines = [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
        lines += [f"| {' | '.join(row.cells())} |" for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines).rstrip() + "\n"

    def table(self) -> str:
        """Return the table for a terminal."""
        lines = [HEADINGS, *(row.cells() for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


# -- measuring -------------------------------------------------------------------------------


def take_turns(
    contenders: Mapping[str, Callable[[], Any]], turns: int, memory_to_touch: int = 0
) -> Times:
    """Return the seconds of each contender in each turn.

    A contender that returns a float has timed itself. In a virtual machine, memory that was free
    for seconds has gone back to the host, and costs several times as much as what the contender
    before has just freed: so as many bytes are touched and freed before each.
    """
    times: Times = {name: [] for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            _settle()
            touch(memory_to_touch)
            start = time.perf_counter()
            result = contender()
            seconds = time.perf_counter() - start
            times[name].append(result if isinstance(result, float) else seconds)
            del result  # before the next contender takes memory
    return times


def _settle() -> None:
    if Care.taken:
        gc.collect()


def touch(count: int) -> None:
    """Take memory from the system, write to it, give it back."""
    if count:
        import numpy as np

        np.empty(count, np.uint8).fill(1)


@contextlib.contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Put the seconds that the block took into the list."""
    _settle()
    seconds: list[float] = []
    start = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - start)


def free_processors() -> float:
    """Return how much faster two threads are than one: 2 where nothing else runs."""
    data = bytes(1 << 22)

    def hash_it(_: int) -> None:
        hashlib.sha256(data)

    def seconds(threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            list(pool.map(hash_it, range(8)))
            return time.perf_counter() - start

    return median(seconds(1) / seconds(2) for _ in range(3))


def memory() -> int:
    """Return what the process holds now, in bytes."""
    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """Return the most that the process held since it started or `forget_peak`, in bytes."""
    if sys.platform == "linux":
        # Not getrusage: a child inherits the peak of the process that started it.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    """Let `peak_memory` count from now, where the system can (Linux)."""
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
