"""The variables of a Dataset that xarray cuts into blocks itself.

``xr.open_dataset(chunks=...)`` names tasks by the path that it was given and the time at which that
was changed. Of a folder that time stays when a file below it changes, or something is staged: two
arrays of one name then, and dask takes the values of the first for both.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

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
    """Values that are in memory: to cut them would make tasks, and cost more than it brings."""

    __slots__ = ()

    def chunk(self, chunks: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return the values as they are."""
        return xr.Variable(self.dims, self._data, self._attrs, self._encoding, fastpath=True)


def for_xarray(dataset: xr.Dataset) -> xr.Dataset:
    """Return a lazy Dataset as an engine of xarray gives it.

    Examples
    --------
    >>> dataset = for_xarray(xr.Dataset({"a": ("x", [1, 2])}, {"b": ("x", [3, 4])}))
    >>> dataset.a.variable.chunk({"x": 1}).chunks, dataset.b.variable.chunk({"x": 1}).chunks
    (((1, 1),), None)
    """
    variables = {
        name: (_Images if name in dataset.data_vars else _Labels)(
            variable.dims, variable._data, variable.attrs, variable.encoding, fastpath=True
        )
        for name, variable in dataset.variables.items()
        if name not in dataset.xindexes
    }
    indexed = {name: dataset.variables[name] for name in dataset.xindexes}
    # As coordinates they would become plain variables.
    result = xr.Dataset(variables, xr.Coordinates(indexed, dataset.xindexes), dataset.attrs)
    return result.set_coords([name for name in dataset.coords if name in variables])
