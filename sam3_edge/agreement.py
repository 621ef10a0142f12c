"""How well two answers to the same questions agree: the same objects, the same masks, the same scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.segmentation import Segmentation

SAME = 0.5  # IoU from which two masks are of one object
PIXELS = 4  # a small mask misses any IoU by its border: so many may differ all the same


@dataclass(frozen=True)
class Agreement:
    """Answers against reference answers. `objects` of the reference; IoU over those that were found again.

    `pixels` is the largest number of differing pixels of one mask. Without objects the IoUs are None.
    """

    objects: int
    missing: int
    extra: int
    mean_iou: float | None
    min_iou: float | None
    pixels: int
    score: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what is meaningful."""
        return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in asdict(self).items()}


def overlaps(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every mask of a [N, H, W] with every mask of b [M, H, W]: [N, M]; 1 for two empty masks."""
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    flat_a, flat_b = (m.reshape(len(m), -1).astype(np.float32) for m in (a, b))
    shared = (flat_a @ flat_b.T).astype(np.float64)
    union = flat_a.sum(1)[:, None] + flat_b.sum(1)[None] - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0)


def pair(iou: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of rows and columns, the best IoU first, each used once, none below `SAME`."""
    pairs, free = [], iou.copy()
    while free.size and free.max() >= SAME:
        row, column = (int(i) for i in np.unravel_index(free.argmax(), free.shape))
        pairs.append((row, column))
        free[row], free[:, column] = -1, -1
    return pairs


def compare(expected: Sequence[Segmentation], got: Sequence[Segmentation]) -> Agreement:
    """Answers to the same concepts on the same pictures, in the same order."""
    ious: list[float] = []
    missing = extra = pixels = 0
    score = 0.0
    for want, have in zip(expected, got, strict=True):
        iou = overlaps(want.masks, have.masks)
        pairs = pair(iou)
        missing, extra = missing + len(want) - len(pairs), extra + len(have) - len(pairs)
        score = max(score, abs(want.presence - have.presence))
        for i, j in pairs:
            ious.append(float(iou[i, j]))
            pixels = max(pixels, int((want.masks[i] ^ have.masks[j]).sum()))
            score = max(score, abs(float(want.scores[i] - have.scores[j])))
    mean, least = (float(np.mean(ious)), min(ious)) if ious else (None, None)
    return Agreement(sum(map(len, expected)), missing, extra, mean, least, pixels, score)
