"""OpenCV, which decodes and encodes videos: imported when a video is asked for, and not before."""

from __future__ import annotations

import os
from typing import Any

from sam3_edge.errors import BackendError

# What its decoders say of damaged frames on stderr, hundreds of lines, is nothing a user can act on.
QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def opencv() -> Any:
    """The module `cv2`. Raises `BackendError` where there is none."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import cv2
    except ImportError as error:
        raise BackendError(
            f"videos need OpenCV ({error}): pip install 'sam3-edge[video]', or on a Jetson its own, "
            "apt install python3-opencv"
        ) from error
    return cv2
