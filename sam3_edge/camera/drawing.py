"""Frames as viewers see them, objects in the colours they chose; drawn only while somebody looks."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

from PIL import Image

from sam3_edge.camera.feed import Feed, Seen
from sam3_edge.loop.events import NAMELESS
from sam3_edge.overlay import Marked, colour, corner, mark
from sam3_edge.tokenizer import clean

QUALITY = 80
WIDEST = 1280  # pixels of a picture for viewers


def draw(feed: Feed, seen: Seen) -> Image.Image:
    """A frame with its objects: phrase, id, and how sure the tracker is to see it."""
    result = seen.result
    marked = []
    for i, id in enumerate(result.ids.tolist()):
        name = result.concepts[i]
        chosen = feed.colours.get(clean(name)) if name else None
        text = f"{name or NAMELESS} #{id} {result.presence[i]:.2f}"
        marked.append(Marked(result.masks[i], corner(result.boxes[i]), text, chosen or colour(id)))
    return mark(seen.frame.pixels, marked)


def jpeg(feed: Feed, seen: Seen, *, widest: int | None = None) -> bytes:
    """A frame with its objects as a JPEG file, made smaller than it is if it is wider than `widest`."""
    image = draw(feed, seen)
    if widest is not None and image.width > widest:
        image = image.resize(
            (widest, round(image.height * widest / image.width)), Image.Resampling.BILINEAR, reducing_gap=2.0
        )
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


class Painter(threading.Thread):
    """Draws the newest frame of a feed when somebody waits for it, once for all who do."""

    def __init__(self, feed: Feed, shown: Callable[[int, int, bytes], object]) -> None:
        """`shown`: told the feed's number, what was drawn (`Seen.serial`) and the JPEG, on this thread."""
        super().__init__(name=f"painter {feed.number}", daemon=True)
        self.feed, self.shown = feed, shown
        self.viewers = 0  # who watch, whether they wait for a picture or have not yet taken the last
        self.wanted = threading.Event()
        self.stopping = False

    def run(self) -> None:
        serial = 0
        while not self.stopping:
            if self.wanted.wait(1.0) and (seen := self.feed.wait(serial, 1.0)) is not None:
                serial = seen.serial
                self.wanted.clear()
                self.shown(self.feed.number, serial, jpeg(self.feed, seen, widest=WIDEST))

    def ask(self) -> None:
        """Somebody waits for a picture that is newer than the last."""
        self.wanted.set()

    def stop(self) -> None:
        self.stopping = True
        self.wanted.set()
