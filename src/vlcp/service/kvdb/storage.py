"""The store that everything is kept in, whichever one is configured."""

from __future__ import annotations

from vlcp.server.module import Proxy


class KVStorage(Proxy):
    """The key-value store of this installation: the module that `proxy.kvstorage` names."""

    default = "vlcp.service.connection.redisdb.RedisDB"
    advice = (
        "set proxy.kvstorage to your store's module; vlcp.service.kvdb.embeddeddb.EmbeddedDB needs no server"
    )
