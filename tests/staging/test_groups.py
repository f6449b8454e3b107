"""Functional groups are edited where the index finds the attribute, and nowhere else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import External, Malformed, Unusual
from dbdicom_xr.index.functional import PER_FRAME, SHARED, frame_columns
from dbdicom_xr.index.values import Kind, known_vr
from dbdicom_xr.index.walker import header_of
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.groups import belongs_in_groups, edit_groups, lives_in_groups
from dbdicom_xr.staging.items import in_byte_order, split_items
from dbdicom_xr.testing import make_enhanced
from tests.data import testdata_files
from tests.staging.test_references import ENCODINGS, encodings, item, lengths, parsed, raw

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")

Edits = Mapping[Key, Mapping[int | None, Encoded | None]]
Shown = dict[Key, list[tuple[str, bytes] | None]]


def key_of(keyword: str) -> Key:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return Key(tag)


def value_of(keyword: str, value: Any) -> Encoded:
    encoded = encode(key_of(keyword).tag, value)
    assert encoded is not None
    return encoded


def shown(shared: bytes | None, per_frame: bytes | None, frames: int, kind: Kind) -> Shown:
    """What the index finds: VR and raw value of each frame."""
    columns, _ = frame_columns(shared, per_frame, frames, kind)
    result: Shown = {}
    for key, column in columns.items():
        values = [
            (column.kinds[k].vr, value)
            for k, value in zip(column.kind_of, column.values, strict=True)
        ]
        result[key] = [  # type: ignore[assignment]
            values[code] if code >= 0 else None for code in column.codes_of().tolist()
        ]
    return result


def is_creator(key: Key) -> bool:
    return bool(key.tag & 0x10000) and not key.creator and not key.tag & 0xFF00


def check(
    shared: bytes | None, per_frame: bytes | None, frames: int, kind: Kind, edits: Edits
) -> tuple[bytes | None, bytes | None]:
    """Edit, and compare what the index finds before and after, frame by frame."""
    before = shown(shared, per_frame, frames, kind)
    new = edit_groups(shared, per_frame, frames, kind, edits)
    after = shown(*new, frames, kind)
    nothing: list[tuple[str, bytes] | None] = [None] * frames
    edited = {frame for changes in edits.values() for frame in changes}
    for key in before.keys() | after.keys():
        if is_creator(key):  # new blocks
            continue
        old, now = before.get(key, nothing), after.get(key, nothing)
        is_sequence = "SQ" in {
            part[0] or known_vr(key.dictionary_tag, key.creator)
            for part in (*old, *now)
            if part is not None
        }
        changes = edits.get(key, {})
        for frame in range(frames):
            wanted = old[frame]
            if frame in changes or None in changes:
                encoded = changes[frame] if frame in changes else changes[None]
                wanted = None
                if encoded is not None:
                    vr = encoded.kind.vr
                    value = in_byte_order(vr, encoded.value, kind.big_endian)
                    wanted = ("" if kind.implicit else vr), value
            elif is_sequence and (frame in edited or None in edited):
                continue  # what is in it was edited
            assert now[frame] == wanted, (key, frame)
    for key, changes in edits.items():
        if None not in changes.values() and changes:
            assert lives_in_groups(*new, kind, key)
    return new


# -- against the same edit by pydicom -------------------------------------------------------

FRAMES = 6


def made(tmp_path: Path) -> Dataset:
    series = make_enhanced(
        tmp_path,
        keys={"SliceLocation": [0.0, 5.0, 10.0], "EchoTime": [2.0, 5.0]},
        shape=(4, 4),
    )
    dataset = pydicom.dcmread(series.files[0])
    shared = dataset.SharedFunctionalGroupsSequence[0]
    del shared.MRAveragesSequence
    private = item(FlipAngle=99.0)
    private.private_block(0x0021, "ACME", create=True).add_new(0x02, "DS", "7")
    block = shared.private_block(0x0021, "ACME", create=True)
    block.add_new(0x0F, "SQ", Sequence([private]))
    for i, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        # The same block, of another creator, so that moving has to find a free one.
        frame.private_block(0x0021, "OTHER", create=True).add_new(0x01, "SL", i)
    return dataset


def in_shared(dataset: Dataset, macro: str) -> Dataset:
    return dataset.SharedFunctionalGroupsSequence[0][macro].value[0]  # type: ignore[no-any-return]


def in_frame(dataset: Dataset, frame: int, macro: str) -> Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[frame][macro].value[0]  # type: ignore[no-any-return]


def moved(dataset: Dataset, macro: str) -> None:
    """Move a macro from the shared groups into those of each frame."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        setattr(frame, macro, copy.deepcopy(shared[macro].value))
    del shared[macro]


def per_frame_edited(d: Dataset) -> None:
    in_frame(d, 2, "MREchoSequence").EffectiveEchoTime = 77.5


def per_frame_for_all(d: Dataset) -> None:
    for i in range(FRAMES):
        in_frame(d, i, "MREchoSequence").EffectiveEchoTime = 77.5


def per_frame_deleted(d: Dataset) -> None:
    del in_frame(d, 2, "MREchoSequence").EffectiveEchoTime


def shared_for_all(d: Dataset) -> None:
    in_shared(d, "MRTimingAndRelatedParametersSequence").FlipAngle = 12.25


def shared_deleted(d: Dataset) -> None:
    del in_shared(d, "MRTimingAndRelatedParametersSequence").FlipAngle


def shared_for_one(d: Dataset) -> None:
    moved(d, "MRTimingAndRelatedParametersSequence")
    in_frame(d, 4, "MRTimingAndRelatedParametersSequence").FlipAngle = 12.25


def shared_deleted_for_one(d: Dataset) -> None:
    moved(d, "MRTimingAndRelatedParametersSequence")
    del in_frame(d, 4, "MRTimingAndRelatedParametersSequence").FlipAngle


def text_in_all_frames(d: Dataset) -> None:
    moved(d, "MRImageFrameTypeSequence")
    for i in range(FRAMES):
        value = ["DERIVED", "PRIMARY", "A", f"B{i}"]
        in_frame(d, i, "MRImageFrameTypeSequence").FrameType = value


def nested_added(d: Dataset) -> None:
    moved(d, "MRTimingAndRelatedParametersSequence")
    timing = in_frame(d, 0, "MRTimingAndRelatedParametersSequence")
    timing.OperatingModeSequence[0].OperatingMode = "OTHER"


def beside_in_its_macro(d: Dataset) -> None:
    moved(d, "PixelMeasuresSequence")
    del in_frame(d, 1, "PixelMeasuresSequence").SpacingBetweenSlices


def added_beside(d: Dataset) -> None:
    in_frame(d, 3, "FrameContentSequence").FrameComments = "seen"


FRAME_TYPES = {
    i: value_of("FrameType", ["DERIVED", "PRIMARY", "A", f"B{i}"]) for i in range(FRAMES)
}
ECHO, ANGLE = value_of("EffectiveEchoTime", 77.5), value_of("FlipAngle", 12.25)
EDITS: dict[str, tuple[str, Mapping[int | None, Encoded | None], Any]] = {
    "per frame": ("EffectiveEchoTime", {2: ECHO}, per_frame_edited),
    "per frame, all": ("EffectiveEchoTime", {None: ECHO}, per_frame_for_all),
    "per frame, delete": ("EffectiveEchoTime", {2: None}, per_frame_deleted),
    "shared, all": ("FlipAngle", {None: ANGLE}, shared_for_all),
    "shared, all one by one": ("FlipAngle", dict.fromkeys(range(FRAMES), ANGLE), shared_for_all),
    "shared, delete": ("FlipAngle", {None: None}, shared_deleted),
    "shared, one": ("FlipAngle", {4: ANGLE}, shared_for_one),
    "shared, delete in one": ("FlipAngle", {4: None}, shared_deleted_for_one),
    "shared, text": ("FrameType", FRAME_TYPES, text_in_all_frames),
    "nested": ("OperatingMode", {0: value_of("OperatingMode", "OTHER")}, nested_added),
    "shared, delete another": ("SpacingBetweenSlices", {1: None}, beside_in_its_macro),
    "new in a macro": ("FrameComments", {3: value_of("FrameComments", "seen")}, added_beside),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
@encodings
@lengths
def test_as_by_pydicom(tmp_path: Path, name: str, encoding: str, of_undefined_length: bool) -> None:
    keyword, changes, by_pydicom = EDITS[name]
    kind = ENCODINGS[encoding]
    dataset = made(tmp_path)

    def groups() -> list[bytes]:
        return [
            raw(list(dataset[tag].value), kind, of_undefined_length) for tag in (SHARED, PER_FRAME)
        ]

    before = groups()
    result = check(*before, FRAMES, kind, {key_of(keyword): changes})
    by_pydicom(dataset)
    assert list(result) == groups()


# -- places ---------------------------------------------------------------------------------

# Attributes that no group has: where they go if set for one frame, and for all.
NEW = {
    "DiffusionBValue": (700.0, "MRDiffusionSequence", False, True),
    "DiffusionDirectionality": ("ISOTROPIC", "MRDiffusionSequence", False, True),
    "DiffusionGradientOrientation": (
        [0.0, 0.6, 0.8],
        "MRDiffusionSequence/DiffusionGradientDirectionSequence",
        False,
        True,
    ),
    "WindowCenter": (40.0, "FrameVOILUTSequence", False, True),
    "RealWorldValueSlope": (2.5, "RealWorldValueMappingSequence", False, True),
    "NominalCardiacTriggerDelayTime": (20.0, "CardiacSynchronizationSequence", False, True),
    "FrameAcquisitionNumber": (3, "FrameContentSequence", False, False),
    "SpacingBetweenSlices": (3.5, "PixelMeasuresSequence", False, True),
}


@pytest.mark.parametrize("keyword", NEW)
@encodings
@lengths
def test_new_attributes_have_a_place(
    tmp_path: Path, keyword: str, encoding: str, of_undefined_length: bool
) -> None:
    value, path, *_ = NEW[keyword]
    kind = ENCODINGS[encoding]
    dataset = made(tmp_path)
    del in_shared(dataset, "PixelMeasuresSequence").SpacingBetweenSlices
    for i in range(FRAMES):
        in_frame(dataset, i, "FrameContentSequence").pop("FrameAcquisitionNumber", None)
    groups = [raw(list(dataset[t].value), kind, of_undefined_length) for t in (SHARED, PER_FRAME)]
    key, encoded = key_of(keyword), value_of(keyword, value)
    assert belongs_in_groups(key)
    assert not lives_in_groups(*groups, kind, key)
    for changes, where in (({1: encoded}, 1), ({None: encoded}, 0)):
        if keyword == "FrameAcquisitionNumber":
            where = 1  # never shared (PS3.3 C.7.6.16.2.2)
        result = check(*groups, FRAMES, kind, {key: changes})
        holder = parsed(result[where] or b"", kind)[where and 1]
        for name in path.split("/"):
            (holder,) = holder[name].value
        assert holder[keyword].value == value
    assert check(*groups, FRAMES, kind, {key: {None: None}}) == tuple(groups)


def test_what_belongs_in_groups() -> None:
    assert belongs_in_groups(key_of("FrameType"))
    assert not belongs_in_groups(key_of("PatientName"))
    assert not belongs_in_groups(Key(0x0021000F, "ACME"))


ENHANCED = Kind("SQ")


def plain_groups(frames: int = 3) -> tuple[bytes, bytes]:
    shared = item(MREchoSequence=[item(EffectiveEchoTime=1.0)])
    rows = [item(FrameContentSequence=[item(TemporalPositionIndex=i)]) for i in range(frames)]
    return raw([shared], ENHANCED), raw(rows, ENHANCED)


def test_refused() -> None:
    groups = plain_groups()
    cases: list[tuple[int, Key, Mapping[int | None, Encoded | None], str]] = [
        (3, key_of("PatientName"), {1: value_of("PatientName", "A")}, "set it on the instance"),
        (3, key_of("FrameType"), {None: FRAME_TYPES[0]}, "set it on the instance"),
        (4, key_of("TemporalPositionIndex"), {3: value_of("TemporalPositionIndex", 1)}, "Frame 3"),
        (4, key_of("EffectiveEchoTime"), {0: ECHO}, "Frame 3"),
        (3, key_of("EffectiveEchoTime"), {3: ECHO}, "no frame 3"),
    ]
    for frames, key, changes, message in cases:
        with pytest.raises(InvalidValue, match=message):
            edit_groups(*groups, frames, ENHANCED, {key: changes})
    with pytest.raises(InvalidValue, match="Frame 0 has no item"):
        edit_groups(None, None, 1, ENHANCED, {key_of("EffectiveEchoTime"): {None: ECHO}})


def test_several_items_are_ambiguous() -> None:
    maps = [item(LUTLabel="A"), item(LUTLabel="B")]
    shared = raw([item(RealWorldValueMappingSequence=maps)], ENHANCED)
    slope = {None: value_of("RealWorldValueSlope", 2.0)}
    with pytest.raises(InvalidValue, match="2 items"):
        edit_groups(shared, None, 1, ENHANCED, {key_of("RealWorldValueSlope"): slope})


def test_a_macro_against_the_standard_in_both() -> None:
    shared = raw([item(MREchoSequence=[item(EffectiveEchoTime=1.0, FlipAngle=5.0)])], ENHANCED)
    rows = [item(MREchoSequence=[item(FlipAngle=6.0)]), item(), item()]
    per_frame = raw(rows, ENHANCED)
    key = key_of("EffectiveEchoTime")
    new = check(shared, per_frame, 3, ENHANCED, {key: {0: ECHO, 2: ECHO}})
    assert new[0] == shared
    with pytest.raises(InvalidValue, match="too"):
        edit_groups(shared, per_frame, 3, ENHANCED, {key: {2: None}})


def test_an_attribute_elsewhere_would_change() -> None:
    # Its own flip angle counts for frame 1, and would not behind that of the macro.
    timing = item(FlipAngle=5.0, RepetitionTime=9.0)
    shared = raw([item(MRTimingAndRelatedParametersSequence=[timing])], ENHANCED)
    per_frame = raw([item(), item(MREchoSequence=[item(FlipAngle=6.0)])], ENHANCED)
    key = key_of("RepetitionTime")
    changes = {0: value_of("RepetitionTime", 7.0)}
    with pytest.raises(InvalidValue, match="elsewhere in those of frame 1"):
        edit_groups(shared, per_frame, 2, ENHANCED, {key: changes})
    check(shared, per_frame, 2, ENHANCED, {key: {None: changes[0]}})


def test_macros_that_share_an_attribute_move_together() -> None:
    # That of the echo counts, being the first; so it must in the items of the frames.
    echo = item(EffectiveEchoTime=1.0)
    echo.private_block(0x0021, "ACME", create=True).add_new(0x02, "DS", "1")
    diffusion = item(DiffusionBValue=0.0)
    diffusion.private_block(0x0021, "ACME", create=True).add_new(0x02, "DS", "2")
    shared = item(
        MREchoSequence=[echo], MRDiffusionSequence=[diffusion], PlanePositionSequence=[item()]
    )
    groups = raw([shared], ENHANCED), raw([item(), item()], ENHANCED)
    b_value = {1: value_of("DiffusionBValue", 500.0)}
    new = check(*groups, 2, ENHANCED, {key_of("DiffusionBValue"): b_value})
    assert list(parsed(new[0] or b"", ENHANCED)[0].keys()) == [
        tag_for_keyword("PlanePositionSequence")
    ]


def test_an_attribute_beside_the_macros() -> None:
    # What the frames have counts, so that the element beside the shared macros does not move.
    shared = raw([item(FlipAngle=7.0)], ENHANCED)
    timing = [item(MRTimingAndRelatedParametersSequence=[item(FlipAngle=5.0)])]
    changes = {0: value_of("FlipAngle", 9.0)}
    new = check(shared, raw(timing * 3, ENHANCED), 3, ENHANCED, {key_of("FlipAngle"): changes})
    assert new[0] == shared
    # Here frame 1 has none of its own.
    per_frame = raw([timing[0], item(), timing[0]], ENHANCED)
    with pytest.raises(InvalidValue, match="elsewhere in those of frame 0"):
        edit_groups(shared, per_frame, 3, ENHANCED, {key_of("FlipAngle"): {1: changes[0]}})
    check(shared, per_frame, 3, ENHANCED, {key_of("FlipAngle"): changes})


@encodings
def test_private_attributes_by_creator(tmp_path: Path, encoding: str) -> None:
    kind = ENCODINGS[encoding]
    dataset = made(tmp_path)
    groups = [raw(list(dataset[t].value), kind) for t in (SHARED, PER_FRAME)]
    ours = Encoded(Kind("SL"), (-5).to_bytes(4, "little", signed=True))
    new = check(*groups, FRAMES, kind, {Key(0x00210001, "OTHER"): {2: ours, 3: None}})
    frames = parsed(new[1] or b"", kind)
    assert 0x00211001 not in frames[3]
    if kind.implicit:
        return  # without a VR, a private sequence is not known as one
    assert frames[2][0x0021, 0x1001].value == -5
    decimal = Encoded(Kind("DS"), b"8.5 ")
    new = check(*groups, FRAMES, kind, {Key(0x00210002, "ACME"): {1: decimal}})
    frames = parsed(new[1] or b"", kind)
    assert 0x0021100F not in parsed(new[0] or b"", kind)[0]
    for i, frame in enumerate(frames):
        block = frame.private_block(0x0021, "ACME")
        (inner,) = block[0x0F].value
        assert inner.private_block(0x0021, "ACME")[0x02].value == (8.5 if i == 1 else 7)
        assert inner.FlipAngle == 99.0
        assert frame.private_block(0x0021, "OTHER")[0x01].value == i


def test_a_sequence_is_an_attribute_too(tmp_path: Path) -> None:
    code = item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="\u00e4")
    purpose = encode(key_of("AnatomicRegionSequence").tag, [code])
    assert purpose is not None
    for kind in ENCODINGS.values():
        dataset = made(tmp_path)
        groups = [raw(list(dataset[t].value), kind) for t in (SHARED, PER_FRAME)]
        changes = {key_of("AnatomicRegionSequence"): {3: purpose}}
        new = edit_groups(*groups, FRAMES, kind, changes)
        for i, frame in enumerate(parsed(new[1] or b"", kind)):
            region = frame.FrameAnatomySequence[0].AnatomicRegionSequence[0]
            assert region.CodeValue == ("1" if i == 3 else "113345001")
            assert frame.FrameAnatomySequence[0].FrameLaterality == "U"


@encodings
@lengths
def test_damaged(tmp_path: Path, encoding: str, of_undefined_length: bool) -> None:
    kind = ENCODINGS[encoding]
    shared, per_frame = plain_groups()
    shared, per_frame = (
        raw(parsed(part, ENHANCED), kind, of_undefined_length) for part in (shared, per_frame)
    )
    refused = 0
    for end in range(len(shared)):
        try:
            edit_groups(shared[:end], per_frame, 3, kind, {key_of("EffectiveEchoTime"): {1: ECHO}})
        except (Malformed, InvalidValue):
            refused += 1
    assert refused > 10


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(list(ENCODINGS)),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_bytes_that_were_changed(
    encoding: str, of_undefined_length: bool, changes: list[tuple[int, int]]
) -> None:
    kind = ENCODINGS[encoding]
    shared, per_frame = (
        bytearray(raw(parsed(part, ENHANCED), kind, of_undefined_length)) for part in plain_groups()
    )
    for at, byte in changes:
        value = shared if at % 2 else per_frame
        value[at // 2 % len(value)] = byte
    for keyword in ("EffectiveEchoTime", "TemporalPositionIndex"):
        for frame in (1, None):
            edit = {frame: value_of(keyword, 5)}
            with suppress(Malformed, InvalidValue):
                edit_groups(bytes(shared), bytes(per_frame), 3, kind, {key_of(keyword): edit})


# -- any groups -----------------------------------------------------------------------------

POOL: dict[str, list[Any]] = {
    "EffectiveEchoTime": [1.0, 2.0],
    "FlipAngle": [3.0, 4.0],
    "DiffusionBValue": [0.0, 500.0],
    "TemporalPositionIndex": [1, 2],
    "FrameComments": ["a", "bc"],
    "RescaleSlope": [1.0, 2.0],
    "Rows": [5],
    "DiffusionGradientOrientation": [[0.0, 0.0, 1.0]],
}
MACROS = {
    "MREchoSequence": ["EffectiveEchoTime", "Rows"],
    "MRTimingAndRelatedParametersSequence": ["FlipAngle"],
    "MRDiffusionSequence": ["DiffusionBValue"],
    "FrameContentSequence": ["TemporalPositionIndex", "FrameComments"],
    "PixelValueTransformationSequence": ["RescaleSlope"],
}
BY_CREATOR = Key(0x00210002, "ACME")


@st.composite
def macro_items(draw: st.DrawFn, names: list[str], depth: int, wild: bool) -> Dataset:
    one = Dataset()
    for name in names:
        if draw(st.integers(0, 3)):
            setattr(one, name, draw(st.sampled_from(POOL[name])))
    if draw(st.booleans()):
        one.private_block(0x0021, "ACME", create=True).add_new(
            # Each macro has attributes of its own.
            0x02 if wild else 0x10 + list(POOL).index(names[0]),
            "DS",
            draw(st.sampled_from(["1", "2.5"])),
        )
    if wild and depth and not draw(st.integers(0, 2)):
        name = draw(
            st.sampled_from([*MACROS, "ReferencedImageSequence", "MRMetaboliteMapSequence"])
        )
        inner = [
            draw(macro_items(draw(some_names), depth - 1, True))
            for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2])))
        ]
        setattr(one, name, inner)
    return one


some_names = st.lists(st.sampled_from(list(POOL)), max_size=3, unique=True)


@st.composite
def group_items(draw: st.DrawFn, macros: list[str], wild: bool) -> Dataset:
    one = Dataset()
    for name in macros:
        names = draw(some_names) if wild else MACROS[name]
        setattr(one, name, [draw(macro_items(names, 2, wild))])
    if wild and not draw(st.integers(0, 3)):
        one.private_block(0x0021, draw(st.sampled_from(["ACME", "OTHER"])), create=True).add_new(
            0x02, "DS", "7"
        )
    if wild and not draw(st.integers(0, 3)):
        name = draw(st.sampled_from(list(POOL)))
        setattr(one, name, draw(st.sampled_from(POOL[name])))
    return one


@st.composite
def edits(draw: st.DrawFn, frames: int) -> dict[Key, dict[int | None, Encoded | None]]:
    result: dict[Key, dict[int | None, Encoded | None]] = {}
    for name in draw(st.lists(st.sampled_from([*POOL, "private"]), max_size=2, unique=True)):
        if name == "Rows":
            continue
        if name == "private":
            key, encoded = BY_CREATOR, Encoded(Kind("DS"), b"99")
        else:
            values = {"FrameComments": "new", "DiffusionGradientOrientation": [1.0, 0.0, 0.0]}
            key, encoded = key_of(name), value_of(name, values.get(name, 99))
        result[key] = draw(
            st.dictionaries(
                st.one_of(st.none(), st.integers(0, frames - 1)),
                st.sampled_from([encoded, encoded, None]),
                min_size=1,
            )
        )
    return result


def any_groups(
    data: st.DataObject, wild: bool
) -> tuple[bytes | None, bytes | None, int, Kind, Edits]:
    kind = ENCODINGS[data.draw(st.sampled_from(list(ENCODINGS)))]
    of_undefined_length = data.draw(st.booleans())
    frames = data.draw(st.integers(1, 4))
    common = data.draw(st.lists(st.sampled_from(list(MACROS)), unique=True))
    if not wild and "FrameContentSequence" in common:
        common.remove("FrameContentSequence")
    others = list(MACROS) if wild else [name for name in MACROS if name not in common]
    own = data.draw(st.lists(st.sampled_from(others), unique=True)) if others else []
    shared = data.draw(group_items(common, wild))
    rows = [data.draw(group_items(own, wild)) for _ in range(frames)]
    values = [raw(items, kind, of_undefined_length) for items in ([shared], rows)]
    return values[0], values[1], frames, kind, data.draw(edits(frames))


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_any_groups_by_the_standard(data: st.DataObject) -> None:
    shared, per_frame, frames, kind, changes = any_groups(data, wild=False)
    private = [key for key in changes if key.creator]  # no place, if no group has it
    check(shared, per_frame, frames, kind, {k: v for k, v in changes.items() if k not in private})


@settings(deadline=None, max_examples=250)
@given(st.data())
def test_any_groups_at_all(data: st.DataObject) -> None:
    # Refused, or right; never a wrong value.
    shared, per_frame, frames, kind, changes = any_groups(data, wild=True)
    for key, edit in changes.items():
        try:
            shared, per_frame = check(shared, per_frame, frames, kind, {key: edit})
        except InvalidValue:
            continue


# -- files of scanners ----------------------------------------------------------------------

FOLDERS = ("canon61/enh", "xa30", "philips_enh/enh", "enh", "agfa")
FILES = [
    path
    for folder in FOLDERS
    for path in [
        path
        for path in testdata_files(folder)
        if path.suffix in (".dcm", ".img", "") and path.stat().st_size > 200_000
    ][::5]
]


def raw_groups(path: Path) -> tuple[bytes | None, bytes | None, Kind]:
    try:
        header = header_of(path)
    except (Unusual, Malformed):
        return None, None, Kind("SQ")
    kind = Kind("SQ", header.implicit, header.big_endian)
    content = path.read_bytes()
    found: dict[int, bytes] = {}
    for name, value in header.elements.items():
        tag = int.from_bytes(name[:2], "little") << 16 | int.from_bytes(name[2:4], "little")
        if tag in (SHARED, PER_FRAME):
            if isinstance(value, External):
                value = content[value.offset : value.offset + value.length]
            found[tag] = value
    return found.get(SHARED), found.get(PER_FRAME), kind


@pytest.mark.realdata
@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_real_files(path: Path) -> None:
    shared, per_frame, kind = raw_groups(path)
    if per_frame is None:
        pytest.skip("not an enhanced file")
    frames = len(split_items(per_frame, kind.implicit, kind.big_endian)[0])
    columns = shown(shared, per_frame, frames, kind)
    new = {
        key: Encoded(Kind(column[0][0]), b"12345678")
        for key, column in columns.items()
        if not is_creator(key)
        and column[0]
        and all(part and part[0] in ("DS", "FD", "SH", "CS", "LO", "SL") for part in column)
    }
    assert len(new) > 20
    keys = list(new)
    for key in keys[:: len(keys) // 4]:
        check(shared, per_frame, frames, kind, {key: {0: new[key], frames - 1: None}})
    check(shared, per_frame, frames, kind, {key: {None: new[key]} for key in keys[::7]})
