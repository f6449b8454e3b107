"""``da.dicom``: what belongs to an array that was read from DICOM."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import xarray as xr

from dbdicom_xr.errors import DbdicomError, InvalidValue
from dbdicom_xr.geometry.affine import (
    Orientation,
    Vector,
    in_space,
    orientation_of,
    spacing_of,
    tilt_of,
)
from dbdicom_xr.geometry.planes import Floats
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.database import Database
from dbdicom_xr.records.reading.header import Header
from dbdicom_xr.records.reading.provenance import database_of
from dbdicom_xr.records.reading.sources import header_of
from dbdicom_xr.xarray_plugin.display_methods import DisplayMethods
from dbdicom_xr.xarray_plugin.operations import OperationMethods
from dbdicom_xr.xarray_plugin.space import Placed, placed, warn_of_tilt

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

    from dbdicom_xr.records.levels import Series

__all__ = ["DicomAccessor"]


@xr.register_dataarray_accessor("dicom")  # type: ignore[no-untyped-call]
class DicomAccessor(OperationMethods, DisplayMethods):
    """The DICOM side of a ``DataArray``.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> array, header = db.database(folder).series()[0].array("SliceLocation")
    >>> corner = (array * 2).isel(SliceLocation=0)
    >>> corner.dicom.header[0] == header[0, 0]
    True
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @property
    def database(self) -> Database:
        """The database that the array was read from."""
        return database_of(self._array)

    @property
    @of_one_state
    def header(self) -> Header:
        """The frames of the array, found by what it tells of them.

        After a selection or arithmetic these are the frames themselves, found by the coordinates
        ``SOPInstanceUID`` and ``frame``. A reduction removes these: then each element is a
        :class:`Common`, what all frames with the labels of that image have in common.

        Returns
        -------
        Header
            Of the dimensions of the array but ``x``, ``y`` and ``channel``.

        Raises
        ------
        NotInDatabase
            The array does not tell which frames it was made from, or they are not there any more.
        GridError
            What it tells leaves open which frames were meant.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> array, _ = series.array(["SliceLocation", "TemporalPositionIdentifier"])
        >>> common = array.mean("TemporalPositionIdentifier").dicom.header
        >>> common.shape, common[0, 0].EchoTime == series.EchoTime.item()
        ((3, 1), True)
        >>> len(common[0, 0].sources)
        10
        """
        return header_of(self._array)

    # -- in space ----------------------------------------------------------------------------

    @of_one_state
    def _placed(self, header: Header | None = None) -> Placed:
        return placed(self._array, header)

    @property
    def affine(self) -> Floats:
        """From voxel indices to patient coordinates (LPS, mm): ``get_affine()``."""
        affine = self._placed().affine
        warn_of_tilt(affine, stacklevel=2)
        return affine

    def get_affine(self, space: str = "LPS", *, header: Header | None = None) -> Floats:
        """Return the matrix from voxel indices to patient coordinates (PS3.3 C.7.6.2.1.1).

        The order of the dimensions of the array plays no part, and others than these three none
        either. Selections, steps, flips and coarsening along ``x`` and ``y`` are followed by the
        coordinates of these names.

        Parameters
        ----------
        space : {"LPS", "RAS"}
            DICOM's patient coordinates, or those of NIfTI and nibabel.
        header : Header, optional
            The frames of the array, where it does not tell them itself: after a reduction, or for
            a result of several series.

        Returns
        -------
        numpy.ndarray of float64, shape (4, 4)
            From ``(x, y, slice, 1)``, indices counted from 0, to mm. Where there is a single
            slice, the third column is SpacingBetweenSlices, else SliceThickness, along the normal.

        Raises
        ------
        GridError
            No single affine describes the array: several orientations, uneven steps, frames that
            moved; or what is known of its place is ambiguous.
        NotInDatabase
            The array does not tell where it is from.

        Warns
        -----
        MixedGeometry
            The slices are shifted against each other, as by a tilted gantry.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder)
        >>> array, _ = db.database(folder).series()[0].array("SliceLocation")
        >>> array.isel(x=slice(2, None), SliceLocation=slice(None, None, -1)).dicom.get_affine()
        array([[  1.5 ,   0.  ,   0.  , -17.  ],
               [  0.  ,   1.25,   0.  , -30.  ],
               [  0.  ,   0.  ,  -5.  ,  50.  ],
               [  0.  ,   0.  ,   0.  ,   1.  ]])
        """
        affine = in_space(self._placed(header).affine, space)
        warn_of_tilt(affine, stacklevel=2)
        return affine

    @property
    def spacing(self) -> Vector:
        """The distance of neighbouring voxels along x, y and slice, mm."""
        return spacing_of(self._placed().affine)

    @property
    def orientation(self) -> Orientation:
        """The directions of x, y and slice in the patient, and the plane nearest to the images."""
        return orientation_of(self._placed().affine)

    @property
    def tilt(self) -> float:
        """The angle between the direction of the slices and the normal of the images, degrees."""
        return tilt_of(self._placed().affine)

    @property
    def slice_dim(self) -> str | None:
        """The dimension along which the images lie behind each other; None for a single one."""
        return self._placed().slice_dim

    def assign_affine(self, *, header: Header | None = None) -> xr.DataArray:
        """Return the array with patient coordinates ``X``, ``Y`` and ``Z`` (LPS, mm) of each voxel.

        They follow from the affine by xarray's ``CoordinateTransformIndex``: nothing is computed
        until it is asked for.

        Parameters
        ----------
        header : Header, optional
            As in :meth:`get_affine`.

        Returns
        -------
        xarray.DataArray
            ``sel(X=..., Y=..., Z=..., method="nearest")`` gives the voxel that holds a point, or
            for ``DataArray`` of points those that hold them, and raises KeyError outside.

        Raises
        ------
        GridError, NotInDatabase
            As :meth:`get_affine`.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder)
        >>> array, _ = db.database(folder).series()[0].array("SliceLocation")
        >>> voxel = array.dicom.assign_affine().sel(X=-17.1, Y=-30, Z=44.9, method="nearest")
        >>> float(voxel.x), float(voxel.SliceLocation)
        (3.0, 5.0)
        """
        from dbdicom_xr.xarray_plugin.patient import with_patient_coordinates

        place = self._placed(header)
        warn_of_tilt(place.affine, stacklevel=2)
        return with_patient_coordinates(self._array, place)

    def to_nifti(self, *, header: Header | None = None) -> Nifti1Image:
        """Return the array as an image of nibabel, which saves and shows it.

        Voxels stand as in the array: first columns, then rows, then slices. Files that
        ``export_as_nifti`` writes have the last row first, which the affine tells too.

        Parameters
        ----------
        header : Header, optional
            As in :meth:`get_affine`.

        Returns
        -------
        nibabel.nifti1.Nifti1Image
            Dimensions ``x``, ``y``, slices, then the others of the array, without those of one
            element. Lazy: the voxels are computed when the image is saved or its data asked for.

        Raises
        ------
        GridError, NotInDatabase
            As :meth:`get_affine`.
        InvalidValue
            There are more dimensions than seven, or values that are no numbers.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> array, _ = series.array(["SliceLocation", "TemporalPositionIdentifier"])
        >>> image = array.max("TemporalPositionIdentifier").dicom.to_nifti()
        >>> image.shape == (array.sizes["x"], array.sizes["y"], array.sizes["SliceLocation"])
        True
        """
        from dbdicom_xr.xarray_plugin.nifti import nifti_image

        place = self._placed(header)
        warn_of_tilt(place.affine, stacklevel=2)
        return nifti_image(self._array, place)

    def cache(self, path: Any = None, *, chunks: Mapping[str, int] | None = None) -> xr.DataArray:
        """Return the array with its values in a copy on disk, for what reads it many times.

        The copy is cut for work on voxels: each of its blocks holds all values of its voxels, of a
        part of an image. It is made block by block, in bounded memory, and goes when nothing reads
        from it any more, or when Python ends. Where the array fits in memory, ``array.persist()``
        is faster; to keep a copy, export it as zarr.

        Parameters
        ----------
        path : path-like, optional
            A folder to put it in, by default that of temporary files. Workers of a cluster on other
            machines have to see it.
        chunks : mapping, optional
            Size of the stored blocks along dimensions, -1 for all: ``{"x": 32, "y": 32}``.

        Returns
        -------
        xarray.DataArray
            Equal, with the same labels, attributes and header; still lazy.

        Raises
        ------
        InvalidValue
            The workers of a cluster do not see the folder; ``chunks`` names no dimension.
        SaveFailed
            The disk is full, or the like.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> array, _ = series.array(["SliceLocation", "TemporalPositionIdentifier"])
        >>> fast = array.dicom.cache()
        >>> fast.identical(array), fast.mean("x").dicom.header.shape
        (True, (3, 10, 1))
        """
        from dbdicom_xr.xarray_plugin.cache import cached

        return cached(self._array, path, chunks=chunks)

    def write(
        self,
        series: Series,
        header: Any = None,
        *,
        mode: str = "w",
        dtype: str | None = None,
        scale: str | None = None,
        multiframe: bool = False,
        transfer_syntax: str | None = None,
        compute: bool = True,
        affine: Any = None,
        spacing: Any = None,
        **attributes: Any,
    ) -> Any:
        """Write the array into a series as DICOM images.

        Staged, as any change: ``save`` makes it final, ``restore`` undoes it. Parameters, errors
        and rules are those of :meth:`Series.set_array`.

        Parameters
        ----------
        series : Series
            Whose images are replaced, or added to with ``mode="a"``.
        header : Header, sequence of instances, "template" or None
            What the new images say; None: what the images say that the array was made from.
        mode, dtype, scale, multiframe, transfer_syntax, compute, affine, spacing, **attributes
            See :meth:`Series.set_array`.

        Returns
        -------
        Series
            The series, or with ``compute=False`` a ``Delayed`` that gives it.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> database = db.database(folder)
        >>> series = database.series()[0]
        >>> array, header = series.array(["SliceLocation", "TemporalPositionIdentifier"])
        >>> peak = array.max("TemporalPositionIdentifier")
        >>> peak.dicom.write(series.new_sibling(SeriesDescription="Peak")).ImageType
        [['DERIVED', 'PRIMARY', 'M', 'ND']]
        >>> database.close(save=False)
        """
        if getattr(series, "level", None) != "series":
            raise InvalidValue(
                f"An array is written into a series, not into {reprlib.repr(series)}: "
                "study.new_series(SeriesDescription=...) makes one."
            )
        try:
            return series.set_array(
                self._array,
                header,
                mode=mode,
                dtype=dtype,
                scale=scale,
                multiframe=multiframe,
                transfer_syntax=transfer_syntax,
                compute=compute,
                affine=affine,
                spacing=spacing,
                **attributes,
            )
        except Exception as error:
            with suppress(DbdicomError):  # the series may be what is gone
                if not len(series):
                    error.add_note(
                        f"{series!r} is there now, empty: write into it again, or take it away "
                        "with series.remove()."
                    )
            raise
