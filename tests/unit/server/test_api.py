"""Calls between modules: criteria, public APIs, time limits, calls that nobody waits for, and the end of the server."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import pytest

from vlcp.server.api import PUBLIC, MethodTarget
from vlcp.server.config import parse
from vlcp.server.errors import (
    ApiError,
    BadParameterError,
    CallTimeoutError,
    ModuleError,
    NoSuchApiError,
    NotFoundError,
    RejectedError,
    UnavailableError,
    status_of,
)
from vlcp.server.module import Module, Proxy, api
from vlcp.server.server import Server

HERE = __name__


class Driver(Module):
    """The base of drivers; each takes the networks of its kind."""

    kind: ClassVar[str]

    def mine(self, params: Mapping[str, Any]) -> bool:
        """Whether a network is of our kind."""
        return bool(params["type"] == self.kind)

    @api(public=True, criteria=mine)
    def createNetwork(self, type: str, id: int = 0) -> str:  # noqa: N802 (as authors may write)
        """Make a network of one kind."""
        return f"{self.kind} {id + 1}"


class VlanDriver(Driver):
    kind = "vlan"


class VxlanDriver(Driver):
    kind = "vxlan"

    @api(public=True)
    async def supports(self, feature: str) -> bool:
        """Whether a feature is there."""
        return feature == "tunnel"


class OtherDriver(Driver):
    """Takes what no other driver takes."""

    kind = "other"

    @api(public=True)
    def createnetwork(self, **kwargs: Any) -> str:
        """Make any network."""
        return f"other {kwargs}"


class Shapes(Module):
    @api(name="area", criteria=lambda self, params: "radius" in params)
    def circle(self, radius: float) -> float:
        """The area of a circle."""
        return 3 * radius**2

    @api(name="area", criteria=lambda self, params: "side" in params)
    def square(self, side: float) -> float:
        """The area of a square."""
        return side**2

    @api
    async def sleep(self, seconds: float) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "awake"

    @api
    async def slow(self) -> None:
        """Fail with a time limit of its own."""
        async with asyncio.timeout(0):
            await asyncio.sleep(1)

    @api
    def fail(self) -> None:
        """Have a mistake."""
        raise KeyError("mistake")

    @api
    def same(self, value: Any) -> Any:
        """Give it back."""
        return value


class Empty(Module):
    pass


class Stand(Proxy):
    default = f"{HERE}.Empty"


class Slow(Module):
    async def load(self) -> None:
        await asyncio.sleep(30)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(parse(""))
    yield server
    await server.apis.close()
    await server.loader.unload_all()


async def rejected(server: Server, module: str, name: str, **params: Any) -> str:
    with pytest.raises(RejectedError) as caught:
        await server.call(module, name, **params)
    return f"{caught.value.status} {caught.value}"


async def test_public_apis_are_chosen_by_criteria(server: Server) -> None:
    await server.load(VlanDriver)
    await server.load(VxlanDriver)
    assert await server.call("public", "createnetwork", type="vxlan", id="4") == "vxlan 5"
    assert await server.call("public", "createnetwork", type="vlan") == "vlan 1"
    assert await server.call("public", "supports", feature="tunnel") is True
    assert await rejected(server, "public", "createnetwork", type="local") == (
        "400 public API 'createnetwork' is not processed: not with these parameters by vlandriver, vxlandriver"
    )
    assert await rejected(server, "public", "createnetworks") == (
        "404 public API 'createnetworks' is not processed: no loaded module offers it;"
        " did you mean public/createnetwork?"
    )
    with pytest.raises(BadParameterError, match="public/createnetwork: parameter 'id': expected `int`"):
        await server.call("public", "createnetwork", type="vlan", id="x")


async def test_criteria_that_fail_choose_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    await server.load(VlanDriver)
    assert (await rejected(server, "public", "createnetwork", id=1)).startswith("400 ")
    assert "the criteria of Driver.createNetwork in module 'vlandriver' failed" in caplog.text


async def test_what_has_no_criteria_takes_what_is_left(server: Server) -> None:
    await server.load(OtherDriver)
    await server.load(VlanDriver)
    assert await server.call("public", "createnetwork", type="vlan") == "vlan 1"
    assert await server.call("public", "createnetwork", type="local") == "other {'type': 'local'}"
    await server.unload(VlanDriver)
    assert await server.call("public", "createnetwork", type="vlan") == "other {'type': 'vlan'}"
    await server.unload(OtherDriver)
    assert (await rejected(server, "public", "createnetwork", type="vlan")).startswith("404 ")


async def test_public_apis_are_called_by_that_name_only(server: Server) -> None:
    await server.load(VlanDriver)
    assert (await rejected(server, "vlandriver", "createnetwork", type="vlan")).startswith("404 ")
    assert await server.call("vlandriver", "discover") == {
        "discover": "The APIs of this module with their descriptions; details=true adds their parameters.",
        "public/createnetwork": "Make a network of one kind.",
    }


async def test_public_discovers_what_all_modules_offer(server: Server) -> None:
    assert set(await server.call("public", "discover")) == {"discover"}
    await server.load(VlanDriver)
    await server.load(OtherDriver)
    details = await server.call("public", "discover", details="true")
    assert [p["name"] for p in details["createnetwork"]["parameters"]] == ["type", "id"]
    assert details["createnetwork"]["alternatives"][-1]["description"] == "Make any network."


async def test_handlers_of_one_module_may_share_a_name(server: Server) -> None:
    await server.load(Shapes)
    assert await server.call("shapes", "area", radius="2") == 12
    assert await server.call("shapes", "area", side=2) == 4
    assert await rejected(server, "shapes", "area", width=1) == (
        "400 shapes/area: no handler takes these parameters"
    )
    details = (await server.call("shapes", "discover", details=True))["area"]
    assert details["description"] == "The area of a circle."
    assert [a["description"] for a in details["alternatives"]] == ["The area of a square."]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"one": api(lambda self: 1), "ONE": api(lambda self: 2)}, "the API name 'one' is that of"),
        ({"discover": api(lambda self: 1)}, "the API name 'discover' is that of"),
        ({"discover": api(public=True)(lambda self: 1)}, "the API name 'discover' is that of"),
        ({"many": api(lambda self, *names: 1)}, "must be usable by keyword"),
    ],
)
async def test_a_module_with_impossible_apis_does_not_load(server: Server, body: Any, text: str) -> None:
    cls = type("Wrong", (Module,), body)
    with pytest.raises(ModuleError, match=text):
        await server.load(cls)
    assert (await rejected(server, "wrong", "one")).startswith("404 ")


async def test_no_module_is_called_public(server: Server) -> None:
    with pytest.raises(ModuleError, match="a module cannot be called 'public'"):
        await server.load(type("Public", (Module,), {}))
    assert set(await server.call(PUBLIC, "discover")) == {"discover"}


def test_a_method_that_replaces_an_api_is_one_only_if_marked() -> None:
    class Fewer(Shapes):
        def sleep(self, seconds: float) -> str:  # type: ignore[override]  # the point of the test
            return "never"

        @api
        def same(self, value: Any) -> Any:
            """Give back a pair."""
            return value, value

    shown = MethodTarget("fewer", Fewer(Server(parse("")))).discover()
    assert "sleep" not in shown
    assert shown["same"] == "Give back a pair."


async def test_every_module_and_every_proxy_has_discover(server: Server) -> None:
    await server.load(Stand)
    for name in ("empty", "stand"):
        assert set(await server.call(name, "discover")) == {"discover"}


@pytest.mark.parametrize(
    ("given", "detailed"),
    [
        ("false", False),
        ("False", False),
        ("", False),
        (False, False),
        (0, False),
        ("0", True),
        ("no", True),
        (1, True),
    ],
)
async def test_details_as_text(server: Server, given: Any, detailed: bool) -> None:
    await server.load(Empty)
    shown = (await server.call("empty", "discover", details=given))["discover"]
    assert isinstance(shown, dict) is detailed


async def test_parameters_and_results_are_passed_by_reference(server: Server) -> None:
    await server.load(Shapes)
    live = object()
    assert await server.call("shapes", "same", value=live) is live


async def test_a_call_has_a_time_limit(server: Server) -> None:
    await server.load(Shapes)
    assert await server.apis.call("shapes", "sleep", {"seconds": 0}, timeout=5) == "awake"
    with pytest.raises(CallTimeoutError, match=r"shapes/sleep did not answer within 0.01 s") as caught:
        await server.apis.call("shapes", "sleep", {"seconds": 60}, timeout=0.01)
    assert status_of(caught.value) == 504
    with pytest.raises(TimeoutError):  # its own
        await server.apis.call("shapes", "slow", {}, timeout=5)


async def test_the_limit_counts_while_the_module_is_loading(server: Server) -> None:
    server.loader.begin(Slow)
    with pytest.raises(CallTimeoutError):
        await server.apis.call("slow", "discover", {}, timeout=0.01)


async def test_an_unknown_module_or_api_is_told_at_once(server: Server) -> None:
    await server.load(Shapes)
    assert await rejected(server, "shape", "area") == "404 no module 'shape' is loaded; did you mean shapes?"
    assert await rejected(server, "shapes", "aera") == (
        "404 'aera' is not defined in module 'shapes'; did you mean shapes/area?"
    )
    assert issubclass(NoSuchApiError, NotFoundError)


async def test_nobody_waits_for_what_is_sent(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    await server.load(Shapes)
    got: list[Any] = []
    server.apis.send("shapes", "same", {"value": got})
    server.apis.send("shapes", "nosuch", {})
    server.apis.send("shapes", "fail", {})
    server.apis.send("shapes", "sleep", {"seconds": 60})
    begin = asyncio.get_running_loop().time()
    await server.apis.close()
    assert asyncio.get_running_loop().time() - begin < 2
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert errors[0].startswith("shapes/nosuch, which nobody waits for, failed: 'nosuch' is not defined")
    assert errors[1] == "shapes/fail, which nobody waits for, failed: 'mistake'"


async def test_what_is_sent_is_carried_out(server: Server) -> None:
    got = asyncio.Event()

    class Receiver(Module):
        @api
        def take(self, value: int) -> None:
            """Take it."""
            if value == 5:
                got.set()

    await server.load(Receiver)
    server.apis.send("receiver", "take", {"value": "5"})
    await asyncio.wait_for(got.wait(), 5)


async def test_calls_from_outside_are_answered_when_the_server_stops(server: Server) -> None:
    await server.load(Shapes)
    server.loader.begin(Slow)
    calls = {
        "running": server.apis.serve("shapes", "sleep", {"seconds": 60}),
        "parked": server.apis.serve("slow", "discover", {}),
        "nearly done": server.apis.serve("shapes", "sleep", {"seconds": 0.05}),
    }
    tasks = [asyncio.create_task(call, name=name) for name, call in calls.items()]
    await asyncio.sleep(0)
    await server.apis.close()
    answers = dict(zip(calls, await asyncio.gather(*tasks, return_exceptions=True), strict=True))
    assert answers.pop("nearly done") == "awake"
    assert {name: f"{type(answer).__name__}: {answer}" for name, answer in answers.items()} == dict.fromkeys(
        answers, "UnavailableError: the server is stopping"
    )
    with pytest.raises(UnavailableError):
        await server.apis.serve("shapes", "same", {"value": 1})
    assert await server.call("shapes", "same", value=1) == 1  # modules may still need each other


async def test_a_stopping_server_answers_quickly_if_nothing_hangs(server: Server) -> None:
    begin = asyncio.get_running_loop().time()
    await server.apis.close()
    await server.apis.close()
    assert asyncio.get_running_loop().time() - begin < 0.2


async def test_a_call_from_outside_that_is_cancelled_stays_cancelled(server: Server) -> None:
    await server.load(Shapes)
    task = asyncio.create_task(server.apis.serve("shapes", "sleep", {"seconds": 60}), name="call")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_figures_of_calls(server: Server) -> None:
    await server.load(Shapes)
    await server.call("shapes", "same", value=1)
    for name in ("fail", "nosuch"):
        with pytest.raises((KeyError, ApiError)):
            await server.call("shapes", name)
    assert server.apis.statistics() == {
        "targets": 1, "loading": 0, "calls": 3, "failed": 1, "answered with an error": 1,
    }  # fmt: skip


async def test_a_call_that_does_not_end_holds_nothing_up(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    class Stubborn(Module):
        @api
        async def stay(self) -> None:
            """Swallow what it should not."""
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()

    await server.load(Stubborn)
    task = asyncio.create_task(server.apis.serve("stubborn", "stay", {}), name="stubborn call")
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await server.apis.close()
    assert "the call in the task 'stubborn call' did not end when it was cancelled" in caplog.text
    release.set()
    await task
