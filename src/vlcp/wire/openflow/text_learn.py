"""The learn action as ovs-ofctl(8) writes it."""

from __future__ import annotations

from vlcp.wire.openflow.fields import FIELDS, subfield_bits
from vlcp.wire.openflow.learn import (
    Learn,
    LearnFlag,
    LearnLoad,
    LearnMatch,
    LearnOutput,
    LearnSpec,
    spec_bits,
)
from vlcp.wire.openflow.text_values import hexadecimal, subfield, value

_DEFAULT_PRIORITY = 0x8000


def format_learn(learn: Learn) -> str:
    """`learn(table=...,...)`."""
    numbers = [
        ("idle_timeout", learn.idle_timeout),
        ("hard_timeout", learn.hard_timeout),
        ("fin_idle_timeout", learn.fin_idle_timeout),
        ("fin_hard_timeout", learn.fin_hard_timeout),
    ]
    parts = [f"table={learn.table}", *(f"{name}={number}" for name, number in numbers if number)]
    parts += [f"priority={learn.priority}"] if learn.priority != _DEFAULT_PRIORITY else []
    parts += ["send_flow_rem"] if learn.flags & LearnFlag.SEND_FLOW_REM else []
    parts += ["delete_learned"] if learn.flags & LearnFlag.DELETE_LEARNED else []
    parts += [f"cookie={hexadecimal(learn.cookie)}"] if learn.cookie else []
    return f"learn({','.join([*parts, *map(_spec, learn.specs)])})"


def _spec(spec: LearnSpec) -> str:
    bits = spec_bits(spec)
    match spec:
        case LearnOutput():
            return f"output:{subfield(spec.src, spec.src_ofs, bits)}"
        case LearnLoad():
            return f"load:{_source(spec, bits)}->{subfield(spec.dst, spec.dst_ofs, bits)}"
        case LearnMatch(src=int()):
            return _matched_number(spec, bits)
    target = subfield(spec.dst, spec.dst_ofs, bits)
    return (
        target if (spec.src, spec.src_ofs) == (spec.dst, spec.dst_ofs) else f"{target}={_source(spec, bits)}"
    )


def _source(spec: LearnMatch | LearnLoad, bits: int) -> str:
    return f"{hexadecimal(spec.src)}" if isinstance(spec.src, int) else subfield(spec.src, spec.src_ofs, bits)


def _matched_number(spec: LearnMatch, bits: int) -> str:
    assert isinstance(spec.src, int)
    field = FIELDS.get(spec.dst)
    if field and spec.dst_ofs == 0 and bits == subfield_bits(spec.dst):
        name = "in_port" if field.name == "in_port" else field.label
        return f"{name}={value(field, spec.src)}"
    return f"{subfield(spec.dst, spec.dst_ofs, bits)}={hexadecimal(spec.src)}"
