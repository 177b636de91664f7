"""Values as Open vSwitch writes them: addresses, flags, ports, numbers."""

from __future__ import annotations

from vlcp.wire.openflow.fields import Field, Value, field_named, subfield_bits
from vlcp.wire.openflow.ports import Port

_PORT_NAMES = {port.value: port.name for port in Port if port is not Port.MAX}
_FLAG_NAMES = {
    "ct_state": ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"),
    "tcp_flags": ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"),
    "tun_flags": ("oam",),
}
_FRAGMENTS = {
    0: "no",
    1: "first",
    3: "later",
    (0, 1): "no",
    (1, 1): "yes",
    (0, 2): "not_later",
    (2, 2): "later",
}


def hexadecimal(number: int) -> str:
    """A number as C's %#x writes it."""
    return f"{number:#x}" if number else "0"


def port(number: int) -> str:
    """A port's number, or the name of a reserved port."""
    return _PORT_NAMES.get(number, str(number))


def ethernet(number: int) -> str:
    """A MAC address."""
    return ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))


def ipv4(number: int) -> str:
    """An IPv4 address."""
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))


def ipv6(number: int) -> str:
    """An IPv6 address as inet_ntop(3) writes it."""
    groups = [number >> shift & 0xFFFF for shift in range(112, -1, -16)]
    start, length = _longest_zeros(groups)
    tail = ""
    if start == 0 and (length == 6 or (length == 5 and groups[5] == 0xFFFF)):
        tail = ipv4(number & 0xFFFFFFFF)
        groups = groups[:6]
    shown = [f"{group:x}" for group in groups] + ([tail] if tail else [])
    if length < 2:
        return ":".join(shown)
    return ":".join(shown[:start]) + "::" + ":".join(shown[start + length :])


def _longest_zeros(groups: list[int]) -> tuple[int, int]:
    """The first longest run of zero groups: where it starts, how long it is."""
    best = (-1, 0)
    start = 0
    for index, group in enumerate([*groups, 1]):
        if group:
            if index - start > best[1]:
                best = (start, index - start)
            start = index + 1
    return best


def _address(number: int, mask: int | None, bits: int) -> str:
    write = ipv4 if bits == 32 else ipv6
    if mask is None:
        return write(number)
    host_bits = bits - mask.bit_count()
    if mask == (1 << bits) - (1 << host_bits):
        return f"{write(number)}/{bits - host_bits}"
    return f"{write(number)}/{write(mask)}"


def _flags(form: str, number: int, mask: int | None, limit: int) -> str:
    names = _FLAG_NAMES[form]
    if form != "tun_flags" and mask in (None, limit):
        return "|".join(name for bit, name in enumerate(names) if number >> bit & 1) or "0"
    mask = limit if mask is None else mask
    signs = ("-", "+")
    return "".join(signs[number >> bit & 1] + name for bit, name in enumerate(names) if mask >> bit & 1)


def _number(form: str, number: int, mask: int | None) -> str:
    if form == "decimal":
        return str(number) if mask is None else f"{number:#x}/{mask:#x}"
    return hexadecimal(number) if mask is None else f"{hexadecimal(number)}/{hexadecimal(mask)}"


def value(field: Field, content: Value) -> str:
    """The value of a field, with its mask."""
    number, mask = content if isinstance(content, tuple) else (content, None)
    form = field.form
    if form in ("ipv4", "ipv6"):
        return _address(number, mask, 32 if form == "ipv4" else 128)
    if form == "ethernet":
        return ethernet(number) if mask is None else f"{ethernet(number)}/{ethernet(mask)}"
    if form == "port":
        return port(number)
    if form == "fragment":
        return _FRAGMENTS.get(content) or _number("hex", number, mask)
    if form in _FLAG_NAMES:
        return _flags(form, number, mask, field.limit)
    return _number(form, number, mask)


def subfield(name: str, ofs: int, n_bits: int) -> str:
    """Some bits of a field, such as `NXM_NX_REG0[0..15]`."""
    long_name = name if name.startswith("0x") else field_named(name).subfield.name
    if ofs == 0 and n_bits == subfield_bits(name):
        return f"{long_name}[]"
    return f"{long_name}[{ofs}]" if n_bits == 1 else f"{long_name}[{ofs}..{ofs + n_bits - 1}]"
