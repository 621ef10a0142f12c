"""systemd's notifications: that the service is ready, alive, or stops. Nothing without a service manager."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(text: str) -> bool:
    """Send lines such as READY=1 to `$NOTIFY_SOCKET`; whether there was one."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return False
    address = "\0" + place[1:] if place.startswith("@") else place
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(address)
        channel.sendall(text.encode())
        return True
    return False


class Watchdog:
    """Tells systemd every half of `$WATCHDOG_USEC` that the service is alive."""

    def __init__(self) -> None:
        micro = os.environ.get("WATCHDOG_USEC", "")
        own = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.every = int(micro) / 2e6 if micro.isdecimal() and own else None
        self.last = 0.0

    def alive(self) -> None:
        """To be called often, and only while things really go on."""
        if self.every is not None and time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            notify("WATCHDOG=1")
