"""Points, boxes and masks that a user draws on a frame: checked, and asked of the tracker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam3_edge.antialias import resample
from sam3_edge.boxes import Box
from sam3_edge.embedding import Embedding
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.loop.frame import Sight
from sam3_edge.loop.propagation import SURE, as_logits, point_at
from sam3_edge.loop.regions import Floats
from sam3_edge.loop.settings import Settings
from sam3_edge.spec import MASKED, ModelConfig

FORM = "x,y[:neg]"
NO_POINT, LEFT_TOP, RIGHT_BOTTOM = -1, 2, 3
LIMIT = 32.0  # of the logits of an earlier mask that is shown to the decoder


@dataclass(frozen=True)
class Point:
    """A click at x, y in pixels of the frame. `positive`: on the object; otherwise beside it."""

    x: float
    y: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise UsageError(f"point {self.x},{self.y}: want two finite numbers, in pixels")

    @classmethod
    def parse(cls, text: str) -> Point:
        """`x,y`, with `:neg` (or `:pos`) behind it. Raises `UsageError`."""
        numbers, _, label = text.partition(":")
        try:
            x, y = (float(number) for number in numbers.split(","))
        except ValueError as error:
            raise UsageError(f"point {text!r}: want {FORM}, two numbers in pixels") from error
        if label not in ("", "pos", "neg"):
            raise UsageError(f"point {text!r}: want {FORM}, two numbers in pixels")
        return cls(x, y, label != "neg")


@dataclass(frozen=True, eq=False)
class Prompt:
    """What is drawn of one object on one frame: clicks, a box, or both; or else a mask [H, W].

    Raises `UsageError` when there is nothing, when a mask comes with the others, or when nothing says where
    the object is.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.mask is not None and (self.points or self.box):
            raise UsageError("a mask with points or a box: the mask says it all, give one or the other")
        if self.mask is None and not self.points and self.box is None:
            raise UsageError("nothing is drawn: give points, a box or a mask")
        if self.box is not None and not isinstance(self.box, Box):
            raise UsageError(f"box {self.box!r:.80}: want a Box, left, top, right, bottom in pixels")
        if self.box is not None and not self.box.positive:
            raise UsageError(f"box {self.box} is negative: draw a box around the object")

    def check(self, size: tuple[int, int]) -> None:
        """Raises `UsageError` for what is not on a frame of this height and width."""
        height, width = size
        for point in self.points:
            if not (0 <= point.x <= width and 0 <= point.y <= height):
                raise UsageError(
                    f"point {point.x:g},{point.y:g} is outside the picture: "
                    f"want x in 0..{width}, y in 0..{height}"
                )
        if self.box is not None:
            self.box.relative(height, width)
        mask: Any = self.mask
        if mask is None:
            return
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != size:
            kind = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, np.ndarray) else type(mask).__name__
            raise UsageError(f"mask {kind}: want bool {list(size)}, the size of the frame")
        if not mask.any():
            raise UsageError("the mask has no pixel: draw the object, or remove it")


@dataclass(frozen=True, eq=False)
class Proposed:
    """What the decoder makes of a prompt: one mask for a plain prompt, then three for an ambiguous one.

    masks [4, S, S], logits; iou [4], the model's own guess of each, 0 to 1; pointers [4, D]; score, the logit
    of whether the object is there at all.
    """

    masks: Floats
    iou: Floats
    pointers: Floats
    score: float


@dataclass(frozen=True, eq=False)
class Drawn:
    """What came of a prompt: mask logits [S, S], the object's pointer [D], whether it is there at all."""

    logits: Floats
    pointer: Floats
    present: bool


def draw(
    prompt: Prompt, sight: Sight, previous: Floats | None, *, config: ModelConfig, settings: Settings
) -> Drawn:
    """Ask the tracker. `previous`: the object's mask logits [S, S] on this frame, if it has any."""
    if prompt.mask is not None:
        mask = prompt.mask.astype(np.float32)
        side = 4 * config.mask_size
        pointer = point_at([resample(mask, side, side)], sight, batch=1)[0]
        return Drawn(as_logits(mask, config, None), pointer, True)
    found = propose(prompt, sight.embedding, previous, config=config)
    best = choose(found.masks, found.iou, several=ambiguous(prompt), settings=settings)
    present = found.score > 0
    mask = found.masks[best] if present else np.full_like(found.masks[best], -SURE)
    return Drawn(mask, found.pointers[best], present)


def propose(
    prompt: Prompt | None, embedding: Embedding, previous: Floats | None, *, config: ModelConfig
) -> Proposed:
    """Run `tracker_refine` on clicks and a box, on the object's last mask logits [S, S], or on both.

    Raises `CheckError` for scores that are no numbers.
    """
    session = embedding.session
    feeds = tokens(prompt, config, embedding.size)
    shown = np.zeros((config.mask_size,) * 2, np.float32) if previous is None else previous
    feeds["previous"] = np.clip(shown, -LIMIT, LIMIT)[None, None]
    feeds["has_previous"] = np.array([previous is not None], np.float32)
    fine = {name: embedding.tracker[name] for name in ("tracker_4x", "tracker_2x", "tracker_1x")}
    out = session.run("tracker_refine", {**fine, **feeds})
    masks, iou, score, pointers = (
        session.fetch(out[name])[0] for name in ("masks", "iou", "object_score", "pointers")
    )
    if not (np.isfinite(score) and np.isfinite(iou).all()):
        raise CheckError(
            "graph tracker_refine gave scores that are no numbers: check the bundle with `verify`"
        )
    return Proposed(masks, iou, pointers, float(score))


def ambiguous(prompt: Prompt | None) -> bool:
    """Whether a prompt may mean several things: at most one click, and no box."""
    return prompt is None or len(prompt.points) + 2 * (prompt.box is not None) <= 1


def tokens(
    prompt: Prompt | None, config: ModelConfig, size: tuple[int, int]
) -> dict[str, Floats | NDArray[np.int32]]:
    """Points, labels and bias of `tracker_refine`, for one object: the box, the clicks, one that is no point.

    Of more points than the model learned from, the first and the last half count. No prompt, no token.
    """
    drawn = [(point.x, point.y, int(point.positive)) for point in prompt.points] if prompt else []
    if prompt is not None and prompt.box is not None:
        x0, y0, x1, y1 = prompt.box.edges
        drawn = [(x0, y0, LEFT_TOP), (x1, y1, RIGHT_BOTTOM), *drawn]
    most = config.points - 2
    if len(drawn) > most:
        drawn = drawn[: most // 2] + drawn[most // 2 - most :]
    points = np.zeros((1, config.points, 2), np.float32)
    labels = np.full((1, config.points), NO_POINT, np.int32)
    bias = np.full((1, config.points), MASKED, np.float32)
    scale = np.float32(config.image_size) / np.array([size[1], size[0]], np.float32)
    for place, (x, y, label) in enumerate(drawn):
        points[0, place], labels[0, place] = np.array([x, y], np.float32) * scale, label
    bias[0, : len(drawn) + (prompt is not None)] = 0
    return {"points": points, "labels": labels, "point_bias": bias}


def choose(masks: Floats, iou: Floats, *, several: bool, settings: Settings) -> int:
    """Which of four masks [4, S, S]: the best of the last three for a single click, and else the first.

    The first must be stable: nearly the same pixels a little above and a little below zero.
    """
    best = 1 + int(iou[1:].argmax())
    if several:
        return best
    inner = np.count_nonzero(masks[0] > settings.stability_delta)
    outer = np.count_nonzero(masks[0] > -settings.stability_delta)
    stable = np.float32(inner) / np.float32(outer) if outer else np.float32(1)
    return 0 if stable >= np.float32(settings.stability) else best


Clicks: TypeAlias = Sequence[Point | tuple[float, float] | tuple[float, float, bool]]


def as_points(points: Clicks) -> tuple[Point, ...]:
    """Clicks in the short form `(x, y)` or `(x, y, positive)`. Raises `UsageError` for anything else."""
    try:
        return tuple(point if isinstance(point, Point) else Point(*point) for point in points)
    except TypeError as error:
        raise UsageError(
            f"points {points!r:.80}: want a sequence of (x, y) or (x, y, positive), in pixels"
        ) from error
