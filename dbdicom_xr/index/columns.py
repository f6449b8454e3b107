"""A column: one attribute of all instances (or frames) of a series.

The distinct raw values, and unless all rows agree a code per row. Constant attributes cost next to
nothing, and each distinct value is decoded once, when first asked for. A column packs to bytes for
the store, compressed where that pays.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.elements import External
from dbdicom_xr.index.values import Kind, decode_all

__all__ = ["Column", "Key", "concatenate", "tidy"]

Codes = npt.NDArray[np.int32]


class Key(NamedTuple):
    """Names a column: a tag; for private elements with the block number taken out.

    Private blocks move between files, so that ``(0019,100c)`` of the creator
    ``SIEMENS MR HEADER`` is ``Key(0x0019000c, "SIEMENS MR HEADER")`` whichever block it is in.
    """

    tag: int
    creator: str = ""

    @property
    def dictionary_tag(self) -> int:
        """The tag with a block number, as pydicom's dictionaries want it."""
        return self.tag | 0x1000 if self.creator else self.tag

    def __str__(self) -> str:
        text = f"({self.tag >> 16:04x},{self.tag & 0xFFFF:04x})"
        if self.creator:
            text = f"({self.tag >> 16:04x},xx{self.tag & 0xFF:02x}) of {self.creator!r}"
        return text


_HEAD = struct.Struct("<BBHII")  # flags, bytes per code, kinds, rows, values
_KIND = struct.Struct("<2sBbH")
_CONSTANT, _IDENTITY, _COMPRESSED, _WIDE_KINDS = 1, 2, 4, 8
_EXTERNAL = 1 << 31
_EXTERNAL_PLACE = struct.Struct("<qq")
_COMPRESS_FROM = 256


class Column:
    """The values of one attribute, row by row.

    Parameters
    ----------
    key : Key
    kinds : sequence of Kind
        The encodings that occur.
    values : sequence of bytes or External
        The distinct values.
    kind_of : sequence of int
        For each value its kind.
    codes : ndarray of int32, shape (rows,), or None
        For each row its value, -1 where the attribute is absent. None: all rows have value 0.
    rows : int
    """

    __slots__ = (
        "_decoded", "_left", "codes", "key", "kind_of", "kinds", "rows", "values",
    )  # fmt: skip

    def __init__(
        self,
        key: Key,
        kinds: Sequence[Kind],
        values: Sequence[bytes | External],
        kind_of: Sequence[int],
        codes: Codes | None,
        rows: int,
    ) -> None:
        self.key = key
        self.kinds = tuple(kinds)
        self.values = list(values)
        self.kind_of = list(kind_of)
        self.codes = codes
        self.rows = rows
        self._decoded: list[Any] | None = None
        self._left: bool | None = None

    def __repr__(self) -> str:
        return f"<Column {self.key} of {self.rows} rows, {len(self.values)} distinct>"

    # -- values ------------------------------------------------------------------------------

    @property
    def left_in_files(self) -> bool:
        """Whether values are so long that they were left in the files."""
        if self._left is None:
            self._left = any(isinstance(value, External) for value in self.values)
        return self._left

    def decoded(self) -> list[Any]:
        """Return the Python value of each distinct raw value; External ones as they are."""
        if self._decoded is None and len(self.kinds) == 1 and not self.left_in_files:
            raw: list[bytes] = self.values  # type: ignore[assignment]
            tag, creator = self.key.dictionary_tag, self.key.creator
            self._decoded = decode_all(tag, creator, self.kinds[0], raw)
        if self._decoded is None:
            result: list[Any] = [None] * len(self.values)
            for number, kind in enumerate(self.kinds):
                places = [i for i, k in enumerate(self.kind_of) if k == number]
                inside = [i for i in places if isinstance(self.values[i], bytes)]
                raws: list[bytes] = [self.values[i] for i in inside]  # type: ignore[misc]
                tag = self.key.dictionary_tag
                for i, value in zip(
                    inside, decode_all(tag, self.key.creator, kind, raws), strict=True
                ):
                    result[i] = value
                for i in places:
                    if not isinstance(self.values[i], bytes):
                        result[i] = self.values[i]
            self._decoded = result
        return self._decoded

    def decode_external(self, value: int, raw: bytes) -> Any:
        """Return the Python value of an External one, whose bytes the caller has read."""
        kind = self.kinds[self.kind_of[value]]
        return decode_all(self.key.dictionary_tag, self.key.creator, kind, [raw])[0]

    def code(self, row: int) -> int:
        """Return the number of the distinct value of a row, -1 where absent."""
        return 0 if self.codes is None else int(self.codes[row])

    def value(self, row: int) -> Any:
        """Return the value of a row, None where absent."""
        code = self.code(row)
        return None if code < 0 else self.decoded()[code]

    def codes_of(self, rows: npt.NDArray[Any] | None = None) -> Codes:
        """Return the codes of some rows, or of all."""
        if self.codes is None:
            return np.zeros(self.rows if rows is None else len(rows), np.int32)
        return self.codes if rows is None else self.codes[rows]

    def present(self) -> npt.NDArray[np.bool_]:
        """Return for each row whether it has a value that is not empty."""
        filled = np.array([value is not None for value in self.decoded()] + [False])
        return np.asarray(filled[self.codes_of()])

    # -- new columns from old ----------------------------------------------------------------

    def take(self, rows: npt.NDArray[np.intp]) -> Column:
        """Return the column of these rows, in this order, without values that do not occur."""
        if self.codes is None:
            return Column(self.key, self.kinds, self.values, self.kind_of, None, len(rows))
        codes = self.codes[rows]
        return tidy(self.key, self.kinds, self.values, self.kind_of, codes)

    # -- bytes -------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """Return the column as bytes."""
        flags = 0
        size = 0
        codes = b""
        if self.codes is None:
            flags |= _CONSTANT
        elif len(self.values) == self.rows and bool(
            (self.codes == np.arange(self.rows, dtype=np.int32)).all()
        ):
            flags |= _IDENTITY
        else:
            size = 1 if len(self.values) < 255 else 2 if len(self.values) < 65535 else 4
            codes = (self.codes + 1).astype(f"<u{size}").tobytes()
        kinds = b"".join([_packed_kind(kind) for kind in self.kinds])
        chunks = [
            _EXTERNAL_PLACE.pack(*value) if isinstance(value, External) else value
            for value in self.values
        ]
        lengths = [
            len(chunk) | (_EXTERNAL if isinstance(value, External) else 0)
            for chunk, value in zip(chunks, self.values, strict=True)
        ]
        kind_of = b""
        if len(self.kinds) > 1:
            flags |= _WIDE_KINDS
            kind_of = np.array(self.kind_of, "<u2").tobytes()
        payload = b"".join(
            [kinds, kind_of, struct.pack(f"<{len(lengths)}I", *lengths), *chunks, codes]
        )
        if len(payload) >= _COMPRESS_FROM:
            compressed = _zstd().encode(payload)
            if len(compressed) < 0.9 * len(payload):
                payload, flags = bytes(compressed), flags | _COMPRESSED
        head = _HEAD.pack(flags, size, len(self.kinds), self.rows, len(self.values))
        return head + payload

    @classmethod
    def unpack(cls, key: Key, data: bytes) -> Column:
        """Return the column that ``pack`` made bytes of."""
        flags, size, n_kinds, rows, n_values = _HEAD.unpack_from(data)
        payload = data[_HEAD.size :]
        if flags & _COMPRESSED:
            payload = bytes(_zstd().decode(payload))
        position = 0
        kinds = []
        for _ in range(n_kinds):
            vr, bits, signed, length = _KIND.unpack_from(payload, position)
            position += _KIND.size
            charset = payload[position : position + length]
            position += length
            kinds.append(
                Kind(
                    vr.strip(b"\0").decode("ascii"), bool(bits & 1), bool(bits & 2), charset, signed
                )
            )
        if flags & _WIDE_KINDS:
            kind_of = np.frombuffer(payload, "<u2", n_values, position).tolist()
            position += 2 * n_values
        else:
            kind_of = [0] * n_values
        lengths = struct.unpack_from(f"<{n_values}I", payload, position)
        position += 4 * n_values
        values: list[bytes | External] = []
        for length in lengths:
            end = position + (length & ~_EXTERNAL)
            chunk = payload[position:end]
            external = length & _EXTERNAL
            values.append(External(*_EXTERNAL_PLACE.unpack(chunk)) if external else chunk)
            position = end
        codes: Codes | None
        if flags & _CONSTANT:
            codes = None
        elif flags & _IDENTITY:
            codes = np.arange(rows, dtype=np.int32)
        else:
            stored = np.frombuffer(payload, f"<u{size}", rows, position)
            codes = stored.astype(np.int32) - 1
        return cls(key, kinds, values, kind_of, codes, rows)


@lru_cache(maxsize=1024)
def _packed_kind(kind: Kind) -> bytes:
    flags = kind.implicit | kind.big_endian << 1
    return _KIND.pack(kind.vr.encode("ascii"), flags, kind.signed, len(kind.charset)) + kind.charset


_codec: Any = None


def _zstd() -> Any:
    # Level 1 halves the time of level 3 at nearly the same size on header columns.
    global _codec
    if _codec is None:
        from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

        _codec = Zstd(level=1)
    return _codec


def tidy(
    key: Key,
    kinds: Sequence[Kind],
    values: Sequence[bytes | External],
    kind_of: Sequence[int],
    codes: Codes,
) -> Column:
    """Return a column whose values all occur, in the order of their first row."""
    rows = len(codes)
    used, first = np.unique(codes, return_index=True)
    if len(used) and used[0] < 0:
        used, first = used[1:], first[1:]
    order = used[np.argsort(first, kind="stable")]
    if len(order) == 1 and bool((codes >= 0).all()):
        only = int(order[0])
        return Column(key, [kinds[kind_of[only]]], [values[only]], [0], None, rows)
    renumber = np.full(len(values) + 1, -1, np.int32)
    renumber[order] = np.arange(len(order), dtype=np.int32)
    old_kinds = [kind_of[i] for i in order.tolist()]
    kept = sorted(set(old_kinds))
    return Column(
        key,
        [kinds[k] for k in kept],
        [values[i] for i in order.tolist()],
        [kept.index(k) for k in old_kinds] if len(kept) > 1 else [0] * len(old_kinds),
        renumber[codes],
        rows,
    )


def concatenate(key: Key, columns: Sequence[Column | None], counts: Sequence[int]) -> Column:
    """Return the columns below each other; None stands for rows without the attribute."""
    present = [column for column in columns if column is not None]
    first = present[0]
    if len(present) == len(columns) and all(
        c.codes is None and c.values[0] == first.values[0] and c.kinds == first.kinds
        for c in present
    ):
        return Column(key, first.kinds, first.values, first.kind_of, None, sum(counts))
    kinds: dict[Kind, int] = {}
    numbers: dict[tuple[int, bytes | External], int] = {}
    parts = []
    for column, count in zip(columns, counts, strict=True):
        if column is None:
            parts.append(np.full(count, -1, np.int32))
            continue
        local_kinds = [kinds.setdefault(kind, len(kinds)) for kind in column.kinds]
        renumber = np.empty(len(column.values) + 1, np.int32)
        renumber[-1] = -1
        for i, (value, kind) in enumerate(zip(column.values, column.kind_of, strict=True)):
            renumber[i] = numbers.setdefault((local_kinds[kind], value), len(numbers))
        parts.append(renumber[column.codes_of()])
    codes = np.concatenate(parts)
    values = [value for _, value in numbers]
    kind_of = [kind for kind, _ in numbers]
    if len(values) == 1 and bool((codes == 0).all()):
        return Column(key, list(kinds), values, kind_of, None, len(codes))
    return Column(key, list(kinds), values, kind_of, codes, len(codes))
