"""A scripted video for the loop: what the detector and the tracker answer, object by object.

The pointer of `tracker_init` or `tracker_refine` carries the number of the actor whose mask it was made
from. `tracker_step` reads it back from the bank, so every answer depends on what was remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scripted import CONFIG as IMAGE_CONFIG

from sam3_edge.loop.events import Event, FrameResult
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.tracker import Tracker
from sam3_edge.phrases import Phrases
from sam3_edge.runtimes.on_script import Answers, Frame, ScriptedSession
from sam3_edge.spec import MASKED
from sam3_edge.tokenizer import Tokenizer

CONFIG = replace(
    IMAGE_CONFIG,
    image_size=112,
    pretrain_size=56,
    memory_layers=1,
    memory_dim=8,
    memory_mlp=16,
    sam_heads=2,
    sam_mlp=16,
)
SIDE = CONFIG.mask_size  # 32
SIZE = (64, 96)
PIXELS = np.zeros((*SIZE, 3), np.uint8)
Floats = NDArray[np.float32]


def f32(values: Any) -> Floats:
    """Numbers as float32."""
    return np.array(values, np.float32)


def disc(x: float, y: float, radius: float = 4, *, peak: float = 8) -> Floats:
    """Mask logits of a disc, in pixels of a mask."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    logits: Floats = np.clip(4 * (radius - np.hypot(columns - x, rows - y)), -peak, peak).astype(np.float32)
    return logits


def block(x0: int, y0: int, x1: int, y1: int, *, value: float = 8) -> Floats:
    """Mask logits of a rectangle."""
    logits = np.full((SIDE, SIDE), -8, np.float32)
    logits[y0:y1, x0:x1] = value
    return logits


NOTHING = np.full((SIDE, SIDE), -1024, np.float32)
A, B, C = disc(6, 6), disc(24, 8), disc(16, 24)


@dataclass(frozen=True)
class Moment:
    """One frame: detections (score, mask) of each concept in turn, and where the tracker sees each actor.

    `tracked` maps the actor of a pointer to its mask; those that are not named stay where `actors` has them.
    `scores` are object logits, `ious` qualities, by actor; 5 and 0.9 where not named.
    """

    detections: tuple[tuple[tuple[float, Floats], ...], ...] = ((),)
    tracked: Mapping[int, Floats] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    ious: Mapping[int, float] = field(default_factory=dict)


def see(*detections: tuple[float, Floats], **more: Any) -> Moment:
    """A frame of one concept."""
    return Moment((detections,), **more)


class Scene:
    """A tracker on a scripted session. `actors`: the masks that pointers stand for, 0, 1, ..."""

    def __init__(
        self,
        moments: Iterable[Moment],
        actors: Iterable[Floats] = (A, B, C),
        *,
        concepts: Iterable[Any] = ("cat",),
        settings: Settings | None = None,
        refined: Floats | None = None,
        refined_score: float = 5.0,
    ) -> None:
        self.actors = list(actors)
        self.refined = (A if refined is None else refined, refined_score)
        self.session = ScriptedSession(CONFIG, (self.frame(moment) for moment in moments), keep=1)
        phrases = Phrases(self.session, length=CONFIG.text_length, tokenizer=Tokenizer({}))
        self.tracker = Tracker(self.session, CONFIG, phrases, settings=settings)
        for concept in concepts:
            self.tracker.add(concept)
        self.results: list[FrameResult] = []

    def frame(self, moment: Moment) -> Frame:
        """The answers of one frame."""
        answers: dict[str, Any] = {
            "detector": [detector(detections) for detections in moment.detections],
            "masks": lambda feeds: drawer(moment, feeds),
            "tracker_step": lambda feeds: self.follow(moment, feeds),
            "tracker_init": lambda feeds: {"pointer": self.pointers(feeds["mask"][:, 0])},
            "tracker_refine": lambda feeds: self.refine(),
            "memorize": memorized,
        }
        return answers

    def pointers(self, masks: Floats) -> Floats:
        """The number of the actor that each mask [4S, 4S] is most like, in the pointer's first place."""
        small = masks.reshape(len(masks), SIDE, 4, SIDE, 4).mean((2, 4)) > 0.5
        out = np.zeros((len(masks), CONFIG.dim), np.float32)
        for row, mask in enumerate(small):
            out[row, 0] = int(np.argmax([np.mean((actor > 0) == mask) for actor in self.actors]))
        return out

    def follow(self, moment: Moment, feeds: Mapping[str, Any]) -> Answers:
        """Each object where its newest visible pointer says."""
        visible = np.where(feeds["pointer_bias"] > MASKED, feeds["pointer_time"], np.inf)
        assert np.isfinite(visible.min(1)).all()  # an object without any pointer cannot be followed
        newest = visible.argmin(1)
        who = [int(feeds["pointers"][row, slot, 0]) for row, slot in enumerate(newest)]
        pointer = np.zeros((len(who), CONFIG.dim), np.float32)
        pointer[:, 0] = who
        return {
            "mask": np.stack([moment.tracked.get(i, self.actors[i]) for i in who]),
            "iou": np.array([moment.ious.get(i, 0.9) for i in who], np.float32),
            "object_score": np.array([moment.scores.get(i, 5.0) for i in who], np.float32),
            "pointer": pointer,
        }

    def refine(self) -> Answers:
        """The refined mask three times after an unstable one."""
        mask, score = self.refined
        masks = np.stack([np.full_like(mask, 0.01), mask, mask, mask])[None]
        pointers = np.zeros((1, 4, CONFIG.dim), np.float32)
        pointers[0, 1:, 0] = int(np.argmax([np.mean((actor > 0) == (mask > 0)) for actor in self.actors]))
        iou = np.array([[0.9, 0.1, 0.8, 0.2]], np.float32)
        return {
            "masks": masks,
            "iou": iou,
            "object_score": np.array([score], np.float32),
            "pointers": pointers,
        }

    def step(self, count: int = 1) -> FrameResult:
        """So many frames; the last one's result."""
        for _ in range(count):
            self.results.append(self.tracker.step(PIXELS))
        return self.results[-1]

    def events(self, kind: str) -> list[tuple[int, int, tuple[int, ...]]]:
        """All events of a kind so far: frame, id, about."""
        return [(r.index, e.id, e.about) for r in self.results for e in r.events if e.kind == kind]

    def fed(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """What a graph was fed on the last frame."""
        return [feeds for name, feeds in self.session.calls[-1] if name == graph]


def detector(detections: tuple[tuple[float, Floats], ...]) -> Answers:
    """Query i is detection i, and carries its number, counted from 1, in its second place."""
    logits = np.full((1, CONFIG.queries), -12, np.float32)
    for place, (score, _) in enumerate(detections):
        logits[0, place] = np.log(score / (1 - score))
    queries = np.zeros((1, CONFIG.queries, CONFIG.dim), np.float32)
    queries[0, : len(detections), 0] = [id(mask) % 2**20 for _, mask in detections]
    queries[0, : len(detections), 1] = np.arange(len(detections)) + 1
    return {"logits": logits, "presence": np.full((1, 1), 20, np.float32), "queries": queries}


def drawer(moment: Moment, feeds: Mapping[str, Any]) -> Answers:
    """The masks of the asked queries."""
    out = np.full((1, CONFIG.mask_queries, SIDE, SIDE), -8, np.float32)
    for place, query in enumerate(feeds["queries"][0]):
        for detections in moment.detections:
            number = int(query[1]) - 1
            if 0 <= number < len(detections) and id(detections[number][1]) % 2**20 == int(query[0]):
                out[0, place] = detections[number][1]
    return {"masks": out}


def memorized(feeds: Mapping[str, Any]) -> Answers:
    """Memories that tell what they are of: presence, hardness and area."""
    memory = np.zeros((len(feeds["mask"]), CONFIG.grid**2, CONFIG.memory_dim), np.float32)
    memory[:, :, 0], memory[:, :, 1] = feeds["present"][:, None], feeds["hard"][:, None]
    memory[:, :, 2] = (feeds["mask"][:, 0] > 0).sum((1, 2))[:, None]
    memory[:, :, 3] = 1 / 3  # no bfloat16
    return {"memory": memory}


def kinds(result: FrameResult) -> list[tuple[str, int]]:
    """The events of a frame, matches aside."""
    return [(event.kind, event.id) for event in result.events if event.kind != "match"]


def about(events: Iterable[Event], kind: str) -> list[tuple[int, ...]]:
    """What the events of a kind are about."""
    return [event.about for event in events if event.kind == kind]
