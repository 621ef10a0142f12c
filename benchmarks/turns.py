"""Processes that take turns: each loads once, has its threads and memory to itself, and is timed inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sam3_edge.alone import Ask, answering
from sam3_edge.machine.memory import peak_mb

from .paired import Times, clock

Task = Callable[[], Any]
PEAK = "peak"


@dataclass(frozen=True)
class Side:
    """A process of its own with tasks, each by its name."""

    ask: Callable[[str], tuple[Times, Any]]

    def timed(self, task: str) -> Times:
        """Run a task for its time alone."""
        return self.ask(task)[0]

    def peak_gb(self) -> float:
        """The most that the process held so far, in GB; pages of files it reads in place included."""
        peak: float = self.ask(PEAK)[1] / 1e3
        return peak


@contextmanager
def side(name: str, make: Callable[..., Mapping[str, Task]], *arguments: object) -> Iterator[Side]:
    """`make(*arguments)` runs in the process and gives the tasks. Raises what `answering` raises."""
    with answering(name, tasks, make, *arguments) as ask:
        yield Side(ask)


@contextmanager
def tasks(make: Callable[..., Mapping[str, Task]], *arguments: object) -> Iterator[Ask]:
    """What runs a task by its name: its seconds, and what it gave."""
    known = {**make(*arguments), PEAK: peak_mb}
    yield lambda name: timed(known[name])


def timed(task: Task) -> tuple[Times, Any]:
    """Run a task: its seconds, and what it gave."""
    given: list[Any] = []
    return clock(lambda: given.append(task())), given[0]
