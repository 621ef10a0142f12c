"""A student, or its teacher, asked the frozen questions in PyTorch; what was answered once is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from sam3_edge import registry
from sam3_edge.builtin import builtin_bundle, builtin_checkpoint
from sam3_edge.bundle import Bundle
from sam3_edge.concept import Concept
from sam3_edge.judge import frozen_clips, frozen_pictures
from sam3_edge.judge.answering import answer_pictures
from sam3_edge.judge.case import Clip, ClipCase, PictureCase
from sam3_edge.judge.clip_answering import answer_clips
from sam3_edge.judge.datasets import Question
from sam3_edge.judge.measures import ClipJudge, PictureJudge
from sam3_edge.phrases import open_phrases
from sam3_edge.segmenter import Segmenter

from .judge_rows import scores_of

PICTURES, CLIPS = "pictures", "clips"
PICTURE_SCORES = ("cg_f1", "il_mcc", "pm_f1", "pm_f1@0.5", "il_fpr")
CLIP_SCORES = ("j_and_f", "p_hota", "id_switches")


def segmenter_of(checkpoint: Path) -> Segmenter:
    """A checkpoint in PyTorch, with its tokenizer's merges beside it, behind the usual host code."""
    found = registry.load_module("export", "checkpoint").load(
        checkpoint, tokenizer=checkpoint.parent / "merges.txt"
    )
    session = registry.load_module("export", "eager").EagerSession(found.model)
    bundle = Bundle.open(builtin_bundle())  # for its tokenizer: the student's is the same
    return Segmenter(found.config, session, open_phrases(bundle, session))


def teacher_hash() -> str:
    """Of the built-in model's weights."""
    found = registry.load_module("export", "checkpoint").load(builtin_checkpoint() / "model.safetensors")
    return str(found.sha256)


def on_pictures(segmenter: Segmenter, count: int) -> dict[str, Any]:
    """The phrases of the first frozen pictures, true ones and hard negatives."""
    cases: list[PictureCase] = []
    questions: list[Question] = []
    for frozen in frozen_pictures.frozen_pictures(count):
        for case, concept in zip(frozen.cases, frozen.concepts, strict=True):
            if "phrase" in case.tags:
                cases.append(case)
                questions.append((case, frozen.picture, concept))
    answers = answer_pictures(segmenter, questions)
    return scores_of(PictureJudge(cases, answers).score(range(len(cases))), PICTURE_SCORES)


def on_clips(segmenter: Segmenter, count: int) -> dict[str, Any]:
    """The phrases of the first frozen clips, followed."""
    cases: list[ClipCase] = []
    answers: dict[str, Clip] = {}
    for clip in islice(frozen_clips.clips(), count):
        frames = clip.frames
        pairs = zip(clip.cases, clip.phrases, strict=True)
        answers |= answer_clips(segmenter, [(case, frames, Concept(phrase)) for case, (phrase, _) in pairs])
        cases += clip.cases
    return scores_of(ClipJudge(cases, answers).score(range(len(cases))), CLIP_SCORES)


ASKED: dict[str, Callable[[Segmenter, int], dict[str, Any]]] = {PICTURES: on_pictures, CLIPS: on_clips}


def kept(path: Path, checkpoint: Path, kind: str, count: int) -> dict[str, Any]:
    """What stands in a file, or is asked and written there."""
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    with segmenter_of(checkpoint) as segmenter:
        found = ASKED[kind](segmenter, count)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found) + "\n")
    part.replace(path)
    return found


def scores_of_student(folder: Path, kind: str, count: int) -> dict[str, Any]:
    """Of the student in the folder of a run that has ended."""
    return kept(folder / f"{kind}_{count}.json", folder / "student.safetensors", kind, count)


def scores_of_teacher(folder: Path, kind: str, count: int) -> dict[str, Any]:
    """Of the built-in model, by the kind of questions."""
    path = folder / f"teacher_{kind}_{count}.json"
    return {kind: kept(path, builtin_checkpoint() / "model.safetensors", kind, count)}
