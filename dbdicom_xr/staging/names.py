"""Names for new files: readable, and such that every operating system takes them."""

from __future__ import annotations

import os
from collections.abc import Callable

from dbdicom_xr.names import safe_name

__all__ = ["NewPaths", "safe_name"]


class NewPaths:
    """Paths for files that are to be made in a folder, all different from those that are there.

    Parameters
    ----------
    root : str
    exists : callable
        Whether there is something at a path.
    """

    def __init__(self, root: str, exists: Callable[[str], bool] = os.path.lexists) -> None:
        self._root = root
        self._exists = exists
        self._taken: set[str] = set()
        self._next: dict[tuple[str, str], int] = {}

    def of(self, folder: str, name: str, ending: str = ".dcm") -> str:
        """Return the path of a new file, relative to the root.

        Parameters
        ----------
        folder : str
            Relative to the root, "" for itself.
        name : str
            Without the ending; followed by a number where it is taken.
        """
        number = self._next.get((folder, name), 1)
        while True:
            full = f"{name}{ending}" if number == 1 else f"{name} ({number}){ending}"
            path = f"{folder}/{full}" if folder else full
            number += 1
            # Case makes no difference on Windows and macOS.
            if path.lower() not in self._taken and not self._exists(f"{self._root}/{path}"):
                self._taken.add(path.lower())
                self._next[folder, name] = number
                return path
