"""Who is who is a matter of memory: `python -m sam3_edge.benchmarks.swapped`.

Two objects that cross are followed from their true masks. After they have parted, their memories change
places: from then on, each must be taken for the other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam3_edge import Segmenter, Tracker, console, load
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.judge import frozen_clips
from sam3_edge.judge.frozen_clips import FrozenClip
from sam3_edge.shapes.clips import draw_masks
from sam3_edge.verbs.options import COUNT

from .clicked_pictures import Mask, iou
from .document import write_document

PARTED = 40  # of 64 frames: they cross in the middle
WATCHED = 16  # frames after that
SAME = 0.5  # IoU of a mask with another program's of the same object
LEAST = 0.8  # share of the frames on which the masks change places with the memories
Pair = tuple[Mask, Mask]


@dataclass(frozen=True)
class Swapped:
    """A crossing. `told`: frames on which the two were told apart; `swapped`: those where they changed."""

    clip: str
    actors: tuple[int, int]
    told: int
    swapped: int


def exchange(tracker: Tracker) -> None:
    """The memories of the two objects of a tracker change places."""
    one, other = tracker.tracks
    one.row, other.row = other.row, one.row
    one.history, other.history = other.history, one.history


def follow(
    model: Segmenter, frames: NDArray[np.uint8], drawn: NDArray[np.bool_], *, swap: bool
) -> list[Pair]:
    """The two masks on each watched frame. `drawn` [2, S, S]: where they are on the first frame."""
    tracker = model.tracker()
    tracker.step(frames[0])
    for mask in drawn:
        tracker.add_object(mask=mask)
    pairs: list[Pair] = []
    for index in range(1, PARTED + WATCHED):
        if swap and index == PARTED:
            exchange(tracker)
        shown = tracker.step(frames[index])
        nothing = np.zeros(frames.shape[1:3], np.bool_)
        masks = {n: shown.masks[place] for place, n in enumerate(shown.ids.tolist())}
        pairs.append((masks.get(0, nothing), masks.get(1, nothing)))
    return pairs[PARTED - 1 :]


def crossed(clip: FrozenClip) -> tuple[int, int] | None:
    """The two actors that cross in a clip, if any do."""
    places = [i for i, actor in enumerate(clip.script.actors) if "crossing" in actor.events]
    return (places[0], places[1]) if len(places) == 2 else None


def compare(model: Segmenter, clip: FrozenClip) -> Swapped | None:
    """One crossing, with the memories where they belong and with each in the other's place."""
    if (actors := crossed(clip)) is None:
        return None
    frames, drawn = clip.frames, draw_masks(clip.script, 0)[list(actors)]
    if not drawn.any((1, 2)).all():
        return None
    plain, changed = (follow(model, frames, drawn, swap=swap) for swap in (False, True))
    told = swapped = 0
    for (a, b), (other_a, other_b) in zip(plain, changed, strict=True):
        if a.any() and b.any() and iou(a, b) < SAME:
            told += 1
            swapped += iou(other_a, b) >= SAME and iou(other_b, a) >= SAME
    return Swapped(clip.name, actors, told, int(swapped))


def summary(rows: Iterable[Swapped]) -> dict[str, Any]:
    """Frames in all, the share on which the masks changed places, and `pass` or what does not hold."""
    rows = list(rows)
    told, swapped = (sum(getattr(row, name) for row in rows) for name in ("told", "swapped"))
    share = round(swapped / told, 4) if told else None
    held = share is not None and share >= LEAST
    return {
        "crossings": len(rows),
        "watched": WATCHED * len(rows),
        "told_apart": told,
        "swapped": swapped,
        "share": share,
        "verdict": "pass" if held else f"masks follow their memories on fewer than {LEAST:.0%} of the frames",
        "rows": [vars(row) for row in rows],
    }


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the built-in model.")
@click.option("--clips", type=click.IntRange(1), default=64, show_default=True)
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON.")
def main(bundle: Path | None, clips: int, threads: int | None, output: Path | None) -> None:
    """Exchange the memories of two objects after each crossing of the first frozen clips.

    Exits 1 if their masks change places on fewer than 80 % of the frames on which they are told apart.
    """
    place = builtin_bundle() if bundle is None else bundle
    rows = []
    with load(place, threads=threads) as model, console.progress("clips", clips) as advance:
        for clip in islice(frozen_clips.clips(), clips):
            if (row := compare(model, clip)) is not None:
                rows.append(row)
            advance(1)
    document = {
        "bundle": Bundle.open(place).hash,
        "clips": {"hash": frozen_clips.HASH, "count": clips},
        **summary(rows),
    }
    if output is not None:
        write_document(output, document)
    console.emit(document)
    sys.exit(document["verdict"] != "pass")


if __name__ == "__main__":
    main()
