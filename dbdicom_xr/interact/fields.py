"""The fields of an input form, and the values that may stand in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from dbdicom_xr.errors import InvalidValue

FieldType = Literal["string", "integer", "float", "dropdownlist", "listview"]
RecordType = Literal["select record", "select records", "select optional record"]
NO_RECORD = "(none)"


class Field(TypedDict, total=False):
    """One field of ``dialog.input``, spelt as dbdicom spells it.

    Attributes
    ----------
    label : str
        What is asked for.
    type : {"string", "integer", "float", "dropdownlist", "listview"}
        ``"dropdownlist"`` is one choice out of `list`, ``"listview"`` any number of them.
    value : str, int, float, or list of int
        What stands there before anything is typed. For a choice: its index, counted from 0.
    list : sequence of str
        The choices.
    minimum, maximum : float
        The closed range of a number.
    options : sequence of records
        For the types ``"select record"``, ``"select records"`` and ``"select optional record"``.
        The answer has the record itself (a list of records; a record or None) in the place of
        the field.
    default : record, list of records or None
        Which of the options are chosen before anything is.
    """

    label: str
    type: FieldType | RecordType
    value: Any
    list: Sequence[str]
    minimum: float
    maximum: float
    options: Sequence[Any]
    default: Any


def check_field(field: Field) -> None:
    """Raise ``InvalidValue`` where a field, without records, does not say what it asks for."""
    if not isinstance(field, Mapping):
        raise InvalidValue(
            f"{field!r} is no field: a field is a dict, as in {{'label': 'Size (mm)', 'type': "
            "'float'}."
        )
    label, kind = field.get("label"), field.get("type", "string")
    if not label:
        raise InvalidValue(f"a field needs a label: {field!r}")
    if kind not in FieldType.__args__:  # type: ignore[attr-defined]
        known = ", ".join(FieldType.__args__)  # type: ignore[attr-defined]
        raise InvalidValue(f"field {label!r}: unknown type {kind!r}; one of {known}")
    if kind in ("dropdownlist", "listview"):
        if not field.get("list"):
            raise InvalidValue(f"field {label!r}: a {kind} needs a list of choices")
        if "value" in field:
            check_value(field, field["value"])


def without_records(field: Any) -> Any:
    """Return the field that asks for a record by its name: front ends know of none.

    Examples
    --------
    >>> without_records({"label": "Fixed", "type": "select record", "options": ["a", "b"]})
    {'label': 'Fixed', 'type': 'dropdownlist', 'list': ['a', 'b'], 'value': 0}
    """
    if not isinstance(field, Mapping):
        return field  # check_field says what is wrong
    kind, label = field.get("type", "string"), field.get("label", "")
    if kind not in RecordType.__args__:  # type: ignore[attr-defined]
        return field
    options = list(field.get("options", ()))
    default = field.get("default")
    wanted = list(default) if isinstance(default, list | tuple) else [default]
    chosen = [i for i, option in enumerate(options) if option in wanted]
    names = [_name(option) for option in options]
    if kind == "select records":
        return {"label": label, "type": "listview", "list": names, "value": chosen}
    if kind == "select optional record":
        first = chosen[0] + 1 if chosen else 0
        return {
            "label": label, "type": "dropdownlist", "list": [NO_RECORD, *names], "value": first,
        }  # fmt: skip
    first = chosen[0] if chosen else 0
    return {"label": label, "type": "dropdownlist", "list": names, "value": first}


def filled(field: Field, value: Any) -> Any:
    """Return a field with the value that was given; for records the record, or the records."""
    kind = field.get("type", "string")
    if kind == "select record":
        return field["options"][value]
    if kind == "select records":
        return [field["options"][index] for index in value]
    if kind == "select optional record":
        return field["options"][value - 1] if value else None
    copy = field.copy()
    copy["value"] = value
    return copy


def _name(record: Any) -> str:
    return str(getattr(record, "path", record))


def check_value(field: Field, value: Any) -> Any:
    """Return a value as the type of its field.

    Parameters
    ----------
    field : Field
        What was asked for.
    value : Any
        What was answered; a text is read as what the field asks for.

    Raises
    ------
    InvalidValue
        If the value does not fit the field: its type, its range, its choices.

    Examples
    --------
    >>> check_value({"label": "Radius", "type": "integer", "minimum": 1}, "3")
    3
    >>> check_value({"label": "Mode", "type": "dropdownlist", "list": ["nearest", "wrap"]}, "wrap")
    1
    """
    kind, label = field.get("type", "string"), field["label"]
    if kind == "string":
        return str(value)
    if kind == "dropdownlist":
        return _choice(field, value)
    if kind == "listview":
        chosen = value.split(",") if isinstance(value, str) else value
        return sorted({_choice(field, one) for one in chosen if str(one).strip()})
    try:
        number = int(str(value)) if kind == "integer" else float(value)
    except (TypeError, ValueError):
        kind_name = "a whole number" if kind == "integer" else "a number"
        raise InvalidValue(f"{label}: {value!r} is not {kind_name}") from None
    low, high = field.get("minimum", -math.inf), field.get("maximum", math.inf)
    if not low <= number <= high:
        raise InvalidValue(f"{label}: {value} is not between {low:g} and {high:g}")
    return number


def _choice(field: Field, value: Any) -> int:
    """Return the index of a choice that is given by its text or, as a number, by its index."""
    choices = list(field["list"])
    if isinstance(value, str):
        text = value.strip()
        if text in choices:
            return choices.index(text)
        index = int(text) if text.isdecimal() else -1
    else:
        index = int(value)
    if not 0 <= index < len(choices):
        raise InvalidValue(f"{field['label']}: {value!r} is none of {', '.join(choices)}")
    return index
