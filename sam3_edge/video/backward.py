"""Back in time: from a frame that something is drawn on to the start of the video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sam3_edge.errors import UsageError
from sam3_edge.video.asking import Ask, Asking
from sam3_edge.video.following import follow
from sam3_edge.video.frames import Span, Video, VideoFrame
from sam3_edge.video.results import frame_line

HELD = 1 << 28  # bytes of frames held at a time: 43 of 1080p


def check_backward(ask: Ask, video: Video, *, live: bool) -> None:
    """Raises `UsageError` where there is no way back."""
    if not ask.frames:
        raise UsageError("--backward starts where something is drawn: give --box or --point with a FRAME")
    if live:
        raise UsageError("--backward and --live: what is live has no past to go back to; give one of them")
    if not video.again:
        raise UsageError("--backward reads the video twice, standard input cannot: give a file or a folder")


def look_back(
    asking: Asking, video: Video, span: Span, *, advance: Callable[[int], object]
) -> list[dict[str, Any]]:
    """The lines of all frames before the first that something is drawn on, in the order of the video.

    The tracker sees that frame first, and then those before it, last to first: what it finds there bears the
    ids that it also has when the tracker goes the other way. What is new further back gets the next ids.
    """
    turn = asking.ask.frames[0]
    frames = backwards(video, Span(span.start, turn + 1, span.stride))
    lines = []
    for frame, result in follow(asking, frames, live=False):
        advance(1)
        lines.append(frame_line(frame, result))
    return lines[:0:-1]


def backwards(video: Video, span: Span, *, held: int = HELD) -> Iterator[VideoFrame]:
    """The frames of a span, last to first, in parts that fit in memory.

    A part is decoded from the start of the video, as seeking is exact in few containers: the time grows with
    the square of the length.
    """
    wanted = range(span.start, span.stop or 0, span.stride)
    size = next(video.frames(span)).pixels.nbytes
    many = max(1, held // size)
    while wanted:
        part, wanted = wanted[-many:], wanted[:-many]
        yield from reversed(list(video.frames(Span(part[0], part[-1] + 1, span.stride))))
