"""Results drawn on the picture: each object tinted and outlined, with its phrase and score."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sam3_edge.loop.events import FrameResult
from sam3_edge.segmentation import Segmentation

SMALLEST = 480  # the longer side below which a picture is enlarged, so that labels can be read
LONGEST = 40  # characters of a phrase on a label
TINT = 0.45
GOLDEN = 0.618034  # of the colour circle: successive hues stay far apart however many there are

RGB = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, eq=False)
class Marked:
    """An object to be drawn: its mask [H, W], the box's left top corner in pixels, its label and colour."""

    mask: NDArray[np.bool_]
    corner: tuple[float, float]
    text: str
    colour: RGB


def draw(picture: NDArray[np.uint8], found: Sequence[Segmentation]) -> Image.Image:
    """`picture` [H, W, 3] with all objects on it. A small picture is enlarged by a whole factor.

    Colours follow from an object's place in the results, so they are the same every time.
    """
    objects = [(part, index) for part in found for index in range(len(part))]
    return mark(
        picture,
        [
            Marked(part.masks[i], corner(part.boxes[i]), f"{part.concept} {part.scores[i]:.2f}", colour(n))
            for n, (part, i) in enumerate(objects)
        ],
    )


def draw_frame(picture: NDArray[np.uint8], result: FrameResult) -> Image.Image:
    """A frame of a video with its objects on it. Colours follow from the objects' ids."""
    return mark(
        picture,
        [
            Marked(
                result.masks[i], corner(result.boxes[i]), f"{result.concepts[i] or 'object'} {id}", colour(id)
            )
            for i, id in enumerate(result.ids.tolist())
        ],
    )


def corner(box: NDArray[np.float32]) -> tuple[float, float]:
    return float(box[0]), float(box[1])


def mark(picture: NDArray[np.uint8], objects: Sequence[Marked]) -> Image.Image:
    """Tint and outline all objects, and put the labels over them."""
    factor = max(1, -(-SMALLEST // max(picture.shape[:2])))
    canvas = np.repeat(np.repeat(picture, factor, 0), factor, 1)
    height, width = canvas.shape[:2]
    thick = max(1, round(min(height, width) / 400))
    for one in objects:
        mask = one.mask if factor == 1 else np.repeat(np.repeat(one.mask, factor, 0), factor, 1)
        paint(canvas, mask, colour=one.colour, thick=thick)
    image = Image.fromarray(canvas)
    for one in objects:
        label(image, one.text, at=(one.corner[0] * factor, one.corner[1] * factor), colour=one.colour)
    return image


def colour(number: int) -> RGB:
    """The colour of the number-th object: bright, so that black text can be read on it."""
    red, green, blue = colorsys.hls_to_rgb((0.03 + number * GOLDEN) % 1, 0.62, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def paint(canvas: NDArray[np.uint8], mask: NDArray[np.bool_], *, colour: RGB, thick: int) -> None:
    """Tint `mask` and draw its outline inside it, in place. Works on the mask's bounding box only."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside, pixels = mask[window], canvas[window]
    line = np.array(colour, np.uint8)
    pixels[inside] = (pixels[inside] * (1 - TINT) + line * TINT + 0.5).astype(np.uint8)
    pixels[inside & ~shrink(inside, thick)] = line


def shrink(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """What is left of a mask when `by` pixels are taken off its border."""
    for _ in range(by):
        full = np.pad(mask, 1)
        mask = mask & full[:-2, 1:-1] & full[2:, 1:-1] & full[1:-1, :-2] & full[1:-1, 2:]
    return mask


def label(image: Image.Image, text: str, *, at: tuple[float, float], colour: RGB) -> None:
    """Black on the object's colour, its foot on the box's top left corner, moved into the picture."""
    drawer = ImageDraw.Draw(image)
    font, text = fit(drawer, " ".join(text.split()), image.width, max(13, round(min(image.size) / 36)))
    left, top, right, bottom = drawer.textbbox((0, 0), text, font=font)
    wide, high = right - left + 6, bottom - top + 6
    x = min(max(at[0], 0), max(image.width - wide, 0))
    y = min(max(at[1] - high, 0), max(image.height - high, 0))
    drawer.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)
    drawer.text((x + 3 - left, y + 3 - top), text, fill=(0, 0, 0), font=font)


def fit(drawer: ImageDraw.ImageDraw, text: str, width: int, size: int) -> tuple[Font, str]:
    """A font and as much of the text as fits: the phrase loses its end, never the score."""
    font = font_of(size)
    phrase, _, score = text.rpartition(" ")
    if len(phrase) > LONGEST:
        phrase = phrase[:LONGEST]
        text = f"{phrase}... {score}"
    while phrase and drawer.textlength(text, font=font) > width - 6:
        phrase = phrase[:-1]
        text = f"{phrase}... {score}"
    return font, text


@lru_cache(maxsize=8)
def font_of(size: int) -> Font:
    """Pillow's own font. Unpacked once, not for every label of every frame."""
    return ImageFont.load_default(size)


def png(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
