"""The frozen pictures: not one pixel may change, they are as hard as promised, and simple rules fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from sam3_edge.errors import BackendError
from sam3_edge.judge import frozen_pictures as frozen
from sam3_edge.judge.baselines import by_colour, by_overlap
from sam3_edge.judge.case import Masks, PictureAnswer
from sam3_edge.judge.concept_f1 import ConceptF1, tally
from sam3_edge.judge.frozen_pictures import FrozenPicture
from sam3_edge.shapes import photographs
from sam3_edge.shapes.scenes import UNSEEN, draw_scene


@pytest.fixture(scope="module")
def pictures() -> list[FrozenPicture]:
    return list(frozen.frozen_pictures())


def test_nothing_has_changed(pictures: list[FrozenPicture]) -> None:
    assert frozen.content_hash(iter(pictures)) == frozen.HASH


def test_one_pixel_one_mask_one_word_changes_the_hash(pictures: list[FrozenPicture]) -> None:
    few = pictures[:3]
    before = frozen.content_hash(iter(few))
    picture = few[1].picture.copy()
    picture[100, 100, 1] ^= 1
    case = next(case for case in few[1].cases if len(case.truths[0]))
    mask = case.truths[0].decode()
    mask[0, 100, 100] ^= True
    cases = tuple(replace(c, truths=(Masks.of(mask),)) if c is case else c for c in few[1].cases)
    tagged = (*few[1].cases[:-1], replace(few[1].cases[-1], tags=frozenset()))
    for changed in (
        replace(few[1], picture=picture),
        replace(few[1], cases=cases),
        replace(few[1], cases=tagged),
        replace(few[1], concepts=few[1].concepts[::-1]),
    ):
        assert frozen.content_hash(iter([few[0], changed, few[2]])) != before


def test_the_set_is_as_large_and_as_hard_as_promised(pictures: list[FrozenPicture]) -> None:
    cases = [case for one in pictures for case in one.cases]
    phrases = [case for case in cases if "phrase" in case.tags]
    assert len(phrases) >= 2000 and len({case.key for case in cases}) == len(cases)
    assert sum("absent" in case.tags for case in phrases) * 2 == len(phrases)
    assert all(("absent" in case.tags) == (len(case.truths[0]) == 0) for case in cases)
    unseen = [case for case in phrases if "unseen" in case.tags]
    assert len(unseen) >= 150 and any(len(case.truths[0]) for case in unseen)
    for case in unseen:
        if not len(case.truths[0]):  # a phrase that names such a pair, in vain
            assert any({shape, colour} <= case.tags for shape, colour in UNSEEN)


def test_a_fifth_of_the_targets_is_partly_hidden() -> None:
    hidden = []
    grounds = photographs.read(photographs.FROZEN)
    for number in range(200):
        rng = np.random.default_rng((frozen.SEED, number))
        scene = draw_scene(rng, most=8, photographs=grounds, crowd=0.5)
        for question in frozen.several(rng, scene)[:2]:
            hidden += [scene.items[i].hidden >= frozen.OCCLUDED for i in question.answer]
    assert np.mean(hidden) >= 0.2


def test_a_hard_negative_is_one_word_from_the_truth(pictures: list[FrozenPicture]) -> None:
    """Every vain phrase names only attributes, so nothing but the pair of words is wrong with it."""
    for one in pictures[:100]:
        for case in one.cases:
            if "absent" in case.tags:
                phrase = case.key.split("\t")[1]
                assert len(frozen.words_of(phrase)) >= 1, phrase


def score(pictures: Sequence[FrozenPicture]) -> ConceptF1:
    counts = [
        tally(case, by_colour(one.picture, concept))
        for one in pictures
        for case, concept in zip(one.cases, one.concepts, strict=True)
        if "phrase" in case.tags
    ]
    return ConceptF1.of(counts)


def test_colour_alone_fails(pictures: list[FrozenPicture]) -> None:
    """Of 100 pictures; all of them: `make judge`. Perfect answers score 1, so the judge is not what fails."""
    values = score(pictures[:100]).values()
    assert 0.2 < values["pm_f1@0.5"] < 0.5 and values["il_mcc"] < 0.6
    truths = [case for one in pictures[:20] for case in one.cases]
    perfect = [tally(c, PictureAnswer(c.truths[0], (1.0,) * len(c.truths[0]))) for c in truths]
    assert ConceptF1.of(perfect).values()["pm_f1@0.5"] > 0.999


def test_overlap_alone_forgets() -> None:
    """An object that is not seen on one frame comes back as another one; one that moves slowly does not."""
    size = (20, 40)
    frames = []
    for time in range(6):
        mask = np.zeros((1, *size), bool)
        mask[0, 5:15, 4 + 2 * time : 14 + 2 * time] = True
        found = Masks.of(mask[:0] if time == 3 else mask)
        frames.append(PictureAnswer(found, (1.0,) * len(found)))
    clip = by_overlap(frames, size)
    seen = [[time for time, runs in enumerate(masklet) if runs] for masklet in clip.objects.values()]
    assert seen == [[0, 1, 2], [4, 5]] and clip.frames == 6


def test_the_photographs_are_known_to_the_byte(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not set(photographs.FROZEN) & set(photographs.TRAINING)
    for table in (photographs.FROZEN, photographs.TRAINING):
        assert all(picture.ndim == 3 and picture.dtype == np.uint8 for picture in photographs.read(table))
    with pytest.raises(BackendError, match=r"brick.png: not the picture of scikit-image 0.26"):
        photographs.read({"brick.png": "0" * 64})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"pip install 'sam3-edge\[judge\]'"):
        list(islice(frozen.frozen_pictures(), 1))
