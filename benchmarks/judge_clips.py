"""The built-in model followed through the frozen clips by phrase, and what detection alone makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge import console
from sam3_edge.bundle import Bundle
from sam3_edge.concept import Concept
from sam3_edge.judge import frozen_clips
from sam3_edge.judge.baselines import by_overlap
from sam3_edge.judge.case import Clip, ClipCase, Masks, PictureAnswer
from sam3_edge.judge.clip_answering import answer_clips
from sam3_edge.judge.frozen_clips import FrozenClip
from sam3_edge.judge.measures import ClipJudge
from sam3_edge.segmenter import Segmenter, load

from .judge_rows import ONNX, PYTORCH, Row, reference, scores_of

OVERLAP = "baseline: detection + IoU"
CLIP_SCORES = ("j_and_f", "p_hota", "ass_a", "id_switches")
PER_OBJECT = "switches an object"
COMPARED = 16  # clips, one of each plot, that PyTorch follows too: it takes as long as all else together
BOTH = "the first clips, which PyTorch follows too"


@dataclass(frozen=True)
class Followed:
    """Some frozen clips: their cases, and what every program answered to them."""

    cases: tuple[ClipCase, ...]
    answers: Mapping[str, Mapping[str, Clip]]


def follow_clips(bundle: Bundle, start: int, stop: int, *, threads: int | None) -> Followed:
    """The frozen clips from `start` to `stop`: the bundle, PyTorch on the first, and detections joined."""
    cases: list[ClipCase] = []
    answers: dict[str, dict[str, Clip]] = {PYTORCH: {}, ONNX: {}, OVERLAP: {}}
    with ExitStack() as stack:
        ours = stack.enter_context(reference(bundle))
        theirs = stack.enter_context(load(bundle.path, threads=threads))
        advance = stack.enter_context(console.progress("frozen clips", stop - start))
        for number, clip in enumerate(islice(frozen_clips.clips(), start, stop), start):
            frames = clip.frames
            asked = [
                (case, frames, Concept(phrase))
                for case, (phrase, _) in zip(clip.cases, clip.phrases, strict=True)
            ]
            if number < COMPARED:
                answers[PYTORCH] |= answer_clips(ours, asked)
            answers[ONNX] |= answer_clips(theirs, asked)
            answers[OVERLAP] |= without_memory(theirs, clip, frames)
            cases += clip.cases
            advance(1)
    return Followed(tuple(cases), answers)


def without_memory(segmenter: Segmenter, clip: FrozenClip, frames: NDArray[np.uint8]) -> dict[str, Clip]:
    """What the detector finds on every frame, joined by overlap."""
    concepts = [Concept(phrase) for phrase, _ in clip.phrases]
    found = [segmenter.segment(frame, concepts) for frame in frames]
    return {
        case.key: by_overlap(
            [
                PictureAnswer(Masks.of(each[place].masks), tuple(each[place].scores.tolist()))
                for each in found
            ],
            case.truth.size,
        )
        for place, case in enumerate(clip.cases)
    }


def rows_of_clips(parts: Sequence[Followed]) -> list[Row]:
    """Both programs on the clips that both followed; the bundle and the baseline on all, and by event."""
    cases = [case for part in parts for case in part.cases]
    answers: dict[str, dict[str, Clip]] = {PYTORCH: {}, ONNX: {}, OVERLAP: {}}
    for part in parts:
        for program, found in part.answers.items():
            answers[program] |= found
    shared = answers.pop(PYTORCH)
    both = [case for case in cases if case.key in shared]
    rows = [clip_row(name, BOTH, both, found) for name, found in ((PYTORCH, shared), (ONNX, answers[ONNX]))]
    strata = {"all": set[str](), **{tag: {tag} for tag in sorted({t for case in cases for t in case.tags})}}
    for program, known in answers.items():
        for name, tags in strata.items():
            rows.append(clip_row(program, name, [case for case in cases if tags <= case.tags], known))
    return rows


def clip_row(program: str, stratum: str, cases: Sequence[ClipCase], answers: Mapping[str, Clip]) -> Row:
    """A program on some cases."""
    scores = scores_of(ClipJudge(cases, answers).score(range(len(cases))), CLIP_SCORES)
    objects = sum(len(case.truth.objects) for case in cases)
    scores[PER_OBJECT] = per_object(scores["id_switches"], objects)
    return Row(program, stratum, len(cases), scores)


def per_object(switches: Mapping[str, Any], objects: int) -> dict[str, Any]:
    """A count of switches and its interval, divided by the number of true objects."""
    value, *ends = (round(count / objects, 4) for count in (switches["value"], *switches["interval"]))
    return {"value": value, "interval": ends}


def clip_difference(rows: Sequence[Row]) -> float:
    """How far J&F of ONNX Runtime is from PyTorch's, 0 to 1, over the clips that both followed."""
    ours, theirs = (row.scores["j_and_f"]["value"] for row in rows if row.stratum == BOTH)
    return abs(float(ours) - float(theirs))
