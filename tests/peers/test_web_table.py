"""Every kind of request, sent by curl and by sockets to a running controller: what it means, and its status."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from peers.controller import Controller, as_text

SET = "memorystorage/set"
KEY = "key=k"
END = b"Host: localhost\r\nConnection: close\r\n\r\n"
JSON_TYPE = ("-H", "Content-Type: application/json")


class Curl(NamedTuple):
    """What curl got."""

    status: int
    body: Any
    seconds: float
    headers: dict[str, str]


def curl(controller: Controller, path: str, *options: str) -> Curl:
    """Run curl; the body is JSON, with this type, or there is none."""
    form = "\n%{http_code} %{time_total} %{header_json}"
    url = f"http://localhost:{controller.port}{path}"
    command = ["curl", "-q", "-s", "-S", "-g", "--path-as-is", "--max-time", "20", "-w", form, *options, url]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    found = re.fullmatch(r"(?s)(.*?)\n(\d+) ([0-9.]+) (\{.*)", text)
    assert found is not None
    body, status, seconds, head = found.groups()
    headers = {name: values[-1] for name, values in json.loads(head).items()}
    if body:
        assert headers["content-type"].startswith("application/json")
    return Curl(int(status), json.loads(body) if body else None, float(seconds), headers)


def kept(controller: Controller, path: str, *options: str) -> Any:
    """The value that a call of `memorystorage/set` meant."""
    answer = curl(controller, path, *options)
    assert (answer.status, answer.body) == (200, {"result": None})
    return controller.result("memorystorage/get", key="k")


# What parameters mean

MEANINGS: list[tuple[str, tuple[str, ...], Any]] = [
    # a query
    (f"/{SET}?{KEY}&value=1", (), "1"),
    (f"/{SET}?{KEY}&value=a+b%21", (), "a b!"),
    (f"/{SET}?{KEY}&value=%C3%A4%F0%9F%98%80", (), "ä\U0001f600"),
    (f"/{SET}?{KEY}&value=1&value=2", (), "2"),
    (f"/{SET}?{KEY}&value[]=1&value[]=`2`", (), ["1", 2]),
    (f"/{SET}?{KEY}&value[]=1", (), ["1"]),
    (f"/{SET}?{KEY}&value=", (), ""),
    (f"/{SET}?{KEY}&value", (), ""),
    (f"/{SET}?{KEY}&value=`1", (), "`1"),
    (f"/{SET}?{KEY}&value=%60%5B1,%20None%5D%60", (), [1, None]),
    ("/" + SET, ("-G", "-d", KEY, "--data-urlencode", "value=a&b=`ä`"), "a&b=`ä`"),
    ("/" + SET, ("-G", "-d", KEY, "--data-urlencode", "value=`{'a': 'ä'}`"), {"a": "ä"}),
    # a form
    ("/" + SET, ("-d", f"{KEY}&value=1"), "1"),
    ("/" + SET, ("-d", KEY, "-d", "value=`[['10.0.0.0/8','10.0.1.1']]`"), [["10.0.0.0/8", "10.0.1.1"]]),
    ("/" + SET, ("-d", KEY, "-d", 'value=`[1,2,{"name":("value",set(1,2,3))}]`'),
     [1, 2, {"name": ["value", [1, 2, 3]]}]),
    ("/" + SET, ("-d", KEY, "--data-urlencode", "value=ä+ö%"), "ä+ö%"),
    ("/" + SET, ("-d", KEY, "-d", "value=1", "-d", "value=2"), "2"),
    ("/" + SET, ("-d", KEY, "-d", "value[]=1", "-d", "value[]=2"), ["1", "2"]),
    ("/" + SET, ("-F", KEY, "-F", "value=ä"), "ä"),
    ("/" + SET, ("-F", KEY, "-F", "value=`{1: b'x'}`"), {"1": "x"}),
    ("/" + SET, ("-F", KEY, "-F", "value[]=1", "-F", "value[]=2"), ["1", "2"]),
    # JSON
    ("/" + SET, (*JSON_TYPE, "-d", '{"key": "k", "value": {"a": [1, null, true, 1.5]}}'), {"a": [1, None, True, 1.5]}),
    ("/" + SET, (*JSON_TYPE, "-d", '{"key": "k", "value": "`1`"}'), "`1`"),
    ("/" + SET, (*JSON_TYPE, "-d", '{"key": "k", "value": "\\u00e4"}'), "ä"),
    ("/" + SET, (*JSON_TYPE, "-d", '{"key": "k", "value": 1, "value": 2}'), 2),
    ("/" + SET, (*JSON_TYPE, "-d", '{"key": "k", "value": {"<vlcpjsonencode/x>": 1}}'), {"<vlcpjsonencode/x>": 1}),
    ("/" + SET, ("-H", "Content-Type: application/json; charset=UTF-8", "-d", '{"key": "k", "value": "ä"}'), "ä"),
    ("/" + SET, ("--json", '{"key": "k", "value": {}}'), {}),
    # a POST without a body
    (f"/{SET}?{KEY}&value=1", ("-X", "POST"), "1"),
    (f"/{SET}?{KEY}&value=1", ("-d", ""), "1"),
    # chunks, and bodies that wait for 100
    ("/" + SET, ("-d", f"{KEY}&value=1", "-H", "Transfer-Encoding: chunked"), "1"),
    ("/" + SET, ("-F", KEY, "-F", "value=1", "-H", "Transfer-Encoding: chunked"), "1"),
    ("/" + SET, ("-d", f"{KEY}&value=1", "-H", "Expect: 100-continue"), "1"),
    ("/" + SET, ("-d", f"{KEY}&value=1", "-H", "Expect:"), "1"),
    ("/" + SET, ("-0", "-d", f"{KEY}&value=1"), "1"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "options", "value"), MEANINGS, ids=lambda value: ascii(value)[:60])
def test_what_parameters_mean(
    controller: Controller, path: str, options: tuple[str, ...], value: Any
) -> None:
    assert kept(controller, path, *options) == value


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
@pytest.mark.parametrize("how", ["form", "multipart", "json"])
def test_two_megabytes(controller: Controller, tmp_path: Path, expect: str, how: str) -> None:
    file = tmp_path / "body"
    long = "x" * 2_000_000
    if how == "multipart":
        file.write_text(long)
        options = ["-F", KEY, "-F", f"value=<{file}"]
    else:
        file.write_text(
            as_text({"key": "k", "value": long}) if how == "form" else json.dumps({"key": "k", "value": long})
        )
        options = ["--data-binary", f"@{file}", *(JSON_TYPE if how == "json" else ())]
    assert kept(controller, "/" + SET, *options, "-H", expect) == long


# What is refused

LIST = "/viperflow/listlogicalports"
REFUSED: list[tuple[str, tuple[str, ...], int, str]] = [
    # names
    ("/nosuch/api", (), 404, "no module 'nosuch' is loaded"),
    ("/viperflo/x", (), 404, "did you mean viperflow?"),
    ("/viperflow/nosuch", (), 404, "'nosuch' is not defined in module 'viperflow'"),
    ("/Viperflow/listlogicalports", (), 404, "did you mean viperflow?"),
    ("/viperflow/ListLogicalPorts", (), 404, "did you mean viperflow/listlogicalports?"),
    (f"{LIST}/", (), 404, "nothing answers"),
    (f"/{LIST}", (), 404, "nothing answers"),
    ("/viperflow//listlogicalports", (), 404, "nothing answers"),
    ("/", (), 404, "nothing answers"),
    ("/viperflow", (), 404, "nothing answers"),
    ("/viperflow/../viperflow/listlogicalports", (), 404, "nothing answers"),
    ("/viperflow%2Flistlogicalports/x", (), 404, "nothing answers"),
    ("/viperflow/%ff", (), 400, "the path is not UTF-8"),
    ("/nosuch/api", ("-d", "a=1"), 404, "no module 'nosuch'"),
    ("/nosuch/api", ("--json", "{}"), 404, "no module 'nosuch'"),
    # methods
    *((LIST, ("-X", method), 405, f"method {method} is not allowed here; use GET, HEAD, POST")
      for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND")),
    # parameters
    (f"/{SET}?value=1", (), 400, "set: missing parameter 'key'"),
    (f"/{SET}?{KEY}&value=1&env=1", (), 400, "unknown parameter 'env'"),
    (f"/{SET}?{KEY}&value=1&targetname=x", (), 400, "unknown parameter 'targetname'"),
    (f"/{SET}?{KEY}&value=`x`", (), 400, "parameter 'value': not a Python literal between back-quotes"),
    (f"/{SET}?{KEY}&value=`[1,x]`", (), 400, "(character 5)"),
    (f"/{SET}?{KEY}&value=`1%2B`", (), 400, "parameter 'value': not a Python literal"),
    (f"/{SET}?{KEY}&value=%ff", (), 400, "the query is not UTF-8"),
    (f"/{SET}?{KEY}&value=1", ("-d", "a=1"), 400, "in the query and a body"),
    (f"/{SET}?{KEY}&value=1", ("--json", "{}"), 400, "in the query and a body"),
    ("/" + SET, ("-d", "key=k&value=%ff"), 400, "the form is not UTF-8"),
    ("/" + SET, ("-d", "key=k&value=`x`"), 400, "parameter 'value': "),
    # JSON
    ("/" + SET, ("--json", '{"key":'), 400, "malformed at line 1, column 8"),
    ("/" + SET, ("--json", ""), 400, "the JSON body is empty"),
    ("/" + SET, (*JSON_TYPE, "-X", "POST"), 400, "the JSON body is empty"),
    ("/" + SET, ("--json", "[1]"), 400, "must be an object of parameters, not list"),
    ("/" + SET, ("--json", "null"), 400, "must be an object of parameters, not NoneType"),
    ("/" + SET, ("--json", '{"key": NaN}'), 400, "malformed at line 1, column 9"),
    # other types
    ("/" + SET, ("-H", "Content-Type: text/plain", "-d", "key=k"), 400, "a body of type text/plain is not understood"),
    ("/" + SET, ("-H", "Content-Type:", "-d", "key=k"), 400, "application/octet-stream is not understood"),
    # other sites
    (LIST, ("-H", "Host: evil.example"), 403, "the host 'evil.example' is not known here"),
    (LIST, ("-H", "Origin: http://evil.example"), 403, "pages of 'http://evil.example' are refused"),
    (LIST, ("-H", "Sec-Fetch-Site: cross-site"), 403, "pages of other sites are refused"),
    # sizes
    (f"{LIST}?id={'a' * 9000}", (), 414, "the request line has more than 8192 bytes"),
    (LIST, ("-H", f"X: {'a' * 9000}"), 431, "a header has more than 8192 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "options", "status", "told"), REFUSED, ids=lambda value: ascii(value)[:60])
def test_what_is_refused(
    controller: Controller, path: str, options: tuple[str, ...], status: int, told: str
) -> None:
    """With JSON that tells why, and within a second."""
    answer = curl(controller, path, *options)
    assert (answer.status, list(answer.body)) == (status, ["error"])
    assert told in answer.body["error"]
    assert answer.seconds < 1
    if status == 405:
        assert answer.headers["allow"] == "GET, HEAD, POST"


def test_more_than_the_largest_body(controller: Controller, tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"key=k&value=" + b"x" * (16 << 20))
    answer = curl(controller, "/" + SET, "--data-binary", f"@{file}", "-H", "Expect: 100-continue")
    assert (answer.status, "the body is longer than 16777216 bytes" in answer.body["error"]) == (413, True)


def test_head(controller: Controller) -> None:
    answer = curl(controller, LIST, "-I", "-o", "/dev/null")
    length = len(json.dumps(controller.call("viperflow/listlogicalports").body))
    assert (answer.status, answer.headers["content-length"]) == (200, str(length))
    assert curl(controller, "/nosuch/api", "-I", "-o", "/dev/null").status == 404


def test_headers_of_an_answer(controller: Controller) -> None:
    headers = curl(controller, LIST).headers
    assert {"content-length", "content-type", "date", "server"} == set(headers)
    assert (headers["server"], headers["content-type"]) == ("VLCP", "application/json")


# What curl does not send


def status(answer: bytes) -> int:
    """The status of the last answer, whose body is JSON."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    assert list(json.loads(body)) in (["error"], ["result"])
    return int(head.rpartition(b"HTTP/")[2].split()[1])


PATH = LIST.encode()
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
POST = b"POST " + PATH + b" HTTP/1.1\r\n" + FORM
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET " + PATH + b" HTTP/1.0\r\n\r\n", 200),
        (b"GET " + PATH + b"?id=a HTTP/1.0\r\n\r\n", 200),
        (b"POST " + PATH + b" HTTP/1.0\r\n\r\n", 200),
        (b"\r\n\r\nGET " + PATH + b" HTTP/1.1\r\n" + END, 200),
        (b"GET http://localhost" + PATH + b" HTTP/1.1\r\n" + END, 200),
        (b"GET http://other.example:1" + PATH + b"?id=a HTTP/1.1\r\n" + END, 200),
        (b"GET " + PATH + b"#part HTTP/1.1\r\n" + END, 200),
        (CHUNKED + END + b"4\r\nid=a\r\n0\r\n\r\n", 200),
        (CHUNKED + END
         + b"2;x=y\r\nid\r\n2\r\n=a\r\n0\r\nX: y\r\n\r\n", 200),
        (POST + b"Content-Length: 0\r\n" + END, 200),
        (b"GET " + PATH + b" HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET " + PATH + b"\r\n\r\n", 505),
        (b"GET\r\n\r\n", 400),
        (b"GET " + PATH + b" HTTP/2.0\r\n" + END, 505),
        (b"GET " + PATH + b" HTTP/1.1\r\nno colon\r\n" + END, 400),
        (b"GET " + PATH + b" HTTP/1.1\r\n: x\r\n" + END, 400),
        (b"get " + PATH + b" HTTP/1.1\r\n" + END, 400),
        (CHUNKED + b"Content-Length: 2\r\n" + END + b"0\r\n\r\n", 400),
        (CHUNKED + END + b"g\r\n", 400),
        (CHUNKED + END + b"f" * 17 + b"\r\n", 400),
        (CHUNKED + END + b"4;" + b"x" * 100_000 + b"\r\nid=a\r\n0\r\n\r\n", 200),
        (POST + b"Host: localhost\r\n" + b"X: y\r\n" * 1100 + b"\r\n", 431),
    ],
    ids=lambda value: ascii(value)[-60:],
)  # fmt: skip
def test_other_requests(controller: Controller, data: bytes, expected: int) -> None:
    assert status(controller.raw(data)) == expected


def test_options_for_the_whole_server(controller: Controller) -> None:
    answer = controller.raw(b"OPTIONS * HTTP/1.1\r\n" + END)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


def test_requests_in_a_row(controller: Controller) -> None:
    """Answers come in the order of the requests, also after a body and after an error."""
    first = b"GET /memorystorage/nosuch HTTP/1.1\r\nHost: localhost\r\n\r\n"
    second = b"POST " + PATH + b" HTTP/1.1\r\nHost: localhost\r\n" + FORM + b"Content-Length: 4\r\n\r\nid=a"
    answer = controller.raw((first + second) * 20 + b"GET " + PATH + b" HTTP/1.1\r\n" + END)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"404", b"200"] * 20 + [b"200"]


def test_a_kept_connection_is_quick(controller: Controller) -> None:
    """Header and body of an answer go out at once."""
    request = b"GET " + PATH + b"?id=a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with controller.connect() as client:
        for _ in range(100):
            client.sendall(request)
            assert client.recv(65536).endswith(b"}]}")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Controller, Path]]:
    """A controller that is also served at a Unix socket, and logs requests."""
    directory = tmp_path_factory.mktemp("other")
    path = directory / "api.sock"
    more = (
        f"module.httpserver.vhost.api.urls = ['unix://{path}']\n"
        "server.logging.handlers.err = {'class': 'logging.StreamHandler'}\n"
        "server.logging.root = {'level': 'INFO', 'handlers': ['err']}\n"
    )
    running = Controller(directory, more=more)
    yield running, path
    assert running.end() == 0


def test_a_unix_socket(other: tuple[Controller, Path]) -> None:
    running, path = other
    for host in ("localhost", "any.name"):
        answer = curl(running, "/manager/activemodules", "--unix-socket", str(path), "-H", f"Host: {host}")
        assert answer.status == 200


def test_every_request_is_logged(other: tuple[Controller, Path]) -> None:
    running, _ = other
    for path in (LIST + "?id=log", "/nosuch/log"):
        curl(running, path)
    line = r'127\.0\.0\.1 "GET (\S*log) HTTP/1\.1" (\d+) \d+ bytes in [0-9.]+ s\n'
    limit = time.monotonic() + 5
    while len(found := re.findall(line, running.log())) < 2 and time.monotonic() < limit:
        time.sleep(0.02)
    assert found == [(LIST + "?id=log", "200"), ("/nosuch/log", "404")]
