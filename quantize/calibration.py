"""Pictures and phrases that show a scheme the ranges of a model's activations, and their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam3_edge import console
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.bundle import Bundle
from sam3_edge.concept import Concept
from sam3_edge.errors import SourceError, UsageError
from sam3_edge.judge.datasets import PictureSet, open_dataset
from sam3_edge.picture import read_picture
from sam3_edge.segmenter import Segmenter
from sam3_edge.shapes.questions import ask_for, ask_in_vain
from sam3_edge.shapes.scenes import draw_scene
from sam3_edge.video.frames import Span
from sam3_edge.video.reading import open_video

COUNT = 24
SEED = 777  # of generated pictures: none of the frozen ones
POOL = 8  # times `COUNT`: how many pictures are looked at to choose diverse ones
SIDE = 8  # pixels of a thumbnail
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Example:
    """A picture [H, W, 3] and what is asked of it."""

    picture: Picture
    concepts: tuple[Concept, ...]


@dataclass(frozen=True)
class Calibration:
    """Examples, where they come from, and the sha256 of every pixel and phrase."""

    about: str
    examples: tuple[Example, ...]

    @property
    def hash(self) -> str:
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(repr((example.picture.shape, list(map(str, example.concepts)))).encode())
            digest.update(np.ascontiguousarray(example.picture).tobytes())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"about": self.about, "pictures": len(self.examples), "hash": self.hash}


def find(bundle: Bundle, source: Path | None, phrases: Sequence[str], *, count: int = COUNT) -> Calibration:
    """Examples from a folder of pictures, a video or a COCO document; generated for the built-in model.

    Raises `UsageError` without a source or phrases where they are needed, `SourceError` for a source that is
    missing, empty or unreadable.
    """
    if source is None:
        if bundle.source.name != builtin_checkpoint().name:
            raise UsageError(
                "this scheme needs calibration: give --calibrate DIR, VIDEO or COCO.json, and --phrases FILE "
                "with what is asked of the pictures"
            )
        return Calibration(f"shapes: generated, seed {SEED}", tuple(generated(count)))
    if not source.exists():
        raise SourceError(f"calibration set {source}: no such file or folder")
    if source.suffix == ".json":
        examples = of_document(source, count)
    else:
        if not phrases:
            raise UsageError(f"calibration set {source}: give --phrases FILE, a phrase a line, to ask of it")
        asked = tuple(map(Concept, phrases))
        examples = [Example(picture, asked) for picture in diverse(list(pictures_of(source, count)), count)]
    if not examples:
        raise SourceError(f"calibration set {source}: there is no picture in it")
    return Calibration(source.name, tuple(examples))


def generated(count: int) -> Iterator[Example]:
    """Scenes as the built-in model was trained on, each with phrases that are true and one that is not."""
    for number in range(count):
        rng = np.random.default_rng((SEED, number))
        scene = draw_scene(rng, size=224)
        asked = [ask_for(rng, scene), ask_in_vain(rng, scene, absent=0)]
        yield Example(scene.picture, tuple(Concept(question.phrase) for question in asked))


def pictures_of(source: Path, count: int) -> Iterator[Picture]:
    """Evenly chosen pictures of a folder or frames of a video, more than `count`."""
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
        step = max(1, len(files) // (POOL * count))
        yield from map(read_picture, files[::step][: POOL * count])
    else:
        yield from frames_of(source, POOL * count)


def frames_of(path: Path, most: int) -> Iterator[Picture]:
    """Frames of a video, evenly spaced. Raises what reading a video raises."""
    video = open_video(path)
    step = max(1, (video.count or 0) // most)
    return (frame.pixels for frame in islice(video.frames(Span(stride=step)), most))


def of_document(source: Path, count: int) -> list[Example]:
    """Pictures of a COCO or SA-Co document, beside it, each with its own phrases.

    Raises `SourceError` if no question has an object: ranges of silence are not those of finding.
    """
    dataset = open_dataset([str(source)], pictures=source.parent)
    assert isinstance(dataset, PictureSet) and dataset.questions is not None
    by_picture: dict[int, tuple[Picture, list[Concept]]] = {}
    for case, picture, concept in dataset.questions():
        if any(len(masks) for masks in case.truths):
            by_picture.setdefault(id(picture), (picture, []))[1].append(concept)
        if len(by_picture) >= POOL * count:
            break
    if not by_picture:
        raise SourceError(f"calibration set {source}: no phrase of it matches an object")
    pictures = [picture for picture, _ in by_picture.values()]
    asked = {id(picture): concepts for picture, concepts in by_picture.values()}
    return [Example(picture, tuple(asked[id(picture)])) for picture in diverse(pictures, count)]


def diverse(pictures: Sequence[Picture], count: int) -> list[Picture]:
    """`count` pictures, each as far as can be from those before it, by their thumbnails."""
    if len(pictures) <= count:
        return list(pictures)
    small = np.stack([thumbnail(picture) for picture in pictures])
    chosen = [0]
    distance = np.linalg.norm(small - small[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(small - small[chosen[-1]], axis=1))
    return [pictures[i] for i in chosen]


def thumbnail(picture: Picture) -> NDArray[np.float32]:
    """A picture as few numbers."""
    small = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()


def show(segmenter: Segmenter, calibration: Calibration) -> int:
    """Ask everything, and return how many objects were found.

    Raises `SourceError` if there is none.
    """
    found = 0
    with console.progress("calibrate", len(calibration.examples)) as advance:
        for example in calibration.examples:
            answers = segmenter.segment(example.picture, list(example.concepts))
            found += sum(len(answer.scores) for answer in answers)
            advance(1)
    if not found:
        raise SourceError(
            f"calibration set {calibration.about}: the bundle finds nothing in it, so it shows no ranges: "
            "give pictures with objects that the phrases name"
        )
    return found
