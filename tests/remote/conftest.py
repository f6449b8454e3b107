"""Servers for the tests of remote folders, and folders that they serve."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import dbdicom_xr as db
from tests.remote.servers import S3, Log, Server, http_server, s3_server

pytest.importorskip("s3fs")
pytest.importorskip("aiohttp")
pytest.importorskip("moto")


@dataclass
class Remote:
    """A folder that is served in some way."""

    kind: str
    url: str
    options: dict[str, Any] | None
    local: Path
    index: Path
    log: Log = field(default_factory=Log)

    def open(self, **options: Any) -> db.Database:
        return db.database(
            self.url, storage_options=self.options, **{"index": self.index, **options}
        )


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "cache"))
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_: str(tmp_path / "data"))
    monkeypatch.setattr("dbdicom_xr.index.remote._FIRST_WAIT", 0.01)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to be served."""
    made = tmp_path / "served"
    made.mkdir()
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with http_server(folder) as running:
        yield running


@pytest.fixture
def serve(
    folder: Path, tmp_path: Path, s3: S3, request: pytest.FixtureRequest
) -> Callable[[str], Remote]:
    """Serve what is in the folder by now."""

    def start(kind: str) -> Remote:
        index = tmp_path / f"index-{kind}"
        if kind == "http":
            server = request.getfixturevalue("server")
            return Remote(kind, f"{server.url}/", None, folder, index, server.log)
        if kind == "s3":
            bucket = f"bucket{abs(hash(str(tmp_path)))}"
            s3.put(bucket, folder)
            return Remote(kind, f"s3://{bucket}", s3.options, folder, index, s3.log)
        files = [
            file for file in sorted(folder.rglob("*"))
            if file.is_file() and ".dbdicom_xr" not in file.parts
        ]  # fmt: skip
        if kind == "zip":
            archive = tmp_path / "study.zip"
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
                for file in files:
                    out.write(file, file.relative_to(folder).as_posix())
            return Remote(kind, f"zip://::{archive}", None, folder, index)
        import fsspec

        memory = fsspec.filesystem("memory")
        root = f"/{abs(hash(str(tmp_path)))}"
        for file in files:
            memory.pipe_file(f"{root}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return Remote(kind, f"memory:/{root}", None, folder, index)

    return start
