"""How long each part of a frame takes: graphs by their names, host code by what it does."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from sam3_edge.session import Session, Value

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")

REST = "rest"  # what no part is named for


class Stopwatch:
    """Seconds by part. While one part runs inside another, the other stands still: the parts add up.

    `clock`: `time.perf_counter` for the time on the wall, `time.process_time` for that of the processor.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = {}
        self.running: list[str] = []
        self.since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The time until the block ends is this part's, but for that of parts inside."""
        self.charge()
        self.running.append(name)
        try:
            yield
        finally:
            self.charge()
            self.running.pop()

    def charge(self) -> None:
        """Book the time since the last change."""
        now = self.clock()
        if self.running:
            name = self.running[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self.since
        self.since = now

    @contextmanager
    def frame(self) -> Iterator[None]:
        """What runs in the block is timed: by part where it says so, as `REST` where not."""
        token = ACTIVE.set(self)
        try:
            with self.part(REST):
                yield
        finally:
            ACTIVE.reset(token)


ACTIVE: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


def timed(name: str) -> Callable[[Callable[Parameters, Answer]], Callable[Parameters, Answer]]:
    """A function that is a part by itself, for whatever stopwatch runs. Costs nothing to speak of without."""

    def wrap(function: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **named: Parameters.kwargs) -> Answer:
            watch = ACTIVE.get()
            if watch is None:
                return function(*args, **named)
            with watch.part(name):
                return function(*args, **named)

        return call

    return wrap


class TimedSession:
    """A session whose graphs are parts, each by its name. Waiting for a device in `fetch` is part "fetch"."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.alloc, self.write, self.rows = session.alloc, session.write, session.rows
        self.close = session.close

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        return timed(graph)(self.session.run)(graph, feeds)

    def fetch(self, value: Value) -> NDArray[np.generic]:
        return timed("fetch")(self.session.fetch)(value)
