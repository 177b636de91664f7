"""The ct and nat actions as ovs-ofctl(8) writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlcp.wire.openflow.action import Action
from vlcp.wire.openflow.conntrack import NO_RECIRCULATION, Ct, CtFlag, Nat, NatFlag
from vlcp.wire.openflow.fields import subfield_name
from vlcp.wire.openflow.text_values import ipv4, ipv6, subfield

_HELPERS = {21: "ftp", 69: "tftp"}


def format_ct(ct: Ct, format_actions: Callable[[Sequence[Action]], str]) -> str:
    """`ct(commit,...)`; a nat that stands first is written outside of exec."""
    parts = ["commit"] if ct.flags & CtFlag.COMMIT else []
    parts += ["force"] if ct.flags & CtFlag.FORCE else []
    parts += [f"table={ct.table}"] if ct.table != NO_RECIRCULATION else []
    if ct.zone_src:
        parts.append(f"zone={subfield(subfield_name(ct.zone_src), ct.zone >> 6, (ct.zone & 63) + 1)}")
    elif ct.zone:
        parts.append(f"zone={ct.zone}")
    nested = ct.actions
    if nested and isinstance(nested[0], Nat):
        parts.append(format_nat(nested[0]))
        nested = nested[1:]
    parts += [f"exec({format_actions(nested)})"] if nested else []
    parts += [f"alg={_HELPERS.get(ct.alg, ct.alg)}"] if ct.alg else []
    return f"ct({','.join(parts)})"


def format_nat(nat: Nat) -> str:
    """`nat`, or `nat(src=...)`."""
    if not nat.flags & (NatFlag.SRC | NatFlag.DST):
        return "nat"
    where = _range(nat)
    parts = ["src" if nat.flags & NatFlag.SRC else "dst"]
    parts[0] += f"={where}" if where else ""
    named = ((NatFlag.PERSISTENT, "persistent"), (NatFlag.HASH, "hash"), (NatFlag.RANDOM, "random"))
    parts += [name for flag, name in named if nat.flags & flag]
    return f"nat({','.join(parts)})"


def _range(nat: Nat) -> str:
    shown = ""
    if nat.addresses is not None:
        version, low, high = nat.addresses
        write = ipv4 if version == 4 else ipv6
        bracketed = version == 6 and nat.ports is not None
        shown = write(low) + ("" if high is None else f"-{write(high)}")
        shown = f"[{shown}]" if bracketed else shown
    if nat.ports is not None:
        first, last = nat.ports
        shown += f":{first}" + ("" if last is None else f"-{last}")
    return shown
