"""Pictures: from a file, an array or a Pillow image to uint8 RGB, and from there to the backbone's input."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sam3_edge.errors import SourceError, UsageError
from sam3_edge.resize import resize_picture

PictureLike: TypeAlias = "str | Path | NDArray[Any] | Image.Image"

MOST_PIXELS = 178_956_970  # Pillow's own bound against decompression bombs: half a gigabyte of RGB

# EPS is not among them: Pillow hands it to Ghostscript, which runs programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")

# What decoders raise on broken files. A cut PNG chunk is a struct.error or a SyntaxError, AVIF a
# RuntimeError.
BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, RuntimeError),
    *(struct.error, zlib.error),
)

# v / 255 as a product with float32(1 / 255), then (v - 0.5) / 0.5: the reference's arithmetic, to the bit.
LEVELS = (np.arange(256, dtype=np.float32) * np.float32(1 / 255) - np.float32(0.5)) / np.float32(0.5)


def read_picture(source: PictureLike) -> NDArray[np.uint8]:
    """RGB, uint8 [H, W, 3], turned upright by its EXIF orientation.

    Grey, palette, CMYK and 1-bit pictures become RGB; alpha is dropped, not composited, as in the official
    path; 16-bit grey is scaled by 1/257, of 16-bit colour Pillow keeps the high byte. Of an animation, the
    first frame. An array must be uint8 RGB [H, W, 3] already.

    Raises `SourceError` for a file that is missing, not a picture, broken, or above 178 megapixels, and
    `UsageError` for an array of another shape or dtype.
    """
    if isinstance(source, np.ndarray):
        return check_array(source)
    if isinstance(source, Image.Image):
        return decode(source, name="picture")
    try:
        opened = open_picture(source)
    except FileNotFoundError as error:
        raise SourceError(f"picture {source}: no such file") from error
    except UnidentifiedImageError as error:
        raise SourceError(f"{source} is not a picture: want {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise too_large(str(source)) from error
    except BROKEN as error:
        raise SourceError(f"picture {source} cannot be read: {reason(error)}") from error
    with opened:
        return decode(opened, name=f"picture {source}")


def check_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Raises `UsageError` unless uint8 [H, W, 3] with at least one pixel."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UsageError(
            f"picture array {array.dtype} {list(array.shape)}: want uint8 [height, width, 3], red first"
        )
    return array


def open_picture(path: str | Path) -> Image.Image:
    """The header only; pixels are decoded later."""
    Image.init()
    with warnings.catch_warnings():
        # Pillow warns from half its bound on; up to the bound is fine here.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def decode(image: Image.Image, *, name: str) -> NDArray[np.uint8]:
    """All pixels, upright, RGB."""
    if image.width * image.height > MOST_PIXELS:
        raise too_large(name)
    if not image.width * image.height:
        raise SourceError(f"{name} has no pixels: {image.width} x {image.height}")
    try:
        upright = ImageOps.exif_transpose(image)
        deep = upright.mode == "I" or upright.mode.startswith("I;16")
        pixels = np.asarray(upright) if deep else np.asarray(flatten(upright))
    except BROKEN as error:
        raise SourceError(f"{name} is broken: {reason(error)}") from error
    if upright.mode == "F":
        raise SourceError(f"{name} holds floats of unknown range: save it with 8 or 16 bits")
    return from_deep(pixels, name=name) if deep else pixels


def flatten(image: Image.Image) -> Image.Image:
    """RGB, without alpha. Palettes go through RGBA: Pillow warns about transparent ones otherwise."""
    return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")


def from_deep(grey: NDArray[Any], *, name: str) -> NDArray[np.uint8]:
    """16-bit grey [H, W] -> RGB. Pillow's own conversion clips at 255 instead: almost all white."""
    if grey.min() < 0 or grey.max() > 65535:
        raise SourceError(f"{name} has values from {grey.min()} to {grey.max()}: save it with 8 or 16 bits")
    small = ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(small[..., None], 3, axis=2)


def reason(error: BaseException) -> str:
    """What went wrong, on one line and without the path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).splitlines()[0]


def too_large(name: str) -> SourceError:
    return SourceError(f"{name} is above {MOST_PIXELS // 10**6} megapixels: scale it down first")


def prepare(picture: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """The backbone's input, float32 [1, 3, size, size] in [-1, 1]: squashed by `resize_picture`."""
    values: NDArray[np.float32] = LEVELS[resize_picture(picture, size)]
    return values[None]


def to_pixels(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pixels, 0 to 255, that a backbone's input in [-1, 1] was made of: whole numbers of any shape."""
    pixels: NDArray[np.float32] = np.clip(np.rint(image * 127.5 + 127.5), 0, 255)
    return pixels
