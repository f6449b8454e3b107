"""Ways in which bytes get damaged."""

from __future__ import annotations

import numpy as np

__all__ = ["damaged"]

# What programs trip over: no length, undefined length, ends of the ranges of integers.
_NUMBERS = (
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80",
    b"\1\0\0\0", b"\0\0\1\0", b"\xff\xff", b"\0\0", b"\1\0", b"\xff\x7f", b"\0\x80", b"\0\1",
)  # fmt: skip
# Rows, Columns, BitsAllocated...: the elements on which sizes and types depend.
_LAYOUT = tuple(
    (0x0028).to_bytes(2, "little") + element.to_bytes(2, "little")
    for element in (0x0002, 0x0004, 0x0006, 0x0008, 0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103)
)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy with one to four kinds of damage."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        _WAYS[int(rng.integers(len(_WAYS)))](result, rng)
    return bytes(result)


def _place(data: bytearray, rng: np.random.Generator, room: int = 1) -> int:
    return int(rng.integers(0, max(1, len(data) - room)))


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 6))):
        if data:
            data[_place(data, rng)] ^= 1 << int(rng.integers(8))


def _in_the_header(data: bytearray, rng: np.random.Generator) -> None:
    if len(data) > 140:
        data[int(rng.integers(132, min(len(data), 1500)))] = int(rng.integers(256))


def _number(data: bytearray, rng: np.random.Generator) -> None:
    number = _NUMBERS[int(rng.integers(len(_NUMBERS)))]
    at = _place(data, rng, len(number)) // 2 * 2
    data[at : at + len(number)] = number


def _layout(data: bytearray, rng: np.random.Generator) -> None:
    tag = _LAYOUT[int(rng.integers(len(_LAYOUT)))]
    at = data.find(tag, 132)
    if at >= 0:
        number = _NUMBERS[int(rng.integers(len(_NUMBERS)))][:2]
        data[at + 8 : at + 10] = number


def _cut_off(data: bytearray, rng: np.random.Generator) -> None:
    del data[_place(data, rng) :]


def _cut_out(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    del data[at : at + int(rng.integers(1, 40))]


def _put_in(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    data[at:at] = rng.bytes(int(rng.integers(1, 40)))


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + int(rng.integers(1, 200))]


def _blank(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    length = int(rng.integers(1, 60))
    data[at : at + length] = bytes(min(length, len(data) - at))


_WAYS = (
    _flip, _flip, _in_the_header, _in_the_header, _number, _layout, _layout,
    _cut_off, _cut_out, _put_in, _repeat, _blank,
)  # fmt: skip
