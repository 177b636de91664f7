"""One controller calls the modules of another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.controller import WEBAPI, Controller, free_port

REMOTECALL = "vlcp.service.utils.remoteapi.RemoteCall"
KNOWLEDGE = "vlcp.service.utils.knowledge.Knowledge"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Controller, Controller]]:
    """A controller that calls, and the one that keeps the knowledge; the first URL in the map leads nowhere."""
    directory = tmp_path_factory.mktemp("keeper")
    keeper = Controller(directory, (WEBAPI, KNOWLEDGE), up="knowledge/discover")
    urls = [f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{keeper.port}/"]
    more = f"module.remotecall.target_url_map = {{'knowledge': {urls!r}, 'nowhere': {urls[:1]!r}}}\n"
    directory = tmp_path_factory.mktemp("caller")
    caller = Controller(directory, (WEBAPI, REMOTECALL), more, up="remotecall/discover")
    yield caller, keeper
    assert (caller.end(), keeper.end()) == (0, 0)
    assert "Traceback" not in caller.log() + keeper.log()


def test_a_call_is_carried_out_by_the_next_controller_that_can_be_reached(
    pair: tuple[Controller, Controller],
) -> None:
    caller, keeper = pair
    written = caller.result(
        "remotecall/call",
        remote_module="knowledge",
        method="set",
        timeout=10,
        params={"key": "ä", "value": [1]},
    )
    assert written is None
    assert keeper.result("knowledge/get", key="ä") == [1]
    answer = caller.call(
        "remotecall/call",
        "form",
        remote_module="knowledge",
        method="mget",
        timeout="10",
        params={"keys": ["ä"]},
    )
    assert answer.body == {"result": [[1]]}


@pytest.mark.parametrize(
    ("wrong", "status", "text"),
    [
        ({"remote_module": "knowlege"}, 404, "did you mean knowledge"),
        ({"remote_module": "nowhere"}, 503, "no controller can be reached"),
        ({"method": "nosuch"}, 404, "'nosuch' is not defined in module 'knowledge'"),
        ({"params": {}}, 400, "missing parameter 'key'"),
        ({"params": "text"}, 400, "'params'"),
        ({"timeout": 0}, 400, "'timeout'"),
        ({"timeout": "soon"}, 400, "'timeout'"),
    ],
)
def test_a_call_that_fails_tells_why(
    pair: tuple[Controller, Controller], wrong: dict[str, object], status: int, text: str
) -> None:
    good = {"remote_module": "knowledge", "method": "get", "timeout": 10, "params": {"key": "a"}}
    answer = pair[0].call("remotecall/call", **{**good, **wrong})
    assert (answer.status, text in answer.body["error"]) == (status, True), answer


def test_a_map_without_urls_of_web_apis_is_refused(tmp_path: Path) -> None:
    more = "module.remotecall.target_url_map = {'knowledge': ['localhost:8081']}\n"
    controller = Controller(tmp_path, (WEBAPI, REMOTECALL), more, up="webapi/discover")
    controller.end()
    assert (
        "module.remotecall.target_url_map: 'localhost:8081' is not the URL of a web API" in controller.log()
    )
