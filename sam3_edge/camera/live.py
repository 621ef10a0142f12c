"""Everything together: sources, the engine, views and outputs, until it is told to stop."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sam3_edge.camera import sensors
from sam3_edge.camera.address import Address
from sam3_edge.camera.capture import Source
from sam3_edge.camera.engine import Engine
from sam3_edge.camera.feed import Feed, Seen
from sam3_edge.camera.notify import Watchdog, notify
from sam3_edge.camera.push import Pusher
from sam3_edge.camera.recorder import Recorder, Recording
from sam3_edge.camera.shedding import Shedder
from sam3_edge.concept import Concept
from sam3_edge.errors import EdgeError, ResourceError
from sam3_edge.loop.events import NAMELESS
from sam3_edge.loop.settings import Settings
from sam3_edge.overlay import colour
from sam3_edge.segmenter import Segmenter
from sam3_edge.tokenizer import clean
from sam3_edge.writing import write_file

STUCK = 30.0  # seconds that the model may take for a frame: the first one builds and loads
TICK, HEALTH, SHED = 0.1, 1.0, 5.0  # seconds
NEARLY = 0.9  # of the memory that there may be


@dataclass(frozen=True)
class LivePlan:
    """How sources are run live. Seconds, bytes; None: without a limit, or not at all.

    reset: new identities after a reconnection; most_age: of a frame, before something is shed.
    """

    phrases: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)
    reset: bool = False
    most_age: float | None = None
    recording: Recording | None = None
    push: Address | None = None
    duration: float | None = None
    most_memory: int | None = None
    health: Path | None = None


class Live:
    """A running program around a model. `start`, then `tick` until it says that it is over, then `stop`."""

    def __init__(
        self,
        model: Segmenter,
        sources: Sequence[Source],
        plan: LivePlan,
        *,
        note: Callable[[str], object] = lambda text: None,
        stopping: threading.Event | None = None,
    ) -> None:
        """`stopping`: ends the run when it is set. Raises `UsageError` for a phrase that cannot be asked."""
        self.model, self.plan, self.note = model, plan, note
        ready = threading.Condition()
        self.feeds: list[Feed] = []
        for number, source in enumerate(sources):
            tracker = model.tracker(settings=plan.settings)
            feed = Feed(number, source, tracker, ready=ready, note=note, reset=plan.reset)
            for phrase in plan.phrases:
                feed.add(Concept(phrase))
            self.feeds.append(feed)
        self.shedders = [Shedder(feed, plan.settings, plan.most_age) for feed in self.feeds]
        self.recorder = None
        if plan.recording is not None:
            header = {"bundle": model.bundle, "policy": "live", "settings": plan.settings.to_json()}
            self.recorder = Recorder(plan.recording, self.feeds, header=header)
        self.pusher = None if plan.push is None else Pusher(plan.push)
        self.engine = Engine(self.feeds, model.phrases, watchers=[self.seen], note=note)
        self.began = time.monotonic()
        self.watchdog = Watchdog()
        self.told = self.shed = 0.0
        self.stopping = stopping or threading.Event()

    def start(self) -> None:
        """Begin everything."""
        self.began = time.monotonic()
        for part in (self.recorder, self.pusher, *(feed.capture for feed in self.feeds), self.engine):
            if part is not None:
                part.start()
        notify("READY=1")

    def seen(self, feed: Feed, seen: Seen) -> None:
        """Pass a frame to the outputs, on the engine's thread."""
        self.shedders[feed.number].see(seen)
        if self.recorder is not None:
            self.recorder.add(feed, seen)
        if self.pusher is not None:
            self.pusher.add(feed, seen)

    def tick(self) -> bool:
        """Look after everything; whether it goes on. To be called about ten times a second.

        Raises what ended the engine, `ResourceError` for too much memory, and a source's own error when no
        source is left.
        """
        now = time.monotonic()
        self.check_memory(now)
        if now - self.told >= HEALTH:
            self.told = now
            self.write_health()
        if not self.stuck:
            self.watchdog.alive()
        if self.engine.failure is not None:
            raise self.engine.failure
        over = self.plan.duration is not None and now - self.began >= self.plan.duration
        return self.engine.is_alive() and not over and not self.stopping.is_set()

    @property
    def stuck(self) -> bool:
        """Whether the model has been at one frame for too long."""
        return time.monotonic() - self.engine.alive > STUCK

    def check_memory(self, now: float) -> None:
        """Shed before there is too much; raises `ResourceError` when there is."""
        most, held = self.plan.most_memory, sensors.resident()
        if most is None or held is None:
            return
        if held > most:
            raise ResourceError(
                f"{held >> 20} MB of memory, --max-memory allows {most >> 20}: fewer --max-objects, or a "
                "bundle with a smaller --image-size"
            )
        if held > NEARLY * most and now - self.shed >= SHED:
            self.shed = now
            for shedder in self.shedders:
                shedder.feed.order(lambda _, shedder=shedder: shedder.step(1))  # type: ignore[misc]

    def stop(self) -> None:
        """End everything, and finish the files. Raises the first source's error if no frame ever came."""
        notify("STOPPING=1")
        for feed in self.feeds:
            feed.capture.stop()
        self.engine.stop()
        self.engine.join(STUCK)
        if self.recorder is not None:
            self.recorder.stop()
        if self.pusher is not None:
            self.pusher.stop()
        self.write_health()
        failures = [feed.capture.failure for feed in self.feeds]
        if self.engine.failure is None and failures and all(failures) and failures[0] is not None:
            raise failures[0]

    def write_health(self) -> None:
        """The health file, if there is one. A disk that takes none is told in the next that it takes."""
        if self.plan.health is None:
            return
        try:
            write_file(
                self.plan.health, (json.dumps(self.health(), indent=1) + "\n").encode(), overwrite=True
            )
        except EdgeError as error:
            self.note(f"health: {error}")

    def health(self) -> dict[str, Any]:
        """How everything is: `ok`, `degraded` with the reasons, or `stuck`."""
        feeds = [self.describe(feed) for feed in self.feeds]
        why = [f"{feed['source']}: no picture" for feed in feeds if feed["state"] in ("waiting", "opening")]
        if self.recorder is not None and self.recorder.why:
            why.append(f"recording stopped: {self.recorder.why}")
        if self.pusher is not None and self.pusher.why:
            why.append(f"push: {self.pusher.why}")
        why += [f"{feed['source']}: shedding" for feed in feeds if feed["shed"]]
        held = sensors.resident()
        return {
            "status": "stuck" if self.stuck else "degraded" if why else "ok",
            "why": why,
            "time": round(time.time(), 3),
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self.began, 3),
            "bundle": self.model.bundle,
            "feeds": feeds,
            "recording": {"state": "off"} if self.recorder is None else self.recorder.describe(),
            "push": None if self.pusher is None else self.pusher.describe(),
            "memory_mb": None if held is None else round(held / 2**20, 1),
            "temperature_c": sensors.temperature(),
            "power_w": sensors.power(),
        }

    def describe(self, feed: Feed) -> dict[str, Any]:
        """A feed, for health."""
        seen = feed.latest
        return {
            **feed.capture.describe(),
            "fps": round(feed.rate, 2),
            "seen": feed.frames,
            "errors": feed.errors,
            "age_ms": None if seen is None else round(1000 * seen.age, 1),
            "step_ms": None if seen is None else round(1000 * seen.step, 1),
            "objects": 0 if seen is None else len(seen.result),
            "concepts": [str(concept) for concept in feed.asked.values()],
            "paused": feed.paused,
            "shed": self.shedders[feed.number].rung,
        }

    def state(self) -> dict[str, Any]:
        """What a page shows: health, and of each feed its concepts and objects."""
        health = self.health()
        for feed, told in zip(self.feeds, health["feeds"], strict=True):
            told |= shown(feed)
        return health


def shown(feed: Feed) -> dict[str, Any]:
    """A feed's concepts with their colours, and the objects of its last frame."""
    result = None if feed.latest is None else feed.latest.result
    ids = [] if result is None else result.ids.tolist()
    names = [] if result is None else [name and clean(name) for name in result.concepts]
    concepts = [
        {
            "name": str(concept),
            "boxes": len(concept.boxes),
            "colour": css(feed.colours[name]) if name in feed.colours else None,
            "count": names.count(name),
        }
        for name, concept in list(feed.asked.items())
    ]
    objects = [
        {
            "id": id,
            "concept": names[i] or NAMELESS,
            "presence": round(float(result.presence[i]), 3),
            "colour": css(feed.colours.get(names[i] or "") or colour(id)),
        }
        for i, id in enumerate(ids)
        if result is not None
    ]
    return {"concepts": concepts, "objects": objects}


def css(rgb: tuple[int, int, int]) -> str:
    """A colour as pages write it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def run(live: Live, *, wait: Callable[[float], object]) -> None:
    """Start, look after it until it is over or was told to stop, and stop. `wait`: pass some seconds."""
    live.start()
    try:
        while live.tick():
            wait(TICK)
    finally:
        live.stop()
