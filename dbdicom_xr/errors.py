"""What can go wrong, as one small family of exceptions and warnings.

Every error that this package raises on purpose is a :class:`DbdicomError`; where Python or
numpy users expect a built-in type (``KeyError`` for a missing key, ``ValueError`` for a bad
value), the class is that too. A message names the file, the tag and the value, and what to do.
"""

from __future__ import annotations


class DbdicomError(Exception):
    """Base class of all errors raised by dbdicom_xr."""

    def __str__(self) -> str:  # KeyError would show the repr of its message
        return str(self.args[0]) if self.args else ""


class UnknownKeyword(DbdicomError, AttributeError, KeyError):
    """A name that is neither a DICOM keyword, a custom attribute nor a child."""


class GridError(DbdicomError, ValueError):
    """The frames do not form a grid along the tags that were asked for."""


class PixelError(DbdicomError, ValueError):
    """The pixel data cannot be decoded, or not yet by this version."""


class LayoutError(DbdicomError, ValueError):
    """Attributes that describe the pixels contradict each other, or the pixels."""


class InvalidValue(DbdicomError, ValueError):
    """A value that DICOM, or this package, cannot take in that place."""


class NotOneValue(InvalidValue, TypeError):
    """The different values of many images, where one value is meant."""


class UnknownArgument(InvalidValue, TypeError):
    """An argument that the xarray engine ``dicom`` does not have."""


class StaleArray(DbdicomError, RuntimeError):
    """A file changed or vanished after the array that reads from it was made."""


class NotInDatabase(DbdicomError, LookupError):
    """A record names something that the database does not hold (any more)."""


class DatabaseChanged(DbdicomError, RuntimeError):
    """The folder was brought up to date while it was being read; repeat the call."""


class IndexDamaged(DbdicomError, RuntimeError):
    """The index file is not readable as an index."""


class IndexBusy(DbdicomError, TimeoutError):
    """Another process keeps the index locked."""


class IndexNotWritable(DbdicomError, OSError):
    """The index cannot be written: no permission, or no space left."""


class Locked(DbdicomError, RuntimeError):
    """Another process is changing the database; one at a time can."""


class StagingDamaged(DbdicomError, RuntimeError):
    """The file that holds what is staged cannot be read."""


class StagingNotWritable(DbdicomError, OSError):
    """What was to be staged cannot be kept: no permission, or no space left."""


class SaveFailed(DbdicomError, OSError):
    """A save was stopped by an error, and all files are as they were before."""


class ConnectionLost(DbdicomError):
    """A remote folder did not answer, however often it was asked."""


class NoPerson(DbdicomError, RuntimeError):
    """A question was asked where no person can answer; an argument decides instead."""


class DicomWarning(UserWarning):
    """Base class of all warnings issued by dbdicom_xr."""


class AlignedByOrder(DicomWarning):
    """Frames were put on a grid by their order, because their values differ from row to row."""


class LeftOut(DicomWarning):
    """Objects without pixels stand among the images of a series, and are not in its array."""


class MixedGeometry(DicomWarning):
    """The frames of an array are not parallel, or have pixels of several sizes."""


class IndexRebuilt(DicomWarning):
    """The index was of another version, or damaged, and has been made anew."""


class NotSaved(DicomWarning):
    """A database was closed with changes that are staged, and not saved."""


class SaveRecovered(DicomWarning):
    """A save that was interrupted has been completed, or undone."""


class UndecodableValue(DicomWarning):
    """A header value that does not follow its value representation; the text is given as it is."""


class MissingFolder(DbdicomError, FileNotFoundError):
    """The folder to open does not exist."""


class NotAFolder(DbdicomError, NotADirectoryError):
    """What should be a folder is a file."""


class FileExists(DbdicomError, FileExistsError):
    """A file that would be written is there already."""


class FolderNotReadable(DbdicomError, PermissionError):
    """The folder exists, but may not be listed."""
