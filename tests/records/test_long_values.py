"""Values over 64 kB, which the index leaves in the files, go with the images made from them."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.emit.kinds import kind_named
from dbdicom_xr.errors import LeftOut
from dbdicom_xr.index.columns import Key
from dbdicom_xr.records.reading import long_values as module
from dbdicom_xr.records.reading.sources import sources_of
from dbdicom_xr.records.writing.deriving import derived
from dbdicom_xr.testing import make_enhanced, make_series

KEYS = {"SliceLocation": [0.0, 5.0], "EchoTime": [2.0, 4.0]}
CREATOR = "DBDICOM TEST HEADER"
KEY = Key(0x00290020, CREATOR)
LONG = 100_000


def blob(number: int, length: int = LONG) -> bytes:
    return struct.pack("<I", number) * (length // 4)


def with_blob(number: Any, length: Any = lambda index: LONG) -> Any:
    """Return an edit that gives each image a long private header."""

    def edit(dataset: pydicom.Dataset, index: tuple[int, ...]) -> None:
        block = dataset.private_block(0x0029, CREATOR, create=True)
        block.add_new(0x20, "OB", blob(number(index), length(index)))

    return edit


def headers(series: Any) -> list[bytes | None]:
    found: list[bytes | None] = []
    for path in series.files():
        dataset = pydicom.dcmread(path)
        try:
            found.append(dataset.private_block(0x0029, CREATOR)[0x20].value)
        except KeyError:
            found.append(None)
    return found


def written(series: Any, change: Any = lambda array: array, **options: Any) -> list[bytes | None]:
    new = series.new_sibling()
    change(series.array(list(KEYS))[0]).dicom.write(new, **options)
    return headers(new)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_an_image_from_one_keeps_its_own(tmp_path: Path, syntax: str) -> None:
    numbers = with_blob(lambda index: 7 + 2 * index[0] + index[1])
    make_series(tmp_path, keys=KEYS, header=numbers, transfer_syntax=syntax)
    with db.database(tmp_path) as database:
        (series,) = database.series()
        assert written(series) == [blob(7), blob(8), blob(9), blob(10)]
        assert written(series, lambda array: array[::-1]) == [blob(9), blob(10), blob(7), blob(8)]
        database.restore()


def test_an_image_from_several_has_what_they_agree_in(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS, header=with_blob(lambda index: 5 + index[0] * index[1]))
    with db.database(tmp_path) as database:
        (series,) = database.series()
        assert written(series, lambda array: array.mean("EchoTime")) == [blob(5), None]
        header = series.array(list(KEYS))[1]
        means = written(series, lambda array: array.mean("SliceLocation"), header=header)
        assert means == [blob(5), None]
        database.restore()


def test_what_is_not_equally_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = with_blob(lambda index: 5, lambda index: LONG + 4 * index[1])
    make_series(tmp_path, keys=KEYS, header=edit)
    monkeypatch.setattr(module, "MOST_BYTES", 0)
    with db.database(tmp_path) as database:
        (series,) = database.series()
        assert written(series, lambda array: array.mean("EchoTime")) == [None, None]
        database.restore()


def test_where_one_source_lacks_it_the_image_does(tmp_path: Path) -> None:
    def edit(dataset: pydicom.Dataset, index: tuple[int, ...]) -> None:
        if index[0] == 0 or index[1] == 0:
            with_blob(lambda index: 3)(dataset, index)

    make_series(tmp_path, keys=KEYS, header=edit)
    with db.database(tmp_path) as database:
        (series,) = database.series()
        assert written(series) == [blob(3)] * 3 + [None]
        assert written(series, lambda array: array.mean("EchoTime")) == [blob(3), None]
        database.restore()


def test_one_that_fits_the_index_beside_one_that_does_not(tmp_path: Path) -> None:
    edit = with_blob(lambda index: 3, lambda index: LONG if index[1] else 400)
    make_series(tmp_path, keys=KEYS, header=edit)
    with db.database(tmp_path) as database:
        (series,) = database.series()
        assert written(series) == [blob(3, 400), blob(3), blob(3, 400), blob(3)]
        assert written(series, lambda array: array.mean("EchoTime")) == [None, None]
        database.restore()


def test_what_many_images_share_is_held_once(tmp_path: Path) -> None:
    make_series(tmp_path, n=100, header=with_blob(lambda index: index[0] % 2), shape=(4, 4))
    with db.database(tmp_path) as database:
        (series,) = database.series()
        array, _ = series.array()
        column = derived(sources_of(array, None), kind_named("mri"))[KEY]
        assert sorted(len(value) for value in column.values) == [LONG, LONG]  # type: ignore[arg-type]
        assert len(column.codes_of()) == 300


def test_too_much_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_series(tmp_path, keys=KEYS, header=with_blob(lambda index: index[1]))
    monkeypatch.setattr(module, "MOST_BYTES", 3 * LONG)
    with db.database(tmp_path) as database:
        (series,) = database.series()
        with pytest.warns(LeftOut, match=r"lack \(0029,xx20\) of 'DBDICOM TEST HEADER'"):
            assert written(series) == [None] * 4
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert written(series, lambda array: array[:1]) == [blob(0), blob(1)]
        database.restore()


def test_frames_of_one_object_share_it(tmp_path: Path) -> None:
    made = make_enhanced(tmp_path, keys=KEYS)
    dataset = pydicom.dcmread(made.files[0])
    with_blob(lambda index: 4)(dataset, ())
    dataset.save_as(made.files[0])
    with db.database(tmp_path) as database:
        (series,) = database.series()
        assert written(series, lambda array: array.mean("EchoTime")) == [blob(4)] * 2
        database.restore()


def test_text_comes_in_utf_8(tmp_path: Path) -> None:
    text = "größer " * 12_000

    def edit(dataset: pydicom.Dataset, _: Any) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.add_new(0x0040A160, "UT", text)

    make_series(tmp_path, keys=KEYS, header=edit)
    with db.database(tmp_path) as database:
        (series,) = database.series()
        new = series.new_sibling()
        np.sqrt(series.array()[0]).dicom.write(new)
        read = pydicom.dcmread(new.files()[0])
        assert read.SpecificCharacterSet == "ISO_IR 192"
        assert read.TextValue.strip() == text.strip()
        database.restore()
