"""What ping(8) prints, read as numbers."""

from __future__ import annotations

import pytest

from vlcp.lab.command import LabError
from vlcp.lab.ping import parse


def output(sent: int, answered: list[int]) -> str:
    lines = [f"64 bytes from 10.0.0.2: icmp_seq={n} ttl=64 time=0.{n:03} ms" for n in answered]
    return "\n".join(
        [*lines, "", f"{sent} packets transmitted, {len(answered)} received, 0% packet loss, time 9ms"]
    )


def test_all_answered() -> None:
    result = parse(output(3, [1, 2, 3]))
    assert (result.sent, result.received, result.lost, result.longest_gap) == (3, 3, 0, 0)
    assert result.rtts == (0.001, 0.002, 0.003)


@pytest.mark.parametrize(
    ("sent", "answered", "gap"),
    [(5, [], 5), (5, [4, 5], 3), (5, [1, 5], 3), (5, [1, 2], 3), (6, [1, 3, 6], 2)],
)
def test_the_longest_gap(sent: int, answered: list[int], gap: int) -> None:
    assert parse(output(sent, answered)).longest_gap == gap


def test_a_duplicate_answer_is_not_a_second_one() -> None:
    assert parse(output(3, [1, 2, 2])).lost == 1


def test_an_unanswered_last_request_was_on_its_way() -> None:
    result = parse(output(4, [1, 2, 3]), ignore_last=True)
    assert (result.sent, result.lost) == (3, 0)


def test_only_the_last_is_forgiven() -> None:
    assert parse(output(4, [1, 2]), ignore_last=True).lost == 1


def test_no_summary_is_an_error_with_the_reason() -> None:
    with pytest.raises(LabError, match="Network is unreachable"):
        parse("", "ping: connect: Network is unreachable")
