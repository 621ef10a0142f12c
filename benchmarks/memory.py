"""What a process holds in memory while a tracker steps, read now and then."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import UsageError
from sam3_edge.loop.tracker import Tracker

READINGS = 40
STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Reading:
    """After so many steps: resident memory, Python's live blocks, live arrays, objects that are tracked.

    `traced_kb` is what Python and numpy allocated since tracing began, None if nothing is traced.
    """

    step: int
    resident_mb: float
    blocks: int
    arrays: int
    objects: int
    traced_kb: float | None = None


def resident() -> float:
    """Resident memory of this process in MB, now. Raises `UsageError` where the system does not tell."""
    if not STATM.exists():
        raise UsageError(f"no {STATM} here: measure memory on Linux")
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def live_arrays() -> int:
    """How many numpy arrays are alive. The collector does not list them, but it lists all that holds them."""
    found: dict[int, NDArray[Any]] = {}
    for holder in gc.get_objects():
        # By type, not by class: some proxies warn when they are asked for their class.
        held = [item for item in gc.get_referents(holder) if issubclass(type(item), np.ndarray)]
        while held:
            array = held.pop()
            if id(array) not in found:
                found[id(array)] = array
                held += [array.base] if isinstance(array.base, np.ndarray) else []
    return len(found)


def read(step: int, objects: int) -> Reading:
    """A reading after a collection of garbage."""
    gc.collect()
    traced = round(tracemalloc.get_traced_memory()[0] / 1e3, 1) if tracemalloc.is_tracing() else None
    return Reading(step, round(resident(), 2), sys.getallocatedblocks(), live_arrays(), objects, traced)


def moments(steps: int, settled: int) -> set[int]:
    """When to read: evenly, and after settling."""
    return {settled, *np.linspace(0, steps, READINGS + 1).astype(int)[1:].tolist()}


def watched(
    tracker: Tracker, frames: Iterable[NDArray[np.uint8]], steps: int, settled: int
) -> Iterator[Reading]:
    """Step through the frames, and read now and then."""
    when = moments(steps, settled)
    for step, frame in zip(range(1, steps + 1), frames, strict=False):
        tracker.step(frame)
        if step in when:
            yield read(step, len(tracker.tracks))


def growth(readings: Sequence[Reading], settled: int) -> dict[str, Any]:
    """The readings, and the last one against the one after settling."""
    first, last = (
        asdict(next(r for r in readings if r.step == step)) for step in (settled, readings[-1].step)
    )
    names = [name for name in ("resident_mb", "blocks", "arrays", "traced_kb") if first[name] is not None]
    return {
        "settled": settled,
        "growth": {name: round(last[name] - first[name], 2) for name in names},
        "readings": [asdict(reading) for reading in readings],
    }


def problems(part: dict[str, Any], limits: dict[str, float]) -> list[str]:
    """What grew by more than its limit, in words."""
    return [
        f"{name} grew by {part['growth'][name]}, want at most {most:g}"
        for name, most in limits.items()
        if part["growth"].get(name, 0) > most
    ]
