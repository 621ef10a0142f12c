"""COCO's mask AP over cases: every picture-phrase pair is an image of its own, all of one category."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .case import Masks, PictureAnswers, PictureCases


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's mask AP, 0..1; -1 where there is no object of that size, as in COCO.

    Over IoU 0.5:0.95 where not said otherwise. Small: up to 32^2 pixels, large: from 96^2.
    `recall` is AR@100: what recall the 100 best objects of each case reach.
    """

    ap: float
    ap_50: float
    ap_75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    recall: float

    def values(self) -> dict[str, float]:
        """By name, as a report shows them."""
        return asdict(self)


def average_precision(cases: PictureCases, answers: PictureAnswers) -> AveragePrecision:
    """Judge every answered object by its score, without a threshold.

    `answers` by key, one for every case. Of several annotators the first counts: COCO knows only one.
    Raises UsageError if an answer's masks are of another size than its case's.
    """
    from pycocotools.cocoeval import COCOeval

    for case in cases:
        case.check(answers[case.key])
    truths = [(case.truths[0], (1.0,) * len(case.truths[0])) for case in cases]
    found = [(answers[case.key].masks, answers[case.key].scores) for case in cases]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints every step
        judge = COCOeval(document(truths), document(found), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    ap, ap_50, ap_75, small, medium, large, _, _, recall = (float(value) for value in judge.stats[:9])
    return AveragePrecision(ap, ap_50, ap_75, small, medium, large, recall)


def document(pictures: Sequence[tuple[Masks, tuple[float, ...]]]) -> Any:
    """The masks and scores of every picture as a `pycocotools.coco.COCO`."""
    from pycocotools.coco import COCO

    images = [{"id": i, "height": m.size[0], "width": m.size[1]} for i, (m, _) in enumerate(pictures)]
    annotations = [
        {
            "image_id": i,
            "category_id": 1,
            "segmentation": mask,
            "area": int(area),
            "iscrowd": 0,
            "score": score,
        }
        for i, (masks, scores) in enumerate(pictures)
        for mask, area, score in zip(masks.to_coco(), masks.areas(), scores, strict=True)
    ]
    for number, annotation in enumerate(annotations, 1):  # not 0, which COCOeval takes for "unmatched"
        annotation["id"] = number
    coco = COCO()
    coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    coco.createIndex()
    return coco
