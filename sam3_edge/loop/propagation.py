"""The tracker's graphs, for all objects of a frame: where they are now, and what to remember of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sam3_edge.antialias import resample
from sam3_edge.errors import CheckError
from sam3_edge.loop.bank import MemoryBank, as_bfloat16
from sam3_edge.loop.frame import Sight
from sam3_edge.loop.regions import Bools, Floats, tidy
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.track import Track
from sam3_edge.query import sigmoid
from sam3_edge.resize import enlarge
from sam3_edge.spec import ModelConfig
from sam3_edge.stopwatch import timed

SURE = 1024.0  # the logit of a pixel that was drawn by hand


@dataclass(frozen=True, eq=False)
class Propagated:
    """All tracks on a frame, in their order. `raw` are the graph's logits, `masks` those without specks."""

    raw: Floats  # [N, S, S]
    masks: Floats  # [N, S, S]
    changed: Bools  # [N], where specks were taken out
    scores: Floats  # [N], logits
    quality: Floats  # [N], how much the frame is worth remembering: presence times IoU, 0 to 1
    pointers: Floats  # [N, D]


def chunks(count: int, size: int) -> Iterator[slice]:
    """0 to `count` in parts of `size`, one part for size 0."""
    for start in range(0, count, size or count):
        yield slice(start, min(start + (size or count), count))


@timed("propagate")
def propagate(tracks: Sequence[Track], bank: MemoryBank, sight: Sight, settings: Settings) -> Propagated:
    """Run `tracker_step` for all tracks, from their memories. Raises `CheckError` for scores that are not."""
    by_row = sorted(tracks, key=lambda track: track.row)
    fine = sight.features("tracker_4x", "tracker_2x", "tracker_queries")
    parts: dict[str, list[Floats]] = {"mask": [], "iou": [], "object_score": [], "pointer": []}
    for part in chunks(len(by_row), settings.batch):
        choices = [t.history.choose(sight.index, span=settings.pointer_span) for t in by_row[part]]
        out = sight.session.run("tracker_step", {**fine, **bank.feeds(choices, start=part.start)})
        for name, arrays in parts.items():
            arrays.append(sight.session.fetch(out[name]))
    rows = [track.row for track in tracks]
    raw, iou, scores, pointers = (np.concatenate(arrays) for arrays in parts.values())
    if rows != sorted(rows):
        raw, iou, scores, pointers = raw[rows], iou[rows], scores[rows], pointers[rows]
    if not (np.isfinite(scores).all() and np.isfinite(iou).all()):
        raise CheckError("graph tracker_step gave scores that are no numbers: check the bundle with `verify`")
    masks, changed = tidy(raw, settings.speck)
    worth = np.where(scores > 0, sigmoid(np.maximum(scores, 0)) * 2 - 1, 0).astype(np.float32) * iou
    return Propagated(raw, masks, changed, scores, worth, pointers)


def memorize(masks: Floats, present: Bools, sight: Sight, *, hard: bool, batch: int) -> Iterator[Floats]:
    """One memory [G*G, M] for each mask [N, S, S] of the frame, rounded as it is stored."""
    coarse = sight.features("tracker_1x")
    for part in chunks(len(masks), batch):
        shown = present[part].astype(np.float32)
        feeds = {"mask": masks[part][:, None], "present": shown, "hard": np.full_like(shown, hard)}
        out = sight.session.run("memorize", {**coarse, **feeds})
        yield from (as_bfloat16(memory) for memory in sight.session.fetch(out["memory"]))


def point_at(drawn: Sequence[Floats], sight: Sight, *, batch: int) -> Floats:
    """The pointers [N, D] of objects whose masks [16G, 16G], 0 to 1, are given."""
    fine = sight.features("tracker_4x", "tracker_2x", "tracker_1x")
    pointers: list[Floats] = []
    for part in chunks(len(drawn), batch):
        out = sight.session.run("tracker_init", {**fine, "mask": np.stack(drawn[part])[:, None]})
        pointers.append(sight.session.fetch(out["pointer"]))
    together: Floats = np.concatenate(pointers)
    return together


def as_drawn(logits: Floats) -> Floats:
    """Mask logits [S, S] as the mask prompt [4S, 4S], 0 or 1."""
    side = 4 * logits.shape[0]
    drawn: Floats = enlarge(logits[None], side, side)[0].astype(np.float32)
    return drawn


def as_logits(drawn: Floats, config: ModelConfig, size: tuple[int, int] | None) -> Floats:
    """A drawn mask [h, w], 0 to 1, as logits [S, S], through a picture of `size` (None: its own).

    The reference keeps prompted masks at the video's size, so that what is remembered depends on it.
    """
    shown = resample(drawn, *(size or drawn.shape)) > 0.5
    signs = np.where(shown, np.float32(1), np.float32(-1))
    logits: Floats = resample(signs, config.mask_size, config.mask_size) * np.float32(SURE)
    return logits
