"""The questions asked of one picture: the detector's graphs in order, on features that are there already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box, pooling_matrices
from sam3_edge.concept import Concept
from sam3_edge.embedding import Embedding
from sam3_edge.errors import CheckError
from sam3_edge.phrases import Phrases
from sam3_edge.resize import enlarge
from sam3_edge.segmentation import Floats, Segmentation
from sam3_edge.session import Value
from sam3_edge.spec import MASKED, ModelConfig


@dataclass(frozen=True, eq=False)
class Found:
    """What the detector answers: all queries of one concept, and what their masks are drawn from."""

    scores: Floats  # [Q], presence included
    boxes: Floats  # [Q, 4], xyxy, fractions of the picture
    queries: Floats  # [Q, D]
    presence: float
    feeds: Mapping[str, Value]


class Query:
    """The questions asked of one embedding. What the picture says without boxes is computed once."""

    def __init__(self, config: ModelConfig, phrases: Phrases, embedding: Embedding) -> None:
        self.config, self.phrases, self.embedding = config, phrases, embedding
        self.session = embedding.session
        self.exemplars: dict[tuple[Box, ...], tuple[Floats, Floats]] = {}

    def answer(self, concept: Concept, *, threshold: float, semantic: bool) -> Segmentation:
        """Detect, keep, and draw the masks of what is kept."""
        found = self.detect(concept)
        order = np.argsort(-found.scores, kind="stable")
        kept = order[: np.count_nonzero(found.scores > threshold)]
        height, width = self.embedding.size
        masks, whole = np.zeros((len(kept), height, width), np.bool_), None
        for part, logits, whole_logits in self.draw(found, kept, semantic=semantic):
            masks[part], whole = enlarge(logits, height, width), whole_logits
        pixels = found.boxes[kept] * np.array([width, height, width, height], np.float32)
        return Segmentation(concept, masks, pixels, found.scores[kept], found.presence, whole)

    def detect(self, concept: Concept) -> Found:
        """Run the detector. Raises `CheckError` for scores that are no numbers."""
        prompt = self.prompt(concept)
        found = self.session.run("detector", {**self.features("features_1x"), **prompt})
        logits, presence, boxes, queries = (
            self.session.fetch(found[name])[0] for name in ("logits", "presence", "boxes", "queries")
        )
        scores = sigmoid(logits) * sigmoid(presence)
        if not np.isfinite(scores).all():
            raise CheckError("graph detector gave scores that are no numbers: check the bundle with `verify`")
        feeds = {**prompt, "encoded": found["encoded"]}
        return Found(scores, boxes, queries, float(sigmoid(presence)[0]), feeds)

    def features(self, *names: str) -> dict[str, Value]:
        return {name: self.embedding.features[name] for name in names}

    def prompt(self, concept: Concept) -> dict[str, Value]:
        """Phrase, boxes and CLS as one prompt [1, P, D], and the bias [1, 1, 1, P] that hides its padding."""
        if concept.boxes not in self.exemplars:
            self.exemplars[concept.boxes] = self.exemplar(concept.boxes)
        tokens, valid = self.phrases.prompt(concept.text)
        exemplar_tokens, exemplar_bias = self.exemplars[concept.boxes]
        return {
            "prompt": np.concatenate((tokens, exemplar_tokens))[None],
            "prompt_bias": np.concatenate((hidden(valid), exemplar_bias))[None, None, None],
        }

    def exemplar(self, boxes: tuple[Box, ...]) -> tuple[Floats, Floats]:
        """Tokens [K + 1, D] of boxes and CLS, and their bias [K + 1]. Without boxes, CLS alone is seen."""
        c, count = self.config, len(boxes)
        places, labels = np.zeros((c.max_boxes, 4), np.float32), np.zeros(c.max_boxes, np.float32)
        for row, box in enumerate(boxes):
            places[row] = box.relative(*self.embedding.size)
            labels[row] = box.positive
        bias = hidden(np.append(np.arange(c.max_boxes) < count, True))
        pool_y, pool_x = pooling_matrices(places, c.grid, c.roi_size) if boxes else no_boxes(c)
        feeds = {"boxes": places, "labels": labels, "exemplar_bias": bias[None, None]}
        feeds |= {"pool_y": pool_y, "pool_x": pool_x}
        batch = {name: array[None] for name, array in feeds.items()}
        out = self.session.run("exemplar", {**self.features("features_1x"), **batch})
        return self.session.fetch(out["exemplar_tokens"])[0], bias

    def draw(
        self, found: Found, kept: NDArray[np.int64], *, semantic: bool = False
    ) -> Iterator[tuple[slice, Floats, Floats | None]]:
        """Mask logits [n, S, S] of the kept queries, a part of them at a time, and the concept's as a whole.

        The graph takes `mask_queries` at a time; it runs again when more are kept, so no object is lost.
        """
        size, queries = self.config.mask_queries, found.queries[kept]
        fine = self.features("features_4x", "features_2x")
        for first in range(0, len(queries) or int(semantic), size):
            some = queries[first : first + size]
            # The graph's shape is fixed: what is missing is filled with zeros and thrown away.
            full = np.zeros((1, size, self.config.dim), np.float32)
            full[0, : len(some)] = some
            out = self.session.run("masks", {**fine, **found.feeds, "queries": full})
            logits = self.session.fetch(out["masks"])[0, : len(some)]
            whole = self.session.fetch(out["semantic"])[0, 0] if semantic else None
            yield slice(first, first + len(some)), logits, whole


@lru_cache(maxsize=8)
def no_boxes(config: ModelConfig) -> tuple[Floats, Floats]:
    """The pooling matrices of padding alone: the same for every frame of a video, and 4 ms each time."""
    return pooling_matrices(np.zeros((config.max_boxes, 4), np.float32), config.grid, config.roi_size)


def sigmoid(x: Floats) -> Floats:
    """Of logits, which the graphs keep within +-12."""
    return (1 / (1 + np.exp(-x))).astype(np.float32)


def hidden(valid: NDArray[np.bool_]) -> Floats:
    """The additive bias of tokens: 0 where valid, and what attention cannot see where not."""
    return np.where(valid, 0, MASKED).astype(np.float32)
