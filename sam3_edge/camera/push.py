"""Results to an HTTP address: lines without masks; what cannot be delivered in time is dropped."""

from __future__ import annotations

import base64
import json
import threading
from collections import deque
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sam3_edge.camera.address import Address
from sam3_edge.camera.feed import Feed, Seen
from sam3_edge.camera.recorder import line_of

EVERY, PATIENCE = 1.0, 5.0  # seconds between batches, and for an answer
WAITING, BATCH = 1000, 200  # lines
LONGEST = 30.0  # seconds between attempts


class NoRedirect(HTTPRedirectHandler):
    """Where a server points to was not asked for, and must not get the password."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Pusher(threading.Thread):
    """POSTs JSON lines (`application/x-ndjson`) until `stop`."""

    def __init__(self, address: Address) -> None:
        super().__init__(name="push", daemon=True)
        self.address = address
        self.lines: deque[bytes] = deque(maxlen=WAITING)
        self.stopping = threading.Event()
        self.sent = self.lost = 0
        self.why: str | None = None
        self.opener = build_opener(NoRedirect)

    def add(self, feed: Feed, seen: Seen) -> None:
        """Send a frame soon."""
        line = line_of(seen) | {"source": str(feed.capture.source.address)}
        for it in line["objects"]:
            del it["mask"]
        self.lost += len(self.lines) == WAITING
        self.lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def run(self) -> None:
        wait = EVERY
        while not self.stopping.wait(wait):
            batch = [self.lines.popleft() for _ in range(min(BATCH, len(self.lines)))]
            if not batch:
                continue
            self.why = self.post(b"".join(batch))
            if self.why is None:
                self.sent += len(batch)
                wait = EVERY
            else:
                self.lost += len(batch)
                wait = min(2 * wait, LONGEST)

    def post(self, data: bytes) -> str | None:
        """Deliver; why not, None if it was."""
        headers = {"Content-Type": "application/x-ndjson", "User-Agent": "sam3-edge"}
        if self.address.secret is not None:
            pair = f"{self.address.secret.user}:{self.address.secret.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        request = Request(self.address.place, data, headers, method="POST")
        try:
            with self.opener.open(request, timeout=PATIENCE):
                return None
        except HTTPError as error:
            return f"{self.address}: HTTP {error.code}"
        except (URLError, HTTPException, OSError, ValueError) as error:
            return self.address.scrub(f"{self.address}: {getattr(error, 'reason', error)}")

    def stop(self) -> None:
        self.stopping.set()

    def describe(self) -> dict[str, Any]:
        """What health says of it."""
        return {"to": str(self.address), "sent": self.sent, "lost": self.lost, "why": self.why}
