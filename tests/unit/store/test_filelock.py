"""Locks between processes: shared by many, or taken in turn."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from vlcp.store.filelock import Turn, open_lock, share


def test_many_share_a_lock_and_whoever_wants_it_alone_is_kept_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = share(path), share(path)
    assert first is not None
    assert second is not None
    assert path.stat().st_mode & 0o777 == 0o600
    os.close(first)
    os.close(second)
    alone = open_lock(path)
    fcntl.flock(alone, fcntl.LOCK_EX)
    assert share(path) is None
    os.close(alone)


def test_a_turn_is_one_at_a_time_and_a_holder_that_stands_still_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlcp.store.filelock._COURTESY", 0.5)
    stopped, busy = Turn(tmp_path / "peers" / "turn"), Turn(tmp_path / "peers" / "turn")
    stopped.open()
    busy.open()
    with stopped.taken():
        assert _seconds(busy) >= 0.5
        assert _seconds(busy) < 0.5
        assert busy._stuck
    assert _seconds(busy) < 0.5
    assert not busy._stuck
    with busy.taken():
        assert not stopped._try()
    assert stopped._try()
    stopped.close()
    assert busy._try()
    busy.close()


def _seconds(turn: Turn) -> float:
    begin = time.monotonic()
    with turn.taken():
        return time.monotonic() - begin
