"""JSON-RPC: messages come out of the stream whole, however it is cut, and garbage is one kind of error."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlcp.wire import jsonrpc
from vlcp.wire.jsonrpc import Framer, JsonRpcError, Notification, Reply, Request, decode, decode_value

# Strings full of what could be mistaken for structure.
texts = st.text(st.sampled_from('{}[]"\\ \n,:a\u00e9')) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
objects = st.dictionaries(texts, values, max_size=4)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(
    st.lists(objects, min_size=1, max_size=5),
    st.sampled_from(["", " ", "\n", "\r\n\t"]),
    st.booleans(),
    st.lists(st.integers(0, 10**6), max_size=12),
)
def test_messages_come_out_whole_however_the_stream_is_cut(
    messages: list[dict[str, Any]], gap: str, indented: bool, places: list[int]
) -> None:
    data = gap.join(json.dumps(m, indent=2 if indented else None) for m in messages).encode()
    framer = Framer()
    out = [m for chunk in cut(data, places) for m in framer.feed(chunk)]
    assert [json.loads(m) for m in out] == messages
    assert framer.pending == 0


@given(st.lists(objects, min_size=1, max_size=3))
def test_byte_by_byte(messages: list[dict[str, Any]]) -> None:
    data = "".join(json.dumps(m, ensure_ascii=False) for m in messages).encode()
    framer = Framer()
    assert [json.loads(m) for i in range(len(data)) for m in framer.feed(data[i : i + 1])] == messages


@given(st.lists(st.binary(max_size=30) | st.text('{}[]"\\ ,:1an', max_size=30).map(str.encode), max_size=6))
def test_garbage_is_a_json_rpc_error_or_nothing_yet(chunks: list[bytes]) -> None:
    framer = Framer()
    try:
        for chunk in chunks:
            for message in framer.feed(chunk):
                decoded = decode(message)
                decode_value(decoded.result if isinstance(decoded, Reply) else decoded.params)
    except JsonRpcError:
        pass


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (b"hello", "begins with b'hello'"),
        (b"[1]", "must be a JSON object"),
        (b"{}}{", "closes more brackets"),
        (b'{"a": ' + b"[" * 50, "nested deeper than 40"),
        (b'{"a": ' + b"[]," * 60 + b"[" * 40, "nested deeper than 40"),
        (b'{"a": "' + b"x" * 2000, "longer than 1000 bytes"),
    ],
)
def test_a_stream_that_cannot_be_read_says_why(stream: bytes, problem: str) -> None:
    with pytest.raises(JsonRpcError, match=problem):
        list(Framer(max_message=1000, max_nesting=40).feed(stream))


def test_up_to_the_limits_all_is_well() -> None:
    message = b'{"a":' + b"[" * 39 + b"]" * 39 + b"}"
    framer = Framer(max_message=len(message), max_nesting=40)
    assert list(framer.feed(message * 3)) == [message] * 3
    wide = b'{"a":[' + b"[]," * 100 + b"[]]}"
    assert list(Framer(max_nesting=3).feed(wide)) == [wide]


@pytest.mark.parametrize("depth", [1000, 1022, 100_000])
def test_deep_nesting_is_decoded_or_refused(depth: int) -> None:
    text = b'{"id":1,"result":' + b"[" * depth + b"]" * depth + b"}"
    try:
        [message] = Framer().feed(text)
        reply = decode(message)
        assert isinstance(reply, Reply)
        assert decode_value(reply.result) is not None
    except JsonRpcError:
        assert depth >= 900


def test_a_big_message_in_small_pieces_takes_time_linear_in_its_size() -> None:
    message = b'{"id":1,"result":["' + b"x" * 8_000_000 + b'"]}'
    framer, out = Framer(), []
    start = time.process_time()
    for i in range(0, len(message), 100):
        out += framer.feed(message[i : i + 100])
    assert time.process_time() - start < 10  # looking at all that came before takes minutes
    assert out == [message]


def test_kinds_of_messages() -> None:
    request = decode(jsonrpc.request("transact", ["db", {"op": "x"}], 7))
    assert isinstance(request, Request)
    assert (request.method, decode_value(request.params), request.id) == ("transact", ["db", {"op": "x"}], 7)
    notification = decode(b'{"method":"update","params":[null],"id":null}')
    assert isinstance(notification, Notification)
    assert decode_value(notification.params) == [None]
    reply = decode(jsonrpc.reply("echo", [1]))
    assert isinstance(reply, Reply)
    assert (reply.id, decode_value(reply.result), reply.error) == ("echo", [1], None)
    failed = decode(b'{"id":3,"method":null,"result":null,"error":{"error":"unknown database"}}')
    assert isinstance(failed, Reply)
    assert (decode_value(failed.result), failed.error) == (None, {"error": "unknown database"})


@pytest.mark.parametrize("text", [b'{"method":5}', b"{", b'{"id":1}x', b'{"method":"\xff"}', b"[]", b""])
def test_what_is_not_a_message(text: bytes) -> None:
    with pytest.raises(JsonRpcError, match="not a JSON-RPC message"):
        decode(text)
