"""Classes of other authors: an example, and what the object database keeps for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.faultydb import Line
from vlcp.server.server import Server
from vlcp.service.kvdb.objectdb import ObjectDB
from vlcp.store.contract import Preconditions
from vlcp.store.dataobject import DataObject, of_key, restore
from vlcp.store.errors import AlreadyExistsError, UndecodableError
from vlcp.store.reference import wait_any
from vlcp.web.display import Display

Call = Callable[..., Awaitable[Any]]


class Rack(DataObject):
    """A place for machines."""

    prefix = "example.rack"
    indices = ("room", "number")


class Machine(DataObject):
    """A machine, which stands in a rack and may have friends."""

    prefix = "example.machine"
    indices = ("id",)
    unique = (("name", ("name",)), ("place", ("rack", "slot")))
    references = ("rack", "friends")

    def removes(self) -> Iterable[str]:
        return [f"example.note.{self.id}"]


class Note(DataObject):
    """What somebody wrote about a machine."""

    prefix = "example.note"
    indices = ("id",)
    unique = (("text", ("text",)),)

    def removes(self) -> Iterable[str]:
        return [f"other/{self.id}"]


@pytest.fixture
def store(objectdb: Call) -> Call:
    """Write objects; None deletes the key before it."""

    async def store(*objects: DataObject, gone: Iterable[str] = ()) -> None:
        keys = [*(each.getkey() for each in objects), *gone]
        values = [*objects, *(None for _ in gone)]
        await objectdb("transact", keys=[], updater=lambda *_: (keys, values))

    return store


def claims(line: Line) -> dict[str, bytes]:
    return {
        key: entry.value
        for key, entry in line.memory._table.items()
        if key.startswith("example") and "/" in key
    }


async def test_objects_are_stored_under_their_key(objectdb: Call, store: Call, line: Line) -> None:
    rack = Rack("a.b/c", 5, height=42, _scratch="never")
    await store(rack)
    assert rack.getkey() == "example.rack.a++b+-c.5" == Rack.key("a.b/c", "5")
    [entry] = (await line.memory.read([rack.getkey()])).entries.values()
    assert entry is not None
    assert entry.value == b'{"type":"example.rack","height":42}'
    found = await objectdb("getonce", key=Rack.key("a.b/c", 5))
    assert isinstance(found, Rack)
    assert (found, found.room, found.number, found.height) == (rack, "a.b/c", "5", 42)
    assert (
        Display().encode(found) == b'{"_key": "example.rack.a++b+-c.5", "type": "example.rack", "height": 42}'
    )


@given(st.lists(st.text("+-_./a", max_size=6), min_size=2, max_size=2))
def test_every_index_value_comes_back(values: list[str]) -> None:
    key = Rack.key(*values)
    assert of_key(key) is Rack
    restored = restore(key, {"type": "example.rack"})
    assert [restored.room, restored.number] == values


@pytest.mark.parametrize(
    "key", ["example", "example.rack", "example.rack.a", "example.rack.a.b.c", "example.rack.a.b/c"]
)
def test_other_keys_are_not_of_the_class(key: str) -> None:
    assert of_key(key) is None


async def test_updaters_change_copies(objectdb: Call, store: Call) -> None:
    await store(Machine("m", name="x", tags=["a"]))
    reference = await objectdb("get", key="example.machine.m", requestid="r")

    def change(keys: list[str], values: list[Any]) -> Any:
        values[0].tags.append("b")
        values[0].name = "y"
        return (keys, values) if values[0].tags == ["a", "b"] else ([], [])

    assert (reference.name, reference.tags, reference.id) == ("x", ["a"], "m")
    await objectdb("transact", keys=["example.machine.m"], updater=change)
    await objectdb("get", key="example.machine.m", requestid="r")
    assert (reference.name, reference.tags) == ("y", ["a", "b"])


async def test_attributes_that_the_class_does_not_know_are_kept(
    objectdb: Call, store: Call, line: Line
) -> None:
    await line.memory.commit(
        Preconditions(), {"example.rack.r.1": b'{"type":"example.rack","from_elsewhere":{"x":[1]}}'}
    )

    def change(keys: list[str], values: list[Any]) -> Any:
        values[0].height = 1
        return keys, values

    await objectdb("transact", keys=["example.rack.r.1"], updater=change)
    [entry] = (await line.memory.read(["example.rack.r.1"])).entries.values()
    assert entry is not None
    assert entry.value == b'{"type":"example.rack","from_elsewhere":{"x":[1]},"height":1}'


async def test_unique_values_belong_to_one_object(objectdb: Call, store: Call, line: Line) -> None:
    await store(Machine("m", name="x", rack="example.rack.r.1", slot=3), Machine("n", name="y"))
    assert claims(line) == {
        "example.machine/name/x": b'"example.machine.m"',
        "example.machine/name/y": b'"example.machine.n"',
        "example.machine/place/example++rack++r++1.3": b'"example.machine.m"',
    }
    with pytest.raises(
        AlreadyExistsError, match=r"name/x belongs to 'example\.machine\.m' already"
    ) as raised:
        await store(Machine("o", name="x"))
    assert raised.value.status == 409
    with pytest.raises(AlreadyExistsError, match="cannot belong to both"):
        await store(Machine("p", name="z"), Machine("q", name="z"))
    assert await objectdb("mgetonce", keys=["example.machine.o", "example.machine.p"]) == [None, None]
    await store(Machine("m", name="z", rack="example.rack.r.1"))
    assert set(claims(line)) == {"example.machine/name/y", "example.machine/name/z"}
    await store(Machine("o", name="x"))
    await store(gone=["example.machine.m", "example.machine.n", "example.machine.o"])
    assert claims(line) == {}


async def test_an_empty_text_can_be_unique(store: Call, line: Line) -> None:
    await store(Machine("m", name=""))
    with pytest.raises(AlreadyExistsError):
        await store(Machine("n", name=""))
    await store(Machine("m", name="+"), Machine("n", name=""))
    assert sorted(claims(line).values()) == [b'"example.machine.m"', b'"example.machine.n"']


async def test_a_reference_can_be_written_like_its_object(objectdb: Call, store: Call, line: Line) -> None:
    await store(Machine("m", name="x"))
    reference = await objectdb("get", key=Machine.key("m"), requestid="r")
    await objectdb("transact", keys=[], updater=lambda *_: ([reference], [reference]))
    assert set(claims(line)) == {"example.machine/name/x"}
    await objectdb("writewalk", keys=[], walker=lambda walk, write: write(reference, reference))
    assert set(claims(line)) == {"example.machine/name/x"}
    with pytest.raises(ValueError, match=r"cannot be written as 'example\.machine\.n'"):
        await objectdb("transact", keys=[], updater=lambda *_: ([Machine.key("n")], [reference]))


async def test_objects_may_exchange_unique_values(store: Call, line: Line) -> None:
    await store(Machine("m", name="x"), Machine("n", name="y"))
    await store(Machine("m", name="y"), Machine("n", name="x"))
    assert claims(line) == {
        "example.machine/name/x": b'"example.machine.n"',
        "example.machine/name/y": b'"example.machine.m"',
    }
    await store(Machine("o", name="x"), gone=["example.machine.n"])
    assert claims(line)["example.machine/name/x"] == b'"example.machine.o"'


async def test_only_one_of_many_gets_a_unique_value(store: Call, objectdb: Call) -> None:
    results = await asyncio.gather(
        *(store(Machine(f"m{n}", name="x")) for n in range(20)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 1
    assert all(isinstance(result, AlreadyExistsError) for result in results if result is not None)
    found = await objectdb("mgetonce", keys=[f"example.machine.m{n}" for n in range(20)])
    assert sum(each is not None for each in found) == 1


async def test_what_belongs_to_an_object_is_deleted_with_it(
    store: Call, write: Call, objectdb: Call, line: Line
) -> None:
    await write(**{"other/m": 1, "other/n": 1})
    await store(Machine("m", name="x"), Note("m", text="slow"), Note("n", text="fast"))
    await store(gone=["example.machine.m"])
    keys = ["example.machine.m", "example.note.m", "other/m", "example.note.n", "other/n"]
    assert [value is not None for value in await objectdb("mgetonce", keys=keys)] == [False] * 3 + [True] * 2
    assert set(claims(line)) == {"example.note/text/fast"}


async def test_writewalk_keeps_unique_values_too(objectdb: Call, store: Call, line: Line) -> None:
    await store(Machine("m", name="x"))

    def walker(walk: Any, write: Any) -> None:
        machine = walk(Machine.key("m"))
        machine.name = "y"
        write(machine, machine)

    await objectdb("writewalk", keys=[], walker=walker)
    assert set(claims(line)) == {"example.machine/name/y"}


async def test_what_an_object_refers_to_is_kept_with_it(
    database: Server, objectdb: Call, store: Call
) -> None:
    await store(
        Rack("r", 1, height=42),
        Machine("m", name="x", rack=Rack.key("r", 1), friends=[Machine.key("n"), Machine.key("none")]),
        Machine("n", name="y", friends=[Machine.key("m")]),
    )
    machine = await objectdb("get", key=Machine.key("m"), requestid="r")
    assert machine.rack.height == 42
    assert [friend.getkey() for friend in machine.friends] == [Machine.key("n"), Machine.key("none")]
    assert machine.friends[0].friends[0].name == "x", "a circle of references"
    assert machine.friends[1].isdeleted()
    assert machine.getvalue().rack == Rack.key("r", 1)
    assert await objectdb("watchlist") == {Machine.key("m"): ["r"]}
    holdings = database.module(ObjectDB)._holdings
    assert len(holdings) == 4
    await store(Rack("r", 1, height=43), Machine("none", name="z"))
    await objectdb("get", key=Machine.key("m"), requestid="r")
    assert (machine.rack.height, machine.friends[1].name) == (43, "z")
    await store(Machine("m", name="x"))
    await objectdb("get", key=Machine.key("m"), requestid="r")
    assert len(holdings) == 1
    await store(Machine("m", name="x", friends=[Machine.key("n")]))
    waiting = asyncio.create_task(wait_any([await objectdb("get", key=Machine.key("m"), requestid="r")]))
    await asyncio.sleep(0)
    await store(Machine("n", name="w"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await objectdb("unwatchall", requestid="r")
    assert len(holdings) == 0
    with pytest.raises(Exception, match="nobody keeps"):
        await waiting


async def test_a_new_reference_is_followed_by_itself(objectdb: Call, store: Call) -> None:
    await store(Rack("r", 1, height=1), Machine("m"))
    machine = await objectdb("get", key=Machine.key("m"), requestid="r")
    await store(Machine("m", rack=Rack.key("r", 1)))
    assert (await objectdb("get", key=Machine.key("m"), requestid="r")).rack.height == 1
    assert machine.rack.height == 1


async def test_walkers_get_objects(objectdb: Call, store: Call) -> None:
    await store(Rack("r", 1, height=1), Machine("m", rack=Rack.key("r", 1)))

    def walker(key: str, machine: Any, walk: Any, save: Any) -> None:
        save(machine)
        try:
            save(walk(machine.rack))
        except KeyError:
            return

    keys, found = await objectdb(
        "walk", keys=[Machine.key("m")], walkerdict={Machine.key("m"): walker}, requestid="r"
    )
    assert keys == [Machine.key("m"), Rack.key("r", 1)]
    assert found[1].height == 1
    assert set(await objectdb("watchlist")) == set(keys)


async def test_mistakes_of_authors_are_told(store: Call, objectdb: Call) -> None:
    with pytest.raises(TypeError, match="named by 2 values"):
        Rack("r")
    with pytest.raises(TypeError, match="cannot be a prefix"):
        type("Bad", (DataObject,), {"prefix": "viperflow.mine"})
    with pytest.raises(ValueError, match="'type'"):
        await store(Machine("m", type="x"))
    with pytest.raises(ValueError, match=r"cannot be written as 'example\.machine\.n'"):
        await objectdb("transact", keys=[], updater=lambda *_: (["example.machine.n"], [Machine("m")]))
    with pytest.raises(ValueError, match=r"example\.machine\.m cannot be stored"):
        await store(Machine("m", thing=object()))
    assert await objectdb("getonce", key="example.machine.m") is None


class Broken(DataObject):
    """A class with faults."""

    prefix = "example.broken"
    indices = ("id",)

    @classmethod
    def restored(cls, key: str, stored: Any) -> Any:
        if key.endswith("raises"):
            raise RuntimeError("a bad class")
        return super().restored(key, stored)

    def referred(self) -> list[str]:
        raise RuntimeError("a bad method")


async def test_a_bad_class_harms_only_its_objects(
    objectdb: Call, store: Call, write: Call, line: Line
) -> None:
    await line.memory.commit(
        Preconditions(),
        {f"example.broken.{name}": b'{"type":"example.broken","x":1}' for name in ("raises", "b")},
    )
    await write(good=1)
    keys = ["example.broken.raises", "example.broken.b", "good"]
    raises, broken, good = await objectdb("mwatch", keys=keys, requestid="r")
    assert (broken.x, good) == (1, 1)
    with pytest.raises(UndecodableError, match="a bad class"):
        _ = raises.x
    await write(good=2)
    assert await objectdb("get", key="good", requestid="r") == 2
