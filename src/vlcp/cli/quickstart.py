"""The configuration that is used when there is no configuration file: one machine, everything local."""

from __future__ import annotations

import os
from pathlib import Path

from vlcp.server.config import Config, ConfigError, parse

NAME = "built-in quick-start configuration"
API_URL = "tcp://localhost:8081"
OVSDB_URL = "unix:///var/run/openvswitch/db.sock"

_TEXT = """
server.startup = ('vlcp.service.sdn.viperflow.ViperFlow',
                  'vlcp.service.sdn.ioprocessing.IOProcessing',
                  'vlcp.service.sdn.l2switch.L2Switch',
                  'vlcp.service.sdn.arpresponder.ARPResponder',
                  'vlcp.service.sdn.dhcpserver.DHCPServer',
                  'vlcp.service.manage.modulemanager.Manager',
                  'vlcp.service.manage.webapi.WebAPI',
                  'vlcp.service.utils.autoload.AutoLoad')
server.logging.formatters = {'line': {'format': '%(asctime)s %(levelname)s %(name)s: %(message)s'}}
server.logging.handlers = {'stderr': {'class': 'logging.StreamHandler', 'formatter': 'line'}}
server.logging.root = {'level': 'INFO', 'handlers': ['stderr']}
proxy.kvstorage = 'vlcp.service.kvdb.embeddeddb.EmbeddedDB'
module.httpserver.url = None
module.jsonrpcserver.ovsdb = True
module.jsonrpcserver.client = True
"""


def home() -> Path:
    """Where the embedded store is kept: $VLCP_HOME, else /var/lib/vlcp."""
    return Path(os.environ.get("VLCP_HOME") or "/var/lib/vlcp").absolute()


def configuration() -> Config:
    """The configuration; the directory of the store is made if it is missing. Raises `ConfigError`."""
    directory = home()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make {directory} for the store: {error.strerror}; set VLCP_HOME to another directory, "
            "or name a configuration file with -f"
        ) from None
    config = parse(_TEXT, NAME)
    config.set("module.embeddeddb.path", str(directory / "vlcp.db"), NAME)
    config.set("module.httpserver.vhost.api.url", API_URL, NAME)
    config.set("module.jsonrpcserver.url", OVSDB_URL, NAME)
    return config
