"""Requests over TLS: handlers know that it is, and who calls."""

import ssl
from typing import Any

import aiohttp
import pytest

from certificates import Authority
from unit.web.site import Site, running
from vlcp.server.module import Module, api
from vlcp.service.manage.webapi import WebAPI
from vlcp.web import routes
from vlcp.web.environment import Environment


class Door(Module):
    """Opens for one certificate."""

    @api(public=True)
    def certified(self, env: Environment, **kwargs: Any) -> bool:
        """Whether the client is alice."""
        subject = dict(pair for names in (env.certificate or {}).get("subject", ()) for pair in names)
        return subject.get("commonName") == "alice"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def config(authority: Authority, clients: bool) -> str:
    certificate, key = authority.sign("server")
    more = f"module.httpserver.ca_certs = {authority.certificate!r}\n" if clients else ""
    return (
        f"module.httpserver.url = 'ssl://localhost:0'\n{more}module.httpserver.key = {key!r}\n"
        f"module.httpserver.certificate = {certificate!r}\nmodule.webapi.vhostbind = ''\n"
    )


def context(authority: Authority, client: str | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=authority.certificate)
    if client is not None:
        made.load_cert_chain(*authority.sign(client))
    return made


async def get(site: Site, path: str, tls: ssl.SSLContext) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as session:
        url = f"https://localhost:{site.port}{path}"
        async with session.get(url, ssl=tls, allow_redirects=False) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers


async def test_handlers_know(authority: Authority) -> None:
    def show(env: Environment) -> Any:
        env.setcookie("a", "1")
        return [env.https, env.url("/x"), env.certificate]

    async with running(config(authority, clients=False)) as site:
        site.host.add(routes.plain("/show", show), routes.redirect("/go", "/show"))
        status, shown, headers = await get(site, "/show", context(authority))
        assert (status, shown) == (200, [True, f"https://localhost:{site.port}/x", None])
        assert headers["Set-Cookie"] == "a=1; HttpOnly; Path=/; SameSite=Lax; Secure"
        async with aiohttp.ClientSession() as session:
            url = f"https://localhost:{site.port}/go"
            async with session.get(url, ssl=context(authority)) as answer:
                assert (answer.status, answer.url.scheme, answer.url.path) == (200, "https", "/show")


async def test_a_certificate_says_who_calls(authority: Authority) -> None:
    text = config(authority, clients=True) + "module.webapi.authmethod = 'certified'\n"
    async with running(text, WebAPI, Door) as site:
        for client, status in [("alice", 200), ("bob", 403)]:
            assert (await get(site, "/door/discover", context(authority, client)))[0] == status
        with pytest.raises(aiohttp.ClientError):
            await get(site, "/door/discover", context(authority))
