"""Results as one COCO document: images, categories, annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge import __version__
from sam3_edge.polygons import polygons
from sam3_edge.result import Result


class CocoDocument:
    """Collects the results of pictures. Masks are encoded as they come: many pictures fit in memory."""

    def __init__(self, *, polygons: bool = False) -> None:
        """`polygons`: lists of corners instead of run lengths. Both hold exactly the same pixels."""
        self.polygons = polygons
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.categories: dict[str, int] = {}

    def add(self, file_name: str, size: tuple[int, int], found: Sequence[Result]) -> None:
        """One picture or frame of `size` (height, width) and what was found in it. A category per phrase."""
        height, width = size
        image = len(self.images) + 1
        self.images.append({"id": image, "file_name": file_name, "width": width, "height": height})
        for part in found:
            for name in part.classes:
                self.categories.setdefault(name, len(self.categories) + 1)
            for index, name in enumerate(part.names):
                number, category = len(self.annotations) + 1, self.categories[name]
                self.annotations.append(
                    {"id": number, "image_id": image, "category_id": category}
                    | annotation(part, index, corners=self.polygons)
                )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `pycocotools.coco.COCO` and labelling tools read them."""
        return {
            "info": {"description": f"sam3-edge {__version__}"},
            "images": self.images,
            "categories": [{"id": number, "name": name} for name, number in self.categories.items()],
            "annotations": self.annotations,
        }

    def to_bytes(self) -> bytes:
        """The document as a file. The same results give the same bytes."""
        return (json.dumps(self.to_json(), ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def annotation(found: Result, index: int, *, corners: bool) -> dict[str, Any]:
    """One object: mask, its area in pixels, its box as x, y, width, height, its score and its identity."""
    mask = found.masks[index]
    x0, y0, x1, y1 = (round(float(edge), 2) for edge in found.boxes[index])
    shape: Any = [ring.ravel().tolist() for ring in polygons(mask)] if corners else run_lengths(mask)
    known = {} if found.object_ids is None else {"track_id": int(found.object_ids[index])}
    return known | {
        "segmentation": shape,
        "area": int(np.count_nonzero(mask)),
        "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
        "iscrowd": 0,
        "score": round(float(found.scores[index]), 6),
    }


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's compressed run lengths, column by column."""
    from pycocotools import mask as rle

    encoded = rle.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
