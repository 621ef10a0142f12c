"""Folders of clips in DAVIS's form: a picture per frame whose pixel values are the objects' identities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.judge.case import Clip, ClipCase, Masklet, encode
from sam3_edge.judge.datasets import Asked, ClipSet

VOID = 255  # a border that nobody is sure of; DAVIS 2016, which has one object a clip, writes that object so


def read_davis(folder: Path) -> ClipSet:
    """One case for each clip: all its objects, without a phrase. The clip's name is the key.

    Reads `<clip>/00000.png`, or the same under `Annotations/<resolution>/`.
    """
    clips = {place.name: read_clip(place) for place in clip_folders(folder)}
    cases = tuple(ClipCase(name, clip) for name, clip in clips.items())
    return ClipSet(
        folder.name, cases, {name: Asked(name, "") for name in clips}, {name: name for name in clips}
    )


def clip_folders(folder: Path) -> list[Path]:
    """The folders that hold frames. Raises `SourceError` without any, `UsageError` if it is unclear which."""
    inside = folder / "Annotations"
    if inside.is_dir():
        sizes = [place for place in folders(inside) if any(map(frames_in, folders(place)))]
        if len(sizes) > 1:
            names = ", ".join(place.name for place in sizes)
            raise UsageError(f"{inside} has {names}: name the one that is meant, such as {sizes[0]}")
        inside = sizes[0] if sizes else inside
    found = [place for place in folders(inside if inside.is_dir() else folder) if frames_in(place)]
    if not found:
        raise SourceError(f"{folder}: no <clip>/00000.png in it, nor under Annotations: name a DAVIS folder")
    return found


def folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir())


def frames_in(place: Path) -> list[Path]:
    return sorted(place.glob("*.png"))


def read_clip(folder: Path, *, scores: bool = False) -> Clip:
    """The objects of one clip by the values of their pixels; 255 is void unless it is the only value.

    `scores`: give each object the score 1, as an answer has one.
    """
    frames = list(read_frames(folder))
    values = {int(value) for frame in frames for value in np.unique(frame)} - {0}
    seen = sorted(values - {VOID} or values)
    objects: dict[int, Masklet] = {value: tuple(runs_at(frame, value) for frame in frames) for value in seen}
    size = (frames[0].shape[0], frames[0].shape[1])
    return Clip(size, len(frames), objects, dict.fromkeys(seen, 1.0) if scores else {})


def runs_at(frame: NDArray[np.uint8], value: int) -> bytes | None:
    """The mask of one object, if it is seen."""
    mask = frame == value
    return encode(mask) if mask.any() else None


def read_frames(folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Every frame [H, W] of a clip, numbered without a gap: a missing one would shift all behind it."""
    size = None
    for number, path in enumerate(frames_in(folder)):
        if not path.stem.isdigit() or int(path.stem) != number:
            raise CheckError(f"{folder}: {path.name} where {number:05}.png should be: write the folder again")
        frame = read_frame(path)
        if size not in (None, frame.shape):
            raise CheckError(
                f"{path} is of {frame.shape} pixels, the frames before of {size}: write it again"
            )
        size = frame.shape
        yield frame


def read_frame(path: Path) -> NDArray[np.uint8]:
    """Palette indices or grey values [H, W]; colours are not looked at."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise SourceError(f"{path} cannot be read as PNG: write the folder again") from error
    if mode not in ("P", "L"):
        raise CheckError(f"{path} is of mode {mode}, want a palette or 8-bit grey: write it with identities")
    return pixels
