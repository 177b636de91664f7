"""What a telnet client sends, in whatever pieces it comes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcp.console.telnet import LONGEST_LINE, Control, Decoder, ForeignProtocolError, encode

SESSION = (
    b"\xff\xfd\x03\xff\xfb\x18print('\xc3\xa4')\r\nx\xff\xffy\r\0\xff\xfa\x18\0XTERM\xff\xf0z\n"
    b"lost\xff\xf4next\r\nlost\x03\xff\xf6\x04"
)
EVENTS = ["print('ä')", "x\ufffdy", "z", Control.INTERRUPT, "next", Control.INTERRUPT, Control.END]
REPLIES = b"\xff\xfc\x03\xff\xfe\x18\r\n[yes]\r\n"


@given(st.lists(st.integers(0, len(SESSION)), max_size=8))
def test_lines_and_controls_are_found_in_any_pieces(cuts: list[int]) -> None:
    decoder = Decoder()
    places = [0, *sorted(cuts), len(SESSION)]
    events = [
        event for begin, end in itertools.pairwise(places) for event in decoder.feed(SESSION[begin:end])
    ]
    assert events == EVENTS
    assert bytes(decoder.replies) == REPLIES


@pytest.mark.parametrize(
    "first",
    [b"GET / HTTP/1.1\r\nHost: localhost:9923\r\n\r\n", b"POST /x HTTP/1.0\r\n", b"get /\r\n", b"PRI * HTTP/2.0\r\n",
     b"\x16\x03\x01\x02\x00\x01", b"M-SEARCH * HTTP/1.1\r\n", b"x# / HTTP/1.1\r\n", b"_ /%20 HTTP/1.1\r\n"],
)  # fmt: skip
def test_other_protocols_are_refused_and_none_of_their_lines_is_taken(first: bytes) -> None:
    with pytest.raises(ForeignProtocolError):
        Decoder().feed(first + b"server.stop('x')\r\n")


def test_what_only_resembles_http_is_a_statement() -> None:
    assert Decoder().feed(b"GET = 1\r\nPOST / 2\r\n") == ["GET = 1", "POST / 2"]
    assert Decoder().feed(b"1\r\nGET / HTTP/1.1\r\n") == ["1", "GET / HTTP/1.1"]


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(ForeignProtocolError, match="more than"):
        Decoder().feed(b"x" * (LONGEST_LINE + 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(data: bytes) -> None:
    try:
        events = Decoder().feed(data)
    except ForeignProtocolError:
        return
    assert all(isinstance(event, str | Control) for event in events)


def test_text_has_the_line_ends_of_telnet() -> None:
    assert encode("a\nb\r\nä") == b"a\r\nb\r\n\xc3\xa4"
