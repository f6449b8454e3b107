"""The words that every record has to talk to the person."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from dbdicom_xr.interact import current
from dbdicom_xr.interact.fields import Field, check_field, filled, without_records
from dbdicom_xr.interact.log import (
    LogFile,
    ProgressJob,
    asked,
    followed,
    logger,
    set_log_file,
)
from dbdicom_xr.interact.protocol import Answer, FrontEnd, PathKind

ALL_FILES = "All files (*.*)"


@dataclass
class Voice:
    """Whether a database speaks; all its records share one.

    Attributes
    ----------
    muted : bool
        Whether messages and progress are withheld. What a dialog says or asks is not: an error
        must be seen, and a question needs its answer. The log has both.
    job : ProgressJob or None
        What ``progress`` was last called for.
    """

    muted: bool = False
    job: ProgressJob | None = field(default=None, compare=False, repr=False)

    @property
    def front_end(self) -> FrontEnd:
        """The front end in use."""
        return current.front_end()


class Status:
    """The status line: messages and progress, nothing that waits."""

    __slots__ = ("_voice",)

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def message(self, message: str) -> None:
        """Show a text, unless muted."""
        logger.info("%s", message)
        if not self._voice.muted:
            self._voice.front_end.message(str(message))

    def progress(self, value: float, maximum: float, message: str | None = "") -> None:
        """Show that `value` parts of `maximum` are done, unless muted.

        Parameters
        ----------
        value, maximum : float
            Counted from 0. ``value >= maximum`` (0 of 0 too) ends the job and clears the line.
        message : str
            What is being done.
        """
        text = "" if message is None else str(message)
        self._voice.job = followed(self._voice.job, value, maximum, text)
        if not self._voice.muted:
            self._voice.front_end.progress(value, maximum, text)

    def hide(self) -> None:
        """Clear the progress that is shown."""
        self._voice.job = followed(self._voice.job, 0, 0, "")
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

    def information(self, message: str = "", title: str = "") -> None:
        """Tell something. Does not wait."""
        logger.info("%s", _with_title(message, title))
        self._voice.front_end.notice("information", str(message), title)

    def warning(self, message: str = "", title: str = "") -> None:
        """Warn of something. Does not wait."""
        logger.warning("%s", _with_title(message, title))
        self._voice.front_end.notice("warning", str(message), title)

    def error(self, message: str = "", title: str = "") -> None:
        """Report a failure. Does not wait, and raises nothing."""
        logger.error("%s", _with_title(message, title))
        self._voice.front_end.notice("error", str(message), title)

    def question(
        self,
        message: str = "Do you wish to proceed?",
        title: str = "",
        cancel: bool = False,
        *,
        decides: str = "",
    ) -> Answer:
        """Ask for yes or no.

        Parameters
        ----------
        message : str
            The question.
        title : str
            What it is about.
        cancel : bool
            Whether "Cancel" is an answer too.
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
        if not isinstance(title, str):  # question(message, True): the order of an early version
            raise TypeError(f"the title of a question is a text, not {title!r}; cancel={title!r}?")
        front_end = self._voice.front_end
        return asked(
            _with_title(message, title),
            lambda: front_end.question(
                str(message), title=title, cancel=bool(cancel), decides=decides
            ),
        )

    def directory(
        self, message: str = "Folder", datafolder: str | None = None, *, decides: str = ""
    ) -> str | None:
        """Ask for a folder that exists; None if the person gives none.

        Parameters
        ----------
        message : str
            What the folder is for.
        datafolder : str, optional
            Where to look from.
        decides : str
            The argument that makes the question unnecessary.

        Raises
        ------
        NoPerson
            If no person is there to answer.
        """
        return self._path("directory", message, datafolder, ALL_FILES, decides)

    def file_to_open(
        self,
        title: str = "File to open",
        initial_folder: str | None = None,
        extension: str = ALL_FILES,
        datafolder: str | None = None,
        *,
        decides: str = "",
    ) -> str | None:
        """Ask for a file that exists; None if the person gives none.

        Parameters
        ----------
        title : str
            What the file is for.
        initial_folder, datafolder : str, optional
            Where to look from; the first counts.
        extension : str
            Said with the title: ``"DICOM files (*.dcm)"``. Other files are taken too.
        decides : str
            The argument that makes the question unnecessary.

        Raises
        ------
        NoPerson
            If no person is there to answer.
        """
        start = datafolder if initial_folder is None else initial_folder
        return self._path("file_to_open", title, start, extension, decides)

    def file_to_save(
        self,
        title: str = "Save as",
        directory: str | None = None,
        filter: str = ALL_FILES,
        datafolder: str | None = None,
        *,
        decides: str = "",
    ) -> str | None:
        """Ask for a file to write, in a folder that exists; None if the person gives none.

        Where the file exists already, the person has been asked whether to replace it.

        Parameters
        ----------
        title : str
            What the file is for.
        directory, datafolder : str, optional
            Where to look from; the first counts.
        filter : str
            Said with the title: ``"CSV files (*.csv)"``. Other names are taken too.
        decides : str
            The argument that makes the question unnecessary.

        Raises
        ------
        NoPerson
            If no person is there to answer.
        """
        start = datafolder if directory is None else directory
        return self._path("file_to_save", title, start, filter, decides)

    def _path(
        self, kind: PathKind, message: str, start: str | None, files: str, decides: str
    ) -> str | None:
        text = str(message) if files == ALL_FILES else f"{message}, {files}"
        front_end = self._voice.front_end
        return asked(text, lambda: front_end.path(kind, text, start=start, decides=decides))

    def input(self, *fields: Field, title: str = "", decides: str = "") -> tuple[bool, list[Any]]:
        """Ask for several values.

        Parameters
        ----------
        *fields : Field
            Dictionaries with ``label``, ``type`` and, as the type needs, ``value list minimum
            maximum options default``; see :class:`Field`.
        title : str
            What the values are for.
        decides : str
            The arguments that make the form unnecessary.

        Returns
        -------
        cancel : bool
            Whether the person cancelled.
        fields : list of Field
            The fields with the ``value`` that was given; after a cancel as they came. For a field
            that selects records: the record, the list of records, or None.

        Raises
        ------
        NoPerson
            If no person is there to answer.
        InvalidValue
            If a field has no label, an unknown type, or no choices.

        Examples
        --------
        >>> from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
        >>> with use_front_end(ScriptedFrontEnd(answers=[["2.5"]])):
        ...     cancel, filled = Dialog(Voice()).input({"label": "Size (mm)", "type": "float"})
        >>> cancel, filled[0]["value"]
        (False, 2.5)
        """
        plain = [without_records(one) for one in fields]
        for one in plain:
            check_field(one)
        front_end = self._voice.front_end
        labels = ", ".join(one["label"] for one in plain)
        values: list[Any] | None = asked(
            _with_title(labels, title),
            lambda: front_end.fields(plain, title=title, decides=decides),
        )
        if values is None:
            return True, [one.copy() for one in fields]
        return False, [filled(one, value) for one, value in zip(fields, values, strict=True)]


def _with_title(text: str, title: str) -> str:
    return f"{title}: {text}" if title else str(text)


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

    def message(self, message: str) -> None:
        """Show a text, on standard output where there is a terminal, unless muted."""
        self.status.message(message)

    def progress(self, value: float, maximum: float, message: str | None = "") -> None:
        """Show that `value` parts of `maximum` are done, on one line that is redrawn, unless muted.

        ``value >= maximum`` ends the job and clears the line.
        """
        self.status.progress(value, maximum, message)

    def log(self, message: str) -> None:
        """Show a text as :meth:`message` does; what is shown is written in the log file too."""
        self.message(message)

    def set_log(self, path: str | os.PathLike[str]) -> LogFile:
        """Write what is said and done into a file from now on; see :func:`set_log_file`."""
        return set_log_file(path)

    def mute(self) -> None:
        """Withhold messages and progress of the whole database; dialogs still speak.

        The log, where there is one, goes on.
        """
        self.status.hide()
        self._voice.muted = True

    def unmute(self) -> None:
        """Show messages and progress again."""
        self._voice.muted = False
