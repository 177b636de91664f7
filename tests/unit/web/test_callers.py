"""Who may call the web API: what `module.webapi.authmethod` names decides, and pages of other sites never may."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from unit.web.site import Site, running
from vlcp.server.api import ConflictError
from vlcp.server.module import Module, api
from vlcp.service.manage.webapi import WebAPI
from vlcp.web.environment import Environment

ROOT = {"Authorization": "Bearer secret"}
CONFIG = "module.webapi.vhostbind = ''\n"


class Guard(Module):
    """Lets some through."""

    @api(public=True)
    async def allow(self, env: Environment, targetname: str, name: str, params: dict[str, Any]) -> Any:
        """Only who knows the token, or only discover, or not the call that is named no."""
        if env.headers.get("authorization") == ROOT["Authorization"]:
            return True
        if params.get("how") == "conflict":
            raise ConflictError("not now")
        if params.get("how") == "fault":
            raise RuntimeError("the guard fell asleep")
        return None if (targetname, name) == ("guard", "discover") else False

    @api
    def who(self, env: Environment, **kwargs: Any) -> bool:
        """Only who is at this machine, calls by GET, with a cookie."""
        assert env.peer is not None
        told = (env.method, env.path, env.peer[0], env.certificate)
        return told == ("GET", "/target/act", "127.0.0.1", None) and env.cookies.get("a") == "b"

    @api
    def user(self, env: Environment, **kwargs: Any) -> None:
        """Only the user root."""
        env.basicauth(lambda user, password: (user, password) == ("root", ""))


class Target(Module):
    """What is to be guarded."""

    done = 0

    @api
    def act(self, **kwargs: Any) -> int:
        """Do something."""
        self.done += 1
        return self.done


@asynccontextmanager
async def guarded(config: str) -> AsyncIterator[Site]:
    async with running(CONFIG + config, WebAPI, Guard, Target) as site:
        yield site


async def test_a_public_api_decides() -> None:
    async with guarded("module.webapi.authmethod = 'allow'") as site:
        assert (await site.send("/target/act", headers=ROOT)).json == {"result": 1}
        for query, status, told in [
            ("", 403, "public/allow does not allow target/act"),
            ("?how=conflict", 409, "not now"),
            ("?how=fault", 500, "internal error: RuntimeError: the guard fell asleep"),
        ]:
            answer = await site.send("/target/act" + query)
            assert (answer.status, answer.json) == (status, {"error": told})
        assert (await site.send("/guard/discover")).status == 200
        assert (await site.send("/target/act", headers=ROOT)).json == {"result": 2}


async def test_an_api_of_a_module_decides() -> None:
    async with guarded("module.webapi.authmethod = 'who'\nmodule.webapi.authtarget = 'guard'") as site:
        assert (await site.send("/target/act", headers={"Cookie": "a=b"})).status == 200
        assert (await site.send("/target/act")).status == 403
        assert (await site.send("/target/act", "POST", headers={"Cookie": "a=b"})).status == 403


async def test_a_browser_is_asked_for_a_password() -> None:
    async with guarded("module.webapi.authmethod = 'user'\nmodule.webapi.authtarget = 'guard'") as site:
        answer = await site.send("/target/act")
        assert (answer.status, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
        assert (await site.send("/target/act", headers={"Authorization": "Basic cm9vdDo="})).status == 200


@pytest.mark.parametrize("target", ["public", "guard", "nosuch"])
async def test_nobody_decides(target: str) -> None:
    """Then nobody may call."""
    async with guarded(f"module.webapi.authmethod = 'nosuch'\nmodule.webapi.authtarget = {target!r}") as site:
        answer = await site.send("/target/act", headers=ROOT)
        assert answer.status == 403
        assert "module.webapi.authmethod" in answer.json["error"]


async def test_modules_that_may_not_be_called_are_refused_before() -> None:
    async with guarded("module.webapi.authmethod = 'allow'\nmodule.webapi.denytargets = ['target']") as site:
        answer = await site.send("/target/act?how=conflict", headers=ROOT)
        assert (answer.status, "denytargets" in answer.json["error"]) == (403, True)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("controller.example", "https://controller.example", 200),
        ("controller.example", "https://controller.example:443", 200),
        ("controller.example:443", "https://controller.example", 200),
        ("controller.example", "https://controller.example:8443", 403),
        ("localhost:8081", "https://controller.example", 200),
        ("localhost:8081", "https://board.example:8443", 200),
        ("localhost:8081", "https://board.example", 403),
        ("localhost:8081", "http://localhost:3000", 403),
        ("[::1]:8081", "http://[::1]:8081", 200),
        ("[::1]:8081", "http://[::1]", 403),
        ("127.0.0.1", "http://127.0.0.1:80", 200),
        ("127.0.0.1", "", 403),
        ("127.0.0.1", "http://", 403),
        ("[::ffff:127.0.0.1]", None, 200),
        ("", None, 200),
        ("localhost.", None, 200),
        ("LOCALHOST", "http://localhost", 200),
        ("localhost.evil.example", None, 403),
        ("127.0.0.1.evil.example", None, 403),
    ],
)
async def test_proxies_and_addresses(host: str, origin: str | None, status: int) -> None:
    config = "module.webapi.hostbind = ['Controller.example', 'board.example:8443']"
    async with guarded(config) as site:
        headers = {"Host": host} if origin is None else {"Host": host, "Origin": origin}
        assert (await site.send("/target/act", headers=headers)).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8081"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "10.9.8.7:8081"}, 200),
        ({"Host": "[fe80::1]"}, 200),
        ({"Host": "10.9.8.7.example"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
async def test_pages_of_other_sites_are_refused(headers: dict[str, str], status: int) -> None:
    async with guarded("") as site:
        assert (await site.send("/target/act", headers=headers)).status == status


async def test_the_name_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from vlcp.web import origin

    monkeypatch.setattr(origin, "_machine", lambda: frozenset({"node1.lab", "node1"}))
    async with guarded("") as site:
        for host, status in [("node1:8081", 200), ("Node1.lab", 200), ("node2", 403)]:
            assert (await site.send("/target/act", headers={"Host": host})).status == status
