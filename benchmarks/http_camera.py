"""An HTTP camera on a loopback port that plays JPEG pictures for ever, and what can be wrong with it."""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import math
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from PIL import Image

from sam3_edge.shapes.clips import draw_clip
from sam3_edge.shapes.scripts import cast, film

SIDE, COUNT = 224, 40
WAYS = ("well", "frozen", "garbage", "cut", "slow", "refusing")


@cache
def pictures(side: int = SIDE, count: int = COUNT) -> list[bytes]:
    """Two red circles, a blue star and a green square that go round: JPEG files."""
    rng = np.random.default_rng(3)

    def ring(x: float, y: float, reach: float, radius: float) -> tuple[tuple[float, ...], ...]:
        turns = (2 * math.pi * i / 8 for i in range(9))
        return tuple((x + reach * math.cos(t), y + reach * math.sin(t), radius, t) for t in turns)

    actors = [
        cast(rng, ("circle", "red", "plain"), ring(-45, -30, 28, 22)),
        cast(rng, ("circle", "red", "striped"), ring(50, 45, 25, 18)),
        cast(rng, ("star", "blue", "plain"), ring(45, -40, 30, 24)),
        cast(rng, ("square", "green", "plain"), ring(-50, 50, 24, 20)),
    ]
    script = replace(film(rng, actors, size=side, frames=count + 1, moving=False), grain=3)
    found = []
    for frame in list(draw_clip(script))[:count]:
        file = io.BytesIO()
        Image.fromarray(frame.picture).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


class Camera(http.server.ThreadingHTTPServer):
    """`multipart/x-mixed-replace` on every path, in one of `WAYS`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, shown: Sequence[bytes], *, rate: float, port: int = 0, login: str | None = None
    ) -> None:
        """`login`: user:password, without which nothing is given."""
        super().__init__(("127.0.0.1", port), Answer)
        self.pictures, self.rate, self.way = list(shown), rate, WAYS[0]
        self.login = None if login is None else "Basic " + base64.b64encode(login.encode()).decode()
        self.began = time.monotonic()
        self.open: set[socket.socket] = set()
        self.stopped = False

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/live"

    @property
    def part(self) -> bytes:
        """The picture of this moment, as a part of the stream."""
        data = self.pictures[int((time.monotonic() - self.began) * self.rate) % len(self.pictures)]
        if self.way == "garbage":
            data = bytes(np.random.default_rng(len(data)).integers(0, 256, len(data), np.uint8))
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        return head + (data[: len(data) // 2] if self.way == "cut" else data) + b"\r\n"

    def start(self) -> Camera:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def hang_up(self) -> None:
        """End all connections."""
        for wire in tuple(self.open):
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """The camera is unplugged: the port is closed, and so are all connections."""
        self.stopped = True
        self.shutdown()
        self.server_close()
        self.hang_up()


class Answer(http.server.BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        if self.server.way == "refusing":
            self.send_error(503)
        elif self.server.login not in (None, self.headers.get("Authorization")):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            self.server.open.add(self.connection)
            with contextlib.suppress(OSError):
                self.play()
            self.server.open.discard(self.connection)

    def play(self) -> None:
        """Pictures at their rate; a slow camera sends a hundredth of one instead."""
        while not self.server.stopped:
            if self.server.way == "slow":
                self.wfile.write(self.server.part[:100])
            elif self.server.way != "frozen":
                self.wfile.write(self.server.part)
            time.sleep(1 / self.server.rate)

    def log_message(self, *_: object) -> None:
        """Nothing: a camera has no screen."""
