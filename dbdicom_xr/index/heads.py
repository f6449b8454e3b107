"""Headers of files that are elsewhere: the first bytes of many at once, and only as many as needed.

Files of one folder have headers of nearly one length, so that the first file tells how much to ask
for of the others. A header that is longer is walked again once the rest is here: to walk it takes
50 us, to wait for a store a thousand times that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from dbdicom_xr.errors import ConnectionLost, DbdicomError
from dbdicom_xr.index.blocks import Findings
from dbdicom_xr.index.elements import External, Header
from dbdicom_xr.index.files import Version
from dbdicom_xr.index.gather import Gathering

if TYPE_CHECKING:
    from dbdicom_xr.index.remote import RemoteFolder

__all__ = ["Partial", "remote_batches"]

_FIRST: Final = 4096
_MARGIN: Final = 32
"""Bytes by which the next header may be longer: numbers have more digits, and UIDs."""
_MOST: Final = 8 << 20
_CHUNK: Final = 256
_SCOUTS: Final = 3
"""Files of a folder that are read alone, one after the other, until one is an image."""
_FEW: Final = 3
"""Files that may fail before it matters how many of the others do."""
_LOOK: Final = 65536
"""Bytes that are walked at a time, no more than those of a value that is left in its file."""


class Missing(BaseException):
    """Bytes are needed that are not here yet. No error, so that nothing takes it for one."""

    def __init__(self, places: Sequence[tuple[int, int]], *, more: bool) -> None:
        super().__init__()
        self.places = places
        self.more = more


class Partial:
    """The bytes of a file as far as they are here.

    Parameters
    ----------
    size : int
        Of the file.

    Examples
    --------
    >>> partial = Partial(1000)
    >>> partial.put(0, b"abcdef")
    >>> partial.read(2, 1)
    b'bc'
    >>> try:
    ...     partial.read(4, 4)
    ... except Missing as missing:
    ...     print(missing.places)
    [(6, 8)]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._starts: list[int] = []
        self._parts: list[bytes] = []
        self._misses = 0

    def put(self, offset: int, data: bytes) -> None:
        """Add bytes."""
        at = bisect_right(self._starts, offset)
        if at and self._starts[at - 1] + len(self._parts[at - 1]) >= offset:
            before = self._parts[at - 1]
            begin = offset - self._starts[at - 1]
            self._parts[at - 1] = before[:begin] + data + before[begin + len(data) :]
        else:
            self._starts.insert(at, offset)
            self._parts.insert(at, data)

    def _from(self, offset: int) -> bytes:
        at = bisect_right(self._starts, offset) - 1
        return b"" if at < 0 else self._parts[at][offset - self._starts[at] :]

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes; fewer where the file ends."""
        count = max(0, min(count, self.size - offset))
        found = self._from(offset)
        if len(found) < count:
            raise Missing([(offset + len(found), offset + count)], more=True)
        return found[:count]

    def some(self, count: int, offset: int, least: int) -> bytes:
        """Return what is there of these bytes; fewer than ``least`` only where the file ends."""
        found = self._from(offset)
        if len(found) < min(least, self.size - offset):
            raise Missing([(offset + len(found), offset + least)], more=True)
        return found[: max(count, 0)]

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """Have bytes fetched that will be read, all at once."""
        missing = [
            (offset, offset + length)
            for offset, length in places
            if 0 <= offset < self.size and len(self._from(offset)) < length
            and offset + length <= self.size
        ]  # fmt: skip
        if missing:
            raise Missing(missing, more=False)

    def wanted(self, missing: Missing) -> list[tuple[int, int]]:
        """Return what to fetch: what is missing, and the more behind it the more often."""
        if not missing.more:
            return list(missing.places)
        room = min(_FIRST << self._misses, _MOST)
        self._misses += 1
        return [
            (start, min(self.size, max(stop + room // 2, start + room)))
            for start, stop in missing.places
        ]


def needed(header: Header) -> int:
    """Return how many bytes of the beginning of a file its header takes; 0: all of them."""
    ends = [value.offset for value in header.elements.values() if isinstance(value, External)]
    if header.pixels is not None:
        # With the offset table of fragments, and the beginning of the first.
        ends.append(header.pixels.offset + (16 if header.pixels.fragments is not None else 0))
    return min(ends, default=0)


def remote_batches(
    folder: RemoteFolder, paths: Sequence[str]
) -> Generator[tuple[Sequence[str], Findings], None, None]:
    """Read the headers of files, and yield what was found, some files at a time.

    Parameters
    ----------
    folder : RemoteFolder
    paths : sequence of str
        Relative to it. Each is in exactly one of the batches.

    Raises
    ------
    ConnectionLost
    """
    hints: dict[str, int] = {}
    left: dict[str, list[str]] = {}
    lost: list[ConnectionLost] = []
    read = 0
    for path in paths:
        left.setdefault(path.rpartition("/")[0], []).append(path)
    for number in range(_SCOUTS + 1):
        some = []
        for name, mine in left.items():
            if number == _SCOUTS:
                some += mine
            elif mine and name not in hints:
                # From the middle: at the ends are files that are no images.
                some.append(mine.pop(len(mine) // 2))
        for start in range(0, len(some), _CHUNK):
            chunk = some[start : start + _CHUNK]
            findings, failed = _read(folder, chunk, hints)
            lost += failed
            read += len(chunk) - len(failed)
            if len(lost) > max(_FEW, read):
                raise lost[0]
            yield chunk, findings


def _read(
    folder: RemoteFolder, paths: Sequence[str], hints: dict[str, int]
) -> tuple[Findings, list[ConnectionLost]]:
    """Return what was found, and why files that the store has could not be read."""
    lost: list[ConnectionLost] = []
    gathering = Gathering()
    findings = gathering.findings
    partials: dict[int, Partial] = {}
    versions: dict[int, Version] = {}
    lengths: dict[str, list[int]] = {}
    usual = max(hints.values(), default=_FIRST)
    wanted = {
        number: [(0, hints.get(path.rpartition("/")[0], usual))]
        for number, path in enumerate(paths)
    }
    restarted: set[int] = set()
    while wanted:
        places = [
            (number, start, stop) for number, parts in wanted.items() for start, stop in parts
        ]
        answers = folder.fetch([(paths[number], start, stop) for number, start, stop in places])
        again: dict[int, list[tuple[int, int]]] = {}
        for (number, start, _), got in zip(places, answers, strict=True):
            if number in findings.problems or number in again:
                continue
            if isinstance(got, DbdicomError):
                if isinstance(got, ConnectionLost):
                    lost.append(got)
                findings.problems[number] = f"cannot be opened: {got}"
                continue
            if versions.setdefault(number, got.version) != got.version:
                if number in restarted:
                    findings.problems[number] = "it changed while it was read"
                    continue
                restarted.add(number)
                again[number] = [(0, _FIRST)]
                del versions[number], partials[number]
                continue
            partials.setdefault(number, Partial(got.version[0])).put(start, got.data)
        for number in wanted:
            if number in findings.problems or number in again:
                continue
            partial = partials[number]
            try:
                header = gathering.add(partial, partial.size, number, _LOOK)
            except Missing as missing:
                again[number] = partial.wanted(missing)
                continue
            findings.versions[number] = versions[number]
            if header is not None and (length := needed(header)):
                lengths.setdefault(paths[number].rpartition("/")[0], []).append(length)
        wanted = again
    for name, found in lengths.items():
        # Where one header in ten is longer, it costs a request more, not all others bytes.
        hints[name] = sorted(found)[(len(found) * 9) // 10] + _MARGIN
    return gathering.done(), lost
