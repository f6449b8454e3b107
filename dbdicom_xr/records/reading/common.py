"""What stands in a header where several frames became one, as in a mean over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue, UnknownKeyword
from dbdicom_xr.records.attributes.lookup import Attribute, parse_name
from dbdicom_xr.records.current import of_one_state

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.instance import Instance

__all__ = ["Common"]


class Common:
    """The frames that one image of an array was made from, read as one.

    An attribute is the value that all of them have, None where they differ or one lacks it. It
    describes an image that is not in the database, so that nothing can be set.

    Attributes
    ----------
    sources : list of Instance or Frame
        The frames.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> series = db.database(folder).series()[0]
    >>> array, header = series.array(["SliceLocation", "TemporalPositionIdentifier"])
    >>> common = array.max("TemporalPositionIdentifier").dicom.header[0, 0]
    >>> common.SliceLocation == header[0, 0, 0].SliceLocation, common.AcquisitionTime
    (True, None)
    >>> common.sources == header[0, :, 0].tolist()
    True
    """

    __slots__ = ("_frames",)
    _frames: tuple[Instance, ...]

    def __init__(self, sources: Sequence[Instance]) -> None:
        object.__setattr__(self, "_frames", tuple(sources))

    @property
    def sources(self) -> list[Instance]:
        """The frames."""
        return list(self._frames)

    @property
    def database(self) -> Database:
        """The database that the frames belong to."""
        return self._frames[0].database

    @of_one_state
    def _value(self, attribute: Attribute) -> Any:
        from dbdicom_xr.records.reading.gathered import Sources

        found = Sources.of_records([self], (), ())
        return None if found is None else found.common_values(attribute)[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._value(parse_name(name, self._frames[0]._has))

    def __getitem__(self, name: Any) -> Any:
        if isinstance(name, list):
            return [self[part] for part in name]
        if isinstance(name, (int, np.integer)) and name <= 0xFFFF:
            raise UnknownKeyword(f"{name!r} is no tag: the frames are a list, sources[{name!r}].")
        return self._value(parse_name(name, self._frames[0]._has))

    # A record iterates over its children; this has attributes only.
    __iter__ = None

    def _refuse(self, name: object) -> NoReturn:
        raise InvalidValue(
            f"{name} cannot be set here: this stands for {len(self._frames)} frames that became "
            "one image, which is not in the database yet. Give the value when it is written, "
            f"array.dicom.write(series, {name}=...), set it in the series then, or set it in the "
            "frames: for frame in header[0].sources: ..."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse(name if name.startswith("_") else parse_name(name, self._frames[0]._has))

    def __setitem__(self, name: Any, value: Any) -> None:
        self._refuse(name if isinstance(name, list) else parse_name(name, self._frames[0]._has))

    def __delattr__(self, name: str) -> None:
        self._refuse(name)

    def __delitem__(self, name: Any) -> None:
        self._refuse(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Common) and self._frames == other._frames

    def __hash__(self) -> int:
        return hash(self._frames)

    def __reduce__(self) -> tuple[Any, ...]:
        return Common, (self._frames,)

    def __copy__(self) -> Common:
        return self

    def __deepcopy__(self, memo: Any) -> Common:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.object_]:
        result = np.empty((), object)
        result[()] = self
        return result

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._frames[0]._keywords()})

    def __repr__(self) -> str:
        return f"<what {len(self._frames)} frames have in common, from {self._frames[0]!r}>"
