"""Bringing the index up to date with the folder.

Files are compared by name, size and modification time; only new and changed ones are read, by
several processes where there are many. What has been read is kept whenever the scan is interrupted.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from dbdicom_xr.index.blocks import Findings
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.store import Store
from dbdicom_xr.index.update import Batch, apply
from dbdicom_xr.index.worker import Worker, WorkerDied

__all__ = ["FOLDER_NAME", "Outcome", "refresh"]

FOLDER_NAME: Final = ".dbdicom_xr"
"""The folder of the index inside the user's folder; it is never scanned."""

# A worker process takes 0.15 s to start and reads a header in 0.1 ms.
_WORTH_A_PROCESS: Final = 1000
_CHUNK: Final = 250
_KEEP_AFTER_FILES: Final = 20000
_KEEP_AFTER_SECONDS: Final = 10.0


class Progress(Protocol):
    """What shows how far a scan is: called with the number of files to read, then of each step."""

    def start(self, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def finish(self) -> None: ...


@dataclass(slots=True)
class Outcome:
    """What a scan did."""

    read: int = 0
    removed: int = 0
    unreadable_folders: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.read or self.removed)


def refresh(
    store: Store, root: str, *, everything: bool = False, progress: Progress | None = None
) -> Outcome:
    """Bring the index up to date.

    Parameters
    ----------
    store : Store
    root : str
        The folder.
    everything : bool
        Read all files, also those that seem unchanged.
    progress : Progress, optional
    """
    outcome = Outcome()
    listed = _listing(root, outcome)
    known = {row.path: row for row in store.files().values()}
    pending = [
        path
        for path, version in listed.items()
        if everything or (row := known.get(path)) is None or (row.size, row.mtime) != version
    ]
    gone = [row.id for path, row in known.items() if path not in listed]
    if not pending and not gone:
        return outcome
    outcome.removed = len(gone)
    promoted = apply(store, [], gone) if gone else []
    pending += [path for path in promoted if path in listed]
    seen: set[str] = set()
    if progress is not None:
        progress.start(len(pending))
    try:
        while pending:
            outcome.read += len(pending)
            seen.update(pending)
            again: list[str] = []
            with closing(_batches(root, pending)) as batches, _keeping(store, again) as keep:
                for batch in batches:
                    keep(batch)
                    if progress is not None:
                        progress.advance(len(batch.paths))
            pending = [path for path in dict.fromkeys(again) if path in listed and path not in seen]
    finally:
        if progress is not None:
            progress.finish()
    return outcome


@contextmanager
def _keeping(store: Store, again: list[str]) -> Iterator[Callable[[Batch], None]]:
    """Collect batches and store them now and then, and also when interrupted."""
    waiting: list[Batch] = []
    count = 0
    since = time.monotonic()

    def store_now() -> None:
        nonlocal count, since
        if waiting:
            again.extend(apply(store, waiting))
            waiting.clear()
        count, since = 0, time.monotonic()

    def keep(batch: Batch) -> None:
        nonlocal count
        waiting.append(batch)
        count += len(batch.paths)
        if count >= _KEEP_AFTER_FILES or time.monotonic() - since > _KEEP_AFTER_SECONDS:
            store_now()

    try:
        yield keep
    finally:
        store_now()


def _listing(root: str, outcome: Outcome) -> dict[str, tuple[int, int]]:
    """Return size and modification time of each file below the folder, by relative path."""
    files: dict[str, tuple[int, int]] = {}
    visited: set[tuple[int, int]] = set()
    folders = [("", root)]
    links: list[tuple[str, str]] = []  # after the real folders, so that those give the names
    while folders or links:
        relative, path = folders.pop() if folders else links.pop(0)
        try:
            status = os.stat(path)
            identity = (status.st_dev, status.st_ino)
            if identity in visited and status.st_ino:
                continue
            visited.add(identity)
            with os.scandir(path) as entries:
                for entry in entries:
                    name = f"{relative}/{entry.name}" if relative else entry.name
                    try:
                        if entry.is_dir():
                            if entry.name != FOLDER_NAME:
                                (links if entry.is_symlink() else folders).append(
                                    (name, entry.path)
                                )
                            continue
                        status = entry.stat()
                        files[name] = (status.st_size, status.st_mtime_ns)
                    except OSError:  # a link to nowhere, or gone since: reading it will tell
                        files[name] = (-1, -1)
        except OSError as error:
            if not relative:
                raise
            outcome.unreadable_folders[relative] = error.strerror or str(error)
    return dict(sorted(files.items()))


def _batches(root: str, paths: list[str]) -> Generator[Batch, None, None]:
    """Read files, in this process or in several."""
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    processes = min(_processors(), 8, len(paths) // _WORTH_A_PROCESS + 1)
    if processes > 1:
        workers = []
        try:
            workers = [Worker() for _ in range(processes)]
        except OSError:
            for worker in workers:
                worker.stop()
        else:
            yield from _by_workers(root, chunks, workers)
            return
    for chunk in chunks:
        yield Batch(chunk, gather(_absolute(root, chunk)))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _absolute(root: str, paths: list[str]) -> list[str]:
    return [f"{root}/{path}" for path in paths]


def _by_workers(
    root: str, chunks: list[list[str]], workers: list[Worker]
) -> Generator[Batch, None, None]:
    tasks: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[list[str], Findings | None]] = queue.SimpleQueue()
    for chunk in chunks:
        tasks.put(chunk)
    stopping = threading.Event()

    def run(place: int) -> None:
        while (chunk := tasks.get()) is not None:
            try:
                results.put((chunk, workers[place].gather(_absolute(root, chunk))))
            except WorkerDied:
                if stopping.is_set():
                    return
                workers[place].stop()
                try:
                    workers[place] = Worker()
                except OSError:
                    results.put((chunk, None))
                    return
                results.put((chunk, None))

    threads = [
        threading.Thread(target=run, args=(i,), daemon=True, name=f"dbdicom-scan-{i}")
        for i in range(len(workers))
    ]
    for thread in threads:
        thread.start()
    left = len(chunks)
    try:
        while left:
            try:
                # With a timeout, so that Ctrl-C gets through on Windows too.
                chunk, findings = results.get(timeout=1.0)
            except queue.Empty:
                if not any(thread.is_alive() for thread in threads):
                    raise OSError("the processes that read the files have died") from None
                continue
            left -= 1
            if findings is not None:
                yield Batch(chunk, findings)
            elif len(chunk) > 1:
                for path in chunk:
                    tasks.put([path])
                left += len(chunk)
            else:
                failed = Findings(problems={0: "reading it ended the process that read it"})
                yield Batch(chunk, failed)
    finally:
        stopping.set()
        for _ in threads:
            tasks.put(None)
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(timeout=5.0)
