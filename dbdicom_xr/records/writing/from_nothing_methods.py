"""The methods by which a database, a patient and a study get series from nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.record import Record

if TYPE_CHECKING:
    import numpy.typing as npt

    from dbdicom_xr.records.levels import Series

__all__ = ["FromNothing"]


class FromNothing(Record):
    """A record in which series are made from nothing."""

    __slots__ = ()

    def series(
        self,
        *filters: Any,
        dtype: str | None = None,
        dims: Sequence[str] | None = None,
        coords: Mapping[str, Any] | None = None,
        spacing: Sequence[float] | None = None,
        affine: npt.ArrayLike | None = None,
        **conditions: Any,
    ) -> Any:
        """Return the series below; or make one of an array or a shape.

        Parameters
        ----------
        *filters : mapping, or one array or shape
            Conditions on attributes that are no Python names: ``{(0x0019, 0x100c): 1000}``. With an
            array or a shape a series is made, as by :func:`dbdicom_xr.series`, in a new study where
            the record is none.
        dtype, dims, coords, spacing, affine
            Of the series that is made.
        **conditions
            Conditions by keyword. A value matches itself, text may hold ``*`` and ``?``, a list
            means any of its members, a slice a closed range, a function decides on the value, and
            None means absent. One frame must satisfy all. With an array or a shape: attributes of
            the new series.

        Returns
        -------
        list of Series, or the new Series

        Raises
        ------
        UnknownKeyword
            A keyword that does not exist.
        InvalidValue
            What a series is made with, and neither an array nor a shape.

        Examples
        --------
        >>> import dbdicom_xr as db
        >>> study = db.database().new_study()
        >>> made = study.series((10, 128, 192), SeriesDescription="phantom")
        >>> study.series(SeriesDescription="ph*") == [made]
        True
        >>> study.database.close(save=False)
        """
        if not filters or isinstance(filters[0], Mapping):
            made: dict[str, Any] = {
                "dtype": dtype, "dims": dims, "coords": coords, "spacing": spacing,
                "affine": affine,
            }  # fmt: skip
            given = [name for name, value in made.items() if value is not None]
            if given:
                raise InvalidValue(
                    f"{', '.join(given)}: for a series that is made, of an array or a shape, which "
                    "comes first: series((10, 128, 192), dtype='mri'). Nothing is searched by it."
                )
            return super().series(*filters, **conditions)
        from dbdicom_xr.records.writing.from_nothing import make_series

        array, *more = filters
        if more and dtype is None:
            dtype, *more = more
        if more:
            raise TypeError("series() makes a series of one array or shape")
        return make_series(
            self, array, 0, dtype, dims=dims, coords=coords, spacing=spacing, affine=affine,
            attributes=conditions,
        )  # fmt: skip

    def zeros(self, shape: Sequence[int], dtype: str | None = None, **options: Any) -> Series:
        """Make a series of images that are all 0; see :meth:`full`."""
        return self.full(shape, 0, dtype, **options)

    def ones(self, shape: Sequence[int], dtype: str | None = None, **options: Any) -> Series:
        """Make a series of images that are all 1; see :meth:`full`."""
        return self.full(shape, 1, dtype, **options)

    def full(
        self,
        shape: Sequence[int],
        value: float,
        dtype: str | None = None,
        *,
        dims: Sequence[str] | None = None,
        coords: Mapping[str, Any] | None = None,
        spacing: Sequence[float] | None = None,
        affine: npt.ArrayLike | None = None,
        **attributes: Any,
    ) -> Series:
        """Make a series of images whose pixels have one value; it takes no room before it is saved.

        Parameters
        ----------
        shape : sequence of int
            ``(n, x, y)``, or with `dims` ``(*dims, n, x, y)``; ``n`` may be missing.
        value : float
        dtype, dims, coords, spacing, affine, **attributes
            As for :func:`dbdicom_xr.series`.

        Returns
        -------
        Series

        Examples
        --------
        >>> import dbdicom_xr as db
        >>> study = db.database().new_study(StudyDescription="phantoms")
        >>> series = study.zeros((10, 128, 192), dtype="mri")
        >>> series.array()[0].shape
        (10, 128, 192)
        >>> study.database.close(save=False)
        """
        from dbdicom_xr.records.writing.from_nothing import make_series, shape_of

        return make_series(
            cast("Any", self), shape_of(shape), value, dtype, dims=dims, coords=coords,
            spacing=spacing, affine=affine, attributes=attributes,
        )  # fmt: skip
