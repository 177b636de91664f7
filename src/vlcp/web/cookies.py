"""The header Set-Cookie (RFC 6265 section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, Morsel
from typing import Any

_DEFAULTS = {"path": "/", "httponly": True, "samesite": "Lax"}


def set_cookie(name: str, value: str, attributes: Mapping[str, Any]) -> str:
    """The value of the header for a cookie: for all paths, not for scripts, not with forms of other sites.

    `attributes` change that: those of `http.cookies.Morsel` in lower case, such as domain, path, secure, max-age;
    None or False takes one away. The value is sent as it is. Raises ValueError for what no cookie can have.
    """
    morsel: Morsel[str] = Morsel()
    try:
        morsel.set(name, value, value)
        for attribute, setting in {**_DEFAULTS, **attributes}.items():
            if setting is not None and setting is not False:
                morsel[attribute] = _checked(attribute, setting)
    except CookieError as error:
        raise ValueError(f"cookie {name!r}: {error}") from None
    return morsel.OutputString()


def _checked(attribute: str, setting: Any) -> Any:
    text = str(setting)
    if not (text.isascii() and text.isprintable()) or ";" in text:
        raise CookieError(f"{attribute} = {setting!r} has characters that end it")
    return setting
