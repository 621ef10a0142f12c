"""What is asked of a video: phrases, boxes on frames, clicks on frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sam3_edge.boxes import FORM, Box
from sam3_edge.concept import Concept
from sam3_edge.errors import UsageError
from sam3_edge.loop.prompts import Point
from sam3_edge.loop.tracker import Tracker
from sam3_edge.video.frames import Span, Video

POINT_FORM = "FRAME:x,y[:neg][@ID]"


@dataclass(frozen=True)
class Click:
    """A point on a frame. `id`: the object it corrects; None for the one object that clicks alone begin."""

    point: Point
    id: int | None = None

    @classmethod
    def parse(cls, text: str) -> Click:
        """`x,y[:neg][@ID]`. Raises `UsageError`."""
        place, at, id = text.partition("@")
        numbers, _, label = place.partition(":")
        try:
            x, y = (float(number) for number in numbers.split(","))
            number = int(id) if at else None
        except ValueError as error:
            raise UsageError(f"point {text!r}: want {POINT_FORM}, x and y in pixels") from error
        if label not in ("", "pos", "neg") or (number is not None and number < 0):
            raise UsageError(f"point {text!r}: want {POINT_FORM}, x and y in pixels")
        return cls(Point(x, y, label != "neg"), number)


@dataclass(frozen=True)
class Ask:
    """`phrases` are looked for from the first frame on. `boxes` and `clicks` by the frame they are drawn on.

    Boxes are examples of the one phrase, or stand alone: everything like them. Clicks without an id are all
    of one object, which the first frame's begin and later frames' correct. Raises `UsageError` for nothing
    to look for, and for boxes that could be of several phrases.
    """

    phrases: tuple[str, ...] = ()
    boxes: Mapping[int, tuple[Box, ...]] = field(default_factory=dict)
    clicks: Mapping[int, tuple[Click, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.phrases or self.boxes or self.clicks):
            raise UsageError(
                f"nothing to look for: give --prompt 'a phrase', --box FRAME:{FORM} or --point {POINT_FORM}"
            )
        if len(self.phrases) > 1 and self.boxes:
            raise UsageError(
                "--box with several --prompt: run once per phrase, so that it is clear whose the box is"
            )
        for phrase in self.phrases:
            Concept(phrase)
        for boxes in self.boxes.values():
            Concept(self.phrase, boxes)
        first = [c.point for _, clicks in sorted(self.clicks.items()) for c in clicks if c.id is None]
        begun = next((clicks for _, clicks in sorted(self.clicks.items()) if any(own(clicks))), ())
        if first and not any(click.point.positive for click in own(begun)):
            raise UsageError("the first clicks are all negative: click on the object, then beside it")

    @property
    def phrase(self) -> str | None:
        """The phrase that boxes are examples of."""
        return self.phrases[0] if self.phrases else None

    @property
    def frames(self) -> list[int]:
        """The frames that something is drawn on, rising."""
        return sorted({*self.boxes, *self.clicks})

    def check(self, span: Span, video: Video) -> None:
        """Raises `UsageError` for something drawn on a frame that is not looked at."""
        for frame in self.frames:
            if not span.wants(frame):
                raise UsageError(
                    f"something is drawn on frame {frame}, which is not looked at (from {span.start} to "
                    f"{span.stop or 'the end'}, every {span.stride}): change --start, --end or --stride"
                )
            if video.count is not None and frame >= video.count and video.again:
                # Only a container's word, which may be an estimate: ask the frames themselves.
                length = video.length()
                if frame >= length > 0:
                    raise past_the_end(frame, length - 1)

    def first(self) -> Ask:
        """What is drawn on the first of its frames alone."""
        turn = self.frames[0]
        return Ask(
            self.phrases,
            {turn: self.boxes[turn]} if turn in self.boxes else {},
            {turn: self.clicks[turn]} if turn in self.clicks else {},
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they are given on the command line."""
        return {
            "prompts": list(self.phrases),
            "boxes": [f"{frame}:{box}" for frame, boxes in sorted(self.boxes.items()) for box in boxes],
            "points": [
                f"{frame}:{click.point.x:g},{click.point.y:g}"
                + ("" if click.point.positive else ":neg")
                + ("" if click.id is None else f"@{click.id}")
                for frame, clicks in sorted(self.clicks.items())
                for click in clicks
            ],
        }


def past_the_end(frame: int, last: int) -> UsageError:
    return UsageError(f"something is drawn on frame {frame}, past the end: the last frame is {last}")


def own(clicks: Sequence[Click]) -> Iterator[Click]:
    """The clicks that are of the object they begin."""
    return (click for click in clicks if click.id is None)


def parse_ask(phrases: Sequence[str], boxes: Sequence[str], points: Sequence[str], *, first: int = 0) -> Ask:
    """From the command line's words. What names no frame is drawn on the `first`."""
    drawn: dict[int, list[Box]] = {}
    clicked: dict[int, list[Click]] = {}
    for text in boxes:
        frame, rest = split_frame(text, first)
        drawn.setdefault(frame, []).append(Box.parse(rest))
    for text in points:
        frame, rest = split_frame(text, first)
        clicked.setdefault(frame, []).append(Click.parse(rest))
    return Ask(
        tuple(phrases),
        {frame: tuple(some) for frame, some in drawn.items()},
        {frame: tuple(some) for frame, some in clicked.items()},
    )


def split_frame(text: str, first: int) -> tuple[int, str]:
    """`FRAME:rest`, or the rest alone."""
    head, colon, rest = text.partition(":")
    if not colon or "," in head:
        return first, text
    if not head.strip().isdecimal():
        raise UsageError(f"{text!r}: want a frame's number before the colon, counted from 0")
    return int(head), rest


class Asking:
    """Puts what is asked to a tracker, frame by frame."""

    def __init__(self, ask: Ask, tracker: Tracker) -> None:
        self.ask, self.tracker = ask, tracker
        self.clicked: int | None = None

    def recall(self, frames: Sequence[int]) -> None:
        """Go on with a restored tracker that has seen these frames: which object did the clicks begin?"""
        begun = [n for n, frame in enumerate(frames) if any(own(self.ask.clicks.get(frame, ())))]
        if begun:
            self.clicked = next(
                track.id for track in self.tracker.tracks if track.concept is None and track.born == begun[0]
            )

    def before(self, frame: int) -> None:
        """Phrases and boxes, before the tracker sees the frame."""
        boxes = self.ask.boxes.get(frame, ())
        if not self.tracker.index and self.ask.phrases:
            self.tracker.add([Concept(phrase, boxes) for phrase in self.ask.phrases])
        elif boxes:
            self.tracker.show(Concept(self.ask.phrase, boxes))

    def after(self, frame: int) -> None:
        """Clicks, on the frame that the tracker has just seen."""
        by_id: dict[int | None, list[Point]] = {}
        for click in self.ask.clicks.get(frame, ()):
            by_id.setdefault(click.id, []).append(click.point)
        for id, points in by_id.items():
            if id is not None or self.clicked is not None:
                target = self.clicked if id is None else id
                assert target is not None
                self.tracker.correct(target, points=points)
            else:
                self.tracker.add_object(points=points)
                self.clicked = self.tracker.tracks[-1].id
