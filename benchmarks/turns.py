"""Processes that take turns: each loads once, has its threads and memory to itself, and is timed inside."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from sam3_edge.errors import EdgeError, ResourceError

from .paired import Times, clock

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss: macOS counts bytes, Linux KiB
Task = Callable[[], Any]
PEAK = "peak"


class Side:
    """A process of its own with tasks. `make(*arguments)` runs there and gives the tasks by name."""

    def __init__(self, make: Callable[..., Mapping[str, Task]], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, make, arguments), daemon=True)
        self.process.start()
        other.close()
        self.receive()

    def receive(self) -> Any:
        """What the process answers. Raises its `EdgeError`, and `ResourceError` if it is no more."""
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise ResourceError(
                "a side of the comparison has ended: see above, or free some memory if it was killed"
            ) from error
        if isinstance(answer, EdgeError):
            raise answer
        return answer

    def ask(self, task: str) -> tuple[Times, Any]:
        """Run a task: its seconds, and what it gave."""
        self.pipe.send(task)
        times, found = self.receive()
        return times, found

    def timed(self, task: str) -> Times:
        """Run a task for its time alone."""
        return self.ask(task)[0]

    def peak_gb(self) -> float:
        """The most that the process held so far, in GB; pages of files it reads in place included."""
        peak: float = self.ask(PEAK)[1]
        return peak

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # it has ended already
            self.pipe.send(None)
        self.process.join()

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def peak_now() -> float:
    """The peak of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e9


def serve(pipe: Connection, make: Callable[..., Mapping[str, Task]], arguments: tuple[Any, ...]) -> None:
    """What the process does: load, then run what it is asked to until it is told to end."""
    try:
        tasks = {**make(*arguments), PEAK: peak_now}
        pipe.send(None)
        while (task := pipe.recv()) is not None:
            pipe.send(timed(tasks[task]))
    except EOFError:
        return
    except EdgeError as error:
        pipe.send(error)  # a bug is told by the process itself


def timed(task: Task) -> tuple[Times, Any]:
    """Run a task: its seconds, and what it gave."""
    given: list[Any] = []
    return clock(lambda: given.append(task())), given[0]
