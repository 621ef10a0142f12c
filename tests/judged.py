"""Small judged sets: generated pictures and moving discs with their truth, and files of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.judge.case import Clip, ClipCase, Masks, PictureAnswer, PictureCase, encode
from sam3_edge.judge.datasets import ClipSet, PictureSet, key_of, open_dataset
from sam3_edge.shapes.questions import ask_for, ask_in_vain
from sam3_edge.shapes.scenes import draw_scene

SIDE = 96
FRAMES = 12
CLIP_SIZE = (48, 72)

Answers = Mapping[str, PictureAnswer]
Clips = Mapping[str, Clip]


def picture_cases(count: int = 20) -> list[PictureCase]:
    """Of each picture a phrase that is true of something in it, and one that is not."""
    cases = []
    for number in range(count):
        rng = np.random.default_rng((7, number))
        scene = draw_scene(rng, size=SIDE)
        for kind, question in (("present", ask_for(rng, scene)), ("absent", ask_in_vain(rng, scene))):
            masks = np.array([scene.items[i].mask for i in question.answer], bool).reshape(-1, SIDE, SIDE)
            tags = frozenset((kind, *question.phrase.split()))
            cases.append(PictureCase(key_of(f"{number:02}.png", question.phrase), (Masks.of(masks),), tags))
    return list({case.key: case for case in cases}.values())


def right(cases: list[PictureCase]) -> dict[str, PictureAnswer]:
    """The truth as an answer, with scores from 0.6 to 0.99."""
    rng = np.random.default_rng(1)
    return {
        case.key: PictureAnswer(
            case.truths[0], tuple(float(s) for s in rng.uniform(0.6, 0.99, len(case.truths[0])).round(6))
        )
        for case in cases
    }


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: CLIP_SIZE[0], : CLIP_SIZE[1]]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def clip_cases(count: int = 6) -> list[ClipCase]:
    """Three discs a clip, each in its own lane and at its own speed."""
    cases = []
    for number in range(count):
        rng = np.random.default_rng((9, number))
        objects = {}
        for identity, lane in ((1, 8), (2, 24), (3, 40)):
            start, speed, radius = rng.uniform(8, 20), rng.uniform(2, 4), rng.uniform(5, 7)
            objects[identity] = tuple(encode(disc(start + speed * t, lane, radius)) for t in range(FRAMES))
        truth = Clip(CLIP_SIZE, FRAMES, objects)
        cases.append(ClipCase(key_of(f"clip_{number}", "disc"), truth, frozenset(("discs",))))
    return cases


def right_clips(cases: list[ClipCase]) -> dict[str, Clip]:
    return {case.key: replace(case.truth, scores=dict.fromkeys(case.truth.objects, 0.9)) for case in cases}


def shape(runs: bytes, size: tuple[int, int]) -> dict[str, Any]:
    return {"size": list(size), "counts": runs.decode()}


def saco(cases: list[PictureCase]) -> dict[str, Any]:
    """Cases as a SA-Co document, numbered from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, case in enumerate(cases, 1):
        file_name, phrase = case.key.split("\t")
        row = {"id": number, "file_name": file_name, "text_input": phrase, "is_instance_exhaustive": 1}
        images.append(row | {"height": SIDE, "width": SIDE})
        for runs in case.truths[0].runs:
            mask = {"segmentation": shape(runs, (SIDE, SIDE)), "iscrowd": 0, "id": len(annotations) + 1}
            annotations.append(mask | {"image_id": number, "category_id": 1})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}


def found(cases: list[PictureCase], answers: Answers) -> list[dict[str, Any]]:
    """Answers as predictions for `saco(cases)`."""
    return [
        {"image_id": n, "category_id": 1, "segmentation": shape(runs, (SIDE, SIDE)), "score": score}
        for n, case in enumerate(cases, 1)
        for runs, score in zip(answers[case.key].masks.runs, answers[case.key].scores, strict=True)
    ]


def veval(cases: list[ClipCase]) -> dict[str, Any]:
    """Clip cases as a SA-Co VEval document of one phrase, and a second phrase asked in vain of the first."""
    videos, pairs = [], []
    annotations: list[dict[str, Any]] = []
    for number, case in enumerate(cases, 1):
        name = case.key.split("\t")[0]
        files = [f"{name}/{t:05}.jpg" for t in range(FRAMES)]
        row = {"id": number, "video_name": name, "file_names": files}
        videos.append(row | {"height": CLIP_SIZE[0], "width": CLIP_SIZE[1]})
        pairs.append({"id": number, "video_id": number, "category_id": 1, "noun_phrase": "disc"})
        for masklet in case.truth.objects.values():
            shapes = [None if runs is None else shape(runs, CLIP_SIZE) for runs in masklet]
            ids = {"id": len(annotations) + 1, "video_id": number, "category_id": 1}
            annotations.append(ids | {"segmentations": shapes, "iscrowd": 0})
    pairs.append({"id": 99, "video_id": 1, "category_id": 2, "noun_phrase": "cube"})
    categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "cube"}]
    return {
        "videos": videos,
        "annotations": annotations,
        "video_np_pairs": pairs,
        "categories": categories,
    }


def tracked(cases: list[ClipCase], answers: Clips) -> list[dict[str, Any]]:
    """Answers as predictions for `veval(cases)`."""
    return [
        {
            "video_id": n,
            "category_id": 1,
            "score": answers[case.key].scores[identity],
            "segmentations": [None if runs is None else shape(runs, CLIP_SIZE) for runs in masklet],
        }
        for n, case in enumerate(cases, 1)
        for identity, masklet in answers[case.key].objects.items()
    ]


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def pictures_at(*words: Path, **options: Any) -> PictureSet:
    dataset = open_dataset([str(word) for word in words], **options)
    assert isinstance(dataset, PictureSet)
    return dataset


def clips_at(place: Path) -> ClipSet:
    dataset = open_dataset([str(place)])
    assert isinstance(dataset, ClipSet)
    return dataset


def coco() -> dict[str, Any]:
    """Two pictures; circles in both, a square in the second, which also has a crowd of stars."""
    square = shape(encode(np.pad(np.ones((4, 4), bool), 8)), (20, 20))
    rows = [(1, 5), (1, 5), (2, 5), (2, 6), (2, 7)]
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 20, "width": 20} for n in (1, 2)],
        "categories": [{"id": n, "name": name} for n, name in ((5, "circle"), (6, "square"), (7, "star"))],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "segmentation": square, "iscrowd": int(c == 7)}
            for n, (i, c) in enumerate(rows)
        ],
    }


Edit = Callable[[list[dict[str, Any]]], Any]


def edited(row: int = 0, **fields: Any) -> Edit:
    def edit(rows: list[dict[str, Any]]) -> Any:
        rows[row] |= fields
        return rows

    return edit


def without(name: str) -> Edit:
    return lambda rows: [{k: v for k, v in row.items() if k != name} for row in rows]
