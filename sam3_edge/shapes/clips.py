"""`shapes` in motion: clips of moving shapes with true masklets, drawn frame by frame from a script.

Pixels come from integer arithmetic on arrays, so a script gives the same clip on every machine.
Lengths of a script are in pixels of a 224 px frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge.shapes.scenes import Mask

STAGE = 224  # the frame's side that a script is written for
RADIUS = 58 / 128  # of the shape on a sprite, in sides of it
LEAST = 12  # pixels: less of an object than this is not seen

Bytes = NDArray[np.uint8]
Sprite = tuple[Bytes, ...]
"""RGBA pictures [P, P, 4] of one thing, each half the side of the one before."""
Path = tuple[tuple[float, ...], ...]
"""Keys at equal times, first frame to last. Of a thing: x, y, radius, turn; of the camera: x, y, zoom."""


@dataclass(frozen=True)
class Actor:
    """A thing in a clip. `words` are what is true of it, none for a bar; `events` are what happens to it."""

    words: frozenset[str]
    sprite: Sprite
    path: Path
    events: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Script:
    """A clip before it is drawn: actors from back to front, what is behind them, and how it is filmed.

    `ground` [G, G, 3] is what the camera moves over. `light` is in 1/256, `grain` in 1/16 of +-15 levels.
    """

    size: int
    frames: int
    actors: tuple[Actor, ...]
    ground: Bytes
    camera: Path
    light: int
    grain: int
    seed: int

    def answers(self, words: frozenset[str]) -> tuple[int, ...]:
        """The actors that have all the attributes."""
        return tuple(i for i, actor in enumerate(self.actors) if words <= actor.words)


@dataclass(frozen=True)
class Frame:
    """A picture [S, S, 3] uint8 and what is visible of every actor [N, S, S]; barely seen is not seen."""

    picture: Bytes
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class Sight:
    """The part of a frame that holds an actor, and its RGBA [h, w, 4] there."""

    rows: slice
    columns: slice
    texels: Bytes


def along(path: Path, time: float) -> tuple[float, ...]:
    """A smooth curve through the keys (Catmull-Rom), at time 0..1."""
    if len(path) == 1:
        return path[0]
    place = time * (len(path) - 1)
    i = min(int(place), len(path) - 2)
    t = place - i
    before, after = path[max(i - 1, 0)], path[min(i + 2, len(path) - 1)]
    return tuple(
        b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
        for a, b, c, d in zip(before, path[i], path[i + 1], after, strict=True)
    )


def mix(first: Bytes, second: Bytes, weight: NDArray[np.uint16]) -> Bytes:
    """`first` to `second` by weight 0..256."""
    # 255 x 256 + 128 still fits in 16 bits.
    mixed = first * (np.uint16(256) - weight) + second * weight + np.uint16(128)
    rounded: Bytes = (mixed >> np.uint16(8)).astype(np.uint8)
    return rounded


def split(places: NDArray[np.int32], side: int) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """Places in 1/65536 of a pixel as pixel before and weight of the one after, kept inside of `side`."""
    kept = np.clip(places, 0, ((side - 1) << 16) - 1)
    return kept >> 16, (kept >> 8 & 255).astype(np.uint16)


def fixed(value: float) -> int:
    return round(value * 65536)


def look_at(script: Script, view: tuple[float, ...]) -> Bytes:
    """The ground as the camera sees it [S, S, 3]."""
    x, y, zoom = view
    steps = np.arange(script.size, dtype=np.int32) * fixed(1 / zoom)
    side, unit = len(script.ground), script.size / STAGE

    def part(centre: float) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        start = side / 2 + centre * unit + (0.5 - script.size / 2) / zoom - 0.5
        return split(fixed(start) + steps, side)

    (columns, right), (rows, below) = part(x), part(y)
    ground = script.ground
    lines = mix(ground.take(rows, 0), ground.take(rows + 1, 0), below[:, None, None])
    return mix(lines.take(columns, 1), lines.take(columns + 1, 1), right[None, :, None])


def see(sprite: Sprite, pose: tuple[float, ...], view: tuple[float, ...], *, size: int) -> Sight | None:
    """An actor through the camera; None if it is outside of the frame."""
    zoom = view[2] * size / STAGE
    x, y = ((pose[i] - view[i]) * zoom + size / 2 for i in (0, 1))
    radius = max(pose[2], 4.0) * zoom
    reach = 1.1 * radius + 1  # a bar's corners are at 1.097
    columns, rows = (
        slice(max(0, math.floor(centre - reach)), min(size, math.ceil(centre + reach))) for centre in (x, y)
    )
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return None
    step, level = RADIUS * len(sprite[0]) / radius, 0
    while step > 1.5 and level < len(sprite) - 1:
        step, level = step / 2, level + 1
    across, down = step * math.cos(pose[3]), step * math.sin(pose[3])
    middle = len(sprite[level]) / 2 - 0.5
    i = np.arange(columns.start, columns.stop, dtype=np.int32)[None, :]
    j = np.arange(rows.start, rows.stop, dtype=np.int32)[:, None]
    left, top = 0.5 - x, 0.5 - y
    u = fixed(across) * i + fixed(down) * j + fixed(middle + across * left + down * top)
    v = fixed(across) * j - fixed(down) * i + fixed(middle + across * top - down * left)
    return Sight(rows, columns, texels_at(sprite[level], u, v))


def texels_at(texture: Bytes, u: NDArray[np.int32], v: NDArray[np.int32]) -> Bytes:
    """Bilinear samples [h, w, 4] of a texture [P, P, 4] at places in 1/65536 of a texel."""
    side = len(texture)
    packed = texture.view(np.uint32).reshape(-1)  # four bytes are fetched as one
    (column, right), (row, below) = split(u, side), split(v, side)
    first = row * side + column

    def fetch(offset: int) -> Bytes:
        texels: Bytes = packed[first + offset][..., None].view(np.uint8)
        return texels

    upper = mix(fetch(0), fetch(1), right[..., None])
    lower = mix(fetch(side), fetch(side + 1), right[..., None])
    return mix(upper, lower, below[..., None])


def watch(script: Script, index: int) -> tuple[tuple[float, ...], list[Sight | None]]:
    """The camera and every actor through it, in one frame."""
    time = index / max(script.frames - 1, 1)
    view = along(script.camera, time)
    return view, [
        see(actor.sprite, along(actor.path, time), view, size=script.size) for actor in script.actors
    ]


def visible(sights: list[Sight | None], size: int) -> NDArray[np.bool_]:
    """What is visible of every actor [N, S, S]: later actors hide earlier ones."""
    masks = np.zeros((len(sights), size, size), bool)
    for n, sight in enumerate(sights):
        if sight is not None:
            solid: Mask = sight.texels[..., 3] > 127
            masks[:n, sight.rows, sight.columns] &= ~solid
            masks[n, sight.rows, sight.columns] = solid
    masks[masks.sum((1, 2)) < LEAST] = False
    return masks


def draw_masks(script: Script, index: int) -> NDArray[np.bool_]:
    """The masks of a frame alone."""
    return visible(watch(script, index)[1], script.size)


def draw_frame(script: Script, index: int) -> Frame:
    """One frame of a clip, in any order."""
    view, sights = watch(script, index)
    canvas = look_at(script, view)
    for sight in sights:
        if sight is not None:
            alpha = sight.texels[..., 3:].astype(np.uint16)
            under = canvas[sight.rows, sight.columns]
            canvas[sight.rows, sight.columns] = mix(under, sight.texels[..., :3], alpha + (alpha >> 7))
    noise = np.frombuffer(np.random.default_rng((script.seed, index)).bytes(canvas.size), np.uint8)
    grain = ((noise & 15) + (noise >> 4)).astype(np.int16) - 15
    lit = (canvas.astype(np.int32) * script.light >> 8) + (grain.reshape(canvas.shape) * script.grain >> 4)
    return Frame(np.clip(lit, 0, 255).astype(np.uint8), visible(sights, script.size))


def draw_clip(script: Script) -> Iterator[Frame]:
    """All frames in order."""
    return (draw_frame(script, index) for index in range(script.frames))
