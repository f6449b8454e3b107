"""What is said and done, for the log: the logger of the package, and a file for it."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple, TextIO, TypeVar, overload

from dbdicom_xr.errors import DicomWarning, InvalidValue, MissingFolder, SaveFailed

T = TypeVar("T")

logger = logging.getLogger("dbdicom_xr")
# A library is silent until the program sets up logging; without this, Python prints warnings.
logger.addHandler(logging.NullHandler())

LINE = "%(asctime)s %(levelname)s %(message)s"
TIME = "%Y-%m-%d %H:%M:%S"


class LogFile:
    """A file that the log goes to, until it is closed; made by :func:`set_log_file`.

    Attributes
    ----------
    path : str
        Of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self.path = os.path.abspath(os.path.expanduser(os.fsdecode(path)))
            self._handler = logging.FileHandler(
                self.path, encoding="utf-8", errors="backslashreplace"
            )
        except (TypeError, ValueError) as error:
            raise InvalidValue(
                f"{path!r} names no file: it is a text, or a pathlib.Path, or None."
            ) from error
        except OSError as error:
            folder = os.path.dirname(self.path)
            kind = SaveFailed if os.path.isdir(folder) else MissingFolder
            raise kind(
                f"The log cannot be written into {self.path}: {error.strerror or error}. Give a "
                "file in a folder that exists."
            ) from error
        self._handler.setFormatter(_Indented(LINE, TIME))
        self._open = False

    def _start(self) -> None:
        self._open = True
        self._level = logger.level
        if not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)
        logger.addHandler(self._handler)
        self._show_before = warnings.showwarning
        self._show = self._show_warning  # one object, to be recognised when it is taken away
        warnings.showwarning = self._show

    def close(self) -> None:
        """End the log. Closing twice is allowed."""
        global _file
        if not self._open:
            return
        self._open = False
        logger.removeHandler(self._handler)
        logger.setLevel(self._level)
        if warnings.showwarning is self._show:
            warnings.showwarning = self._show_before
        if _file is self:
            _file = None
        try:
            self._handler.close()
        except OSError as error:
            raise SaveFailed(
                f"{self.path}: the end of the log cannot be written ({error.strerror or error})."
            ) from error

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LogFile {self.path}{'' if self._open else ', closed'}>"

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if self._open and file is None and issubclass(category, DicomWarning):
            logger.warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)
        self._show_before(message, category, filename, lineno, file, line)


_file: LogFile | None = None


@overload
def set_log_file(path: str | os.PathLike[str]) -> LogFile: ...
@overload
def set_log_file(path: None) -> None: ...
def set_log_file(path: str | os.PathLike[str] | None) -> LogFile | None:
    """Write what is said and done into a file from now on, besides showing it.

    Messages, dialogs, questions with their answers, warnings of this package, and when each job
    began and ended: one line each, with the time. What :meth:`Talk.mute` withholds is written
    too. Lines are added to a file that exists.

    It is a handler of ``logging.getLogger("dbdicom_xr")``; a program that sets up Python's
    `logging` itself needs no log file of this package.

    Parameters
    ----------
    path : str, path or None
        The file, in a folder that exists; it takes the place of the log file before. None ends it.

    Returns
    -------
    LogFile or None
        Its ``close()``, or the end of a ``with`` block around it, ends the log.

    Raises
    ------
    InvalidValue
        If the path names no file.
    MissingFolder
        If its folder does not exist.
    SaveFailed
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from dbdicom_xr.interact import Status, Voice
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with set_log_file(f"{folder}/night.log") as log:
    ...         Status(Voice(muted=True)).message("Fitting the curves")
    ...     print(pathlib.Path(log.path).read_text()[20:])
    INFO Fitting the curves
    """
    global _file
    new = None if path is None else LogFile(path)  # if that raises, the one before goes on
    if _file is not None:
        _file.close()
    if new is not None:
        new._start()
    _file = new
    return new


class _Indented(logging.Formatter):
    """Indents the lines of a text after the first, so that each entry is told from the next."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\n    ")


def asked(what: str, ask: Callable[[], T]) -> T:
    """Ask, and log question and answer, or why there is none."""
    logger.info("Question: %s", what)
    try:
        answer = ask()
    except Exception as error:
        logger.error("No answer: %s", error)
        raise
    logger.info("Answer: %s", answer)
    return answer


class JobLog:
    """Logs when a job begins and ends."""

    def __init__(self, total: int | None, description: str, unit: str) -> None:
        self._description = description or "Job"
        self._begin = time.monotonic()
        count = "" if total is None else f", {total} {unit}{'' if total == 1 else 's'}"
        logger.info("%s: begins%s", self._description, count)

    def end(self, error: BaseException | None) -> None:
        """Log the end of the job, with the error that ended it if there is one."""
        took = f"{time.monotonic() - self._begin:.1f} s"
        if error is None:
            logger.info("%s: ended after %s", self._description, took)
        else:
            kind = type(error).__name__
            logger.error("%s: stopped after %s, %s: %s", self._description, took, kind, error)


class ProgressJob(NamedTuple):
    """A job that reports itself by ``progress(value, maximum, message)``."""

    text: str
    value: float
    maximum: float
    begin: float


def followed(
    job: ProgressJob | None, value: float, maximum: float, text: str
) -> ProgressJob | None:
    """Log where a job that calls ``progress`` begins and ends; return it while it goes on.

    Another job is one with another `maximum`, or whose `value` falls back.
    """
    if not logger.isEnabledFor(logging.INFO):
        return None
    if job is not None and (maximum != job.maximum or value < job.value):
        _log_end(job, job.value)
        job = None
    if not value < maximum:
        if job is not None:
            _log_end(job, maximum)
        return None
    if job is None:
        job = ProgressJob(text or "Job", value, maximum, time.monotonic())
        logger.info("%s: begins, %g steps", job.text, maximum)
    return job._replace(value=value)


def _log_end(job: ProgressJob, value: float) -> None:
    seconds = time.monotonic() - job.begin
    if value >= job.maximum:
        logger.info("%s: ended after %.1f s", job.text, seconds)
    else:
        logger.info(
            "%s: last heard of at %g of %g after %.1f s", job.text, value, job.maximum, seconds
        )
