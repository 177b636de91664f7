"""Calls of module APIs that another controller carries out."""

from __future__ import annotations

from typing import Any

import msgspec

from vlcp.server.config import ConfigError, Seconds
from vlcp.server.module import Module, api
from vlcp.server.server import Server
from vlcp.web.remote import Remote, WebClient


class RemoteCall(Module):
    """Routes calls to the web APIs of other controllers. Whoever may call it reaches every module in its map."""

    class Settings(Module.Settings, frozen=True, kw_only=True):
        """The keys of `module.remotecall.*`."""

        target_url_map: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
        """The URLs of web APIs by module name; the next one is tried when one cannot be reached."""

    settings: Settings

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        client = server.config.settings(WebClient, "webclient")
        try:
            self._remote = Remote(self.settings.target_url_map, client)
        except ValueError as error:
            raise self._wrong("module.remotecall.target_url_map", error) from None
        except OSError as error:
            raise self._wrong("webclient.cafile", error) from None

    def _wrong(self, key: str, error: Exception) -> ConfigError:
        return ConfigError(f"{self.server.config.origin(key)}: {key}: {error}")

    async def unload(self) -> None:
        """End all connections."""
        await self._remote.close()

    @api
    async def call(self, remote_module: str, method: str, timeout: Seconds, params: dict[str, Any]) -> Any:  # noqa: ASYNC109 (named as ever)
        """Call an API of a module of another controller and return its result.

        An error of the other controller is raised here with its status and text.

        :param remote_module: name of the module there; module.remotecall.target_url_map has its URLs
        :param method: name of the API
        :param timeout: seconds until the call is given up; what it began may be done all the same
        :param params: dictionary of all parameters
        """
        return await self._remote.call(remote_module, method, params, timeout)
