"""`sam3-edge eval`: a results file or a bundle, judged on a dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam3_edge import console
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.errors import UsageError
from sam3_edge.judge.answering import answer_pictures, predictions
from sam3_edge.judge.case import Clip, PictureAnswer
from sam3_edge.judge.clip_answering import answer_clips, clip_predictions
from sam3_edge.judge.datasets import AnySet, ClipSet, PictureSet
from sam3_edge.judge.formats import (
    ClipResults,
    PictureResults,
    Results,
    read_clip_results,
    read_picture_results,
)
from sam3_edge.judge.measures import ClipJudge, PictureJudge
from sam3_edge.judge.report import Report, compare, strata_of
from sam3_edge.manifest import MANIFEST
from sam3_edge.segmenter import load
from sam3_edge.writing import write_file


@dataclass(frozen=True)
class Job:
    """What to judge on what. `results` and `reference`: a results file, a folder of clips, or a bundle.

    `save`: where to keep what a bundle answers, as COCO predictions; `threads`: of the processor;
    `emulate`: run bundles on what `export` measures them with.
    """

    dataset: AnySet
    results: Path
    reference: Path | None = None
    tags: Sequence[str] = ()
    save: Path | None = None
    threads: int | None = None
    emulate: bool = False
    overwrite: bool = False


def is_bundle(place: Path) -> bool:
    return (place / MANIFEST).is_file()


def judge(job: Job) -> Report:
    """Answer where there is a bundle, read where there is a file, and score.

    Raises `UsageError` before anything costly for what does not go together; else what reading and running
    raise.
    """
    strata = strata_of(job.dataset.cases, job.tags)
    check(job)
    pairs = judge_pictures(job) if isinstance(job.dataset, PictureSet) else judge_clips(job, job.dataset)
    mine, theirs, unasked = pairs
    with console.status("judging") as say:
        say(f"{len(job.dataset.cases)} cases in {len(strata)} strata")
        scored = compare(mine, theirs, strata)
    reference = None if job.reference is None else str(job.reference)
    name, lost = job.dataset.name, job.dataset.left_out
    digest = Bundle.open(job.results).hash if is_bundle(job.results) else None
    return Report(name, str(job.results), reference, scored, lost, unasked, digest)


def check(job: Job) -> None:
    """Raises `UsageError` if a bundle cannot be asked, or there is nothing to save."""
    bundles = [place for place in (job.results, job.reference) if place is not None and is_bundle(place)]
    if bundles and job.dataset.questions is None:
        pictures = isinstance(job.dataset, PictureSet)
        names, remedy = ("pictures", "--pictures DIR") if pictures else ("clips", "a results file of clips")
        raise UsageError(
            f"{bundles[0]} is a bundle, and {job.dataset.name} names {names} only: give {remedy}"
        )
    if job.save is not None and not is_bundle(job.results):
        raise UsageError(
            f"--save-results: {job.results} is no bundle whose answers could be saved; leave it out"
        )
    if job.save is not None and job.save.exists() and not job.overwrite:
        raise UsageError(f"{job.save} exists: pass --overwrite or another --save-results")


Judges = tuple[PictureJudge, "PictureJudge | None", int] | tuple[ClipJudge, "ClipJudge | None", int]


def judge_pictures(job: Job) -> Judges:
    """The results' judge, the reference's, and how many objects of the results nobody asked for."""
    assert isinstance(job.dataset, PictureSet)
    cases = job.dataset.cases
    mine = answers_to(job, job.results)
    if job.save is not None:
        rows = predictions(job.dataset, mine.answers)
        write_file(job.save, (json.dumps(rows) + "\n").encode(), overwrite=job.overwrite)
    if job.reference is None:
        return PictureJudge(cases, mine.answers), None, mine.unasked
    theirs = answers_to(job, job.reference)
    judged = PictureJudge(cases, mine.answers, theirs.answers)
    return judged, PictureJudge(cases, theirs.answers), mine.unasked


def answers_to(job: Job, place: Path) -> PictureResults:
    """What a bundle says when asked now, or what a file says."""
    dataset = job.dataset
    assert isinstance(dataset, PictureSet)
    if not is_bundle(place):
        return read_picture_results(place, dataset)
    assert dataset.questions is not None
    segmenter = load(place, threads=job.threads, emulate=job.emulate)
    with segmenter, console.progress("ask", len(dataset.cases)) as advance:
        answers = answer_pictures(segmenter, dataset.questions(), advance=advance)
    return Results[PictureAnswer](answers)


def judge_clips(job: Job, dataset: ClipSet) -> Judges:
    """As `judge_pictures`."""
    mine = clips_of(job, dataset, job.results)
    if job.save is not None:
        rows = clip_predictions(mine.answers)
        write_file(job.save, (json.dumps(rows) + "\n").encode(), overwrite=job.overwrite)
    if job.reference is None:
        return clip_judge(dataset, mine), None, mine.unasked
    theirs = clips_of(job, dataset, job.reference)
    if mine.same_ids != theirs.same_ids:
        raise UsageError(
            f"{job.results} and {job.reference}: only folders have the dataset's identities; give two alike"
        )
    return clip_judge(dataset, mine, theirs), clip_judge(dataset, theirs), mine.unasked


def clips_of(job: Job, dataset: ClipSet, place: Path) -> ClipResults:
    """As `answers_to`."""
    if not is_bundle(place):
        return read_clip_results(place, dataset)
    assert dataset.questions is not None
    segmenter = load(place, threads=job.threads, emulate=job.emulate)
    with segmenter, console.progress("ask", len(dataset.cases)) as advance:
        return Results[Clip](answer_clips(segmenter, dataset.questions(), advance=advance))


def clip_judge(dataset: ClipSet, mine: ClipResults, theirs: ClipResults | None = None) -> ClipJudge:
    before = None if theirs is None else theirs.answers
    return ClipJudge(dataset.cases, mine.answers, before, same_ids=mine.same_ids)


def place_of(results: Path | None) -> Path:
    """What the user named, or the built-in model."""
    return builtin_bundle() if results is None else results
