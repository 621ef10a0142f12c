"""Frames out of a pipe: PPM pictures, or bare RGB of a known size."""

from __future__ import annotations

import os
import select
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import SourceError
from sam3_edge.picture import MOST_PIXELS

CHUNK = 64  # bytes: a header, and never more than the smallest frame that makes sense with it


class Silence(Exception):
    """Nothing came in time."""


@dataclass(frozen=True, eq=False)
class Picture:
    """RGB uint8 [H, W, 3], and when it was there by the monotonic clock."""

    pixels: NDArray[np.uint8]
    captured: float


class FrameStream:
    """The frames that a program writes into a pipe."""

    def __init__(self, pipe: int, size: tuple[int, int] | None = None) -> None:
        """`size`: height and width of bare frames; None for PPM."""
        self.pipe, self.size, self.ahead = pipe, size, b""
        self.poll = select.poll()
        self.poll.register(pipe, select.POLLIN)

    def read(self, patience: float) -> Picture | None:
        """The next frame, None at the end. Raises `Silence` when none is whole after so many seconds.

        Raises `SourceError` for what is no frame.
        """
        until = time.monotonic() + patience
        header = (*self.size, None) if self.size else self.header(until)
        if header is None:
            return None
        height, width, captured = header
        if not 0 < height * width <= MOST_PIXELS:
            raise SourceError(
                f"a frame of {width} x {height} pixels: want up to {MOST_PIXELS // 10**6} megapixels"
            )
        data = bytearray(height * width * 3)
        place = memoryview(data)
        taken, self.ahead = self.ahead[: len(data)], self.ahead[len(data) :]
        place[: len(taken)] = taken
        done = len(taken)
        while done < len(data):
            if not (count := self.fill(place[done:], until)):
                return None
            captured = captured or time.monotonic()
            done += count
        pixels = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        return Picture(pixels, captured or time.monotonic())

    def header(self, until: float) -> tuple[int, int, float | None] | None:
        """Height, width and moment of a PPM picture; None at the end."""
        words: list[bytes] = []
        captured = None
        while len(words) < 4:
            line = self.line(until)
            if line is None:
                return None
            if line.startswith(b"#"):
                captured = float(line.split()[2]) if line.startswith(b"# captured") else captured
            else:
                words += line.split()
        if words[0] != b"P6" or words[3] != b"255" or not (words[1].isdigit() and words[2].isdigit()):
            raise SourceError("what it gives is no picture")
        return int(words[2]), int(words[1]), captured

    def line(self, until: float) -> bytes | None:
        """A line of a header; None at the end."""
        while b"\n" not in self.ahead:
            if len(self.ahead) > CHUNK:
                raise SourceError("what it gives is no picture")
            chunk = bytearray(CHUNK)
            if not (count := self.fill(memoryview(chunk), until)):
                return None
            self.ahead += chunk[:count]
        line, _, self.ahead = self.ahead.partition(b"\n")
        return line

    def fill(self, place: memoryview, until: float) -> int:
        """Read what is there; 0 at the end."""
        if not self.poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise Silence
        return os.readv(self.pipe, [place])
