"""Names of the private dictionary that are, or are near, those of the standard."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.errors import UnknownKeyword
from dbdicom_xr.records.attributes.likeness import near_keywords
from dbdicom_xr.records.attributes.lookup import nowhere, parse_name
from dbdicom_xr.records.attributes.private_names import private_names
from dbdicom_xr.testing import make_series

STANDARD = {
    re.sub(r"[ _']", "", text).lower(): entry[4]
    for entry in DicomDictionary.values()
    for text in (entry[2], entry[4])
    if entry[4]
}
KEYWORDS = {entry[4] for entry in DicomDictionary.values()}
MISTAKEN = {
    name: STANDARD[plain]
    for name in private_names()
    if name not in KEYWORDS and (plain := re.sub(r"[ _']", "", name).lower()) in STANDARD
}
GE = "GEMS_PARM_01"
# Not in the dictionary under a keyword, but nearer to one than a mistake is: its own name.
NEAR, NEAR_CREATOR, NEAR_TAG = "EchoNumber", *private_names()["EchoNumber"]


def _header(dataset: Dataset, index: tuple[int, ...]) -> None:
    dataset.PatientName = "Doe^Jane"
    dataset.SeriesDescription = "T1"
    dataset.EchoTime = 5
    dataset.EchoNumbers = 1
    for group in (0x0019, 0x0043, 0x0051):
        for element in dataset.group_dataset(group):
            del dataset[element.tag]


def _with_near(dataset: Dataset, index: tuple[int, ...]) -> None:
    _header(dataset, index)
    block = dataset.private_block(NEAR_TAG >> 16, NEAR_CREATOR, create=True)
    block.add_new(NEAR_TAG & 0xFF, "LO", f"near {index[0]}")


@pytest.fixture
def series(tmp_path: Path) -> Any:
    make_series(tmp_path, keys={"SliceLocation": [0.0, 5.0]}, header=_header)
    return db.database(tmp_path).series()[0]


@pytest.fixture
def near_series(tmp_path: Path) -> Any:
    make_series(tmp_path, keys={"SliceLocation": [0.0, 5.0]}, header=_with_near)
    return db.database(tmp_path).series()[0]


def test_names_of_the_standard_never_mean_private_attributes() -> None:
    assert len(MISTAKEN) > 100
    assert {"Patient's Name", "Echo Time", "Series Description"} <= set(MISTAKEN)
    for name, keyword in MISTAKEN.items():
        hint = re.escape(f"{name!r} is not a DICOM keyword. Did you mean {keyword!r}?")
        with pytest.raises(UnknownKeyword, match=hint):
            parse_name(name)
        with pytest.raises(UnknownKeyword, match=hint):
            parse_name(name, lambda attribute: True)
        private = parse_name(f"[{name}]", nowhere)
        assert (private.creator, private.tag) == private_names()[name]
        assert parse_name(private.name) == private


def test_names_near_the_standard_need_a_header_that_has_them() -> None:
    refused = 0
    for name in sorted(set(private_names()) - KEYWORDS - set(MISTAKEN))[::40]:
        try:
            attribute = parse_name(name)
        except UnknownKeyword:  # equal but for other marks, such as "(Volume)"
            continue
        creator, tag = private_names()[name]
        assert (attribute.creator, attribute.tag, attribute.name) == (creator, tag, name)
        assert parse_name(name, lambda a, own=attribute: a == own) == attribute
        if near_keywords(name):
            with pytest.raises(UnknownKeyword, match=f"Did you mean.*{re.escape(f'[{name}]')}"):
                parse_name(name, nowhere)
            refused += 1
        else:
            assert parse_name(name, nowhere) == attribute
    assert 10 < refused < 60


def test_documented_names_are_as_before() -> None:
    for name in ("B_value", "[B_value]"):
        assert parse_name(name, nowhere).creator == "SIEMENS MR HEADER"
        assert parse_name(name).name == "B_value"


USES: dict[str, Callable[[Any, str], Any]] = {
    "read": lambda s, name: s[name],
    "read several": lambda s, name: s[[name]],
    "read of the patient": lambda s, name: s.parent.parent[name],
    "read of an image": lambda s, name: s.instances()[0][name],
    "set": lambda s, name: s.__setitem__(name, "3"),
    "set of the patient": lambda s, name: s.parent.parent.__setitem__(name, "3"),
    "set of an image": lambda s, name: s.instances()[0].__setitem__(name, "3"),
    "set several": lambda s, name: s.__setitem__([name], ["3"]),
    "set values": lambda s, name: s.set_values(name, ["3", "4"]),
    "take away": lambda s, name: s.__setitem__(name, None),
    "delete": lambda s, name: s.__delitem__(name),
    "filter": lambda s, name: s.database.series({name: "1"}),
    "filter of instances": lambda s, name: s.instances({name: "1"}),
    "filter upwards": lambda s, name: s.patients({name: "1"}),
    "filter of children": lambda s, name: s.children({name: "1"}),
    "filter of siblings": lambda s, name: s.siblings({name: "1"}),
    "filter of frames": lambda s, name: s.frames({name: "1"}),
    "subseries": lambda s, name: s.subseries({name: "1"}),
    "volume": lambda s, name: s.volume({name: "1"}),
    "split": lambda s, name: s.split_by(name),
    "sort": lambda s, name: s.array(name),
    "sort by several": lambda s, name: s.array(["SliceLocation", name]),
    "copy": lambda s, name: s.copy(**{name: "3"}),
    "new series": lambda s, name: s.new_sibling(**{name: "3"}),
    "new patient": lambda s, name: s.database.new_patient(**{name: "3"}),
    "table": lambda s, name: s.to_dataframe(name),
    "column": lambda s, name: s.array("SliceLocation")[1].column(name),
    "new array": lambda s, name: db.zeros((2, 8, 8), **{name: "3"}),
    "write": lambda s, name: s.array("SliceLocation")[0].dicom.write(s, **{name: "3"}),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["Patient's Name", "Series Description", "Echo Time", NEAR])
def test_wherever_a_name_is_given(series: Any, use: str, name: str) -> None:
    keyword = {**MISTAKEN, NEAR: "EchoNumbers"}[name]
    with pytest.raises(UnknownKeyword, match=f"Did you mean '{keyword}'") as caught:
        USES[use](series, name)
    assert f"[{name}]" in str(caught.value)
    assert series.database.changes().empty
    assert series.PatientName == ["Doe^Jane"]


def test_as_python_attributes(series: Any) -> None:
    assert not hasattr(series, "EchoNumber")
    with pytest.raises(UnknownKeyword, match="Did you mean 'EchoNumbers'"):
        series.EchoNumber = "7"
    with pytest.raises(UnknownKeyword, match="Did you mean 'EchoNumbers'"):
        del series.EchoNumber
    with pytest.raises(UnknownKeyword, match="Did you mean 'EchoNumbers'"):
        series.array("SliceLocation")[1].EchoNumber = "7"
    with pytest.raises(UnknownKeyword, match="Did you mean 'EchoNumbers'"):
        series.database.series(EchoNumber=1)


def test_where_a_header_has_it(near_series: Any) -> None:
    series = near_series
    assert series[NEAR] == series.EchoNumber == ["near 0", "near 1"]
    assert series.database.series({NEAR: "near 1"}) == [series]
    assert len(series.instances({NEAR: "near 1"})) == 1
    assert series.array(NEAR)[0].dims[0] == NEAR
    assert list(series.to_dataframe(NEAR)[NEAR]) == ["near 0", "near 1"]
    series[NEAR] = "changed"
    assert series[NEAR] == ["changed"]
    assert series.EchoNumbers == [1]
    series.save()
    for file in series.files():
        block = pydicom.dcmread(file).private_block(NEAR_TAG >> 16, NEAR_CREATOR)
        assert block[NEAR_TAG & 0xFF].value == "changed"


def test_in_brackets_the_private_one_is_meant(series: Any) -> None:
    series["[Echo Time]"] = 3
    creator, tag = private_names()["Echo Time"]
    assert series["[Echo Time]"] == series[creator, tag] != []
    assert series.EchoTime == [5.0]
    assert series.database.series({"[Echo Time]": 3}) == [series]


@pytest.mark.parametrize("name", ["Contrast/Bolus Agent", "no study/no series/EchoTime"])
def test_what_has_a_slash(series: Any, name: str) -> None:
    for record in (series, series.parent, series.database):
        with pytest.raises(UnknownKeyword, match=r"Did you mean 'ContrastBolusAgent'|no study"):
            record[name] = "3"
        with pytest.raises(UnknownKeyword, match=r"Did you mean 'ContrastBolusAgent'|no study"):
            record[name]
    private = "Contrast/Active Image Indicator"
    series[private] = "1"
    assert series[private] == ["1"]
    series.database[f"{series.path}/EchoTime"] = 7
    assert series.EchoTime == [7.0]
