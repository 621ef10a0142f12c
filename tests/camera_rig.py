"""What tests of live cameras share: a clip as JPEG pictures, a server that plays it, and processes."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sam3_edge.benchmarks.http_camera import SIDE, pictures

PATIENCE = 60.0  # seconds for what must come at all: machines are slow
SERVER = Path(__file__).with_name("rtsp_server.py")


def write_pictures(folder: Path, side: int = SIDE) -> Path:
    """The clip as a folder."""
    folder.mkdir()
    for place, data in enumerate(pictures(side)):
        (folder / f"{place:04}.jpg").write_bytes(data)
    return folder


def until(good: Callable[..., Any], *args: Any, patience: float = PATIENCE) -> Any:
    """Wait for something to be so, and give it."""
    end = time.monotonic() + patience
    while not (value := good(*args)):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
    return value


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


class Rtsp:
    """A real RTSP server in a process of its own, by the system's Python: see `rtsp_server`."""

    def __init__(self, folder: Path, *, rate: float = 15, login: tuple[str, str] | tuple[()] = ()) -> None:
        self.words = [str(folder), str(SIDE), str(free_port()), str(rate), *login]
        self.url = f"rtsp://127.0.0.1:{self.words[2]}/live"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Rtsp:
        self.process = subprocess.Popen(
            ["/usr/bin/python3", str(SERVER), *self.words], stdout=subprocess.PIPE, text=True, env={}
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n", (
            "no RTSP server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
        )
        return self

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """As if unplugged."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout
            self.process.stdout.close()


def processes() -> Iterator[tuple[int, int, str]]:
    """Number, parent and command line of every process."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            status = Path(f"/proc/{name}/stat").read_text()
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        yield int(name), int(status.rpartition(")")[2].split()[1]), words.replace(b"\0", b" ").decode()


def descendants(root: int) -> dict[int, str]:
    """All processes below one, with their command lines."""
    all_, fresh = list(processes()), {root}
    found: dict[int, str] = {}
    while fresh:
        below = {number: words for number, parent, words in all_ if parent in fresh and number not in found}
        found |= below
        fresh = set(below)
    return found
