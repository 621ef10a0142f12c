"""What the clips of `shapes` are made of: a sprite of every thing, and the ground behind them."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from sam3_edge.shapes.clips import RADIUS, Bytes, Sprite
from sam3_edge.shapes.scenes import COLOURS, Points, background, outline

SIDE = 128  # of a sprite
GROUND = 1.6  # sides of a frame: the camera pans and zooms within it

Look = tuple[str, str, str]
"""Shape, colour, texture."""


def surface(rng: np.random.Generator, *, colour: tuple[int, int, int], texture: str) -> Bytes:
    """A colour and its texture's second tone [SIDE, SIDE, 3]: `shapes.paint` in integers."""
    base = np.clip(np.array(colour) + rng.integers(-15, 16, 3), 0, 255)
    dark = rng.random() < 0.5 and int(base.sum()) > 230  # black on black is no pattern
    other = base * 35 // 100 if dark else base * 30 // 100 + 175
    y, x = np.mgrid[:SIDE, :SIDE]
    period = int(rng.integers(14, 23))
    u, v = x % period, y % period
    if texture == "plain":
        second = np.zeros((SIDE, SIDE), bool)
    elif texture == "striped":
        second = 100 * u < 42 * period
    else:
        second = 100 * ((2 * u - period) ** 2 + (2 * v - period) ** 2) < 36 * period**2
    return np.where(second[..., None], other, base).astype(np.uint8)


def cover(points: Points) -> Bytes:
    """How much of each pixel [SIDE, SIDE] a polygon covers, from 2 x 2 samples.

    Not Pillow's polygons: 10.3 and 13.0 differ in some pixels of a star.
    """
    size = 2 * SIDE
    crossings = np.zeros((size, size + 1), np.int64)
    corners = 2 * points - 0.5  # samples lie at whole numbers
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        rows = np.arange(max(math.ceil(min(y0, y1)), 0), min(math.ceil(max(y0, y1)), size))
        if rows.size:
            columns = np.ceil(x0 + (rows - y0) * (x1 - x0) / (y1 - y0)).astype(np.int64)
            crossings[rows, np.clip(columns, 0, size)] += 1
    inside = np.cumsum(crossings, axis=1)[:, :-1] & 1
    samples = inside.reshape(SIDE, 2, SIDE, 2).sum((1, 3))
    covered: Bytes = (samples * 255 // 4).astype(np.uint8)
    return covered


def levels(colours: Bytes, alpha: Bytes) -> Sprite:
    """A sprite and its reductions to 1/8, so that a small actor does not flicker."""
    # Channel by channel: Pillow would weigh the colours of RGBA by their alpha.
    planes = Image.fromarray(np.dstack((colours, alpha))).split()
    reduced = [planes, *([plane.reduce(1 << n) for plane in planes] for n in (1, 2, 3))]
    return tuple(np.dstack([np.asarray(plane) for plane in level]) for level in reduced)


def make_sprite(rng: np.random.Generator, drawn: Look) -> Sprite:
    """One shape of `shapes`, at a random turn under its texture."""
    shape, colour, texture = drawn
    colours = surface(rng, colour=COLOURS[colour], texture=texture)
    # Turned and shifted: no corner on a whole number, where the last bit of a cosine would decide a pixel.
    points = outline(shape, SIDE * RADIUS, float(rng.uniform(0, 2 * math.pi)))
    points = points + (SIDE / 2 + rng.uniform(-0.4, 0.4, 2))
    return levels(colours, cover(points))


def make_bar(rng: np.random.Generator) -> Sprite:
    """A grey bar to hide behind, 0.45 x its height wide: nothing that a phrase asks for."""
    tone = int(rng.integers(100, 200))
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    half, long = SIDE // 2, round(SIDE * RADIUS)
    wide = 45 * long // 100
    alpha[half - long : half + long, half - wide : half + wide] = 255
    return levels(surface(rng, colour=(tone, tone, tone), texture="plain"), alpha)


def make_ground(rng: np.random.Generator, size: int) -> Bytes:
    """The ground of `shapes` for a frame of size px, with specks: a moving camera must have what to see."""
    side = math.ceil(GROUND * size)
    ground = background(rng, side).astype(np.uint8)
    for x, y, width, height in rng.integers((0, 0, 2, 2), (side, side, 9, 9), (40, 4)):
        ground[y : y + height, x : x + width] = rng.integers(20, 235, 3)
    return ground
