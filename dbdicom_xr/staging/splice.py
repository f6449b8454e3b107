"""A copy of a DICOM file in which only some elements differ.

Owns what follows from an edit and nothing else: lengths, group lengths, file meta information,
private blocks, the character set. All other bytes, those of unknown elements included, are copied
as they are, without a look at them. Where elements lie is the business of `spans`, their encoding
that of `convert`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from dbdicom_xr._version import __version__
from dbdicom_xr.errors import InvalidValue, LayoutError
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    LONG_VRS,
    SHORT_VRS,
    Malformed,
    Source,
)
from dbdicom_xr.index.files import open_for_reading, pread
from dbdicom_xr.index.values import instance_uid
from dbdicom_xr.index.walker import inflated
from dbdicom_xr.staging import convert
from dbdicom_xr.staging.convert import name_of
from dbdicom_xr.staging.spans import (
    EXPLICIT_FORM,
    PIXELS,
    Form,
    Layout,
    Patch,
    Span,
    lay_out,
    lay_out_like_before,
    patched,
)

if TYPE_CHECKING:
    from dbdicom_xr.staging.encode import Encoded

__all__ = ["IMPLEMENTATION_CLASS_UID", "IMPLEMENTATION_VERSION_NAME", "Edits", "create", "splice"]

Edits: TypeAlias = "Mapping[Key, Encoded | None]"
"""What to set, and with None what to delete."""

IMPLEMENTATION_CLASS_UID: Final = "2.25.171246209243119221569316006593643882712"
IMPLEMENTATION_VERSION_NAME: Final = f"DBDICOM_XR {__version__}"[:16]

_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_MEDIA_CLASS: Final = 0x00020002
_MEDIA_INSTANCE: Final = 0x00020003
_SYNTAX: Final = 0x00020010
_META_LENGTH: Final = 0x00020000
_CHARSET: Final = 0x00080005

_OWN_CREATOR: Final = "DBDICOM_XR"
_DICOMDIR: Final = "1.2.840.10008.1.3.10"
_UNCOMPRESSED: Final = frozenset(("", IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED))
# The first tag of a data set without preamble: group 0002 or 0008, in either byte order.
_BARE_STARTS: Final = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")

# Files up to this size are read as a whole: for 135 kB, 64 us in place of 76 with the tail copied
# by the system.
_WHOLE: Final = 1 << 20
_BINARY: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_CHUNK: Final = 1 << 20


def splice(source: str, target: str, edits: Edits) -> None:
    """Write a copy of a DICOM file in which only the edited elements differ.

    Parameters
    ----------
    source : str
        The file; it is only read.
    target : str
        The new file, made or truncated. It is not forced to the disk, and is left behind
        incomplete where an error is raised.
    edits : mapping of Key to Encoded or None
        None deletes the element; one that is not there may be deleted.

    Raises
    ------
    LayoutError
        The file cannot be taken apart as far as the edits need.
    InvalidValue
        An edit does not go into this file; the message names file, element and reason.
    OSError
        From reading and writing.

    Notes
    -----
    What follows from the edits: lengths of groups where they stand in the file (PS3.5 7.2), UIDs
    of class and instance in the file meta information (PS3.10 7.1), and where
    SpecificCharacterSet is edited, the bytes of all text that is not ASCII (PS3.3 C.12.1.1.2).
    Of an element that stands twice, readers take one or the other; the edited one stands once.

    Examples
    --------
    >>> import tempfile
    >>> from pydicom import dcmread
    >>> from pydicom.data import get_testdata_file
    >>> from dbdicom_xr.staging.encode import encode
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     edits = {Key(0x00100020): encode(0x00100020, "P1"), Key(0x00081030): None}
    ...     splice(get_testdata_file("CT_small.dcm"), f"{folder}/new.dcm", edits)
    ...     new = dcmread(f"{folder}/new.dcm")
    >>> new.PatientID, "StudyDescription" in new
    ('P1', False)
    """
    fd = open_for_reading(source)
    try:
        size = os.fstat(fd).st_size
        whole = pread(fd, size, 0) if size <= _WHOLE else None
        _splice(Source(fd, size, whole), fd, whole, source, target, edits)
    finally:
        os.close(fd)


def create(target: str, elements: Edits, transfer_syntax: str = EXPLICIT) -> None:
    """Write a DICOM file from nothing (PS3.10 section 7).

    Parameters
    ----------
    target : str
        The new file, made or truncated; not forced to the disk.
    elements : mapping of Key to Encoded or None
        SOPClassUID and SOPInstanceUID among them.
    transfer_syntax : str
        UID of the encoding; the values are converted to it. Pixel data are not compressed.

    Raises
    ------
    InvalidValue
        An element is missing, or cannot be encoded.

    Examples
    --------
    >>> import tempfile
    >>> from pydicom import dcmread
    >>> from dbdicom_xr.staging.encode import encode
    >>> values = {0x00080016: "1.2.840.10008.5.1.4.1.1.7", 0x00080018: "2.25.1"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     elements = {Key(tag): encode(tag, value) for tag, value in values.items()}
    ...     create(f"{folder}/new.dcm", elements)
    ...     dcmread(f"{folder}/new.dcm").SOPInstanceUID
    '2.25.1'
    """
    values: dict[int, bytes] = {}
    for tag in (_SOP_CLASS, _SOP_INSTANCE):
        given = elements.get(Key(tag))
        if given is None or not given.value.strip(b"\0 "):
            raise InvalidValue(f"{target}: {name_of(tag)} is needed to make a DICOM file")
        values[tag] = given.value
    meta = b"".join(
        convert.element(tag, vr, value + bytes(len(value) & 1), EXPLICIT_FORM)
        for tag, vr, value in (
            (0x00020001, "OB", b"\0\1"),
            (_MEDIA_CLASS, "UI", values[_SOP_CLASS]),
            (_MEDIA_INSTANCE, "UI", values[_SOP_INSTANCE]),
            (_SYNTAX, "UI", transfer_syntax.encode("ascii")),
            (0x00020012, "UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
            (0x00020013, "SH", IMPLEMENTATION_VERSION_NAME.encode("ascii").ljust(16)),
        )
    )
    length = convert.element(_META_LENGTH, "UL", len(meta).to_bytes(4, "little"), EXPLICIT_FORM)
    start = bytes(128) + b"DICM" + length + meta
    _splice(Source(-1, 0, start), -1, start, target, target, elements)


def _splice(
    source: Source, fd: int, whole: bytes | None, name: str, target: str, edits: Edits
) -> None:
    """Write the target; ``whole`` are all bytes of the source, ``fd`` is where to get them."""
    try:
        file = _taken_apart(source, fd, whole)
        patches, inner = _patches(file, edits)
        if file.deflated and inner:
            body = convert.deflated(patched(file.data.read(file.data.size, 0), inner))
            patches.append((file.start, source.size, 0, body))
        else:
            patches += inner
        made = os.open(target, os.O_WRONLY | os.O_CREAT | _BINARY, 0o666)
        try:
            there = os.fstat(made)
            if fd >= 0 and os.path.samestat(os.fstat(fd), there):
                raise InvalidValue("a file cannot be written over itself")
            if there.st_size:  # else ext4 would write each new file to the disk when it is closed
                os.ftruncate(made, 0)
            _write_patched(made, fd, source, whole, sorted(patches))
        finally:
            os.close(made)
    except (InvalidValue, LayoutError) as error:
        raise type(error)(f"{name}: {error}") from None


# -- taking apart --------------------------------------------------------------------------------


@dataclass(slots=True)
class _File:
    """A DICOM file, taken apart."""

    meta: Layout  # without spans where there is no file meta information
    start: int  # of the data set
    syntax: str  # "" where the file does not say
    data: Source  # in which the data set is found
    layout: Layout
    form: Form
    source: Source

    @property
    def deflated(self) -> bool:
        return self.data is not self.source


def _taken_apart(source: Source, fd: int, whole: bytes | None) -> _File:
    head = source.read(132, 0)
    if head[128:] != b"DICM" and head[:2] not in _BARE_STARTS:
        raise LayoutError("not a DICOM file (no DICM prefix)")
    meta = lay_out(source, 132 if head[128:] == b"DICM" else 0, EXPLICIT_FORM, meta=True)
    if meta.stuck is not None:
        raise LayoutError(f"{name_of(meta.stuck[0])} cannot be read: {meta.stuck[1]}")
    syntax = instance_uid(_raw(source, meta.places.get(_SYNTAX)))
    if instance_uid(_raw(source, meta.places.get(_MEDIA_CLASS))) == _DICOMDIR:
        raise LayoutError("a DICOMDIR, whose records name places in the file")
    data, position = source, meta.end
    if syntax == DEFLATED:
        try:
            body = inflated(fd, source.size) if source.size > position else b""
        except Malformed as error:
            raise LayoutError(str(error)) from None
        data, position = Source(-1, 0, body), 0
    form = _form(syntax, data.read(6, position))
    if whole is not None and data is source:
        layout = lay_out_like_before(whole, position, form)
    else:
        layout = lay_out(data, position, form)
    return _File(meta, meta.end, syntax, data, layout, form, source)


def _form(syntax: str, start: bytes) -> Form:
    """Return how a data set is encoded that begins with these bytes, as pydicom finds it."""
    implicit, big = syntax == IMPLICIT, syntax == BIG_ENDIAN
    if len(start) == 6:
        # What stands there counts more than what is said.
        implicit = not (start[4:].isalpha() and start[4:].isupper())
        if not syntax and start[4:] in LONG_VRS | SHORT_VRS:
            big = start[1] >= 4  # the group would be 0400 or more
    return Form(implicit, big)


# -- patches -------------------------------------------------------------------------------------

_Values: TypeAlias = dict[int, tuple[str, bytes] | None]
"""What is to stand at some tags: VR and value in the encoding of the file. None: nothing."""


def _patches(file: _File, edits: Edits) -> tuple[list[Patch], list[Patch]]:
    """Return the patches for the file meta information, and for the data set."""
    data, layout, form = file.data, file.layout, file.form
    places = layout.places
    old = new = _raw(data, places.get(_CHARSET))
    if (key := Key(_CHARSET)) in edits:
        given = edits[key]
        new = b"" if given is None else given.value
    meta_values: _Values = {}
    values: _Values = {}
    private: dict[Key, Encoded | None] = {}
    for key, edit in edits.items():
        tag = key.tag
        _check(key, edit, file)
        if key.creator:
            private[key] = edit
        elif tag >> 16 == 2:
            meta_values[tag] = _value(tag, edit, b"", EXPLICIT_FORM)
        else:
            values[tag] = _value(tag, edit, new, form)
    if private:
        _place_private(private, values, file, old, new)
    _check_reach(layout, values)
    patches = _changes(data, layout, form, values)
    if not convert.same_charset(old, new):
        if layout.stuck is not None and layout.stuck[0] not in PIXELS:
            raise LayoutError(f"{name_of(layout.stuck[0])} cannot be read: {layout.stuck[1]}")
        patches += convert.charset_patches(data, layout, form, old, new, values)
    # The file meta information says the same as the data set.
    changed = {tag for _, _, tag, _ in patches}
    for tag, media in ((_SOP_CLASS, _MEDIA_CLASS), (_SOP_INSTANCE, _MEDIA_INSTANCE)):
        edit = edits.get(Key(tag))
        named = media in file.meta.places
        if named and edit is not None and tag in changed and media not in meta_values:
            meta_values[media] = "UI", edit.value
    meta_patches: list[Patch] = []
    if meta_values:
        meta_patches = _changes(file.source, file.meta, EXPLICIT_FORM, meta_values)
        meta_patches += convert.lengths(file.source, file.meta, EXPLICIT_FORM, meta_patches)
    return meta_patches, patches + convert.lengths(data, layout, form, patches)


def _check(key: Key, edit: Encoded | None, file: _File) -> None:
    """Refuse what no file can take, or not this one."""
    tag = key.tag
    group = tag >> 16
    if group in (0, 0xFFFE) or (key.creator and not group & 1):
        raise InvalidValue(f"{key} is no element of a data set")
    if tag == _SYNTAX:
        raise InvalidValue(f"{key} TransferSyntaxUID: the pixels would have to be encoded anew")
    if group == 2 and not file.meta.spans:
        raise InvalidValue(f"{key}: the file has no file meta information")
    if not tag & 0xFFFF and not key.creator and (edit is not None or group == 2):
        raise InvalidValue(f"{key} is the length of a group, which follows from its elements")
    if tag in PIXELS and edit is not None and file.syntax not in _UNCOMPRESSED:
        span = file.layout.places.get(tag)
        if span is None or convert.undefined(file.data, span):
            raise InvalidValue(f"{key}: the pixels of this file are compressed ({file.syntax})")


def _raw(data: Source, span: Span | None) -> bytes:
    return b"" if span is None else data.read(span[4] - span[3], span[3])


def _value(tag: int, edit: Encoded | None, charset: bytes, form: Form) -> tuple[str, bytes] | None:
    """Return VR and value of an edit in the encoding of the file."""
    if edit is None:
        return None
    kind, value = edit
    # A sequence of the file that was edited in its items has kept the encoding of the file.
    own = Form(kind.implicit, kind.big_endian)
    if own not in (EXPLICIT_FORM, form):
        raise InvalidValue(f"{name_of(tag)} comes from a file of another encoding")
    if kind.charset and not convert.same_charset(kind.charset, charset):
        value = convert.with_charset(tag, kind.vr, value, kind.charset, charset, own)
    try:
        return kind.vr, value if own == form else convert.with_form(kind.vr, value, form)
    except InvalidValue as error:
        raise InvalidValue(f"{name_of(tag)}: {error}") from None


def _place_private(
    private: Mapping[Key, Encoded | None],
    values: _Values,
    file: _File,
    old: bytes,
    new: bytes,
) -> None:
    """Add private elements to the values, at tags in blocks of their creators (PS3.5 7.8.1)."""
    places = file.layout.places
    blocks = convert.creators(file.data, file.layout, old)
    for tag, value in values.items():
        group, element = tag >> 16, tag & 0xFFFF
        if group & 1 and 0x10 <= element <= 0xFF:
            blocks.pop((group, element), None)
            if value is not None:
                text = value[1]
                blocks[group, element] = convert.creator_text(tag, text, new)
    for key, edit in private.items():
        group, element = key.tag >> 16, key.tag & 0xFF
        mine = [block for (g, block), text in blocks.items() if (g, text) == (group, key.creator)]
        tags = [group << 16 | block << 8 | element for block in mine]
        tags = [tag for tag in tags if tag in places] or tags
        if edit is None and not any(tag in places for tag in tags):
            continue
        if not tags:
            taken = {(t & 0xFFFF) >> 8 for t in (*places, *values) if t >> 16 == group}
            taken |= {t & 0xFFFF for t in (*places, *values) if t >> 16 == group}
            free = next((block for block in range(0x10, 0x100) if block not in taken), None)
            if free is None:
                raise InvalidValue(f"{key}: group {group:04x} has no free private block left")
            creator = group << 16 | free
            values[creator] = "LO", convert.encoded("LO", key.creator, new)
            blocks[group, free] = key.creator
            tags = [group << 16 | free << 8 | element]
        values[tags[0]] = _value(tags[0], edit, new, file.form)
    for (group, block), name in blocks.items():
        creator = group << 16 | block
        if name == _OWN_CREATOR and creator not in values:
            inside = {tag for tag in (*places, *values) if tag >> 8 == group << 8 | block}
            if inside and all(tag in values and values[tag] is None for tag in inside):
                values[creator] = None  # nothing is left that it speaks for


def _check_reach(layout: Layout, values: _Values) -> None:
    """Refuse edits behind an element that cannot be stepped over."""
    if layout.stuck is None:
        return
    stuck, reason = layout.stuck
    for tag in values:
        if tag >= stuck and tag not in layout.places:
            raise LayoutError(
                f"{name_of(tag)} cannot be changed, as {name_of(stuck)} cannot be read: {reason}"
            )


def _changes(data: Source, layout: Layout, form: Form, values: _Values) -> list[Patch]:
    """Return the patches that bring the elements to their values."""
    spans, places = layout.spans, layout.places
    patches: list[Patch] = []
    for tag, wanted in values.items():
        span = places.get(tag)
        if span is None:
            if wanted is not None:
                at = next((s[2] for s in spans if s[0] > tag), layout.end)
                patches.append((at, at, tag, convert.element(tag, *wanted, form)))
            continue
        _, code, start, _, end = span
        if wanted is None:
            patches.append((start, end, tag, b""))
        elif (form.implicit or code == wanted[0].encode("ascii")) and wanted[1] == _content(
            data, span
        ):
            continue
        else:
            patches.append((start, end, tag, convert.element(tag, *wanted, form)))
        if len(places) != len(spans):
            # Readers disagree on which one counts of several with one tag.
            patches += [(s[2], s[4], tag, b"") for s in spans if s[0] == tag and s is not span]
    return patches


def _content(data: Source, span: Span) -> bytes:
    """Return the value, without the delimiter of one of undefined length."""
    value = _raw(data, span)
    return value[:-8] if convert.undefined(data, span) else value


# -- writing -------------------------------------------------------------------------------------

_copy_file_range: Callable[..., int] | None = getattr(os, "copy_file_range", None)
_writev: Callable[..., int] | None = getattr(os, "writev", None)


def _write_patched(
    made: int, fd: int, source: Source, whole: bytes | None, patches: list[Patch]
) -> None:
    parts: list[bytes] = []
    position = 0
    for start, end, _, new in patches:
        if whole is None and start - position > _CHUNK:
            _write(made, b"".join(parts))
            _copy(fd, made, position, start - position)
            parts = []
        else:
            parts.append(source.read(start - position, position))
        parts.append(new)
        position = end
    if whole is not None:
        _write_both(made, b"".join(parts), memoryview(whole)[position:])
    else:
        _write(made, b"".join(parts))
        _copy(fd, made, position, source.size - position)


def _write_both(made: int, head: bytes, tail: memoryview) -> None:
    """Write two pieces, at once where the system can: 8 us less."""
    done = 0 if _writev is None else _writev(made, (head, tail))
    _write(made, head[done:])
    _write(made, tail[max(0, done - len(head)) :])


def _write(made: int, data: bytes | memoryview) -> None:
    while data:
        data = data[os.write(made, data) :]


def _copy(fd: int, made: int, position: int, count: int) -> None:
    """Copy bytes from file to file, by the system where it can."""
    while count and _copy_file_range is not None:
        try:
            done = _copy_file_range(fd, made, count, position)
        except OSError:  # not between these two: what else is wrong shows below
            break
        if not done:
            break
        position, count = position + done, count - done
    while count:
        data = pread(fd, min(count, _CHUNK), position)
        if not data:
            raise LayoutError("the file became shorter while it was copied")
        _write(made, data)
        position, count = position + len(data), count - len(data)
