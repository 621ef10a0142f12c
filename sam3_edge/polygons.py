"""Masks as polygons along the pixels' edges, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]  # corners [N, 2], x then y; the last joins the first

# Directions as (dx, dy). Their order is clockwise on the screen: right, down, left, up.
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def polygons(mask: NDArray[np.bool_]) -> list[Ring]:
    """Polygons without holes that together cover exactly the pixels of `mask` [H, W], clockwise.

    COCO polygons cannot have holes: a mask with holes is cut into upright strips, a cut at each hole's left
    edge, which opens every hole to the side of its strip.
    """
    traced = rings(mask)
    cuts = sorted({int(ring[:, 0].min()) for ring in traced if doubled_area(ring) < 0})
    if not cuts:
        return traced
    strips = zip([0, *cuts], [*cuts, mask.shape[1]], strict=True)
    return [ring + np.array((left, 0)) for left, right in strips for ring in rings(mask[:, left:right])]


def doubled_area(ring: Ring) -> int:
    """Twice the enclosed area in pixels, negative for a hole."""
    x, y = ring.T
    return int(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def rings(mask: NDArray[np.bool_]) -> list[Ring]:
    """Every border of `mask`: outer ones clockwise, holes counter-clockwise. Pixels touch by sides only."""
    edges = border(mask)
    pending = edges[0].copy()  # every border has an edge to the right
    found = []
    for y, x in np.argwhere(pending).tolist():
        if pending[y, x]:
            found.append(np.array(walk(edges, pending, x, y), np.int64))
    return found


def border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[4, H + 1, W + 1]: does an edge leave this corner in this direction, with a set pixel on its right?"""
    full = np.pad(mask, 1)
    # The pixels around corner (y, x): above and below it, left and right of it.
    top_left, top_right = full[:-1, :-1], full[:-1, 1:]
    low_left, low_right = full[1:, :-1], full[1:, 1:]
    right, down = low_right & ~top_right, low_left & ~low_right
    left, up = top_left & ~low_left, top_right & ~top_left
    return np.stack((right, down, left, up))


def walk(edges: NDArray[np.bool_], pending: NDArray[np.bool_], x: int, y: int) -> list[tuple[int, int]]:
    """The corners of the border whose topmost, leftmost edge to the right starts at (x, y), that one last."""
    start, heading = (x, y, 0), 0
    corners: list[tuple[int, int]] = []
    while not corners or (x, y, heading) != start:
        if heading == 0:
            pending[y, x] = False
        x, y = x + STEPS[heading][0], y + STEPS[heading][1]
        # Right turn first: where two pixels meet in a corner only, each keeps a border of its own.
        turns = ((heading + 1) % 4, heading, (heading + 3) % 4)
        turn = next(turn for turn in turns if edges[turn, y, x])
        if turn != heading:
            corners.append((x, y))
        heading = turn
    return corners
