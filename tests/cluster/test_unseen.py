"""A worker that does not see the folder: the error names it, and nothing is left behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import MissingFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts"),
]


def _may_unshare() -> bool:
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


# In place of a namespace of its own, where that is not allowed: the calls by which files are found.
_BLIND = """
import builtins, io, os, sqlite3
def blind(function):
    def seen(path, *args, **kwargs):
        if {root!r} in str(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *args, **kwargs)
    return seen
for module, name in [(os, "stat"), (os, "open"), (os, "listdir"), (os, "mkdir"), (builtins, "open"),
                     (io, "open"), (sqlite3, "connect")]:
    setattr(module, name, blind(getattr(module, name)))
"""


@pytest.fixture(params=["a file system of its own", "calls that find nothing"])
def blind(request: pytest.FixtureRequest, root: str, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A client of a cluster of one worker, which sees no folder of this test; and its address."""
    distributed = pytest.importorskip("distributed")
    elsewhere = Path(root).parent
    with (
        warnings.catch_warnings(action="ignore"),
        distributed.LocalCluster(
            n_workers=0, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        command = [
            sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address,
            "--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory",
            str(tmp_path.parent / f"{tmp_path.name}-worker"),
        ]  # fmt: skip
        if request.param.startswith("a file"):
            if not _may_unshare():
                pytest.skip("may not make a mount namespace")
            hide = f'mount -t tmpfs none {elsewhere} && exec "$@"'
            command = ["unshare", "-m", "sh", "-c", hide, "sh", *command]
        else:
            preload = tmp_path.parent / f"{tmp_path.name}-blind.py"
            preload.write_text(_BLIND.format(root=root))
            command += ["--preload", str(preload)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        ) as worker:
            try:
                client.wait_for_workers(1, timeout=30)
                yield client, next(iter(client.scheduler_info()["workers"]))
            finally:
                worker.terminate()
                worker.wait(10)


def files_of(root: str) -> set[str]:
    return {str(path.relative_to(root)) for path in Path(root).rglob("*")}


READS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "a series": (lambda d: d.series()[0], lambda s: s.SeriesDescription),
    "pixels of a series": (lambda d: d.series()[0], lambda s: s.array()[0].values),
    "an instance": (lambda d: d.instances()[0], lambda i: i.Rows),
    "a database": (lambda d: d, lambda d: len(d.series())),
    "a header": (lambda d: d.series()[0].array()[1], lambda h: h[0].EchoTime),
    "a lazy array": (lambda d: d.series()[0].array()[0], lambda a: a.values),
    "the header of an array": (lambda d: d.series()[0].array()[0], lambda a: a.dicom.header),
    "a change": (lambda d: d.series()[0], lambda s: setattr(s, "SeriesDescription", "x")),
    "a file": (lambda d: d.instances()[0], lambda i: i.dataset()),
}


def test_who_reads_is_named(blind: tuple[Any, str], root: str) -> None:
    client, address = blind
    host = socket.gethostname()
    place = rf"worker {address} \(process \d+ on {host}\)"
    named = rf"{re.escape(root)}.* is not there for the {place}"
    with db.database(root) as database:
        for what, (choose, read) in READS.items():
            future = client.submit(read, choose(database), pure=False)
            with pytest.raises(MissingFolder, match=named) as caught:
                future.result(timeout=20)
            assert "client.run(os.path.isdir" in str(caught.value), what
        with pytest.raises(MissingFolder, match=named):  # tasks of a graph
            database.series()[0].array()[0].mean().compute()
        assert list(client.run(os.path.isdir, root).values()) == [False]


def test_who_writes_is_named_and_nothing_is_left(blind: tuple[Any, str], root: str) -> None:
    import dask.array as da

    client, address = blind
    named = rf"{re.escape(root)}.* is not there for the worker {address} "
    before = files_of(root)
    database = db.database(root)
    series = database.series()[0]
    array = series.array()[0]
    for written in (array, array.copy(data=da.zeros(array.shape, chunks=(1, -1, -1)))):
        with pytest.raises(MissingFolder, match=named):
            series.set_array(written)
        assert database.changes().empty
        assert not database._staging.taken
    later = series.set_array(array.copy(data=da.zeros(array.shape)), compute=False)
    with pytest.raises(MissingFolder, match=named):
        client.compute(later).result(timeout=20)
    database.close(save=False)
    after = {name for name in files_of(root) if "staging.sqlite" not in name}
    assert after == {name for name in before if "staging.sqlite" not in name}
