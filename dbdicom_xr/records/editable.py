"""What can be done to a record: its attributes set, its place changed, all of it saved or undone.

Every change is staged: on the disk, visible to every read, and taken back by ``restore``. No
DICOM file is touched before ``save``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dbdicom_xr.errors import InvalidValue, UnknownKeyword
from dbdicom_xr.records.attributes.lookup import Attribute, Name, is_attribute_name, parse_name
from dbdicom_xr.records.current import of_one_change
from dbdicom_xr.records.other_levels import where_else

if TYPE_CHECKING:
    from dbdicom_xr.records.record import Record
    from dbdicom_xr.staging.changing import Change

__all__ = ["Editable"]


class Editable:
    """The half of a record that changes things."""

    __slots__ = ()

    # -- attributes --------------------------------------------------------------------------

    def _has(self, attribute: Attribute) -> bool:
        raise NotImplementedError

    def _of_keyword(self, keyword: str) -> Attribute:
        """Return the attribute of ``record.keyword``."""
        try:
            return parse_name(keyword, self._has)
        except UnknownKeyword:
            elsewhere = where_else(self.level, keyword)  # type: ignore[attr-defined]
            if elsewhere:
                raise UnknownKeyword(elsewhere) from None
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self._set(self._of_keyword(name), value)

    def __delattr__(self, name: str) -> None:
        self._set(self._of_keyword(name), None)

    def __setitem__(self, name: Any, value: Any) -> None:
        if isinstance(name, list):
            self._set_several(name, value)
        elif isinstance(name, str) and not is_attribute_name(name) and "/" in name:
            self._set_below(name, value)
        else:
            self._set(parse_name(name, self._has), value)

    def __delitem__(self, name: Any) -> None:
        self[name] = [None] * len(name) if isinstance(name, list) else None

    def _set_below(self, name: str, value: Any) -> None:
        """Set an attribute of a record below, by its path; a private name may have a "/" too."""
        path, _, last = name.rpartition("/")
        try:
            owner = self[path or "/"]  # type: ignore[index]
        except UnknownKeyword:
            owner = None
        if isinstance(owner, Editable):
            owner[last] = value
        else:
            self._set(parse_name(name, self._has), value)

    def _set_several(self, names: Sequence[Name], values: Any) -> None:
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise InvalidValue(
                f"{len(names)} attributes need a list of {len(names)} values, not {values!r}."
            )
        if len(values) != len(names):
            raise InvalidValue(f"{len(names)} attributes were given {len(values)} values.")
        attributes = [parse_name(name, self._has) for name in names]
        with self.database.batch():  # type: ignore[attr-defined]
            for attribute, value in zip(attributes, values, strict=True):
                self._set(attribute, value)

    @of_one_change
    def _set(self, attribute: Attribute, value: Any) -> None:
        from dbdicom_xr.records.editing.edits import set_attribute

        set_attribute(self, attribute, value)  # type: ignore[arg-type]

    @of_one_change
    def set_values(self, name: Name, values: Sequence[Any]) -> None:
        """Set an attribute frame by frame.

        Parameters
        ----------
        name : name
            As in ``record[name]``.
        values : sequence
            One value per frame, in the order of ``instances()`` (and of the frames inside a
            multi-frame instance). None takes the attribute away.

        Raises
        ------
        InvalidValue
            There are more or fewer values than frames, or one is not valid; nothing is changed.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> series.set_values("EchoTime", [2.0] * 15 + [4.0] * 15)
        >>> series.EchoTime
        [2.0, 4.0]
        >>> series.restore()
        """
        from dbdicom_xr.records.editing.edits import set_values

        set_values(self, parse_name(name, self._has), values)  # type: ignore[arg-type]

    def _set_made(self, change: Change, attribute: Attribute, value: Any) -> None:
        """Let an attribute hold for what comes into the record too, if it was made by hand."""

    # -- new records -------------------------------------------------------------------------

    def new_patient(self, **attributes: Any) -> Any:
        """Make a patient, with a PatientID of its own unless one is given. See ``new_series``."""
        return self._make("patient", attributes)

    def new_study(self, **attributes: Any) -> Any:
        """Make a study in the patient of the record, or in a new one. See ``new_series``."""
        return self._make("study", attributes)

    def new_series(self, **attributes: Any) -> Any:
        """Make an empty series in the study of the record, or in a new one below it.

        Parameters
        ----------
        **attributes
            They hold for all instances that come into it.

        Returns
        -------
        Series

        Raises
        ------
        UnknownKeyword, InvalidValue
            An attribute that does not exist, or a value that it cannot have.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> database = db.database(tempfile.mkdtemp())
        >>> series = database.new_series(PatientName="Phantom", SeriesDescription="T1 map")
        >>> series.SeriesDescription, series.parent.parent.PatientName
        (['T1 map'], ['Phantom'])
        >>> database.close(save=False)
        """
        return self._make("series", attributes)

    def new_instance(self, **attributes: Any) -> Any:
        """Make an instance without pixels in the series of the record. See ``new_series``."""
        return self._make("instance", attributes)

    def new_child(self, **attributes: Any) -> Any:
        """Make a record one level below: in a patient a study. See ``new_series``."""
        return self._make(self._level_from(1), attributes)

    def new_sibling(self, **attributes: Any) -> Any:
        """Make a record of the same level under the same parent. See ``new_series``."""
        return self._make(self._level_from(0), attributes)

    def new_pibling(self, **attributes: Any) -> Any:
        """Make a sibling of the parent: for a series another study. See ``new_series``."""
        return self._make(self._level_from(-1), attributes)

    def _level_from(self, step: int) -> str:
        from dbdicom_xr.records.tree import LEVELS

        place = LEVELS.index(self.level) + step  # type: ignore[attr-defined]
        if not 1 <= place <= 4:
            words = {1: "child", 0: "sibling", -1: "pibling"}
            raise InvalidValue(f"{self!r} can have no new {words[step]}.")
        return LEVELS[place]

    @of_one_change
    def _make(self, level: str, attributes: Mapping[str, Any]) -> Record:
        from dbdicom_xr.records.editing.making import make

        return make(self, level, attributes)  # type: ignore[arg-type]

    # -- copies and moves --------------------------------------------------------------------

    @of_one_change
    def copy(self, /, **attributes: Any) -> Any:
        """Copy the record, with all that is below it, to its own parent. See ``copy_to``."""
        from dbdicom_xr.records.editing.structure import copy_to

        return copy_to(self, self.parent, attributes)  # type: ignore[attr-defined]

    @of_one_change
    def copy_to(self, /, parent: Any, **attributes: Any) -> Any:
        """Copy the record, with all that is below it, to another parent.

        The copies have new UIDs. What describes the patient and the study is that of the new
        parent. They take no room on the disk before they are saved.

        Parameters
        ----------
        parent : Record
            Of the level above: a study for a series.
        **attributes
            Set in the copies.

        Returns
        -------
        Record
            The copy.

        Raises
        ------
        InvalidValue
            It cannot stand there.
        """
        from dbdicom_xr.records.editing.structure import copy_to

        return copy_to(self, parent, attributes)

    @of_one_change
    def move_to(self, parent: Any) -> Any:
        """Move the record, with all that is below it, under another parent.

        UIDs of instances stay. What describes the patient and the study becomes that of the new
        parent.

        Parameters
        ----------
        parent : Record
            Of the level above: a study for a series.

        Returns
        -------
        Record
            The record.

        Raises
        ------
        InvalidValue
            It cannot stand there.
        """
        from dbdicom_xr.records.editing.structure import move_to

        return move_to(self, parent)

    @of_one_change
    def remove(self) -> None:
        """Take the record, with all that is below it, out of the database.

        Its files are deleted when the database is saved, and not before.
        """
        from dbdicom_xr.records.editing.structure import remove

        remove(self)

    def merge(
        self, *others: Any, into: Any = None, inplace: bool = False, **attributes: Any
    ) -> Any:
        """Put what is in this record and in others into one new sibling; see ``db.merge``."""
        from dbdicom_xr.records.editing.combine import merge

        return merge([self, *others], into=into, inplace=inplace, **attributes)

    # -- saving ------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | None = None) -> list[str]:
        """Write what is staged of the record into the DICOM files, or the record into a folder.

        All of it is written, or where something goes wrong nothing.

        Parameters
        ----------
        path : path-like, optional
            A folder, made if missing. The record is written there as new DICOM files, with what
            is staged of it, in sub-folders by patient, study and series; no file is overwritten,
            and what is staged stays so. A database without a folder has it there from then on.

        Returns
        -------
        list of str
            The files that were written into ``path``; empty without it.

        Raises
        ------
        SaveFailed
            A file cannot be written; all files are as they were.
        LayoutError
            Attributes that describe the pixels contradict them.
        Locked
            Another process is changing the database.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> series = db.zeros((3, 128, 96))
        >>> files = series.save(tempfile.mkdtemp())
        >>> len(files)
        3
        """
        if path is not None:
            from dbdicom_xr.records.editing.saving_to import save_to

            return save_to(self, path)
        from dbdicom_xr.records.editing.saving import save

        save(self)
        return []

    def restore(self, *names: Name) -> None:
        """Undo what is staged of the record, also its removal or move.

        What was made since the last save, and stands in it, goes. A warning tells where that
        takes back what was set on its patient or study, not on the record alone.

        Parameters
        ----------
        *names : name, optional
            As in ``record[name]``. Only what is staged of these attributes is undone.

        Raises
        ------
        UnknownKeyword
            An attribute that does not exist.
        InvalidValue
            An attribute that cannot be undone alone: identifiers, what follows from the place of
            images that were moved or copied, and what stands in functional groups.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> series[["EchoTime", "ProtocolName"]] = [99, "VFA"]
        >>> series.restore("EchoTime")
        >>> series.EchoTime.item() == 99, series.ProtocolName
        (False, ['VFA'])
        >>> series.restore()
        """
        from dbdicom_xr.records.editing.restoring import restore, restore_attributes

        if names:
            restore_attributes(self, names)
        else:
            restore(self)
