"""Stops or refuses a process at each call that changes anything on the disk."""

from __future__ import annotations

import builtins
import errno
import functools
import os
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dbdicom_xr.staging import durable, splice

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CALLS = (
    "write", "pwrite", "fsync", "ftruncate", "truncate", "link", "symlink", "rename", "replace",
    "unlink", "remove", "mkdir", "rmdir", "chmod", "utime", "sendfile", "copy_file_range",
)  # fmt: skip
# What needs room on the disk. In SQLite that is the commit, which writes what changed.
_NEED_ROOM = {
    "open", "write", "writev", "pwrite", "link", "symlink", "mkdir", "sendfile", "copy_file_range",
    "COMMIT",
}  # fmt: skip

Before = Callable[[str, tuple[Any, ...]], None]


@contextmanager
def watched(before: Before) -> Iterator[None]:
    """Call ``before(name, arguments)`` before each call that changes anything on the disk."""
    kept: list[tuple[Any, str, Any]] = [
        (os, name, getattr(os, name)) for name in (*_CALLS, "open") if hasattr(os, name)
    ]
    kept += [
        (builtins, "open", builtins.open),
        (durable, "_sync_disk", durable._sync_disk),
        (splice, "_copy_file_range", splice._copy_file_range),
        (splice, "_writev", splice._writev),
        (sqlite3, "connect", sqlite3.connect),
    ]

    def wrapped(name: str, real: Any) -> Any:
        @functools.wraps(real)
        def call(*arguments: Any, **options: Any) -> Any:
            before(name, arguments)
            return real(*arguments, **options)

        return call

    real_open, real_built_in = os.open, builtins.open

    def os_open(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & _WRITING:
            before("open", (path, flags))
        return real_open(path, flags, *arguments, **options)

    def built_in(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            before("open", (path, mode))
        return real_built_in(path, mode, *arguments, **options)

    class Connection(sqlite3.Connection):
        changes = 0  # before the transaction

        def execute(self, sql: str, *arguments: Any) -> Any:  # type: ignore[override]
            if sql.startswith("BEGIN"):
                self.changes = self.total_changes
            if sql != "COMMIT" or self.total_changes == self.changes:
                return super().execute(sql, *arguments)
            before("COMMIT", ())
            done = super().execute(sql, *arguments)
            before("COMMITTED", ())
            return done

    for module, name, real in kept:
        if module is os and name != "open":
            setattr(os, name, wrapped(name, real))
    durable._sync_disk = wrapped("syncfs", durable._sync_disk)
    for name in ("copy_file_range", "writev"):
        if (real := getattr(splice, f"_{name}")) is not None:
            setattr(splice, f"_{name}", wrapped(name, real))
    os.open = os_open  # type: ignore[assignment]
    builtins.open = built_in  # type: ignore[assignment]
    sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)  # type: ignore
    try:
        yield
    finally:
        for module, name, real in kept:
            setattr(module, name, real)


class Refusing:
    """Refuses the call of one number, or it and those after it; counts the calls.

    Parameters
    ----------
    number : int
        From 1.
    code : int
        Of the error: ``errno.ENOSPC``...
    until : int or None
        The last call that is refused, None for all that follow.
    """

    def __init__(self, number: int, code: int, until: int | None) -> None:
        self.number, self.code, self.until = number, code, until
        self.calls = 0
        self.refused = ""
        self.over = False

    def __call__(self, name: str, arguments: tuple[Any, ...]) -> None:
        if self.over:  # a connection that was made under watch stays watched
            return
        self.calls += 1
        if self.calls < self.number or (self.until is not None and self.calls > self.until):
            return
        if name == "COMMITTED" or (self.code == errno.ENOSPC and name not in _NEED_ROOM):
            return  # it has happened, or can happen
        self.refused = self.refused or name
        if name == "COMMIT":
            # What SQLite says where a write that it makes is refused.
            full = self.code in (errno.ENOSPC, errno.EDQUOT)
            readonly = self.code == errno.EROFS
            raise sqlite3.OperationalError(
                "database or disk is full" if full
                else "attempt to write a readonly database" if readonly
                else "disk I/O error"
            )  # fmt: skip
        path = next((str(word) for word in arguments if isinstance(word, str)), None)
        raise OSError(self.code, os.strerror(self.code), path)


def killing(number: int) -> Before:
    """End the process before the call of that number, as ``kill -9`` would."""
    count = 0

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += 1
        if count == number:
            os._exit(9)

    return before


def nothing(name: str, arguments: tuple[Any, ...]) -> None:
    """Stop nothing."""


def in_child(action: Callable[[], Any], before: Before = nothing) -> tuple[int, Any]:
    """Run something in a forked process; return its exit code, and what it returned.

    The code is 9 where it was killed, 1 where it raised; then the second is the error in words.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code, result = 1, None
        try:
            os.close(reading)
            with watched(before):
                result = action()
            code = 0
        except BaseException:
            import traceback

            result = traceback.format_exc()
        finally:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(pickle.dumps(result))
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, pickle.loads(data) if data else None
