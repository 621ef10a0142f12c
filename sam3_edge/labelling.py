"""Labels from a teacher: what a bundle finds in pictures for a list of phrases, as a SA-Co document.

A phrase is written only where the teacher is sure. Every object must score well above the threshold, and be
found again in the mirrored picture; a phrase counts as absent only if nothing comes near the threshold in
either. The rest is left out and counted. Of the absent phrases, those are kept that a student confuses most:
first phrases that share a word with one that is there, then those the teacher was least sure about.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import EdgeError, UsageError
from sam3_edge.judge.case import Masks
from sam3_edge.picture import read_picture
from sam3_edge.segmentation import Segmentation
from sam3_edge.segmenter import Segmenter

THRESHOLD = 0.5


@dataclass(frozen=True)
class Gates:
    """What a label must pass. `margin`: distance of every score from the threshold of 0.5; `absence`: the
    same where a phrase is to count as absent; `agreement`: IoU of an object's masks in the picture and in
    its mirror image; `negatives`: absent phrases kept of each.

    `absence` is the wider: of 480 absent phrases of the built-in model's own pictures 97.9 % are right at
    0.15, and 98.8 % at 0.3.
    """

    margin: float = 0.15
    absence: float = 0.3
    agreement: float = 0.75
    negatives: int = 3

    def __post_init__(self) -> None:
        fits = 0 <= self.margin <= self.absence < THRESHOLD
        if not fits or not 0 <= self.agreement <= 1 or self.negatives < 0:
            raise UsageError(
                f"gates {self}: want a margin of 0 to 0.5, an absence from there to 0.5, "
                "an agreement of 0 to 1, negatives of 0 or more"
            )


@dataclass
class Labels:
    """A SA-Co document as it grows, and what did not get into it."""

    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def add(self, name: str, phrase: str, masks: NDArray[np.bool_], scores: Sequence[float]) -> None:
        """One phrase of one picture with its objects [N, H, W]; none of them: a negative."""
        number, (height, width) = len(self.images), masks.shape[1:]
        self.images.append(
            {
                "id": number,
                "file_name": name,
                "text_input": phrase,
                "height": height,
                "width": width,
                "is_instance_exhaustive": True,
            }
        )
        for mask, runs, score in zip(masks, Masks.of(masks).runs, scores, strict=True):
            y, x = np.nonzero(mask)
            self.annotations.append(
                {
                    "id": len(self.annotations),
                    "image_id": number,
                    "segmentation": {"size": [height, width], "counts": runs.decode("ascii")},
                    "bbox": [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "score": round(float(score), 4),
                }
            )

    def to_json(self) -> dict[str, Any]:
        """The document; `info` counts what was left out and names every file that was skipped."""
        info = {"counts": dict(sorted(self.counts.items())), "skipped": self.skipped}
        return {"info": info, "images": self.images, "annotations": self.annotations}


def label(
    segmenter: Segmenter,
    pictures: Sequence[Path],
    phrases: Sequence[str],
    gates: Gates,
    *,
    advance: Callable[[int], object] = lambda count: None,
) -> Labels:
    """Label every picture. One that cannot be read, or that was there before, is skipped and named."""
    made, seen = Labels(), dict[str, str]()
    for path in pictures:
        advance(1)
        try:
            picture = read_picture(path)
        except EdgeError as error:
            made.skipped.append({"file_name": path.name, "reason": str(error)})
            continue
        twin = seen.setdefault(hashlib.sha256(picture.tobytes()).hexdigest(), path.name)
        if twin != path.name:
            made.skipped.append({"file_name": path.name, "reason": f"the same pixels as {twin}"})
            continue
        label_picture(segmenter, path.name, picture, phrases, gates, made)
    made.counts["skipped"] = len(made.skipped)
    return made


def label_picture(
    segmenter: Segmenter,
    name: str,
    picture: NDArray[np.uint8],
    phrases: Sequence[str],
    gates: Gates,
    made: Labels,
) -> None:
    """Ask everything twice, of the picture and of its mirror image, and keep what both are sure of."""
    floor = THRESHOLD - gates.absence
    views = [picture, np.ascontiguousarray(picture[:, ::-1])]
    plain, mirrored = (segmenter.segment(view, list(phrases), threshold=floor) for view in views)
    absent, present = [], []
    for phrase, a, b in zip(phrases, plain, mirrored, strict=True):
        if not len(a) and not len(b):
            absent.append((phrase, max(a.presence, b.presence)))
        elif is_sure(a, b, gates):
            present.append(phrase)
            kept = near(a, gates)
            made.add(name, phrase, a.masks[kept], [float(score) for score in a.scores[kept]])
        else:
            made.counts["unsure"] += 1
    for phrase in hardest(absent, present)[: gates.negatives]:
        made.counts["negatives"] += 1
        made.add(name, phrase, np.zeros((0, *picture.shape[:2]), bool), [])
    made.counts["positives"] += len(present)
    made.counts["pictures"] += 1


def near(found: Segmentation, gates: Gates) -> NDArray[np.bool_]:
    """Which objects are not below the threshold by more than the margin."""
    return np.asarray(found.scores >= THRESHOLD - gates.margin)


def is_sure(found: Segmentation, mirrored: Segmentation, gates: Gates) -> bool:
    """Whether both views have the same objects, at least one, all far above the threshold."""
    a, b = (view.masks[near(view, gates)] for view in (found, mirrored))
    scores = np.concatenate([view.scores[near(view, gates)] for view in (found, mirrored)])
    if not len(a) or len(a) != len(b) or scores.min() < THRESHOLD + gates.margin or not a.any((1, 2)).all():
        return False
    iou = Masks.of(a).iou(Masks.of(b[:, :, ::-1]))
    return len(set(iou.argmax(1).tolist())) == len(a) and bool((iou.max(1) >= gates.agreement).all())


def hardest(absent: Sequence[tuple[str, float]], present: Sequence[str]) -> list[str]:
    """Absent phrases, those first that share most words with a phrase that is there; then by presence."""
    words = [set(phrase.split()) for phrase in present]

    def shared(phrase: str) -> int:
        return max((len(set(phrase.split()) & other) for other in words), default=0)

    return [phrase for phrase, _ in sorted(absent, key=lambda it: (-shared(it[0]), -it[1], it[0]))]
