"""Who reads the files of a scan: this process, and where there are many files helpers beside it."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from dbdicom_xr.index.blocks import Findings
from dbdicom_xr.index.files import version_of
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.heads import remote_batches
from dbdicom_xr.index.roots import is_remote, remote_folder
from dbdicom_xr.index.update import Batch
from dbdicom_xr.index.worker import Worker, WorkerDied, can_start

__all__ = ["batches"]

# A worker takes 0.1 s to start, the time in which this process reads 2,000 headers.
_WORTH_A_WORKER: Final = 4000
_MOST_WORKERS: Final = 8
_CHUNK: Final = 500
_ENDED: Final = "reading it ended the process that read it"


def batches(
    root: str, paths: Sequence[str], standing: Mapping[str, str] | None = None
) -> Generator[Batch, None, None]:
    """Read files, and yield what was found in them, some files at a time.

    Parameters
    ----------
    root : str
        The folder.
    paths : sequence of str
        Relative to it. Each is in exactly one of the batches.
    standing : mapping of str to str, optional
        Where those files stand that do not have their places yet.
    """
    places = _Places(root, standing or {})
    if is_remote(root):
        for some, findings in remote_batches(remote_folder(root), paths):
            yield Batch(some, findings)
        return
    chunks = deque(paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK))
    wanted = min(_processors() - 1, _MOST_WORKERS, len(paths) // _WORTH_A_WORKER)
    if wanted < 1 or not can_start():
        for chunk in chunks:
            yield Batch(chunk, gather(places.of(chunk)))
        return
    yield from _Helped(places, chunks, wanted).batches()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Places(NamedTuple):
    """Where files are."""

    root: str
    standing: Mapping[str, str]

    def of(self, paths: Sequence[str]) -> list[str]:
        return [self.standing.get(path) or f"{self.root}/{path}" for path in paths]


class _Helped:
    """Reads here and in workers; whoever is free takes the next chunk."""

    def __init__(self, places: _Places, chunks: deque[Sequence[str]], workers: int) -> None:
        self._places = places
        self._chunks = chunks
        self._left = len(chunks)
        # Files of chunks whose reader died, one by one; this process does not touch them.
        self._suspects: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._suspected: set[str] = set()
        self._results: queue.SimpleQueue[tuple[Sequence[str], Findings | None]]
        self._results = queue.SimpleQueue()
        self._ending = threading.Event()
        self._workers: dict[int, Worker] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(i,), daemon=True, name=f"dbdicom-scan-{i}")
            for i in range(workers)
        ]

    def batches(self) -> Generator[Batch, None, None]:
        try:
            for thread in self._threads:
                thread.start()
            while self._left:
                found = self._next()
                if found is None:
                    continue
                chunk, findings = found
                if findings is None and not self._suspected.issuperset(chunk):
                    self._left += len(chunk) - 1
                    self._suspected.update(chunk)
                    for path in chunk:
                        self._suspects.put(path)
                    continue
                self._left -= 1
                yield Batch(chunk, findings or self._given_up(chunk[0]))
        finally:
            self._ending.set()
            for worker in list(self._workers.values()):
                worker.kill()
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()

    def _next(self) -> tuple[Sequence[str], Findings | None] | None:
        """Return what a worker has read, else read something; None: ask again."""
        with suppress(queue.Empty):
            return self._results.get_nowait()
        with suppress(IndexError):
            chunk = self._chunks.popleft()
            return chunk, gather(self._places.of(chunk))
        if any(thread.is_alive() for thread in self._threads):
            with suppress(queue.Empty):
                # With a timeout, so that Ctrl-C gets through on Windows too.
                return self._results.get(timeout=0.1)
        elif self._results.empty() and not self._chunks:
            with suppress(queue.Empty):
                # No one is left who could try it. Without a version, the next scan does.
                return [self._suspects.get_nowait()], Findings(problems={0: _ENDED})
        return None

    def _given_up(self, path: str) -> Findings:
        """Return findings that say that a file cannot be read, in its present version."""
        findings = Findings(problems={0: _ENDED})
        with suppress(OSError):
            status = os.stat(*self._places.of([path]))
            findings.versions[0] = version_of(status)
        return findings

    # -- in threads --------------------------------------------------------------------------

    def _serve(self, place: int) -> None:
        """Give work to one worker, and start another where it dies."""
        try:
            while not self._ending.is_set():
                # Started before it is given anything: it may not start at all.
                worker = self._worker(place)
                if (chunk := self._take()) is None:
                    continue
                try:
                    self._results.put((chunk, worker.gather(self._places.of(chunk))))
                except WorkerDied:
                    self._workers.pop(place).stop()
                    self._results.put((chunk, None))
        except OSError:  # no process can be started (any more); others do the work
            return
        finally:
            if place in self._workers:
                self._workers.pop(place).stop()

    def _take(self) -> Sequence[str] | None:
        with suppress(IndexError):
            return self._chunks.popleft()
        with suppress(queue.Empty):
            return [self._suspects.get(timeout=0.02)]
        return None

    def _worker(self, place: int) -> Worker:
        worker = self._workers.get(place)
        if worker is None:
            worker = self._workers[place] = Worker()
            if self._ending.is_set():
                worker.kill()
            worker.wait()
        return worker
