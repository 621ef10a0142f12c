"""The clips of the video recording: pictures of moving discs, and a script for each, drawn from a seed.

Pure numpy, so that the test draws exactly what was recorded. Two seams carry a script, each right behind a
network; everything else runs for real, and real values keep a share of `MIX`:

- detector, query q: masks = MIX * masks + `detected_masks[q]`, score = `detected_scores[q]`, presence
  included;
- tracker, object o: masks = MIX * masks + `tracked_masks[o]`, score = MIX * score + `tracked_scores[o]`,
  behind the SAM mask decoder and before the test of the score, for propagation only. An object's row of the
  script is that of the query it was born from (`Script.actor`); where a mask is given (births,
  reconditions) the decoder's score is MIX * score + PROMPTED_SCORE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .official_video_stories import HOMES, PEAK, STORIES, Scene, spoil, steady

Floats = NDArray[np.float32]

SEED = 404
SCRIPTED, REAL = 40, 10
REAL_FRAMES = 60
NAMES = tuple([f"scripted{i:02}" for i in range(SCRIPTED)] + [f"real{i:02}" for i in range(REAL)])
SIZES = ((72, 96), (96, 128), (80, 80), (96, 72), (75, 101))  # height, width; the last has no common factor
LOW = 64  # side of mask logits
QUERIES = 16
MIX = np.float32(0.25)
PROMPTED_SCORE = np.float32(4.0)
COLOURS = (
    (230, 60, 50),
    (60, 210, 80),
    (70, 90, 230),
    (240, 220, 60),
    (200, 120, 220),
    (240, 240, 240),
    (90, 90, 160),
)


@dataclass(frozen=True)
class Script:
    """What one clip's seams add. A: actors. Actor a is detected by query a, and again by query 15 - a."""

    detected_scores: Floats  # [T, 16], 0 where nothing is detected
    detected_masks: Floats  # [T, 16, 64, 64]
    tracked_scores: Floats  # [T, A]
    tracked_masks: Floats  # [T, A, 64, 64]

    def actor(self, query: int) -> int:
        """Which actor a query shows."""
        return query if query < self.tracked_scores.shape[1] else QUERIES - 1 - query


@dataclass(frozen=True)
class Clip:
    """One clip: its pictures, and its script unless the networks alone answer."""

    name: str
    pictures: NDArray[np.uint8]  # [T, H, W, 3]
    script: Script | None


def draw(name: str) -> Clip:
    """One of the clips in `NAMES`: a pure function of `SEED` and its name."""
    kind, number = name[:-2], int(name[-2:])
    return scripted(number) if kind == "scripted" else real(number)


def scripted(number: int) -> Clip:
    """Four stories in turn, around an object that is there from the start."""
    # RandomState is frozen by numpy's policy: the same stream in 1.26 and 2.x, on every platform.
    r = np.random.RandomState(SEED + number)
    frames = 40 + 2 * int(r.randint(0, 5)) if number else 68
    scene = Scene(frames, r, [HOMES[i] for i in r.permutation(len(HOMES))])
    steady(scene, 0 if r.rand() < 0.7 else 2)
    for step in (0, 1, 3, 6):
        STORIES[(number + step) % len(STORIES)](scene)
    spoil(scene)
    return Clip(f"scripted{number:02}", pictures(scene, *SIZES[number % len(SIZES)]), script_of(scene))


def real(number: int) -> Clip:
    """Discs that drift and turn back; what is found in them is up to the networks."""
    r = np.random.RandomState(2 * SEED + number)
    scene = Scene(REAL_FRAMES, r, [HOMES[i] for i in r.permutation(len(HOMES))])
    for _ in range(int(r.randint(2, 6))):
        actor = scene.enter(r.uniform(0.08, 0.2), slow=0.012)
        actor.x, actor.y = (1 - np.abs(1 - at % 2) for at in (actor.x, actor.y))
    return Clip(f"real{number:02}", pictures(scene, *SIZES[number % len(SIZES)]), None)


def disc(x: float, y: float, radius: float, peak: float) -> NDArray[np.float64]:
    """Logits [64, 64] that fall by 1 a pixel across the rim; `peak` inside, -8 outside."""
    rows, columns = (np.mgrid[:LOW, :LOW] + 0.5) / LOW
    # sqrt is exact to the last bit everywhere, which hypot and sin are not.
    inside = LOW * (radius - np.sqrt((columns - x) ** 2 + (rows - y) ** 2))
    return np.clip(inside, -PEAK, peak) if peak > 0 else np.full((LOW, LOW), -PEAK)


def cut(mask: NDArray[np.float64], x: float, y: float, side: int, *, value: float) -> None:
    """Set a small square of a mask."""
    column, row = int(np.clip(x * LOW, 0, LOW - 6)), int(np.clip(y * LOW, 0, LOW - 6))
    mask[row : row + side, column : column + side] = value


def script_of(scene: Scene) -> Script:
    frames = scene.frames
    scores = np.zeros((frames, QUERIES), np.float32)
    found = np.full((frames, QUERIES, LOW, LOW), -PEAK, np.float32)
    biases = np.stack([actor.present for actor in scene.actors], 1).astype(np.float32)
    tracked = np.empty((frames, len(scene.actors), LOW, LOW), np.float32)
    for t in range(frames):
        for a, actor in enumerate(scene.actors):
            x, y, side = actor.x[t], actor.y[t], actor.drift[t] * actor.radius
            mask = disc(x + side, y - side / 2, actor.radius * 0.99, actor.peak[t])
            cut(mask, x, y, actor.hole[t], value=-PEAK)
            cut(mask, (x + 0.5) % 1, (y + 0.4) % 1, actor.speck[t], value=PEAK)
            tracked[t, a] = mask
            for query, score, aside in ((a, actor.score[t], 0), (QUERIES - 1 - a, actor.twice[t], 0.02)):
                if score > 0:
                    scores[t, query] = score
                    mask = disc(x + aside, y, actor.radius, PEAK)
                    cut(mask, x, y, 3 * actor.bitten, value=-PEAK)
                    found[t, query] = mask
    return Script(scores, found, biases, tracked)


def pictures(scene: Scene, height: int, width: int) -> NDArray[np.uint8]:
    """[T, H, W, 3]: a gradient, and a disc for each actor that is there to be seen."""
    rows, columns = np.mgrid[:height, :width]
    ground = np.stack([60 + columns // 4, 80 + rows // 3, 90 + (rows + columns) // 8], -1)
    frames = np.repeat(ground[None].astype(np.uint8), scene.frames, 0)
    for t, picture in enumerate(frames):
        for a, actor in enumerate(scene.actors):
            if actor.present[t] > 0:
                squared = ((columns + 0.5) / width - actor.x[t]) ** 2 + (
                    (rows + 0.5) / height - actor.y[t]
                ) ** 2
                picture[squared < actor.radius**2] = COLOURS[a % len(COLOURS)]
    return frames
