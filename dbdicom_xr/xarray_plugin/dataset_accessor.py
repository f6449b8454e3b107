"""``dataset.dicom`` and ``node.dicom``: that of the images in a Dataset, or in a node of a tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from dbdicom_xr.errors import InvalidValue, NotInDatabase
from dbdicom_xr.records.database import Database, reopened
from dbdicom_xr.records.levels import Series, record_of
from dbdicom_xr.xarray_plugin.accessor import DicomAccessor
from dbdicom_xr.xarray_plugin.coarsen import coarsened

if TYPE_CHECKING:
    from dbdicom_xr.records.reading.header import Header

__all__ = ["DatasetAccessor", "TreeAccessor"]


def image_variable(dataset: xr.Dataset) -> str:
    """Return the name of the one variable of a Dataset that holds images.

    Raises
    ------
    InvalidValue
        There is none, or there are several.
    """
    found = [name for name, array in dataset.data_vars.items() if {"x", "y"} <= set(array.dims)]
    if len(found) == 1:
        return str(found[0])
    if not found:
        raise InvalidValue(
            "This Dataset holds no images: no variable has the dimensions x and y. Its variables "
            f"are {', '.join(map(repr, dataset.data_vars)) or 'none'}."
        )
    raise InvalidValue(
        f"This Dataset holds several variables of images, {', '.join(map(repr, found))}: take one, "
        f"dataset[{found[0]!r}].dicom."
    )


def _only_images(dataset: xr.Dataset) -> xr.DataArray:
    """Return the images of a Dataset whose other variables do not go along with them.

    Raises
    ------
    InvalidValue
        One has dimensions of the images.
    """
    name = image_variable(dataset)
    images = dataset[name]
    along = [other for other, array in dataset.data_vars.items()
             if other != name and set(array.dims) & set(images.dims)]  # fmt: skip
    if along:
        raise InvalidValue(
            f"{', '.join(map(repr, along))} would not fit the images any more: align the images "
            f"alone, dataset[{name!r}].dicom.align(...)."
        )
    return images


def _replaced(dataset: xr.Dataset, images: xr.DataArray) -> xr.Dataset:
    """Return a Dataset with other images, and the coordinates of those."""
    name = image_variable(dataset)
    others = {other: array for other, array in dataset.data_vars.items() if other != name}
    return images.to_dataset(name=name).assign(others).assign_attrs(dataset.attrs)


class _Delegating:
    """What has images, and does with them what ``array.dicom`` does."""

    def _variables(self) -> xr.Dataset:
        raise NotImplementedError

    def _images(self) -> xr.DataArray:
        dataset = self._variables()
        return dataset[image_variable(dataset)]

    def align(
        self, other: Any, join: str = "inner", *, tolerance: float | None = None
    ) -> tuple[xr.Dataset, Any]:
        """Bring the images and others on common coordinates.

        Parameters
        ----------
        other : Dataset, DataTree node or DataArray
            With images.
        join, tolerance
            As in :meth:`DicomAccessor.align`.

        Returns
        -------
        Dataset
            This one.
        Dataset or DataArray
            The other, as a DataArray where it is one.

        Raises
        ------
        GridError, NotInDatabase
            As :meth:`DicomAccessor.align`.
        InvalidValue
            Other variables have dimensions of the images, and would not fit any more.
        """
        dataset = self._variables()
        images = _only_images(dataset)
        if isinstance(other, xr.DataArray):
            first, second = images.dicom.align(other, join, tolerance=tolerance)
            return _replaced(dataset, first), second
        behind = other.to_dataset() if isinstance(other, xr.DataTree) else other
        if not isinstance(behind, xr.Dataset):
            raise InvalidValue(
                f"other is {type(other).__name__}; it is a Dataset, a node of a tree or an array."
            )
        first, second = images.dicom.align(_only_images(behind), join, tolerance=tolerance)
        return _replaced(dataset, first), _replaced(behind, second)

    def coarsen(
        self,
        dim: Mapping[Any, int] | None = None,
        boundary: str = "exact",
        side: Any = "left",
        coord_func: Any = "mean",
        **windows: int,
    ) -> Any:
        """Coarsen the Dataset and know which images each average is made of.

        Parameters
        ----------
        dim, boundary, side, coord_func, **windows
            As those of ``Dataset.coarsen``.

        Returns
        -------
        xarray.core.rolling.DatasetCoarsen
            Whose ``mean()``, ``max()``... give the coarser Dataset.
        """
        return coarsened(self._variables(), dim, boundary, side, coord_func, windows)

    def cache(self, path: Any = None, *, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
        """Return the Dataset with its images read from a copy on disk.

        Parameters
        ----------
        path, chunks
            As in :meth:`DicomAccessor.cache`.
        """
        dataset = self._variables()
        name = image_variable(dataset)
        return dataset.assign({name: dataset[name].dicom.cache(path, chunks=chunks)})

    @property
    def _delegate(self) -> DicomAccessor:
        accessor: DicomAccessor = self._images().dicom
        return accessor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._delegate, name)

    def __dir__(self) -> list[str]:
        try:
            others = [name for name in dir(self._delegate) if not name.startswith("_")]
        except InvalidValue:
            others = []
        return sorted({*super().__dir__(), *others})


@xr.register_dataset_accessor("dicom")  # type: ignore[no-untyped-call]
class DatasetAccessor(_Delegating):
    """The DICOM side of a ``Dataset``: that of its one variable of images.

    All that ``array.dicom`` can do, ``dataset.dicom`` can: ``header``, ``affine``, ``write``...

    Examples
    --------
    >>> import tempfile
    >>> import dbdicom_xr, xarray as xr
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> dataset = xr.open_dataset(folder, engine="dicom", sortby="SliceLocation")
    >>> dataset.dicom.header.shape
    (3, 10)
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def _variables(self) -> xr.Dataset:
        return self._dataset

    def assign_affine(self, *, header: Header | None = None) -> xr.Dataset:
        """Return the Dataset with patient coordinates of each voxel.

        Parameters
        ----------
        header : Header, optional
            As in :meth:`DicomAccessor.get_affine`.
        """
        name = image_variable(self._dataset)
        placed = self._dataset[name].dicom.assign_affine(header=header)
        return self._dataset.drop_vars(name).assign_coords(placed.coords).assign({name: placed})


@xr.register_datatree_accessor("dicom")  # type: ignore[no-untyped-call]
class TreeAccessor(_Delegating):
    """The DICOM side of a node of a ``DataTree``.

    The record that the node shows; and where it holds images, all that ``array.dicom`` can do.

    Examples
    --------
    >>> import tempfile
    >>> import dbdicom_xr as db
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> database = db.database(folder)
    >>> tree = database.to_datatree("SliceLocation")
    >>> tree.dicom.record == database, tree.leaves[0].dicom.series == database.series()[0]
    (True, True)
    >>> tree.leaves[0].dicom.header.dims
    ('SliceLocation', 'n')
    """

    def __init__(self, node: xr.DataTree) -> None:
        self._node = node

    def _variables(self) -> xr.Dataset:
        return self._node.to_dataset(inherit=True)

    @property
    def database(self) -> Database:
        """The database that the tree was made from."""
        for node in (self._node, *self._node.parents, *self._node.leaves):
            for attributes in (node.attrs, *(array.attrs for array in node.data_vars.values())):
                if "database" in attributes and "index" in attributes:
                    return reopened(str(attributes["database"]), str(attributes["index"]))
        raise NotInDatabase(
            "This tree does not tell the folder it was made from: the attributes 'database' and "
            "'index' of its root are missing."
        )

    @property
    def record(self) -> Any:
        """The database, patient, study or series that the node shows.

        Raises
        ------
        NotInDatabase
            It is not in the database any more, or the node does not tell.
        """
        database = self.database
        found = _by_names(database, self._node)
        if found is None:
            found = _by_uids(database, self._node)
        if found is None:
            raise NotInDatabase(f"The node {self._node.path!r} names no record of {database!r}.")
        return found

    @property
    def series(self) -> Any:
        """The series that the node shows, or a list of those below it."""
        record = self.record
        return record if isinstance(record, Series) else record.series()


_NAMED_BY = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
}


def _by_names(database: Database, node: xr.DataTree) -> Any:
    """Return the record at the place of a node, provided that it is still the same one."""
    base = node.root.attrs.get("path")
    if base is None:
        return None
    record: Any = database
    for name in f"{base}/{node.path}".split("/"):
        if name:
            record = record._child(name) if record.level != "series" else None
        if record is None:
            return None
    said = node.attrs.get(_NAMED_BY.get(record.level, ""))
    return record if said is None or said == record._node.uid else None


def _by_uids(database: Database, node: xr.DataTree) -> Any:
    """Return the only record of the UID of a node: its name may be another by now."""
    said = dict(node.attrs)
    for array in node.data_vars.values():
        said.update({name: array.attrs[name] for name in _NAMED_BY.values() if name in array.attrs})
    level = next((name for name in ("series", "study", "patient") if _NAMED_BY[name] in said), None)
    if level is None:
        return None
    found = [
        other
        for other in database._tree().nodes.values()
        if other.level == level and other.uid == said[_NAMED_BY[level]]
        and (level != "series" or other.parent is None
             or said.get("StudyInstanceUID", other.parent.uid) == other.parent.uid)
    ]  # fmt: skip
    return record_of(database, found[0]) if len(found) == 1 else None
