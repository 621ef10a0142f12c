"""A live run through every kind of fault, for hours: `python -m sam3_edge.benchmarks.soak --minutes 60`.

The command line runs in a process of its own on an HTTP camera; faults come at equal times, each kind in
turn. What is measured: whether it ends, how long its page does not answer, how long after a fault is over
there is a new frame, and its memory.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console
from sam3_edge.errors import CheckError
from sam3_edge.writing import write_file

from .camera_faults import FAULTS
from .http_camera import Camera, pictures
from .machine import facts
from .memory_plot import Panel, Series, plot
from .watched_run import HANG, WatchedRun

RECOVERY = 5.0  # seconds
SLOPE = 4.0  # MB an hour
SETTLED = 15  # minutes


def slope(points: list[tuple[float, float]]) -> float | None:
    """Theil-Sen: the median of all pairs' slopes, of megabytes over minutes, as megabytes an hour."""
    pairs = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :]]
    return float(np.median(pairs)) * 60 if pairs else None


def minima(readings: list[tuple[float, float, int]]) -> list[tuple[float, float]]:
    """The least memory of every minute."""
    by_minute: dict[int, float] = {}
    for second, size, _ in readings:
        minute = int(second // 60)
        by_minute[minute] = min(size, by_minute.get(minute, size))
    return [(float(minute), size) for minute, size in sorted(by_minute.items())]


def report(soak: WatchedRun, code: int, minutes: float) -> dict[str, Any]:
    """What is measured, and what is wrong with it."""
    late = [f for f in soak.faults if f.recovered is None or f.recovered > RECOVERY]
    memory = minima(soak.readings)
    growth = slope([point for point in memory if point[0] >= SETTLED])
    wrong = [f"{f.kind} at {f.at:.0f} s: {f.recovered} s until a frame" for f in late]
    wrong += [f"exit code {code}"] if code else []
    wrong += [f"the page did not answer for {soak.silent:.1f} s"] if soak.silent > HANG else []
    wrong += [f"no frame for {soak.standing:.1f} s without a fault"] if soak.standing > HANG else []
    wrong += [f"memory grows by {growth:.1f} MB an hour"] if growth is not None and growth > SLOPE else []
    return {
        "minutes": minutes,
        "frames": soak.readings[-1][2],
        "faults": len(soak.faults),
        "recovered": sum(f.recovered is not None for f in soak.faults),
        "slowest_recovery_s": max((f.recovered or 60.0 for f in soak.faults), default=None),
        "longest_silence_of_page_s": round(soak.silent, 2),
        "longest_without_frame_s": round(soak.standing, 2),
        "exit_code": code,
        "memory_slope_mb_per_hour": None if growth is None else round(growth, 2),
        "problems": wrong,
        "memory_mb_by_minute": [[minute, round(size, 1)] for minute, size in memory],
        "log": [asdict(fault) for fault in soak.faults],
        "machine": facts("numpy", "onnxruntime", "opencv-python", "aiohttp"),
    }


@click.command()
@click.option("--minutes", default=60.0, show_default=True, type=click.FloatRange(min=0.5))
@click.option("--faults", default=120, show_default=True, type=click.IntRange(1))
@click.option("--rate", default=3.0, show_default=True, help="Frames a second of the camera.")
@click.option("--phrase", default="red circle", show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The JSON; the SVG beside it.")
def main(minutes: float, faults: int, rate: float, phrase: str, output: Path) -> None:
    """Run, watch, and exit with 5 if anything is wrong."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        soak = WatchedRun(Camera(pictures(), rate=rate).start(), Path(folder), phrase)
        soak.start()
        soak.began = time.monotonic()
        for number in range(faults):
            kind, fault = list(FAULTS.items())[number % len(FAULTS)]
            soak.calm(soak.began + 60 * minutes * (number + 0.5) / faults)
            noted = soak.suffer(kind, fault)
            console.note(f"{noted.at:7.1f} s  {kind}: {noted.lasted} s, a frame {noted.recovered} s later")
        soak.calm(soak.began + 60 * minutes)
        document = report(soak, soak.stop(), minutes)
        soak.camera.stop()
    write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    memory = [(minute, size) for minute, size in document["memory_mb_by_minute"]]
    if len(memory) > 1:
        title = f"A live run of {minutes:g} minutes with {faults} faults"
        drawn = plot([Panel(title, "minutes", [Series("least memory of each minute, MB", memory)])])
        write_file(output.with_suffix(".svg"), drawn.encode(), overwrite=True)
    if document["problems"]:
        raise CheckError("; ".join(document["problems"]))


if __name__ == "__main__":
    main()
