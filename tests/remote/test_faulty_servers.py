"""Servers that answer something else than they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import ConnectionLost, DbdicomError
from dbdicom_xr.testing import make_series
from tests.remote.conftest import Remote
from tests.remote.servers import S3, Server

Answer = tuple[int, bytes, dict[str, str]]


def ranged(
    root: Path, answer: Callable[[bytes, int, int], tuple[bytes, str | None]]
) -> Callable[[str, str, Any], Answer | None]:
    """Answer requests for ranges with other bytes, or another header."""

    def instead(method: str, path: str, headers: Any) -> Answer | None:
        if not headers.get("Range"):
            return None
        data = (root / path.strip("/")).read_bytes()
        first, _, last = headers["Range"].removeprefix("bytes=").partition("-")
        sent, told = answer(data, int(first), min(int(last) + 1, len(data)))
        etag = {"ETag": f'"{(root / path.strip("/")).stat().st_mtime_ns:x}-{len(data):x}"'}
        return 206, sent, {**etag, **({"Content-Range": told} if told else {})}

    return instead


def beginning(data: bytes, start: int, stop: int) -> tuple[bytes, str]:
    return data[: stop - start], f"bytes 0-{stop - start - 1}/{len(data)}"


def earlier(data: bytes, start: int, stop: int) -> tuple[bytes, str]:
    start -= start % 512
    return data[start:stop], f"bytes {start}-{stop - 1}/{len(data)}"


def longer(data: bytes, start: int, stop: int) -> tuple[bytes, str]:
    return data[start:], f"bytes {start}-{len(data) - 1}/{len(data)}"


def no_total(data: bytes, start: int, stop: int) -> tuple[bytes, str]:
    return data[start:stop], f"bytes {start}-{stop - 1}/*"


def unsaid(data: bytes, start: int, stop: int) -> tuple[bytes, None]:
    return data[start:stop], None


def nonsense(data: bytes, start: int, stop: int) -> tuple[bytes, str]:
    return data[start:stop], "bytes garbage"


def shorter(data: bytes, start: int, stop: int) -> tuple[bytes, str]:
    return data[start : stop - 9], f"bytes {start}-{stop - 10}/{len(data)}"


def shifted(data: bytes, start: int, stop: int) -> tuple[bytes, str]:
    return data[start + 2 : stop], f"bytes {start + 2}-{stop - 1}/{len(data)}"


@pytest.mark.parametrize("answer", [earlier, longer, no_total])
def test_what_was_asked_for_is_cut_out_of_what_came(
    answer: Any, folder: Path, server: Server, tmp_path: Path
) -> None:
    made = make_series(folder, keys={"SliceLocation": [0.0, 5.0, 10.0]})
    server.instead = ranged(folder, answer)
    database = db.database(server.url, index=tmp_path / "index")
    assert database.problems == []
    array = database.series()[0].array("SliceLocation")[0].values
    local = db.database(folder, index=tmp_path / "local").series()[0].array("SliceLocation")[0]
    np.testing.assert_array_equal(array, local.values)
    assert len(made.files) == 3


@pytest.mark.parametrize("answer", [beginning, unsaid, nonsense, shorter, shifted])
def test_other_bytes_than_those_asked_for_are_refused(
    answer: Any, folder: Path, server: Server, tmp_path: Path
) -> None:
    make_series(folder)
    array = db.database(server.url, index=tmp_path / "index").series()[0].array()[0]
    server.instead = ranged(folder, answer)
    with pytest.raises(DbdicomError, match=r"the server .*IM000\d"):
        array.compute()
    database = db.database(server.url, index=tmp_path / "other")
    if answer is not beginning:  # which it is, when headers are read
        assert database.instances() == []
        assert all("the server" in problem.reason for problem in database.problems)


@pytest.fixture
def odd_s3(s3: S3) -> Iterator[S3]:
    yield s3
    s3.range = str


@pytest.mark.parametrize(
    ("understood", "is_right"),
    [
        (lambda asked: "", True),
        (lambda asked: f"bytes={int(asked[6:].split('-')[0]) // 2}-{asked.split('-')[1]}", True),
        (lambda asked: "bytes=0-99", False),
        (lambda asked: "bytes=-9", False),
    ],
)  # fmt: skip
def test_s3_that_answers_other_ranges(
    understood: Callable[[str], str], is_right: bool, folder: Path,
    serve: Callable[[str], Remote], odd_s3: S3, tmp_path: Path,
) -> None:  # fmt: skip
    make_series(folder, shape=(4, 4))
    remote = serve("s3")
    array = remote.open().series()[0].array()[0]
    odd_s3.range = understood
    if is_right:
        local = db.database(folder, index=tmp_path / "local").series()[0].array()[0]
        np.testing.assert_array_equal(array.values, local.values)
    else:
        with pytest.raises(DbdicomError, match=r"the server was asked for bytes .*IM000\d"):
            array.compute()


def test_a_file_that_always_fails_is_a_problem(
    folder: Path, server: Server, tmp_path: Path
) -> None:
    make_series(folder / "many", keys={"SliceLocation": [0.0, 5.0, 10.0, 15.0]})
    make_series(folder / "alone", seed=2, keys={"SliceLocation": [0.0]})
    index = tmp_path / "index"
    for bad in ("alone/IM0001.dcm", "many/IM0002.dcm", "many/IM0003.dcm"):
        server.instead = lambda method, path, headers, bad=bad: (
            (500, b"", {}) if path == f"/{bad}" else None
        )
        database = db.database(server.url, index=tmp_path / bad)
        assert [problem.file for problem in database.problems] == [f"{server.url}/{bad}"]
        assert f"{bad} was lost: 5 tries" in database.problems[0].reason
        assert len(database.instances()) == 4
        server.instead = None
        assert len(db.database(server.url, index=tmp_path / bad).instances()) == 5
    server.instead = lambda method, path, headers: (500, b"", {}) if headers["Range"] else None
    with pytest.raises(ConnectionLost, match="IM000"):
        db.database(server.url, index=index)


def test_a_file_that_is_shorter_than_the_server_says_is_a_problem(
    folder: Path, server: Server, tmp_path: Path
) -> None:
    make_series(folder, keys={"SliceLocation": [0.0, 5.0, 10.0, 15.0]})

    def huge(data: bytes, start: int, stop: int) -> tuple[bytes, str]:
        return data[start:stop], f"bytes {start}-{max(stop - 1, start)}/9999999999999"

    usual = ranged(folder, huge)
    server.instead = lambda method, path, headers: (
        usual(method, path, headers) if "IM0002" in path else None
    )
    (folder / "IM0002.dcm").write_bytes((folder / "IM0002.dcm").read_bytes()[:300])
    database = db.database(server.url, index=tmp_path / "index")
    assert [problem.file[-10:] for problem in database.problems] == ["IM0002.dcm"]
    assert len(database.instances()) == 3


def test_a_file_that_is_gone_is_named(folder: Path, server: Server, tmp_path: Path) -> None:
    make_series(folder)
    server.instead = lambda method, path, headers: (
        (404, b"", {}) if path.endswith("IM0002.dcm") else None
    )
    database = db.database(server.url, index=tmp_path / "index")
    (problem,) = database.problems
    assert f"nothing at {server.url}/IM0002.dcm" in problem.reason


def test_links_that_lead_back_do_not_go_on_for_ever(
    folder: Path, server: Server, tmp_path: Path
) -> None:
    make_series(folder)
    make_series(folder / "a" / "a", seed=2)
    for name in ("one", "two"):
        (folder / name).symlink_to(folder)
    database = db.database(server.url, index=tmp_path / "index")
    assert len(database.instances()) == 6
    assert {problem.file for problem in database.problems} == {
        f"{server.url}/one", f"{server.url}/two",
    }  # fmt: skip
    assert len([one for one in server.log.asked if one.method == "GET"]) < 30
    only = tmp_path / "only"
    only.mkdir()
    make_series(only / "images")
    for name in ("one", "two"):
        (only / name).symlink_to(only)
    server.root = only
    server.log.clear()
    assert len(db.database(server.url, index=tmp_path / "only_index").instances()) == 3
    assert len(server.log.asked) < 400


def test_a_folder_that_is_shown_in_two_ways_is_listed_once(
    folder: Path, server: Server, tmp_path: Path
) -> None:
    make_series(folder / "a")

    def instead(method: str, path: str, headers: Any) -> Answer | None:
        if path != "/":
            return None
        return 200, b'<a href="a/">1</a><a href="./a/">2</a>', {"Content-Type": "text/html"}

    server.instead = instead
    database = db.database(server.url, index=tmp_path / "index")
    assert (len(database.instances()), database.problems) == (3, [])


def test_a_server_that_redirects_in_circles_is_asked_once(server: Server) -> None:
    server.instead = lambda method, path, headers: (302, b"", {"Location": server.url + path})
    with pytest.raises(DbdicomError, match="from one address to another"):
        db.database(server.url)
    assert len(server.log.asked) < 20
