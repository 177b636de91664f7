"""Clients that send what no program would: always an answer below 500 or a closed connection, never a hang."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effort import effort
from peers.controller import FORM, JSON, Controller

LIST = b"/viperflow/listlogicalports"
END = b"Host: localhost\r\nConnection: close\r\n\r\n"
BODY_LIMIT = 16 << 20
MEMORY = 500
"""MiB that the controller may have taken at the end of all this."""


@pytest.fixture(autouse=True)
def the_next_one_is_served(controller: Controller) -> Any:
    """Whatever a client did, another one is answered within a second."""
    yield
    answer = controller.call("viperflow/listlogicalports", id="a")
    assert (answer.status, len(answer.body["result"])) == (200, 1)
    assert answer.seconds < 1


def post(kind: str, body: bytes, headers: str = "") -> bytes:
    """A request with a body as it is sent."""
    head = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}"
    return b"POST " + LIST + b" HTTP/1.1\r\n" + head.encode() + END + body


def get(headers: bytes = b"", query: bytes = b"", end: bytes = END) -> bytes:
    """A request without a body as it is sent."""
    return b"GET " + LIST + query + b" HTTP/1.1\r\n" + headers + end


def status(answer: bytes) -> int:
    """The status of an answer, whose body is JSON."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert list(json.loads(body)) in (["error"], ["result"])
    return int(head.split()[1])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET " + LIST + b" HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (get(b"Host: elsewhere\r\n"), 400),
        (get(end=b"Host: [::1\r\nConnection: close\r\n\r\n"), 403),
        (get(end=b"Host: \xff\xfe\r\nConnection: close\r\n\r\n"), 403),
        (get(b"Origin: http://[::1\r\n"), 403),
        (get(b"Origin: null\r\n"), 403),
        (get(b"X: a\0b\r\n"), 400),
        (get(b"X : a\r\n"), 400),
        (get(b"X: " + b"a" * 100_000 + b"\r\n"), 431),
        (get(b"".join(b"X%d: a\r\n" % i for i in range(5000))), 431),
        (get(query=b"?id=" + b"a" * 20_000), 414),
        (get(query=b"?id=%ff"), 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\0" * 100, 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\0\1\2\3\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\n" + END, 404),
        (b"TRACE " + LIST + b" HTTP/1.1\r\n" + END, 405),
        (b"GET http://[::1/x HTTP/1.1\r\n" + END, 400),
        (post(JSON, b"{}", "Transfer-Encoding: chunked\r\n"), 400),
        (post(JSON, b"{}", "Content-Length: 3\r\n"), 400),
        (b"POST " + LIST + b" HTTP/1.1\r\nContent-Length: -3\r\n" + END, 400),
        (b"POST " + LIST + b" HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n" + END, 400),
        (b"POST " + LIST + b" HTTP/1.1\r\nContent-Length: 99999999\r\n" + END, 413),
        (b"POST " + LIST + b" HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n" + END, 400),
        (b"POST " + LIST + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"zz\r\n", 400),
        (post(JSON, b"{}", "Content-Encoding: gzip\r\n"), 400),
        (post(JSON, b"{}", "Content-Encoding: br\r\n"), 400),
    ],
    ids=lambda value: ascii(value)[-60:],
)
def test_malformed_http(controller: Controller, data: bytes, expected: int) -> None:
    assert status(controller.raw(data)) == expected


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (JSON, b"", 400),
        (JSON, b"{", 400),
        (JSON, b'{"id": "a",}', 400),
        (JSON, b'{"id": NaN}', 400),
        (JSON, b'{"id": 1e999}', 400),
        (JSON, b'{"id": ' + b"9" * 5000 + b"}", 400),
        (JSON, b'{"id": "\xff"}', 400),
        (JSON, b'{"id": "\\ud800"}', 400),
        (JSON, b'\xef\xbb\xbf{"id": "a"}', 400),
        (JSON, b"[]", 400),
        (JSON, b"{" + b'"a":{' * 1_000_000, 400),
        (JSON, b'{"id":' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"}", 400),
        (JSON, b'{"id": "a", "id": "b"}', 200),
        (f"{JSON}; charset=rot13", b"{}", 400),
        (f"{JSON}; charset=undefined", b"{}", 400),
        (f"{JSON}; charset=utf-16", b"{}", 400),
        (f"{FORM}; charset=raw_unicode_escape", b"id=\\ud800", 400),
        (FORM, b"id=a&id=b", 200),
        (FORM, b"id[]=a&id[]=b", 400),
        (FORM, b"a=1&" * 20_000, 400),
        ("multipart/form-data", b"{}", 400),
        ("multipart/form-data; boundary=x", b"--x", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nabc\r\n--x--", 400),
        ("text/plain", b"id=a", 400),
        (";;;", b"{}", 400),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_malformed_bodies(controller: Controller, kind: str, body: bytes, expected: int) -> None:
    assert status(controller.raw(post(kind, body))) == expected


@pytest.mark.parametrize(
    "literal",
    ["9**9**9", "1<<99999", "'a'*9999999", "__import__('os')", "(lambda: 1)()", "[x for x in [1]]", "f'{1}'",
     "[" * 5000 + "]" * 5000, "-" * 7000 + "1", "1+" * 3000 + "1", "set(" * 90 + ")" * 90, "{{}: 1}", "\0", "'\\ud800'",
     "9" * 6000, "0x" + "f" * 4000, "1e999", "'\\N{nosuch}'", "0777", "12if 1else 2", ""],
    ids=lambda value: value[:20],
)  # fmt: skip
@pytest.mark.parametrize("name", ["id", "custom", "mtu"])
def test_literals(controller: Controller, name: str, literal: str) -> None:
    body = urlencode({"logicalnetwork": "n", name: f"`{literal}`"}, errors="surrogatepass").encode()
    answer = controller.request("POST", "/viperflow/createlogicalport", body, {"Content-Type": FORM})
    assert (answer.status, answer.seconds < 1) == (400, True)
    assert name in answer.body["error"]


def test_a_literal_that_is_too_long(controller: Controller) -> None:
    body = b"ports=`[" + b"1," * 1_000_000 + b"]`"
    answer = controller.request("POST", "/viperflow/createlogicalports", body, {"Content-Type": FORM})
    assert (answer.status, answer.seconds < 1) == (400, True)
    assert "'ports': back-quoted texts have more than 262144 characters; send JSON" in answer.body["error"]


def test_numbers_that_python_does_not_write(controller: Controller) -> None:
    """They are kept in memory, and shown."""
    number = "0x" + "f" * 5000
    body = urlencode({"key": "number", "value": f"`{number}`"}).encode()
    answer = controller.request("POST", "/memorystorage/set", body, {"Content-Type": FORM})
    assert (answer.status, controller.result("memorystorage/get", key="number")) == (200, number)


IDS = [
    "a/b",
    "a.b",
    "a+b",
    "/",
    "..",
    "+",
    "+-",
    "%2f",
    "é",
    "\U0001f600",
    "a b",
    " ",
    "`",
    "x" * 255,
    "__proto__",
]


@pytest.mark.parametrize("odd", IDS, ids=ascii)
def test_odd_ids_are_ids(controller: Controller, odd: str) -> None:
    """Two ids never meet in one key, and each is found, listed with its network, and deleted."""
    before = controller.content()
    controller.result("viperflow/createlogicalnetwork", physicalnetwork="p", id=odd)
    controller.result("viperflow/createlogicalport", logicalnetwork=odd, id=odd)
    listed = controller.request("GET", f"/viperflow/listlogicalports?logicalnetwork={quote(odd, safe='')}")
    assert [port["id"] for port in listed.body["result"]] == [odd]
    assert controller.call("viperflow/deletelogicalnetwork", id=odd).status == 409
    controller.result("viperflow/deletelogicalport", id=odd)
    controller.result("viperflow/deletelogicalnetwork", id=odd)
    assert controller.content() == before


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(["10.0.0.1", "10.0.0.0/24", "::1", "02:00:00:00:00:01", "1", "-1", "NaN", "infinite", "%", "n"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "cidr", "logicalnetwork", "mtu", ""]) | st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from(
    """id type physicalnetwork logicalnetwork subnet cidr vlanrange vlanid vni dns_nameservers domain_name lease_time
    mtu extra_dhcp_options gateway allocated_start allocated_end host_routes isexternal dhcp_enabled pre_host_config
    mac_address ip_address hostname custom created version self view networks subnets ports keys key value timeout
    requestid path updater kvpairs cache vhost details""".split()
)


@pytest.fixture(scope="module")
def apis(controller: Controller) -> list[str]:
    """Every call that leaves the controller running."""
    return [
        f"{module}/{api}"
        for module in (
            "viperflow",
            "kvstorage",
            "objectdb",
            "memorystorage",
            "httpserver",
            "manager",
            "webapi",
        )
        for api in controller.result(f"{module}/discover")
        if api not in ("unloadmodule", "stoplisten")
    ]


def test_random_values(controller: Controller, apis: list[str]) -> None:
    """Any values for any names in any call: never a fault of ours, never slow."""

    @settings(max_examples=effort(300))
    @given(api=st.sampled_from(apis), params=st.dictionaries(NAMES, VALUES, max_size=6))
    def check(api: str, params: dict[str, Any]) -> None:
        body = json.dumps(params).encode()
        answer = controller.request("POST", f"/{api}", body, {"Content-Type": JSON})
        assert answer.status < 500, answer
        assert answer.seconds < 1

    keep = controller.content()
    check()
    gone = controller.content().keys() - keep.keys()
    controller.result("kvstorage/mset", kvpairs=dict.fromkeys(gone), timeout=0)


def test_slow_clients_keep_nobody_waiting(controller: Controller) -> None:
    head = b"POST " + LIST + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    slow = [
        controller.connect(data)
        for data in (b"GET / HT", head + b"Content-Length: 9\r\n\r\n{")
        for _ in range(100)
    ]
    begin = time.monotonic()
    assert controller.call("manager/activemodules").status == 200
    assert time.monotonic() - begin < 1
    for client in slow:
        client.close()


def test_clients_that_disappear(controller: Controller) -> None:
    whole = post(JSON, b"{}")
    for data in (b"", b"GET", whole[:60], whole[:-1], whole, whole * 50):
        for _ in range(20):
            controller.connect(data).close()
    limit = time.monotonic() + 5
    while len(controller.result("httpserver/getconnections")) > 1 and time.monotonic() < limit:
        time.sleep(0.05)
    assert len(controller.result("httpserver/getconnections")) == 1


def test_200_clients_at_once(controller: Controller) -> None:
    """They all want the same 20 ports: each is created once, the others are told so."""
    answers: list[int] = []

    def create() -> None:
        for number in range(20):
            answer = controller.call("viperflow/createlogicalport", logicalnetwork="n", id=f"same{number}")
            answers.append(answer.status)

    threads = [threading.Thread(target=create) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answers) == {200: 20, 409: 3980}
    ports = [{"id": f"same{number}"} for number in range(20)]
    controller.result("viperflow/deletelogicalports", ports=ports)


def test_the_largest_bodies(controller: Controller) -> None:
    largest = b'{"id": "' + b"x" * (BODY_LIMIT - 10) + b'"}'
    answer = controller.request("POST", "/viperflow/listlogicalports", largest, {"Content-Type": JSON})
    assert (answer.status, len(answer.body["error"]) < 200) == (400, True)
    many = json.dumps({"ports": [{}] * 1_000_000}).encode()
    answer = controller.request("POST", "/viperflow/createlogicalports", many, {"Content-Type": JSON})
    assert (answer.status, "at most 10000" in answer.body["error"]) == (400, True)
    bomb = gzip.compress(bytes(10 * BODY_LIMIT))
    assert status(controller.raw(post(JSON, bomb, "Content-Encoding: gzip\r\n"))) == 413
    assert controller.memory() < MEMORY
