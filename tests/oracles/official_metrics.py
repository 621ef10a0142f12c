"""Records how Meta's official evaluator scores small random answers (cgF1), or checks that it still does.

    python -m oracles.official_metrics [--write]     (from tests/, in the environment that run.sh makes)

What is judged is drawn from a seed, here and again in the test; only the scores are recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bitmaps = NDArray[np.bool_]  # [N, H, W]

FOLDER = Path(__file__).parent / "recordings"
SEED = 1911
TOLERANCE = 1e-9
KINDS = (
    "mixed",
    "absent",  # no concept is there
    "silent",  # nothing is answered
    "single",  # one object, perhaps found
    "wrong",  # no answer touches its object
    "perfect",
    "annotators",  # two to four of them, who disagree
    "threshold",  # scores on and around 0.5
    "ties",  # the same masks and scores again and again
    "crowded",
)
OFTEN = 30


@dataclass(frozen=True)
class Pair:
    """One concept in one picture: what each annotator saw, what was answered, and the scores."""

    truths: tuple[Bitmaps, ...]
    answers: Bitmaps
    scores: tuple[float, ...]


Dataset = tuple[Pair, ...]


def datasets() -> list[tuple[str, Dataset]]:
    """All datasets with their kinds: a pure function of `SEED`."""
    # RandomState is frozen by numpy's policy: the same stream in 1.26 and 2.x, on every platform.
    stream = np.random.RandomState(SEED)
    return [(kind, dataset(stream, kind)) for kind in KINDS for _ in range(OFTEN)]


def dataset(stream: np.random.RandomState, kind: str) -> Dataset:
    return tuple(pair(stream, kind) for _ in range(1 if kind == "single" else stream.randint(1, 7)))


def pair(stream: np.random.RandomState, kind: str) -> Pair:
    size = (int(stream.randint(12, 40)), int(stream.randint(12, 40)))
    most = {"single": 1, "crowded": 12, "absent": 0}.get(kind, 4)
    present = most > 0 and stream.randint(4) > 0
    seen = rectangles(stream, size, int(stream.randint(1, most + 1)) if present else 0)
    others = stream.randint(1, 4) if kind == "annotators" else 0
    truths = (seen, *(disturbed(stream, seen, add=1) for _ in range(others)))
    answers = answered(stream, seen, kind)
    return Pair(truths, answers, tuple(scored(stream, kind) for _ in answers))


def answered(stream: np.random.RandomState, seen: Bitmaps, kind: str) -> Bitmaps:
    if kind == "silent" or (kind != "perfect" and stream.randint(5) == 0):
        return seen[:0]
    if kind == "perfect":
        return seen[stream.permutation(len(seen))]
    if kind == "wrong":
        free = ~seen.any(axis=0)
        return rectangles(stream, free.shape, 3) & free
    found = disturbed(stream, seen, add=2)
    return np.concatenate((found, found[::-1])) if kind == "ties" else found


def scored(stream: np.random.RandomState, kind: str) -> float:
    near = (0.5, 0.5 - 2**-20, 0.5 + 2**-20, 0.25, 0.75)
    if kind == "perfect":
        return 1.0
    if kind in ("threshold", "ties"):
        return float(near[stream.randint(len(near))])
    return float(stream.randint(4096)) / 4096 if stream.randint(3) == 0 else 0.9


def rectangles(stream: np.random.RandomState, size: tuple[int, ...], number: int) -> Bitmaps:
    """Rectangles, some without a corner; they may overlap."""
    height, width = size
    masks = np.zeros((number, height, width), bool)
    for mask in masks:
        h, w = stream.randint(2, height // 2), stream.randint(2, width // 2)
        y, x = stream.randint(height - h), stream.randint(width - w)
        mask[y : y + h, x : x + w] = True
        mask[y : y + int(stream.randint(h)), x : x + int(stream.randint(w))] = False
    return masks


def disturbed(stream: np.random.RandomState, masks: Bitmaps, *, add: int) -> Bitmaps:
    """The masks in another order, shifted by up to two pixels, some left out, up to `add` new ones."""
    moved = [np.roll(mask, stream.randint(-2, 3, size=2) * stream.randint(2), (0, 1)) for mask in masks]
    new = rectangles(stream, masks.shape[1:], int(stream.randint(add + 1)))
    every = np.array([*moved, *new], bool).reshape(-1, *masks.shape[1:])
    kept = stream.permutation(len(every))
    return every[kept[stream.randint(6, size=len(every)) > 0]]


def digest(drawn: Sequence[tuple[str, Dataset]]) -> str:
    """Of every pixel and score: a test that draws otherwise must say so, not report a wrong metric."""
    found = hashlib.sha256()
    for _, pairs in drawn:
        for one in pairs:
            for masks in (*one.truths, one.answers):
                found.update(repr(masks.shape).encode() + np.packbits(masks).tobytes())
            found.update(repr(one.scores).encode())
    return found.hexdigest()


def coco(pairs: Dataset, annotator: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """As files: the true objects by one annotator (or their last), and the answers."""
    truths = [one.truths[min(annotator, len(one.truths) - 1)] for one in pairs]
    images = [
        {"id": i, "height": t.shape[1], "width": t.shape[2], "is_instance_exhaustive": True}
        for i, t in enumerate(truths)
    ]
    objects = [annotation(i, mask) for i, masks in enumerate(truths) for mask in masks]
    for number, one in enumerate(objects, 1):
        one |= {"id": number, "iscrowd": 0}
    answers = [
        annotation(i, mask) | {"score": score}
        for i, one in enumerate(pairs)
        for mask, score in zip(one.answers, one.scores, strict=True)
    ]
    return {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "any"}]}, answers


def annotation(image: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    from pycocotools import mask as rle

    runs = rle.encode(np.asfortranarray(mask, np.uint8))
    shape = {"size": runs["size"], "counts": runs["counts"].decode()}
    # With a box, or the evaluator adds one as an array, and fails when the second annotator's turn reads it.
    box = [float(edge) for edge in rle.toBbox(runs)]
    return {"image_id": image, "category_id": 1, "segmentation": shape, "bbox": box, "area": int(mask.sum())}


def official_scores(pairs: Dataset, folder: Path) -> dict[str, float]:
    """What the official evaluator says of one dataset, by its own names."""
    from sam3.eval.cgf1_eval import CGF1Evaluator

    paths = []
    for annotator in range(max(len(one.truths) for one in pairs)):
        truth, answers = coco(pairs, annotator)
        paths.append(folder / f"truth{annotator}.json")
        paths[-1].write_text(json.dumps(truth))
    (folder / "answers.json").write_text(json.dumps(answers))
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(invalid="ignore"):
        judge = CGF1Evaluator([str(path) for path in paths])
        scores = judge.evaluate(str(folder / "answers.json"))
    return {name.removeprefix("cgF1_eval_segm_"): value for name, value in scores.items()}


def record() -> tuple[NDArray[np.float64], dict[str, Any]]:
    """The scores [datasets, names], and what metrics.json says of them."""
    from .official_environment import OnCpu, prepare_imports

    prepare_imports()
    drawn = datasets()
    with OnCpu(), tempfile.TemporaryDirectory() as folder:
        found = [official_scores(pairs, Path(folder)) for _, pairs in drawn]
    versions = {name: version(name) for name in ("sam3", "pycocotools", "scipy", "numpy")}
    info = {"seed": SEED, "digest": digest(drawn), "versions": versions, "names": list(found[0])}
    return np.array([list(scores.values()) for scores in found]), info


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the committed recording")
    options = parser.parse_args()
    scores, info = record()
    if options.write:
        np.savez_compressed(FOLDER / "metrics.npz", allow_pickle=False, scores=scores)
        (FOLDER / "metrics.json").write_text(json.dumps(info, indent=1) + "\n")
        return 0
    recorded = json.loads((FOLDER / "metrics.json").read_text())
    if any(recorded[key] != info[key] for key in ("digest", "names")):
        print("other datasets or scores than recorded: run with --write")
        return 1
    with np.load(FOLDER / "metrics.npz", allow_pickle=False) as file:
        apart = float(np.abs(file["scores"] - scores).max())
    print(f"{len(scores)} datasets: scores at most {apart:.1e} from the recording; allowed {TOLERANCE:.0e}")
    return int(apart > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
