"""Bundles in turns, on the same frames, each in a process of its own: what one holds is not the other's.

A machine is never quiet and gets slower as it gets warm. In turns, both meet the same of it.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection
from typing import Any

from sam3_edge.errors import EdgeError, ResourceError, UsageError
from sam3_edge.machine.memory import peak_mb, resident_mb
from sam3_edge.segmenter import load
from sam3_edge.timing.following import begin, check_born
from sam3_edge.timing.noting import warm_up
from sam3_edge.timing.running import QUICK_WARM, Plan

LEAST_ROUNDS = 6  # of fewer pairs an interval says too much: of five, one in 16 is on one side by chance

Step = Callable[[], Any]  # one frame


@dataclass(frozen=True)
class Turn:
    """What a bundle did in one turn: seconds of each frame, processor seconds of all, MB after each."""

    seconds: tuple[float, ...]
    processor: float
    resident: tuple[float, ...]
    peak_mb: float


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


def obey(pipe: Connection, begun: Callable[..., AbstractContextManager[Step]], *arguments: object) -> None:
    """A process's whole life: get ready, say so, and take turns of as many frames as it is told to."""
    try:
        with begun(*arguments) as step:
            pipe.send(None)
            while asked := pipe.recv():
                pipe.send(turn(step, asked))
    except EdgeError as error:
        pipe.send(error)


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


@dataclass(frozen=True)
class Worker:
    """Such a process, from outside."""

    name: str
    pipe: Connection

    def hear(self) -> Turn | None:
        """What it says next. Raises what it raised, and `ResourceError` if it is no more."""
        try:
            said = self.pipe.recv()
        except EOFError:
            raise ResourceError(f"{self.name}: its process ended: see above, or free some memory") from None
        if isinstance(said, EdgeError):
            raise said
        assert said is None or isinstance(said, Turn)
        return said

    def turn(self, frames: int) -> Turn:
        """Follow so many frames."""
        self.pipe.send(frames)
        done = self.hear()
        assert done is not None
        return done


@contextmanager
def working(
    name: str, begun: Callable[..., AbstractContextManager[Step]], *arguments: object
) -> Iterator[Worker]:
    """A process of its own that is ready for its turn; it ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=obey, args=(theirs, begun, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        worker = Worker(name, ours)
        worker.hear()
        yield worker
    finally:
        process.terminate()
        process.join()
        ours.close()


def take_turns(
    workers: Sequence[Worker], rounds: Rounds, advance: Callable[[int], object] = lambda count: None
) -> list[list[Turn]]:
    """The turns of every worker, round by round. Each round begins with another one."""
    turns: list[list[Turn]] = [[] for _ in workers]
    for number in range(rounds.rounds):
        first = number % len(workers)
        for place in chain(range(first, len(workers)), range(first)):
            turns[place].append(workers[place].turn(rounds.frames))
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
