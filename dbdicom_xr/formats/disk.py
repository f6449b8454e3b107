"""Files that are either whole or not there: written under another name, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from dbdicom_xr.index.files import TEMPORARY_SUFFIX

__all__ = ["whole_files"]


@contextmanager
def whole_files(paths: Sequence[str]) -> Iterator[list[str]]:
    """Give names to write files under, which become those of `paths` when all is written.

    Parameters
    ----------
    paths : sequence of str
        In one folder. What is there is replaced.

    Yields
    ------
    list of str
        As many names in the same folder. Where the block fails, none of them is left behind.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with whole_files([f"{folder}/a.txt"]) as names, open(names[0], "w") as file:
    ...     _ = file.write("text"), os.listdir(folder) == [os.path.basename(names[0])]
    >>> os.listdir(folder)
    ['a.txt']
    """
    names = [
        os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        for path in paths
    ]
    try:
        yield names
        for name, path in zip(names, paths, strict=True):
            os.replace(name, path)
    except BaseException:
        for name in names:
            with suppress(FileNotFoundError):
                os.remove(name)
        raise
