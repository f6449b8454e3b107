"""Keep a folder named ``dl`` in the working directory from breaking ``import pydicom``.

Where python-gdcm is installed, pydicom imports it, and it tries ``import dl``, a module that left
Python with version 3. A folder of that name (deep learning) is then taken for it, and pydicom
fails with an AttributeError. So gdcm is imported here once, before pydicom, while ``dl`` cannot
be found. This module imports nothing of the package, nor pydicom.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from importlib.util import find_spec

__all__ = ["import_gdcm"]


def import_gdcm() -> None:
    """Import gdcm, if it is installed, in a way that a module named ``dl`` does not disturb.

    Examples
    --------
    >>> import_gdcm()
    >>> "dl" in sys.modules
    False
    """
    if "gdcm" in sys.modules or find_spec("dl") is None or find_spec("gdcm") is None:
        return
    absent = object()
    users = sys.modules.get("dl", absent)
    sys.modules["dl"] = None  # type: ignore[assignment]  # so that `import dl` is an ImportError
    try:
        with contextlib.suppress(ImportError):  # as pydicom does
            importlib.import_module("gdcm")
    finally:
        if users is absent:
            del sys.modules["dl"]
        else:
            sys.modules["dl"] = users  # type: ignore[assignment]
