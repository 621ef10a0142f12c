"""Segment pictures: a bundle's graphs in order, with the official image post-processing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.concept import Asked, Concept, as_concepts
from sam3_edge.embedding import Embedding
from sam3_edge.embedding_cache import EmbeddingCache
from sam3_edge.errors import UsageError
from sam3_edge.phrases import Phrases, open_phrases
from sam3_edge.picture import PictureLike, prepare, read_picture
from sam3_edge.query import Query
from sam3_edge.segmentation import Segmentation
from sam3_edge.session import Session, Value, open_session
from sam3_edge.spec import ModelConfig, graph_specs

if TYPE_CHECKING:
    from sam3_edge.loop.settings import Settings
    from sam3_edge.loop.tracker import Tracker
    from sam3_edge.selection import Selection

__all__ = ["Embedding", "Segmentation", "Segmenter", "load"]

Cache: TypeAlias = "EmbeddingCache | str | Path"


class Segmenter:
    """Finds every object that matches a concept. Made by `load`; to be closed, or used in a `with` block."""

    def __init__(
        self, config: ModelConfig, session: Session, phrases: Phrases, *, bundle: str | None = None
    ) -> None:
        """`bundle`: the hash of the bundle that the session runs, if it is one."""
        self.config, self.session, self.phrases, self.bundle = config, session, phrases, bundle

    def embed(self, picture: PictureLike, *, cache: Cache | None = None) -> Embedding:
        """Run the backbone, the costly part, once. `cache`: a folder that keeps what it gives out.

        Raises what `read_picture` raises, and for a cache what `EmbeddingCache` raises.
        """
        pixels = read_picture(picture)
        size = (pixels.shape[0], pixels.shape[1])
        if cache is None:
            return Embedding(size, self.look(pixels), self.session)
        if self.bundle is None:
            raise UsageError("a cache needs a bundle, by whose hash it knows the model: use `load`")
        store, spec = EmbeddingCache.of(cache), graph_specs(self.config)["backbone"].outputs[0]
        path = store.path(pixels, self.bundle)
        kept = store.read(path, spec)
        if kept is not None:
            return Embedding(size, {spec.name: kept}, self.session)
        trunk = self.look(pixels)
        store.write(path, spec, self.session.fetch(trunk[spec.name]))
        return Embedding(size, trunk, self.session)

    def look(self, pixels: NDArray[np.uint8]) -> Mapping[str, Value]:
        """The backbone's output for a picture [H, W, 3]."""
        return self.session.run("backbone", {"image": prepare(pixels, self.config.image_size)})

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
        query = Query(self.config, self.phrases, self.seen(held))
        return [query.answer(concept, threshold=threshold, semantic=semantic) for concept in asked]

    def click(
        self,
        picture: PictureLike | Embedding,
        *,
        multimask: bool | None = None,
        cache: Cache | None = None,
    ) -> Selection:
        """Point out one object of a picture by clicks, a box or a mask; refine and undo (`Selection`).

        `multimask`: three candidates for every prompt, or one; None for three as long as the prompt may mean
        several things. `cache` as for `embed`. Raises `UsageError` for a model without a tracker, whose
        decoder answers clicks.
        """
        from sam3_edge.selection import Selection

        self.check_clicks()
        return Selection(self.config, self.seen(picture, cache=cache), multimask=multimask)

    def seen(self, picture: PictureLike | Embedding, *, cache: Cache | None = None) -> Embedding:
        """The picture's embedding. Raises `UsageError` for that of another model."""
        embedding = picture if isinstance(picture, Embedding) else self.embed(picture, cache=cache)
        if embedding.session is not self.session:
            raise UsageError("the embedding is of another model: embed the picture with this one")
        return embedding

    def check(self, concept: Concept) -> None:
        """Raises `UsageError` for a concept that this model cannot be asked."""
        most = self.config.max_boxes
        if len(concept.boxes) > most:
            raise UsageError(
                f"{len(concept.boxes)} boxes for {str(concept)!r:.80}: this bundle takes {most} at most; "
                "leave some out, or export with a larger --max-boxes"
            )
        self.phrases.prompt(concept.text)

    def tracker(self, *, settings: Settings | None = None, size: tuple[int, int] | None = None) -> Tracker:
        """The video loop on this model, for callers who own the loop: `add` concepts, then `step` frames.

        `size`: height and width of the frames; the first frame's if None. Raises what `Tracker` raises.
        """
        from sam3_edge.loop.tracker import Tracker

        return Tracker(self.session, self.config, self.phrases, settings=settings, size=size)

    def check_clicks(self) -> None:
        """Raises `UsageError` for a model that answers no clicks: the tracker's decoder does."""
        if not self.config.tracks:
            raise UsageError("this model answers no clicks: export the bundle again from one with a tracker")

    def close(self) -> None:
        """Free the session. Embeddings are void afterwards."""
        self.session.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    bundle: str | Path | None = None,
    *,
    threads: int | None = None,
    device: str | None = None,
    emulate: bool = False,
) -> Segmenter:
    """A segmenter on a bundle directory, None for the built-in model.

    `threads`: processor threads; `device`: where to run, if the runtime has a choice (`cpu`, `cuda`, `trt`).
    `emulate`: not on the bundle's own runtime but on what `export` measured it with, which runs anywhere.
    Raises `SourceError` and `CheckError` for a bundle that is missing or damaged, `BackendError` when its
    runtime is not installed or does not work here.
    """
    opened = Bundle.open(builtin_bundle() if bundle is None else bundle)
    session = open_session(opened, threads=threads, device=device, emulate=emulate)
    return Segmenter(opened.config, session, open_phrases(opened, session), bundle=opened.hash)
