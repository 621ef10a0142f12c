"""Ask a bundle the questions of a dataset, and keep what it said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from sam3_edge.judge.case import Masks, PictureAnswer
from sam3_edge.judge.datasets import ClipQuestion, PictureSet, Question
from sam3_edge.segmenter import Segmenter

AnyQuestion = TypeVar("AnyQuestion", Question, ClipQuestion)

LEAST = 0.05  # AP looks at unsure objects too, and each costs a mask


def answer_pictures(
    segmenter: Segmenter,
    questions: Iterable[Question],
    *,
    threshold: float = LEAST,
    advance: Callable[[int], object] = lambda count: None,
) -> dict[str, PictureAnswer]:
    """The objects that score above `threshold` for each case. The backbone runs once per picture in a row.

    Raises what `Segmenter.segment` raises, for a phrase that the bundle does not know above all.
    """
    answers = {}
    for group in by_medium(questions):
        found = segmenter.segment(group[0][1], [concept for _, _, concept in group], threshold=threshold)
        for (case, _, _), objects in zip(group, found, strict=True):
            scores = tuple(float(score) for score in objects.scores)
            boxes = tuple(map(tuple, objects.boxes.tolist()))
            answers[case.key] = PictureAnswer(Masks.of(objects.masks), scores, boxes)
        advance(len(group))
    return answers


def by_medium(questions: Iterable[AnyQuestion]) -> Iterator[list[AnyQuestion]]:
    """Questions in a row about the same array, a picture or a clip's frames, together."""
    group: list[AnyQuestion] = []
    for question in questions:
        if group and question[1] is not group[0][1]:
            yield group
            group = []
        group.append(question)
    if group:
        yield group


def predictions(dataset: PictureSet, answers: Mapping[str, PictureAnswer]) -> list[dict[str, Any]]:
    """Answers as COCO predictions with the ids of the dataset, to be judged again without running."""
    media = {name: number for number, name in dataset.media.items()}
    categories = {name: number for number, name in (dataset.categories or {}).items()}
    rows = []
    for key, answer in answers.items():
        file_name, phrase = dataset.asked[key]
        by_category = dataset.categories is not None
        image = plain(media[file_name if by_category else key])
        category = plain(categories[phrase]) if by_category else 1
        for shape, score in zip(answer.masks.to_coco(), answer.scores, strict=True):
            segmentation = shape | {"counts": shape["counts"].decode("ascii")}
            row = {"image_id": image, "category_id": category, "segmentation": segmentation, "score": score}
            rows.append(row)
    return rows


def plain(number: str) -> int | str:
    """An id as its document has it: other evaluators tell 7 from "7"."""
    return int(number) if number.isdecimal() and str(int(number)) == number else number
