"""The evaluator sees harm: each corruption moves the scores that it should, the right way, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from judged import Answers, Clips, clip_cases, picture_cases, right, right_clips
from numpy.typing import NDArray

from sam3_edge.judge.case import Clip, Masks, PictureAnswer, encode
from sam3_edge.judge.measures import ClipJudge, PictureJudge
from sam3_edge.judge.report import Score, compare, strata_of

PICTURES, CLIPS = picture_cases(32), clip_cases()
HALF = 6  # the frame from which a clip goes wrong
CLASS = "square"
BIG = 30  # pixels of a false object's side


def redrawn(answers: Answers, draw: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]) -> Answers:
    """Every answer's masks [N, H, W], changed."""
    return {
        key: replace(answer, masks=Masks.of(draw(answer.masks.decode()))) for key, answer in answers.items()
    }


def shifted(answers: Answers) -> Answers:
    return redrawn(answers, lambda masks: np.roll(masks, 4, axis=2))


def eroded(answers: Answers) -> Answers:
    return redrawn(answers, erode)


def erode(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One pixel off, all around."""
    inner = masks.copy()
    for axis in (1, 2):
        inner &= np.roll(masks, 1, axis) & np.roll(masks, -1, axis)
    return inner


def unsure(answers: Answers) -> Answers:
    return {k: replace(a, scores=tuple(0.6 * score for score in a.scores)) for k, a in answers.items()}


def forgetful(answers: Answers) -> Answers:
    """One class is never found."""
    return {k: nothing(a) if CLASS in k else a for k, a in answers.items()}


def nothing(answer: PictureAnswer) -> PictureAnswer:
    return PictureAnswer(Masks(answer.masks.size))


def doubled(answers: Answers) -> Answers:
    return {
        k: PictureAnswer(Masks(a.masks.size, 2 * a.masks.runs), a.scores + tuple(0.9 * s for s in a.scores))
        for k, a in answers.items()
    }


def credulous(answers: Answers) -> Answers:
    """Something is found for every other phrase that is true of nothing."""
    mask = np.zeros((1, 96, 96), bool)
    mask[0, :BIG, :BIG] = True
    absent = [case.key for case in PICTURES if not len(case.truths[0])][::2]
    return {**answers, **dict.fromkeys(absent, PictureAnswer(Masks.of(mask), (0.9,)))}


def merged(answers: Answers) -> Answers:
    """All objects of an answer as one."""
    made = {}
    for key, answer in answers.items():
        masks = answer.masks.decode()
        whole = Masks.of(np.any(masks, axis=0, keepdims=True)) if len(masks) else answer.masks
        made[key] = PictureAnswer(whole, answer.scores[:1])
    return made


def mixed_up(answers: Answers) -> Answers:
    """The answers of every third pair of phrases, one true and one not, exchanged."""
    keys = list(answers)
    made = dict(answers)
    for i in range(0, len(keys) - 1, 6):
        made[keys[i]], made[keys[i + 1]] = answers[keys[i + 1]], answers[keys[i]]
    return made


def changed(clips: Clips, change: Callable[[Clip], Clip]) -> Clips:
    return {key: change(clip) for key, clip in clips.items()}


def swapped(clips: Clips) -> Clips:
    """The first two identities change places halfway."""

    def swap(clip: Clip) -> Clip:
        a, b, *_ = clip.objects
        one, two = clip.objects[a], clip.objects[b]
        crossed = {a: one[:HALF] + two[HALF:], b: two[:HALF] + one[HALF:]}
        return replace(clip, objects={**clip.objects, **crossed})

    return changed(clips, swap)


def cut(clips: Clips) -> Clips:
    """Nothing is seen in the second half."""
    gone = (None,) * HALF
    return changed(
        clips, lambda clip: replace(clip, objects={i: m[:HALF] + gone for i, m in clip.objects.items()})
    )


def late(clips: Clips) -> Clips:
    """Every mask comes a frame late."""
    return changed(
        clips, lambda clip: replace(clip, objects={i: (m[0], *m[:-1]) for i, m in clip.objects.items()})
    )


def jittered(clips: Clips) -> Clips:
    """Every object has a new identity every three frames."""

    def jitter(clip: Clip) -> Clip:
        objects = {}
        for identity, masklet in clip.objects.items():
            for first in range(0, clip.frames, 3):
                seen = range(first, first + 3)
                objects[100 * identity + first] = tuple(
                    m if t in seen else None for t, m in enumerate(masklet)
                )
        return Clip(clip.size, clip.frames, objects, dict.fromkeys(objects, 0.9))

    return changed(clips, jitter)


def lost(clips: Clips) -> Clips:
    """The last identity is never found."""
    return changed(clips, lambda clip: replace(clip, objects=dict(list(clip.objects.items())[:-1])))


def frayed(clips: Clips) -> Clips:
    """One pixel off every mask, all around."""

    def fray(clip: Clip) -> Clip:
        objects = {}
        for identity, masklet in clip.objects.items():
            masks = erode(Masks(clip.size, tuple(m for m in masklet if m)).decode())
            objects[identity] = tuple(encode(mask) for mask in masks)
        return replace(clip, objects=objects)

    return changed(clips, fray)


@dataclass(frozen=True)
class Harm:
    """A corruption; scores that must fall, must rise, and must stay."""

    corrupt: Callable[..., Any]
    falls: str
    stays: str
    rises: str = ""


KEPT = "kept_precision kept_recall kept_f1"
OF_PICTURES = (
    Harm(shifted, "pm_f1 cg_f1 ap mask_iou_mean mask_iou_p5 no_regression", "il_mcc il_fpr score_change_max"),
    Harm(eroded, "pm_f1 ap mask_iou_mean mask_iou_p5 no_regression", f"pm_f1@0.5 il_mcc ap_50 {KEPT}"),
    Harm(
        unsure,
        "pm_f1 pm_f1@0.5 cg_f1 il_mcc kept_recall kept_f1 no_regression",
        "ap ap_50 il_fpr kept_precision mask_iou_mean mask_iou_p5",
        "score_change_max",
    ),
    Harm(
        forgetful,
        "pm_f1 cg_f1 il_mcc ap ar kept_recall no_regression",
        "il_fpr kept_precision mask_iou_mean",
    ),
    Harm(doubled, "pm_f1 cg_f1 kept_precision", "il_mcc il_fpr kept_recall ar no_regression mask_iou_mean"),
    Harm(credulous, "cg_f1 il_mcc ap kept_precision", "pm_f1 ar kept_recall no_regression", "il_fpr"),
    Harm(merged, "pm_f1 cg_f1 ap kept_recall kept_f1 no_regression", "il_mcc il_fpr"),
    Harm(mixed_up, "pm_f1 cg_f1 il_mcc ap kept_f1 no_regression", "mask_iou_mean", "il_fpr"),
)
OF_CLIPS = (
    Harm(swapped, "p_hota ass_a j_and_f j f no_regression", "det_a", "id_switches"),
    Harm(cut, "p_hota det_a ass_a j_and_f j f no_regression", "id_switches"),
    Harm(late, "p_hota det_a ass_a j_and_f j f no_regression", "id_switches"),
    Harm(jittered, "p_hota ass_a j_and_f no_regression", "det_a", "id_switches"),
    Harm(lost, "p_hota det_a j_and_f no_regression", "ass_a id_switches"),
    Harm(frayed, "p_hota det_a j no_regression", "id_switches"),
)


@cache
def scores_of(corrupt: Callable[..., Any] | None, kind: str) -> Mapping[str, Score]:
    """What a judge says of the corrupted results, compared with the right ones."""
    good: Any = right(PICTURES) if kind == "pictures" else right_clips(CLIPS)
    bad = good if corrupt is None else corrupt(good)
    if kind == "pictures":
        one = compare(
            PictureJudge(PICTURES, bad, good), PictureJudge(PICTURES, good), {"all": range(len(PICTURES))}
        )
    else:
        one = compare(ClipJudge(CLIPS, bad, good), ClipJudge(CLIPS, good), {"all": range(len(CLIPS))})
    return one[0].scores


CASES = [("pictures", harm) for harm in OF_PICTURES] + [("clips", harm) for harm in OF_CLIPS]


@pytest.mark.parametrize(
    ("kind", "harm"), CASES, ids=lambda part: getattr(getattr(part, "corrupt", 0), "__name__", None)
)
def test_harm_is_seen(kind: str, harm: Harm) -> None:
    before, after = scores_of(None, kind), scores_of(harm.corrupt, kind)
    for name in harm.falls.split() + harm.rises.split():
        was, now = before[name].value, after[name].value
        assert was is not None and now is not None
        # By more than chance: 0.01, or one switch.
        assert (was - now if name in harm.falls.split() else now - was) > 0.01, (name, was, now)
    for name in harm.stays.split():
        assert after[name].value == pytest.approx(before[name].value, abs=1e-3), name


@pytest.mark.parametrize(
    ("kind", "harm"), CASES, ids=lambda part: getattr(getattr(part, "corrupt", 0), "__name__", None)
)
def test_harm_is_beyond_the_interval_of_the_difference(kind: str, harm: Harm) -> None:
    """0 is outside; and of two equal results every difference is 0."""
    main = "cg_f1" if kind == "pictures" else "p_hota"
    difference = scores_of(harm.corrupt, kind)[main].difference_interval
    assert difference is not None and difference[1] < 0
    same = scores_of(None, kind)
    assert all(score.difference_interval in (None, (0.0, 0.0)) for score in same.values())
    assert same["no_regression"].value == 1


def test_every_case_has_its_stratum() -> None:
    strata = strata_of(PICTURES, ["present", "absent"])
    assert len(strata["all"]) == len(PICTURES) == len(strata["present"]) + len(strata["absent"])
    judge = PictureJudge(PICTURES, right(PICTURES))
    (whole, present, absent) = compare(judge, None, strata)
    assert whole.scores["il_mcc"].value == pytest.approx(1, abs=1e-3)
    # What such cases cannot show is not called 0.
    assert present.scores["il_mcc"].value is None and present.scores["il_fpr"].value is None
    assert absent.scores["pm_f1"].value is None and absent.scores["ap"].value is None
    assert absent.scores["il_fpr"].value == 0
