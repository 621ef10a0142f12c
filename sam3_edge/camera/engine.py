"""The thread that runs the model: newest frames of all feeds in turn, changes between two frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sam3_edge.boxes import Box
from sam3_edge.camera.feed import Feed, Seen
from sam3_edge.concept import Concept
from sam3_edge.errors import EdgeError, ResourceError
from sam3_edge.loop.events import FrameResult
from sam3_edge.phrases import Phrases, Prompt
from sam3_edge.tokenizer import clean

IDLE = 0.25  # seconds after which it looks whether it shall stop

Watcher = Callable[[Feed, Seen], object]


class Engine(threading.Thread):
    """Steps the trackers of its feeds until `stop`, or until all feeds are over.

    `watchers` are told of everything that is seen, on this thread: they must not wait.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        phrases: Phrases,
        *,
        watchers: Sequence[Watcher] = (),
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self.feeds, self.phrases, self.watchers, self.note = list(feeds), phrases, list(watchers), note
        self.ready = self.feeds[0].slot.ready
        self.stopping = threading.Event()
        self.encoder = ThreadPoolExecutor(1, "encoder")
        self.alive = time.monotonic()  # when it last was between two frames
        self.failure: BaseException | None = None
        self.serial = self.turn = 0

    def run(self) -> None:
        try:
            while not self.stopping.is_set() and not all(feed.over for feed in self.feeds):
                self.alive = time.monotonic()
                if (feed := self.next()) is not None:
                    self.serve(feed)
        except BaseException as error:  # whoever waits for this thread raises it
            self.failure = error
        finally:
            self.encoder.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """End after the frame at hand."""
        self.stopping.set()
        with self.ready:
            self.ready.notify_all()

    def next(self) -> Feed | None:
        """A feed with something to do, each in its turn."""
        with self.ready:
            self.ready.wait_for(lambda: any(feed.due for feed in self.feeds) or self.stopping.is_set(), IDLE)
            for step in range(len(self.feeds)):
                feed = self.feeds[(self.turn + step) % len(self.feeds)]
                if feed.due:
                    self.turn = (self.feeds.index(feed) + 1) % len(self.feeds)
                    return feed
        return None

    def serve(self, feed: Feed) -> None:
        """Do what was ordered, then the newest frame."""
        while feed.orders:
            self.obey(feed, *feed.orders.popleft())
        if feed.paused or (frame := feed.slot.take()) is None:
            return
        began = time.monotonic()
        try:
            feed.prepare(frame)
            result = feed.tracker.step(frame.pixels)
        except ResourceError:
            raise
        except EdgeError as error:
            # One frame that cannot be followed is no reason to end what shall run for weeks.
            feed.errors += 1
            if feed.errors == 1:
                self.note(f"{feed.capture.source.address}: {error}")
            return
        done = time.monotonic()
        feed.times.append(done)
        feed.frames += 1
        self.tell(feed, Seen(self.count(), frame, result, done, done - began), new=True)

    def obey(self, feed: Feed, order: Callable[[Feed], FrameResult | None], future: Future[Any]) -> None:
        """Do one thing that was ordered. What it shows of the last frame takes that frame's place."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = order(feed)
        except EdgeError as error:
            future.set_exception(error)
            return
        future.set_result(result)
        if isinstance(result, FrameResult) and feed.latest is not None:
            last = feed.latest
            self.tell(feed, Seen(self.count(), last.frame, result, last.done, last.step), new=False)

    def tell(self, feed: Feed, seen: Seen, *, new: bool) -> None:
        """Publish what was seen; `watchers` hear of new frames only."""
        feed.publish(seen)
        if new:
            for watcher in self.watchers:
                watcher(feed, seen)

    def count(self) -> int:
        self.serial += 1
        return self.serial

    def ask(self, feed: Feed, phrase: str | None, boxes: Sequence[Box] = ()) -> Future[Any]:
        """Look for a concept from a frame boundary on. Its phrase is encoded before, beside the frames."""
        concept = Concept(phrase, tuple(boxes))
        done: Future[Any] = Future()

        def look() -> None:
            try:
                name, prompt = clean(concept.text), self.encode(concept.text)
            except EdgeError as error:
                done.set_exception(error)
                return

            def start(feed: Feed) -> None:
                if prompt is not None:
                    self.phrases.cache[name] = prompt
                feed.add(concept)

            feed.order(start).add_done_callback(lambda ordered: pass_on(ordered, done))

        self.encoder.submit(look)
        return done

    def encode(self, phrase: str) -> Prompt | None:
        """A phrase's prompt, None if it is known. On the encoder's thread: the cache is the engine's."""
        name = clean(phrase)
        if name in self.phrases.names or name in self.phrases.cache:
            return None
        return self.phrases.encode(phrase)


def pass_on(source: Future[Any], target: Future[Any]) -> None:
    """The same outcome for another future."""
    error = source.exception()
    if error is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())
