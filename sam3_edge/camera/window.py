"""The window view: OpenCV's window with the newest frame. A click follows, a drag shows an example."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

from sam3_edge.camera.drawing import draw
from sam3_edge.camera.live import Live
from sam3_edge.camera.orders import give
from sam3_edge.errors import BackendError, EdgeError
from sam3_edge.video.opencv import opencv
from sam3_edge.writing import write_file

NAME = "sam3-edge"
DRAG = 8  # pixels: less is a click
TEXT = "click: follow   drag: example   space: pause   s: snapshot   tab: next source   q: quit"


class Window:
    """A window that is shown between the ticks of a `Live`, on the main thread, as window systems want it."""

    def __init__(self, live: Live) -> None:
        """Raises `BackendError` where OpenCV has no window, or there is no screen."""
        self.live, self.number, self.serial = live, 0, 0
        self.begun: tuple[int, int] | None = None
        self.size = (1, 1)
        cv2 = opencv()
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Asked all the same, OpenCV's window system ends the process.
            raise BackendError("--view window: there is no screen ($DISPLAY is not set): use --view web")
        try:
            cv2.namedWindow(NAME, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.setMouseCallback(NAME, self.mouse)
        except cv2.error as error:
            raise BackendError("--view window: this OpenCV has no window here: use --view web") from error

    def wait(self, seconds: float) -> None:
        """Show what is new for so many seconds, and do what keys say."""
        cv2, until = opencv(), time.monotonic() + seconds
        while time.monotonic() < until and not self.live.stopping.is_set():
            feed = self.live.feeds[self.number]
            if (seen := feed.wait(self.serial, 0.03)) is not None:
                self.serial = seen.serial
                picture = np.asarray(draw(feed, seen))
                self.size = (picture.shape[0], picture.shape[1])
                cv2.imshow(NAME, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            self.key(cv2.waitKey(1) & 0xFF)
            if cv2.getWindowProperty(NAME, cv2.WND_PROP_VISIBLE) < 1 and self.serial:
                self.live.stopping.set()

    def key(self, code: int) -> None:
        """Do what a key says."""
        feed = self.live.feeds[self.number]
        if code in (ord("q"), 27):
            self.live.stopping.set()
        elif code == ord(" "):
            self.ask({"do": "pause", "on": not feed.paused})
        elif code == 9:
            self.number, self.serial = (self.number + 1) % len(self.live.feeds), 0
        elif code == ord("s") and feed.latest is not None:
            name = time.strftime("sam3-edge-%Y%m%d-%H%M%S.png")
            whole, data = opencv().imencode(".png", np.asarray(draw(feed, feed.latest))[:, :, ::-1])
            if whole:
                self.live.note(f"saved {write_file(name, data.tobytes(), overwrite=True)}")

    def mouse(self, event: int, x: int, y: int, flags: int, _: Any) -> None:
        """A click or a drag, in pixels of what is shown."""
        cv2 = opencv()
        if event == cv2.EVENT_LBUTTONDOWN:
            self.begun = (x, y)
        elif event == cv2.EVENT_LBUTTONUP and self.begun is not None:
            (x0, y0), self.begun = self.begun, None
            height, width = self.size
            if max(abs(x - x0), abs(y - y0)) < DRAG:
                self.ask({"do": "point", "x": x / width, "y": y / height})
            else:
                corners = {"x0": x0 / width, "y0": y0 / height, "x1": x / width, "y1": y / height}
                self.ask({"do": "box", **corners})

    def ask(self, message: dict[str, Any]) -> None:
        """Give an order; what is wrong with it is told."""
        try:
            done = give(self.live.engine, self.live.feeds[self.number], message)
        except EdgeError as error:
            self.live.note(f"error: {error}")
            return
        done.add_done_callback(
            lambda done: self.live.note(f"error: {done.exception()}") if done.exception() else None
        )

    def close(self) -> None:
        opencv().destroyAllWindows()
