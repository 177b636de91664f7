"""Random histories of calls on the network keep its invariants, and taking everything away leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.model.calls import Calls
from unit.model.dictstore import DictStore, DictView, directories
from vlcp.model import codec, keys
from vlcp.model.addresses import format_address, parse_address, parse_prefix
from vlcp.model.errors import InUseError, ModelError
from vlcp.model.objects import LogicalNetwork, LogicalPort, NetworkPort, PhysicalNetwork, PhysicalPort, Subnet
from vlcp.store.contract import Committed, Conflict, Preconditions
from vlcp.store.memory import MemoryBackend
from vlcp.store.mirror import Mirror
from vlcp.store.transaction import Transactor

ids = st.sampled_from(["a", "b", "c.d", "e/f"])
networks = st.sampled_from(["n", "m"])
ADDRESSES = [format_address(parse_address("10.0.0.0") + i) for i in range(9)]
macs = st.sampled_from(["02:00:00:00:aa:01", "02:00:00:00:aa:02"])
port = st.fixed_dictionaries(
    {"logicalnetwork": networks},
    optional={
        "id": ids,
        "subnet": st.sampled_from(["s", "t"]),
        "ip_address": st.sampled_from(ADDRESSES),
        "mac_address": macs,
    },
)
subnet = st.fixed_dictionaries(
    {"logicalnetwork": networks, "cidr": st.sampled_from(["10.0.0.0/29", "10.0.0.8/29", "10.0.0.0/28"])},
    optional={"id": st.sampled_from(["s", "t"]), "gateway": st.sampled_from(ADDRESSES)},
)
port_update = st.fixed_dictionaries(
    {"id": ids}, optional={"ip_address": st.sampled_from(ADDRESSES), "mac_address": macs, "note": st.none()}
)
subnet_update = st.fixed_dictionaries(
    {"id": st.sampled_from(["s", "t"])},
    optional={
        "cidr": st.sampled_from(["10.0.0.0/29", "10.0.0.8/29", "10.0.0.0/28", "10.0.0.0/30"]),
        "gateway": st.sampled_from([*ADDRESSES, None]),
        "allocated_start": st.sampled_from([*ADDRESSES, None]),
        "allocated_end": st.sampled_from([*ADDRESSES, None]),
    },
)
named = {"name": st.sampled_from(["eth0", "e.1"])}
placed = {"vhost": st.sampled_from(["", "v.w"]), "systemid": st.sampled_from(["%", "h/1"])}
port_name = st.fixed_dictionaries(named, optional=placed)
physical_port = st.fixed_dictionaries({**named, "physicalnetwork": st.just("w")}, optional=placed)
few = {"min_size": 1, "max_size": 3}
steps = st.one_of(
    st.tuples(st.just("ports"), st.lists(port, **few)),
    st.tuples(st.just("subnets"), st.lists(subnet, **few)),
    st.tuples(
        st.just("logical"), st.lists(st.fixed_dictionaries({"id": networks, "physicalnetwork": st.just("p")}))
    ),
    st.tuples(st.just("update_ports"), st.lists(port_update, **few)),
    st.tuples(st.just("update_subnets"), st.lists(subnet_update, **few)),
    st.tuples(
        st.just("update_logical"),
        st.lists(st.fixed_dictionaries({"id": networks}, optional={"mtu": st.none()})),
    ),
    st.tuples(st.just("physical_ports"), st.lists(physical_port, **few)),
    st.tuples(st.just("delete_physical_ports"), st.lists(port_name, **few)),
    st.tuples(st.just("delete_ports"), st.lists(ids, **few)),
    st.tuples(st.just("delete_subnets"), st.lists(st.sampled_from(["s", "t"]), **few)),
    st.tuples(st.just("delete_logical"), st.lists(networks, **few)),
    st.tuples(st.just("delete_physical"), st.just(["p"])),
)


def expected_keys(objects: dict[str, Any]) -> dict[str, Any]:
    """What must be stored because of the objects: each with its memberships and its claims, and nothing else."""
    wanted: dict[str, Any] = {}
    for key, stored in objects.items():
        match stored:
            case PhysicalNetwork():
                wanted |= {key: stored, keys.member(keys.PHYSICAL_NETWORKS, stored.id): ...}
            case PhysicalPort():
                directory = keys.physical_ports_of(stored.physicalnetwork)
                wanted |= {key: stored, keys.member(directory, str(stored.port_name)): ...}
            case LogicalNetwork():
                membership = keys.member(keys.logical_networks_of(stored.physicalnetwork), stored.id)
                wanted |= {key: stored, membership: ..., keys.network_number(stored.number): stored.id}
            case Subnet():
                wanted |= {key: stored, keys.member(keys.subnets_of(stored.logicalnetwork), stored.id): ...}
            case LogicalPort():
                summary = NetworkPort(mac=stored.mac_address, ip=stored.ip_address, subnet=stored.subnet)
                wanted |= {key: stored, keys.member(keys.ports_of(stored.logicalnetwork), stored.id): summary}
                wanted[keys.member(keys.macs_of(stored.logicalnetwork), stored.mac_address)] = stored.id
                if stored.subnet is not None and stored.ip_address is not None:
                    wanted[keys.member(keys.addresses_of(stored.subnet), stored.ip_address)] = stored.id
    return wanted


def check(store: DictStore) -> None:
    objects = store.objects
    wanted = expected_keys(objects)
    assert objects.keys() == wanted.keys()
    assert all(value is ... or objects[key] == value for key, value in wanted.items())
    ports = [stored for stored in objects.values() if isinstance(stored, LogicalPort)]
    for stored in ports:
        assert keys.logical_network(stored.logicalnetwork) in objects
        if stored.subnet is not None:
            _check_address(stored, objects[keys.subnet(stored.subnet)])
    _check_prefixes(stored for stored in objects.values() if isinstance(stored, Subnet))
    for taken in (
        Counter((stored.subnet, stored.ip_address) for stored in ports if stored.ip_address),
        Counter((stored.logicalnetwork, stored.mac_address) for stored in ports),
    ):
        assert set(taken.values()) <= {1}


def _check_prefixes(subnets: Iterable[Subnet]) -> None:
    """Those of one network do not overlap."""
    taken: Counter[tuple[str, int]] = Counter()
    for subnet in subnets:
        prefix = parse_prefix(subnet.cidr)
        taken.update((subnet.logicalnetwork, number) for number in range(prefix.network, prefix.last + 1))
    assert set(taken.values()) <= {1}


def _check_address(port: LogicalPort, subnet: Subnet) -> None:
    assert subnet.logicalnetwork == port.logicalnetwork
    assert port.ip_address is not None
    assert port.ip_address != subnet.gateway
    first, last = parse_address(subnet.allocated_start), parse_address(subnet.allocated_end)
    assert first <= parse_address(port.ip_address) <= last


async def take_away(calls: Calls) -> None:
    await calls.delete_ports(*[each["id"] for each in await calls.list_ports()])
    await calls.delete_subnets(*[each["id"] for each in await calls.list_subnets()])
    await calls.delete_logical(*[each["id"] for each in await calls.list_logical()])
    await calls.delete_physical_ports(*await calls.list_physical_ports())
    await calls.delete_physical(*[each["id"] for each in await calls.list_physical()])


async def play(history: list[tuple[str, list[Any]]]) -> None:
    store = DictStore()
    calls = Calls(store)
    await calls.small_network(cidr="10.0.0.0/29")
    await calls.physical({"id": "w", "type": "wired"})
    for name, arguments in history:
        before = dict(store.contents)
        try:
            await getattr(calls, name)(*arguments)
        except ModelError:
            assert store.contents == before
        check(store)
    await take_away(calls)
    assert store.contents == {}


@given(st.lists(steps, max_size=25))
def test_histories(history: list[tuple[str, list[Any]]]) -> None:
    asyncio.run(play(history))


async def test_a_port_costs_the_same_however_many_there_are() -> None:
    store = DictStore()
    calls = Calls(store)
    await calls.small_network(cidr="10.0.0.0/16")
    costs = []
    for batch in (1, 500, 1):
        await calls.ports(*[{"logicalnetwork": "n", "subnet": "s"}] * batch)
        costs.append((len(store.read), len(store.written), store.rounds))
    assert costs[0] == costs[2]
    assert costs[0] == (6, 4, 3)
    assert costs[1][1:] == (500 * 4, 3)


async def test_a_large_batch_takes_few_rounds() -> None:
    store = DictStore()
    calls = Calls(store)
    await calls.physical({"id": "p", "type": "local"})
    rounds = {}
    await calls.logical(*({"id": f"n{i}", "physicalnetwork": "p"} for i in range(1000)))
    rounds["logical networks"] = store.rounds
    await calls.subnets(
        *({"id": f"s{i}", "logicalnetwork": f"n{i}", "cidr": "10.0.0.0/24"} for i in range(1000))
    )
    rounds["subnets"] = store.rounds
    await calls.ports(*({"logicalnetwork": f"n{i}", "subnet": f"s{i}"} for i in range(1000)))
    rounds["ports"] = store.rounds
    listed = await calls.list_ports()
    rounds["list of ports"] = store.rounds
    await calls.update_ports(
        *({"id": each["id"], "ip_address": f"10.0.0.{2 + i % 100}"} for i, each in enumerate(listed))
    )
    rounds["changes of ports"] = store.rounds
    await calls.update_subnets(
        *({"id": f"s{i}", "cidr": "10.0.0.0/25", "gateway": "10.0.0.1"} for i in range(500)),
        *({"id": f"s{i}", "allocated_end": "10.0.0.251"} for i in range(500, 1000)),
    )
    rounds["changes of subnets"] = store.rounds
    await calls.update_logical(*({"id": f"n{i}", "mtu": 1400} for i in range(1000)))
    rounds["changes of logical networks"] = store.rounds
    await calls.delete_ports(*[each["id"] for each in listed])
    rounds["deletion of ports"] = store.rounds
    assert rounds == {
        "logical networks": 1,
        "subnets": 1,
        "ports": 3,
        "list of ports": 4,
        "changes of ports": 2,
        "changes of subnets": 2,
        "changes of logical networks": 2,
        "deletion of ports": 2,
    }


async def test_numbers_that_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlcp.model.changes.logicalnetworks.first_number", lambda network: 0x1FFFFFF)
    store = DictStore()
    calls = Calls(store)
    await calls.physical({"id": "p", "type": "local"})
    await calls.logical({"id": "a", "physicalnetwork": "p"})
    await calls.logical({"id": "b", "physicalnetwork": "p"}, {"id": "c", "physicalnetwork": "p"})
    numbers = {name: store.objects[keys.logical_network(name)].number for name in "abc"}
    assert numbers["a"] == 0x1FFFFFF
    assert {numbers["b"], numbers["c"]} == {1, 2}
    assert directories(store.contents)[keys.NETWORK_NUMBERS] == {"1", "2", str(0x1FFFFFF)}


async def test_hosts_that_work_at_once() -> None:
    """Two hosts with a mirror each give no address twice."""
    backend = MemoryBackend()
    await backend.open()
    mirrors = [Mirror(backend, codec.decode) for _ in range(2)]
    for mirror in mirrors:
        await mirror.start()
    hosts = [Calls(Transactor(backend, mirror, codec.encode)) for mirror in mirrors]
    await hosts[0].small_network()
    created = await asyncio.gather(
        *(
            host.ports(
                {
                    "id": f"{i}-{n}",
                    "logicalnetwork": "n",
                    "subnet": "s",
                    "mac_address": f"02:00:00:00:{i:02x}:{n:02x}",
                }
            )
            for n in range(100)
            for i, host in enumerate(hosts)
        )
    )
    addresses = {answer["ip_address"] for [answer] in created}
    assert len(addresses) == 200
    for mirror in mirrors:
        await mirror.stop()
    await backend.close()


class RacedBackend(MemoryBackend):
    """Lets somebody else commit something just before the next commit."""

    rival: Callable[[], Awaitable[object]] | None = None

    async def commit(
        self, preconditions: Preconditions, writes: Mapping[str, bytes | None]
    ) -> Committed | Conflict:
        rival, self.rival = self.rival, None
        if rival is not None:
            await rival()
        return await super().commit(preconditions, writes)


@pytest.mark.parametrize("present", [0, 1, 2])
async def test_of_two_overlapping_subnets_created_at_once_one_is_refused(present: int) -> None:
    backend = RacedBackend()
    await backend.open()
    mirrors = [Mirror(backend, codec.decode) for _ in range(2)]
    for mirror in mirrors:
        await mirror.start()
    slow, fast = (Calls(Transactor(backend, mirror, codec.encode)) for mirror in mirrors)
    await slow.physical({"id": "p", "type": "local"})
    await slow.logical({"id": "n", "physicalnetwork": "p"})
    for number in range(present):
        await slow.subnets({"id": f"s{number}", "logicalnetwork": "n", "cidr": f"10.{number}.0.0/16"})
    backend.rival = lambda: fast.subnets({"id": "fast", "logicalnetwork": "n", "cidr": "10.9.0.0/16"})
    with pytest.raises(InUseError, match=r"overlaps 10.9.0.0/16 of subnet 'fast'"):
        await slow.subnets({"id": "slow", "logicalnetwork": "n", "cidr": "10.9.0.0/24"})
    assert len(await slow.list_subnets()) == present + 1
    for mirror in mirrors:
        await mirror.stop()
    await backend.close()


async def test_a_port_that_is_created_while_its_subnet_shrinks_is_seen() -> None:
    backend = RacedBackend()
    await backend.open()
    mirrors = [Mirror(backend, codec.decode) for _ in range(2)]
    for mirror in mirrors:
        await mirror.start()
    slow, fast = (Calls(Transactor(backend, mirror, codec.encode)) for mirror in mirrors)
    await slow.small_network()
    await slow.ports({"logicalnetwork": "n", "subnet": "s"})
    late = {"id": "late", "logicalnetwork": "n", "subnet": "s", "mac_address": "02:00:00:00:ff:01"}
    backend.rival = lambda: fast.ports({**late, "ip_address": "10.0.0.200"})
    with pytest.raises(InUseError, match=r"'late' has the address 10.0.0.200"):
        await slow.update_subnets({"id": "s", "allocated_end": "10.0.0.99"})
    backend.rival = lambda: fast.update_ports({"id": "late", "ip_address": "10.0.0.50"})
    with pytest.raises(InUseError, match="which 'late' has"):
        await slow.update_subnets({"id": "s", "gateway": "10.0.0.50"})
    for mirror in mirrors:
        await mirror.stop()
    await backend.close()


async def test_a_subnet_is_full_only_when_a_listing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DictView, "free", lambda *_: iter(()))
    calls = Calls()
    await calls.small_network(cidr="10.0.0.0/30", gateway="10.0.0.1")
    [port] = await calls.ports({"logicalnetwork": "n", "subnet": "s"})
    assert port["ip_address"] == "10.0.0.2"
    with pytest.raises(InUseError, match="no address is free"):
        await calls.ports({"logicalnetwork": "n", "subnet": "s"})
