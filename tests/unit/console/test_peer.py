"""Who is at the other end."""

from __future__ import annotations

import os
import socket

import pytest

from vlcp.console.peer import owner


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_user_of_a_tcp_peer_is_known_while_it_is_there(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen()
        with socket.socket(family) as peer:
            peer.connect(listening.getsockname())
            accepted, _ = listening.accept()
            with accepted:
                assert owner(accepted) == os.geteuid()
                peer.close()
                assert owner(accepted) is None


def test_the_user_of_a_unix_peer_is_known() -> None:
    ours, peer = socket.socketpair()
    with ours, peer:
        assert owner(ours) == os.geteuid()
