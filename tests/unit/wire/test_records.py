"""Declared records: what they look like on the wire, and what they say about values that do not fit."""

from __future__ import annotations

from typing import Annotated

import pytest

from vlcp.wire.records import (
    LENGTH,
    U8,
    U16,
    U32,
    Pad,
    Prefix,
    Record,
    Rest,
    WireError,
    integer_of_size,
    record,
    slices,
    text_of_size,
)


@record(Prefix("HH", (7, LENGTH)), order="second first name data", align=8)
class Sample(Record, frozen=True):
    first: U8
    second: Annotated[U32, Pad(1)] = 5
    name: Annotated[str, text_of_size(4)] = ""
    data: Rest = b""


@record()
class Address(Record, frozen=True):
    mac: Annotated[int, integer_of_size(6)]
    port: U16 = 0


def test_fields_stand_in_wire_order_with_length_and_padding() -> None:
    packed = Sample(1, 2, "ab", b"xyz").pack()
    assert packed.hex(" ", 1) == "00 07 00 18 00 00 00 02 00 01 61 62 00 00 78 79 7a" + " 00" * 7


def test_what_was_packed_is_read_again() -> None:
    sample = Sample(255, 0xFFFFFFFF, "name", b"12")
    packed = sample.pack()
    assert len(packed) == 16
    assert Sample.unpack(b"--" + packed, 2, 2 + len(packed)) == sample
    address = Address(0x020000000001, 9)
    assert Address.unpack(address.pack(), 0, 8) == address


def test_functions_that_were_taken_before_the_first_use_stay_right() -> None:
    @record(Prefix("H", (LENGTH,)))
    class Late(Record, frozen=True):
        number: U8

    pack, unpack = Late.pack, Late.unpack
    packed = [pack(Late(number)) for number in (1, 2)]
    assert packed == [b"\0\3\1", b"\0\3\2"]
    assert [unpack(data, 0, 3) for data in packed] == [Late(1), Late(2)]
    assert Late.pack is not pack


def test_a_record_is_immutable_and_hashable() -> None:
    with pytest.raises(AttributeError):
        Sample(1).first = 2  # type: ignore[misc]  # what is tested
    assert len({Sample(1), Sample(1), Sample(2)}) == 2


@pytest.mark.parametrize("value", [-1, 256, "one"])
def test_a_value_that_does_not_fit_is_named(value: int) -> None:
    with pytest.raises(ValueError, match=r"Sample\.first: .* is not an unsigned number of 8 bits"):
        Sample(value).pack()


def test_a_record_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than 65535 bytes"):
        Sample(1, data=bytes(70_000)).pack()


def test_a_record_that_is_cut_off_is_refused() -> None:
    with pytest.raises(WireError, match="Sample: 6 bytes too short"):
        Sample.unpack(Sample(1).pack(), 0, 8)


@pytest.mark.parametrize("garbage", ["0000", "00000000", "00000005", "0000001000000000"])
def test_impossible_lengths_are_refused(garbage: str) -> None:
    data = bytes.fromhex(garbage)
    with pytest.raises(WireError, match="thing"):
        list(slices(data, 0, len(data), 8, "thing"))
