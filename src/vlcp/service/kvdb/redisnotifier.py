"""Who tells this process of changes in the store, whichever module is configured."""

from __future__ import annotations

from vlcp.server.loader import Loader
from vlcp.server.module import Proxy, module_path
from vlcp.service.kvdb.storage import KVStorage


class UpdateNotifier(Proxy):
    """The notifier of this installation: the module that `proxy.updatenotifier` names.

    When the key is not set it is the one of the store: redisnotifier for Redis, else the module of the store itself.
    """

    default = "vlcp.service.kvdb.redisnotifier.RedisNotifier"
    advice = "set proxy.updatenotifier to the same module as proxy.kvstorage, or to a notifier for it"

    @classmethod
    def otherwise(cls, loader: Loader) -> str | None:
        """The notifier of the configured store."""
        store = module_path(loader.implementation(KVStorage))
        return cls.default if store == KVStorage.default else store
