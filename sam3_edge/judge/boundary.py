"""Boundary F of DAVIS and SA-V: how much of each mask's outline lies close to the other's."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sam3_edge.judge.case import Size

Bits = NDArray[np.bool_]

TOLERANCE = 0.008  # of the picture's diagonal, rounded up to whole pixels


def tolerance(size: Size) -> int:
    """How far in pixels two outlines may be apart and still match, in a picture of this size."""
    return math.ceil(TOLERANCE * float(np.linalg.norm(size)))


def outline(mask: Bits) -> Bits:
    """One-pixel outline [H, W] of a mask: the pixels that differ from the next one right, below, or both.

    So it lies half a pixel towards the origin, nothing is drawn along the picture's border, and a mask that
    fills the picture has no outline: the definition of every DAVIS evaluator.
    """
    edge = np.zeros(mask.shape, bool)
    here = mask[:-1, :-1]
    edge[:-1, :-1] = (here ^ mask[:-1, 1:]) | (here ^ mask[1:, :-1]) | (here ^ mask[1:, 1:])
    edge[-1, :-1] = mask[-1, :-1] ^ mask[-1, 1:]
    edge[:-1, -1] = mask[:-1, -1] ^ mask[1:, -1]
    return edge


def boundary_f(truth: Bits, answer: Bits) -> float:
    """Harmonic mean of outline precision and recall of two masks [H, W]: 0..1, and 1 without any outline."""
    radius = tolerance((truth.shape[0], truth.shape[1]))
    window = joint_window(truth, answer)
    wanted, drawn = outline(truth[window]), outline(answer[window])
    pixels_wanted, pixels_drawn = np.count_nonzero(wanted), np.count_nonzero(drawn)
    if not pixels_wanted or not pixels_drawn:
        return float(pixels_wanted == pixels_drawn)
    precision = close(drawn, wanted, radius) / pixels_drawn
    recall = close(wanted, drawn, radius) / pixels_wanted
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def joint_window(a: Bits, b: Bits) -> tuple[slice, slice]:
    """Where either mask is, and one pixel around it: outlines inside are those of the whole picture."""
    either = a | b
    rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)


def close(points: Bits, edge: Bits, radius: int) -> int:
    """How many pixels of `points` have a pixel of `edge` within a disk of `radius`.

    Dilating by a disk costs its area for every pixel of the picture. Running sums along the rows answer
    "any edge between these columns?" at once, so each point costs a look at each row of the disk, and the
    nearest rows settle most points.
    """
    height, width = edge.shape
    running = np.zeros((height + 2 * radius, width + 1), np.int32)
    np.cumsum(edge, axis=1, out=running[radius : radius + height, 1:])
    rows, columns = np.nonzero(points & ~edge)
    for offset in sorted(range(-radius, radius + 1), key=abs):
        half = math.isqrt(radius * radius - offset * offset)
        line = rows + offset + radius
        right, left = np.minimum(columns + half + 1, width), np.maximum(columns - half, 0)
        far = running[line, right] == running[line, left]
        rows, columns = rows[far], columns[far]
        if not len(rows):
            break
    return int(np.count_nonzero(points)) - len(rows)
