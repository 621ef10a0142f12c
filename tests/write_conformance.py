"""Writes the conformance vectors out of the official recording: `python -m write_conformance`, from tests/.

A clip is played through our modules with its script, mask logits rounded to whole steps on their way to the
loop. What the loop then decides must be what Meta's session decided, or nothing is written.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import compare_decisions
from conformance import FOLDER, FORMAT, STEPS, Driven, Vector, expected
from numpy.typing import NDArray
from oracles.official_video_script import draw
from oracles.video_recording import VideoClip, load_video
from replay import PHRASE, Seams, official_model, played

from sam3_edge.export.model import Sam3
from sam3_edge.loop.settings import Settings
from sam3_edge.session import Value
from sam3_edge.writing import write_file

CLIPS = ("scripted00", "scripted01", "scripted18")  # together every kind of event, and four conditions


def whole(name: str, logits: NDArray[np.float32]) -> NDArray[Any]:
    """Logits within +-31 in whole steps of an array, never 0: every pixel stays on its side."""
    steps = np.rint(np.clip(logits, -31, 31) / STEPS[name])
    kept = np.where(steps == 0, np.where(logits > 0, 1, -1), steps)
    return kept.astype(np.int8 if np.abs(kept).max(initial=0) < 128 else np.int16)


class Recorder(Seams):
    """A clip's graphs, and what the loop reads of their answers."""

    def __init__(self, model: Sam3) -> None:
        super().__init__(model)
        self.forget()

    def forget(self) -> None:
        """Before another clip."""
        self.detector: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.detected: list[list[NDArray[Any]]] = []
        self.tracked: list[dict[int, tuple[NDArray[Any], float, float]]] = []

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        if graph == "backbone":
            self.detected.append([])
            self.tracked.append({})
        before, out = self.done, super().run(graph, feeds)
        if graph == "detector":
            self.detector.append((out["logits"][0], out["presence"].ravel()))
        if graph == "masks":
            asked = np.abs(feeds["queries"][0]).sum(1) > 0  # the rest is padding
            steps = whole("detected_masks", out["masks"][0])
            self.detected[-1] += list(steps[asked])
            out["masks"] = (steps * STEPS["detected_masks"])[None]
        if graph == "tracker_step":
            assert self.tracker is not None
            ids = [track.id for track in sorted(self.tracker.tracks, key=lambda track: track.row)]
            steps = whole("tracked_masks", out["mask"])
            for row, id in enumerate(ids[before : self.done]):
                numbers = float(out["object_score"][row]), float(out["iou"][row])
                self.tracked[-1][id] = (steps[row], *numbers)
            out["mask"] = steps * STEPS["tracked_masks"]
        return out


def record(session: Recorder, clip: VideoClip) -> Vector:
    """Play a clip. Raises `AssertionError` where the loop decides otherwise than the official session did."""
    session.forget()
    frames: list[dict[str, Any]] = []
    for step in played(session, draw(clip.name), clip):
        compare_decisions(step, 1e-5)
        assert session.tracker is not None
        before = {str(id): looked_at(seen) for id, seen in step.before.items()}
        frames.append(expected(before, step.ours, session.tracker.tracks))
    info = {
        "format": FORMAT,
        "clip": clip.name,
        "phrase": PHRASE,
        "size": list(clip.size),
        "steps": {name: float(step) for name, step in STEPS.items()},
        "config": session.model.config.to_json(),
        "settings": Settings().to_json(),
        "frames": numbered(session),
    }
    return completed(Vector(info, arrays_of(session)), frames)


def looked_at(seen: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The frames that an object attends to, from the form of the recording, rising."""
    conditions = seen["conditioning"]
    kinds = {"memories": conditions + seen["recent"], "pointers": conditions + seen["pointers"]}
    return {kind: sorted({frame for frame in frames if frame >= 0}) for kind, frames in kinds.items()}


def numbered(session: Recorder) -> list[dict[str, Any]]:
    """Of each frame: which rows of the arrays are its."""
    frames, first, second = [], 0, 0
    for time, (found, tracked) in enumerate(zip(session.detected, session.tracked, strict=True)):
        ids = sorted(tracked)
        frames.append({"frame": time, "detections": [first, len(found)], "tracked": [second, ids]})
        first, second = first + len(found), second + len(ids)
    return frames


def arrays_of(session: Recorder) -> dict[str, NDArray[Any]]:
    """The rows of all frames, one after the other."""
    tracked = [frame[id] for frame in session.tracked for id in sorted(frame)]
    return {
        "detector_logits": np.stack([logits for logits, _ in session.detector]),
        "detector_presence": np.concatenate([presence for _, presence in session.detector]),
        "detected_masks": np.stack([mask for frame in session.detected for mask in frame]),
        "tracked_masks": np.stack([mask for mask, _, _ in tracked]),
        "object_score": np.array([score for _, score, _ in tracked], np.float32),
        "iou": np.array([iou for _, _, iou in tracked], np.float32),
    }


def completed(vector: Vector, decided: list[dict[str, Any]]) -> Vector:
    """With what is to be expected: of the answers alone, and the same as was decided with the networks."""
    for frame, want, got in zip(vector.info["frames"], decided, Driven(vector).play(), strict=True):
        frames = {
            id: {kind: [frame for frame, _ in pairs] for kind, pairs in seen.items()}
            for id, seen in got["attended"].items()
        }
        found = {**got, "attended": frames}
        del found["delayed"]
        assert found == want, f"frame {frame['frame']}: {found} from the files, {want} with the networks"
        frame["expected"] = got
    return vector


def write(vector: Vector) -> None:
    """One JSON with a frame a line, one npz."""
    head = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in vector.info.items() if k != "frames"]
    lines = ",\n  ".join(json.dumps(frame) for frame in vector.info["frames"])
    text = "{\n " + ",\n ".join((*head, f'"frames": [\n  {lines}\n ]')) + "\n}\n"
    data, arrays = io.BytesIO(), dict[str, Any](vector.arrays)
    np.savez_compressed(data, **arrays)
    place = FOLDER / vector.info["clip"]
    write_file(place.with_suffix(".json"), text.encode(), overwrite=True)
    write_file(place.with_suffix(".npz"), data.getvalue(), overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    torch.set_num_threads(1)
    recording = load_video()
    with tempfile.TemporaryDirectory() as folder:
        session = Recorder(official_model(recording, Path(folder), kind="scripted"))
        for clip in recording.clips:
            if clip.name in CLIPS:
                write(record(session, clip))
                print(clip.name, len(clip.frames), "frames", flush=True)


if __name__ == "__main__":
    main()
