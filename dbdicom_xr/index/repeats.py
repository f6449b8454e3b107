"""What the header of a file has in common with the one before, found without taking it apart.

The files of a series repeat most of their elements byte for byte. A run is a stretch of elements
of one file; where the next file holds the same bytes, the whole run is stepped over at once. A run
that does not match is cut in halves until what differs stands alone, which is then walked element
by element, in all files that follow. Measured on 5,000 files of 106 elements, reading included: 61
us per file without, 34 us with.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from dbdicom_xr.index.elements import Header

__all__ = ["Piece", "Repeats", "Run"]

_MOST_PATIENT: Final = 1024


class Piece(NamedTuple):
    """One element of a data set with all its bytes."""

    name: bytes  # tag and VR as in ``Header.elements``
    raw: bytes  # tag, VR, length and value
    value: bytes


class Run:
    """A stretch of elements that were the same in all files so far."""

    __slots__ = ("elements", "pieces", "raw", "size")

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces
        self.raw = b"".join([piece.raw for piece in pieces])
        self.size = len(self.raw)
        self.elements = {piece.name: piece.value for piece in pieces}


class Repeats:
    """What the files walked so far have in common.

    Parameters of :func:`~dbdicom_xr.index.walker.walk`, which asks it for runs, tells it of those
    that do not match, and hands it the pieces of a file to learn from.
    """

    def __init__(self) -> None:
        self._form: tuple[bool, bool] | None = None
        self._runs: dict[bytes, Run] = {}
        self._since = 0  # files since the last one learned from
        self._patience = 1
        self.learning = True

    def runs(self, implicit: bool, big_endian: bool) -> dict[bytes, Run]:
        """Return the runs by the tag they begin with, for a data set of this encoding."""
        return self._runs if self._form == (implicit, big_endian) else {}

    def split(self, run: Run) -> None:
        """Take a run apart that does not match."""
        pieces = run.pieces
        del self._runs[pieces[0].raw[:4]]
        if len(pieces) > 1:
            middle = len(pieces) // 2
            for half in (pieces[:middle], pieces[middle:]):
                self._runs[half[0].raw[:4]] = Run(half)

    def walked(self, header: Header, pieces: list[Piece | None] | None) -> None:
        """Take note of a file; ``pieces`` are given when learning, None where they are apart."""
        if pieces is not None:
            self._learn(header, pieces)
            return
        self._since += 1
        # Another series has begun. Where files of several series take turns, learning from each
        # would cost more than it saves.
        if 3 * len(header.others) > len(header.elements) and self._since >= self._patience:
            self._patience = 1 if self._since > 32 else min(2 * self._patience, _MOST_PATIENT)
            self.learning = True

    def _learn(self, header: Header, pieces: list[Piece | None]) -> None:
        self._form = (header.implicit, header.big_endian)
        self._runs = {}
        self._since = 0
        self.learning = False
        stretch: list[Piece] = []
        for piece in [*pieces, None]:
            if piece is not None:
                stretch.append(piece)
            elif stretch:
                self._runs[stretch[0].raw[:4]] = Run(stretch)
                stretch = []
