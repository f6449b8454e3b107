"""Remote folders that cannot be reached, or not be changed, and what is said about it."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import (
    ConnectionLost,
    DbdicomError,
    FolderNotReadable,
    InvalidValue,
    MissingFolder,
    NotAFolder,
    StagingNotWritable,
)
from dbdicom_xr.testing import make_many, make_series
from tests.remote.conftest import Remote
from tests.remote.servers import S3, Server

Serve = Callable[[str], Remote]
SECRETS = ("known-by-tests-only", "AKIAKNOWNBYTESTS")


# -- read-only -----------------------------------------------------------------------------------


@pytest.fixture
def read_only(folder: Path, serve: Serve) -> db.Database:
    make_series(folder)
    return serve("memory").open()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: setattr(d.series()[0], "SeriesDescription", "x"),
        lambda d: d.series()[0].remove(),
        lambda d: d.series()[0].copy(),
        lambda d: d.new_patient(PatientName="x"),
        lambda d: d.series()[0].new_sibling(),
        lambda d: d.studies()[0].zeros((1, 4, 4)),
        lambda d: d.series()[0].array()[0].dicom.write(d.series()[0]),
        lambda d: d.series()[0].set_array(d.series()[0].array()[0]),
        lambda d: d.import_dicom(__file__),
        lambda d: d.batch().__enter__(),
    ],
)
def test_every_change_says_how_to_get_a_copy(
    change: Callable[[db.Database], Any], read_only: db.Database
) -> None:
    with pytest.raises(StagingNotWritable, match=r"is read-only.*export_as_dicom"):
        change(read_only)
    assert len(read_only.instances()) == 3
    read_only.save()  # nothing
    read_only.restore()
    read_only.close(save=True)


def test_nothing_is_made_in_the_working_directory(
    read_only: db.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    with pytest.raises(StagingNotWritable):
        read_only.series()[0].remove()
    assert read_only.series()[0].array()[0].values.any()
    assert list(work.iterdir()) == []


def test_what_is_computed_is_written_to_a_database_of_this_computer(
    read_only: db.Database, tmp_path: Path
) -> None:
    array = read_only.series()[0].array("SliceLocation")[0]
    target = db.database(tmp_path / "results", create=True)
    written = (array * 2).dicom.write(target.new_patient().new_study().new_series())
    np.testing.assert_array_equal(written.array("SliceLocation")[0].values, (array * 2).values)
    assert written.instances()[0].Modality == "MR"
    target.save()


# -- connections ---------------------------------------------------------------------------------


def test_answers_that_fail_are_asked_for_again(folder: Path, server: Server) -> None:
    made = make_many(folder, 20, shape=(16, 16))
    server.fail = 3
    database = db.database(server.url, index=folder.parent / "index")
    assert database.problems == []
    server.cut = 4
    array = database.series()[0].array()[0].values
    np.testing.assert_array_equal(array[3], made.frame(3))
    assert server.cut == 0


def test_s3_that_is_busy_is_asked_again(folder: Path, serve: Serve, s3: S3) -> None:
    make_series(folder)
    remote = serve("s3")
    s3.fail = 3
    assert len(remote.open().instances()) == 3
    s3.fail = 2
    assert remote.open().series()[0].array()[0].values.any()


def test_a_scan_that_is_cut_off_goes_on_where_it_was(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbdicom_xr.index.heads._CHUNK", 10)
    make_many(folder, 40, shape=(16, 16))
    server.stop_after = 25
    index = folder.parent / "index"
    with pytest.raises(ConnectionLost, match=f"{server.url}.*lost: 5 tries.*export_as_dicom"):
        db.database(server.url, index=index)
    server.down, server.stop_after = False, -1
    known = len(db.database(server.url, index=index, refresh=False).instances())
    assert 10 <= known < 40
    server.log.clear()
    assert len(db.database(server.url, index=index).instances()) == 40
    assert len(server.log.files()) <= 40 - known + 3


def test_pixels_that_cannot_be_reached_are_an_error_and_nothing_is_lost(
    folder: Path, server: Server
) -> None:
    make_series(folder)
    database = db.database(server.url, index=folder.parent / "index")
    array = database.series()[0].array()[0]
    server.down = True
    for use in (
        array.compute,
        database.instances()[0].dataset,
        database.scan,
        lambda: database.export_as_dicom(folder.parent / "copy"),
        lambda: db.database(server.url, index=folder.parent / "index"),
    ):
        with pytest.raises(ConnectionLost, match=server.url):
            use()
    assert database.Modality == ["MR"]
    server.down = False
    assert array.values.any()
    assert len(database.export_as_dicom(folder.parent / "copy")) == 3


def test_a_server_that_is_silent_does_not_hang(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_series(folder)
    monkeypatch.setattr("dbdicom_xr.index.remote._SECONDS", 0.05)
    monkeypatch.setattr("dbdicom_xr.index.remote._TRIES", 2)
    server.delay = 0.3
    with pytest.raises(ConnectionLost, match=r"2 tries.*Timeout"):
        db.database(server.url, index=folder.parent / "index")


def test_a_server_without_ranges_or_etags_still_reads(folder: Path, server: Server) -> None:
    make_series(folder)
    (folder / "empty").touch()
    server.ranges = server.etags = False
    database = db.database(server.url, index=folder.parent / "index")
    local = db.database(folder, index=folder.parent / "local")
    np.testing.assert_array_equal(
        database.series()[0].array()[0].values, local.series()[0].array()[0].values
    )
    assert [problem.reason for problem in database.problems] == ["an empty file"]


def test_what_may_not_be_read_is_a_problem_and_not_gone(folder: Path, server: Server) -> None:
    make_series(folder / "a")
    make_series(folder / "b", seed=1)
    index = folder.parent / "index"
    database = db.database(server.url, index=index)
    server.refuse = "/b"
    again = db.database(server.url, index=index)
    assert len(again.instances()) == 6
    assert len(database.instances()) == 6
    assert any("may not be read" in problem.reason for problem in again.scan().problems)


# -- places that are none ------------------------------------------------------------------------


def test_a_missing_bucket_or_folder_is_named(s3: S3, folder: Path, serve: Serve) -> None:
    make_series(folder)
    remote = serve("s3")
    for url in ("s3://no-such-bucket/folder", f"{remote.url}/nothing"):
        with pytest.raises(MissingFolder, match=f"There is nothing at {url}"):
            db.database(url, storage_options=s3.options)
    with pytest.raises(NotAFolder, match="is a file"):
        db.database(f"{remote.url}/IM0001.dcm", storage_options=s3.options)
    assert list((folder.parent / "cache").rglob("*")) in ([], [folder.parent / "cache"])


def test_an_address_that_is_missing_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MissingFolder, match="nothing at http"):
        db.database(f"{server.url}/nothing/")
    with pytest.raises(MissingFolder, match="no list of files"):
        db.database(f"{server.url}/")
    archive = tmp_path / "no.zip"
    with pytest.raises(MissingFolder, match="nothing at zip"):
        db.database(f"zip://::{archive}")
    archive.write_bytes(b"PK\3\4 and nothing else")
    with pytest.raises(DbdicomError, match="damaged"):
        db.database(f"zip://::{archive}")


def test_missing_credentials_are_asked_for(folder: Path, serve: Serve, s3: S3) -> None:
    make_series(folder)
    remote = serve("s3")
    with pytest.raises(FolderNotReadable, match=r"no credentials for s3://.*storage_options"):
        db.database(remote.url, storage_options={"endpoint_url": s3.url})


def test_a_wrong_password_is_refused(folder: Path, server: Server) -> None:
    make_series(folder)
    server.password = "Bearer right"
    wrong = {"headers": {"Authorization": "Bearer wrong-one"}}
    with pytest.raises(FolderNotReadable, match="may not be read") as caught:
        db.database(server.url, storage_options=wrong)
    assert "wrong-one" not in str(caught.value)
    right = {"headers": {"Authorization": "Bearer right"}}
    assert len(db.database(server.url, storage_options=right).instances()) == 3


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = importlib.import_module("fsspec.registry")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(registry._registry, "s3", raising=False)
    with pytest.raises(DbdicomError, match=r'pip install "dbdicom_xr\[remote\]"'):
        db.database("s3://bucket/folder")


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("nonsense://place/folder", {}, "Protocol not known: nonsense"),
        ("s3://bucket/folder", {"no_such_option": 1}, "storage_options.*no_such_option"),
        ("zip://study.zip", {}, r"zip://::study\.zip or"),
        ("zip:///data/study.zip", {}, r"zip://::/data/study\.zip or"),
        ("zip::study.zip", {}, r"zip://::study\.zip or"),
        ("https://me:secret@server/folder", {}, r"://\*\*\*@server/folder holds a user"),
        ("https://server/folder?token=secret", {}, r"https://server/folder\?\*\*\* is no URL"),
    ],
)
def test_what_is_no_folder_is_explained(url: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidValue, match=says) as caught:
        db.database(url, storage_options=options)
    assert "secret" not in str(caught.value)


def test_arguments_that_do_not_fit(tmp_path: Path, folder: Path, serve: Serve) -> None:
    make_series(folder)
    remote = serve("zip")
    with pytest.raises(StagingNotWritable, match="read-only"):
        remote.open(create=True)
    with pytest.raises(InvalidValue, match="index= is a place on this computer"):
        remote.open(index="s3://bucket/index")
    with pytest.raises(InvalidValue, match="storage_options= belong to a URL"):
        db.database(folder, storage_options={"anon": True})
    with pytest.raises(NotAFolder, match=r"zip file. db.database\('zip://::"):
        db.database(tmp_path / "study.zip")
    assert len(db.database(f"file://{folder}").instances()) == 3
    assert len(db.database(remote.url.replace("zip://", "zip://*")).instances()) == 3


# -- secrets -------------------------------------------------------------------------------------


def test_credentials_are_shown_and_stored_nowhere(
    folder: Path, serve: Serve, s3: S3, tmp_path: Path
) -> None:
    make_series(folder)
    remote = serve("s3")
    database = remote.open(index=None)
    series = database.series()[0]
    array, header = series.array()
    array.compute()
    shown = [
        repr(database), str(database), database._repr_html_(), repr(array), str(array.attrs),
        array._repr_html_(), repr(array.data.dask), repr(header), repr(series.instances()),
        str(database.path_on_disk), repr(database.path_on_disk), repr(database.problems),
        repr(array.data.dask.layers), str(database.to_dataframe().to_dict()),
    ]  # fmt: skip
    s3.client.delete_object(Bucket=remote.url[5:], Key="IM0001.dcm")
    s3.fail = 100
    with pytest.raises(DbdicomError) as caught:
        array.compute()
    s3.fail = 0
    shown += traceback.format_exception(caught.value)
    for wrong in ({"key": SECRETS[1]}, {**s3.options, "endpoint_url": "http://127.0.0.1:9"}):
        with pytest.raises(DbdicomError) as caught:
            db.database(remote.url, storage_options=wrong)
        shown += [repr(caught.value), *traceback.format_exception(caught.value)]
    for secret in SECRETS:
        assert secret not in "\n".join(shown)
        for path in tmp_path.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path


def test_credentials_travel_with_what_reads(folder: Path, serve: Serve) -> None:
    make_series(folder)
    array = serve("s3").open().series()[0].array()[0]
    local = db.database(folder, index=folder.parent / "local").series()[0].array()[0]
    assert SECRETS[0].encode() in pickle.dumps(array.data)
    with dask.config.set(scheduler="processes", num_workers=1):
        np.testing.assert_array_equal(array.compute().values, local.values)


def test_two_servers_with_one_bucket_have_an_index_each(folder: Path, serve: Serve, s3: S3) -> None:
    make_series(folder)
    remote = serve("s3")
    remote.open(index=None)
    remote.options = {
        "key": SECRETS[1], "secret": SECRETS[0],
        "client_kwargs": {"endpoint_url": s3.url.replace("127.0.0.1", "localhost")},
    }  # fmt: skip
    assert len(remote.open(index=None).instances()) == 3
    assert len(list((folder.parent / "cache").glob("*/index.sqlite"))) == 2


def test_threads_share_a_folder(folder: Path, server: Server) -> None:
    made = make_many(folder, 12, shape=(16, 16))
    array = db.database(server.url, index=folder.parent / "i").series()[0].array()[0]
    wrong: list[int] = []

    def work(number: int) -> None:
        if not np.array_equal(array[number].compute(scheduler="sync").values, made.frame(number)):
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_process_that_was_forked_makes_connections_of_its_own(
    folder: Path, server: Server
) -> None:
    make_series(folder)
    array = db.database(server.url, index=folder.parent / "i").series()[0].array()[0]
    expected = array.compute(scheduler="sync").values
    child = os.fork()
    if child == 0:
        try:
            same = np.array_equal(array.compute(scheduler="sync").values, expected)
            os._exit(0 if same else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
