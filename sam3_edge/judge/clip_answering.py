"""Let a bundle follow the phrases of a dataset through its clips, and keep what it said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sam3_edge.judge.answering import by_medium
from sam3_edge.judge.case import Clip, encode
from sam3_edge.judge.datasets import ClipQuestion
from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.tracker import Tracker
from sam3_edge.segmenter import Segmenter


def answer_clips(
    segmenter: Segmenter,
    questions: Iterable[ClipQuestion],
    *,
    settings: Settings | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, Clip]:
    """The identities that answer each case, offline: what hot-start takes back was never there.

    All phrases about a clip are followed in one go. Raises what `Tracker` raises, for a bundle without a
    tracker above all.
    """
    answers: dict[str, Clip] = {}
    for group in by_medium(questions):
        tracker = Tracker(segmenter.session, segmenter.config, segmenter.phrases, settings=settings)
        tracker.add([concept for _, _, concept in group])
        answers |= follow(tracker, group)
        advance(len(group))
    return answers


def follow(tracker: Tracker, group: Sequence[ClipQuestion]) -> dict[str, Clip]:
    """The answers of a tracker that looks for every question's concept, all about one clip."""
    found = gather(Delayed(tracker).follow(group[0][1]), [str(concept) for _, _, concept in group])
    return {case.key: found[str(concept)] for case, _, concept in group}


def gather(results: Iterable[FrameResult], concepts: Iterable[str]) -> dict[str, Clip]:
    """What the results of all frames of a clip say of each concept."""
    found: dict[str, dict[int, dict[int, bytes]]] = {concept: {} for concept in concepts}
    scores: dict[int, float] = {}
    size, frames = (0, 0), 0
    for frames, seen in enumerate(results, 1):
        size = (seen.masks.shape[1], seen.masks.shape[2])
        for place, number in enumerate(seen.ids.tolist()):
            masklets = found[str(seen.concepts[place])]
            masklets.setdefault(number, {})[frames - 1] = encode(seen.masks[place])
            scores[number] = float(seen.scores[place])
    return {
        concept: Clip(
            size,
            frames,
            {n: tuple(masks.get(time) for time in range(frames)) for n, masks in masklets.items()},
            {n: scores[n] for n in masklets},
        )
        for concept, masklets in found.items()
    }


def clip_predictions(answers: Mapping[str, Clip]) -> list[dict[str, Any]]:
    """Answers as YT-VIS predictions with the keys of a frozen set as ids, to be judged again."""
    rows = []
    for key, clip in answers.items():
        for number, masklet in clip.objects.items():
            shapes = [runs and {"size": list(clip.size), "counts": runs.decode("ascii")} for runs in masklet]
            rows.append(
                {"video_id": key, "category_id": 1, "segmentations": shapes, "score": clip.scores[number]}
            )
    return rows
