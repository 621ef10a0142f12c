"""What is judged: cases with their true objects, and a program's answers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import UsageError

Size = tuple[int, int]
"""Height and width in pixels."""

Masklet = tuple[bytes | None, ...]
"""One object through a clip: compressed run lengths for each frame, None where it is not seen."""


def encode(mask: NDArray[np.bool_]) -> bytes:
    """COCO's compressed run lengths of one mask [H, W], column by column."""
    from pycocotools import mask as rle

    counts: bytes = rle.encode(np.asfortranarray(mask, np.uint8))["counts"]
    return counts


@dataclass(frozen=True)
class Masks:
    """N masks of one picture as run lengths: a frozen set of thousands fits in a few megabytes."""

    size: Size
    runs: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, masks: NDArray[np.bool_]) -> Masks:
        """Encode masks [N, H, W]."""
        return cls((masks.shape[1], masks.shape[2]), tuple(encode(mask) for mask in masks))

    def __len__(self) -> int:
        return len(self.runs)

    def to_coco(self) -> list[dict[str, Any]]:
        """As `pycocotools.mask` takes them."""
        return [{"size": list(self.size), "counts": runs} for runs in self.runs]

    def areas(self) -> NDArray[np.int64]:
        """Pixels of each mask [N]."""
        from pycocotools import mask as rle

        return np.asarray(rle.area(self.to_coco()), np.int64).reshape(-1)

    def decode(self) -> NDArray[np.bool_]:
        """[N, H, W]."""
        from pycocotools import mask as rle

        if not self.runs:
            return np.zeros((0, *self.size), bool)
        return np.ascontiguousarray(rle.decode(self.to_coco()).transpose(2, 0, 1)).astype(bool)

    def iou(self, other: Masks) -> NDArray[np.float64]:
        """IoU of every mask with every mask of `other`: [N, M]. Two empty masks have IoU 0, as in COCO."""
        from pycocotools import mask as rle

        if not self.runs or not other.runs:
            return np.zeros((len(self), len(other)))
        table = rle.iou(self.to_coco(), other.to_coco(), [0] * len(other))
        return np.asarray(table, np.float64)


@dataclass(frozen=True)
class PictureCase:
    """One concept asked of one picture. `truths` has one entry per annotator; no object: a hard negative.

    `tags` name the strata a case is counted in ("occluded", "unseen", "exemplar", ...).
    """

    key: str
    truths: tuple[Masks, ...]
    tags: frozenset[str] = frozenset()

    def check(self, answer: PictureAnswer) -> None:
        """Raises UsageError if the answer's masks are of another size, or do not have a score each."""
        sizes = {masks.size for masks in self.truths} | {answer.masks.size}
        if len(sizes) != 1:
            # pycocotools would quietly take them for masks without overlap.
            raise UsageError(f"{self.key}: masks of different sizes (height, width): {sorted(sizes)}")
        if len(answer.masks) != len(answer.scores):
            raise UsageError(f"{self.key}: {len(answer.masks)} masks with {len(answer.scores)} scores")


@dataclass(frozen=True)
class PictureAnswer:
    """The objects found for one case, each with a score 0..1; boxes xyxy in pixels, if they were told."""

    masks: Masks
    scores: tuple[float, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()

    def above(self, threshold: float) -> PictureAnswer:
        """Only the objects that score above `threshold`."""
        kept = [i for i, score in enumerate(self.scores) if score > threshold]
        masks = Masks(self.masks.size, tuple(self.masks.runs[i] for i in kept))
        boxes = tuple(self.boxes[i] for i in kept) if self.boxes else ()
        return PictureAnswer(masks, tuple(self.scores[i] for i in kept), boxes)


@dataclass(frozen=True)
class Clip:
    """One concept in one clip: masklets by identity. An answer has a score per identity, the truth none."""

    size: Size
    frames: int
    objects: Mapping[int, Masklet]
    scores: Mapping[int, float] = field(default_factory=dict)

    def at(self, frame: int) -> tuple[list[int], Masks]:
        """The identities seen in a frame, and their masks."""
        seen = {number: runs for number, masklet in self.objects.items() if (runs := masklet[frame])}
        return list(seen), Masks(self.size, tuple(seen.values()))

    def above(self, threshold: float) -> Clip:
        """Only the identities that score above `threshold`."""
        kept = {n: masklet for n, masklet in self.objects.items() if self.scores[n] > threshold}
        return Clip(self.size, self.frames, kept, {n: self.scores[n] for n in kept})


@dataclass(frozen=True)
class ClipCase:
    """One concept asked of one clip, and what is true."""

    key: str
    truth: Clip
    tags: frozenset[str] = frozenset()


PictureAnswers = Mapping[str, PictureAnswer]
ClipAnswers = Mapping[str, Clip]
PictureCases = Sequence[PictureCase]
ClipCases = Sequence[ClipCase]
