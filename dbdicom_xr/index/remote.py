"""Folders of other computers: what is in them, and ranges of the bytes of their files.

A store is whatever fsspec reaches. ``stores`` asks it; here are the patience (tries, waiting) and
the connections, which each process makes for itself.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeVar

from dbdicom_xr.errors import ConnectionLost, DbdicomError, StaleArray
from dbdicom_xr.index.files import Version
from dbdicom_xr.index.remote_errors import explained, lost, was_answered
from dbdicom_xr.index.roots import RemoteRoot
from dbdicom_xr.index.rows import FileRow
from dbdicom_xr.index.stores import AsyncStore, Got, PlainStore, store_at

__all__ = ["Place", "RemoteFolder"]

T = TypeVar("T")

Place = tuple[str, int, int]
"""A file by its path in the folder, the first byte, and the one behind the last."""

_TRIES: Final = 5
_FIRST_WAIT: Final = 0.2
"""Seconds before the second try; each time twice as long."""
_SECONDS: Final = 60.0
"""For one request, and as long again for each 8 MB that it asks for."""
_AT_ONCE: Final = 32
_FEW: Final = 3
"""Requests that may fail before it matters how many of the others do."""
_GAP: Final = 4096
"""Bytes between two places that are read along rather than asked for apart."""
_LONGEST: Final = 8 << 20
"""Bytes of places that are put together to one request."""


class RemoteFolder:
    """A folder behind a URL, read by any number of threads.

    Parameters
    ----------
    root : RemoteRoot
    """

    def __init__(self, root: RemoteRoot) -> None:
        self.root = root
        self._made: AsyncStore | PlainStore | None = None
        self._making = threading.Lock()
        self._empty: set[str] = set()  # files without a byte, of which no range can be asked for

    def __repr__(self) -> str:
        return f"<RemoteFolder {self.root!s}>"

    def _store(self) -> AsyncStore | PlainStore:
        with self._making:
            if self._made is None:
                self._made = self._explaining(
                    lambda: store_at(str(self.root), self.root.storage_options)
                )
            return self._made

    def _explaining(self, make: Callable[[], T], file: str = "") -> T:
        try:
            return make()
        except DbdicomError:
            raise
        except Exception as error:
            told = explained(error, self.root, file) or lost(error, self.root, 1, 0.0, file)
        raise told

    def listing(self, known: Collection[str]) -> tuple[dict[str, Version], list[str]]:
        """Return the files by path, and the folders that cannot be listed.

        Parameters
        ----------
        known : collection of str
            Files of which the version is asked for, where that costs a request; of others it may
            be (-1, -1).

        Raises
        ------
        MissingFolder, FolderNotReadable, ConnectionLost
        """
        store = self._store()
        if isinstance(store, PlainStore):
            with self._making:
                self._made = None  # an archive is looked at anew
            store = self._store()
            assert isinstance(store, PlainStore)
            plain = store
            listed = self._explaining(plain.listing)
            unreadable: list[str] = []
        else:
            listed, unreadable = self._run(self._listed(store, known))
        self._empty = {path for path, version in listed.items() if version[0] == 0}
        return dict(sorted(listed.items())), unreadable

    async def _listed(
        self, store: AsyncStore, known: Collection[str]
    ) -> tuple[dict[str, Version], list[str]]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def patient(call: Callable[[], Awaitable[Any]]) -> Any:
            async with room:
                return await self._tried(call, 0)

        try:
            return await store.listing(patient, known)
        except DbdicomError:
            raise
        except FileNotFoundError as error:
            told = explained(error, self.root) or error
        raise told

    def fetch(self, places: Sequence[Place]) -> list[Got | DbdicomError]:
        """Return the bytes of some places, or why there are none; each costs one request.

        Raises
        ------
        ConnectionLost
            The store did not answer, time and again, or not for most of them. Where it answers
            for the others, one that it cannot send is among what is returned.
        """
        store = self._store()
        if isinstance(store, PlainStore):
            return [self._plain(store, place) for place in places]
        answers: list[Got | DbdicomError] = self._run(self._fetched(store, places))
        return answers

    def _plain(self, store: PlainStore, place: Place) -> Got | DbdicomError:
        try:
            return self._explaining(lambda: store.get(*place), place[0])
        except ConnectionLost:
            raise
        except DbdicomError as error:
            return error

    async def _fetched(
        self, store: AsyncStore, places: Sequence[Place]
    ) -> list[Got | DbdicomError]:
        room = asyncio.Semaphore(_AT_ONCE)
        came = failed = 0

        async def one(path: str, start: int, stop: int) -> Got | DbdicomError:
            nonlocal came, failed
            if path in self._empty:
                return Got(b"", (0, 0))
            async with room:
                try:
                    got: Got = await self._tried(
                        lambda: store.get(path, start, stop), stop - start, path
                    )
                except ConnectionLost as error:
                    failed += 1
                    if failed > max(came, _FEW) or not (came or was_answered(error)):
                        raise
                    return error
                except DbdicomError as error:
                    return error
                came += 1
                return got

        tasks = [asyncio.ensure_future(one(*place)) for place in places]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _tried(self, call: Callable[[], Awaitable[T]], size: int, file: str = "") -> T:
        """Do something that may need several tries."""
        began = time.monotonic()
        for number in range(_TRIES):
            if number:
                await asyncio.sleep(_FIRST_WAIT * 2 ** (number - 1))
            try:
                return await asyncio.wait_for(call(), _SECONDS * (1 + size / (8 << 20)))
            except DbdicomError:
                raise
            except Exception as error:
                told = explained(error, self.root, file)
                last = error
            if told is not None:
                raise told
        raise lost(last, self.root, _TRIES, time.monotonic() - began, file)

    def _run(self, work: Any) -> Any:
        from fsspec.asyn import sync

        store = self._store()
        assert isinstance(store, AsyncStore)
        return sync(store.loop, lambda: work)

    # -- files of the index --------------------------------------------------------------------

    def read(self, file: FileRow, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return bytes of a file that is still the one that was indexed.

        Parameters
        ----------
        file : FileRow
        places : sequence of (int, int)
            Offset and length of each.

        Raises
        ------
        StaleArray
            It changed or vanished.
        """
        return self.read_many([(file, *place) for place in places])

    def read_many(self, places: Sequence[tuple[FileRow, int, int]]) -> list[bytes]:
        """Return bytes of files that are still those that were indexed.

        Places of one file that lie close together are asked for together, so that each frame
        costs one request, or less.

        Parameters
        ----------
        places : sequence of (FileRow, int, int)
            File, offset and length.

        Raises
        ------
        StaleArray
            A file changed or vanished.
        """
        found = [b""] * len(places)
        order = sorted(
            (file.path, offset, offset + length, number)
            for number, (file, offset, length) in enumerate(places)
            if length > 0
        )
        runs: list[tuple[Place, list[tuple[int, int, int]]]] = []
        for path, start, stop, number in order:
            part = (start, stop, number)
            if runs:
                (before, first, last), parts = runs[-1]
                if before == path and start - last <= _GAP and stop - first <= _LONGEST:
                    parts.append(part)
                    runs[-1] = ((path, first, max(last, stop)), parts)
                    continue
            runs.append(((path, start, stop), [part]))
        for ((path, first, _), parts), got in zip(
            runs, self.fetch([place for place, _ in runs]), strict=True
        ):
            file = places[parts[0][2]][0]
            if isinstance(got, DbdicomError):
                if isinstance(got, FileNotFoundError):
                    raise self._stale(path, "vanished")
                raise got
            if got.version != (file.size, file.mtime):
                raise self._stale(path, "changed")
            for start, stop, number in parts:
                found[number] = got.data[start - first : stop - first]
        return found

    def _stale(self, path: str, what: str) -> StaleArray:
        return StaleArray(
            f"{self.root!s}/{path} has {what} since it was indexed. If that was meant, open the "
            "database again, or database.scan(), and make the array anew."
        )

    def whole(self, files: Iterable[FileRow]) -> list[bytes]:
        """Return all bytes of files that are still those that were indexed."""
        return self.read_many([(file, 0, file.size) for file in files])
