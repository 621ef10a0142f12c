"""What share of `run` on a video is not the model: `python -m sam3_edge.benchmarks.keeps_up`.

Frozen clips as video files, by phrase, with results, masks and overlay written. A run's time is that of the
graphs, that of decoding, and the rest: the loop's own code, drawing, encoding, writing. Other programs on the
machine stretch the wall clock, so the processor's is told as well.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from sam3_edge import Segmenter, console, load
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.judge.frozen_clips import HASH, FrozenClip, clips
from sam3_edge.session import Value
from sam3_edge.verbs.options import COUNT
from sam3_edge.video.asking import parse_ask
from sam3_edge.video.frames import Span, Video, VideoFrame
from sam3_edge.video.movie import Movie
from sam3_edge.video.reading import open_video
from sam3_edge.video.running import Plan, run_video
from sam3_edge.writing import write_file

from .machine import facts
from .paired import CLOCKS, Times, clock
from .roofline import Probe, summary

FPS = 24
SAVE = frozenset({"json", "masks", "video"})


class Clocked:
    """A session that adds up what its graphs take."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.runs = inner, list[Times]()

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        """Run a graph, and fetch nothing: a backend that answers later is waited for in `fetch`."""
        out: dict[str, Value] = {}
        self.runs.append(clock(lambda: out.update(self.inner.run(graph, feeds))))
        return out

    def fetch(self, value: Value) -> np.ndarray[Any, np.dtype[Any]]:
        """Fetch a value."""
        out: list[np.ndarray[Any, np.dtype[Any]]] = []
        self.runs.append(clock(lambda: out.append(self.inner.fetch(value))))
        return out[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def clocked(video: Video, times: list[Times]) -> Video:
    """A video that adds up what its frames take."""

    def read(span: Span) -> Iterator[VideoFrame | int]:
        items, item = video.read(span), list[VideoFrame | int]()
        while True:
            item.clear()
            times.append(clock(lambda: item.extend(islice(items, 1))))
            if not item:
                return
            yield item[0]

    return replace(video, read=read)


def film(one: FrozenClip, path: Path) -> Path:
    """A frozen clip as a video file."""
    movie = Movie(path, FPS)
    for picture in one.frames:
        movie.add(picture)
    movie.close()
    return path


def measure(model: Segmenter, one: FrozenClip, folder: Path, *, bundle: str) -> dict[str, Any]:
    """One run: its seconds by each clock, and the shares of them that are not the model's."""
    session, decoding = Clocked(model.session), list[Times]()
    model.session = model.phrases.session = session
    try:
        video = clocked(open_video(film(one, folder / f"{one.name}.mp4")), decoding)
        ask = parse_ask([one.phrases[0][0]], [], [])
        plan = Plan(folder / one.name, bundle, ask, save=SAVE)
        told: dict[str, Any] = {}
        whole = clock(lambda: told.update(run_video(model, video, plan)))
    finally:
        model.session = model.phrases.session = session.inner
    row: dict[str, Any] = {"clip": one.name, "phrase": one.phrases[0][0], "frames": told["frames"]}
    row["objects"] = sum(told["objects"].values())
    for name in CLOCKS:
        total, graphs, read = getattr(whole, name), total_of(session.runs, name), total_of(decoding, name)
        row[name] = {
            "seconds": round(total, 4),
            "decoding": round(read / total, 4),
            "host_and_encoding": round((total - graphs - read) / total, 4),
            "not_the_model": round((total - graphs) / total, 4),
        }
    return row


def total_of(times: Sequence[Times], name: str) -> float:
    """Seconds of all, by one clock."""
    seconds: list[float] = [getattr(one, name) for one in times]
    return sum(seconds)


def over_clips(
    model: Segmenter, chosen: Sequence[FrozenClip], *, bundle: str, advance: Callable[[int], object]
) -> dict[str, Any]:
    """All clips after one to warm up, and the machine meanwhile."""
    probe, rows, roofline = Probe(), [], []
    with tempfile.TemporaryDirectory() as place:
        for index, one in enumerate([chosen[0], *chosen]):
            folder = Path(place) / str(index)
            folder.mkdir()
            roofline.append(probe.measure())
            rows.append(measure(model, one, folder, bundle=bundle))
            advance(1)
    rows = rows[1:]
    shares = {name: round(median(row[name]["not_the_model"] for row in rows), 4) for name in CLOCKS}
    return {"not_the_model": shares, "runs": rows, "roofline": summary(roofline)}


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the built-in model.")
@click.option("--count", default=4, show_default=True, type=COUNT, help="So many frozen clips.")
@click.option("--threads", default=1, show_default=True, type=COUNT, help="Processor threads.")
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON.")
def main(bundle: Path | None, count: int, threads: int, output: Path | None) -> None:
    """Measure what decoding, the host and encoding add to the model."""
    opened = Bundle.open(bundle or builtin_bundle())
    chosen = list(islice(clips(), count))
    with load(opened.path, threads=threads) as model, console.progress("clips", count + 1) as advance:
        found = over_clips(model, chosen, bundle=opened.hash, advance=advance)
    document = {"bundle": opened.hash, "clips": HASH, "threads": threads, **found}
    document["machine"] = facts("numpy", "onnxruntime", "opencv-python")
    rows = [
        (row["clip"], str(row["objects"]), *(f"{row[name]['not_the_model']:.1%}" for name in CLOCKS))
        for row in found["runs"]
    ]
    rows.append(("median", "", *(f"{found['not_the_model'][name]:.1%}" for name in CLOCKS)))
    console.table("Not the model", ("clip", "objects", *CLOCKS), rows, out=True)
    if output is not None:
        write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)


if __name__ == "__main__":
    main()
