"""What viewers ask for, as messages: checked, and done by the engine at a frame boundary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from sam3_edge.boxes import Box
from sam3_edge.camera.engine import Engine
from sam3_edge.camera.feed import Feed
from sam3_edge.errors import UsageError
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.prompts import Point
from sam3_edge.overlay import RGB
from sam3_edge.tokenizer import clean

LONGEST = 200  # characters of a phrase


def give(engine: Engine, feed: Feed, message: Mapping[str, Any]) -> Future[Any]:
    """Do what a message asks, at a frame boundary. Places in it are fractions of the picture, 0 to 1.

    `do` is `add` (phrase), `remove` (concept), `colour` (concept, colour as #rrggbb), `point` (x, y,
    positive, id of the object that it corrects), `box` (x0, y0, x1, y1, phrase), `drop` (id) or `pause` (on).
    Raises `UsageError` for anything else; what only the frame can tell comes with the answer.
    """
    do = message.get("do")
    if do == "add":
        return engine.ask(feed, text(message, "phrase"))
    if do == "box":
        corners = [fraction(message, name) for name in ("x0", "y0", "x1", "y1")]
        phrase = text(message, "phrase") if message.get("phrase") is not None else None
        return engine.ask(feed, phrase, (box_of(feed, corners),))
    if do == "remove":
        concept = text(message, "concept")
        return feed.order(lambda feed: feed.remove(concept))
    if do == "point":
        x, y = fraction(message, "x"), fraction(message, "y")
        positive, id = message.get("positive", True) is True, whole(message, "id", missing=True)
        return feed.order(lambda feed: point(feed, x, y, positive=positive, id=id))
    if do == "drop":
        id = whole(message, "id")
        return feed.order(lambda feed: feed.tracker.remove_object(id or 0))
    if do == "colour":
        concept, colour = text(message, "concept"), rgb(message.get("colour"))
        return feed.order(lambda feed: feed.colours.update({clean(concept): colour}))
    if do == "pause":
        on = message.get("on") is True
        return feed.order(lambda feed: setattr(feed, "paused", on))
    raise UsageError("there is no such order")


def point(feed: Feed, x: float, y: float, *, positive: bool, id: int | None) -> FrameResult:
    """A click on the last frame: a new object, or a correction of object `id`."""
    height, width = size_of(feed)
    click = Point(x * width, y * height, positive)
    if id is not None:
        return feed.tracker.correct(id, points=[click])
    return feed.tracker.add_object(points=[click])


def box_of(feed: Feed, corners: list[float]) -> Box:
    """A box that was drawn from any corner to the opposite one, in pixels."""
    height, width = size_of(feed)
    (x0, x1), (y0, y1) = sorted((corners[0], corners[2])), sorted((corners[1], corners[3]))
    return Box(x0 * width, y0 * height, x1 * width, y1 * height)


def size_of(feed: Feed) -> tuple[int, int]:
    """Height and width of the last frame. Raises `UsageError` before the first."""
    if feed.latest is None:
        raise UsageError("nothing can be drawn before the first frame: wait for the picture")
    height, width = feed.latest.frame.pixels.shape[:2]
    return height, width


def text(message: Mapping[str, Any], name: str) -> str:
    """A short text of a message."""
    value = message.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name}: want some words")
    if len(value) > LONGEST:
        raise UsageError(f"{name}: want up to {LONGEST} characters")
    return " ".join(value.split())


def fraction(message: Mapping[str, Any], name: str) -> float:
    """A place in a message."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"{name}: want a number, 0 to 1")
    return min(max(float(value), 0.0), 1.0)


def whole(message: Mapping[str, Any], name: str, *, missing: bool = False) -> int | None:
    """An object's id in a message."""
    value = message.get(name)
    if value is None and missing:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{name}: want an object's id")
    return value


def rgb(value: object) -> RGB:
    """`#rrggbb` as three numbers."""
    if not isinstance(value, str) or len(value) != 7 or value[0] != "#":
        raise UsageError("colour: want #rrggbb")
    try:
        red, green, blue = bytes.fromhex(value[1:])
    except ValueError as error:
        raise UsageError("colour: want #rrggbb") from error
    return red, green, blue
