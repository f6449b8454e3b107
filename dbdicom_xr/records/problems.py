"""Files about which there is something to say, as a list that reads as a table."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Problem", "Problems"]


class Problem(NamedTuple):
    """A file about which there is something to say.

    ``kept`` tells whether it stands in the tree all the same.
    """

    file: str
    reason: str
    kept: bool


class Problems(list[Problem]):
    """The problems of a database, shown as a table; as a list it has every text in full.

    Examples
    --------
    >>> problems = Problems([Problem("/data/notes.txt", "not a DICOM file", False)])
    >>> print(problems)
       file             reason            kept
    0  /data/notes.txt  not a DICOM file  False
    >>> problems[0].reason
    'not a DICOM file'
    """

    def __repr__(self) -> str:
        """Return the table as text."""
        if not self:
            return "[]"
        from dbdicom_xr.records.shown_whole import ShownWhole

        return repr(ShownWhole(list(self), columns=list(Problem._fields)))

    def _repr_html_(self) -> str | None:
        """Return the table for notebooks."""
        if not self:
            return None
        from dbdicom_xr.records.shown_whole import ShownWhole

        return ShownWhole(list(self), columns=list(Problem._fields))._repr_html_()
