"""Clips for tests: from arrays of masks, or squares in named places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam3_edge.judge.case import Clip, encode

Bits = NDArray[np.bool_]


def clip_of(masks: Bits, scores: Sequence[float] = (), *, first: int = 0) -> Clip:
    """Masks [N, T, H, W] as identities `first`, `first` + 1, ... Empty masks are None in every other one."""
    objects = {
        first + i: tuple(encode(mask) if mask.any() or i % 2 else None for mask in track)
        for i, track in enumerate(masks)
    }
    size = (masks.shape[2], masks.shape[3])
    return Clip(size, masks.shape[1], objects, dict(zip(objects, scores, strict=bool(scores))))


def squares(*tracks: str) -> Clip:
    """Objects 1, 2, ... as letters for places, a frame each: "ab." is at a, then at b, then out of sight."""
    masks = np.zeros((len(tracks), len(tracks[0]), 12, 48), bool)
    for track, places in zip(masks, tracks, strict=True):
        for mask, place in zip(track, places, strict=True):
            if place != ".":
                mask[1:11, 12 * "abcd".index(place) :][:, 1:11] = True
    return clip_of(masks, first=1)
