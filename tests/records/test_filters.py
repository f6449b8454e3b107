"""Searching: what each kind of condition means, on every level, against a plain loop."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.testing import MadeSeries, MadeStudy, make_enhanced, make_series

FLIP = [2.0, 5.0, 5.000001, 5.1, None, 15.0, 30.0, 30.0]
DATES = ["20230101", "20231231", "20240101", None, "20240229", "20240301", "20250101", "20250101"]
NAMES = ["Doe^John", "Doe^Jane", "Roe^J", None, "doe^john", "D*e", "Doe", "Ödegård^Å"]
TYPES: list[list[str]] = [
    ["ORIGINAL", "PRIMARY", "M"],
    ["ORIGINAL", "PRIMARY", "P"],
    ["DERIVED", "SECONDARY", "M", "FFE"],
    ["DERIVED", "PRIMARY"],
    ["ORIGINAL", "PRIMARY", "PHASE MAP"],
    ["ORIGINAL", "PRIMARY", "R"],
    ["ORIGINAL", "PRIMARY", "WATER"],
    ["ORIGINAL", "PRIMARY", "OTHER"],
]
B_VALUES = [0, 50, 1000, 1000000, 1000001, None, 3, -4]
COUNTS = [1, 2, 3, 1000000, 1000001, 6, None, 8]


def _header(dataset: Dataset, index: tuple[int, ...]) -> None:
    i = index[0]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientID = "P"
    dataset.PatientName = "P"
    dataset.InstanceNumber = i
    dataset.ImageType = TYPES[i]
    dataset.FlipAngle = FLIP[i]
    dataset.AcquisitionDate = DATES[i]
    dataset.OperatorsName = NAMES[i]
    dataset.EchoTrainLength = COUNTS[i]
    if NAMES[i] is None:
        del dataset.OperatorsName  # absent, where the others are empty
    dataset.WindowCenter = [100.0 * i, 7.0]
    for element in dataset.group_dataset(0x0019):  # so that the block is the first one
        del dataset[element.tag]
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    if B_VALUES[i] is not None:
        block.add_new(0x0C, "IS", B_VALUES[i])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeSeries:
    folder = tmp_path_factory.mktemp("filters")
    return make_series(folder, keys={"SliceLocation": [0.0] * 8}, header=_header)


@pytest.fixture(scope="module")
def database(made: MadeSeries) -> db.Database:
    return db.database(made.folder)


def found(record: Any, *filters: Any, **conditions: Any) -> list[int]:
    return [i.InstanceNumber for i in record.instances(*filters, **conditions)]


B = (0x0019, 0x100C)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7]),
        # numbers, within a millionth
        ({"FlipAngle": 15}, [5]),
        ({"FlipAngle": 15.0}, [5]),
        ({"FlipAngle": np.float32(15)}, [5]),
        ({"FlipAngle": np.int16(30)}, [6, 7]),
        ({"FlipAngle": 5.0}, [1, 2]),
        ({"FlipAngle": 5.0000005}, [1, 2]),
        ({"FlipAngle": 5.00001}, []),
        ({"FlipAngle": "15"}, [5]),
        ({"FlipAngle": "15.0"}, [5]),
        ({"FlipAngle": 16}, []),
        # whole numbers exactly
        ({"EchoTrainLength": 1000000}, [3]),
        ({"EchoTrainLength": 1000001}, [4]),
        ({"EchoTrainLength": slice(3, 1000000)}, [2, 3, 5, 7]),
        ({B: 1000000}, [3]),
        ({B: 1000}, [2]),
        ({("SIEMENS MR HEADER", 0x0C): 1000}, [2]),
        ({"B_value": 1000}, [2]),
        ({"(0019,100c)": 1000}, [2]),
        ({B: -4}, [7]),
        ({B: None}, [5]),
        # any of
        ({"FlipAngle": [2, 15]}, [0, 5]),
        ({"FlipAngle": (2, 15)}, [0, 5]),
        ({"FlipAngle": {2, 15}}, [0, 5]),
        ({"FlipAngle": np.array([2.0, 15.0])}, [0, 5]),
        ({"EchoTrainLength": range(2, 7)}, [1, 2, 5]),
        ({"FlipAngle": [2, None]}, [0, 4]),
        ({"FlipAngle": []}, []),
        ({"OperatorsName": ["Doe^J*", "Doe"]}, [0, 1, 6]),
        ({"FlipAngle": [slice(0, 3), slice(20, None)]}, [0, 6, 7]),
        ({"FlipAngle": [15, lambda angle: angle == 2]}, [0, 5]),
        # ranges, both ends included
        ({"FlipAngle": slice(5, 15)}, [1, 2, 3, 5]),
        ({"FlipAngle": slice(5.0000001, 15)}, [1, 2, 3, 5]),
        ({"FlipAngle": slice(None, 5)}, [0, 1, 2]),
        ({"FlipAngle": slice(15, None)}, [5, 6, 7]),
        ({"FlipAngle": slice(None, None)}, [0, 1, 2, 3, 5, 6, 7]),
        ({"FlipAngle": slice(15, 5)}, []),
        ({"AcquisitionDate": slice("20231231", "20240229")}, [1, 2, 4]),
        ({"AcquisitionDate": slice("2024", "2025")}, [2, 4, 5]),
        ({"AcquisitionDate": slice("20240301", None)}, [5, 6, 7]),
        # text
        ({"AcquisitionDate": "20240101"}, [2]),
        ({"AcquisitionDate": "2024*"}, [2, 4, 5]),
        ({"AcquisitionDate": 20240101}, [2]),
        ({"OperatorsName": "Doe^John"}, [0]),
        ({"OperatorsName": "Doe"}, [6]),
        ({"OperatorsName": "Doe*"}, [0, 1, 6]),
        ({"OperatorsName": "*^J*"}, [0, 1, 2]),
        ({"OperatorsName": "?oe^J*"}, [0, 1, 2]),
        ({"OperatorsName": "D?e"}, [5, 6]),
        ({"OperatorsName": "D*e"}, [1, 5, 6]),
        ({"OperatorsName": "*"}, [0, 1, 2, 4, 5, 6, 7]),
        ({"OperatorsName": "Ö*å?d^Å"}, [7]),
        ({"OperatorsName": "doe.john"}, []),
        ({"OperatorsName": "[D]oe"}, []),
        ({"OperatorsName": ""}, []),
        # absent, or empty
        ({"OperatorsName": None}, [3]),
        ({"AcquisitionDate": None}, [3]),
        ({"FlipAngle": None}, [4]),
        ({"InversionTime": None}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"InversionTime": 5}, []),
        ({"InversionTime": slice(None, None)}, []),
        # any of several values, or all of them as they stand in the file
        ({"ImageType": "PRIMARY"}, [0, 1, 3, 4, 5, 6, 7]),
        ({"ImageType": "FFE"}, [2]),
        ({"ImageType": "P*"}, [0, 1, 3, 4, 5, 6, 7]),
        ({"ImageType": ["M", "P"]}, [0, 1, 2]),
        ({"ImageType": r"DERIVED\PRIMARY"}, [3]),
        ({"ImageType": r"ORIGINAL\*\P*"}, [1, 4]),
        ({"WindowCenter": 7}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"WindowCenter": 300}, [3]),
        ({"WindowCenter": slice(250, 450)}, [3, 4]),
        # functions see the value, never None
        ({"FlipAngle": lambda angle: angle > 10}, [5, 6, 7]),
        ({"ImageType": lambda words: len(words) == 2}, [3]),
        ({"OperatorsName": str.islower}, [4]),
        # custom attributes
        ({"image_type": "PHASE"}, [1, 4]),
        ({"image_type": ["REAL", "WATER"]}, [5, 6]),
        ({"image_type": "MAGNITUDE"}, [0, 2]),
        # all at once
        ({"FlipAngle": slice(2, 15), "ImageType": "ORIGINAL"}, [0, 1, 5]),
        ({"FlipAngle": 30, B: 3}, [6]),
        ({"FlipAngle": 30, "EchoTrainLength": None}, [6]),
    ],
)  # fmt: skip
def test_conditions(database: db.Database, conditions: dict[Any, Any], expected: list[int]) -> None:
    series = database.series()[0]
    for record in (database, database.patients()[0], database.studies()[0], series):
        assert found(record, conditions) == expected
    keywords = {k: v for k, v in conditions.items() if isinstance(k, str) and k.isidentifier()}
    others = {k: v for k, v in conditions.items() if k not in keywords}
    assert found(database, others, **keywords) == expected
    assert found(database, keywords, others) == expected
    children = [i.InstanceNumber for i in series.children(others, **keywords)]
    assert children == expected
    above = [series] if expected else []
    assert database.series(others, **keywords) == above
    assert len(database.studies(others, **keywords)) == len(above)
    assert len(database.patients(others, **keywords)) == len(above)
    first = series.instances()[0]
    siblings = [i.InstanceNumber for i in first.siblings(others, **keywords)]
    assert siblings == [i for i in expected if i != 0]


# -- upwards -------------------------------------------------------------------------------------


def test_upwards_a_filter_tells_whether_the_record_matches(database: db.Database) -> None:
    instance = database.instances(InstanceNumber=5)[0]
    assert instance.series(FlipAngle=15) == instance.parent
    assert instance.series(FlipAngle=16) is None
    assert instance.patients(PatientID="P") == database.patients()[0]
    assert instance.instances(FlipAngle=15) == instance
    assert instance.instances(FlipAngle=30) is None


# -- one frame must satisfy all ------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_series, make_enhanced])
def test_one_and_the_same_frame_must_satisfy_all(
    tmp_path: Path, make: Callable[..., MadeSeries]
) -> None:
    make(tmp_path, keys={"FlipAngle": [5.0, 10.0]}, per_frame={"EchoTime": [[2.0], [4.0]]})
    database = db.database(tmp_path)
    assert database.FlipAngle == [5.0, 10.0]
    assert database.EchoTime == [2.0, 4.0]
    for name in ("patients", "studies", "series", "instances"):
        search = getattr(database, name)
        assert len(search(FlipAngle=5, EchoTime=2)) == 1
        assert len(search(FlipAngle=10, EchoTime=4)) == 1
        assert search(FlipAngle=5, EchoTime=4) == []
        assert search(FlipAngle=10, EchoTime=2) == []
    series = database.series()[0]
    assert len(series.frames(FlipAngle=5, EchoTime=2)) == 1
    assert series.frames(FlipAngle=5, EchoTime=4) == []


def test_filters_choose_among_many(hospital: MadeStudy) -> None:
    database = db.database(hospital.folder)
    assert [s.Modality.item() for s in database.series(Modality="CT")] == ["CT"] * 4
    assert len(database.series(PatientID="DBX-0001", Modality=["CT", "MR"])) == 4
    assert database.patients(PatientName="*2") == [database["DBX-0002"]]
    assert database.studies(Modality="SR") == database.studies()
    assert database.studies(StudyDate=slice("20240202", None), PatientID="DBX-0001") == [
        database["DBX-0001"].studies()[1]
    ]
    assert database["DBX-0001"].series(PatientID="DBX-0002") == []
    assert database.children(PatientID="DBX-0002") == [database["DBX-0002"]]


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["patients", "studies", "series", "instances", "siblings"])
@pytest.mark.parametrize(
    ("keyword", "suggested"),
    [("FlipAngel", "FlipAngle"), ("flipangle", "FlipAngle"), ("Patientname", "PatientName"),
     ("imagetype", "ImageType"), ("image_typ", "image_type"), ("nonsense_xyz", "")],
)  # fmt: skip
def test_unknown_keyword_is_an_error_with_a_suggestion(
    database: db.Database, level: str, keyword: str, suggested: str
) -> None:
    for record in (database, *database.instances()[:1], *database.series()):
        with pytest.raises(errors.UnknownKeyword) as caught:
            getattr(record, level)(**{keyword: 1})
        assert keyword in str(caught.value)
        assert suggested in str(caught.value)
    with pytest.raises(errors.UnknownKeyword):
        database.children(**{keyword: None})


def test_unknown_keyword_is_an_error_also_in_an_empty_database(tmp_path: Path) -> None:
    with pytest.raises(errors.UnknownKeyword):
        db.database(tmp_path).series(FlipAngel=5)


def _fails(value: Any) -> bool:
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"FlipAngle": "ten"}, ["FlipAngle", "ten"]),
        ({"FlipAngle": slice("a", "b")}, ["FlipAngle", "'a'"]),
        ({"AcquisitionDate": slice(2023, 2024)}, ["AcquisitionDate", "2023"]),
        ({"FlipAngle": slice(1, 5, 2)}, ["FlipAngle", "step"]),
        ({"FlipAngle": {"a": 1}}, ["FlipAngle"]),
        ({"FlipAngle": object()}, ["FlipAngle"]),
        ({"FlipAngle": float}, ["FlipAngle"]),
        ({"FlipAngle": _fails}, ["FlipAngle", "RuntimeError", "no", "2.0"]),
    ],
)
def test_senseless_conditions_raise(
    database: db.Database, conditions: dict[Any, Any], words: list[str]
) -> None:
    with pytest.raises(errors.InvalidValue) as caught:
        database.series(**conditions)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("filters", [("FlipAngle",), (5,), (["FlipAngle"],), (None,)])
def test_what_is_no_filter_raises(database: db.Database, filters: tuple[Any, ...]) -> None:
    with pytest.raises(errors.InvalidValue, match=r"series\(FlipAngle=10\)"):
        database.series(*filters)


# -- against a plain loop ------------------------------------------------------------------------


def _parts(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return list(value)
    return [value]


def _meets(value: Any, wanted: Any) -> bool:
    """Say it once more, value by value, on what pydicom reads."""
    parts = _parts(value)
    if wanted is None:
        return not parts
    if isinstance(wanted, list):
        return any(_meets(value, one) for one in wanted)
    if isinstance(wanted, slice):
        low, high = wanted.start, wanted.stop
        return any((low is None or p >= low) and (high is None or p <= high) for p in parts)
    if isinstance(wanted, str):
        pattern = wanted.replace("[", "[[]")
        return any(fnmatch.fnmatchcase(str(p), pattern) for p in parts)
    return any(abs(p - wanted) <= 1e-6 * max(abs(p), abs(wanted)) for p in parts)


ANGLES = st.sampled_from([1.0, 2.5, 5.0, 7.25, 10.0])
WORDS = st.text("AB*?", min_size=1, max_size=3)


def _conditions() -> st.SearchStrategy[dict[str, Any]]:
    def number(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        bound = st.none() | one
        return (
            st.none() | one | st.lists(st.none() | one, max_size=3) | st.builds(slice, bound, bound)
        )

    text = st.none() | WORDS | st.lists(WORDS, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "FlipAngle": number(ANGLES),
            "EchoTime": number(ANGLES),
            "ScanOptions": text,
            "ProtocolName": text,
        },
    )


@pytest.fixture(scope="module")
def random_made(tmp_path_factory: pytest.TempPathFactory) -> list[MadeSeries]:
    rng = np.random.default_rng(5)
    angles = [None, 1.0, 2.5, 5.0, 7.25, 10.0]
    words = [None, "A", "B", "AB", "BA", "AAB"]

    def header(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.FlipAngle = angles[rng.integers(6)]
        dataset.EchoTime = angles[rng.integers(6)]
        dataset.ProtocolName = words[rng.integers(6)]
        dataset.ScanOptions = [words[1 + rng.integers(5)] for _ in range(rng.integers(4))]
        if rng.integers(4) == 0:
            del dataset.EchoTime

    folder = tmp_path_factory.mktemp("random")
    return [
        make_series(folder / str(i), keys={"SliceLocation": [0.0] * 6}, header=header, seed=i)
        for i in range(4)
    ]


@given(conditions=_conditions())
def test_filters_find_what_a_plain_loop_finds(
    random_made: list[MadeSeries], conditions: dict[str, Any]
) -> None:
    database = _opened(random_made[0].folder.parent)
    hits = [
        [d for d in made.datasets if all(_meets(d.get(k), w) for k, w in conditions.items())]
        for made in random_made
    ]
    expected = {str(d.SOPInstanceUID) for d in itertools.chain(*hits)}
    assert {i.uid for i in database.instances(**conditions)} == expected
    series = {str(d[0].SeriesInstanceUID) for d in hits if d}
    assert {s.SeriesInstanceUID.item() for s in database.series(**conditions)} == series
    for record in database.series():
        inside = {i.uid for i in record.instances(**conditions)}
        assert inside == expected & {i.uid for i in record.instances()}


_databases: dict[Path, db.Database] = {}


def _opened(folder: Path) -> db.Database:
    if folder not in _databases:
        _databases[folder] = db.database(folder)
    return _databases[folder]
