"""Segment pictures: a bundle's graphs in order, with the official image post-processing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box, pooling_matrices
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.concept import Asked, Concept, as_concepts
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.phrases import Phrases, open_phrases
from sam3_edge.picture import PictureLike, prepare, read_picture
from sam3_edge.resize import enlarge
from sam3_edge.session import Session, Value, open_session
from sam3_edge.spec import MASKED, ModelConfig

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embedding:
    """A picture as the model sees it, to be asked again and again. The features may live on a device."""

    size: tuple[int, int]  # height and width in pixels
    features: Mapping[str, Value]
    session: Session


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The objects of one concept in one picture, best score first.

    masks bool [N, H, W]; boxes float32 [N, 4], xyxy in pixels as predicted, perhaps a hair over the edge;
    scores float32 [N], above the threshold; presence, how likely the concept is there at all, 0 to 1;
    semantic float32 [S, S], logits of the concept's mask as a whole before upsampling, if it was asked for.
    """

    concept: Concept
    masks: NDArray[np.bool_]
    boxes: Floats
    scores: Floats
    presence: float
    semantic: Floats | None = None

    def __len__(self) -> int:
        return len(self.scores)


class Segmenter:
    """Finds every object that matches a concept. Made by `load`; to be closed, or used in a `with` block."""

    def __init__(self, config: ModelConfig, session: Session, phrases: Phrases) -> None:
        self.config, self.session, self.phrases = config, session, phrases

    def embed(self, picture: PictureLike) -> Embedding:
        """Run the backbone, the costly part, once. Raises what `read_picture` raises."""
        pixels = read_picture(picture)
        image = prepare(pixels, self.config.image_size)
        trunk = self.session.run("backbone", {"image": image})
        features = self.session.run("detector_features", trunk)
        return Embedding((pixels.shape[0], pixels.shape[1]), features, self.session)

    def segment(
        self,
        picture: PictureLike | Embedding,
        concepts: Asked,
        *,
        threshold: float = 0.5,
        semantic: bool = False,
    ) -> list[Segmentation]:
        """One answer per concept, in their order; the backbone runs once for all of them.

        `threshold`: objects score above it, 0 to 1. Raises `UsageError` for a request that is wrong in itself
        (too many boxes, a box outside the picture, an unknown phrase) before anything costly runs.
        """
        if not 0 <= threshold <= 1:
            raise UsageError(f"threshold {threshold}: want 0 to 1")
        asked = as_concepts(concepts)
        for concept in asked:
            self.check(concept)
        held = picture if isinstance(picture, Embedding) else read_picture(picture)
        height, width = held.size if isinstance(held, Embedding) else held.shape[:2]
        for box in (box for concept in asked for box in concept.boxes):
            box.relative(height, width)
        embedding = held if isinstance(held, Embedding) else self.embed(held)
        if embedding.session is not self.session:
            raise UsageError("the embedding is of another model: embed the picture with this one")
        query = Query(self.config, self.phrases, embedding)
        return [query.answer(concept, threshold=threshold, semantic=semantic) for concept in asked]

    def check(self, concept: Concept) -> None:
        """Raises `UsageError` for a concept that this model cannot be asked."""
        most = self.config.max_boxes
        if len(concept.boxes) > most:
            raise UsageError(
                f"{len(concept.boxes)} boxes for {str(concept)!r:.80}: this bundle takes {most} at most; "
                "leave some out, or export with a larger --max-boxes"
            )
        self.phrases.prompt(concept.text)

    def close(self) -> None:
        """Free the session. Embeddings are void afterwards."""
        self.session.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


def load(bundle: str | Path | None = None, *, threads: int | None = None) -> Segmenter:
    """A segmenter on a bundle directory, None for the built-in model. `threads`: processor threads.

    Raises `SourceError` and `CheckError` for a bundle that is missing or damaged, `BackendError` when its
    runtime is not installed or does not work here.
    """
    opened = Bundle.open(builtin_bundle() if bundle is None else bundle)
    session = open_session(opened, threads=threads)
    return Segmenter(opened.config, session, open_phrases(opened, session))
