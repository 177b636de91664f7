"""The web API over real connections: every way to give parameters, every status, on every kind of request."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from vlcp.server.api import ConflictError, UnavailableError
from vlcp.server.config import parse
from vlcp.server.module import Module, ModuleError, api
from vlcp.server.server import Server
from vlcp.service.connection.httpserver import HttpServer
from vlcp.service.manage.webapi import WebAPI

CONFIG = """
module.httpserver.url = None
module.httpserver.vhost.api.url = 'tcp://localhost:0'
module.httpserver.bodylimit = 3000000
"""
PUNYCODE = (
    b'--y\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=punycode\r\n\r\n%b\r\n--y--'
    % (b"a" * 500_000)
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Probe(Module):
    """Gives back what it got, and raises what is asked for."""

    @api
    def echo(self, **kwargs: Any) -> Any:
        """Give back the parameters."""
        return kwargs

    @api
    def size(self, key: str) -> int:
        """The length of a text."""
        return len(key)

    @api
    async def fail(self, how: str) -> None:
        """Raise an error."""
        await asyncio.sleep(0)
        raise {"conflict": ConflictError("taken"), "away": UnavailableError("the store is away")}.get(
            how, RuntimeError("our fault")
        )

    @api
    async def slow(self) -> str:
        """Take a while."""
        await asyncio.sleep(0.3)
        return "done"


class Client:
    """Sends requests to one server."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        (self.url,) = [s["url"] for s in server.module(HttpServer).getservers("api")]
        self.port = int(self.url.rpartition(":")[2])

    async def send(self, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
        """The status and the decoded body."""
        url = aiohttp.client.URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self.session.request(method, url, **options) as answer:
            assert answer.content_type == "application/json"
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def raw(self, data: bytes) -> bytes:
        """Everything that the server answers to some bytes until it closes or is silent for a moment."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            answer = b""
            while chunk := await asyncio.wait_for(reader.read(65536), 0.3):
                answer += chunk
        except TimeoutError:
            pass
        finally:
            writer.close()
            await writer.wait_closed()
        return answer


async def clients(config: str) -> AsyncIterator[Client]:
    server = Server(parse(CONFIG + config))
    await asyncio.gather(server.load(WebAPI), server.load(Probe))
    async with aiohttp.ClientSession() as session:
        yield Client(server, session)
    await server.loader.unload_all()
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async for one in clients(getattr(request, "param", "")):
        yield one


def with_config(text: str) -> Any:
    return pytest.mark.parametrize("client", [text], indirect=True)


# Parameters


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("", {}),
        ("?a=1&b=x+y%21", {"a": "1", "b": "x y!"}),
        ("?a=1&a=2", {"a": "2"}),
        ("?a[]=1&a[]=`2`", {"a": ["1", 2]}),
        ("?a=%C3%A4&flag", {"a": "ä", "flag": ""}),
        ("?a=`[['10.0.0.0/8','10.0.1.1']]`", {"a": [["10.0.0.0/8", "10.0.1.1"]]}),
        ("?env=1&targetname=x&methodname=y", {"env": "1", "targetname": "x", "methodname": "y"}),
    ],
)
async def test_query(client: Client, query: str, params: dict[str, Any]) -> None:
    assert await client.send("/probe/echo" + query) == (200, {"result": params})


async def test_form_urlencoded(client: Client) -> None:
    form = {"a": "ä b", "b": "`{'x': None}`"}
    assert await client.send("/probe/echo", "POST", data=form) == (
        200,
        {"result": {"a": "ä b", "b": {"x": None}}},
    )


async def test_form_multipart(client: Client) -> None:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("a", "ä")
    form.add_field("b", "`set(2,1)`")
    form.add_field("c", b"text of a file", filename="c.txt")
    answer = await client.send("/probe/echo", "POST", data=form)
    assert answer == (200, {"result": {"a": "ä", "b": [1, 2], "c": "text of a file"}})


async def test_json(client: Client) -> None:
    body = {"a": [1, {"b": None}], "c": "`1`", "ä": "ö"}
    assert await client.send("/probe/echo", "POST", json=body) == (200, {"result": body})
    latin = {
        "data": '{"a": "ä"}'.encode("latin-1"),
        "headers": {"Content-Type": "application/json; charset=latin-1"},
    }
    assert await client.send("/probe/echo", "POST", **latin) == (200, {"result": {"a": "ä"}})


async def test_an_empty_post_has_no_parameters(client: Client) -> None:
    assert await client.send("/probe/echo", "POST") == (200, {"result": {}})


async def test_a_form_of_2_megabytes_after_100_continue(client: Client) -> None:
    form = io.BytesIO(b"key=" + b"x" * 2_000_000)
    answer = await client.send("/probe/size", "POST", data=form, headers=FORM, expect100=True)
    assert answer == (200, {"result": 2_000_000})


async def test_curl_sees_100_continue_before_it_sends(client: Client) -> None:
    head = b"POST /probe/size HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
    answer = await client.raw(head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n")
    assert answer == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_an_old_client_is_never_told_to_continue(client: Client) -> None:
    head = b"POST /probe/size HTTP/1.0\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
    answer = await client.raw(head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\nkey=x")
    assert answer.startswith(b"HTTP/1.0 200 ")


async def test_head_is_get_without_a_body(client: Client) -> None:
    answer = await client.raw(b"HEAD /probe/echo?a=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


# Errors


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/nosuch/api", 404, "no module 'nosuch' is loaded"),
        ("/Probe/echo", 404, "no module 'Probe' is loaded; did you mean probe?"),
        ("/probe/ech", 404, "'ech' is not defined in module 'probe'; did you mean probe/echo?"),
        ("/probe/echo/", 404, "nothing answers at '/probe/echo/'"),
        ("//probe/echo", 404, "nothing answers at '//probe/echo'"),
        ("/", 404, "nothing answers at '/'"),
        ("/probe/size", 400, "missing parameter 'key'"),
        ("/probe/size?key=1&kye=2", 400, "unknown parameter 'kye'; did you mean key?"),
        ("/probe/size?key=`1`", 400, "parameter 'key': expected `str`, got `int`"),
        ("/probe/echo?a=`nonsense`", 400, "parameter 'a': not a Python literal"),
        ("/probe/echo?a=%ff", 400, "the query is not UTF-8"),
        ("/probe/%ff", 400, "the path is not UTF-8"),
        ("/probe/fail?how=conflict", 409, "taken"),
        ("/probe/fail?how=away", 503, "the store is away"),
        ("/probe/fail?how=bug", 500, "internal error: RuntimeError: our fault"),
    ],
)
async def test_errors_are_json_with_a_fitting_status(
    client: Client, path: str, status: int, text: str
) -> None:
    async with asyncio.timeout(1):
        answered, body = await client.send(path)
    assert answered == status
    assert list(body) == ["error"]
    assert text in body["error"]


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b'{"a":\n 1,}', "application/json", "malformed at line 2, column "),
        (b'{"a": 1', "application/json", "malformed at line 1, column 8"),
        (b"", "application/json", "the JSON body is empty"),
        (b"[1]", "application/json", "must be an object of parameters, not list"),
        (b"[" * 100_000, "application/json", "nested too deeply"),
        (b"a=%ff", "application/x-www-form-urlencoded", "the form is not UTF-8"),
        (b"a=\xff", "application/x-www-form-urlencoded", "the form cannot be decoded"),
        (b"--x", "multipart/form-data", "the multipart form is malformed"),
        (b"--y\r\nX: y\r\n\r\nz", "multipart/form-data; boundary=y", "the multipart form is malformed"),
        (b"key=1", "text/plain", "a body of type text/plain is not understood"),
        (b"a" * 500_000, "application/x-www-form-urlencoded; charset=punycode", "'punycode' is not"),
        (b"{}", "application/json; charset=Punycode", "'Punycode' is not understood"),
        (PUNYCODE, "multipart/form-data; boundary=y", "'punycode' is not understood"),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_bodies_that_cannot_be_read(client: Client, body: bytes, kind: str, text: str) -> None:
    # The time to decode some encodings grows with the square of the length; nobody else would be answered meanwhile.
    status, answer = await client.send("/probe/echo", "POST", data=body, headers={"Content-Type": kind})
    assert status == 400
    assert text in answer["error"]


async def test_a_body_over_the_limit(client: Client) -> None:
    for headers in (FORM, {"Content-Type": "application/json"}):
        form = io.BytesIO(b"key=" + b"x" * 3_000_000)
        status, body = await client.send("/probe/size", "POST", data=form, headers=headers, chunked=True)
        assert (status, "longer than 3000000 bytes" in body["error"]) == (413, True)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods(client: Client, method: str) -> None:
    url = f"http://127.0.0.1:{client.port}/probe/echo"
    async with client.session.request(method, url) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD, POST"
        assert "error" in await answer.json()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 2000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + (b"X: " + b"x" * 4000 + b"\r\n") * 300 + b"\r\n", 431),
    ],
)  # fmt: skip
async def test_malformed_requests_are_answered(client: Client, data: bytes, status: int) -> None:
    head, _, body = (await client.raw(data)).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert "error" in json.loads(body)


async def test_a_request_without_headers_is_answered(client: Client) -> None:
    assert b'{"result": {"a": "1"}}' in await client.raw(b"GET /probe/echo?a=1 HTTP/1.0\r\n\r\n")


# Who may call


@with_config("module.webapi.hostbind = b'Controller.Example'")
async def test_hostbind_adds_a_name(client: Client) -> None:
    for host, status in [("controller.example:8081", 200), ("localhost", 200), ("other.example", 403)]:
        assert (await client.send("/probe/echo", headers={"Host": host}))[0] == status


@with_config("module.webapi.allowtargets = ['other']\nmodule.webapi.denytargets = []")
async def test_allowtargets(client: Client) -> None:
    status, body = await client.send("/probe/echo")
    assert (status, "allowtargets" in body["error"]) == (403, True)
    assert (await client.send("/other/echo"))[0] == 404


@with_config("module.webapi.denytargets = ['probe']")
async def test_denytargets(client: Client) -> None:
    assert (await client.send("/probe/echo"))[0] == 403
    assert (await client.send("/webapi/discover"))[0] == 200


@with_config("module.webapi.rootpath = '/a.b/'\nmodule.webapi.acceptmethods = [b'POST']")
async def test_rootpath_and_acceptmethods(client: Client) -> None:
    assert (await client.send("/a.b/probe/echo", "POST"))[0] == 200
    assert (await client.send("/a.b/probe/echo"))[0] == 405
    assert (await client.send("/axb/probe/echo", "POST"))[0] == 404


@with_config(
    "module.webapi.acceptjson = False\nmodule.webapi.typeextension = False\nmodule.webapi.errortrace = True"
)
async def test_acceptjson_typeextension_errortrace(client: Client) -> None:
    status, body = await client.send("/probe/echo", "POST", json={})
    assert (status, "acceptjson" in body["error"]) == (400, True)
    assert "RequestError" in body["trace"]
    assert await client.send("/probe/echo?a=`1`") == (200, {"result": {"a": "`1`"}})


@with_config("module.webapi.errordetails = False")
async def test_errordetails(client: Client) -> None:
    assert await client.send("/probe/fail?how=bug") == (500, {"error": "Internal Server Error"})


async def test_a_parameter_named_self_or_module_harms_nothing(client: Client) -> None:
    assert (await client.send("/probe/echo?self=1"))[0] == 400
    assert await client.send("/probe/echo?module=1&api=2&params=3") == (
        200,
        {"result": {"module": "1", "api": "2", "params": "3"}},
    )


# Listeners


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "made" / "api.sock"
    server = Server(parse(f"module.httpserver.url = None\nmodule.httpserver.vhost.api.url = 'unix://{path}'"))
    await server.load(WebAPI)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get("http://any.name/webapi/discover") as answer:
            assert answer.status == 200
    await server.loader.unload_all()
    assert not path.exists()


async def test_every_module_answers_discover(client: Client) -> None:
    for name in client.server.modules:
        status, body = await client.send(f"/{name}/discover?details=true")
        assert status == 200
        assert body["result"]["discover"]["parameters"] == [
            {"name": "details", "optional": True, "default": False}
        ]


async def test_listening_stops_and_starts(client: Client) -> None:
    web = client.server.module(HttpServer)
    assert (web.stoplisten(""), web.stoplisten("api"), web.stoplisten("api")) == (0, 1, 0)
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.send("/probe/echo")
    assert await web.startlisten() == 1
    again = Client(client.server, client.session)
    assert (await again.send("/probe/echo"))[0] == 200
    assert [c["vhost"] for c in web.getconnections("api")] == ["api"]


async def test_requests_under_way_are_answered_when_the_module_is_unloaded(client: Client) -> None:
    slow = asyncio.create_task(client.send("/probe/slow"))
    await asyncio.sleep(0.1)
    await client.server.unload(HttpServer)
    assert await slow == (200, {"result": "done"})


async def test_a_port_in_use_is_told_with_its_key(client: Client) -> None:
    text = (
        f"module.httpserver.url = None\nmodule.httpserver.vhost.api.urls = ['tcp://127.0.0.1:{client.port}']\n"
        "protocol.http.listen_persist = False"
    )
    other = Server(parse(text, "x.conf"))
    place = "x.conf:2: module.httpserver.vhost.api.urls = 'tcp://127.0.0.1:"
    with pytest.raises(ModuleError, match=f"{place}{client.port}'.*[Aa]ddress already in use"):
        await other.load(HttpServer)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("module.httpserver.url = 'http//x'", "x.conf:1: module.httpserver.url: 'http//x' is not an address"),
        ("module.httpserver.vhost.a.url = 5", "module.httpserver.vhost.a.url = 5: expected"),
        ("module.httpserver.url = 'ssl://localhost:0'", "TLS needs `certificate`"),
    ],
)
async def test_wrong_listeners(text: str, what: str) -> None:
    server = Server(parse(text, "x.conf"))
    with pytest.raises(ModuleError, match=what):
        await server.load(HttpServer)
