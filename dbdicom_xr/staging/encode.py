"""Python values to the raw bytes of elements, checked: the counterpart of ``index/values``.

What a scientist sets becomes explicit VR little endian, or an ``InvalidValue`` that names the
attribute, the value, the rule of the standard and the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.staging.charsets import header, in_charset, nested_in_charset
from dbdicom_xr.staging.element import Encoded, Rule, listed

__all__ = ["Encoded", "encode", "fits", "recode", "set_encoded"]


def encode(
    tag: int, value: Any, *, creator: str = "", name: str = "", vr: str = "", signed: int = -1
) -> Encoded | None:
    r"""Return a value as the bytes of an element.

    Parameters
    ----------
    tag : int
        Of private elements with the block number taken out, or with any.
    value
        None deletes; ``""`` and ``[]`` leave the element empty. A list, a tuple or a numpy array
        with one dimension sets several values. A sequence is a pydicom ``Dataset``, a list of them,
        or of mappings from keywords to values; character sets declared within it are left out.
    creator : str
        The private creator, "" for standard elements.
    name : str
        As the user wrote it, for messages.
    vr : str
        The one that the files have. Else that of the dictionaries is taken; where they have none,
        one that holds the Python type.
    signed : int
        PixelRepresentation, for elements that follow it; -1 where it is not known.

    Raises
    ------
    InvalidValue
        The value is not one that the VR or the multiplicity allows.

    Notes
    -----
    PS3.5 6.2 (value representations), 6.4 (multiplicity), 7.1 (elements).

    Examples
    --------
    >>> encode(0x00180081, 4.6)
    Encoded(kind=Kind(vr='DS', ...), value=b'4.6 ')
    >>> encode(0x00280030, [0.5, 0.5]).value
    b'0.5\\0.5 '
    >>> encode(0x00280030, [0.5, 0.5, 2.0])
    Traceback (most recent call last):
    ...
    dbdicom_xr.errors.InvalidValue: PixelSpacing (0028,0030) cannot be [0.5, 0.5, 2.0]: ...
    """
    rule = Rule.of(tag, creator, name, vr, signed)
    if value is None:
        return None
    return rule.encode(value, rule.representation([value]))


def set_encoded(
    tag: int,
    values: Sequence[Any],
    *,
    creator: str = "",
    name: str = "",
    vr: str = "",
    signed: int = -1,
) -> list[Encoded | None]:
    """Return one value per frame as the bytes of an element each.

    Distinct values are encoded once: 100,000 decimals that all differ take 0.2 s. Where the VR
    follows the values, it is one that holds all of them.

    Parameters
    ----------
    tag : int
    values : sequence
        One per frame, each as :func:`encode` takes it.
    creator, name, vr, signed
        As for :func:`encode`.

    Raises
    ------
    InvalidValue
        As :func:`encode`, for the first value that is refused.

    Examples
    --------
    >>> [each and each.value for each in set_encoded(0x00181314, [10, None, 12.5])]
    [b'10', None, b'12.5']
    """
    rule = Rule.of(tag, creator, name, vr, signed)
    if isinstance(values, (str, bytes)):
        raise rule.refused(values, "a list is wanted, with one value per frame.")
    column = listed(np.asanyarray(values)) if hasattr(values, "__array__") else list(values)
    keys: list[Any] = []
    distinct: dict[Any, Any] = {}
    for value in column:
        kind = type(value)
        # 1, 1.0 and True are equal, and so are 0.0 and -0.0, and a moment in two time zones.
        ordinary = kind is str or kind is int or (kind is float and value != 0)
        key = (kind, value) if ordinary else id(value)
        keys.append(key)
        distinct[key] = value
    every = rule.encode_all(list(distinct.values()), rule.representation(column))
    encoded = dict(zip(distinct, every, strict=True))
    return [encoded[key] for key in keys]


def fits(encoded: Encoded, charset: bytes) -> bool:
    """Return whether the text of a value can be written in the character set of a file.

    Parameters
    ----------
    encoded : Encoded
    charset : bytes
        The raw value of its SpecificCharacterSet, b"" where it has none.

    Examples
    --------
    >>> fits(encode(0x00100010, "Müller^Jürgen"), b"ISO_IR 100")
    True
    >>> fits(encode(0x00100010, "山田^太郎"), b"ISO_IR 100")
    False
    """
    try:
        recode(encoded, charset)
    except InvalidValue:
        return False
    return True


def recode(encoded: Encoded, charset: bytes) -> bytes:
    r"""Return a value with its text in the character set of a file.

    Parameters
    ----------
    encoded : Encoded
    charset : bytes
        The raw value of its SpecificCharacterSet, b"" where it has none.

    Raises
    ------
    InvalidValue
        The text has characters that this character set has not.

    Examples
    --------
    >>> recode(encode(0x00100010, "Müller"), b"ISO_IR 100")
    b'M\xfcller'
    """
    if not encoded.kind.charset:
        return encoded.value
    if encoded.kind.vr == "SQ":
        return nested_in_charset(encoded.value, charset)
    result = in_charset(encoded.value, encoded.kind.vr, charset)
    header(0, encoded.kind.vr, len(result))
    return result
