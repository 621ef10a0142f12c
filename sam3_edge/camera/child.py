"""The child that reads a camera with OpenCV: told what on standard input, it writes PPM pictures.

A process of its own, because a driver or a decoder that hangs can then be killed. It ends with its parent:
standard input stays open as long as that lives.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

RTSP = "rtsp_transport;tcp|"
# Of probing a stream: 5 s and more by default, of which a camera that comes back would not be seen.
OPTIONS = "fflags;nobuffer|analyzeduration;1000000|probesize;1000000|fpsprobesize;0|" + (
    "stimeout;8000000|timeout;8000000"  # microseconds; the first is the name that FFmpeg 4 has for RTSP
)


def main() -> None:
    """Read until there is nothing more. Exit code 1 with a line on stderr when the camera cannot be read."""
    from sam3_edge.video.opencv import opencv

    cv2 = opencv()
    asked = json.loads(sys.stdin.readline() or "null")
    if asked is None:
        return
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = (RTSP if asked["kind"] == "rtsp" else "") + OPTIONS
    capture = open_camera(cv2, asked)
    if not capture.isOpened():
        sys.exit("it cannot be opened")
    try:
        write_frames(cv2, capture, asked)
    except BrokenPipeError:
        os._exit(0)
    sys.exit("it gives no more frames")


def end_with_parent() -> None:
    """Nothing more is ever told: the end of standard input is the parent's end."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def open_camera(cv2: Any, asked: dict[str, Any]) -> Any:
    """OpenCV's capture of a kind of camera, asked for a size, a rate and a codec where it can choose."""
    kind, url = asked["kind"], asked["url"]
    if kind == "gst":
        return cv2.VideoCapture(f"{url} ! appsink drop=true max-buffers=1 sync=false", cv2.CAP_GSTREAMER)
    if kind != "v4l2":
        return cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    capture = cv2.VideoCapture(url, cv2.CAP_V4L2)
    if asked["codec"]:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*asked["codec"]))
    if asked["size"]:
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, asked["size"][0])
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, asked["size"][1])
    if asked["rate"]:
        capture.set(cv2.CAP_PROP_FPS, asked["rate"])
    return capture


def write_frames(cv2: Any, capture: Any, asked: dict[str, Any]) -> None:
    """Every frame whose time advances, not more than the rate; each with the moment it was there."""
    apart = 0.9 / asked["rate"] if asked["rate"] else 0.0
    last, due = -1.0, 0.0
    while capture.grab():
        now, told = time.monotonic(), float(capture.get(cv2.CAP_PROP_POS_MSEC))
        stalled = asked["kind"] == "rtsp" and told == last
        last = told
        if stalled or now < due:
            continue
        whole, pixels = capture.retrieve()
        if not whole:
            return
        due = now + apart
        if asked["size"] and pixels.shape[:2] != tuple(asked["size"]):
            pixels = cv2.resize(pixels, asked["size"][::-1], interpolation=cv2.INTER_AREA)
        write(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), now)


def write(pixels: Any, captured: float) -> None:
    """A PPM picture with the monotonic time of its capture as a comment."""
    height, width = pixels.shape[:2]
    rest = memoryview(b"P6\n# captured %.6f\n%d %d\n255\n" % (captured, width, height) + pixels.tobytes())
    while rest:
        rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    main()
