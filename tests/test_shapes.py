"""Generated pictures: the same from the same seed, and every answer true by counting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from sam3_edge.shapes import scenes as shapes
from sam3_edge.shapes.questions import Question, ask, ask_by_box, ask_for, ask_in_vain
from sam3_edge.shapes.scenes import ABSENT, COLOURS, SHAPES, TEXTURES, WORDS, Item, Scene, draw_scene

SINGULAR = {**{f"{shape}s": shape for shape in SHAPES}, "crosses": "cross", "shapes": "shape"}


def scenes(
    count: int, seed: int = 0, *, size: int = 224, most: int = 7, crowd: float = 0.0
) -> Iterator[tuple[np.random.Generator, Scene]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng, draw_scene(rng, size=size, most=most, crowd=crowd)


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
    names = [name for name in COLOURS if name != "black"]  # of a dark colour the hue says nothing
    known = np.array([COLOURS[name] for name in names], float)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    checked = 0
    for _, scene in scenes(40):
        for item in scene.items:
            if item.texture == "plain":
                mean = scene.picture[item.mask].mean(0)
                found = "black" if mean.max() < 80 else names[int((known @ mean).argmax())]
                assert found == item.colour
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


def test_crowded_scenes_hide_items_and_say_how_much() -> None:
    hidden = [item.hidden for _, scene in scenes(60, most=8, crowd=0.5) for item in scene.items]
    assert max(hidden) <= 0.45 and min(hidden) >= 0
    assert np.mean([share >= 0.1 for share in hidden]) > 0.15
    loose = [item.hidden for _, scene in scenes(60, most=8) for item in scene.items]
    assert np.mean(loose) < np.mean(hidden)


def test_withheld_pairs_are_neither_drawn_nor_asked_for() -> None:
    withheld = {("circle", "red"), ("star", "blue")}
    rng = np.random.default_rng(1)
    for _ in range(60):
        scene = draw_scene(rng, withheld=withheld)
        assert not {(item.shape, item.colour) for item in scene.items} & withheld
        for _ in range(6):
            words = set(ask_in_vain(rng, scene, withheld=withheld).phrase.split())
            assert not any({shape, colour} <= words for shape, colour in withheld)


def test_half_of_the_grounds_are_photographs() -> None:
    photograph = np.zeros((300, 400, 3), np.uint8)
    photograph[..., 0] = 255  # pure red, which no other ground is
    rng, red = np.random.default_rng(0), 0
    for _ in range(60):
        picture = draw_scene(rng, most=1, photographs=[photograph]).picture.astype(int)
        corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
        red += int(np.median(corners[:, 0] - corners[:, 1]) > 150)
    assert 18 <= red <= 42


def test_every_pattern_can_be_seen() -> None:
    """Black stripes on black would be no stripes: the second tone is far from the first."""
    rng = np.random.default_rng(0)
    for colour in COLOURS:
        for _ in range(6):
            surface = shapes.paint(rng, 40, 40, colour=colour, texture="striped").reshape(-1, 3)
            assert np.ptp(surface.mean(1)) > 40, colour
