"""The gate: a compressed bundle exists only if it finds the objects that the uncompressed one finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from sam3_edge import console
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.judge import concept_f1, kept, measures, region
from sam3_edge.judge.answering import answer_pictures, by_medium
from sam3_edge.judge.bootstrap import interval
from sam3_edge.judge.case import Clip, ClipCase, PictureAnswer, PictureCase
from sam3_edge.judge.clip_answering import answer_clips
from sam3_edge.judge.datasets import ClipQuestion, ClipSet, PictureSet, Question, open_dataset
from sam3_edge.phrases import open_phrases
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import Session, open_session

OWN = ("shapes",)  # the questions that come with the package
REST = "not judged: no question of the set can show it"


@dataclass(frozen=True)
class Thresholds:
    """The least that a compressed bundle must reach, beside the uncompressed one.

    Mean IoU and 5th percentile of the masks that both keep, mean IoU of their boxes, F1 of what is kept; and
    of the differences in IL_MCC and J&F (0 to 1) the lower ends of their paired 95 % intervals.
    """

    mask_iou_mean: float = 0.98
    mask_iou_p5: float = 0.90
    box_iou_mean: float = 0.95
    kept_f1: float = 0.98
    il_mcc: float = -0.01
    j_and_f: float = -0.005


@dataclass(frozen=True)
class Figure:
    """One measure beside its threshold; `value` None: not judged, as `note` says."""

    name: str
    value: float | None
    least: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.value is None or self.value >= self.least

    def to_json(self) -> dict[str, Any]:
        value = None if self.value is None else round(self.value, 5)
        return {**asdict(self), "value": value, "passed": self.passed}


@dataclass(frozen=True)
class Verdict:
    """How a compressed bundle compares with the uncompressed one, on how many questions."""

    figures: tuple[Figure, ...]
    pictures: int
    clips: int
    objects: int

    def failures(self) -> list[str]:
        """What misses its threshold, in words; empty if the bundle may exist."""
        return [
            f"{figure.name} is {figure.value:.4f}, want at least {figure.least:g}"
            for figure in self.figures
            if not figure.passed
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "figures": [figure.to_json() for figure in self.figures],
            "picture_questions": self.pictures,
            "clip_questions": self.clips,
            "objects": self.objects,
            "passed": not self.failures(),
        }


@dataclass(frozen=True)
class Questions:
    """What both bundles are asked. `about` names the set and how much of it."""

    about: str
    pictures: tuple[Question, ...] = ()
    clips: tuple[ClipQuestion, ...] = ()


@dataclass(frozen=True)
class Answers:
    """What a bundle said to all of them."""

    pictures: Mapping[str, PictureAnswer]
    clips: Mapping[str, Clip]


def questions_for(
    bundle: Bundle, words: Sequence[str] = (), *, pictures: int, clips: int, folder: Any = None
) -> Questions:
    """The first `pictures` pictures and `clips` clips of the datasets, of `shapes` for the built-in model.

    `folder`: the pictures of a document. Raises `UsageError` if another model comes without a dataset, or a
    dataset without pictures; else what `open_dataset` raises.
    """
    if tuple(words) not in ((), OWN):
        return questions_in(words, folder, pictures)
    if not words and bundle.source.name != builtin_checkpoint().name:
        raise UsageError(
            f"{bundle.path} is not the built-in model: the gate needs pictures and phrases with their true "
            "objects, so give --dataset FILE --pictures DIR (COCO or SA-Co)"
        )
    from sam3_edge.judge import frozen_clips, frozen_pictures

    asked: list[Question] = [
        (case, frozen.picture, concept)
        for frozen in frozen_pictures.frozen_pictures(pictures)
        for case, concept in zip(frozen.cases, frozen.concepts, strict=True)
    ]
    followed = first_media(frozen_clips.questions(), clips) if clips and bundle.config.tracks else ()
    about = f"shapes: the first {pictures} frozen pictures and {clips if followed else 0} clips"
    return Questions(about, tuple(asked), tuple(followed))


def first_media(questions: Any, most: int) -> list[Any]:
    """The questions about the first pictures or clips."""
    return [question for group in islice(by_medium(questions), most) for question in group]


def questions_in(words: Sequence[str], folder: Any, most: int) -> Questions:
    """The first pictures, or clips, of a dataset."""
    dataset = open_dataset(words, pictures=folder)
    if dataset.questions is None:
        raise UsageError(f"{dataset.name} names pictures only: give --pictures DIR with them")
    about = f"{dataset.name}: the first {most} pictures or clips"
    asked = tuple(first_media(dataset.questions(), most))
    if isinstance(dataset, ClipSet):
        return Questions(about, clips=asked)
    assert isinstance(dataset, PictureSet)
    return Questions(about, pictures=asked)


def segmenter_of(bundle: Bundle, session: Session | None = None, *, threads: int | None = None) -> Segmenter:
    """The bundle on what `export` measures it with, which runs on any machine."""
    session = session or open_session(bundle, threads=threads, emulate=True)
    return Segmenter(bundle.config, session, open_phrases(bundle, session), bundle=bundle.hash)


def ask(segmenter: Segmenter, questions: Questions, label: str) -> Answers:
    """Everything, with a progress bar."""
    with console.progress(label, len(questions.pictures) + len(questions.clips)) as advance:
        pictures = answer_pictures(segmenter, questions.pictures, threshold=kept.KEPT, advance=advance)
        clips = answer_clips(segmenter, questions.clips, advance=advance)
    return Answers(pictures, clips)


def judge(questions: Questions, before: Answers, after: Answers, want: Thresholds) -> Verdict:
    """Compare. Raises `CheckError` if the uncompressed bundle finds nothing: then nothing would be proved."""
    cases = [case for case, _, _ in questions.pictures]
    counts = [kept.tally(before.pictures[c.key], after.pictures[c.key]) for c in cases]
    objects = sum(count.reference for count in counts) + sum(
        len(clip.objects) for clip in before.clips.values()
    )
    if not objects:
        raise CheckError(
            f"gate: the uncompressed bundle finds no object in {questions.about}, so nothing would be "
            f"proved: "
            "give --dataset pictures with phrases that are true of them"
        )
    figures = [*picture_figures(cases, counts, before, after, want)] if cases else []
    figures += clip_figures([case for case, _, _ in questions.clips], before, after, want)
    return Verdict(tuple(figures), len(cases), len(questions.clips), objects)


def picture_figures(
    cases: Sequence[PictureCase],
    counts: Sequence[kept.Counts],
    before: Answers,
    after: Answers,
    want: Thresholds,
) -> list[Figure]:
    """Masks, what is kept, and presence. Nothing in common is an IoU of 0, not an unknown one."""
    scores = kept.scores_of(kept.rows_of(counts).sum(0))
    values = {
        "mask_iou_mean": float(scores["mask_iou_mean"]),
        "mask_iou_p5": kept.low_iou(counts)[0],
        "box_iou_mean": float(np.mean([iou for count in counts for iou in count.box_ious] or [0.0])),
        "kept_f1": float(scores["kept_f1"]),
    }
    made = [
        Figure(name, 0.0 if np.isnan(value) else value, getattr(want, name)) for name, value in values.items()
    ]
    was, now = (presence(cases, answers) for answers in (before, after))
    return [*made, lower_bound("il_mcc", was, now, want.il_mcc)]


def presence(cases: Sequence[PictureCase], answers: Answers) -> measures.Sample:
    """IL_MCC and its resamples, of phrases: a question by example box is never in vain."""
    asked = [case for case in cases if "exemplar" not in case.tags]
    rows = concept_f1.table([concept_f1.tally(case, answers.pictures[case.key]) for case in asked])
    return measures.additive(rows, measures.concept_scores)["il_mcc"]


def clip_figures(
    cases: Sequence[ClipCase], before: Answers, after: Answers, want: Thresholds
) -> list[Figure]:
    """J&F over the objects of the clips."""
    if not cases:
        return [Figure("j_and_f", None, want.j_and_f, "not judged: no clip was asked")]
    was, now = (followed(cases, answers) for answers in (before, after))
    return [lower_bound("j_and_f", was, now, want.j_and_f)]


def followed(cases: Sequence[ClipCase], answers: Answers) -> measures.Sample:
    """J&F and its resamples."""
    found = [
        region.j_and_f(case.truth, measures.sure(answers.clips[case.key]), same_ids=False, skip_ends=False)
        for case in cases
    ]
    sums = np.array(
        [np.sum([(o.j, o.f, 1.0) for o in f.objects] or [(0.0, 0.0, 0.0)], axis=0) for f in found]
    )
    return measures.additive(sums, measures.region_scores)["j_and_f"]


def lower_bound(name: str, was: measures.Sample, now: measures.Sample, least: float) -> Figure:
    """The lower end of the interval of `now - was`, the cases drawn in pairs."""
    assert was.resamples is not None and now.resamples is not None
    if np.isnan(was.value):
        return Figure(name, None, least, REST)
    ends = interval(now.resamples - was.resamples)
    note = f"{was.value:.4f} before, {now.value:.4f} after; the lower end of the difference counts"
    return Figure(name, None, least, REST) if ends is None else Figure(name, ends[0], least, note)
