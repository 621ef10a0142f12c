"""What lets `transformers`' SAM 3 import and run where torchvision's compiled operators do not fit torch.

The usual wheel of torchvision wants CUDA's torch. Benchmarks beside `transformers` and tests need this.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sam3_edge.errors import BackendError

# What torchvision's own import looks up; the rest it only calls.
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def operators_load() -> bool:
    """Whether torchvision's compiled operators fit this torch. The usual wheel wants CUDA's."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise BackendError("transformers wants torchvision, which is not here: pip install -e '.[dev]'")
    libraries = sorted(Path(spec.origin).parent.glob("_C*.so"))
    try:
        for library in libraries:
            torch.ops.load_library(library)
    except OSError:
        return False
    return bool(libraries)


@cache
def prepare_torchvision() -> torch.library.Library | None:
    """Make `import torchvision` succeed, and its RoIAlign work on lists of boxes."""
    if operators_load():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # undone when collected, so it is kept
    for schema in SCHEMAS:
        library.define(schema)
    import torchvision

    torchvision.ops.roi_align = roi_align
    return library


def roi_align(features: Tensor, boxes: Sequence[Tensor], size: int) -> Tensor:
    """RoIAlign by its definition, `aligned=False` and adaptive sampling: slow, and obviously so.

    features [B, C, H, W], for each picture boxes [K, 4] in cells -> [B * K, C, size, size].
    """
    pairs = ((feature, box) for feature, few in zip(features, boxes, strict=True) for box in few)
    return torch.stack([pool_box(feature, box.tolist(), size) for feature, box in pairs])


def pool_box(feature: Tensor, box: Sequence[float], size: int) -> Tensor:
    """The mean of each bin's samples, of which there are as many as the bin has cells, rounded up."""
    x0, y0, x1, y1 = box
    wide, high = max(x1 - x0, 1.0) / size, max(y1 - y0, 1.0) / size
    columns, rows = math.ceil(wide), math.ceil(high)
    pooled = feature.new_zeros(len(feature), size, size)
    for by in range(size):
        for bx in range(size):
            samples = [
                sample(feature, y0 + (by + (j + 0.5) / rows) * high, x0 + (bx + (i + 0.5) / columns) * wide)
                for j in range(rows)
                for i in range(columns)
            ]
            pooled[:, by, bx] = torch.stack(samples).mean(0)
    return pooled


def sample(feature: Tensor, y: float, x: float) -> Tensor:
    """Bilinear interpolation; nothing beyond one cell outside the map, the border's value within it."""
    height, width = feature.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros_like(feature[:, 0, 0])
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = feature[:, top, left] * (left + 1 - x) + feature[:, top, right] * (x - left)
    lower = feature[:, bottom, left] * (left + 1 - x) + feature[:, bottom, right] * (x - left)
    return upper * (top + 1 - y) + lower * (y - top)
