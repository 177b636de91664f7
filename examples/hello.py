"""A module with pages of its own: a guest book. `PYTHONPATH=examples vlcp-start -f examples/hello.conf` runs it."""

from __future__ import annotations

from html import escape
from secrets import compare_digest
from typing import Any

from vlcp.server.api import NotFoundError
from vlcp.server.module import Module, api, depend
from vlcp.service.connection.httpserver import HttpServer
from vlcp.web import routes
from vlcp.web.environment import Environment
from vlcp.web.reply import Reply, html, redirect

PAGE = """<!DOCTYPE html>
<title>Guest book</title>
<ul>{entries}</ul>
<form action="/sign" method="post">
  <input name="name" value="{name}" required> <input name="stars" type="number" value="5"> <button>Sign</button>
</form>
"""


@depend(HttpServer)
class Hello(Module):
    """Shows who was here."""

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.hello.*`."""

        vhostbind: str = ""
        """The virtual host of httpserver that the pages are on."""
        password: str = ""
        """Who knows it may clear the book, as the user admin; without one nobody may."""

    settings: Settings

    async def load(self) -> None:
        """Show the pages from now on."""
        self._entries: list[dict[str, Any]] = []
        self._routes = [
            routes.plain("/", self.show),
            routes.plain("/entry/(?P<number>[0-9]+)", self.entry),
            routes.arguments("/sign", self.sign),
            routes.arguments("/clear", self.clear),
            routes.redirect("/book/(.*)", r"/entry/\1", status=301),
            routes.rewrite("/index.html", "/"),
        ]
        self._host().add(*self._routes)

    async def unload(self) -> None:
        """Show them no longer."""
        self._host().remove(*getattr(self, "_routes", ()))

    def _host(self) -> Any:
        return self.dependency(HttpServer).host(self.settings.vhostbind)

    def show(self, env: Environment) -> Reply:
        """The page. The cookie has the name that the visitor signed with the last time."""
        entries = (f"<li>{escape(entry['name'])}: {'*' * entry['stars']}" for entry in self._entries)
        return html(PAGE.format(entries="".join(entries), name=escape(env.cookies.get("name", ""))))

    def entry(self, env: Environment, number: str) -> Any:
        """One entry as JSON."""
        if int(number) >= len(self._entries):
            raise NotFoundError(f"there is no entry {number}")
        return self._entries[int(number)]

    async def sign(self, env: Environment, name: str, stars: int = 5) -> Reply:
        """Take an entry from the form, then show the page."""
        self._entries.append({"name": name, "stars": min(max(stars, 1), 5)})
        env.setcookie("name", name, max_age=30 * 24 * 3600)
        return redirect("/", 303)

    async def clear(self, env: Environment) -> None:
        """Forget everything, if the user is admin."""
        env.basicauth(self._is_admin, "guest book")
        self._entries.clear()

    def _is_admin(self, user: str, password: str) -> bool:
        known = self.settings.password.encode()
        return bool(known) and user == "admin" and compare_digest(password.encode(), known)

    @api
    def entries(self) -> list[dict[str, Any]]:
        """Return all entries."""
        return self._entries
