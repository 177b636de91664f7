"""Notifications: who gets them, in which order, and what slow or failing subscribers cost."""

import asyncio
import logging

import pytest

from vlcp.server.config import parse
from vlcp.server.notifications import Notification, Notifications
from vlcp.server.server import Server


@pytest.fixture
def notifications() -> Notifications:
    return Notifications()


async def read(subscription: object) -> list[str]:
    return [str(notification) async for notification in subscription]  # type: ignore[attr-defined]  # any iterator


@pytest.mark.parametrize(
    ("module", "name", "got"),
    [
        ("a", "update", ["a/update n=1"]),
        ("a", None, ["a/update n=1", "a/gone"]),
        (None, "update", ["a/update n=1", "b/update"]),
        (None, None, ["a/update n=1", "a/gone", "b/update"]),
        ("c", None, []),
    ],
)
async def test_subscribers_choose_by_module_and_name(
    notifications: Notifications, module: str | None, name: str | None, got: list[str]
) -> None:
    called: list[str] = []
    with notifications.subscribe(module, name) as subscription:
        listener = notifications.listen(lambda told: called.append(str(told)), module, name)
        notifications.notify("a", "update", n=1)
        notifications.notify("a", "gone")
        notifications.notify("b", "update")
    listener.close()
    listener.close()
    notifications.notify("a", "update")
    assert await read(subscription) == got
    assert called == got
    assert notifications.statistics() == {"sent": 4, "subscribers": 0, "dropped": 0}


async def test_attributes_are_passed_as_they_are_and_may_have_any_name(notifications: Notifications) -> None:
    got: list[Notification] = []
    live = object()
    with notifications.listen(got.append):
        notifications.notify("a", "update", module=1, name=2, self=3, live=live)
    assert got == [Notification("a", "update", {"module": 1, "name": 2, "self": 3, "live": live})]


async def test_a_waiting_reader_is_woken(notifications: Notifications) -> None:
    subscription = notifications.subscribe()
    reader = asyncio.create_task(read(subscription), name="reader")
    await asyncio.sleep(0)
    notifications.notify("a", "one")
    await asyncio.sleep(0)
    notifications.notify("a", "two")
    subscription.close()
    assert await reader == ["a/one", "a/two"]


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(
    notifications: Notifications, caplog: pytest.LogCaptureFixture
) -> None:
    subscription, other = notifications.subscribe(limit=2), notifications.subscribe()
    for n in range(5):
        notifications.notify("a", "update", n=n)
    assert subscription.dropped == notifications.statistics()["dropped"] == 3
    subscription.close()
    other.close()
    assert await read(subscription) == ["a/update n=3", "a/update n=4"]
    assert len(await read(other)) == 5
    assert [record.getMessage() for record in caplog.records] == [
        "a subscriber of a/update n=2 is too slow: its oldest notifications are dropped"
    ]


def test_a_function_that_fails_hurts_nobody_else(
    notifications: Notifications, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []

    def fail(told: Notification) -> None:
        raise ValueError("no")

    notifications.listen(fail)
    notifications.listen(lambda told: called.append(told.name))
    with caplog.at_level(logging.ERROR):
        notifications.notify("a", "update")
    assert called == ["update"]
    assert "what was to be called for a/update failed" in caplog.text


def test_what_a_function_sends_comes_later_for_everybody(notifications: Notifications) -> None:
    first: list[str] = []
    second: list[str] = []

    def answer(told: Notification) -> None:
        first.append(told.name)
        if told.name == "question":
            notifications.notify("a", "answer")

    notifications.listen(answer)
    notifications.listen(lambda told: second.append(told.name))
    notifications.notify("a", "question")
    assert first == second == ["question", "answer"]


def test_a_function_may_close_another(notifications: Notifications) -> None:
    called: list[str] = []
    notifications.listen(lambda told: late.close())
    late = notifications.listen(lambda told: called.append(told.name))
    notifications.notify("a", "update")
    assert called == []


async def test_every_server_has_notifications() -> None:
    server = Server(parse(""))
    with server.notifications.subscribe("knowledge") as subscription:
        server.notifications.notify("knowledge", "update")
    assert await read(subscription) == ["knowledge/update"]
    assert server.statistics()["notifications"]["sent"] == 1
