"""Questions about scenes of `shapes`: phrases and example boxes, true or in vain, and what answers them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from sam3_edge.shapes.scenes import ABSENT, COLOURS, SHAPES, TEXTURES, Scene


@dataclass(frozen=True)
class Question:
    """A phrase, exemplar boxes (xyxy pixels, positive?) and the indices of the items that answer it."""

    phrase: str
    boxes: tuple[tuple[tuple[int, int, int, int], bool], ...]
    answer: tuple[int, ...]


def spoken(rng: np.random.Generator, words: frozenset[str]) -> str:
    """Attributes as a phrase, in the order texture, colour, noun; the noun is sometimes plural."""
    texture = [word for word in TEXTURES if word in words]
    colour = [word for word in COLOURS if word in words]
    noun = next((word for word in SHAPES if word in words), "shape")
    if rng.random() < 0.25:
        noun += "es" if noun == "cross" else "s"
    return " ".join((*texture, *colour, noun))


def some_of(rng: np.random.Generator, words: frozenset[str]) -> frozenset[str]:
    """A random part of an item's attributes; colour and shape are spoken of more often than texture."""
    chance = {**dict.fromkeys(SHAPES, 0.7), **dict.fromkeys(COLOURS, 0.65), **dict.fromkeys(TEXTURES, 0.25)}
    return frozenset(word for word in sorted(words) if rng.random() < chance[word])


def answers(scene: Scene, words: frozenset[str]) -> tuple[int, ...]:
    """The items that have all the attributes."""
    return tuple(i for i, item in enumerate(scene.items) if words <= item.words)


def ask_for(rng: np.random.Generator, scene: Scene) -> Question:
    """A phrase that is true of at least one item."""
    words = some_of(rng, scene.items[int(rng.integers(len(scene.items)))].words)
    return Question(spoken(rng, words), (), answers(scene, words))


def ask_in_vain(
    rng: np.random.Generator,
    scene: Scene,
    *,
    withheld: Collection[tuple[str, str]] = (),
    absent: float = 0.1,
) -> Question:
    """A phrase true of none: an item with one attribute changed, or (`absent`) a thing never drawn."""
    if rng.random() < absent:
        return Question(str(rng.choice(ABSENT)), (), ())
    for _ in range(20):
        words = set(some_of(rng, scene.items[int(rng.integers(len(scene.items)))].words))
        for family in rng.permutation(3):
            group = (SHAPES, tuple(COLOURS), TEXTURES)[family]
            if old := words & set(group):
                words = words - old | {str(rng.choice(group))}
                break
        if any({shape, colour} <= words for shape, colour in withheld):
            continue
        if words and not answers(scene, frozenset(words)):
            return Question(spoken(rng, frozenset(words)), (), ())
    return Question(str(rng.choice(ABSENT)), (), ())


def look_of(scene: Scene, index: int) -> frozenset[str]:
    """What an exemplar box stands for: the shape and the colour of the item in it."""
    return frozenset((scene.items[index].shape, scene.items[index].colour))


def ask_by_box(rng: np.random.Generator, scene: Scene) -> Question:
    """A box around an item asks for all of its shape and colour; a negative box takes such a look away."""
    index = int(rng.integers(len(scene.items)))
    wanted = set(answers(scene, look_of(scene, index)))
    phrase, boxes = "visual", [(scene.items[index].box, True)]
    if rng.random() < 0.4:  # a wider phrase, narrowed by a negative box
        words = frozenset({scene.items[index].shape} if rng.random() < 0.5 else {scene.items[index].colour})
        phrase, wanted = spoken(rng, words), set(answers(scene, words))
        others = sorted(wanted - set(answers(scene, look_of(scene, index))))
        if others:
            unwanted = int(rng.choice(others))
            wanted -= set(answers(scene, look_of(scene, unwanted)))
            boxes = [(scene.items[unwanted].box, False)] + (boxes if rng.random() < 0.5 else [])
    return Question(phrase, tuple(boxes), tuple(sorted(wanted)))


def ask(rng: np.random.Generator, scene: Scene, *, withheld: Collection[tuple[str, str]] = ()) -> Question:
    """A random question: half of the phrases are in vain, a quarter of the questions carry boxes."""
    if rng.random() < 0.25:
        return ask_by_box(rng, scene)
    return ask_for(rng, scene) if rng.random() < 0.55 else ask_in_vain(rng, scene, withheld=withheld)
