"""Mask logits on the host: overlap, suppression of duplicates, specks, and who hides whom."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam3_edge.loop.components import joined, touching
from sam3_edge.resize import line, upsample

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

FINE = 4  # the memory encoder sees masks at four times their size
BITS = np.array([value.bit_count() for value in range(256)], np.uint8)
GONE = np.float32(-10)  # the logit of what was taken away: sigmoid 4.5e-5


def overlap(a: Bools, b: Bools) -> Floats:
    """IoU of every mask of a [N, H, W] with every mask of b [M, H, W]: [N, M]; 0 for two empty ones.

    Eight pixels a byte: 200 masks of 288 px beside 10 take 4 ms, and 8 where their boxes meet.
    """
    rows, others = packed(a), packed(b)
    shared = np.zeros((len(a), len(b)), np.int64)
    for i, row in enumerate(rows):
        shared[i] = ones(others & row)
    union = ones(rows)[:, None] + ones(others)[None] - shared
    iou: Floats = shared.astype(np.float32) / np.maximum(union, 1).astype(np.float32)
    return iou


def packed(masks: Bools) -> NDArray[np.uint64]:
    """Masks [N, H, W] as [N, words] of 64 pixels, the last filled up with zeros."""
    octets = np.packbits(masks.reshape(len(masks), math.prod(masks.shape[1:])), axis=1)
    short = -octets.shape[1] % 8
    return (np.pad(octets, ((0, 0), (0, short))) if short else octets).view(np.uint64)


def ones(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits that are set in each row [N, words]: [N]."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int64))
    return np.asarray(BITS[words.view(np.uint8)].sum(axis=1, dtype=np.int64))


def bounds(mask: Bools) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of all pixels of a mask; zeros for none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return 0, 0, 0, 0
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def survivors(scores: Floats, masks: Bools, most: float) -> NDArray[np.int64]:
    """Places of the masks [N, H, W] that stay, rising: none overlaps a better one by more than `most`."""
    iou, order = overlap(masks, masks), scores.argsort()[::-1]
    kept: list[int] = []
    while len(order):
        kept.append(int(order[0]))
        order = order[1:][iou[order[0], order[1:]] <= most]
    return np.array(sorted(kept), np.int64)


def counts(masks: Bools) -> NDArray[np.int64]:
    """Pixels of each mask [N, H, W]: [N]. Summing booleans is ten times slower."""
    return np.array([np.count_nonzero(mask) for mask in masks], np.int64)


def specks(masks: Sequence[Bools] | Bools, most: Sequence[int] | NDArray[np.int64]) -> list[Bools] | None:
    """Pixels of the 8-connected components of each mask [h, w] that have at most `most` pixels; None if none.

    All masks are labelled at once, as one tall picture, and only small components are drawn.
    """
    heights = [len(mask) for mask in masks]
    stride = max((mask.shape[1] for mask in masks), default=0) + 2
    tops = np.cumsum([0, *(height + 1 for height in heights)])
    tall = np.zeros((int(tops[-1]), stride), np.int8)
    places = [np.s_[t : t + len(m), 1 : 1 + m.shape[1]] for t, m in zip(tops.tolist(), masks, strict=False)]
    for place, mask in zip(places, masks, strict=True):
        tall[place] = mask
    flat = tall.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    first, second = touching(starts, ends, stride)
    root = joined(len(starts), first, second)
    areas = np.bincount(root, weights=ends - starts, minlength=len(starts))
    owner = np.searchsorted(tops * stride, starts, side="right") - 1
    small = np.flatnonzero(areas[root] <= np.asarray(most)[owner])
    if not len(small):
        return None
    lengths = (ends - starts)[small]
    offset = np.cumsum(lengths) - lengths
    drawn = np.zeros(tall.shape, np.bool_)
    drawn.ravel()[np.repeat(starts[small] - offset, lengths) + np.arange(lengths.sum())] = True
    return [drawn[place] for place in places]


def around(mask: Bools, margin: int) -> tuple[slice, slice]:
    """The window of a mask with so many pixels of its surroundings, as far as there are any."""
    top, bottom, left, right = bounds(mask)
    return slice(max(top - margin, 0), bottom + margin), slice(max(left - margin, 0), right + margin)


def tidy(logits: Floats, most: int) -> tuple[Floats, Bools]:
    """Fill holes and take sprinkles out of mask logits [N, S, S]; and which masks changed, [N].

    A hole has at most `most` pixels and becomes 0.1; a sprinkle has at most `most`, and at most half of its
    mask, and becomes -0.1. A mask without a pixel has neither.

    Only the window of each mask is looked at, with a margin so wide that ground that goes on behind it has
    more than `most` pixels inside: it is no hole there either.
    """
    changed = np.zeros(len(logits), np.bool_)
    above = logits > 0
    seen = np.flatnonzero(counts(above)).tolist() if most else []
    if not seen:
        return logits, changed
    windows = {i: around(above[i], most + 1) for i in seen}
    shown = {i: above[i][window] for i, window in windows.items()}
    out = logits
    for value, level in ((True, np.float32(0.1)), (False, np.float32(-0.1))):
        limits = [most if value else min(int(np.count_nonzero(mask)) // 2, most) for mask in shown.values()]
        found = specks([mask ^ value for mask in shown.values()], limits)
        for i, speck in zip(seen, found or (), strict=False):
            if speck.any():
                out = logits.copy() if out is logits else out
                out[i][windows[i]][speck] = level
                shown[i][speck] = value
                changed[i] = True
    return out, changed


def spread(masks: Bools) -> Bools:
    """Masks [N, H, W] grown by one pixel in all eight directions."""
    wide = masks.copy()
    wide[:, :, 1:] |= masks[:, :, :-1]
    wide[:, :, :-1] |= masks[:, :, 1:]
    tall = wide.copy()
    tall[:, 1:] |= wide[:, :-1]
    tall[:, :-1] |= wide[:, 1:]
    return tall


def crowded(logits: Floats, least: float) -> tuple[Bools, Bools]:
    """Of masks [N, S, S]: which keep less than `least` of their area, and which have any area, both [N].

    Counted at four times the size, where each pixel belongs to the highest logit, the first of equals. What
    is plain at the small size is not counted: at most 16 pixels are lost per cell that two masks may reach,
    and every cell inside a mask has all its 16.
    """
    shown = logits > 0
    inner = ~spread(~shown)
    reach = spread(shown)
    sure = FINE**2 * counts(inner)
    contested = reach & (np.add.reduce(reach, dtype=np.uint16) > 1)
    lost = FINE**2 * counts(contested)
    small, present = np.zeros(len(logits), np.bool_), sure > 0
    for i in np.flatnonzero(sure - lost <= least * sure):
        area, kept = share(int(i), logits, reach)
        present[i] = area > 0
        # As in the reference: a mask without area kept 0 of 1.
        small[i] = np.float32(kept) / np.float32(max(area, 1)) < np.float32(least)
    return small, present


def share(i: int, logits: Floats, reach: Bools) -> tuple[int, int]:
    """At four times the size: the area of mask i, and how much of it is its own."""
    rows, columns = (np.flatnonzero(reach[i].any(axis)) for axis in (1, 0))
    if not len(rows):
        return 0, 0
    axis = line(logits.shape[1], FINE * logits.shape[1])
    window = tuple(slice(FINE * int(x[0]), FINE * (int(x[-1]) + 1)) for x in (rows, columns))
    cells = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    mine = upsample(logits[i], axis, axis, rows=window[0], columns=window[1])
    own = mine > 0
    area = int(np.count_nonzero(own))
    for j in np.flatnonzero((reach[(slice(None), *cells)] & reach[i][cells]).any((1, 2))):
        if j != i:
            other = upsample(logits[j], axis, axis, rows=window[0], columns=window[1])
            own &= (mine > other) if j < i else (mine >= other)
    return area, int(np.count_nonzero(own))
