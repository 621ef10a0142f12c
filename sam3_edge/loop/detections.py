"""What the detector finds of a concept on a frame of a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sam3_edge.concept import Concept
from sam3_edge.loop.regions import Floats, survivors
from sam3_edge.loop.settings import Settings
from sam3_edge.query import Query, sigmoid
from sam3_edge.stopwatch import timed

EPSILON = np.float32(1e-3)


@dataclass(frozen=True, eq=False)
class Detections:
    """scores [N], logits [N, S, S], in the order of the model's queries; lost: which gave way to better ones.

    `lost` are places among the detections above the threshold, before that.
    """

    scores: Floats
    logits: Floats
    lost: tuple[int, ...] = ()


def saturated(scores: Floats) -> Floats:
    """Scores as the video model has them: through a logit with probabilities cut at 0.001 from both ends."""
    odds = np.maximum(scores, EPSILON) / np.maximum(1 - scores, EPSILON)
    return sigmoid(np.clip(np.log(odds), -10, 10))


@timed("detect")
def find(query: Query, concept: Concept, settings: Settings) -> Detections:
    """Detect, keep what scores above the threshold, and of masks that overlap the best."""
    found = query.detect(concept)
    scores = saturated(found.scores)
    kept = np.flatnonzero(scores > settings.detection)
    side = query.config.mask_size
    parts = [logits for _, logits, _ in query.draw(found, kept)]
    logits = np.concatenate(parts) if parts else np.zeros((0, side, side), np.float32)
    if settings.nms == 0:
        return Detections(scores[kept], logits)
    stay = survivors(scores[kept], logits > 0, settings.nms)
    if len(stay) == len(kept):
        return Detections(scores[kept], logits)
    lost = tuple(int(i) for i in np.setdiff1d(np.arange(len(kept)), stay))
    return Detections(scores[kept][stay], logits[stay], lost)
