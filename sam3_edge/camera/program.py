"""Programs that read a camera and write its frames to standard output: each can be killed."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from sam3_edge.camera.address import Address
from sam3_edge.errors import BackendError, UsageError

CODECS = {"mjpeg": "MJPG", "yuyv": "YUYV", "h264": "H264"}
CSI_SIZE = (720, 1280)  # of a sensor whose size nobody asked for


@dataclass(frozen=True)
class Wish:
    """How to read a camera: height and width, frames a second, a codec of `CODECS`; None: as it is."""

    size: tuple[int, int] | None = None
    rate: float | None = None
    codec: str | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < 1000:
            raise UsageError(f"{self.rate} frames a second: want more than 0 and less than 1000")
        if self.codec is not None and self.codec not in CODECS:
            raise UsageError(f"codec {self.codec!r}: choose from {', '.join(CODECS)}")


@dataclass(frozen=True)
class Program:
    """A command line, in which there is nothing secret, and what it is told through standard input.

    `size`: it writes bare RGB frames of this height and width; None: PPM pictures, which say their own.
    """

    words: tuple[str, ...]
    told: str = ""
    size: tuple[int, int] | None = None


def by_opencv(address: Address, wish: Wish) -> Program:
    """A Python of its own around OpenCV: `sam3_edge.camera.child`."""
    told = {"kind": address.kind, "url": address.url, **asdict(wish), "codec": CODECS.get(wish.codec or "")}
    if address.kind == "csi":
        height, width = wish.size or CSI_SIZE
        told |= {"kind": "gst", "url": f"{csi(address.place, height, width, wish.rate)} ! videoconvert"}
    return Program((sys.executable, "-m", "sam3_edge.camera.child"), json.dumps(told))


def by_ffmpeg(address: Address, wish: Wish) -> Program:
    """ffmpeg. A URL reaches it as a one-line playlist on standard input."""
    place = ["-i", address.place]
    told = ""
    if address.kind == "v4l2":
        size = ["-video_size", f"{wish.size[1]}x{wish.size[0]}"] if wish.size else []
        rate = ["-framerate", f"{wish.rate:g}"] if wish.rate else []
        codec = ["-input_format", {"yuyv": "yuyv422"}.get(wish.codec, wish.codec)] if wish.codec else []
        place = ["-nostdin", "-f", "v4l2", *size, *rate, *codec, *place]
    elif address.kind in ("rtsp", "http"):
        url = address.url
        if address.kind == "rtsp":  # over TCP: of a picture that lost a packet, half is grey
            url += ("&" if urlsplit(url).query else "?") + "tcp"
        quoted = url.replace("'", "'\\''")
        protocols = "pipe,fd,rtsp,rtsps,rtp,udp,tcp,tls,http,https,httpproxy"
        place = ["-f", "concat", "-safe", "0", "-protocol_whitelist", protocols, "-i", "pipe:0"]
        told = f"ffconcat version 1.0\nfile '{quoted}'\n"
    else:
        raise UsageError(f"ffmpeg does not read {address}: leave --reader out")
    steps = [f"fps={wish.rate:g}"] if wish.rate and address.kind != "v4l2" else []
    steps += [f"scale={wish.size[1]}:{wish.size[0]}"] if wish.size and address.kind != "v4l2" else []
    words = [found("ffmpeg"), "-hide_banner", "-loglevel", "error", "-fflags", "nobuffer", *place, "-an"]
    # A frame whose time does not advance is left out, so a source that stalls falls silent.
    words += ["-vsync", "vfr", *(["-vf", ",".join(steps)] if steps else [])]
    return Program((*words, "-f", "image2pipe", "-c:v", "ppm", "pipe:1"), told)


def by_gstreamer(address: Address, wish: Wish) -> Program:
    """gst-launch-1.0. For cameras without a secret: its pipeline is its command line."""
    height, width = wish.size or CSI_SIZE
    if address.kind == "csi":
        source = csi(address.place, height, width, wish.rate)
    elif address.kind == "gst":
        source = address.place
    elif address.kind == "v4l2":
        source = f"v4l2src device={address.place} ! decodebin"
    else:
        raise UsageError(f"gst-launch-1.0 does not read {address}: leave --reader out")
    if width % 4:
        raise UsageError(f"--size {width}x{height}: GStreamer pads its lines, want a width that 4 divides")
    rate = f",framerate={round((wish.rate or 0) * 1000)}/1000" if wish.rate else ""
    limit = f" ! videorate drop-only=true ! video/x-raw{rate}" if rate and address.kind != "csi" else ""
    form = f"video/x-raw,format=RGB,width={width},height={height}"
    line = f"{source}{limit} ! videoconvert ! videoscale ! {form} ! fdsink fd=1 sync=false"
    return Program((found("gst-launch-1.0"), "-q", *line.split()), size=(height, width))


def csi(sensor: str, height: int, width: int, rate: float | None) -> str:
    """The part of a pipeline that reads a Jetson's camera, through the image processor of the chip."""
    form = f"width={width},height={height},framerate={round(rate or 30)}/1"
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),{form} "
        "! nvvidconv ! video/x-raw,format=BGRx"
    )


def found(name: str) -> str:
    """Where a program is. Raises `BackendError` with what brings it."""
    path = shutil.which(name)
    if path is None:
        package = {"gst-launch-1.0": "gstreamer1.0-tools"}.get(name, name)
        raise BackendError(f"{name} is not installed: apt install {package}")
    return path


READERS: Mapping[str, Callable[[Address, Wish], Program]] = {
    "opencv": by_opencv,
    "ffmpeg": by_ffmpeg,
    "gstreamer": by_gstreamer,
}
DEFAULTS = {"csi": "gstreamer", "gst": "gstreamer"}


def program_for(address: Address, wish: Wish, reader: str | None = None) -> Program:
    """What reads a live camera. `reader`: a key of `READERS`, None for the one that fits.

    Raises `UsageError` for a reader that does not read such a camera, `BackendError` for a missing one.
    """
    return READERS[reader or DEFAULTS.get(address.kind, "opencv")](address, wish)
