"""The judge of the index: pydicom, element by element."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from dbdicom_xr.index.blocks import FRAGMENTS, Block, Findings
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.elements import External
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.values import plain

PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


def same(ours: Any, theirs: Any) -> bool:
    """Whether two plain values are the same: type by type, item by item, NaN like NaN."""
    if isinstance(theirs, Sequence) and not isinstance(theirs, (str, bytes)):
        if not theirs or not isinstance(ours, Sequence):
            return not ours and not theirs
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if theirs is None or theirs == "":
        return ours is None or ours == ""
    if isinstance(theirs, Dataset):
        return isinstance(ours, Dataset) and same_dataset(ours, theirs)
    if isinstance(theirs, float):
        return type(ours) is float and struct.pack("d", ours) == struct.pack("d", theirs)
    return type(ours) is type(theirs) and bool(ours == theirs)


def same_dataset(ours: Dataset, theirs: Dataset) -> bool:
    return list(ours.keys()) == list(theirs.keys()) and all(
        same(plain(a.value), plain(b.value)) for a, b in zip(ours, theirs, strict=True)
    )


def packed(block: Block) -> dict[Key, Column]:
    """The columns as they come back from the index."""
    return {key: Column.unpack(key, column.pack()) for key, column in block.columns.items()}


def value_in_file(column: Column, row: int, path: str | Path) -> Any:
    """The value of a row, read from the file where the index left it there."""
    value = column.value(row)
    if isinstance(value, External):
        with open(path, "rb") as file:
            file.seek(value.offset)
            raw = file.read(value.length)
        assert len(raw) == value.length
        return column.decode_external(column.code(row), raw)
    return value


def expected(path: str | Path) -> Iterator[tuple[Key, Any]]:
    """What pydicom reads: the names of columns and their values; pixels left out."""
    dataset = pydicom.dcmread(path, force=True)
    if not len(dataset):  # what pydicom makes of pixel data that are cut off
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    for part in (dataset.file_meta, dataset):
        taken: set[Key] = set()
        for element in part:
            tag = int(element.tag)
            if tag in PIXELS:
                continue
            yield _key(part, tag, taken), plain(element.value)


def _key(part: Dataset, tag: int, taken: set[Key]) -> Key:
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2 and element >= 0x1000:
        creator = part.get((group, element >> 8))
        text = "" if creator is None else str(plain(creator.value) or "").strip()
        key = Key(group << 16 | element & 0xFF, text)
        if text and key not in taken:
            taken.add(key)
            return key
    return Key(tag)


def differences(paths: Sequence[str | Path], findings: Findings | None = None) -> list[str]:
    """Gather the files and list in what the index differs from pydicom."""
    names = [os.fspath(path) for path in paths]
    findings = findings or gather(names)
    found: list[str] = []
    for block in findings.blocks:
        columns = packed(block)
        for row, number in enumerate(block.places["file"].tolist()):
            note = findings.notes.get(number, "")
            found += [
                text for key, text in _row_differences(columns, row, names[number])
                if str(key) not in note
            ]  # fmt: skip
    return found


def _row_differences(columns: dict[Key, Column], row: int, path: str) -> Iterable[tuple[Key, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = {FRAGMENTS}
        for key, theirs in expected(path):
            seen.add(key)
            if key not in columns:
                yield key, f"{path} {key}: missing, pydicom has {theirs!r:.60}"
                continue
            ours = value_in_file(columns[key], row, path)
            if not same(ours, theirs):
                yield key, f"{path} {key}: {ours!r:.60}, pydicom has {theirs!r:.60}"
        for key, column in columns.items():
            if key not in seen and column.code(row) >= 0:
                yield key, f"{path} {key}: invented {column.value(row)!r:.60}"


def count_values(findings: Findings) -> int:
    return sum(
        int((column.codes_of() >= 0).sum())
        for block in findings.blocks
        for column in block.columns.values()
    )


def frame_values(item: Dataset, shared: Dataset | None, keyword: str) -> Any:
    """The value of a functional group attribute as pydicom has it nested; None where absent."""
    for groups in (item, shared):
        if groups is None:
            continue
        for element in groups.iterall():
            if element.keyword == keyword:
                return plain(element.value)
    return None


__all__ = ["count_values", "differences", "expected", "frame_values", "packed", "same"]
