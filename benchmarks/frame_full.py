"""One frame of a video, part by part: `python -m sam3_edge.benchmarks.frame_full BUNDLE...`.

Meant for full-size bundles of random weights (`parity_full --bundles` keeps them). Those find what they like,
so the detector's scores are replaced: as many objects are born and tracked as are asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

import sam3_edge
from sam3_edge import console
from sam3_edge.errors import EdgeError, UsageError
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.tracker import Tracker
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import Value
from sam3_edge.shapes.scenes import draw_scene
from sam3_edge.stopwatch import REST, Stopwatch, TimedSession
from sam3_edge.writing import write_file

from .alone import alone
from .machine import facts

OBJECTS, SIZE, PHRASE = (1, 5, 10), (1080, 1920), "red circle"
LEAST = 0.95  # of the frame is in parts that have a name
SURE, NONE = 4.0, -9.0  # logits


class Forced(TimedSession):
    """A session whose detector is sure of its first `objects` queries, and of nothing else."""

    objects = 0

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        out = super().run(graph, feeds)
        if graph == "detector":
            logits = np.full_like(self.session.fetch(out["logits"]), NONE)
            logits[0, : self.objects] = SURE
            out |= {"logits": logits, "presence": np.full((1, 1), SURE, np.float32)}
        return out


def measure(path: Path, objects: Sequence[int], size: tuple[int, int], threads: int) -> dict[str, Any]:
    """One bundle: the second frame after so many births, in milliseconds by part. All graphs ran before."""
    side = min(size)
    scene = draw_scene(np.random.default_rng(3), size=side).picture
    picture = np.zeros((*size, 3), np.uint8)
    picture[:side, :side] = scene
    with sam3_edge.load(path, threads=threads) as model:
        session = Forced(model.session)
        timed(session, model, picture, objects[0])
        frames = [timed(session, model, picture, count) for count in objects]
        config = model.config.to_json()
    return {"image_size": config["image_size"], "threads": threads, "size": list(size), "frames": frames}


def timed(session: Forced, model: Segmenter, picture: Any, count: int) -> dict[str, Any]:
    """Give birth to `count` objects on one frame, and time the next."""
    # Masks of random weights overlap as they like: nothing gives way, and nobody is taken back.
    settings = Settings(nms=0, occlusion=0, hot_start=0, max_objects=count)
    session.objects = count
    tracker, watch = Tracker(session, model.config, model.phrases, settings=settings), Stopwatch()
    tracker.add(PHRASE)
    tracker.step(picture)
    if len(tracker.tracks) != count:
        raise UsageError(f"of {count} objects {len(tracker.tracks)} were born: ask for fewer")
    start = time.perf_counter()
    with watch.frame():
        tracker.step(picture)
    total = time.perf_counter() - start
    parts = {name: round(1e3 * seconds, 2) for name, seconds in watch.seconds.items() if name != REST}
    named = sum(parts.values()) / (1e3 * total)
    return {"objects": count, "frame_ms": round(1e3 * total, 2), "named": round(named, 4), "parts_ms": parts}


def show(bundle: dict[str, Any]) -> None:
    """The table for people."""
    frames = bundle["frames"]
    names = dict.fromkeys(name for frame in frames for name in frame["parts_ms"])
    rows = [(name, *(f"{frame['parts_ms'].get(name, 0):.1f}" for frame in frames)) for name in names]
    rows.append(("frame", *(f"{frame['frame_ms']:.1f}" for frame in frames)))
    title = f"{bundle['image_size']} px, {bundle['threads']} threads, milliseconds"
    console.table(title, ("part", *(f"{frame['objects']} objects" for frame in frames)), rows, out=True)


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--objects", type=click.IntRange(1), multiple=True, default=OBJECTS, show_default=True)
@click.option(
    "--size", type=(int, int), default=SIZE, show_default=True, help="Height and width of the frame."
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON.")
def main(
    bundles: tuple[Path, ...],
    objects: tuple[int, ...],
    size: tuple[int, int],
    threads: int,
    output: Path | None,
) -> None:
    """Time one frame of each bundle with 1, 5 and 10 objects. Exits 1 if parts do not add up to the frame."""
    try:
        found = [alone(measure, bundle, objects, size, threads) for bundle in bundles]
        frames = [frame for bundle in found for frame in bundle["frames"]]
        verdict = "pass" if min(frame["named"] for frame in frames) >= LEAST else "fail"
        document = {
            "machine": facts("numpy", "onnxruntime"),
            "least_named": LEAST,
            "verdict": verdict,
            "bundles": found,
        }
        for bundle in found:
            show(bundle)
        if output is not None:
            write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    except EdgeError as error:
        console.note(str(error))
        raise SystemExit(error.exit_code) from error
    raise SystemExit(verdict != "pass")


if __name__ == "__main__":
    main()
