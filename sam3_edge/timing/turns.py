"""Bundles in turns, on the same frames, each in a process of its own: what one holds is not the other's.

A machine is never quiet and gets slower as it gets warm. In turns, both meet the same of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from sam3_edge.alone import answering
from sam3_edge.errors import UsageError
from sam3_edge.machine.memory import peak_mb, resident_mb
from sam3_edge.segmenter import load
from sam3_edge.timing.following import begin, check_born
from sam3_edge.timing.noting import warm_up
from sam3_edge.timing.running import QUICK_WARM, Plan

LEAST_ROUNDS = 6  # of fewer pairs an interval says too much: of five, one in 16 is on one side by chance

Step = Callable[[], Any]  # one frame
Begun = Callable[..., AbstractContextManager[Step]]


@dataclass(frozen=True)
class Turn:
    """What a bundle did in one turn: seconds of each frame, processor seconds of all, MB after each."""

    seconds: tuple[float, ...]
    processor: float
    resident: tuple[float, ...]
    peak_mb: float


Worker = Callable[[int], Turn]  # so many frames


@dataclass(frozen=True)
class Rounds:
    """So many rounds; in each, every bundle follows so many frames.

    The generated clip comes back to its start after 46 frames, so that turns of 46 are of the same frames.
    """

    rounds: int = 16
    frames: int = 46

    def __post_init__(self) -> None:
        if self.rounds < LEAST_ROUNDS:
            raise UsageError(f"{self.rounds} rounds give no interval: ask for {LEAST_ROUNDS} or more")


QUICK = Rounds(8, 8)


def turn(step: Step, frames: int) -> Turn:
    """So many frames, one after the other."""
    seconds, resident, used = [], [], time.process_time()
    for _ in range(frames):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
        resident.append(resident_mb() or math.nan)
    return Turn(tuple(seconds), time.process_time() - used, tuple(resident), peak_mb())


@contextmanager
def following(plan: Plan, count: int | None) -> Iterator[Step]:
    """A bundle that has warmed up, and so many objects that it follows."""
    shot = plan.shot()
    with load(plan.bundle, threads=plan.threads, device=plan.device) as model:
        tracker = begin(model, plan.asked(model), count)
        most = QUICK_WARM if plan.quick else None
        warm_up(tracker, shot.endless(), clock=time.perf_counter, exactly=plan.warmup, most_seconds=most)
        check_born(tracker, count)
        frames = shot.endless()  # all begin with the first frame, however long they were warming up
        yield lambda: tracker.step(next(frames))


@contextmanager
def turning(begun: Begun, *arguments: object) -> Iterator[Worker]:
    """What takes turns of as many frames as it is told to."""
    with begun(*arguments) as step:
        yield partial(turn, step)


def working(name: str, begun: Begun, *arguments: object) -> AbstractContextManager[Worker]:
    """The same in a process of its own. Raises what `answering` raises."""
    return answering(name, turning, begun, *arguments)


def take_turns(
    workers: Sequence[Worker], rounds: Rounds, advance: Callable[[int], object] = lambda count: None
) -> list[list[Turn]]:
    """The turns of every worker, round by round. Each round begins with another one."""
    turns: list[list[Turn]] = [[] for _ in workers]
    for number in range(rounds.rounds):
        first = number % len(workers)
        for place in chain(range(first, len(workers)), range(first)):
            turns[place].append(workers[place](rounds.frames))
        advance(1)
    return turns


def in_turns(
    plans: Sequence[Plan],
    count: int | None,
    rounds: Rounds,
    *,
    advance: Callable[[int], object] = lambda count: None,
) -> list[list[Turn]]:
    """The turns of every plan's bundle.

    Raises what `load`, `begin` and `check_born` raise, and `ResourceError` if a process is killed.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(working(str(plan.bundle), following, plan, count)) for plan in plans]
        return take_turns(workers, rounds, advance)
