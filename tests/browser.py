"""Headless Chromium through its DevTools protocol: real clicks on the real page, and pictures of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--mute-audio"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "about:blank"),
)
PATIENCE = 60.0  # seconds for anything: machines are slow


class Browser:
    """A browser with one page. Fails where there is no Chromium: what it shows is not proven then."""

    def __init__(self, folder: Path) -> None:
        program = (
            shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        )
        assert program, "no Chromium: apt install chromium"
        self.folder, self.loop, self.numbers = folder, asyncio.new_event_loop(), itertools.count(1)
        self.process = subprocess.Popen(
            [program, f"--user-data-dir={folder}", *FLAGS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=os.setpgrp,  # a group of its own, to be killed with all its children
        )
        self.loop.run_until_complete(self.connect())

    async def connect(self) -> None:
        """Find its page, and talk to it."""
        place, until = self.folder / "DevToolsActivePort", time.monotonic() + PATIENCE
        while not (place.exists() and place.read_text().count("\n")):
            assert time.monotonic() < until, "Chromium does not start"
            await asyncio.sleep(0.05)
        port = place.read_text().split()[0]
        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(it for it in await answer.json() if it["type"] == "page")
        self.channel = await self.session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)

    def send(self, method: str, **values: Any) -> Any:
        """A command of the protocol, and its result."""
        return self.loop.run_until_complete(asyncio.wait_for(self.talk(method, values), PATIENCE))

    async def talk(self, method: str, values: dict[str, Any]) -> Any:
        number = next(self.numbers)
        await self.channel.send_json({"id": number, "method": method, "params": values})
        while True:
            answer = await self.channel.receive_json()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The window's inside; of a phone with its dense pixels and its fingers."""
        scale = 2 if phone else 1
        values = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        self.send("Emulation.setDeviceMetricsOverride", **values)
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)

    def ask(self, script: str) -> Any:
        """The value of an expression on the page."""
        told = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, script: str, good: Callable[[Any], bool] = bool, *, patience: float = PATIENCE) -> Any:
        """Wait for the value of an expression to be good."""
        end = time.monotonic() + patience
        while not good(value := self.ask(script)):
            assert time.monotonic() < end, f"{script}: still {value!r}"
            time.sleep(0.05)
        return value

    def mouse(self, kind: str, x: float, y: float) -> None:
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **held)

    def click(self, x: float, y: float) -> None:
        """With the mouse, in pixels of the window."""
        self.mouse("Pressed", x, y)
        self.mouse("Released", x, y)

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.mouse("Pressed", x0, y0)
        self.mouse("Moved", (x0 + x1) / 2, (y0 + y1) / 2)
        self.mouse("Moved", x1, y1)
        self.mouse("Released", x1, y1)

    def picture(self) -> bytes:
        """What is seen, as JPEG."""
        told = self.send("Page.captureScreenshot", format="jpeg", quality=82)
        return base64.b64decode(told["data"])

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.run_until_complete(self.session.close())
        self.loop.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
