"""Processor time of the host code for one 1080p frame with ten objects: the graphs' answers are replayed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam3_edge import console
from sam3_edge.loop.tracker import Tracker
from sam3_edge.phrases import Phrases
from sam3_edge.session import HostValues, Value
from sam3_edge.spec import ModelConfig, graph_specs
from sam3_edge.stopwatch import Stopwatch, TimedSession

from .document import errors_told, finish, write_document
from .machine import facts

OBJECTS, SIZE, PHRASE = 10, (1080, 1920), "person"
FRAMES, WARMUP = 64, 16
LIMIT_MS = 25.0  # of all parts but the resize of the frame, which is told beside it
RESIZE = "prepare"


class Replay(HostValues):
    """Ten bodies that sway, as a full-size model would answer. All is made beforehand."""

    def __init__(self, config: ModelConfig, poses: int = 8) -> None:
        self.specs, self.frame, self.done = graph_specs(config), -1, 0
        self.answers: dict[str, dict[str, NDArray[Any]]] = {}
        for name, spec in self.specs.items():
            self.answers[name] = {t.name: np.zeros(t.sized(OBJECTS), t.dtype) for t in spec.outputs}
        logits = np.full((1, config.queries), -9, np.float32)
        logits[0, :OBJECTS] = 3
        self.answers["detector"] |= {"logits": logits, "presence": np.full((1, 1), 9, np.float32)}
        self.answers["tracker_step"] |= {
            "iou": np.full(OBJECTS, 0.9, np.float32),
            "object_score": np.full(OBJECTS, 6, np.float32),
        }
        random = np.random.default_rng(0)
        memory = self.answers["memorize"]["memory"]
        memory[:] = random.standard_normal(memory.shape, np.float32)
        self.poses = [bodies(config.mask_size, pose / poses) for pose in range(poses)]

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        if graph == "backbone":
            self.frame, self.done = self.frame + 1, 0
        answer: dict[str, Value] = dict(self.answers[graph])
        pose = self.poses[self.frame % len(self.poses)]
        if graph == "masks":
            answer["masks"][0, :OBJECTS] = pose
        objects = next((len(feeds[t.name]) for t in self.specs[graph].inputs if t.per_object), None)
        if objects is not None:
            answer = {name: value[:objects] for name, value in answer.items()}
        if graph == "tracker_step":
            answer["mask"] = pose[self.done : self.done + len(answer["iou"])]
            self.done += len(answer["iou"])
        return answer

    def close(self) -> None:
        self.answers.clear()


def bodies(side: int, phase: float) -> NDArray[np.float32]:
    """Mask logits [10, S, S]: ellipses that overlap a little, with a rough rim."""
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side
    random, made = np.random.default_rng(int(phase * 1000)), []
    for place in range(OBJECTS):
        x = 0.12 + 0.19 * (place % 5) + 0.01 * np.sin(2 * np.pi * phase + place)
        y = 0.3 + 0.4 * (place // 5)
        inside = 1 - ((columns - x) / 0.11) ** 2 - ((rows - y) / 0.19) ** 2
        made.append(np.clip(12 * inside, -10, 10) + 0.4 * random.standard_normal((side, side)))
    return np.array(made, np.float32)


def measure(frames: int, warmup: int) -> dict[str, Any]:
    """Milliseconds of processor time by part: the median over the frames."""
    config, watches = ModelConfig(), [Stopwatch(time.process_time) for _ in range(warmup + frames)]
    session = TimedSession(Replay(config))
    tokens = np.zeros((config.text_length, config.dim), np.float32)
    pack = {PHRASE: (tokens, np.ones(config.text_length, np.bool_))}
    tracker = Tracker(session, config, Phrases(session, length=config.text_length, pack=pack))
    tracker.add(PHRASE)
    pictures = np.random.default_rng(1).integers(0, 256, (2, *SIZE, 3), np.uint8)
    for index, watch in enumerate(watches):
        with watch.frame():
            seen = tracker.step(pictures[index % 2])
        assert len(seen) == OBJECTS
    graphs = graph_specs(config).keys()
    timed = [{k: 1e3 * v for k, v in watch.seconds.items() if k not in graphs} for watch in watches[warmup:]]
    parts = {name: [frame.get(name, 0.0) for frame in timed] for name in timed[0]}
    host = [sum(frame.values()) - frame[RESIZE] for frame in timed]
    return {
        "frames": frames,
        "objects": OBJECTS,
        "size": list(SIZE),
        "host_ms": summary(host),
        "resize_ms": summary(parts[RESIZE]),
        "parts_ms": {name: round(statistics.median(values), 2) for name, values in parts.items()},
    }


def summary(values: list[float]) -> dict[str, float]:
    """Median, and the range that holds the middle 80 %."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return {"median": round(float(middle), 2), "low": round(float(low), 2), "high": round(float(high), 2)}


@click.command()
@click.option("--frames", default=FRAMES, show_default=True, type=click.IntRange(2))
@click.option("--warmup", default=WARMUP, show_default=True, type=click.IntRange(1))
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON.")
def main(frames: int, warmup: int, output: Path | None) -> None:
    """Measure the host code. Exits 1 above the limit."""
    with errors_told():
        found = measure(frames, warmup)
        took = found["host_ms"]["median"]
        verdict = "pass" if took <= LIMIT_MS else "fail"
        document = {"machine": facts("numpy", "pillow"), "limit_ms": LIMIT_MS, "verdict": verdict, **found}
        rows = [(name, f"{value:.2f}") for name, value in found["parts_ms"].items()]
        title = f"{took} ms, and {found['resize_ms']['median']} ms to resize the frame"
        console.table(title, ("part", "ms"), rows, out=True)
        if output is not None:
            write_document(output, document)
    finish([] if verdict == "pass" else [f"the host's code takes {took} ms, want at most {LIMIT_MS:g} ms"])


if __name__ == "__main__":
    main()
