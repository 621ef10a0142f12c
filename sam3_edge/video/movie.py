"""Encoding a video: a hidden file until it is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import BackendError, ResourceError, UsageError
from sam3_edge.video.opencv import opencv

CODEC = "mp4v"  # MPEG-4: every build of OpenCV encodes it, at a few milliseconds a frame


class Movie:
    """An MP4 at `path`, which appears when it is closed: until then it is a hidden sibling.

    Encoders say nothing of a full disk. What was written is therefore counted when the file is closed.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self.part = path.with_name(f".{path.name}.part.mp4")
        self.writer: Any = None
        self.count = 0

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """The next frame, RGB [H, W, 3], all of one size. Raises `BackendError` where nothing can encode."""
        cv2 = opencv()
        # The encoder wants even sides, and would cut odd ones.
        high, wide = pixels.shape[0] % 2, pixels.shape[1] % 2
        if high or wide:
            pixels = np.pad(pixels, ((0, high), (0, wide), (0, 0)), mode="edge")
        if self.writer is None:
            self.open(pixels.shape[1], pixels.shape[0])
        self.writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        self.count += 1

    def open(self, width: int, height: int) -> None:
        """Begin the hidden file."""
        cv2 = opencv()
        try:
            self.part.touch()
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written ({error.strerror}): pass another -o") from error
        self.writer = cv2.VideoWriter(
            str(self.part), cv2.VideoWriter_fourcc(*CODEC), self.fps, (width, height)
        )
        if not self.writer.isOpened():
            self.discard()
            raise BackendError(
                f"{self.path}: this OpenCV cannot encode {CODEC} at {width} x {height}: "
                "leave video out of --save, or install opencv-python"
            )

    def close(self) -> Path | None:
        """Finish the file; None if it has no frame. Raises `ResourceError` if it is not whole."""
        if self.writer is None:
            return None
        self.writer.release()
        self.writer = None
        if held(self.part) < self.count:
            self.part.unlink()
            raise ResourceError(
                f"{self.path}: the disk is full, and no overlay was kept: free some space or pass another -o"
            )
        os.replace(self.part, self.path)
        return self.path

    def discard(self) -> None:
        """Leave nothing."""
        if self.writer is not None:
            self.writer.release()
            self.writer = None
        self.part.unlink(missing_ok=True)


def held(path: Path) -> int:
    """How many frames a file says it has, 0 for one that cannot be read."""
    cv2 = opencv()
    capture = cv2.VideoCapture(str(path))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()
