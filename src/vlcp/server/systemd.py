"""What a service manager is told: the protocol of sd_notify(3), one datagram per state."""

from __future__ import annotations

import os
import socket
import time


def notify(*states: str) -> None:
    """Send states such as `READY=1` to $NOTIFY_SOCKET; nothing happens without a service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        try:
            manager.sendto(
                "\n".join(states).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address
            )
        except OSError:
            pass  # it does not listen any more: what it does not know harms nobody


def reloading() -> None:
    """Tell that the configuration is read again; `READY=1` ends it (Type=notify-reload)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval() -> float | None:
    """Seconds after which a sign of life is expected (`WATCHDOG=1`); None when nobody watches."""
    try:
        interval = int(os.environ["WATCHDOG_USEC"]) / 1_000_000
    except (KeyError, ValueError):
        return None
    watched = os.environ.get("WATCHDOG_PID")
    return interval if interval > 0 and watched in (None, str(os.getpid())) else None


def forget() -> None:
    """Tell nothing from here on: another process of the service does."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)
