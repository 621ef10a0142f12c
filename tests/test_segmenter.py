"""The path of a picture through the graphs, on scripted answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scripted import CONFIG, PICTURE, SIDE, logit, scripted

from sam3_edge import Box, Concept, Segmenter
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.phrases import CACHED, Phrases
from sam3_edge.picture import prepare
from sam3_edge.session import check_feeds
from sam3_edge.spec import MASKED, graph_specs


def test_results_are_in_pixels_and_best_first() -> None:
    segmenter, _ = scripted((0.6, 0.9, 0.3, 0.7))
    (found,) = segmenter.segment(PICTURE, "a")
    assert found.concept == Concept("a") and len(found) == 3
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6], abs=1e-6)
    assert found.presence == pytest.approx(1) and found.semantic is None
    assert found.boxes.tolist() == [[20, 5, 40, 10], [20, 15, 40, 20], [20, 0, 40, 5]]
    assert found.masks.shape == (3, 40, 80) and found.masks.dtype == bool
    for mask, row in zip(found.masks, (1, 3, 0), strict=True):
        want = np.zeros((40, 80), bool)
        want[row * 5 : (row + 1) * 5] = True
        assert np.array_equal(mask, want)


def test_score_is_presence_times_query_and_must_exceed_the_threshold() -> None:
    presence = np.full((1, 1), logit(0.5), np.float32)
    segmenter, _ = scripted((0.5, 0.9, 0.75), detector_presence=presence)
    assert not len(segmenter.segment(PICTURE, "a")[0])
    (found,) = segmenter.segment(PICTURE, "a", threshold=0.25)
    assert found.scores.tolist() == pytest.approx([0.45, 0.375], abs=1e-6)  # 0.25 itself is not above 0.25
    assert found.presence == pytest.approx(0.5)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(UsageError, match="want 0 to 1"):
        scripted()[0].segment(PICTURE, "a", threshold=threshold)


def test_every_kept_object_gets_its_mask_and_no_other() -> None:
    segmenter, session = scripted((0.6, 0.9, 0.3, 0.7, 0.8, 0.95))
    (found,) = segmenter.segment(PICTURE, "a")
    asked = [feeds["queries"][0, :, 0].tolist() for feeds in session.ran("masks")]
    assert asked == [[6, 2], [5, 4], [1, 0]]  # two at a time, best first, zeros where there is none
    assert found.masks.sum((1, 2)).tolist() == [5 * 80] * 5


def test_masks_are_not_drawn_for_nothing() -> None:
    segmenter, session = scripted()
    (found,) = segmenter.segment(PICTURE, "a")
    assert found.masks.shape == (0, 40, 80) and found.boxes.shape == (0, 4) and not session.ran("masks")


def test_semantic_logits_on_request() -> None:
    semantic = np.random.default_rng(1).normal(size=(1, 1, SIDE, SIDE)).astype(np.float32)
    for scores in ((), (0.9,)):
        (found,) = scripted(scores, masks_semantic=semantic)[0].segment(PICTURE, "a", semantic=True)
        assert found.semantic is not None and np.array_equal(found.semantic, semantic[0, 0])


def test_many_concepts_share_the_backbone_and_keep_their_order() -> None:
    segmenter, session = scripted((0.9,))
    asked: list[str | Concept] = [
        "b",
        Concept("a", (Box(0, 0, 9, 9),)),
        Concept(boxes=(Box(1, 1, 9, 9),)),
        "c",
    ]
    assert [str(found.concept) for found in segmenter.segment(PICTURE, asked)] == ["b", "a", "visual", "c"]
    runs = {name: len(session.ran(name)) for name in graph_specs(CONFIG)}
    # Of the exemplar graph: once without boxes, once for each set of boxes.
    assert runs == {
        "backbone": 1,
        "detector_features": 1,
        "text": 4,
        "exemplar": 3,
        "detector": 4,
        "masks": 4,
    }
    assert np.array_equal(session.ran("backbone")[0]["image"], prepare(PICTURE, CONFIG.image_size))


def test_an_embedding_can_be_asked_again() -> None:
    segmenter, session = scripted((0.9,))
    embedding = segmenter.embed(PICTURE)
    first, second = (segmenter.segment(embedding, "a")[0] for _ in range(2))
    assert np.array_equal(first.masks, second.masks) and first.masks.shape == (1, 40, 80)
    assert len(session.ran("backbone")) == 1
    with pytest.raises(UsageError, match="of another model"):
        scripted()[0].segment(embedding, "a")


def test_what_the_exemplar_graph_is_fed() -> None:
    segmenter, session = scripted()
    segmenter.segment(PICTURE, Concept("a", (Box(8, 8, 40, 24, positive=False),)))
    (fed,) = session.ran("exemplar")
    assert fed["boxes"][0, 0].tolist() == pytest.approx([0.3, 0.4, 0.4, 0.4])
    assert fed["labels"].tolist() == [[0, 0]]
    assert fed["exemplar_bias"].ravel().tolist() == [0, MASKED, 0]  # the box, no box, CLS
    # The mean over the box, weighed by where its samples lie: its middle is at x 0.3, y 0.4 of the grid of 4.
    middle = np.arange(4) + 0.0
    assert fed["pool_y"][0, 0].mean(0) @ middle == pytest.approx(0.4 * 4, abs=1e-5)
    assert fed["pool_x"][0, 0].mean(0) @ middle == pytest.approx(0.3 * 4, abs=1e-5)
    segmenter.segment(PICTURE, Concept(boxes=(Box(0, 0, 9, 9), Box(0, 0, 9, 9, positive=False))))
    assert session.ran("exemplar")[1]["labels"].tolist() == [[1, 0]]
    assert session.ran("exemplar")[1]["exemplar_bias"].ravel().tolist() == [0, 0, 0]
    segmenter.segment(PICTURE, "a")
    assert session.ran("exemplar")[2]["exemplar_bias"].ravel().tolist() == [MASKED, MASKED, 0]


def test_what_the_prompt_is_made_of() -> None:
    text = np.full((1, CONFIG.text_length, CONFIG.dim), 3, np.float32)
    exemplar = np.full((1, CONFIG.max_boxes + 1, CONFIG.dim), 7, np.float32)
    segmenter, session = scripted((0.9,), text_text_tokens=text, exemplar_exemplar_tokens=exemplar)
    segmenter.segment(PICTURE, "ab")
    (fed,) = session.ran("detector")
    assert fed["prompt"][0, :, 0].tolist() == [3] * 8 + [7] * 3
    # Start, a, b and end of text are valid (no merges here), four tokens and both boxes are not, CLS is.
    assert fed["prompt_bias"].ravel().tolist() == [0] * 4 + [MASKED] * 6 + [0]
    (masks,) = session.ran("masks")
    assert all(np.array_equal(masks[name], fed[name]) for name in ("prompt", "prompt_bias"))


def test_prompt_tokens_are_cached_and_bounded() -> None:
    segmenter, session = scripted()
    for phrase in ("Yellow bus", "yellow  BUS ", "yellow bus"):
        segmenter.segment(PICTURE, phrase)
    assert len(session.ran("text")) == 1
    for number in range(CACHED + 5):
        segmenter.phrases.prompt(f"thing {number}")
        segmenter.phrases.prompt("yellow bus")
    assert len(segmenter.phrases.cache) == CACHED and len(session.ran("text")) == CACHED + 6


def test_packed_phrases_need_no_text_graph() -> None:
    _, session = scripted()
    tokens = np.full((CONFIG.text_length, CONFIG.dim), 5, np.float32)
    pack = {f"thing {i:02}": (tokens, np.arange(CONFIG.text_length) < 3) for i in range(12)}
    segmenter = Segmenter(CONFIG, session, Phrases(session, length=CONFIG.text_length, pack=pack))
    segmenter.segment(PICTURE, "Thing 03")
    assert not session.ran("text") and session.ran("detector")[0]["prompt"][0, 0, 0] == 5
    with pytest.raises(UsageError) as caught:
        segmenter.segment(PICTURE, ["thing 01", "dog"])
    message = str(caught.value)
    assert "'dog'" in message and "'thing 09' and 2 more" in message and "'thing 10'" not in message
    assert "--concepts" in message and len(session.ran("backbone")) == 1
    with pytest.raises(UsageError, match="'visual'"):
        segmenter.segment(PICTURE, Concept(boxes=(Box(0, 0, 9, 9),)))


def test_a_phrase_of_500_words_is_cut() -> None:
    segmenter, session = scripted()
    segmenter.segment(PICTURE, "word " * 500)
    (fed,) = session.ran("text")
    assert fed["token_ids"].shape == (1, CONFIG.text_length)
    assert fed["token_ids"][0, -1] == CONFIG.text_vocab - 1  # end of text


@pytest.mark.parametrize(
    ("concept", "fact"),
    [
        (lambda: "", "phrase is empty"),
        (lambda: "\x01", "is empty"),
        (lambda: Concept("a", (Box(0, 0, 9, 9),) * 3), r"3 boxes for 'a': this bundle takes 2 at most"),
        (lambda: Concept("a", (Box(80, 0, 90, 9),)), "outside the picture of 80 x 40"),
        (lambda: Concept("a", (Box(9, 0, 9, 9),)), "is empty"),
        (lambda: Concept("a", (Box(9, 0, 8, 9),)), "is inverted"),
    ],
)
def test_bad_requests_run_nothing_costly(concept: Callable[[], str | Concept], fact: str) -> None:
    segmenter, session = scripted()
    with pytest.raises(UsageError, match=fact):
        segmenter.segment(PICTURE, ["b", concept()])
    assert not session.ran("backbone")


def test_one_pixel() -> None:
    (found,) = scripted((0.9,))[0].segment(np.zeros((1, 1, 3), np.uint8), "a")
    assert found.masks.shape == (1, 1, 1)


def test_scores_that_are_no_numbers_are_not_an_empty_result() -> None:
    segmenter, _ = scripted(detector_presence=np.full((1, 1), np.nan, np.float32))
    with pytest.raises(CheckError, match="no numbers"):
        segmenter.segment(PICTURE, "a")


def test_feeds_are_checked() -> None:
    spec = graph_specs(CONFIG)["text"]
    ids = np.zeros((1, CONFIG.text_length), np.int32)
    check_feeds(spec, {"token_ids": ids})
    for feeds, fact in (
        ({}, "input token_ids is not fed"),
        ({"token_ids": ids, "x": ids}, "has no input x"),
        ({"token_ids": ids[:, 1:]}, r"want int32 \[1, 8\], got int32 \[1, 7\]"),
        ({"token_ids": ids.astype(np.int64)}, r"got int64 \[1, 8\]"),
    ):
        with pytest.raises(UsageError, match=fact):
            check_feeds(spec, feeds)
