"""Results files of any program -> answers by the keys of a dataset's cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from sam3_edge.errors import CheckError, UsageError
from sam3_edge.judge.case import Clip, Masklet, Masks, PictureAnswer
from sam3_edge.judge.coco_set import labels
from sam3_edge.judge.datasets import AnySet, ClipSet, PictureSet, key_of
from sam3_edge.judge.davis import clip_folders, read_clip
from sam3_edge.judge.reading import AGAIN, identity, read_json, runs_of, score_of, take
from sam3_edge.judge.saco import masklet_of

Answer = TypeVar("Answer", PictureAnswer, Clip)


@dataclass(frozen=True)
class Results(Generic[Answer]):
    """An answer for every case of the dataset: nothing found where the file says nothing of it.

    `unasked`: how many objects answer questions that the dataset does not ask or leaves out. `same_ids`: the
    identities are meant to be those of the truth.
    """

    answers: Mapping[str, Answer]
    unasked: int = 0
    same_ids: bool = False


PictureResults: TypeAlias = "Results[PictureAnswer]"
ClipResults: TypeAlias = "Results[Clip]"
Row: TypeAlias = "tuple[str, Any, str]"  # the case's key, the object, and where it stands in the file


def read_picture_results(path: Path, dataset: PictureSet) -> PictureResults:
    """COCO predictions (image_id, category_id, segmentation, score), or a document of `sam3-edge run`.

    Predictions are matched by ids, which the dataset must know; a document by file name and category, of
    which it may hold more than is asked. Raises `SourceError` for what cannot be read, `CheckError` for what
    is wrong in it or answers no case at all, `UsageError` for results of clips.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder of clips, {dataset.name} is of pictures: name a results file")
    document = read_json(path)
    rows = rows_of(path, document, {"image_id": "video_id"}, dataset)
    sizes = {case.key: case.truths[0].size for case in dataset.cases}
    masks: dict[str, list[bytes]] = {key: [] for key in sizes}
    scores: dict[str, list[float]] = {key: [] for key in sizes}
    unasked = 0
    for key, row, where in rows:
        score = score_of(row, where=where)
        if key not in sizes:
            unasked += 1
            continue
        masks[key].append(runs_of(row.get("segmentation"), sizes[key], where=where))
        scores[key].append(score)
    check_any(path, dataset, any(scores.values()))
    return Results(
        {key: PictureAnswer(Masks(sizes[key], tuple(masks[key])), tuple(scores[key])) for key in sizes},
        unasked,
    )


def read_clip_results(path: Path, dataset: ClipSet) -> ClipResults:
    """YT-VIS predictions (video_id, category_id, segmentations, score), or a DAVIS folder of PNGs.

    A prediction is an identity; those of a case are numbered in the file's order. Of a folder, the pixel
    values are the identities. Raises like `read_picture_results`.
    """
    if path.is_dir():
        return read_folder(path, dataset)
    rows = rows_of(path, read_json(path), {"video_id": "image_id"}, dataset)
    truths = {case.key: case.truth for case in dataset.cases}
    objects: dict[str, dict[int, Masklet]] = {key: {} for key in truths}
    scores: dict[str, dict[int, float]] = {key: {} for key in truths}
    unasked = 0
    for key, row, where in rows:
        score = score_of(row, where=where)
        if key not in truths:
            unasked += 1
            continue
        clip, number = truths[key], len(objects[key]) + 1
        objects[key][number] = masklet_of(row, clip.size, frames=clip.frames, where=where)
        scores[key][number] = score
    check_any(path, dataset, any(scores.values()))
    return Results({k: Clip(t.size, t.frames, objects[k], scores[k]) for k, t in truths.items()}, unasked)


def read_folder(path: Path, dataset: ClipSet) -> ClipResults:
    """A folder for each clip, named as the dataset's key."""
    folders = {folder.name: folder for folder in clip_folders(path)}
    truths = {case.key: case.truth for case in dataset.cases}
    check_any(path, dataset, bool(folders.keys() & truths))
    if strange := sorted(folders.keys() - truths):
        raise CheckError(
            f"{path}: dataset {dataset.name} has no clip {strange[0]!r:.80}: remove it or name another"
        )
    answers = {}
    for key, truth in truths.items():
        nothing = Clip(truth.size, truth.frames, {})
        answers[key] = answer = read_clip(folders[key], scores=True) if key in folders else nothing
        if (answer.size, answer.frames) != (truth.size, truth.frames):
            raise CheckError(
                f"{folders[key]}: {answer.frames} frames of {list(answer.size)} pixels, "
                f"want {truth.frames} of {list(truth.size)}: {AGAIN}"
            )
    return Results(answers, same_ids=True)


def rows_of(path: Path, document: Any, ids: Mapping[str, str], dataset: AnySet) -> Iterator[Row]:
    """The objects of a file. `ids`: the name of the id to expect -> that of the other kind of results."""
    ((want, other),) = ids.items()
    first = document[0] if isinstance(document, list) and document else None
    if isinstance(document, dict) and want == "image_id" and {"images", "annotations"} <= document.keys():
        return document_rows(path, document, dataset)
    if isinstance(first, dict) and want in first:
        return prediction_rows(path, document, want, dataset)
    if isinstance(first, dict) and other in first:
        raise UsageError(
            f"{path} has {other}s, dataset {dataset.name} wants {want}s: name another of the two"
        )
    if document == []:
        raise CheckError(f"{path}: there is not one answer in it: {AGAIN}")
    raise CheckError(f"{path}: want a list of objects with {want}, segmentation and score: {AGAIN}")


def prediction_rows(path: Path, rows: list[Any], name: str, dataset: AnySet) -> Iterator[Row]:
    """By ids, which the dataset must know."""
    for number, row in enumerate(rows):
        where = f"{path}, entry {number}"
        medium = identity(row, name, where=where)
        category = None if dataset.categories is None else identity(row, "category_id", where=where)
        try:
            key = dataset.key(medium, category)
        except KeyError as error:
            named = f"{name} {medium!r:.80}" + (
                "" if category is None else f" or category_id {category!r:.80}"
            )
            raise CheckError(
                f"{where}: dataset {dataset.name} has no {named}: name its own results"
            ) from error
        yield key, row, where


def document_rows(path: Path, document: Any, dataset: AnySet) -> Iterator[Row]:
    """By file names and categories. One question may have several cases, and answers them all."""
    pictures = labels(document, "images", "file_name", where=str(path))
    phrases = labels(document, "categories", "name", where=str(path))
    for number, row in enumerate(take(document, "annotations", list, where=str(path))):
        where = f"{path}, annotation {number}"
        image, category = (identity(row, name, where=where) for name in ("image_id", "category_id"))
        if image not in pictures or category not in phrases:
            raise CheckError(f"{where}: there is no image {image:.80} or category {category:.80}: {AGAIN}")
        question = key_of(pictures[image], phrases[category])
        for key in dataset.by_name.get(question, (question,)):
            yield key, row, where


def check_any(path: Path, dataset: AnySet, answered: bool) -> None:
    """A file that answers no case is of another dataset, or of none."""
    if not answered:
        raise CheckError(f"{path} answers no case of {dataset.name}: name results of that dataset")
