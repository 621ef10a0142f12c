"""Those who watch through the web view: pictures as MJPEG, and a WebSocket that tells and takes orders."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

from sam3_edge.camera.drawing import Painter, jpeg
from sam3_edge.camera.guard import Bucket
from sam3_edge.camera.orders import give
from sam3_edge.errors import EdgeError

if TYPE_CHECKING:
    from aiohttp import web

    from sam3_edge.camera.live import Live

LONGEST = 64 * 1024  # bytes of a message, or of a request
MOST_VIEWERS, MOST_CONTROLS = 8, 16
EVERY = 0.5  # seconds between what is told
SLOW = 10.0  # seconds after which a viewer that takes nothing is let go
BUFFER = 256 * 1024  # bytes that the system may hold for a viewer: what is in it gets old
PART = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n--frame\r\n"


class Newest:
    """The newest picture of a feed, for the event loop."""

    def __init__(self) -> None:
        self.serial, self.data = 0, b""
        self.changed = asyncio.Event()

    def put(self, serial: int, data: bytes) -> None:
        self.serial, self.data = serial, data
        self.changed.set()
        self.changed = asyncio.Event()

    async def after(self, serial: int) -> tuple[int, bytes]:
        """A picture that is newer."""
        while self.serial <= serial:
            await self.changed.wait()
        return self.serial, self.data


class Viewers:
    """Answers of a server to those who may watch. On its event loop."""

    def __init__(self, live: Live, library: Any, loop: asyncio.AbstractEventLoop) -> None:
        """`library`: `aiohttp.web`."""
        self.live, self.web, self.loop = live, library, loop
        self.newest = {feed.number: Newest() for feed in live.feeds}
        self.painters = {feed.number: Painter(feed, self.shown) for feed in live.feeds}
        self.channels: set[Any] = set()

    def start(self) -> None:
        for painter in self.painters.values():
            painter.start()

    def stop(self) -> None:
        for painter in self.painters.values():
            painter.stop()

    def shown(self, number: int, serial: int, data: bytes) -> None:
        """A picture was drawn, on a painter's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self.newest[number].put, serial, data)

    def number(self, request: web.Request) -> int:
        """The feed that a path names."""
        text = request.match_info["number"][:6]
        if not (text.isascii() and text.isdecimal()) or int(text) not in self.newest:
            raise self.web.HTTPNotFound
        return int(text)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Pictures, one replacing the other; who is slow misses some."""
        number = self.number(request)
        painter, newest = self.painters[number], self.newest[number]
        if sum(painter.viewers for painter in self.painters.values()) >= MOST_VIEWERS:
            raise self.web.HTTPServiceUnavailable(reason=f"{MOST_VIEWERS} viewers are the most")
        kind = "multipart/x-mixed-replace; boundary=frame"
        response: web.StreamResponse = self.web.StreamResponse(headers={"Content-Type": kind})
        painter.viewers += 1
        try:
            await response.prepare(request)
            if request.transport is not None:
                wire = request.transport.get_extra_info("socket")
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            serial, head = 0, b"--frame\r\n"
            while True:
                # Who has not taken the last picture asks for none: it is not drawn for those who are slow.
                if newest.serial <= serial:
                    painter.ask()
                serial, data = await newest.after(serial)
                # The next part's boundary at once: browsers show a picture when they see where it ends.
                await asyncio.wait_for(response.write(head + PART % (len(data), data)), SLOW)
                head = b""
        except (ConnectionError, asyncio.TimeoutError):
            return response
        finally:
            painter.viewers -= 1

    async def snapshot(self, request: web.Request) -> web.Response:
        """The newest frame with its objects, whole, as a file."""
        feed = self.live.feeds[self.number(request)]
        if (seen := feed.latest) is None:
            raise self.web.HTTPServiceUnavailable
        data = await self.loop.run_in_executor(None, jpeg, feed, seen)
        name = time.strftime("%Y%m%d-%H%M%S", time.localtime(seen.frame.wall))
        headers = {"Content-Disposition": f'attachment; filename="sam3-edge-{name}.jpg"'}
        response: web.Response = self.web.Response(body=data, content_type="image/jpeg", headers=headers)
        return response

    async def health(self, request: web.Request) -> web.Response:
        """What the health file says."""
        response: web.Response = self.web.json_response(self.live.health())
        return response

    async def control(self, request: web.Request) -> web.StreamResponse:
        """Tells what is going on, and takes orders."""
        if len(self.channels) >= MOST_CONTROLS:
            raise self.web.HTTPServiceUnavailable(reason=f"{MOST_CONTROLS} pages are the most")
        channel = self.web.WebSocketResponse(max_msg_size=LONGEST, heartbeat=20.0, compress=False)
        self.channels.add(channel)
        telling: asyncio.Task[None] | None = None
        try:
            await channel.prepare(request)
            telling = asyncio.ensure_future(self.tell(channel))
            await self.listen(channel)
        except (ConnectionError, asyncio.TimeoutError):
            pass
        finally:
            self.channels.discard(channel)
            if telling is not None:
                telling.cancel()
        await channel.close()
        response: web.StreamResponse = channel
        return response

    async def listen(self, channel: Any) -> None:
        """Take orders until the other side goes, or talks too much."""
        bucket = Bucket(30, 10)
        async for message in channel:
            if not bucket.take():
                return
            if (why := await self.obey(message.data)) is not None:
                await asyncio.wait_for(channel.send_json({"kind": "error", "text": why}), SLOW)

    async def tell(self, channel: Any) -> None:
        """The state, every half second."""
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            while not channel.closed:
                await asyncio.wait_for(channel.send_json({"kind": "state", **self.live.state()}), SLOW)
                await asyncio.sleep(EVERY)
        await channel.close()

    async def obey(self, data: object) -> str | None:
        """Do what a message asks; what is wrong with it, None if it was done."""
        try:
            message = json.loads(data) if isinstance(data, str) else None
            number = message.get("feed", 0) if isinstance(message, dict) else None
            if not isinstance(message, dict) or type(number) is not int or number not in self.newest:
                return "want a JSON object, with the number of a feed"
            ordered = give(self.live.engine, self.live.feeds[number], message)
            await asyncio.wait_for(asyncio.wrap_future(ordered), SLOW)
        except EdgeError as error:
            return str(error)
        except asyncio.TimeoutError:
            return "the engine does not answer"
        except (ValueError, RecursionError):
            return "want JSON"
        return None

    async def leave(self) -> None:
        """Say goodbye to all."""
        for channel in tuple(self.channels):
            await channel.close()
