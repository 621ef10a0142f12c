"""Masks as palette pictures, the form that DAVIS and its tools use."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam3_edge.loop.events import FrameResult

MOST = 254  # objects of one picture: 0 is the ground, and 255 is void to those who read such pictures


def davis_palette() -> NDArray[np.uint8]:
    """256 colours [256, 3]: bit 3k + c of the index is bit 7 - k of colour c."""
    index, colours = np.arange(256), np.zeros((256, 3), np.int64)
    for k in range(8):
        for c in range(3):
            colours[:, c] |= (index >> (3 * k + c) & 1) << (7 - k)
    return colours.astype(np.uint8)


PALETTE = davis_palette().tobytes()


def numbered(result: FrameResult) -> NDArray[np.uint8]:
    """Every pixel's object [H, W]: its id plus 1, 0 for none.

    Where objects of several concepts overlap, the one that is more surely present has the pixel, the first
    of equals. Objects with ids above 253 are left out.
    """
    canvas = np.zeros(result.masks.shape[1:], np.uint8)
    for i in np.argsort(-result.presence, kind="stable")[::-1]:
        if result.ids[i] < MOST:
            canvas[result.masks[i]] = result.ids[i] + 1
    return canvas


def palette_png(values: NDArray[np.uint8]) -> bytes:
    """Values [H, W] as a PNG file with DAVIS's palette."""
    image = Image.fromarray(values)  # of mode L, whose bytes are the palette's indices too
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(PALETTE)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
