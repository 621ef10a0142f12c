"""The last part of `sam3-edge demo`: the built-in model follows shapes through a clip, and shows it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam3_edge.judge.case import Clip, encode
from sam3_edge.judge.region import JAndF, j_and_f
from sam3_edge.loop.events import FrameResult
from sam3_edge.overlay import draw_frame
from sam3_edge.segmenter import Segmenter
from sam3_edge.shapes.clips import Frame, Script, draw_clip
from sam3_edge.shapes.questions import spoken
from sam3_edge.shapes.scripts import write_script
from sam3_edge.tracking import begin, follow
from sam3_edge.video.movie import Movie

# A clip that shows what the model can do; how often it errs on others: `make judge`.
SEED = 11
KINDS = ("look-alikes",)
FRAMES, RATE = 48, 12.0
SIDE, COLOURS = 384, 64  # of the animation: small enough for a README


@dataclass(frozen=True)
class Followed:
    """A clip with what was found of the phrase on every frame, and how well."""

    phrase: str
    frames: tuple[NDArray[np.uint8], ...]
    results: tuple[FrameResult, ...]
    score: JAndF

    @property
    def caption(self) -> str:
        """The phrase, how many of its objects there are, under how many identities, and J&F."""
        ids = {id for result in self.results for id in result.ids.tolist()}
        value = "-" if self.score.j_and_f is None else f"{100 * self.score.j_and_f:.1f}"
        return f"{self.phrase}: {self.score.objects} objects, {len(ids)} identities, J&F {value}"

    def drawn(self) -> Iterator[Image.Image]:
        """Every frame with its objects on it."""
        for picture, result in zip(self.frames, self.results, strict=True):
            yield draw_frame(picture, result)


def follow_clip(model: Segmenter) -> Followed:
    """Ask for the two look-alikes of the demo's clip."""
    rng = np.random.default_rng(SEED)
    # Without grain: noise is all that a small animation would be made of.
    script = replace(write_script(rng, KINDS, frames=FRAMES), grain=0)
    words = next(actor.words for actor in script.actors if "look-alikes" in actor.events)
    drawn = list(draw_clip(script))
    pictures = tuple(frame.picture for frame in drawn)
    phrase = spoken(rng, words)
    results = tuple(follow(begin(model, phrase), pictures, live=False))
    score = j_and_f(truth_of(script, words, drawn), answer_of(results), same_ids=False, skip_ends=False)
    return Followed(phrase, pictures, results, JAndF.of([score]))


def truth_of(script: Script, words: frozenset[str], drawn: Sequence[Frame]) -> Clip:
    """The masklets of the actors that the words are true of."""
    objects = {
        actor: tuple(encode(frame.masks[actor]) if frame.masks[actor].any() else None for frame in drawn)
        for actor in script.answers(words)
    }
    return Clip((script.size, script.size), len(drawn), objects)


def answer_of(results: Sequence[FrameResult]) -> Clip:
    """The masklets of everything that was found."""
    found: dict[int, list[bytes | None]] = {}
    for place, result in enumerate(results):
        for id, mask in zip(result.ids.tolist(), result.masks, strict=True):
            found.setdefault(id, [None] * len(results))[place] = encode(mask)
    height, width = results[0].masks.shape[1:]
    return Clip((height, width), len(results), {id: tuple(masklet) for id, masklet in found.items()})


def film(pictures: Iterable[Image.Image | NDArray[np.uint8]], path: Path) -> Path:
    """A video of pictures. Raises `BackendError` without OpenCV, or where it encodes nothing."""
    movie = Movie(path, RATE)
    try:
        for picture in pictures:
            movie.add(np.asarray(picture))
        movie.close()
    finally:
        movie.discard()
    return path


def gif(images: Sequence[Image.Image]) -> bytes:
    """A small animation that goes on for ever. One palette for all: what does not move is stored once."""
    small = [image.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for image in images]
    strip = Image.new("RGB", (SIDE, SIDE * len(small[::8])))
    for place, image in enumerate(small[::8]):
        strip.paste(image, (0, place * SIDE))
    palette = strip.quantize(COLOURS)
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in small]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 / RATE), loop=0)
    return file.getvalue()
