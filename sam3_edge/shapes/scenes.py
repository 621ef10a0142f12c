"""`shapes`: generated pictures with known answers, for training, calibration, demos and tests.

A scene holds coloured, textured, overlapping shapes in clutter; `questions.py` asks about it. Everything
follows from the random generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS = {
    "red": (215, 40, 40),
    "green": (45, 175, 65),
    "blue": (50, 85, 225),
    "yellow": (235, 215, 55),
    "purple": (150, 60, 190),
    "orange": (240, 135, 35),
    "black": (25, 25, 28),
    "cyan": (40, 205, 215),
}
TEXTURES = ("plain", "striped", "dotted")
# Never drawn and never named in training: what a model says to these shows whether it puts words together.
UNSEEN = frozenset({("star", "cyan"), ("square", "cyan"), ("cross", "black"), ("triangle", "black")})
# Things that are never in a scene: the model must learn to say no to words it has not met.
ABSENT = ("dog", "person", "yellow bus", "tree", "red car", "cup", "moon", "green leaf")
WORDS = (
    *SHAPES,
    *COLOURS,
    *TEXTURES,
    "shape",
    "visual",
    *(f"{shape}s" for shape in SHAPES),
    "crosses",
    "shapes",
)

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Item:
    """One shape of a scene. `mask` [S, S] is what is visible of it; `box` is xyxy in pixels, of the mask.

    `hidden` is the share of its area that lies behind later items, 0 to 0.45.
    """

    shape: str
    colour: str
    texture: str
    mask: Mask
    box: tuple[int, int, int, int]
    hidden: float = 0.0

    @property
    def words(self) -> frozenset[str]:
        return frozenset((self.shape, self.colour, self.texture))


@dataclass(frozen=True)
class Scene:
    """A picture [S, S, 3] uint8 and its items, drawn in order."""

    picture: NDArray[np.uint8]
    items: tuple[Item, ...]


def outline(shape: str, radius: float, turn: float) -> Points:
    """The corners [N, 2] of a shape around the origin."""
    if shape == "cross":
        arm, tip = 0.34 * radius, radius
        corner = [(arm, arm), (arm, tip), (-arm, tip), (-arm, arm), (-tip, arm), (-tip, -arm)]
        points = np.array(corner + [(-x, -y) for x, y in corner])
        turned: Points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return turned
    count = {"circle": 48, "square": 4, "triangle": 3, "star": 10}[shape]
    angle = np.arange(count) * 2 * np.pi / count + turn
    length = np.where(np.arange(count) % 2, 0.42, 1.0) if shape == "star" else np.ones(count)
    corners: Points = radius * length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return corners


def coverage(points: Points, size: int) -> NDArray[np.float32]:
    """How much of each pixel [size, size] a polygon covers, 0..1, from 2 x 2 samples."""
    canvas = Image.new("L", (2 * size, 2 * size))
    ImageDraw.Draw(canvas).polygon([(2 * x, 2 * y) for x, y in points], fill=255)
    return np.asarray(canvas.reduce(2), np.float32) / np.float32(255)


def background(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A soft greyish ground [size, size, 3] with blotches and thin lines as clutter."""
    tone = rng.uniform(50, 200) + rng.normal(0, 14, 3)
    coarse = np.clip(tone + rng.normal(0, 22, (6, 6, 3)), 0, 255).astype(np.uint8)
    canvas = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(0, 9))):
        colour = tuple(int(c) for c in rng.integers(20, 235, 3))
        x0, y0, x1, y1 = (float(v) for v in rng.uniform(0, size, 4))
        if rng.random() < 0.5:
            draw.line((x0, y0, x1, y1), fill=colour, width=int(rng.integers(1, 3)))
        else:
            reach = float(rng.uniform(1, 5))
            draw.ellipse((x0 - reach, y0 - reach, x0 + reach, y0 + reach), fill=colour)
    return np.array(canvas, np.float32)


def paint(
    rng: np.random.Generator, height: int, width: int, *, colour: str, texture: str
) -> NDArray[np.float32]:
    """The surface [height, width, 3] of one item: its colour, and a second tone in its texture's pattern."""
    base = np.array(COLOURS[colour], np.float32) + rng.normal(0, 10, 3).astype(np.float32)
    if texture == "plain":
        return np.broadcast_to(base, (height, width, 3))
    dark, light = base * 0.35, base * 0.3 + 175
    other = dark if rng.random() < 0.5 else light
    if abs(other - base).mean() < 50:  # black on black is no pattern
        other = light if other is dark else dark
    y, x = np.mgrid[:height, :width].astype(np.float64)
    turn, period = rng.uniform(0, np.pi), rng.uniform(7, 11)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    if texture == "striped":
        second = (u / period) % 1 < 0.42
    else:
        second = ((u / period) % 1 - 0.5) ** 2 + ((v / period) % 1 - 0.5) ** 2 < 0.09
    return np.where(second[..., None], other, base).astype(np.float32)


def cut(rng: np.random.Generator, photographs: Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.float32]:
    """A random square of a random photograph, as a ground [size, size, 3], mirrored half of the time."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    side = int(rng.uniform(0.5, 1) * min(photograph.shape[:2]))
    y, x = (int(rng.integers(0, length - side + 1)) for length in photograph.shape[:2])
    square = photograph[y : y + side, x : x + side]
    square = square[:, ::-1] if rng.random() < 0.5 else square
    return np.array(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC), np.float32)


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """The tight box of a non-empty mask, xyxy with exclusive ends."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def look(rng: np.random.Generator, withheld: Collection[tuple[str, str]]) -> tuple[str, str, str]:
    """A random shape, colour and texture, but no withheld pair of shape and colour."""
    while True:
        shape, colour = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))
        texture = str(rng.choice(TEXTURES, p=(0.5, 0.25, 0.25)))
        if (shape, colour) not in withheld:
            return shape, colour, texture


@dataclass
class Placed:
    """An item while a scene is drawn: what is still visible of it, and all the pixels it covers."""

    look: tuple[str, str, str]
    centre: Points
    visible: Mask
    area: int


def place(
    rng: np.random.Generator, shape: str, placed: list[Placed], *, size: int, crowd: float
) -> tuple[Points, NDArray[np.float32]] | None:
    """A centre and the coverage [size, size] of a new item; None if eight tries hid too much of others."""
    for _ in range(8):
        radius = rng.uniform(15, 40)
        centre = rng.uniform(0.6 * radius, size - 0.6 * radius, 2)
        if crowd and placed and rng.random() < crowd:  # beside or over another item
            centre = placed[int(rng.integers(len(placed)))].centre + rng.uniform(-40, 40, 2)
            centre = np.clip(centre, 0.6 * radius, size - 0.6 * radius)
        alpha = coverage(outline(shape, radius, rng.uniform(0, 2 * np.pi)) + centre, size)
        mask = alpha > 0.5
        # Nothing may be hidden beyond recognition: 55 % of each item stays visible.
        if all((other.visible & ~mask).sum() > 0.55 * other.area for other in placed):
            return centre, alpha
    return None


def draw_scene(
    rng: np.random.Generator,
    *,
    size: int = 224,
    most: int = 7,
    photographs: Sequence[NDArray[np.uint8]] = (),
    withheld: Collection[tuple[str, str]] = (),
    crowd: float = 0.0,
) -> Scene:
    """Draw 1 to `most` shapes on a cluttered ground of size x size pixels.

    With `photographs`, half of the grounds are cut out of one. `crowd` is the chance 0..1 that an item is
    put where it may hide a part of another. `withheld` pairs of shape and colour are not drawn.
    """
    canvas = cut(rng, photographs, size) if photographs and rng.random() < 0.5 else background(rng, size)
    placed: list[Placed] = []
    for _ in range(int(rng.integers(1, most + 1))):
        drawn = look(rng, withheld)
        if placed and rng.random() < 0.3:  # repeat a look: concepts have several instances
            drawn = placed[int(rng.integers(len(placed)))].look
        found = place(rng, drawn[0], placed, size=size, crowd=crowd)
        if found is None:
            continue
        centre, alpha = found
        x0, y0, x1, y1 = box_of(alpha > 0)
        surface = paint(rng, y1 - y0, x1 - x0, colour=drawn[1], texture=drawn[2])
        canvas[y0:y1, x0:x1] += (surface - canvas[y0:y1, x0:x1]) * alpha[y0:y1, x0:x1, None]
        mask = alpha > 0.5
        for other in placed:
            other.visible = other.visible & ~mask
        placed.append(Placed(drawn, centre, mask, int(mask.sum())))
    grain = rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(1, 6))
    canvas = canvas * np.float32(rng.uniform(0.85, 1.1)) + grain
    items = tuple(
        Item(*one.look, mask=one.visible, box=box_of(one.visible), hidden=1 - one.visible.sum() / one.area)
        for one in placed
    )
    return Scene(np.clip(canvas, 0, 255).astype(np.uint8), items)
