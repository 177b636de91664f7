"""What holds for every test: it leaves nothing behind, and its random examples are the same on every run.

With `PROOF=1` in the environment hypothesis searches longer and from a new seed each time (see `effort`).
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from effort import PROOF, effort

settings.register_profile("default", derandomize=True, deadline=None, database=None)
settings.register_profile(
    "proof",
    deadline=None,
    database=None,
    max_examples=effort(100),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("proof" if PROOF else "default")

GRACE = 1.0
"""Seconds in which what a test has already let go of may vanish (a child that was just killed, say)."""

SCOPES = ("function", "class", "module", "package", "session")

Belongings = frozenset[str]
_before = pytest.StashKey[Belongings]()
_scope_since = pytest.StashKey[str]()
_failed = pytest.StashKey[bool]()


def belongings() -> Belongings:
    """The sockets, child processes and threads that this process has now."""
    return frozenset((*_sockets(), *_children(), *_threads()))


def _sockets() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            yield target


def _children() -> Iterator[str]:
    for thread in os.listdir("/proc/self/task"):
        try:
            children = Path(f"/proc/self/task/{thread}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield from (f"process {pid}" for pid in children.split())


def _threads() -> Iterator[str]:
    return (f"thread {thread.name}" for thread in threading.enumerate() if not thread.daemon)


def _left_behind(before: Belongings) -> list[str]:
    """What is there now and was not before; asks again for a while before it believes that something stays."""
    end = time.monotonic() + GRACE
    while left := belongings() - before:
        if time.monotonic() > end:
            return sorted(_described(thing) for thing in left)
        gc.collect()
        time.sleep(0.02)
    return []


def _described(thing: str) -> str:
    if not thing.startswith("process "):
        return thing
    try:
        command = Path(f"/proc/{thing.split()[1]}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return thing
    return f"{thing} ({command or 'ended, but nobody waited for it'})"


def _scope(item: pytest.Item) -> str:
    """The longest life of a fixture of this project that the test uses."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = [found[-1] for found in info.name2fixturedefs.values()] if info else []
    ours = {found.scope for found in definitions if found.baseid.startswith("tests")}
    return max(ours, key=SCOPES.index, default="function")


def _ended(scope: str, item: pytest.Item, following: pytest.Item | None) -> bool:
    """Whether fixtures of this scope were taken down after the test."""
    if following is None or scope == "function":
        return True
    if scope == "class":
        return item.parent is not following.parent
    return scope == "module" and item.path != following.path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Watch the tasks of every asynchronous test, from outside all its other fixtures."""
    for item in items:
        if item.get_closest_marker("asyncio") and isinstance(item, pytest.Function):
            item.fixturenames.insert(0, "no_task_is_left")


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """Fails when tasks still run after the test and the end of its fixtures."""
    before = asyncio.all_tasks()
    yield
    for _ in range(10):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        pytest.fail("the test leaves tasks behind:\n" + "\n".join(map(repr, left)), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    stash = item.session.stash
    stash.setdefault(_before, belongings())
    stash[_scope_since] = max(stash.get(_scope_since, "function"), _scope(item), key=SCOPES.index)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed and report.when != "teardown":
        item.session.stash[_failed] = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Compare when the last fixture is down; what a failed test leaves behind is only a consequence."""
    result = yield
    stash = item.session.stash
    if _ended(stash[_scope_since], item, nextitem):
        before, failed = stash[_before], stash.get(_failed, False)
        for key in (_before, _scope_since, _failed):
            if key in stash:
                del stash[key]
        if not failed and (left := _left_behind(before)):
            pytest.fail("left behind: " + ", ".join(left), pytrace=False)
    return result
