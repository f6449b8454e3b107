"""Headers that come in pieces are those of the whole file, whatever the pieces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdicom_xr.index import heads
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.heads import Missing, Partial, remote_batches
from dbdicom_xr.index.stores import Got
from dbdicom_xr.testing import make_enhanced, make_series


class Folder:
    """Files of this computer, as if they were elsewhere."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests = 0

    def fetch(self, places: Sequence[tuple[str, int, int]]) -> list[Got]:
        self.requests += len(places)
        found = []
        for path, start, stop in places:
            data = (self.root / path).read_bytes()
            assert 0 <= start < stop
            found.append(Got(data[start:stop], (len(data), 1)))
        return found


@pytest.mark.parametrize("first", [1, 130, 131, 200, 340, 777, 1500, 2500, 4096, 100_000])
def test_the_length_of_the_first_look_changes_nothing(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_series(tmp_path, transfer_syntax="rle", shape=(30, 20))
    make_series(tmp_path, transfer_syntax="implicit", prefix="B", seed=1)
    make_enhanced(tmp_path, keys={"SliceLocation": range(9)}, transfer_syntax="rle")
    whole = next(tmp_path.glob("*.dcm")).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:1100])
    (tmp_path / "text.txt").write_text("x" * 3000)
    paths = sorted(path.name for path in tmp_path.iterdir())
    expected = gather([f"{tmp_path}/{name}" for name in paths])
    monkeypatch.setattr(heads, "_FIRST", first)
    monkeypatch.setattr(heads, "_SCOUTS", 0)
    folder: Any = Folder(tmp_path)
    ((names, found),) = remote_batches(folder, paths)
    assert list(names) == paths
    assert found.problems == expected.problems
    assert found.notes == expected.notes
    assert len(found.blocks) == len(expected.blocks)
    mine = {block.key: block for block in found.blocks}
    for block in expected.blocks:
        other = mine[block.key]
        order, there = np.argsort(block.places["file"]), np.argsort(other.places["file"])
        np.testing.assert_array_equal(block.places[order], other.places[there])
        assert block.columns.keys() == other.columns.keys()
        for key, column in block.columns.items():
            for here, elsewhere in zip(order.tolist(), there.tolist(), strict=True):
                assert column.value(here) == other.columns[key].value(elsewhere), key


@given(
    st.binary(min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 59), st.integers(1, 20)), max_size=12),
    st.integers(0, 70),
    st.integers(0, 30),
)
def test_what_is_there_is_given_and_nothing_else(
    data: bytes, pieces: list[tuple[int, int]], offset: int, count: int
) -> None:
    partial = Partial(len(data))
    for start, length in sorted(pieces):
        if start < len(data):
            partial.put(start, data[start : start + length])
    try:
        assert partial.read(count, offset) == data[offset : offset + count]
    except Missing as missing:
        for start, stop in missing.places:
            assert offset <= start < stop <= len(data)
            partial.put(start, data[start:stop])
        assert partial.read(count, offset) == data[offset : offset + count]
