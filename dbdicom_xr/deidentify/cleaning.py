"""Text that a function of the user takes identity out of: what it returns, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.names import function_name
from dbdicom_xr.staging.convert import encoded
from dbdicom_xr.staging.texts import PARAGRAPHS, text

__all__ = ["cleaned"]


def cleaned(
    clean: Callable[[str, str], str | None],
    keyword: str,
    vr: str,
    value: str,
    charset: str | Sequence[str] | None,
) -> str | None:
    """Return a text as far as a function of the user lets it stand, None where it does not.

    Parameters
    ----------
    clean : callable
        ``clean(keyword, text)``
    keyword, vr, value : str
        Of the element; `value` is one of its values.
    charset : str, sequence of str or None
        SpecificCharacterSet.

    Raises
    ------
    InvalidValue
        The function failed, or what it returned cannot stand there.

    Examples
    --------
    >>> cleaned(lambda keyword, text: text.replace("Doe", "-"), "ImageComments", "LT", "Doe", None)
    '-'
    """
    try:
        result = clean(keyword, value)
    except Exception as error:
        raise InvalidValue(
            f"{keyword} cannot be cleaned: {function_name(clean)} failed with "
            f"{type(error).__name__}: {error}. Nothing was written."
        ) from error
    if result is None or result == value:
        return result
    try:
        result = text(result, vr)
        if "\\" in result and vr not in PARAGRAPHS:
            raise InvalidValue("a backslash separates values (PS3.5 6.2); take it out.")
        terms = [charset] if isinstance(charset, str) else list(charset or ())
        encoded(vr, result, "\\".join(terms).encode("ascii", "replace"))
    except InvalidValue as error:
        raise InvalidValue(
            f"{keyword} cannot become what {function_name(clean)} returned, {result!r:.80}: {error}"
        ) from error
    return result
