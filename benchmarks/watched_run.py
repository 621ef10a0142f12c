"""A live run in a process of its own, watched through its page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sam3_edge.errors import CheckError

from .http_camera import Camera

HANG = 5.0  # seconds without an answer
GRACE = 120.0  # seconds until the first frame: a model loads


@dataclass
class Fault:
    """One fault: when it began, in seconds; how long after its end there was a new frame, None for never."""

    kind: str
    at: float
    lasted: float = 0.0
    recovered: float | None = None


@dataclass
class WatchedRun:
    """A run that is watched. readings: second, megabytes, frames seen; silent: the page's longest silence."""

    camera: Camera
    folder: Path
    phrase: str
    began: float = field(default_factory=time.monotonic)
    faults: list[Fault] = field(default_factory=list)
    readings: list[tuple[float, float, int]] = field(default_factory=list)
    silent: float = 0.0
    standing: float = 0.0
    page: str = ""

    def start(self) -> None:
        """The command line, on the camera."""
        words = [
            "run",
            self.camera.url,
            "--prompt",
            self.phrase,
            "--view",
            "web",
            "--port",
            "0",
            "--threads",
            "1",
        ]
        words += ["--rotate-mb", "1", "--keep-files", "4", "--snapshot-on", "birth", "--max-age", "30"]
        words += ["-o", str(self.folder / "out"), "--health", str(self.folder / "health.json")]
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen([sys.executable, "-m", "sam3_edge", *words], stderr=self.log)
        until = time.monotonic() + GRACE
        while not self.page:
            for line in (self.folder / "log").read_text().splitlines():
                self.page = line.split("watch at ")[-1] if "watch at " in line else self.page
            self.check(until)
        while not self.seen():
            self.check(until)

    def check(self, until: float) -> None:
        """Raises `CheckError` if it has ended, or it is too late."""
        if self.process.poll() is not None or time.monotonic() > until:
            raise CheckError(f"the run does not start: {(self.folder / 'log').read_text()[-2000:]}")
        time.sleep(0.2)

    def health(self) -> dict[str, Any]:
        """What its page says. How long it did not answer is remembered."""
        asked = time.monotonic()
        while self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.page}health", timeout=HANG) as answer:
                    told: dict[str, Any] = json.load(answer)
                    break
            except OSError:
                time.sleep(0.2)
        else:
            raise CheckError(f"the run ended with {self.process.poll()}")
        self.silent = max(self.silent, time.monotonic() - asked)
        return told

    def seen(self) -> int:
        """Frames that went through the model."""
        return int(self.health()["feeds"][0]["seen"])

    def read(self) -> int:
        """Note the memory, and how many frames there were."""
        told = self.health()
        seen = int(told["feeds"][0]["seen"])
        self.readings.append((time.monotonic() - self.began, float(told["memory_mb"]), seen))
        return seen

    def calm(self, until: float) -> None:
        """Nothing happens for a while; frames must go on."""
        last, since = self.read(), time.monotonic()
        while time.monotonic() < until:
            time.sleep(min(1.0, max(0.0, until - time.monotonic())))
            if (seen := self.read()) > last:
                last, since = seen, time.monotonic()
            self.standing = max(self.standing, time.monotonic() - since)

    def suffer(self, kind: str, fault: Callable[[WatchedRun], None]) -> Fault:
        """One fault, and the time from its end to the next new frame."""
        noted = Fault(kind, round(time.monotonic() - self.began, 1))
        self.faults.append(noted)
        began = time.monotonic()
        fault(self)
        ended = time.monotonic()
        noted.lasted = round(ended - began, 2)
        before = self.seen()
        while time.monotonic() < ended + 60:
            if self.seen() > before:
                noted.recovered = round(time.monotonic() - ended, 2)
                return noted
            time.sleep(0.1)
        return noted

    def child(self) -> int:
        """The process that reads the camera."""
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if parent == self.process.pid and b"camera.child" in words:
                return int(name)
        return 0

    def hit(self, number: int) -> None:
        """Send a signal to the process that reads the camera."""
        if child := self.child():
            os.kill(child, number)

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.log.close()
