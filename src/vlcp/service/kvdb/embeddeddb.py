"""The store of a single machine: one file, no server."""

from __future__ import annotations

from vlcp.server.api import api
from vlcp.server.config import ConfigError
from vlcp.server.server import Server
from vlcp.service.kvdb.keyvalue import KeyValueDB, LocalBackend
from vlcp.store.contract import StoreError
from vlcp.store.embedded import EmbeddedBackend
from vlcp.store.memory import MemoryBackend
from vlcp.store.notifier import Notifier, Publications


class EmbeddedDB(KeyValueDB):
    """Keeps everything in one SQLite file that the processes of one machine share; set proxy.kvstorage to use it."""

    service = True

    class Settings(KeyValueDB.Settings, frozen=True, kw_only=True):
        """The keys of `module.embeddeddb.*`."""

        path: str = "/var/lib/vlcp/vlcp.db"
        """The file; `:memory:` keeps everything in memory, until the end of the process."""
        synchronous: str = "NORMAL"
        """How hard to press the disk: NORMAL survives the end of the process, FULL also a power failure."""

    settings: Settings

    def make_backend(self) -> LocalBackend:
        """The store in the file, or in memory."""
        if self.settings.path == ":memory:":
            return MemoryBackend()
        try:
            return EmbeddedBackend(self.settings.path, self.settings.synchronous)
        except ValueError as error:
            raise self._wrong("synchronous", error) from None

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._publications = Publications()

    async def load(self) -> None:
        """Open the file; `ConfigError` that names the key when it cannot be used."""
        try:
            await super().load()
        except StoreError as error:
            raise self._wrong("path", error) from None

    async def take_over(self, old: EmbeddedDB) -> None:
        """The file stays open, and so do the notifiers."""
        await super().take_over(old)
        self._publications = old._publications

    async def unload(self) -> None:
        """End the notifiers, then close the file."""
        self._publications.close()
        await super().unload()

    @api
    def createnotifier(self, vhost: str | None = None) -> Notifier:
        """Create a notifier of changed keys, for other modules in this process; see vlcp.store.notifier.

        It tells of commits by itself, by whichever process; what is published with it is heard in this process alone.
        """
        return self._publications.notifier(self._client(vhost or "").backend)

    def _wrong(self, name: str, error: Exception) -> ConfigError:
        config, key = self.server.config, f"module.{self.name}.{name}"
        return ConfigError(f"{config.origin(key)}: {key} = {getattr(self.settings, name)!r}: {error}")
