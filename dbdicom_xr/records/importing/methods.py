"""The methods by which files of other formats come into the database, and leave it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from dbdicom_xr.records.exporting.methods import Exporting

if TYPE_CHECKING:
    from dbdicom_xr.records.instance import Instance
    from dbdicom_xr.records.levels import Series
    from dbdicom_xr.records.reading.header import Header

__all__ = ["Exchanging"]


class Exchanging(Exporting):
    """The part of a record that reads and writes other formats."""

    __slots__ = ()

    def import_nifti(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        template: Series | Header | Instance | Sequence[Instance] | None = None,
        *,
        bval: str | os.PathLike[str] | npt.ArrayLike | None = None,
        bvec: str | os.PathLike[str] | npt.ArrayLike | None = None,
        **attributes: Any,
    ) -> Series | list[Series]:
        """Make a new series of a NIfTI file, with the header of images that it was made from.

        The series comes into the study of the record; where there is none, into that of the
        template, or into a new one. As any change it is staged until ``save``.

        Where voxels lie on those of the template, also when axes were swapped or reversed, each
        image gets the header of its own source. Where there are fewer volumes, it gets what the
        images at its place have in common. Where voxels lie elsewhere, the file tells the geometry.

        Parameters
        ----------
        path : path-like, or a list of them
            A file (``.nii``, ``.nii.gz``, ``.hdr`` with ``.img``), or a folder of such.
        template : Series, Header, instance, list of instances, or None
            What the images say. Volumes stand in the order of :meth:`export_as_nifti`. None: a
            neutral header, with what the ``.json`` beside the file says in the terms of BIDS.
        bval, bvec : path-like, array_like, False or None
            b-values (s/mm2) and directions of diffusion gradients for each volume, as FSL has them.
            None: the files of these names beside the image, where there are any. False: none.
        **attributes
            Set in all new images.

        Returns
        -------
        Series, or list of Series
            A list where `path` is a list or a folder.

        Raises
        ------
        InvalidValue
            There is no such file, it is no NIfTI, or holds what images cannot: complex numbers,
            vectors.
        PixelError
            A file is damaged, or ends too early.
        GridError
            Images cannot lie as the file says: rows and columns are not at a right angle.

        Warns
        -----
        DicomWarning
            The voxels lie on another grid than the template, or there are other volumes; sform and
            qform contradict each other; the file does not tell its place.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_series
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_series(folder, keys={"SliceLocation": [0, 5, 10]})
        >>> database = db.database(folder)
        >>> series = database.series()[0]
        >>> (file,) = series.export_as_nifti(tempfile.mkdtemp())
        >>> new = series.import_nifti(file, template=series)
        >>> bool((new.array("SliceLocation")[0] == series.array("SliceLocation")[0]).all())
        True
        >>> database.close(save=False)
        """
        from dbdicom_xr.records.importing.from_nifti import import_nifti

        return import_nifti(self, path, template, bval=bval, bvec=bvec, attributes=attributes)  # type: ignore[arg-type]
