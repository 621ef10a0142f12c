"""What a live run makes of too much: a model ten times slower than its camera, and clients that mean no good.

`python -m sam3_edge.benchmarks.camera_load --output FILE`: first the slow model for some minutes, then frames
a second with one viewer who takes nothing and fifty bad clients (`bad_clients`), and without, in turn.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

import sam3_edge
from sam3_edge import console
from sam3_edge.camera.address import parse_address
from sam3_edge.camera.capture import Source
from sam3_edge.camera.live import Live, LivePlan, run
from sam3_edge.camera.sensors import resident
from sam3_edge.camera.web import Serving, WebView
from sam3_edge.errors import CheckError
from sam3_edge.timing.ratio import interval
from sam3_edge.writing import write_file

from .http_camera import Camera, pictures
from .machine import facts

RATE, SLOWER = 5.0, 10  # frames a second of the camera; so many times longer takes the slow model
COST, AGE, GROWTH = 0.05, 2.0, 4.0  # of the frame rate; steps; MB
SETTLING = 2.0  # seconds, in which the buffers of a viewer who takes nothing fill
PHRASE = "red circle"


@contextmanager
def living(model: Any, camera: Camera) -> Iterator[Live]:
    """A live run on a camera."""
    live = Live(model, [Source(parse_address(camera.url))], LivePlan((PHRASE,)))
    thread = threading.Thread(target=run, args=[live], kwargs={"wait": live.stopping.wait})
    thread.start()
    try:
        yield live
    finally:
        live.stopping.set()
        thread.join()


def slow_model(minutes: float) -> dict[str, Any]:
    """Frame ages and memory with a model that takes ten times as long as a frame lasts."""
    camera = Camera(pictures(), rate=RATE).start()
    ages: list[float] = []
    memory: list[float] = []
    with sam3_edge.load(threads=1) as model:
        answer = model.session.run

        def slowly(graph: str, feeds: Mapping[str, Any]) -> Any:
            if graph == "backbone":
                time.sleep(SLOWER / RATE)
            return answer(graph, feeds)

        model.session.run = slowly  # type: ignore[method-assign]
        with living(model, camera) as live:
            feed, serial, until = live.feeds[0], 0, time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                if (seen := feed.wait(serial, 1.0)) is not None:
                    serial = seen.serial
                    ages.append(seen.age / seen.step)
                    memory.append((resident() or 0) / 2**20)
            dropped = feed.slot.dropped
    camera.stop()
    settled = ages[3:]  # the first steps load the graphs, and are no measure
    return {
        "minutes": minutes,
        "frames": len(ages),
        "dropped": dropped,
        "age_in_steps": {"median": float(np.median(settled)), "most": max(settled)},
        "memory_growth_mb": round(memory[-1] - memory[len(memory) // 3], 2),
    }


def crowd_of(port: int) -> subprocess.Popen[bytes]:
    """The bad clients, in a process of their own: what they cost themselves is not the server's."""
    words = [sys.executable, "-m", "sam3_edge.benchmarks.bad_clients", str(port)]
    crowd = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert crowd.stdout
    crowd.stdout.readline()
    return crowd


def crowded(pairs: int, seconds: float) -> dict[str, Any]:
    """Frames a second, and processor time of each, with the crowd and without, in turning order."""
    camera = Camera(pictures(), rate=200).start()
    with sam3_edge.load(threads=1) as model, living(model, camera) as live:
        view = WebView(live, Serving(port=0))
        port, feed = view.begin(), live.feeds[0]
        while feed.frames < 20:
            time.sleep(0.1)

        def measure(*, crowd: bool) -> tuple[float, float]:
            there = crowd_of(port) if crowd else None
            time.sleep(SETTLING)
            before, began, used = feed.frames, time.monotonic(), time.process_time()
            time.sleep(seconds)
            frames, used = feed.frames - before, time.process_time() - used
            found = (frames / (time.monotonic() - began), 1000 * used / max(frames, 1))
            if there is not None:
                there.communicate()
            return found

        pairs_of = []
        for pair in range(pairs):
            first = pair % 2 == 0
            one, other = measure(crowd=first), measure(crowd=not first)
            pairs_of.append((one, other) if first else (other, one))
        view.stop()
    camera.stop()
    found = np.array(pairs_of)  # [pairs, with and without, frames a second and milliseconds a frame]
    return {
        "pairs": pairs,
        "seconds": seconds,
        "frames_per_second": found[..., 0].round(2).tolist(),
        "processor_ms_a_frame": found[..., 1].round(2).tolist(),
        "part_of_rate": vars(interval(found[:, 0, 0] / found[:, 1, 0])),
        "part_of_processor_time": vars(interval(found[:, 0, 1] / found[:, 1, 1])),
    }


@click.command()
@click.option("--minutes", default=5.0, show_default=True)
@click.option("--pairs", default=8, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of each half of a pair.")
@click.option("--output", required=True, type=click.Path(path_type=Path))
def main(minutes: float, pairs: int, seconds: float, output: Path) -> None:
    slow = slow_model(minutes)
    console.note(json.dumps(slow))
    crowd = crowded(pairs, seconds)
    console.note(json.dumps(crowd))
    document = {"slow_model": slow, "crowd": crowd, "machine": facts("numpy", "onnxruntime", "aiohttp")}
    write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    wrong = ["frames get older than two steps"] * (slow["age_in_steps"]["most"] > AGE)
    wrong += ["memory grows"] * (slow["memory_growth_mb"] > GROWTH)
    wrong += ["bad clients cost more than 5 %"] * (crowd["part_of_rate"]["median"] < 1 - COST)
    if wrong:
        raise CheckError("; ".join(wrong))


if __name__ == "__main__":
    main()
