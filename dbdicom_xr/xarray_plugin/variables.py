"""The variables of a Dataset that xarray cuts into blocks itself.

``xr.open_dataset(chunks=...)`` names tasks by the path that it was given and the time at which that
was changed. Of a folder that time stays when a file below it changes, or something is staged: two
arrays of one name then, and dask takes the values of the first for both.
"""

from __future__ import annotations

from typing import Any

import xarray as xr
from xarray.core.indexing import ExplicitlyIndexed
from xarray.core.variable import as_compatible_data

__all__ = ["for_xarray"]


class _Images(xr.Variable):
    """Images whose tasks are named by what is read."""

    __slots__ = ()

    def chunk(self, chunks: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return the images cut into blocks, as ``xarray.Variable.chunk`` does."""
        given = dict(kwargs.pop("from_array_kwargs", None) or {})
        given.pop("name", None)
        kwargs.pop("name", None)
        plain = xr.Variable(self.dims, self._data, self._attrs, self._encoding, fastpath=True)
        return plain.chunk({} if chunks is None else chunks, from_array_kwargs=given, **kwargs)


class _Labels(xr.Variable):
    """Values that are in memory, and stay there.

    xarray wraps them as if they were to be read, and then makes tasks of them; of text, which has
    no size that it knows, ``chunks="auto"`` can make none, and raises.
    """

    __slots__ = ()

    @property
    def data(self) -> Any:
        """The values."""
        return super().data

    @data.setter
    def data(self, data: Any) -> None:
        if not isinstance(data, ExplicitlyIndexed):
            self._data = as_compatible_data(data)


class _Preferred(dict[str, int]):
    """Sizes of blocks along each dimension, from which others may differ.

    xarray asks ``get(dim, size)`` for what to take where nothing is given; and ``get(dim)`` to warn
    of blocks that cut through what is stored as one. Along the dimensions of frames nothing is.
    """

    def get(self, dim: str, default: Any = None) -> Any:
        """Return the size along a dimension; of frames only where there is a default."""
        if default is None and dim not in ("x", "y", "channel"):
            return None
        return super().get(dim, default)

    def __reduce__(self) -> Any:
        return _Preferred, (dict(self.items()),)


def for_xarray(dataset: xr.Dataset) -> xr.Dataset:
    """Return a lazy Dataset as an engine of xarray gives it.

    Examples
    --------
    >>> dataset = for_xarray(xr.Dataset({"a": ("x", [1, 2])}, {"b": ("x", [3, 4])}))
    >>> dataset.a.variable.chunk({"x": 1}).chunks
    ((1, 1),)
    """
    variables = {
        name: (_Images if name in dataset.data_vars else _Labels)(
            variable.dims, variable._data, variable.attrs, variable.encoding, fastpath=True
        )
        for name, variable in dataset.variables.items()
        if name not in dataset.xindexes
    }
    for variable in variables.values():
        if "preferred_chunks" in variable.encoding:
            sizes = _Preferred(variable.encoding["preferred_chunks"])
            variable.encoding = {**variable.encoding, "preferred_chunks": sizes}
    indexed = {name: dataset.variables[name] for name in dataset.xindexes}
    # As coordinates they would become plain variables.
    result = xr.Dataset(variables, xr.Coordinates(indexed, dataset.xindexes), dataset.attrs)
    return result.set_coords([name for name in dataset.coords if name in variables])
