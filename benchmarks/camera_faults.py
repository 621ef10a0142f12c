"""What can happen to a live run: to its camera, to the process that reads it, to its page."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import time
from collections.abc import Callable

from .http_camera import Camera, pictures
from .watched_run import WatchedRun


def unplug(run: WatchedRun) -> None:
    """The camera is gone for some seconds."""
    port, shown, rate = run.camera.port, run.camera.pictures, run.camera.rate
    run.camera.stop()
    time.sleep(4)
    run.camera = Camera(shown, rate=rate, port=port).start()


def way(name: str, seconds: float) -> Callable[[WatchedRun], None]:
    """The camera works in another way for some seconds."""

    def fault(run: WatchedRun) -> None:
        run.camera.way = name
        if name == "refusing":
            run.camera.hang_up()
        time.sleep(seconds)
        run.camera.way = "well"

    return fault


def hang_up(run: WatchedRun) -> None:
    run.camera.hang_up()


def resize(run: WatchedRun) -> None:
    """The camera's pictures have another size for some seconds, without a new connection."""
    run.camera.pictures = pictures(160)
    time.sleep(4)
    run.camera.pictures = pictures()


def kill(run: WatchedRun) -> None:
    run.hit(signal.SIGKILL)


def halt(run: WatchedRun) -> None:
    run.hit(signal.SIGSTOP)


def strangers(run: WatchedRun) -> None:
    """Twenty connections that send what is no request, and stay."""
    host, _, port = run.page.split("/")[2].partition(":")
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


def ask(run: WatchedRun) -> None:
    """Another phrase for some seconds, through the page."""
    from aiohttp import ClientSession

    async def talk() -> None:
        async with ClientSession() as session:
            origin = {"Origin": run.page.rstrip("/")}
            async with session.ws_connect(f"{run.page}ws", headers=origin) as channel:
                await channel.send_json({"do": "add", "phrase": "blue star"})
                await asyncio.sleep(3)
                await channel.send_json({"do": "remove", "concept": "blue star"})
                await asyncio.sleep(0.5)

    asyncio.run(talk())


FAULTS: dict[str, Callable[[WatchedRun], None]] = {
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
