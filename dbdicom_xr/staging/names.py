"""Names for new files: readable, and such that every operating system takes them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable

__all__ = ["NewPaths", "safe_name"]

# Names that Windows keeps for devices, with any ending.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_LONGEST = 60


def safe_name(text: str, otherwise: str) -> str:
    """Return a name for a file or folder.

    Parameters
    ----------
    text : str
        What it should be called.
    otherwise : str
        What it is called where nothing of that can be used.

    Examples
    --------
    >>> safe_name("T1 w/o fat: 3/4*", "series"), safe_name("../..", "series"), safe_name("NUL", "x")
    ('T1 w_o fat_ 3_4_', 'series', 'NUL_')
    """
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    text = re.sub(r"[^A-Za-z0-9 ._()+=,@-]", "_", text)
    text = re.sub(r"\s+", " ", text)[:_LONGEST].strip(" .")
    if not re.search(r"[A-Za-z0-9]", text):
        return otherwise
    return f"{text}_" if _DEVICES.fullmatch(text) else text


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
