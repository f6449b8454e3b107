"""Bringing the index up to date with the folder.

Files are compared by name, size and modification time; only new and changed ones are read, by
several processes where there are many. What has been read is kept whenever the scan is interrupted.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

from dbdicom_xr.index.files import is_temporary, version_of
from dbdicom_xr.index.readers import batches
from dbdicom_xr.index.roots import is_remote, remote_folder
from dbdicom_xr.index.store import FileRow, Store
from dbdicom_xr.index.update import Batch, apply

__all__ = ["FOLDER_NAME", "STAGED_NAME", "Outcome", "refresh", "reread"]

FOLDER_NAME: Final = ".dbdicom_xr"
"""The folder of the index inside the user's folder; only the staged files in it are scanned."""

STAGED_NAME: Final = "staged"
"""The folder in it of files that belong to instances which are not saved yet."""

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

    @property
    def changed(self) -> bool:
        """Whether the index is another one than before."""
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

    Returns
    -------
    Outcome

    Raises
    ------
    OSError
        The folder cannot be listed.
    ConnectionLost
        It is elsewhere, and cannot be reached; what was read until then is in the index.
    IndexDamaged, IndexBusy, IndexNotWritable
        The index cannot be used.
    """
    outcome = Outcome()
    own = {str(store.path), f"{store.path}-journal"}
    known = {row.path: row for row in store.files().values()}
    if is_remote(root):
        found, unreadable = remote_folder(root).listing(known.keys())
    else:
        found, unreadable = _listing(root)
    listed = {
        path: version
        for path, version in found.items()
        if f"{root}/{path}".replace("/", os.sep) not in own
    }
    pending = [
        path
        for path, version in listed.items()
        if everything or (row := known.get(path)) is None or (row.size, row.mtime) != version
    ]
    # What cannot be looked at is not gone.
    hidden = tuple(f"{folder}/" for folder in unreadable)
    gone = [
        row for path, row in known.items() if path not in listed and not path.startswith(hidden)
    ]
    if not pending and not gone:
        return outcome
    outcome.removed = len(gone)
    promoted = apply(store, [], gone) if gone else []
    pending += [path for path in promoted if path in listed]
    times: Counter[str] = Counter()
    look = None if is_remote(root) else _Look(root)
    if progress is not None:
        progress.start(len(pending))
    try:
        while pending:
            outcome.read += len(pending)
            times.update(pending)
            again: list[str] = []
            with closing(batches(root, pending)) as reading, _keeping(store, again, look) as keep:
                for batch in reading:
                    keep(batch)
                    if progress is not None:
                        progress.advance(len(batch.paths))
            # Files that change all the time must not keep the scan going for ever.
            pending = [path for path in dict.fromkeys(again) if path in listed and times[path] < 4]
    finally:
        if progress is not None:
            progress.finish()
    return outcome


def reread(
    store: Store,
    root: str,
    written: Iterable[str],
    removed: Iterable[str],
    *,
    same_pixels: Collection[str] = (),
    moved: Mapping[str, str] | None = None,
    read: Sequence[Batch] = (),
) -> None:
    """Bring the index up to date with files that this process has changed.

    Parameters
    ----------
    store : Store
    root : str
        The folder.
    written, removed : iterable of str
        Files, by path relative to the root.
    same_pixels : collection of str
        Those of the written ones of which only the header is another: arrays go on reading them.
    moved : mapping of str to str, optional
        Written ones that have the pixels of a removed one: arrays of that go on reading them.
    read : sequence of Batch
        What was found in written ones before they had their places.
    """
    gone = set(removed)
    rows: dict[str, FileRow] = {}
    if gone:
        rows = {row.path: row for row in store.files().values() if row.path in gone}
    follow = {new: rows[old].id for new, old in (moved or {}).items() if old in rows}
    unread = set(written)
    for batch in read:
        for number, path in enumerate(batch.paths):
            with suppress(OSError):  # another program has removed it: reading it tells
                if batch.findings.versions.get(number) == version_of(os.stat(f"{root}/{path}")):
                    unread.discard(path)
    found = list(read)
    if unread:
        with closing(batches(root, sorted(unread))) as reading:
            found += reading
    with _uninterrupted():
        again = apply(store, found, rows.values(), same_pixels=same_pixels, moved=follow)
        # Files with the SOPInstanceUID of one that has gone come in.
        if again:
            with closing(batches(root, again)) as reading:
                apply(store, list(reading))


class _Look:
    """Size and modification time of the files of a folder, as they are now."""

    def __init__(self, root: str) -> None:
        self._root = root

    def __call__(self, path: str) -> tuple[int, int] | None:
        try:
            return version_of(os.stat(f"{self._root}/{path}"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:  # there, but not to be looked at
            return -1, -1


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: what is not stored whole is lost."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where signals do not arrive
        return
    pressed: list[tuple[int, FrameType | None]] = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            before(*pressed[0])


@contextmanager
def _keeping(
    store: Store, again: list[str], look: _Look | None
) -> Iterator[Callable[[Batch], None]]:
    """Collect batches and store them now and then, and also when interrupted."""
    waiting: list[Batch] = []
    count = kept = 0
    since = time.monotonic()
    took = 0.0

    def store_now() -> None:
        nonlocal count, kept, since, took
        start = time.monotonic()
        if waiting:
            with _uninterrupted():
                again.extend(apply(store, waiting, look=look))
                waiting.clear()
        kept += count
        count, since = 0, time.monotonic()
        took = since - start

    def keep(batch: Batch) -> None:
        nonlocal count
        waiting.append(batch)
        count += len(batch.paths)
        # A series is written anew each time, so the more there is, the less often.
        if count >= max(_KEEP_AFTER_FILES, kept) or time.monotonic() - since > max(
            _KEEP_AFTER_SECONDS, 4 * took
        ):
            store_now()

    try:
        yield keep
    finally:
        store_now()


def _listing(root: str) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Return size and modification time of each file, and the folders that cannot be listed.

    All by path relative to the root. Such a folder stands among the files too, so that reading it
    tells why.
    """
    files: dict[str, tuple[int, int]] = {}
    unreadable: list[str] = []
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
                        if is_temporary(entry.name):
                            continue
                        if entry.is_dir():
                            if entry.name == FOLDER_NAME:
                                if not relative and os.path.isdir(f"{path}/{name}/{STAGED_NAME}"):
                                    own = f"{name}/{STAGED_NAME}"
                                    folders.append((own, f"{path}/{own}"))
                            else:
                                (links if entry.is_symlink() else folders).append(
                                    (name, entry.path)
                                )
                            continue
                        status = entry.stat()
                        files[name] = version_of(status)
                    except OSError:  # a link to nowhere, or gone since: reading it will tell
                        files[name] = (-1, -1)
        except OSError as error:
            if not relative:
                raise
            if not isinstance(error, FileNotFoundError):
                unreadable.append(relative)
                files[relative] = (-1, -1)
    return dict(sorted(files.items())), unreadable
