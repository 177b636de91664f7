"""Logging as `server.logging`, `server.loggingconfig` and `server.debugging` say."""

from __future__ import annotations

import logging
import logging.config

from vlcp.server.config import Config, ConfigError

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(config: Config) -> None:
    """Set up logging for the process; without any key, warnings go to standard error.

    `server.logging` is a dictionary or a subtree for `logging.config.dictConfig` (version 1, which may be left out);
    `server.loggingconfig` names a file for `logging.config.fileConfig`. May be called again: log files are opened
    anew. Raises `ConfigError`.
    """
    config.check_keys_below("server.logging")
    settings = config.get("server.logging") or {}
    file = config.get("server.loggingconfig")
    key = "server.logging" if settings else "server.loggingconfig"
    logging.getLogger("vlcp").setLevel(logging.NOTSET)
    try:
        if settings:
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **settings})
        elif file is not None:
            if not isinstance(file, str):
                raise TypeError(f"expected the name of a file, got {file!r}")
            logging.config.fileConfig(file, disable_existing_loggers=False)
        else:
            logging.basicConfig(format=_FORMAT, level=logging.WARNING)
    except Exception as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise ConfigError(f"{config.origin(key)}: {key}: {error}{cause}") from None
    if config.get("server.debugging"):
        logging.getLogger("vlcp").setLevel(logging.DEBUG)


def reconfigure(config: Config) -> list[str]:
    """Read the configuration file again and open the logs anew; returns the keys whose values are others now.

    Raises `ConfigError` when the file cannot be read or its logging is wrong; then nothing has changed.
    """
    new = config.again()
    try:
        configure(new)
    except ConfigError:
        configure(config)
        raise
    return config.take(new)
