"""The words that every record has to talk to the person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dbdicom_xr.interact import current
from dbdicom_xr.interact.fields import Field, check_field
from dbdicom_xr.interact.protocol import Answer, FrontEnd


@dataclass
class Voice:
    """Whether a database speaks; all its records share one.

    Attributes
    ----------
    muted : bool
        Whether messages and progress are withheld. What a dialog says or asks is not: an error
        must be seen, and a question needs its answer.
    """

    muted: bool = False

    @property
    def front_end(self) -> FrontEnd:
        """The front end in use."""
        return current.front_end()


class Status:
    """The status line: messages and progress, nothing that waits."""

    __slots__ = ("_voice",)

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def message(self, text: str) -> None:
        """Show a text, unless muted."""
        if not self._voice.muted:
            self._voice.front_end.message(str(text))

    def progress(self, value: float, maximum: float, text: str = "") -> None:
        """Show that `value` parts of `maximum` are done, unless muted.

        Parameters
        ----------
        value, maximum : float
            Counted from 0. ``value >= maximum`` (0 of 0 too) ends the job and clears the line.
        text : str
            What is being done.
        """
        if not self._voice.muted:
            self._voice.front_end.progress(value, maximum, str(text))

    def hide(self) -> None:
        """Clear the progress that is shown."""
        self._voice.front_end.progress(0, 0, "")


class Dialog:
    """What is told or asked with weight: it is shown also while the database is muted.

    Every question raises :class:`~dbdicom_xr.errors.NoPerson` where nobody can answer.
    `decides` is for callers that offer an argument instead of the question, as in
    ``decides="save=True or save=False"``; the error then names it.
    """

    __slots__ = ("_voice",)

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def information(self, message: str, title: str = "") -> None:
        """Tell something. Does not wait."""
        self._voice.front_end.notice("information", str(message), title)

    def warning(self, message: str, title: str = "") -> None:
        """Warn of something. Does not wait."""
        self._voice.front_end.notice("warning", str(message), title)

    def error(self, message: str, title: str = "") -> None:
        """Report a failure. Does not wait, and raises nothing."""
        self._voice.front_end.notice("error", str(message), title)

    def question(
        self, message: str, cancel: bool = True, *, title: str = "", decides: str = ""
    ) -> Answer:
        """Ask for yes or no.

        Parameters
        ----------
        message : str
            The question.
        cancel : bool
            Whether "Cancel" is an answer too.
        title : str
            Of the window, where there is one.
        decides : str
            The argument that makes the question unnecessary.

        Returns
        -------
        {"Yes", "No", "Cancel"}

        Raises
        ------
        NoPerson
            If no person is there to answer.

        Examples
        --------
        >>> from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
        >>> with use_front_end(ScriptedFrontEnd(answers=["Yes"])):
        ...     Dialog(Voice()).question("Do you wish to proceed?", cancel=True)
        'Yes'
        """
        front_end = self._voice.front_end
        return front_end.question(str(message), title=title, cancel=bool(cancel), decides=decides)

    def directory(
        self, message: str = "Folder", start: str | None = None, *, decides: str = ""
    ) -> str | None:
        """Ask for a folder that exists; None if the person gives none."""
        return self._voice.front_end.path("directory", message, start=start, decides=decides)

    def file_to_open(
        self, message: str = "File to open", start: str | None = None, *, decides: str = ""
    ) -> str | None:
        """Ask for a file that exists; None if the person gives none."""
        return self._voice.front_end.path("file_to_open", message, start=start, decides=decides)

    def file_to_save(
        self, message: str = "Save as", start: str | None = None, *, decides: str = ""
    ) -> str | None:
        """Ask for a file to write, in a folder that exists; None if the person gives none.

        Where the file exists already, the person has been asked whether to replace it.
        """
        return self._voice.front_end.path("file_to_save", message, start=start, decides=decides)

    def input(self, *fields: Field, title: str = "", decides: str = "") -> tuple[bool, list[Field]]:
        """Ask for several values.

        Parameters
        ----------
        *fields : Field
            Dictionaries with ``label``, ``type`` and, as the type needs, ``value list minimum
            maximum``; see :class:`Field`.
        title : str
            What the values are for.
        decides : str
            The arguments that make the form unnecessary.

        Returns
        -------
        cancel : bool
            Whether the person cancelled.
        fields : list of Field
            The fields with the ``value`` that was given; after a cancel as they came.

        Raises
        ------
        NoPerson
            If no person is there to answer.
        ValueError
            If a field has no label, an unknown type, or no choices.

        Examples
        --------
        >>> from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
        >>> with use_front_end(ScriptedFrontEnd(answers=[["2.5"]])):
        ...     cancel, filled = Dialog(Voice()).input({"label": "Size (mm)", "type": "float"})
        >>> cancel, filled[0]["value"]
        (False, 2.5)
        """
        for field in fields:
            check_field(field)
        values: list[Any] | None = self._voice.front_end.fields(
            fields, title=title, decides=decides
        )
        if values is None:
            return True, [field.copy() for field in fields]
        filled = [field.copy() for field in fields]
        for field, value in zip(filled, values, strict=True):
            field["value"] = value
        return False, filled


class Talk:
    """What every record can say. A record class gives it the `_voice` of its database."""

    __slots__ = ()

    @property
    def _voice(self) -> Voice:
        raise NotImplementedError

    @property
    def status(self) -> Status:
        """The status line: ``status.message(text)``, ``status.progress(value, maximum, text)``."""
        return Status(self._voice)

    @property
    def dialog(self) -> Dialog:
        """Dialogs with the person: ``dialog.question(text)``, ``dialog.warning(text)``..."""
        return Dialog(self._voice)

    def message(self, text: str) -> None:
        """Show a text, on standard output where there is a terminal, unless muted."""
        self.status.message(text)

    def progress(self, value: float, maximum: float, text: str = "") -> None:
        """Show that `value` parts of `maximum` are done, on one line that is redrawn, unless muted.

        ``value >= maximum`` ends the job and clears the line.
        """
        self.status.progress(value, maximum, text)

    def mute(self) -> None:
        """Withhold messages and progress of the whole database; dialogs still speak."""
        self.status.hide()
        self._voice.muted = True

    def unmute(self) -> None:
        """Show messages and progress again."""
        self._voice.muted = False
