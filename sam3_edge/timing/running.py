"""`sam3-edge benchmark`: one bundle, one mode, one report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sam3_edge.errors import UsageError
from sam3_edge.machine.memory import peak_mb
from sam3_edge.machine.watch import Machine, Watch, energy
from sam3_edge.segmenter import Segmenter
from sam3_edge.timing import components, footage, growth
from sam3_edge.timing.following import begin, check_born, describe
from sam3_edge.timing.footage import Footage
from sam3_edge.timing.live import Live
from sam3_edge.timing.noting import Budget, Clock, Notes, note_run, warm_up
from sam3_edge.timing.percentiles import Summary
from sam3_edge.timing.steady import bins, pace

MODES = ("frame", "component", "cold", "sustained")
# What a mode takes when nothing is said: MLPerf Mobile's 1024 frames and 60 s; 128 and 10 s for a quick look.
FULL = {"frame": Budget(1024, 60), "component": Budget(1024, 60), "sustained": Budget(3, 600)}
QUICK = {"frame": Budget(128, 10, 120), "component": Budget(128, 10, 120), "sustained": Budget(3, 60)}
QUICK_WARM = 30.0  # seconds of warming up at most
OBJECTS: dict[str, tuple[int | None, ...]] = {
    "frame": (1, 5, 10),
    "component": (1, 5, 10),
    "cold": (1,),
    "sustained": (5,),
}
Advance = Callable[[int], object]


@dataclass(frozen=True)
class Plan:
    """What to measure. None: the mode's own; an `objects` of None: as many as the model finds."""

    bundle: Path
    mode: str = "frame"
    quick: bool = False
    objects: tuple[int | None, ...] | None = None
    phrases: tuple[str, ...] = ()
    source: Path | None = None
    size: tuple[int, int] | None = None  # of the generated clip, height and width
    frames: int | None = None
    seconds: float | None = None
    warmup: int | None = None
    live: float | None = None  # frames a second of a camera that does not wait
    processes: int | None = None  # of mode cold
    threads: int | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.live is not None and self.mode != "frame":
            raise UsageError(f"--live is of mode frame, not of {self.mode}")
        if self.size is not None and self.source is not None:
            raise UsageError("--size is of the generated clip: leave it or --source out")
        if self.phrases and self.objects is None:
            object.__setattr__(self, "objects", (None,))

    @property
    def counts(self) -> tuple[int | None, ...]:
        """How many objects to follow, run by run."""
        return self.objects or OBJECTS[self.mode]

    @property
    def budget(self) -> Budget:
        """How long a run is. What was asked for in so many words is not cut short."""
        made = (QUICK if self.quick else FULL)[self.mode]
        if self.frames is not None:
            made = replace(made, frames=self.frames, most=None)
        if self.seconds is not None:
            made = replace(made, seconds=self.seconds, most=None)
        return made

    @property
    def standard(self) -> bool:
        """Whether a run is as long as the rules of a full one want."""
        full = FULL.get(self.mode)
        if full is None:
            return not self.quick
        budget = self.budget
        return budget.most is None and budget.frames >= full.frames and budget.seconds >= full.seconds

    def shot(self) -> Footage:
        """The frames. Raises what `footage.from_video` raises."""
        if self.source is not None:
            return footage.from_video(self.source)
        return footage.generated(self.size or footage.SIZE)

    def asked(self, model: Segmenter) -> tuple[str, ...]:
        """The phrases: one that the bundle knows if none was given."""
        known = next(iter(model.phrases.pack), None) if model.phrases.tokenizer is None else None
        return self.phrases or (known or footage.PHRASE,)


def measure(
    model: Segmenter,
    plan: Plan,
    shot: Footage,
    count: int | None,
    *,
    machine: Machine | None = None,
    idle: Watch | None = None,
    clock: Clock = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
    advance: Advance = lambda count: None,
) -> dict[str, Any]:
    """One run with so many objects, warmed up: what the report says of it, raw samples included.

    `machine` is read meanwhile; `idle` is what it was when nothing ran.
    """
    tracker = begin(model, plan.asked(model), count, wait=plan.mode == "component")
    frames = shot.endless()
    most = QUICK_WARM if plan.quick else None
    warmth = warm_up(tracker, frames, clock=clock, exactly=plan.warmup, most_seconds=most)
    check_born(tracker, count)
    live = None if plan.live is None else Live(plan.live, clock, sleep)
    with Watch(machine or Machine()) as during:
        if live is None:
            notes = note_run(tracker, frames, plan.budget, clock=clock, advance=advance)
        else:
            notes = live.run(tracker, frames, plan.budget, advance)
    check_born(tracker, count)
    run = describe(tracker, count) | {"warmup": {"frames": warmth.frames, "steady": warmth.steady}}
    run |= told(notes)
    if live is not None:
        run["live"] = live.to_json(notes)
    if plan.mode == "sustained":
        run["sustained"] = pace(notes.begun, notes.seconds) | {"bins": bins(notes.begun, notes.seconds)}
    run["energy"] = energy(during, idle, run["frames"], run["seconds"])
    run["during"] = during.to_json()
    return run | {"samples_ms": [round(1e3 * s, 3) for s in notes.seconds]}


def told(notes: Notes) -> dict[str, Any]:
    """Latency, components and memory of a run."""
    seconds, grown = notes.seconds, growth.slope(notes.resident)
    span = notes.span
    return {
        "frames": len(seconds),
        "seconds": round(span, 3),
        "fps": round(len(seconds) / span, 3) if span else None,
        "shown_objects": round(sum(notes.shown) / len(notes.shown), 2),
        "processor_ms_per_frame": round(1e3 * notes.processor / len(seconds), 3),
        "latency_ms": Summary.of([1e3 * s for s in seconds]).to_json(),
        "components": components.table(notes.parts),
        "memory": {
            "peak_mb": round(peak_mb(), 1),
            "growth_mb_per_1000_frames": None if grown is None else round(grown, 3),
            "leaks": growth.leaks(notes.resident) if grown is not None else None,
        },
    }
