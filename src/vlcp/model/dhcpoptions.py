"""DHCP options that a user may add to a network, subnet or port: names, codes and the shape of their values.

Codes and shapes are those of RFC 2132 (option 121: RFC 3442). None means "do not send this option".
"""

from __future__ import annotations

from typing import Any

from vlcp.model.fields import Field, NotAllowedError, address, array, cidr, integer, json_value, pair, within

CODES = {
    "OPTION_PAD": 0,
    "OPTION_NETMASK": 1,
    "OPTION_TIME_OFFSET": 2,
    "OPTION_ROUTER": 3,
    "OPTION_DNSSERVER": 6,
    "OPTION_RLSERVER": 11,
    "OPTION_HOSTNAME": 12,
    "OPTION_DOMAINNAME": 15,
    "OPTION_MTU": 26,
    "OPTION_BROADCAST": 28,
    "OPTION_NTPSERVER": 42,
    "OPTION_REQUESTED_IP": 50,
    "OPTION_LEASE_TIME": 51,
    "OPTION_OVERLOAD": 52,
    "OPTION_MESSAGE_TYPE": 53,
    "OPTION_SERVER_IDENTIFIER": 54,
    "OPTION_REQUESTED_OPTIONS": 55,
    "OPTION_MESSAGE": 56,
    "OPTION_MAX_MESSAGE_SIZE": 57,
    "OPTION_T1": 58,
    "OPTION_T2": 59,
    "OPTION_CLIENT_IDENTIFIER": 61,
    "OPTION_CLASSLESSROUTE": 121,
    "OPTION_END": 255,
}
"""Option name -> code."""

_FRAMING = frozenset({0, 52, 53, 255})
"""Options that make up the message itself; only the server can set them."""

_byte = integer(0, 255)
_octets = array(_byte, of="numbers from 0 to 255")
_addresses = array(address, of="IPv4 addresses")
_u16 = integer(0, 0xFFFF)
_u32 = integer(0, 0xFFFFFFFF)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise NotAllowedError(value, "printable text")
    return value


def _opaque(value: Any) -> str | tuple[int, ...]:
    """The value of an option whose meaning we do not know: text, sent as UTF-8, or the numbers of its bytes."""
    return _text(value) if isinstance(value, str) else _octets(value)


_SHAPES: dict[int, Field[Any]] = {
    1: address,
    2: integer(-(1 << 31), (1 << 31) - 1),
    3: _addresses,
    6: _addresses,
    11: _addresses,
    12: _text,
    15: _text,
    26: integer(68, 0xFFFF),
    28: address,
    42: _addresses,
    50: address,
    51: _u32,
    54: address,
    56: _text,
    57: _u16,
    58: _u32,
    59: _u32,
    121: array(pair(cidr, address, of="[destination CIDR, next hop]"), of="[destination CIDR, next hop]"),
}
_code = integer(1, 254)


def code_of(tag: int | str) -> int:
    """The code of an option that is given by code or by name. KeyError for an unknown name."""
    return CODES[tag] if isinstance(tag, str) else tag


def _tag(value: Any) -> int | str:
    known = isinstance(value, str) and value in CODES
    try:
        tag: int | str = value if known else _code(value)
    except NotAllowedError:
        raise NotAllowedError(value, "a code from 1 to 254 or a name such as OPTION_MTU") from None
    if code_of(tag) in _FRAMING:
        raise NotAllowedError(value, "an option that a user can set; this one is a part of every message")
    return tag


def _anything(value: Any) -> Any:
    return value


_either = pair(_tag, _anything, of="[option, value]")


def option(value: Any) -> tuple[int | str, Any]:
    """A pair of option code or name, and a value that can be sent as this option."""
    tag, content = _either(value)
    if content is None:
        return tag, None
    shape: Field[Any] = _SHAPES.get(code_of(tag), _opaque)
    return tag, json_value(within(shape, "[1]", content))  # as it is when it was stored and read again


options = array(option, of="[option, value]")
"""The parameter `extra_dhcp_options`."""
