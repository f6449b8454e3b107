"""References between objects lead to the copies, or to where objects have been moved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.testing import make_study


def reference(instance: Any) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = instance.SOPClassUID
    item.ReferencedSOPInstanceUID = instance.uid
    return item


def series_reference(series: Any) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series.SeriesInstanceUID.item()
    item.ReferencedInstanceSequence = [reference(instance) for instance in series.instances()]
    return item


@pytest.fixture
def database(tmp_path: Path) -> db.Database:
    """The second series of each study was made from the first."""
    make_study(tmp_path, patients=2, studies=1, images=2)
    database = db.database(tmp_path)
    for study in database.studies():
        source, derived = study.series()
        for instance, of in zip(derived.instances(), source.instances(), strict=True):
            instance.SourceImageSequence = [reference(of)]
            instance.ReferencedSeriesSequence = [series_reference(source)]
    database.save()
    return database


def check(source: Any, derived: Any) -> None:
    for saved in (False, True):
        for instance, of in zip(derived.instances(), source.instances(), strict=True):
            dataset = instance.dataset()
            for said in (instance, dataset):
                assert said.SourceImageSequence[0].ReferencedSOPInstanceUID == of.uid
                (item,) = said.ReferencedSeriesSequence
                assert item.SeriesInstanceUID == source.SeriesInstanceUID.item()
                uids = [one.ReferencedSOPInstanceUID for one in item.ReferencedInstanceSequence]
                assert uids == [one.uid for one in source.instances()]
        if not saved:
            source.database.save()


@pytest.mark.parametrize("what", ["patient", "study", "together", "study elsewhere"])
def test_copies_refer_to_copies(database: db.Database, what: str) -> None:
    study = database.studies()[0]
    if what == "patient":
        source, derived = database.patients()[0].copy().series()
    elif what == "study":
        source, derived = study.copy().series()
    elif what == "together":
        source, derived = db.copy_to(study.series(), database.studies()[1])
    else:
        source, derived = study.copy_to(database.patients()[1]).series()
    check(source, derived)
    check(*study.series())


def test_a_copy_alone_refers_to_the_source(database: db.Database) -> None:
    source, derived = database.studies()[0].series()
    check(source, derived.copy_to(database.studies()[1]))
    check(source, derived)


def test_moves_keep_references(database: db.Database) -> None:
    one, two = database.studies()
    source, derived = one.series()
    db.move_to([source, derived], two)
    check(source, derived)


@pytest.mark.realdata
@pytest.mark.parametrize("part", ["rt-utils", "dcmqi", "highdicom"])
def test_real_objects(testdata: Path, tmp_path: Path, part: str) -> None:
    """Structure sets and segmentations that are copied with their images refer to the copies."""
    if not (testdata / part).is_dir():
        pytest.skip(f"no {part}")
    shutil.copytree(testdata / part, tmp_path / "data")
    database = db.database(tmp_path / "data")
    uids = {instance.uid for instance in database.instances()}

    def references(dataset: Dataset) -> list[str]:
        found: list[str] = []
        dataset.walk(
            lambda _, element: found.append(str(element.value))
            if element.keyword == "ReferencedSOPInstanceUID" else None
        )  # fmt: skip
        return [uid for uid in found if uid in uids]

    checked = 0
    for study in database.studies():
        images = {instance.uid for instance in study.instances()}
        copies = study.copy()
        new = {instance.uid for instance in copies.instances()}
        for instance in copies.instances():
            if instance.Modality not in ("RTSTRUCT", "SEG"):
                continue
            text = instance.dataset()
            assert not images & {*references(text)}
            checked += 1
        assert new.isdisjoint(uids)
        copies.restore()
    assert checked or part == "highdicom"
