"""A live run through every kind of fault, for hours: `python -m sam3_edge.benchmarks.soak --minutes 60`.

The command line runs in a process of its own on an HTTP camera; faults come at equal times, each kind in
turn. What is measured: whether it ends, how long its page does not answer, how long after a fault is over
there is a new frame, and its memory.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console
from sam3_edge.errors import CheckError
from sam3_edge.writing import write_file

from .http_camera import Camera, pictures
from .machine import facts
from .memory_plot import Panel, Series, plot

HANG, RECOVERY = 5.0, 5.0  # seconds
SLOPE = 4.0  # MB an hour
SETTLED = 15  # minutes
GRACE = 120.0  # seconds until the first frame: a model loads


@dataclass
class Fault:
    """One fault: when it began, in seconds; how long after its end there was a new frame, None for never."""

    kind: str
    at: float
    lasted: float = 0.0
    recovered: float | None = None


@dataclass
class Soak:
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

    def suffer(self, kind: str, fault: Callable[[Soak], None]) -> Fault:
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


def unplug(soak: Soak) -> None:
    """The camera is gone for some seconds."""
    port, shown, rate = soak.camera.port, soak.camera.pictures, soak.camera.rate
    soak.camera.stop()
    time.sleep(4)
    soak.camera = Camera(shown, rate=rate, port=port).start()


def way(name: str, seconds: float) -> Callable[[Soak], None]:
    """The camera works in another way for some seconds."""

    def fault(soak: Soak) -> None:
        soak.camera.way = name
        if name == "refusing":
            soak.camera.hang_up()
        time.sleep(seconds)
        soak.camera.way = "well"

    return fault


def hang_up(soak: Soak) -> None:
    soak.camera.hang_up()


def resize(soak: Soak) -> None:
    """The camera's pictures have another size for some seconds, without a new connection."""
    soak.camera.pictures = pictures(160)
    time.sleep(4)
    soak.camera.pictures = pictures()


def kill(soak: Soak) -> None:
    soak.hit(signal.SIGKILL)


def halt(soak: Soak) -> None:
    soak.hit(signal.SIGSTOP)


def strangers(soak: Soak) -> None:
    """Twenty connections that send what is no request, and stay."""
    host, _, port = soak.page.split("/")[2].partition(":")
    lines = [socket.create_connection((host, int(port)), timeout=5) for _ in range(20)]
    chance = random.Random(1)
    for place, line in enumerate(lines):
        line.sendall(
            [b"GET /ws HTTP/1.1\r\n", chance.randbytes(4000), b"POST /login HTTP/1.1\r\nHost: x\r\n\r\n"][
                place % 3
            ]
        )
    time.sleep(3)
    for line in lines:
        line.close()


def ask(soak: Soak) -> None:
    """Another phrase for some seconds, through the page."""
    from aiohttp import ClientSession

    async def talk() -> None:
        async with ClientSession() as session:
            origin = {"Origin": soak.page.rstrip("/")}
            async with session.ws_connect(f"{soak.page}ws", headers=origin) as channel:
                await channel.send_json({"do": "add", "phrase": "blue star"})
                await asyncio.sleep(3)
                await channel.send_json({"do": "remove", "concept": "blue star"})
                await asyncio.sleep(0.5)

    import asyncio

    asyncio.run(talk())


FAULTS: dict[str, Callable[[Soak], None]] = {
    "unplugged": unplug,
    "frozen": way("frozen", 4),
    "hung up": hang_up,
    "garbage": way("garbage", 3),
    "cut pictures": way("cut", 3),
    "slow": way("slow", 4),
    "refusing": way("refusing", 3),
    "other size": resize,
    "reader killed": kill,
    "reader halted": halt,
    "strangers on the page": strangers,
    "another phrase": ask,
}


def slope(points: list[tuple[float, float]]) -> float | None:
    """Theil-Sen: the median of all pairs' slopes, of megabytes over minutes, as megabytes an hour."""
    pairs = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :]]
    return float(np.median(pairs)) * 60 if pairs else None


def minima(readings: list[tuple[float, float, int]]) -> list[tuple[float, float]]:
    """The least memory of every minute."""
    by_minute: dict[int, float] = {}
    for second, size, _ in readings:
        minute = int(second // 60)
        by_minute[minute] = min(size, by_minute.get(minute, size))
    return [(float(minute), size) for minute, size in sorted(by_minute.items())]


def report(soak: Soak, code: int, minutes: float) -> dict[str, Any]:
    """What is measured, and what is wrong with it."""
    late = [f for f in soak.faults if f.recovered is None or f.recovered > RECOVERY]
    memory = minima(soak.readings)
    growth = slope([point for point in memory if point[0] >= SETTLED])
    wrong = [f"{f.kind} at {f.at:.0f} s: {f.recovered} s until a frame" for f in late]
    wrong += [f"exit code {code}"] if code else []
    wrong += [f"the page did not answer for {soak.silent:.1f} s"] if soak.silent > HANG else []
    wrong += [f"no frame for {soak.standing:.1f} s without a fault"] if soak.standing > HANG else []
    wrong += [f"memory grows by {growth:.1f} MB an hour"] if growth is not None and growth > SLOPE else []
    return {
        "minutes": minutes,
        "frames": soak.readings[-1][2],
        "faults": len(soak.faults),
        "recovered": sum(f.recovered is not None for f in soak.faults),
        "slowest_recovery_s": max((f.recovered or 60.0 for f in soak.faults), default=None),
        "longest_silence_of_page_s": round(soak.silent, 2),
        "longest_without_frame_s": round(soak.standing, 2),
        "exit_code": code,
        "memory_slope_mb_per_hour": None if growth is None else round(growth, 2),
        "problems": wrong,
        "memory_mb_by_minute": [[minute, round(size, 1)] for minute, size in memory],
        "log": [asdict(fault) for fault in soak.faults],
        "machine": facts("numpy", "onnxruntime", "opencv-python", "aiohttp"),
    }


@click.command()
@click.option("--minutes", default=60.0, show_default=True, type=click.FloatRange(min=0.5))
@click.option("--faults", default=120, show_default=True, type=click.IntRange(1))
@click.option("--rate", default=3.0, show_default=True, help="Frames a second of the camera.")
@click.option("--phrase", default="red circle", show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The JSON; the SVG beside it.")
def main(minutes: float, faults: int, rate: float, phrase: str, output: Path) -> None:
    """Run, watch, and exit with 5 if anything is wrong."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        soak = Soak(Camera(pictures(), rate=rate).start(), Path(folder), phrase)
        soak.start()
        soak.began = time.monotonic()
        for number in range(faults):
            kind, fault = list(FAULTS.items())[number % len(FAULTS)]
            soak.calm(soak.began + 60 * minutes * (number + 0.5) / faults)
            noted = soak.suffer(kind, fault)
            console.note(f"{noted.at:7.1f} s  {kind}: {noted.lasted} s, a frame {noted.recovered} s later")
        soak.calm(soak.began + 60 * minutes)
        document = report(soak, soak.stop(), minutes)
        soak.camera.stop()
    write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    memory = [(minute, size) for minute, size in document["memory_mb_by_minute"]]
    if len(memory) > 1:
        title = f"A live run of {minutes:g} minutes with {faults} faults"
        drawn = plot([Panel(title, "minutes", [Series("least memory of each minute, MB", memory)])])
        write_file(output.with_suffix(".svg"), drawn.encode(), overwrite=True)
    if document["problems"]:
        raise CheckError("; ".join(document["problems"]))


if __name__ == "__main__":
    main()
