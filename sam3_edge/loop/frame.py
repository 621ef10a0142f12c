"""One frame of a video: checked, brought to the model's square, and seen by the backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam3_edge.embedding import Embedding
from sam3_edge.errors import UsageError
from sam3_edge.session import Session, Value
from sam3_edge.stopwatch import timed

# v / 255 as float16, then (v - 0.5) / 0.5 in float16: the official video path stores its frames so.
SHARES = (np.arange(256) / 255.0).astype(np.float32).astype(np.float16)
LEVELS = ((SHARES - np.float16(0.5)) / np.float16(0.5)).astype(np.float32)


def check_frame(frame: NDArray[Any], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Raises `UsageError` unless uint8 [H, W, 3], of the size of the frames before it if there were any."""
    kind = f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        raise UsageError(f"frame {kind}: want uint8 [height, width, 3], red first, values 0 to 255")
    if frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise UsageError(f"frame {kind}: want uint8 [height, width, 3]; repeat a grey frame three times")
    if size is not None and frame.shape[:2] != size:
        raise UsageError(
            f"frame of {frame.shape[1]} x {frame.shape[0]} pixels after frames of {size[1]} x {size[0]}: "
            "resize it, or reset the tracker"
        )
    return frame


@timed("prepare")
def prepare_frame(frame: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """The backbone's input, float32 [1, 3, size, size] in [-1, 1]: bicubic, aspect ratio not kept.

    Equal to the official video path for frames given as pictures; stills take another filter (`prepare`).
    """
    small = Image.fromarray(np.ascontiguousarray(frame)).resize((size, size), Image.Resampling.BICUBIC)
    image = np.empty((1, 3, size, size), np.float32)
    for plane, band in zip(image[0], small.split(), strict=True):
        np.take(LEVELS, np.asarray(band), out=plane, mode="clip")  # nothing to clip, but no copy either
    return image


class Sight:
    """What the model sees of one frame. The backbone ran; the rest is computed when first asked for."""

    def __init__(
        self, session: Session, image: NDArray[np.float32], *, index: int, size: tuple[int, int]
    ) -> None:
        self.session, self.index, self.size = session, index, size
        self.embedding = Embedding(size, session.run("backbone", {"image": image}), session)

    def features(self, *names: str) -> dict[str, Value]:
        """Some of the tracker's features, for a feed."""
        return {name: self.embedding.tracker[name] for name in names}
