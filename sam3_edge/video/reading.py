"""Where frames come from: a video file, a folder of pictures, or standard input."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sam3_edge.errors import SourceError, UsageError
from sam3_edge.picture import MOST_PIXELS, read_picture
from sam3_edge.video.frames import FPS, Span, Video, VideoFrame
from sam3_edge.video.opencv import opencv

STDIN = "-"
MOST_FRAMES = 2**31  # a container that promises more does not know: OpenCV gives numbers of noise then


def silent(text: str) -> None:
    """A `note` that nobody hears."""


def open_video(
    source: str | Path,
    *,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    note: Callable[[str], object] = silent,
) -> Video:
    """A file, a folder of pictures in the order of their numbers, or `-` for standard input.

    `size`: height and width of raw RGB frames on standard input; without it an encoded stream is expected
    there, in a form that can be read without seeking (MPEG-TS, Matroska, WebM, fragmented MP4). `fps`
    replaces the rate that the source gives. Rotation that a file asks for is applied; frames of any depth
    and colours become 8-bit RGB, alpha is dropped. `note` is told what is odd but no error.

    Raises `SourceError` for what is not there or no video, `BackendError` where OpenCV is missing.
    """
    if fps is not None and not 0 < fps < 1e6:
        raise UsageError(f"{fps} frames a second: want more than 0")
    if str(source) == STDIN:
        return from_stdin(size, fps, note)
    if size is not None:
        raise UsageError("--size is of raw frames on standard input: give - as the video")
    path = Path(source)
    if path.is_dir():
        return from_folder(path, fps or FPS, note)
    if not path.exists():
        raise SourceError(f"video {path}: no such file or folder")
    real = os.path.realpath(path)  # no name that FFmpeg could take for a protocol or a pattern

    def read(span: Span) -> Iterator[VideoFrame | int]:
        return decode(open_capture(real, str(path)), span, str(path), rate=fps)

    capture = open_capture(real, str(path))
    try:
        return Video(str(path), fps or rate_of(capture), promised(capture), True, read, note)
    finally:
        capture.release()


def from_stdin(size: tuple[int, int] | None, fps: float | None, note: Callable[[str], object]) -> Video:
    """Raw frames of a size, or an encoded stream."""
    if sys.stdin.isatty():
        raise UsageError("nothing is piped into standard input: give a file, or pipe a video in")
    if size is not None:
        height, width = size
        rate = fps or FPS
        return Video(
            STDIN, rate, None, False, lambda span: raw(sys.stdin.buffer, height, width, span, rate), note
        )
    capture = open_capture("pipe:0", "standard input")
    rate = fps or rate_of(capture)
    return Video(STDIN, rate, None, False, lambda span: decode(capture, span, STDIN, rate=fps), note)


def open_capture(place: str, name: str) -> Any:
    """OpenCV's reader. Raises `SourceError` for what it cannot open."""
    cv2 = opencv()
    capture = cv2.VideoCapture(place)
    width, height = (capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    fact = None
    if not capture.isOpened():
        fact = "is no video that OpenCV can read, or it is cut or damaged"
    elif capture.getBackendName() == "CV_IMAGES":
        fact = "is a picture: name the folder of all frames"
    elif width * height > MOST_PIXELS:
        fact = f"has frames above {MOST_PIXELS // 10**6} megapixels: scale it down first"
    if fact:
        capture.release()
        raise SourceError(f"video {name} {fact}")
    return capture


def rate_of(capture: Any) -> float:
    """Frames a second, on average where they vary."""
    rate = float(capture.get(opencv().CAP_PROP_FPS))
    return rate if 0 < rate < 1e4 else FPS


def promised(capture: Any) -> int | None:
    """How many frames the container says there are."""
    count = capture.get(opencv().CAP_PROP_FRAME_COUNT)
    return int(count) if 0 < count < MOST_FRAMES else None


def decode(capture: Any, span: Span, name: str, *, rate: float | None) -> Iterator[VideoFrame | int]:
    """Frames of an open capture, and their number. Times are the container's, or made from `rate`."""
    cv2 = opencv()
    step, time, index = 1 / (rate or rate_of(capture)), 0.0, 0
    try:
        while not span.over(index) and capture.grab():
            told = max(0.0, float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000)
            # Some streams carry no times: OpenCV gives the same one again.
            time = index * step if rate else told if told > time or not index else time + step
            if span.wants(index):
                whole, pixels = capture.retrieve()
                if not whole:
                    break
                yield VideoFrame(index, time, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
            index += 1
        if not span.over(index):
            yield index
    except cv2.error as error:
        raise SourceError(f"video {name}: frame {index} cannot be decoded ({error.err})") from error
    finally:
        capture.release()


def from_folder(folder: Path, fps: float, note: Callable[[str], object]) -> Video:
    """Pictures as frames."""
    from sam3_edge.run import find_pictures

    paths = sorted(find_pictures([folder]), key=by_number)

    def read(span: Span) -> Iterator[VideoFrame | int]:
        shape = None
        for index, path in enumerate(paths):
            if span.over(index):
                return
            if span.wants(index):
                pixels = read_picture(path)
                if shape not in (None, pixels.shape):
                    raise SourceError(
                        f"{path} is of {pixels.shape[1]} x {pixels.shape[0]} pixels, unlike the frames "
                        "before: a video has one size"
                    )
                shape = pixels.shape
                yield VideoFrame(index, index / fps, pixels)
        yield len(paths)

    return Video(str(folder), fps, len(paths), True, read, note)


def by_number(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts frame2 before frame10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def raw(stream: BinaryIO, height: int, width: int, span: Span, fps: float) -> Iterator[VideoFrame | int]:
    """Raw frames, RGB, a byte a colour."""
    index, size = 0, height * width * 3
    while not span.over(index) and (data := stream.read(size)):
        if len(data) < size:
            raise SourceError(
                f"standard input ends within frame {index}, after {len(data)} of its {size} bytes: "
                f"want RGB, 3 bytes a pixel, {width} x {height} pixels"
            )
        if span.wants(index):
            yield VideoFrame(index, index / fps, np.frombuffer(data, np.uint8).reshape(height, width, 3))
        index += 1
    if not span.over(index):
        yield index
