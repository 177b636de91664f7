"""Calls about switches, databases, and the ports that they tell of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers.controller import Controller
from peers.database import BRIDGE, DATAPATH, SYSTEM
from peers.every_api import NOTHING_TO_GIVE, Check, Over, Params, Row

LOCAL = 0xFFFFFFFE
DATABASE = "database"
"""The virtual host where the database dials in."""
UNKNOWN = (404, "virtual host 'nosuch'; it uses ")
NO_DATAPATH = (400, "datapathid: expected a number of 64 bits, or sixteen hexadecimal digits, got 'br0'")
NO_NUMBER = (400, "parameter 'portno': expected `int`")
NO_PORT = (504, "within 0.01 s")
NO_CONNECTION = (404, "connection: there is no open connection '/nobody#0'; see getallconnections")


def is_switch(shown: Any) -> bool:
    """Whether this is the connection of the switch."""
    return (shown["datapathid"], shown["auxiliaryid"], shown["vhost"]) == (DATAPATH, 0, "")


def is_database(shown: Any) -> bool:
    """Whether this is the connection of the database."""
    return (shown["systemid"], shown["vhost"]) == (SYSTEM, DATABASE)


def one(check: Any) -> Check:
    """The answer is a list of one connection, whose id leads to it."""
    return lambda c, r: len(r) == 1 and check(r[0])


def path_of(c: Controller, module: str, vhost: str) -> str:
    """Where the only peer of a virtual host is."""
    [path] = c.result(f"{module}/getendpoints", vhost=vhost)
    return str(path)


def at_its_place(module: str, vhost: str) -> Check:
    """The calls by endpoint find the peer that the answer names."""

    def check(c: Controller, shown: Any) -> bool:
        path = path_of(c, module, vhost)
        by_path = c.result(f"{module}/getconnectionsbyendpoint", endpoint=path, vhost=vhost)
        by_name = c.result(f"{module}/getconnectionsbyendpointname", name=path, vhost=vhost)
        return bool(by_path == by_name == shown and len(shown) == 1)

    return check


def connections(module: str, vhost: str, shown: Any) -> list[Row]:
    """The calls that both managers have; `shown` says whether it is the connection that there is."""
    here: Params = {"vhost": vhost}
    wrong: Params = {"vhost": "nosuch"}
    ids = {"datapathid": DATAPATH, **here}
    bad = {"datapathid": "br0", **here}
    return [
        Over(f"{module}/getconnection", ids, lambda c, r: shown(r), bad, *NO_DATAPATH),
        Over(f"{module}/waitconnection", ids, lambda c, r: shown(r),
             {"datapathid": "0x99", "timeout": "0.01", **here}, *NO_PORT),
        Over(f"{module}/getdatapathids", here, lambda c, r: r == [DATAPATH], wrong, *UNKNOWN),
        Over(f"{module}/getalldatapathids", {}, lambda c, r: r == [[vhost, DATAPATH]], *NOTHING_TO_GIVE),
        Over(f"{module}/getallconnections", here, one(shown), wrong, *UNKNOWN),
        Over(f"{module}/getconnectionsbyendpoint", {"endpoint": "", **here}, at_its_place(module, vhost),
             {"endpoint": "10.0.0", **here}, 400, "endpoint: expected an IP address without port, or the absolute"),
        Over(f"{module}/getconnectionsbyendpointname", {"name": "", **here}, at_its_place(module, vhost),
             {"name": "a..b", **here}, 404, "name: 'a..b' has no address: "),
        Over(f"{module}/getendpoints", here, lambda c, r: len(r) == 1 and r[0].startswith("/"), wrong, *UNKNOWN),
        Over(f"{module}/getallendpoints", {}, lambda c, r: r == [[vhost, path_of(c, module, vhost)]],
             *NOTHING_TO_GIVE),
    ]  # fmt: skip


def ports(module: str, vhost: str, name: str, portno: int, number: str, all_ports: int) -> list[Row]:
    """The calls that both port managers have, for a port with this name and number; `number` is the name of that."""
    here: Params = {"datapathid": f"{DATAPATH:016x}", "vhost": vhost}
    bad: Params = {"datapathid": "br0", "vhost": vhost}

    def shown(c: Controller, port: Any) -> bool:
        return bool((port["name"], port[number]) == (name, portno & 0xFFFF if number == "ofport" else portno))

    def in_all(c: Controller, found: Any) -> bool:
        return [(id, where) for id, port, where in found if shown(c, port)] == [(DATAPATH, vhost)]

    def all_there(c: Controller, _: Any) -> bool:
        return len(c.result(f"{module}/getports", **here)) == all_ports

    return [
        Over(f"{module}/getports", here, lambda c, r: len(r) == all_ports and shown(c, r[-1]), bad, *NO_DATAPATH),
        Over(f"{module}/getallports", {}, in_all, {"vhost": "nosuch"}, *UNKNOWN),
        Over(f"{module}/getportbyno", {"portno": portno, **here}, shown, {"portno": "one", **here}, *NO_NUMBER),
        Over(f"{module}/waitportbyno", {"portno": portno, **here}, shown,
             {"portno": 77, "timeout": 0.01, **here}, *NO_PORT),
        Over(f"{module}/getportbyname", {"name": name, **here}, shown, {"name": name, **bad}, *NO_DATAPATH),
        Over(f"{module}/waitportbyname", {"name": name, **here}, shown,
             {"name": "tap7", "timeout": 0.01, **here}, *NO_PORT),
        Over(f"{module}/resync", here, all_there, {**here, "datapathid": 7}, 404, "datapathid: 0000000000000007 is "),
    ]  # fmt: skip


def of_database(**more: Any) -> Callable[[Controller], Params]:
    """Parameters of a call about the connection of the database."""

    def parameters(c: Controller) -> Params:
        [connection] = c.result("ovsdbmanager/getallconnections", vhost=DATABASE)
        return {"connection": connection["id"], **more}

    return parameters


def by_the_whole_object(c: Controller, bridges: Any) -> bool:
    """A connection is also understood as it was shown."""
    [connection] = c.result("ovsdbmanager/getallconnections", vhost=DATABASE)
    again = c.result("ovsdbmanager/getbridges", connection=connection)
    return bool(bridges == again == [[DATAPATH, "br0", BRIDGE]])


def is_datapath(_: Controller, found: Any) -> bool:
    """The id of the datapath is answered."""
    return bool(found == DATAPATH)


NOBODY = {"connection": "/nobody#0"}
BRIDGES: list[Row] = [
    Over("ovsdbmanager/getbridges", of_database(), by_the_whole_object, NOBODY, *NO_CONNECTION),
    Over("ovsdbmanager/getbridge", of_database(name="br0"), is_datapath, {"name": "br0", "connection": 5},
         400, "connection: expected the `id` of a connection"),
    Over("ovsdbmanager/getbridgebyuuid", of_database(uuid=BRIDGE), is_datapath, {"uuid": BRIDGE, **NOBODY},
         *NO_CONNECTION),
    Over("ovsdbmanager/waitbridge", of_database(name="br0"), is_datapath, {"name": "br0", **NOBODY}, *NO_CONNECTION),
    Over("ovsdbmanager/waitbridgebyuuid", of_database(uuid=BRIDGE), is_datapath,
         {"uuid": BRIDGE, "timeout": -1, **NOBODY}, 400, "parameter 'timeout': expected `float` >= 0.0"),
    Over("ovsdbmanager/getsystemids", {"vhost": DATABASE}, lambda c, r: r == [SYSTEM], {"vhost": "nosuch"}, *UNKNOWN),
    Over("ovsdbmanager/getallsystemids", {}, lambda c, r: r == [[DATABASE, SYSTEM]], *NOTHING_TO_GIVE),
    Over("ovsdbmanager/getconnectionbysystemid", {"systemid": SYSTEM, "vhost": DATABASE}, lambda c, r: is_database(r),
         {"systemid": 5}, 400, "parameter 'systemid': expected `str`"),
    Over("ovsdbmanager/waitconnectionbysystemid", {"systemid": SYSTEM, "vhost": DATABASE}, lambda c, r: is_database(r),
         {"systemid": "other", "timeout": 0.01}, 504,
         "system 'other' is not connected, and did not come within 0.01 s"),
    Over("ovsdbmanager/getallbridges", {}, lambda c, r: r == [[DATAPATH, "br0", BRIDGE]],
         {"vhost": "nosuch"}, *UNKNOWN),
    Over("ovsdbmanager/getbridgeinfo", {"datapathid": str(DATAPATH), "vhost": DATABASE},
         lambda c, r: r == ["br0", SYSTEM, BRIDGE], {"datapathid": "br0"}, *NO_DATAPATH),
    Over("ovsdbmanager/waitbridgeinfo", {"datapathid": DATAPATH, "vhost": DATABASE},
         lambda c, r: r == ["br0", SYSTEM, BRIDGE], {"datapathid": 7, "timeout": 0},
         504, "datapath 0000000000000007 is in no database"),
    Over("ovsdbportmanager/getportbyid", {"id": "vm1", "vhost": DATABASE}, lambda c, r: r == [DATAPATH, {
        "name": "tap1", "ofport": 1, "_uuid": BRIDGE[:-1] + "d", "external_ids": {"iface-id": "vm1"}, "ifindex": 11,
        "type": "", "id": "vm1"}], {"id": "vm1", "vhost": "nosuch"}, *UNKNOWN),
    Over("ovsdbportmanager/waitportbyid", {"id": "vm1", "vhost": DATABASE}, lambda c, r: r[1]["name"] == "tap1",
         {"id": "vm7", "timeout": 0.01}, 504, "no interface with an OpenFlow port has the iface-id 'vm7', and did not"),
]  # fmt: skip


SWITCHES: list[Row] = [
    Over("openflowmanager/status", {}, lambda c, r: [(s["datapath_id"], s["connected"]) for s in r] == [
        (f"{DATAPATH:016x}", True)], *NOTHING_TO_GIVE),
    Over("openflowmanager/explain", {"cookie": "0x100000000000000"}, lambda c, r: r["feature"] == "ioprocessing",
         {"cookie": "a flow"}, 400, "cookie: 'a flow' is not a number"),
    Over("openflowmanager/lastacquiredtables", {}, lambda c, r: r[0] == r[1][""] and r[0][0][1] == 0,
         {"vhost": 5}, 400, "parameter 'vhost': expected `str`"),
    Over("openflowmanager/getconnections", {"datapathid": f"{DATAPATH:x}".rjust(16, "0")}, one(is_switch),
         {"datapathid": -1}, 400, "datapathid: expected a number of 64 bits"),
    *connections("openflowmanager", "", is_switch),
    *connections("ovsdbmanager", DATABASE, is_database),
    *ports("openflowportmanager", "", "br0", LOCAL, "port_no", 1),
    *BRIDGES,
    *ports("ovsdbportmanager", DATABASE, "tap1", 0x10001, "ofport", 1),
]  # fmt: skip
