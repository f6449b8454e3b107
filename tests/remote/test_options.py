"""Places that have one URL, and are told apart by their options."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, InvalidValue
from dbdicom_xr.index.roots import RemoteRoot, place_of
from dbdicom_xr.testing import make_series
from tests.remote.servers import Server


@pytest.fixture
def archives(tmp_path: Path) -> list[dict[str, Any]]:
    """Options of two archives, the URLs of which are the same."""
    options = []
    for seed in (1, 2):
        made = make_series(tmp_path / str(seed), seed=seed, header={"PatientID": f"P{seed}"})
        with zipfile.ZipFile(tmp_path / f"{seed}.zip", "w") as out:
            for file in made.files:
                out.write(file, file.name)
        options.append({"fo": str(tmp_path / f"{seed}.zip")})
    return options


def test_each_shows_its_own(archives: list[dict[str, Any]], tmp_path: Path) -> None:
    first, second = (db.database("zip://", storage_options=options) for options in archives)
    arrays = [database.series()[0].array("SliceLocation")[0] for database in (first, second)]
    assert [first.PatientID, second.PatientID] == [["P1"], ["P2"]]
    assert first != second
    for number, array in enumerate(arrays, 1):
        local = db.database(tmp_path / str(number), index=tmp_path / f"i{number}")
        right = local.series()[0].array("SliceLocation")[0]
        np.testing.assert_array_equal(array.values, right.values)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)).values, right.values)
        assert array.dicom.header.ravel()[0].dataset().PatientID == f"P{number}"
        record = pickle.loads(pickle.dumps(array.dicom.header.ravel()[0]))
        assert record.dataset().PatientID == f"P{number}"
        array.to_dataset(name="p").to_zarr(tmp_path / f"{number}.zarr", consolidated=False)
        with xr.open_zarr(tmp_path / f"{number}.zarr", consolidated=False) as again:
            assert again["p"].dicom.header.ravel()[0].dataset().PatientID == f"P{number}"
    again = db.database("zip://", storage_options=archives[0], refresh=False)
    assert again.PatientID == ["P1"]


def test_an_index_is_of_one_place(archives: list[dict[str, Any]], tmp_path: Path) -> None:
    index = tmp_path / "index"
    first = db.database("zip://", storage_options=archives[0], index=index)
    array = first.series()[0].array()[0]
    with pytest.raises(DbdicomError, match="other storage_options"):
        db.database("zip://", storage_options=archives[1], index=index)
    assert first.PatientID == ["P1"]
    assert array.dicom.header.ravel()[0].dataset().PatientID == "P1"
    assert len(db.database("zip://", storage_options=archives[0], index=index).instances()) == 3


def test_two_tokens_are_two_places(folder: Path, server: Server) -> None:
    for name in ("a", "b"):
        make_series(folder / name, seed=ord(name), header={"PatientID": name})

    def instead(method: str, path: str, headers: Any) -> None:
        server.root = folder / headers["X-Token"]

    server.instead = instead
    tokens = [{"headers": {"X-Token": name}} for name in ("a", "b")]
    databases = [db.database(server.url, storage_options=token) for token in tokens]
    assert [database.PatientID for database in databases] == [["a"], ["b"]]
    assert [database.series()[0].instances()[0].PatientID for database in databases] == ["a", "b"]


def test_a_place_tells_no_secret_and_is_the_same_in_each_process() -> None:
    root = RemoteRoot("s3://b/x", {"key": "A", "secret": "sesame", "client_kwargs": {"a": 1}})
    turned = RemoteRoot("s3://b/x", {"client_kwargs": {"a": 1}, "secret": "sesame", "key": "A"})
    assert place_of(root) == place_of(turned) == place_of(pickle.loads(pickle.dumps(root)))
    assert "sesame" not in place_of(root)
    assert place_of(root).startswith("s3://b/x\n")
    assert place_of(RemoteRoot("s3://b/x")) == "s3://b/x"
    pairs = [place_of(RemoteRoot("http://b", {"auth": ("me", word)})) for word in "112"]
    assert pairs[0] == pairs[1] != pairs[2]
    objects = [RemoteRoot("http://b", {"auth": lambda: None}) for _ in "12"]
    assert place_of(objects[0]) != place_of(objects[1])


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:abc/sesame@bucket/x",
        "https://user:pa/sesame@127.0.0.1:9/x",
        "https://user:pa@b/sesame@127.0.0.1:9/x",
        "zip://::s3://AKIA:abc/sesame@bucket/x.zip",
        "sftp://u:pa/sesame@127.0.0.1/x",
        "https://127.0.0.1:9/x;token=sesame/",
        "s3://bucket/x%3Ftoken=sesame",
        "https://127.0.0.1:9/x%3ftoken=sesame",
        "https://127.0.0.1:9/x#sesame",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        db.database(url)
    assert "sesame" not in str(caught.value)


def test_options_are_a_dict() -> None:
    with pytest.raises(InvalidValue, match="storage_options= is a dict"):
        db.database("memory://x", storage_options="text")
