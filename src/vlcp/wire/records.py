"""Binary records declared as classes and compiled, each at its first use, to straight-line code.

A record is a frozen `msgspec.Struct` whose annotations say how each field looks on the wire:

    @record(Prefix("HH", (22, LENGTH)))
    class Group(Record, frozen=True):
        group_id: U32

The first call writes the source of `pack` and `unpack` for the class: neighbouring fields of fixed size share one
`struct.Struct`, so that a record costs about what hand-written code costs. A program uses few of the records that it
imports, and a controller that starts again is in a hurry. All numbers are big-endian.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NoReturn, Self, TypeVar, get_type_hints

import msgspec

from vlcp.wire import WireError as WireError

Buffer = bytes | memoryview
LENGTH: Literal["length"] = "length"
"""In a `Prefix`: the length in bytes of the whole record, padding included."""
XID: Literal["xid"] = "xid"
"""In a `Prefix`: the transaction id, an argument of `pack` and a field of the record."""


class Fixed(msgspec.Struct, frozen=True):
    """A field of fixed size. `code`: its letter of the `struct` module.

    `to_wire` and `from_wire` convert between the value of the field and the value that `struct` packs.
    """

    code: str
    to_wire: Callable[[Any], Any] | None = None
    from_wire: Callable[[Any], Any] | None = None


class Variable(msgspec.Struct, frozen=True):
    """A field whose size depends on its value.

    `pack(value)` gives its bytes; `unpack(data, offset, end)` gives the value and the offset behind it.
    """

    pack: Callable[[Any], bytes]
    unpack: Callable[[Buffer, int, int], tuple[Any, int]]


class Pad(msgspec.Struct, frozen=True):
    """`size` zero bytes behind the field that carries it; ignored when read."""

    size: int


class Prefix(msgspec.Struct, frozen=True):
    """What stands before the first field: `values`, packed with `code`; `LENGTH` and `XID` are filled in."""

    code: str = ""
    values: tuple[int | str, ...] = ()


def _take_rest(data: Buffer, offset: int, end: int) -> tuple[bytes, int]:
    return bytes(data[offset:end]), end


U8 = Annotated[int, Fixed("B")]
U16 = Annotated[int, Fixed("H")]
U32 = Annotated[int, Fixed("I")]
U64 = Annotated[int, Fixed("Q")]
Rest = Annotated[bytes, Variable(bytes, _take_rest)]
"""Everything up to the end of the record."""


def text_of_size(size: int) -> Fixed:
    """A string in `size` bytes, filled with zeros; cut off when it is longer."""
    return Fixed(
        f"{size}s", lambda text: text.encode()[:size], lambda raw: raw.rstrip(b"\0").decode(errors="replace")
    )


def integer_of_size(size: int) -> Fixed:
    """An unsigned integer of `size` bytes (a MAC address has 6)."""
    return Fixed(
        f"{size}s", lambda value: value.to_bytes(size, "big"), lambda raw: int.from_bytes(raw, "big")
    )


class Record(msgspec.Struct, frozen=True):
    """The base of all records: immutable, hashable, comparable."""

    def pack(self) -> bytes:
        """The record's bytes. ValueError: a field does not fit; the text names it."""
        raise NotImplementedError

    @classmethod
    def unpack(cls, data: Buffer, offset: int, end: int) -> Self:
        """The record that stands at `offset` and ends at `end`. Garbage: `WireError` or `struct.error`."""
        raise NotImplementedError


AnyRecord = TypeVar("AnyRecord", bound=type)


def record(
    prefix: Prefix | None = None, *, order: str = "", align: int = 1
) -> Callable[[AnyRecord], AnyRecord]:
    """Give the decorated class `pack` and `unpack`.

    `order`: names of the fields as they stand on the wire, when that is not the order of the class.
    `align`: the record's length is padded to a multiple of this.
    """

    def declare(cls: AnyRecord) -> AnyRecord:
        def install() -> None:
            _Compiler(cls, prefix or Prefix(), order.split(), align).install()

        _compile_later(cls, functools.cache(install))
        return cls

    return declare


def _compile_later(cls: Any, install: Callable[[], None]) -> None:
    """Put two functions in the places of `pack` and `unpack` that replace themselves when one is called.

    A reference that somebody took before stays right, only slower.
    """

    def pack(self: Any, *args: Any, **named: Any) -> bytes:
        install()
        packed: bytes = cls.pack(self, *args, **named)
        return packed

    def unpack(data: Buffer, offset: int, end: int) -> Any:
        install()
        return cls.unpack(data, offset, end)

    cls.pack, cls.unpack = pack, staticmethod(unpack)


class _Run(msgspec.Struct):
    """Neighbours of fixed size, packed and unpacked by one call."""

    pack_code: str = ""
    unpack_code: str = ""
    arguments: list[str] = msgspec.field(default_factory=list)
    targets: list[str] = msgspec.field(default_factory=list)


class _Compiler:
    """Writes `pack` and `unpack` of one class and puts them into it."""

    def __init__(self, cls: type, prefix: Prefix, order: list[str], align: int) -> None:
        self.cls = cls
        self.align = align
        self.prefix = prefix
        self.order = order
        names = getattr(cls, "__struct_fields__", ())
        self.takes_xid = "xid" in names
        self.names = [name for name in names if name != "xid"]
        self.scope: dict[str, Any] = {"cls": cls, "explain": _explain, "error": struct.error, "fit": _fit}
        self.parts: list[_Run | str] = []  # a string names a field of variable size

    def install(self) -> None:
        self._split()
        for name, source in (("pack", self._pack_source()), ("unpack", self._unpack_source())):
            exec(compile(source, f"<{name} of {self.cls.__name__}>", "exec"), self.scope)
        target: Any = self.cls
        target.pack = self.scope["pack"]
        target.unpack = staticmethod(self.scope["unpack"])

    def _split(self) -> None:
        """Divide prefix and fields into runs of fixed size and fields of variable size."""
        run = self._prefix_run()
        hints = get_type_hints(self.cls, include_extras=True)
        for name in self.order or self.names:
            for item in hints[name].__metadata__:
                if isinstance(item, Variable):
                    self._close(run)
                    run = _Run()
                    self.parts.append(name)
                    self.scope[f"pack_{name}"], self.scope[f"unpack_{name}"] = item.pack, item.unpack
                elif isinstance(item, Fixed):
                    self._add(run, name, item)
                else:
                    run.pack_code += f"{item.size}x"
                    run.unpack_code += f"{item.size}x"
        self._close(run)

    def _prefix_run(self) -> _Run:
        run = _Run()
        values = iter(self.prefix.values)
        for code in self.prefix.code:
            run.pack_code += code
            if code == "x":
                run.unpack_code += code
                continue
            value = next(values)
            run.arguments.append(str(value))
            if value == XID:
                run.unpack_code += code
                run.targets.append("xid")
            else:
                run.unpack_code += f"{struct.calcsize('!' + code)}x"
        return run

    def _add(self, run: _Run, name: str, item: Fixed) -> None:
        run.pack_code += item.code
        run.unpack_code += item.code
        run.targets.append(name)
        if item.to_wire is None:
            run.arguments.append(f"self.{name}")
        else:
            run.arguments.append(f"to_{name}(self.{name})")
            self.scope[f"to_{name}"], self.scope[f"from_{name}"] = item.to_wire, item.from_wire

    def _close(self, run: _Run) -> None:
        if run.pack_code:
            self.parts.append(run)

    def _pack_source(self) -> str:
        lines, terms, sizes, fixed_size = [], [], [], 0
        for index, part in enumerate(self.parts):
            if isinstance(part, _Run):
                layout = struct.Struct("!" + part.pack_code)
                self.scope[f"pack_run{index}"] = layout.pack
                fixed_size += layout.size
                terms.append(f"pack_run{index}({', '.join(part.arguments)})")
            else:
                lines.append(f"{part} = pack_{part}(self.{part})")
                terms.append(part)
                sizes.append(f"len({part})")
        lines.append("length = " + " + ".join([str(fixed_size), *sizes]))
        if self.align > 1:
            lines += [f"padding = -length % {self.align}", "length += padding"]
            terms.append("bytes(padding)")
        lines.append("return " + (" + ".join(terms) or "b''"))
        body = "\n        ".join(lines)
        arguments = "self, xid=0" if self.takes_xid else "self"
        return f"def pack({arguments}):\n    try:\n        {body}\n    except error:\n        explain(self)\n"

    def _unpack_source(self) -> str:
        lines = []
        for index, part in enumerate(self.parts):
            if isinstance(part, _Run):
                layout = struct.Struct("!" + part.unpack_code)
                self.scope[f"unpack_run{index}"] = layout.unpack_from
                targets = "".join(f"{target}, " for target in part.targets)
                call = f"unpack_run{index}(data, offset)"
                lines += [f"{targets}= {call}" if targets else call, f"offset += {layout.size}"]
                lines.append("if offset > end: fit(cls, offset, end)")
            else:
                lines.append(f"{part}, offset = unpack_{part}(data, offset, end)")
        values = [f"from_{name}({name})" if f"from_{name}" in self.scope else name for name in self.names]
        values += ["xid=xid"] if self.takes_xid else []
        lines.append(f"return cls({', '.join(values)})")
        return "def unpack(data, offset, end):\n    " + "\n    ".join(lines) + "\n"


def _fit(cls: type, offset: int, end: int) -> NoReturn:
    raise WireError(f"{cls.__name__}: {offset - end} bytes too short")


def _explain(value: msgspec.Struct) -> NoReturn:
    """Raise the ValueError that names the field which `struct` could not pack."""
    name = type(value).__name__
    hints = get_type_hints(type(value), include_extras=True)
    for place in value.__struct_fields__:
        for item in getattr(hints[place], "__metadata__", ()):
            if isinstance(item, Fixed) and item.to_wire is None:
                _check_number(f"{name}.{place}", getattr(value, place), item.code)
    raise ValueError(f"{name}: longer than 65535 bytes, or a number that does not fit")


def _check_number(place: str, value: Any, code: str) -> None:
    bits = 8 * struct.calcsize("!" + code)
    if not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise ValueError(f"{place}: {value!r} is not an unsigned number of {bits} bits")


def slices(data: Buffer, offset: int, end: int, step: int, what: str) -> Iterator[tuple[int, int, int]]:
    """The (type, start, end) of records that begin with a 16-bit type and a 16-bit length, one after the other.

    `step`: every length is a multiple of it. `WireError`: a length is impossible.
    """
    while offset < end:
        if end - offset < 4:
            raise WireError(f"{what}: {end - offset} bytes left, too few for a header")
        kind, length = _HEADER.unpack_from(data, offset)
        if length < 4 or length % step or offset + length > end:
            raise WireError(f"{what} of type {kind}: impossible length {length}, {end - offset} bytes left")
        yield kind, offset, offset + length
        offset += length


_HEADER = struct.Struct("!HH")
