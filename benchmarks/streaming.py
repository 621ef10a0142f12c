"""Memory over 3000 real frames through a bundle's graphs, beside another program's on the same clip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

import sam3_edge
from sam3_edge.alone import alone
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.tracker import Tracker
from sam3_edge.writing import write_file

from .document import errors_told, finish, write_document
from .machine import facts
from .memory import growth, problems, watched
from .memory_plot import Panel, Series, plot

FRAMES, OBJECTS = 3000, 4
SETTLED = 10  # a tenth of the frames
LIMITS = {"resident_mb": 4.0, "arrays": 0.0}
SIZE = (96, 128)
COLOURS = ((230, 60, 50), (60, 210, 80), (240, 220, 60), (200, 120, 220))


def clip(frames: int) -> Iterator[NDArray[np.uint8]]:
    """Discs of a few colours that drift over a gradient and turn back at the border."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    ground = np.stack([60 + columns // 4, 80 + rows // 3, 90 + (rows + columns) // 8], -1).astype(np.uint8)
    for time in range(frames):
        picture = ground.copy()
        for place, colour in enumerate(COLOURS):
            way = np.array([0.61 + 0.13 * place, 0.83 - 0.11 * place]) * time + 37 * place
            far = np.array(SIZE[::-1]) - 1
            x, y = far - np.abs(way % (2 * far) - far)
            picture[(columns - x) ** 2 + (rows - y) ** 2 < (9 + 2 * place) ** 2] = colour
        yield picture


def streamed(bundle: Path, phrase: str, frames: int) -> dict[str, Any]:
    """The clip through a bundle. `objects` are those that were ever there."""
    with sam3_edge.load(bundle, threads=1) as model:
        settings = Settings(max_objects=OBJECTS)
        tracker = Tracker(model.session, model.config, model.phrases, settings=settings)
        tracker.add(phrase)
        readings = list(watched(tracker, clip(frames), frames, frames // SETTLED))
    return {
        "name": "sam3-edge, ONNX Runtime",
        "frames": frames,
        "objects": tracker.roster.next_id,
        **growth(readings, frames // SETTLED),
    }


def panels(document: dict[str, Any], steps: dict[str, Any] | None) -> list[Panel]:
    """What the plot shows: real frames, and scripted steps if there are any."""
    real = [line(document[name]["name"], document[name]) for name in ("ours", "beside") if name in document]
    shown = [Panel("Real frames, the same clip", "frames", real)]
    if steps is not None:
        shown.append(Panel("Scripted answers", "steps", [line("sam3-edge", steps["plain"])]))
    return shown


def line(name: str, part: dict[str, Any]) -> Series:
    """A part's resident memory."""
    return Series(name, [(reading["step"], reading["resident_mb"]) for reading in part["readings"]])


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--phrase", required=True, help="What to look for.")
@click.option("--frames", default=FRAMES, show_default=True, type=click.IntRange(SETTLED))
@click.option("--beside", type=click.Path(path_type=Path), help="Another program's readings, for the plot.")
@click.option("--steps", type=click.Path(path_type=Path), help="The result of `endurance`, for the plot.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The JSON; the SVG beside it.")
def main(
    bundle: Path, phrase: str, frames: int, beside: Path | None, steps: Path | None, output: Path
) -> None:
    """Follow the clip with BUNDLE. Exits 1 if memory grows."""
    with errors_told():
        document: dict[str, Any] = {
            "machine": facts("numpy", "onnxruntime"),
            "limits": LIMITS,
            "ours": alone(streamed, bundle, phrase, frames),
        }
        if beside is not None:
            document["beside"] = json.loads(beside.read_text())
        document["failures"] = problems(document["ours"], LIMITS)
        write_document(output, document)
        drawn = panels(document, None if steps is None else json.loads(steps.read_text()))
        write_file(output.with_suffix(".svg"), plot(drawn).encode(), overwrite=True)
    finish(document["failures"])


if __name__ == "__main__":
    main()
