"""Generated pictures: the same from the same seed, and every answer true by counting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from sam3_edge import shapes
from sam3_edge.shapes import (
    ABSENT,
    COLOURS,
    SHAPES,
    TEXTURES,
    WORDS,
    Item,
    Question,
    Scene,
    ask,
    ask_by_box,
    ask_for,
    ask_in_vain,
    draw_scene,
)

SINGULAR = {**{f"{shape}s": shape for shape in SHAPES}, "crosses": "cross", "shapes": "shape"}


def scenes(count: int, seed: int = 0, **options: int) -> Iterator[tuple[np.random.Generator, Scene]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng, draw_scene(rng, **options)


def is_called(item: Item, phrase: str) -> bool:
    """Whether every word of a phrase is true of an item; "shape" is true of all."""
    words = [SINGULAR.get(word, word) for word in phrase.split()]
    return all(word in (item.shape, item.colour, item.texture, "shape") for word in words)


def looks_like(scene: Scene, box: tuple[int, int, int, int]) -> set[int]:
    """The items of the shape and colour of the one in a box."""
    (example,) = [item for item in scene.items if item.box == box]
    return {
        i
        for i, item in enumerate(scene.items)
        if (item.shape, item.colour) == (example.shape, example.colour)
    }


def true_answer(scene: Scene, question: Question) -> set[int]:
    """The phrase is true, or it looks like an example; and it does not look like a negative example."""
    wanted = {i for i, item in enumerate(scene.items) if is_called(item, question.phrase)}
    if question.phrase == "visual":
        wanted = set().union(*(looks_like(scene, box) for box, positive in question.boxes if positive))
    for box, positive in question.boxes:
        wanted -= set() if positive else looks_like(scene, box)
    return wanted


def same(a: Scene, b: Scene) -> bool:
    return (
        np.array_equal(a.picture, b.picture)
        and len(a.items) == len(b.items)
        and all(
            x.words == y.words and x.box == y.box and np.array_equal(x.mask, y.mask)
            for x, y in zip(a.items, b.items, strict=True)
        )
    )


def test_a_seed_is_a_scene_and_its_questions() -> None:
    first, second = [[(scene, ask(rng, scene)) for rng, scene in scenes(5, seed=7)] for _ in range(2)]
    assert all(same(a, b) and p == q for (a, p), (b, q) in zip(first, second, strict=True))
    assert not any(same(a, b) for (a, _), (_, b) in zip(first, scenes(5, seed=8), strict=True))


@pytest.mark.parametrize(("size", "most"), [(224, 7), (112, 3), (56, 2)])
def test_masks_boxes_and_picture_fit(size: int, most: int) -> None:
    counts = set()
    for _, scene in scenes(40, size=size, most=most):
        assert scene.picture.shape == (size, size, 3) and scene.picture.dtype == np.uint8
        counts.add(len(scene.items))
        assert np.sum([item.mask for item in scene.items], axis=0).max() == 1  # what is visible, once
        for item in scene.items:
            assert item.mask.shape == (size, size) and item.mask.any()
            rows, columns = np.nonzero(item.mask)
            assert item.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert item.shape in SHAPES and item.colour in COLOURS and item.texture in TEXTURES
    assert min(counts) == 1 and max(counts) == most


def test_colours_are_what_they_are_called() -> None:
    names = list(COLOURS)
    known = np.array([COLOURS[name] for name in names], float)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    checked = 0
    for _, scene in scenes(40):
        for item in scene.items:
            if item.texture == "plain":
                mean = scene.picture[item.mask].mean(0)
                assert names[int((known @ mean).argmax())] == item.colour
                checked += 1
    assert checked > 50


def test_textures_are_two_tones() -> None:
    spread: dict[str, list[float]] = {texture: [] for texture in TEXTURES}
    for _, scene in scenes(40):
        for item in scene.items:
            spread[item.texture].append(float(scene.picture[item.mask].std(0).max()))
    assert max(spread["plain"]) < min(*spread["striped"], *spread["dotted"])


def test_more_than_half_of_every_item_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each item covered when it was drawn is recorded, and found again from the last item backwards."""
    drawn: list[NDArray[np.bool_]] = []
    coverage = shapes.coverage

    def record(points: shapes.Points, size: int) -> NDArray[np.float32]:
        alpha = coverage(points, size)
        drawn.append(alpha > 0.5)
        return alpha

    monkeypatch.setattr(shapes, "coverage", record)
    hidden = 0
    for _, scene in scenes(60):
        later, attempts = np.zeros((224, 224), bool), list(drawn)
        for item in reversed(scene.items):
            while not np.array_equal((whole := attempts.pop()) & ~later, item.mask):
                pass  # an attempt that was given up
            share = item.mask.sum() / whole.sum()
            assert share > 0.55
            hidden += share < 1
            later |= whole
        drawn.clear()
    assert hidden > 20


def test_phrases_that_are_true() -> None:
    asked = [(scene, ask_for(rng, scene)) for rng, scene in scenes(100)]
    for scene, question in asked:
        assert not question.boxes and question.answer
        assert set(question.answer) == true_answer(scene, question), question.phrase
        assert set(question.phrase.split()) <= set(WORDS)
    assert max(len(question.answer) for _, question in asked) >= 3
    lengths = {len(question.phrase.split()) for _, question in asked}
    assert lengths == {1, 2, 3}


def test_phrases_in_vain() -> None:
    near = 0
    for rng, scene in scenes(100):
        question = ask_in_vain(rng, scene)
        assert question.answer == () and not question.boxes
        if question.phrase in ABSENT:
            assert not any(item.shape in question.phrase.split() for item in scene.items)
        else:
            assert not true_answer(scene, question), question.phrase
            near += 1
    assert near > 60  # most are one attribute away from the truth


def test_questions_by_example() -> None:
    kinds = set()
    for rng, scene in scenes(200):
        question = ask_by_box(rng, scene)
        boxes = {item.box for item in scene.items}
        assert 1 <= len(question.boxes) <= 2 and all(box in boxes for box, _ in question.boxes)
        assert question.phrase != "visual" or all(positive for _, positive in question.boxes)
        assert set(question.answer) == true_answer(scene, question) and question.answer
        kinds.add((question.phrase != "visual", tuple(positive for _, positive in question.boxes)))
    assert kinds == {(False, (True,)), (True, (True,)), (True, (False,)), (True, (False, True))}


def test_a_mixture_of_questions() -> None:
    asked = [ask(rng, scene) for rng, scene in scenes(150)]
    assert 20 < sum(bool(question.boxes) for question in asked) < 60
    assert 40 < sum(not question.answer for question in asked) < 90


def test_an_answer_is_sorted_and_within_the_scene() -> None:
    for rng, scene in scenes(50):
        answer = ask(rng, scene).answer
        assert list(answer) == sorted(set(answer)) and all(0 <= i < len(scene.items) for i in answer)
