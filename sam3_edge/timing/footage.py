"""The frames that a benchmark is run on: a generated clip as a camera would send it, or a video."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam3_edge.errors import UsageError
from sam3_edge.shapes.clips import draw_clip
from sam3_edge.shapes.scripts import write_script
from sam3_edge.video.reading import open_video

SEED, KINDS, LENGTH = 11, ("look-alikes",), 24
SIZE = (720, 1280)
QUALITY = 90  # of the JPEGs, as webcams send them
PHRASE = "circle"

Frames = Iterator[NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Footage:
    """Frames without end. `endless()` starts them; each `next` decodes one, uint8 RGB [H, W, 3]."""

    name: str
    size: tuple[int, int]  # height and width
    codec: str
    sha256: str  # of the encoded bytes
    length: int | None
    endless: Callable[[], Frames]

    def to_json(self) -> dict[str, Any]:
        """What was shown."""
        return {
            "name": self.name,
            "height": self.size[0],
            "width": self.size[1],
            "codec": self.codec,
            "sha256": self.sha256,
            "frames": self.length,
        }


def generated(size: tuple[int, int] = SIZE, length: int = LENGTH) -> Footage:
    """A clip of shapes as JPEGs in memory, as from a webcam: it costs a decoder, and no disk.

    Played forth and back, so that nothing jumps. `size`: height and width.
    """
    script = write_script(np.random.default_rng(SEED), KINDS, frames=length)
    jpegs = [jpeg(widened(frame.picture, size)) for frame in draw_clip(script)]
    digest = hashlib.sha256(b"".join(jpegs)).hexdigest()
    order = jpegs + jpegs[-2:0:-1]
    return Footage(
        "generated shapes", size, "jpeg", digest, length, lambda: (decoded(data) for data in cycle(order))
    )


def widened(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A square picture in the middle of a frame, its edges drawn out to the sides."""
    side = min(size)
    square = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
    up, left = (size[0] - side) // 2, (size[1] - side) // 2
    around = ((up, size[0] - side - up), (left, size[1] - side - left), (0, 0))
    return np.pad(square, around, "edge")


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """The frame as a JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def decoded(data: bytes) -> NDArray[np.uint8]:
    """A JPEG's pixels."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def from_video(path: Path) -> Footage:
    """A video file or a folder of pictures, again and again. Raises what `open_video` raises."""
    video = open_video(path)
    first = next(video.frames(), None)
    if first is None:
        raise UsageError(f"{path} has no frame: give another --source")

    def endless() -> Frames:
        while True:
            for frame in video.frames():
                yield frame.pixels

    height, width = first.pixels.shape[:2]
    codec = "pictures" if path.is_dir() else path.suffix.lstrip(".")
    return Footage(path.name, (height, width), codec, digest_of(path), video.count, endless)


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a folder's files one after the other, by name."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
