"""SAM 3 on devices: verified bundles, and a runtime without torch.

>>> import sam3_edge
>>> with sam3_edge.load() as segmenter:
...     (found,) = segmenter.segment("picture.png", "red circle")
...     found.masks, found.boxes, found.scores
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam3_edge.boxes import Box
    from sam3_edge.builtin import builtin_bundle
    from sam3_edge.bundle import Bundle
    from sam3_edge.concept import Concept
    from sam3_edge.embedding import Embedding
    from sam3_edge.embedding_cache import EmbeddingCache
    from sam3_edge.errors import EdgeError
    from sam3_edge.loop.events import FrameResult
    from sam3_edge.loop.tracker import Tracker
    from sam3_edge.segmentation import Segmentation
    from sam3_edge.segmenter import Segmenter, load
    from sam3_edge.selection import Selection
    from sam3_edge.spec import ModelConfig
    from sam3_edge.tracking import track

__version__ = "0.1.0"

__all__ = [
    "Box",
    "Bundle",
    "Concept",
    "EdgeError",
    "Embedding",
    "EmbeddingCache",
    "FrameResult",
    "ModelConfig",
    "Segmentation",
    "Segmenter",
    "Selection",
    "Tracker",
    "__version__",
    "builtin_bundle",
    "load",
    "track",
]

# Where each public name lives. Imported when first asked for: numpy and Pillow alone cost 150 ms.
HOMES = {
    "Box": "boxes",
    "Bundle": "bundle",
    "Concept": "concept",
    "EdgeError": "errors",
    "Embedding": "embedding",
    "EmbeddingCache": "embedding_cache",
    "FrameResult": "loop.events",
    "ModelConfig": "spec",
    "Segmentation": "segmentation",
    "Segmenter": "segmenter",
    "Selection": "selection",
    "Tracker": "loop.tracker",
    "builtin_bundle": "builtin",
    "load": "segmenter",
    "track": "tracking",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'sam3_edge' has no attribute {name!r}")
    return getattr(import_module(f"sam3_edge.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
