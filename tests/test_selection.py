"""Clicks, boxes and masks on a picture: what is asked, and that the answer is the oracle's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scenes import CONFIG, SIDE, A, B, C, f32
from torch import Tensor
from tracker_pair import Held, Pair

from sam3_edge import Box, Segmenter, Selection
from sam3_edge.errors import UsageError
from sam3_edge.export.eager import EagerSession
from sam3_edge.loop.prompts import LIMIT, Point
from sam3_edge.phrases import Phrases
from sam3_edge.resize import enlarge
from sam3_edge.runtimes.on_script import ScriptedSession
from sam3_edge.selection import GIVEN
from sam3_edge.spec import MASKED
from sam3_edge.tokenizer import Tokenizer

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
FAINT = np.full((SIDE, SIDE), 0.01, np.float32)  # not stable: gone a little above zero


def pointing(*masks: NDArray[np.float32], score: float = 5.0) -> tuple[Selection, ScriptedSession]:
    """A selection on a scripted model that always sees these four masks."""
    answer = {
        "masks": np.stack(masks)[None],
        "iou": f32([[0.5, 0.2, 0.9, 0.7]]),
        "object_score": f32([score]),
        "pointers": np.zeros((1, 4, CONFIG.dim), np.float32),
    }
    session = ScriptedSession(CONFIG, [{"tracker_refine": lambda feeds: answer}] * 2, keep=1)
    phrases = Phrases(session, length=CONFIG.text_length, tokenizer=Tokenizer({}))
    return Segmenter(CONFIG, session, phrases).click(PICTURE), session


def fed(session: ScriptedSession) -> list[dict[str, NDArray[np.float32]]]:
    """What the decoder was asked."""
    return [feeds for name, feeds in session.calls[-1] if name == "tracker_refine"]


def seen(*logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Masks of the picture's size."""
    return enlarge(np.stack(logits), *PICTURE.shape[:2])


def test_a_first_click_may_mean_three_things_and_more_make_it_one() -> None:
    selection, session = pointing(A, B, C, A)
    assert selection.masks.shape == (0, 64, 96) and not len(selection.found)
    three = selection.add(48, 32)
    assert three.scores.tolist() == f32([0.9, 0.7, 0.2]).tolist()
    np.testing.assert_array_equal(three.masks, seen(C, A, B))
    rows, columns = np.nonzero(three.masks[0])
    assert selection.boxes[0].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    one = selection.add(10, 20, positive=False)
    np.testing.assert_array_equal(one.masks, seen(A))
    assert one.scores.tolist() == [0.5] and one.presence == pytest.approx(0.9933, abs=1e-4)
    first, second = fed(session)
    assert first["has_previous"].tolist() == [0] and second["has_previous"].tolist() == [1]
    np.testing.assert_array_equal(second["previous"][0, 0], C)
    assert second["labels"][0, :3].tolist() == [1, 0, -1]
    np.testing.assert_allclose(second["points"][0, :2], f32([[56, 56], [10 * 112 / 96, 35]]), rtol=1e-6)
    assert (second["point_bias"][0] == 0).sum() == 3
    assert [name for name, _ in session.calls[-1]].count("backbone") == 1


def test_an_unstable_single_mask_gives_way_to_the_best_of_three() -> None:
    selection, _ = pointing(FAINT, A, B, C)
    found = selection.box((10, 10, 60, 50))
    np.testing.assert_array_equal(found.masks, seen(B))
    assert found.scores.tolist() == f32([0.9]).tolist()


@pytest.mark.parametrize("multimask", [True, False])
def test_how_many_candidates_can_be_said(multimask: bool) -> None:
    session = pointing(A, B, C, A)[0].embedding.session
    phrases = Phrases(session, length=CONFIG.text_length, tokenizer=Tokenizer({}))
    selection = Segmenter(CONFIG, session, phrases).click(PICTURE, multimask=multimask)
    for x in (5, 50):
        assert len(selection.add(x, 5)) == (3 if multimask else 1)


def test_an_object_that_the_model_doubts_is_drawn_all_the_same() -> None:
    selection, _ = pointing(A, B, C, A, score=-4)
    assert selection.add(1, 1).masks[0].any() and selection.candidates.presence < 0.02


def test_another_candidate_is_refined_once_it_is_chosen() -> None:
    selection, session = pointing(A, B, C, A)
    selection.add(48, 32)
    selection.choose(2)
    np.testing.assert_array_equal(selection.found.masks, seen(B))
    selection.add(50, 32)
    np.testing.assert_array_equal(fed(session)[-1]["previous"][0, 0], B)
    with pytest.raises(UsageError, match="candidate 1: there are 1"):
        selection.choose(1)


def test_what_is_taken_back_leaves_no_trace() -> None:
    selection, session = pointing(A, B, C, A)
    selection.add(48, 32)
    before = selection.candidates
    selection.box(Box(1, 2, 3, 4))
    assert selection.undo() is before and selection.prompt is not None and selection.prompt.box is None
    selection.add(9, 9)
    again = fed(session)[-1]
    assert again["labels"][0, :3].tolist() == [1, 1, -1]
    np.testing.assert_array_equal(again["previous"][0, 0], C)
    assert len(selection.undo()) == 3 and not len(selection.undo())
    with pytest.raises(UsageError, match="nothing to take back"):
        selection.undo()


def test_a_mask_to_begin_with() -> None:
    selection, session = pointing(A, B, C, A)
    selection.add(48, 32)
    selection.begin(seen(B)[0])
    first = fed(session)[-1]
    # It stands alone: no click, and none that is empty.
    assert (first["point_bias"] == np.float32(MASKED)).all()
    shown = first["previous"][0, 0]
    assert np.mean((shown > 0) != (B > 0)) < 0.02
    assert np.abs(shown).max() == pytest.approx(GIVEN)
    selection.add(50, 10)
    assert selection.prompt is not None and selection.prompt.points == (Point(50, 10),)


def test_an_earlier_mask_is_shown_within_limits() -> None:
    selection, session = pointing(A * 100, A * 100, B * 100, C * 100)
    selection.add(48, 32)
    selection.add(49, 32)
    assert np.abs(fed(session)[-1]["previous"]).max() == LIMIT


def test_what_cannot_be_pointed_at() -> None:
    selection, session = pointing(A, B, C, A)
    with pytest.raises(UsageError, match="point 97,3 is outside the picture"):
        selection.add(97, 3)
    with pytest.raises(UsageError, match="negative"):
        selection.box(Box(0, 0, 9, 9, positive=False))
    with pytest.raises(UsageError, match="no pixel"):
        selection.begin(np.zeros((64, 96), np.bool_))
    with pytest.raises(UsageError, match="want bool"):
        selection.begin(np.zeros((3, 3), np.bool_))
    assert not fed(session) and not selection.steps
    blind = pointing(A, B, C, A)[0].embedding
    other = Segmenter(CONFIG, session, Phrases(session, length=CONFIG.text_length, tokenizer=Tokenizer({})))
    with pytest.raises(UsageError, match="of another model"):
        other.click(blind)


class Theirs:
    """What the oracle answers to clicks on the picture, in its own words; the features are asked once."""

    def __init__(self, pair: Pair, trunk: Tensor) -> None:
        self.pair = pair
        maps, _ = pair.video.get_vision_features_for_tracker(Held(trunk))
        levels = [x.permute(1, 2, 0).unflatten(2, (n, n)) for x, n in zip(maps, pair.sides, strict=True)]
        no_memory = pair.theirs.no_memory_embedding.reshape(1, -1, 1, 1)
        self.levels = [*levels[:2], levels[2] + no_memory]

    def __call__(self, points: list[tuple[float, float, int]], previous: Tensor | None, *, many: bool) -> Any:
        """The best mask's logits [1, 1, 4G, 4G], and IoUs [1, 1, N], N 3 or 1."""
        side, (height, width) = self.pair.ours.config.image_size, PICTURE.shape[:2]
        places = torch.tensor([[[[x * side / width, y * side / height] for x, y, _ in points]]])
        labels = torch.tensor([[[label for *_, label in points]]])
        asked = {"input_points": places, "input_labels": labels}
        if previous is not None:
            asked["input_masks"] = previous.clamp(-32, 32)
        return self.pair.theirs._single_frame_forward(
            image_embeddings=self.levels, multimask_output=many, **asked
        )


@torch.no_grad()
def test_clicks_are_answered_as_the_oracle_answers_them(tmp_path: Path) -> None:
    """Three candidates for the first click; then one, from both clicks and the best mask so far."""
    pair = Pair(tmp_path)
    pair.set_score(8.0)
    session = EagerSession(pair.ours)
    phrases = Phrases(session, length=pair.ours.config.text_length, tokenizer=Tokenizer({}))
    selection = Segmenter(pair.ours.config, session, phrases).click(PICTURE)
    theirs = Theirs(pair, torch.as_tensor(session.fetch(selection.embedding.trunk["trunk_feature"])))
    clicks = [(30.0, 20.0, 1), (70.5, 41.0, 0), (12.0, 50.0, 1)]
    previous: Tensor | None = None
    for count in (1, 2, 3):
        x, y, label = clicks[count - 1]
        ours = selection.add(x, y, bool(label))
        found = theirs(clicks[:count], previous, many=count == 1)
        scores = found.iou_scores.flatten().sort(descending=True).values
        np.testing.assert_allclose(ours.scores, scores.numpy(), atol=1e-5)
        previous = found.pred_masks  # of three, theirs gives the best
        mask = F.interpolate(previous, size=PICTURE.shape[:2], mode="bilinear")[0, 0] > 0
        assert len(ours) == (3 if count == 1 else 1) and 0.02 < mask.float().mean() < 0.98
        assert np.count_nonzero(ours.masks[0] ^ mask.numpy()) <= 4
