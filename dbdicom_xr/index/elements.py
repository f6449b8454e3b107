"""What is known of the elements of one file: the vocabulary of the walker and of its users.

Raw values with tag and VR as they stand in the file, the place of what was left there, and the
two ways in which reading a header ends early.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from dbdicom_xr.index.files import Opened, pread

if TYPE_CHECKING:
    from dbdicom_xr.index.repeats import Run

__all__ = [
    "BIG_ENDIAN",
    "DEFLATED",
    "EXPLICIT",
    "IMPLICIT",
    "LARGE",
    "LONG_VRS",
    "SHORT_VRS",
    "UNDEFINED",
    "External",
    "Header",
    "Malformed",
    "PixelPlace",
    "Source",
    "Unusual",
    "tag_bytes",
]

LARGE: Final = 65536
"""Values longer than this many bytes stay in the file; the index keeps their place."""

UNDEFINED: Final = 0xFFFFFFFF

_BLOCK: Final = 4096

LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""VRs with four bytes of length (PS3.5 7.1.2)."""

SHORT_VRS: Final = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
)

DEFLATED: Final = "1.2.840.10008.1.2.1.99"
IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"


class Unusual(Exception):
    """The walker does not recognise what it sees; pydicom may."""


class Malformed(Exception):
    """Not a readable DICOM file; the text says why."""


class External(NamedTuple):
    """A value that was left in the file."""

    offset: int
    length: int


class PixelPlace(NamedTuple):
    """Where the pixel data of a file lie.

    ``fragments`` holds (offset, length) of each item of encapsulated pixel data, the basic offset
    table first (PS3.5 A.4); it is None for native pixel data. In a deflated file the offsets
    count in the inflated data set.
    """

    element: int  # 0x08 float, 0x09 double float, 0x10 integer
    offset: int
    length: int  # of native data as declared; -1 where undefined
    present: int  # how many bytes of native data the file holds
    fragments: tuple[tuple[int, int], ...] | None
    vr: str = "OW"


@dataclass(slots=True)
class Header:
    """The raw elements of one file.

    ``elements`` maps the four tag bytes, in little endian, and the two VR bytes (zeros in implicit
    VR) to the value's bytes, in file order; file meta elements included.
    """

    elements: dict[bytes, bytes | External]
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False
    transfer_syntax: str = ""
    pixels: PixelPlace | None = None
    notes: list[str] = field(default_factory=list)
    # What was the same as in the file before, and the names of all else; None: not compared.
    runs: list[Run] | None = None
    others: list[bytes] = field(default_factory=list)
    contiguous: int = 0  # length of the beginning of the file in which nothing was passed over

    def value(self, tag: int) -> bytes | None:
        """Return the raw value of a top-level element, whatever its VR."""
        key = tag_bytes(tag)
        for name, value in self.elements.items():
            if name[:4] == key and isinstance(value, bytes):
                return value
        return None


def tag_bytes(tag: int) -> bytes:
    """Return the four bytes of a tag, in little endian.

    Examples
    --------
    >>> tag_bytes(0x00080018).hex()
    '08001800'
    """
    return (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")


class Source:
    """The bytes of a data set: of an open file, or in memory."""

    __slots__ = ("_data", "_fd", "size")

    def __init__(self, fd: Opened, size: int, data: bytes | None = None) -> None:
        self._fd = fd
        self._data = data
        self.size = size if data is None else len(data)

    @property
    def in_memory(self) -> bool:
        """Whether no file offset leads to the bytes."""
        return self._data is not None

    def read(self, count: int, offset: int) -> bytes:
        """Return bytes; fewer where the data set ends."""
        if self._data is not None:
            return self._data[offset : offset + count]
        # The system reserves all that is asked for, and a damaged length asks for gigabytes.
        return pread(self._fd, max(0, min(count, self.size - offset)), offset)

    def some(self, count: int, offset: int, least: int = 16) -> bytes:
        """Return bytes that are at hand, up to ``count``; of a file of this computer all."""
        if self._data is None and not isinstance(self._fd, int):
            return self._fd.some(max(0, min(count, self.size - offset)), offset, least)
        return self.read(count, offset)

    @property
    def first_look(self) -> int:
        """How many bytes to read first where it is not known how many it will take."""
        return 4 * LARGE if isinstance(self._fd, int) else _BLOCK

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """Tell offset and length of what will be read, of a file that is elsewhere."""
        if self._data is None and not isinstance(self._fd, int):
            self._fd.expect(places)
