"""Conformance vectors, as `docs/conformance.md` describes them: read, and driven through our loop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.render import Draft, render
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.track import Track
from sam3_edge.loop.tracker import Tracker
from sam3_edge.phrases import Phrases
from sam3_edge.runtimes.on_script import Answers, Frame, ScriptedSession
from sam3_edge.session import Value
from sam3_edge.spec import ModelConfig

FOLDER = Path(__file__).parents[1] / "docs" / "conformance"
FORMAT = 1
# Mask logits are whole multiples of these. What the tracker finds is finer: the higher logit has a pixel.
STEPS = {"detected_masks": np.float32(1 / 4), "tracked_masks": np.float32(1 / 32)}


@dataclass(frozen=True)
class Vector:
    """One clip: its JSON, and the arrays beside it."""

    info: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def config(self) -> ModelConfig:
        return ModelConfig.from_json(self.info["config"])

    def logits(self, name: str, rows: slice | list[int]) -> NDArray[np.float32]:
        """Some rows of an array of masks."""
        some: NDArray[np.float32] = self.arrays[name][rows] * np.float32(self.info["steps"][name])
        return some

    def frames(self, start: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Pictures of the clip's size: black, because the answers do not depend on them."""
        black = np.zeros((*self.info["size"], 3), np.uint8)
        return (black for _ in self.info["frames"][start:])


def names() -> list[str]:
    """All clips."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> Vector:
    """One clip by name."""
    info = json.loads((FOLDER / f"{name}.json").read_text())
    assert info["format"] == FORMAT
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return Vector(info, dict(file))


class Driven:
    """The loop on the answers of a vector, from frame `start` on."""

    def __init__(self, vector: Vector, *, start: int = 0, settings: Settings | None = None) -> None:
        self.vector, config = vector, vector.config
        self.session = ScriptedSession(config, (self.answers(f) for f in vector.info["frames"][start:]))
        tokens = np.zeros((config.text_length, config.dim), np.float32)
        pack = {vector.info["phrase"]: (tokens, np.ones(config.text_length, np.bool_))}
        phrases = Phrases(self.session, length=config.text_length, pack=pack)
        settings = settings or Settings.from_json(vector.info["settings"])
        self.tracker = Tracker(self.session, config, phrases, settings=settings)
        if not start:
            self.tracker.add(vector.info["phrase"])
        self.done = 0  # objects of this frame that the tracker's graph was asked of

    def answers(self, frame: Mapping[str, Any]) -> Frame:
        """What the graphs answer on one frame."""
        self.done = 0
        arrays, time = self.vector.arrays, frame["frame"]
        detector = {
            "logits": arrays["detector_logits"][time][None],
            "presence": arrays["detector_presence"][time].reshape(1, 1),
        }
        first, count = frame["detections"]
        shape = (1, self.vector.config.mask_queries, *arrays["detected_masks"].shape[1:])
        masks = np.zeros(shape, np.float32)
        masks[0, :count] = self.vector.logits("detected_masks", slice(first, first + count))
        return {
            "detector": detector,
            "masks": {"masks": masks},
            "tracker_step": lambda feeds: self.follow(frame, feeds),
        }

    def follow(self, frame: Mapping[str, Any], feeds: Mapping[str, Value]) -> Answers:
        """The objects of one call, which takes them in the order of their rows in the bank."""
        by_row = [track.id for track in sorted(self.tracker.tracks, key=lambda track: track.row)]
        mine = by_row[self.done : self.done + len(feeds["memory"])]
        self.done += len(mine)
        rows = [frame["tracked"][0] + frame["tracked"][1].index(id) for id in mine]
        arrays = self.vector.arrays
        return {
            "mask": self.vector.logits("tracked_masks", rows),
            "object_score": arrays["object_score"][rows],
            "iou": arrays["iou"][rows],
        }

    def play(self) -> Iterator[dict[str, Any]]:
        """What is to be expected of every frame, as the vectors have it."""
        delayed, told, seen = Delayed(self.tracker), dict[int, list[int]](), []
        for time, picture in enumerate(self.vector.frames()):
            before = attended(self.tracker.tracks, time)
            ripe = delayed.step(picture)
            told |= {ripe.index: ripe.ids.tolist()} if ripe else {}
            seen.append(expected(before, self.tracker.last()[1], self.tracker.tracks))
        told |= {result.index: result.ids.tolist() for result in delayed.finish()}
        for time, frame in enumerate(seen):
            yield {**frame, "delayed": told[time]}


def attended(tracks: tuple[Track, ...], frame: int) -> dict[str, Any]:
    """By id: the frames that an object's next frame sees, with their times, rising."""
    found = {}
    for track in tracks:
        choice, history = track.history.choose(frame, span=1), track.history
        known = sorted((*history.conditioning, *history.recent), key=lambda memory: memory.frame)
        found[str(track.id)] = {
            "memories": [
                [m.frame, int(choice.memory_time[m.slot])]
                for m in known
                if m.slot is not None and choice.memory_bias[m.slot] == 0
            ],
            "pointers": [
                [m.frame, int(choice.pointer_time[m.pointer])]
                for m in known
                if m.pointer is not None and choice.pointer_bias[m.pointer] == 0
            ],
        }
    return found


def expected(before: dict[str, Any], draft: Draft, tracks: tuple[Track, ...]) -> dict[str, Any]:
    """All that a vector says of a frame but what is told late."""
    return {
        "attended": before,
        "events": sorted([event.kind, event.id, list(event.about)] for event in draft.events),
        "tracks": [[t.id, t.keep_alive, t.last_hidden, t.unmatched] for t in tracks],
        "live": shown(render(draft)),
    }


def shown(result: FrameResult) -> list[list[Any]]:
    """Of each object that is shown: id, score, box, and the pixels of its mask."""
    areas = result.masks.sum((1, 2)).tolist()
    scores = [round(float(score), 4) for score in result.scores]
    boxes = result.boxes.astype(int).tolist()
    return [list(row) for row in zip(result.ids.tolist(), scores, boxes, areas, strict=True)]
