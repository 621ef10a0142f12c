"""The frozen pictures of `shapes`, on which every model of this project is judged. Never edited.

A picture is asked two phrases that are true of something in it, two that are not (an item's look with one
attribute changed), and one question by example boxes. Half of the grounds are photographs that no training
sees; 24 % of the items to find are partly hidden; some pairs of shape and colour are never trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.judge.case import Masks, PictureCase
from sam3_edge.shapes.photographs import FROZEN, read
from sam3_edge.shapes.questions import Question, ask_by_box, ask_for, ask_in_vain
from sam3_edge.shapes.scenes import COLOURS, SHAPES, TEXTURES, UNSEEN, Scene, draw_scene

SEED = 20261122
PICTURES = 512
OCCLUDED = 0.1  # the share of an item that has to be hidden to call it occluded
HASH = "27068a60c8f5dde5b42b2cbd1568734d0a0a536d7b23a8c66ca1339431af4348"


@dataclass(frozen=True)
class FrozenPicture:
    """A picture [224, 224, 3] and the questions about it, each with its true answer."""

    name: str
    picture: NDArray[np.uint8]
    concepts: tuple[Concept, ...]
    cases: tuple[PictureCase, ...]


def concept_of(question: Question) -> Concept:
    """A generated question as a concept; `visual` is the phrase of boxes alone."""
    boxes = tuple(Box.of(box, positive=positive) for box, positive in question.boxes)
    return Concept(None if question.phrase == "visual" else question.phrase, boxes)


def several(rng: np.random.Generator, scene: Scene) -> list[Question]:
    """Two true phrases, two hard negatives, one question by example; no phrase twice where that can be."""
    asked: list[Question] = []
    for make in (ask_for, ask_for, ask_in_vain, ask_in_vain):
        for _ in range(20):
            question = ask_for(rng, scene) if make is ask_for else ask_in_vain(rng, scene, absent=0)
            if all(question.phrase != other.phrase for other in asked):
                break
        asked.append(question)
    return [*asked, ask_by_box(rng, scene)]


def words_of(phrase: str) -> frozenset[str]:
    """The attributes a phrase names, plural or not."""
    named = phrase.split()
    singular = {
        *named,
        *(word.removesuffix("s") for word in named),
        *(word.removesuffix("es") for word in named),
    }
    return frozenset(singular & {*SHAPES, *COLOURS, *TEXTURES})


def tags_of(scene: Scene, question: Question) -> frozenset[str]:
    """The strata a question is counted in: what is asked, what was named, and what makes it hard."""
    items = [scene.items[i] for i in question.answer]
    words = words_of(question.phrase)
    unseen = any({shape, colour} <= words for shape, colour in UNSEEN) or any(
        (item.shape, item.colour) in UNSEEN for item in items
    )
    tags = {"exemplar" if question.boxes else "phrase", "unseen" if unseen else "seen", *words}
    tags |= {"absent"} if not items else set()
    tags |= {"occluded"} if any(item.hidden >= OCCLUDED for item in items) else set()
    return frozenset(tags)


def key_of(name: str, question: Question, number: int) -> str:
    """The name of the picture and the phrase; a question with boxes says which one it is."""
    return f"{name}\t{question.phrase}" + (f"\t{number}" if question.boxes else "")


def frozen_pictures(count: int = PICTURES) -> Iterator[FrozenPicture]:
    """The first `count` pictures, one after the other. Raises `BackendError` without the photographs."""
    photographs = read(FROZEN)
    for number in range(count):
        rng = np.random.default_rng((SEED, number))
        scene = draw_scene(rng, most=8, photographs=photographs, crowd=0.5)
        name, asked = f"{number:04}.png", several(rng, scene)
        yield FrozenPicture(
            name,
            scene.picture,
            tuple(concept_of(question) for question in asked),
            tuple(
                PictureCase(
                    key_of(name, question, place),
                    (Masks.of(truth_of(scene, question)),),
                    tags_of(scene, question),
                )
                for place, question in enumerate(asked)
            ),
        )


def truth_of(scene: Scene, question: Question) -> NDArray[np.bool_]:
    """The masks [N, S, S] that answer a question."""
    size = scene.picture.shape[:2]
    return np.array([scene.items[i].mask for i in question.answer], bool).reshape(-1, *size)


def content_hash(pictures: Iterator[FrozenPicture]) -> str:
    """SHA-256 over every pixel, question, tag and true mask, in order."""
    digest = hashlib.sha256()
    for frozen in pictures:
        digest.update(frozen.name.encode() + frozen.picture.tobytes())
        for concept, case in zip(frozen.concepts, frozen.cases, strict=True):
            digest.update(repr((case.key, concept, sorted(case.tags))).encode())
            for masks in case.truths:
                digest.update(np.packbits(masks.decode()).tobytes())
    return digest.hexdigest()


def cases() -> list[PictureCase]:
    """Every case of the set."""
    return [case for frozen in frozen_pictures() for case in frozen.cases]


def questions() -> Iterator[tuple[PictureCase, NDArray[np.uint8], Concept]]:
    """Every case with its picture and what to ask of it, those of one picture in a row."""
    for frozen in frozen_pictures():
        for case, concept in zip(frozen.cases, frozen.concepts, strict=True):
            yield case, frozen.picture, concept
