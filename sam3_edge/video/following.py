"""A tracker over a video: what is asked comes in on its frame, results come out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.render import render
from sam3_edge.video.asking import Asking, past_the_end
from sam3_edge.video.frames import VideoFrame

Seen = tuple[VideoFrame, FrameResult]


def follow(
    asking: Asking,
    frames: Iterable[VideoFrame],
    *,
    live: bool,
    stepped: Callable[[], object] = lambda: None,
) -> Iterator[Seen]:
    """Every frame with its objects. `stepped` is called whenever the tracker has seen one.

    `live`: each at once, objects may be retracted; otherwise later by the hot-start window, and nothing ever
    is. Raises `UsageError`, after all results, if something was to be drawn on a frame past the end.
    """
    delayed = Delayed(asking.tracker)
    waiting: deque[VideoFrame] = deque()
    last = -1
    for frame in frames:
        asking.before(frame.index)
        draft = asking.tracker.advance(frame.pixels)
        asking.after(frame.index)
        stepped()
        last = max(last, frame.index)
        if live:
            yield frame, render(draft)
            continue
        waiting.append(frame)
        if (result := delayed.hold(draft)) is not None:
            yield waiting.popleft(), result
    yield from zip(waiting, delayed.finish(), strict=True)
    if late := [frame for frame in asking.ask.frames if frame > last]:
        raise past_the_end(late[0], last)
