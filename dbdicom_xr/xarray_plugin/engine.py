"""``xr.open_dataset(path, engine="dicom")``: what xarray calls to open folders and files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Final

import numpy as np
import xarray as xr
from xarray.backends import BackendEntrypoint

from dbdicom_xr.errors import InvalidValue, MissingFolder, UnknownArgument
from dbdicom_xr.records.opening import database as open_database
from dbdicom_xr.records.opening import refuse_archive
from dbdicom_xr.records.record import Record
from dbdicom_xr.records.single_file import instance_of_file
from dbdicom_xr.xarray_plugin import dataset_accessor as _accessors  # noqa: F401  # registers .dicom
from dbdicom_xr.xarray_plugin.choosing import chosen_series
from dbdicom_xr.xarray_plugin.datasets import dropped, instance_dataset, series_dataset
from dbdicom_xr.xarray_plugin.datatree import Making
from dbdicom_xr.xarray_plugin.guess import is_dicom
from dbdicom_xr.xarray_plugin.variables import for_xarray
from dbdicom_xr.xarray_plugin.waiting import opened_tree

__all__ = ["DicomBackendEntrypoint"]

_ARRAY: Final[dict[str, Any]] = {
    "sortby": None,
    "pixels_first": False,
    "rescale": True,
    "align": "auto",
    "tolerance": None,
    "fill_value": np.nan,
    "padding": None,
}
"""Arguments of ``series.array``, and what they are unless given."""

_OPENING: Final[dict[str, Any]] = {"index": None, "refresh": True, "storage_options": None}
"""Arguments of ``db.database``."""

# Arguments of xarray for other formats, and what stands for them here.
_ELSEWHERE: Final = {
    "mask_and_scale": "rescale=False gives the stored values",
    "decode_cf": "rescale=False gives the stored values",
    "group": "series= chooses a series",
    "decode_times": "dates and times are always decoded",
    "decode_timedelta": "dates and times are always decoded",
}


class DicomBackendEntrypoint(BackendEntrypoint):
    """The engine ``dicom`` of xarray.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> dataset = xr.open_dataset(folder, engine="dicom", sortby="SliceLocation", chunks={})
    >>> dataset.pixels.dims
    ('SliceLocation', 'n', 'x', 'y')
    """

    description: ClassVar[str] = "DICOM folders and files, with dbdicom_xr"
    supports_groups: ClassVar[bool] = True
    # Told to xarray, which else demands that each is written out in the signature: then an unknown
    # one could not be answered with the nearest.
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        "filename_or_obj", "drop_variables", "series", *_ARRAY, *_OPENING,
    )  # fmt: skip

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return whether a path looks like DICOM; see ``is_dicom``."""
        return isinstance(filename_or_obj, Record) or is_dicom(filename_or_obj)

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        series: Any = None,
        **options: Any,
    ) -> xr.Dataset:
        """Return a series, or a single file, as a Dataset with one variable, ``pixels``.

        Parameters
        ----------
        filename_or_obj : path-like or record
            A folder, a file, or what ``db.database`` gave: a database, patient, study or series.
        drop_variables : str or iterable of str, optional
            Variables and coordinates that are left out.
        series : str, dict or Series, optional
            Which series of a folder: its path in the tree, SeriesInstanceUID, SeriesDescription
            (``*`` and ``?`` stand for any text and any character), or filters as in
            ``database.series``. Not needed where one alone has images.
        **options
            ``sortby``, ``pixels_first``, ``rescale``, ``align``, ``tolerance``, ``fill_value`` and
            ``padding`` as in :meth:`Series.array`; ``index``, ``refresh`` and ``storage_options``
            as in :func:`dbdicom_xr.database`.

        Returns
        -------
        xarray.Dataset
            Lazy; cut into blocks by the ``chunks=`` of ``xr.open_dataset``.

        Raises
        ------
        InvalidValue
            No series, or several, are meant: the message lists them.
        UnknownArgument
            There is no such argument.
        """
        array, opening = _sorted_out(options, _ARRAY)
        if isinstance(filename_or_obj, Record) or not _is_file(filename_or_obj, opening):
            found = chosen_series(_record(filename_or_obj, opening), series)
            dataset = series_dataset(found, chunks=None, **array)
        else:
            if series is not None:
                raise InvalidValue(
                    f"series= chooses in a folder, but {os.fspath(filename_or_obj)} is a file."
                )
            instance = instance_of_file(filename_or_obj, index=opening["index"])
            dataset = instance_dataset(instance, **array)
        return for_xarray(dropped(dataset, drop_variables))

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        **options: Any,
    ) -> xr.DataTree:
        """Return a folder as a tree: patients, studies, series.

        Parameters
        ----------
        filename_or_obj, drop_variables, **options
            As in :meth:`open_dataset`. ``sortby`` may be a dict, as in
            :meth:`Database.to_datatree`.

        Returns
        -------
        xarray.DataTree
            As :meth:`Database.to_datatree` makes it: nodes are filled when they are looked at.
            ``xr.open_datatree(chunks=...)`` looks at all of them; ``to_datatree(chunks=...)`` cuts
            the images into blocks and looks at none.
        """
        array, opening = _sorted_out(options, _ARRAY)
        making = Making(_record(filename_or_obj, opening), None, drop_variables, array, for_xarray)
        return opened_tree(making.tree())

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        **options: Any,
    ) -> dict[str, xr.Dataset]:
        """Return the nodes of :meth:`open_datatree` by path.

        Parameters
        ----------
        filename_or_obj, drop_variables, **options
            As in :meth:`open_datatree`.
        """
        array, opening = _sorted_out(options, _ARRAY)
        making = Making(_record(filename_or_obj, opening), None, drop_variables, array, for_xarray)
        return making.groups()


def _sorted_out(
    options: Mapping[str, Any], array: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments for the array and those for opening.

    Raises
    ------
    UnknownArgument
        There are others.
    """
    known = ["series", *array, *_OPENING]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            if name in _ELSEWHERE:
                hint = f" Here, {_ELSEWHERE[name]}."
            raise UnknownArgument(
                f'engine="dicom" has no argument {name!r}.{hint} It takes {", ".join(known)}.'
            )
    return (
        {name: options.get(name, value) for name, value in array.items()},
        {name: options.get(name, value) for name, value in _OPENING.items()},
    )


def _is_file(path: Any, opening: Mapping[str, Any]) -> bool:
    """Return whether a path is meant as a single file."""
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise InvalidValue(
            f'engine="dicom" opens folders and files by their path, not {type(path).__name__}.'
        ) from None
    if opening["storage_options"] is not None or "://" in text:
        return False
    path = os.path.expanduser(text)
    if text and not os.path.lexists(path):
        raise MissingFolder(f"There is no file or folder {os.path.abspath(path)}. Check its name.")
    return os.path.isfile(path)


def _record(source: Any, opening: Mapping[str, Any]) -> Any:
    if isinstance(source, Record):
        given = [name for name, value in _OPENING.items() if opening[name] is not value]
        if given:
            raise InvalidValue(f"{given[0]}= is for opening a folder, but {source!r} is open.")
        return source
    if _is_file(source, opening):
        refuse_archive(os.fsdecode(source))
        raise InvalidValue(
            f"{os.fspath(source)} is a file, and no tree: open its folder, or the file by "
            "xr.open_dataset."
        )
    return open_database(os.fspath(source), **opening)
