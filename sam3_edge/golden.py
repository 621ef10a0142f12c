"""Golden answers: small pictures and what the PyTorch model said of them, to replay on any device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from sam3_edge.agreement import Agreement, compare
from sam3_edge.boxes import Box
from sam3_edge.bundle import Bundle
from sam3_edge.concept import Concept
from sam3_edge.errors import CheckError
from sam3_edge.segmentation import Segmentation
from sam3_edge.segmenter import Segmenter

ANSWERS = "golden/answers.json"


@dataclass(frozen=True)
class Case:
    """A picture uint8 [H, W, 3], what was asked of it, and the answers in that order."""

    picture: NDArray[np.uint8]
    answers: tuple[Segmentation, ...]

    @property
    def concepts(self) -> list[Concept]:
        return [answer.concept for answer in self.answers]


def write_golden(folder: Path, cases: Sequence[Case]) -> None:
    """Write cases into the bundle at `folder`, before it is sealed. The same cases give the same bytes."""
    (folder / "golden").mkdir()
    rows = []
    for number, case in enumerate(cases):
        name = f"golden/{number:02d}.png"
        Image.fromarray(case.picture).save(folder / name)
        rows.append({"picture": name, "answers": [answer_to_json(answer) for answer in case.answers]})
    (folder / ANSWERS).write_text(json.dumps(rows, indent=1) + "\n", encoding="ascii")


def read_golden(bundle: Bundle) -> list[Case]:
    """The bundle's cases, [] if it was exported without. Raises `CheckError` for a damaged file."""
    if all(file.path != ANSWERS for file in bundle.files):
        return []
    try:
        rows = json.loads(bundle.file(ANSWERS).read_bytes())
        return [
            Case(
                np.asarray(Image.open(bundle.file(row["picture"])).convert("RGB")),
                tuple(answer_from_json(answer) for answer in row["answers"]),
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckError(
            f"bundle {bundle.path}: {ANSWERS} is not readable ({error}); export again"
        ) from error


def replay(segmenter: Segmenter, cases: Sequence[Case]) -> Agreement:
    """Ask the segmenter what the cases were asked, and compare the answers."""
    got = [answer for case in cases for answer in segmenter.segment(case.picture, case.concepts)]
    return compare([answer for case in cases for answer in case.answers], got)


def pack(masks: NDArray[np.bool_]) -> list[str]:
    """COCO run lengths of masks [N, H, W]."""
    packed = rle.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    return [mask["counts"].decode() for mask in packed]


def unpack(runs: Sequence[str], size: Sequence[int]) -> NDArray[np.bool_]:
    """The inverse of `pack`: masks [N, H, W] of a size H, W."""
    packed = [{"size": list(size), "counts": counts.encode()} for counts in runs]
    masks = rle.decode(packed).transpose(2, 0, 1) if packed else np.zeros((0, *size))
    return np.ascontiguousarray(masks).astype(bool)


def answer_to_json(answer: Segmentation) -> dict[str, Any]:
    """One answer, masks as COCO run lengths."""
    return {
        "phrase": answer.concept.phrase,
        "boxes": [[*box.edges, box.positive] for box in answer.concept.boxes],
        "presence": answer.presence,
        "scores": answer.scores.tolist(),
        "found": answer.boxes.tolist(),
        "size": list(answer.masks.shape[1:]),
        "masks": pack(answer.masks),
    }


def answer_from_json(row: dict[str, Any]) -> Segmentation:
    """The inverse of `answer_to_json`."""
    return Segmentation(
        concept=Concept(row["phrase"], tuple(Box.of(edges, positive=good) for *edges, good in row["boxes"])),
        masks=unpack(row["masks"], row["size"]),
        boxes=np.array(row["found"], np.float32).reshape(-1, 4),
        scores=np.array(row["scores"], np.float32),
        presence=row["presence"],
    )
