"""Records how Meta's official evaluator scores small random clips (pHOTA), or checks that it still does.

    python -m oracles.official_hota [--write]     (from tests/, in the environment that run.sh makes)

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
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bitmaps = NDArray[np.bool_]  # [identities, frames, H, W]
Arrays = dict[str, NDArray[np.float64]]

FOLDER = Path(__file__).parent / "recordings"
SEED = 2077
TOLERANCE = 1e-9
SIZE = (24, 32)
OFTEN = 26
KINDS = (
    "noisy",  # every object moves, comes and goes; masks are shifted, lost and invented
    "perfect",
    "swapped",  # two identities change places midway
    "broken",  # each object answered by one identity after the other
    "crowded",
    "hidden",  # objects and answers are out of sight half of the time
    "absent",  # no object, but answers
    "silent",  # objects, but no answer
    "single",  # one object in one frame
    "wrong",  # no answer touches its object
    "ties",  # the same masks again and again
)
MEANS = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr")
COUNTS = ("HOTA_TP", "HOTA_FN", "HOTA_FP")


@dataclass(frozen=True)
class Drawn:
    """One concept in one clip: true objects, answered identities and their scores (official cut: > 0.5)."""

    kind: str
    truth: Bitmaps
    answer: Bitmaps
    scores: tuple[float, ...]


def clips() -> list[Drawn]:
    """All clips: a pure function of `SEED`."""
    # RandomState is frozen by numpy's policy: the same stream in 1.26 and 2.x, on every platform.
    random = np.random.RandomState(SEED)
    return [draw(kind, random) for _ in range(OFTEN) for kind in KINDS]


def digest(drawn: list[Drawn]) -> str:
    """Names exactly what was judged."""
    whole = hashlib.sha256()
    for clip in drawn:
        shapes = f"{clip.kind} {clip.truth.shape} {clip.answer.shape} {clip.scores}"
        whole.update(shapes.encode() + np.packbits(clip.truth).tobytes() + np.packbits(clip.answer).tobytes())
    return whole.hexdigest()


def draw(kind: str, random: np.random.RandomState) -> Drawn:
    frames = 1 if kind == "single" else int(random.randint(2, 9))
    objects = {"single": 1, "crowded": 6, "swapped": 3, "absent": 0}.get(kind, int(random.randint(1, 4)))
    truth = moving(objects, frames, random, step=0 if kind == "ties" else 3)
    if kind in ("noisy", "hidden", "crowded"):
        truth &= seen(truth, random, 0.5 if kind == "hidden" else 0.8)
    answer = answered(kind, truth, random)
    if kind in ("noisy", "absent", "crowded"):
        answer = np.concatenate((answer, moving(int(random.randint(1, 3)), frames, random, step=3)))
    doubted = 0.3 if kind == "noisy" else 0.0
    scores = [0.5 if random.rand() < doubted else 0.5 + random.randint(1, 50) / 100 for _ in answer]
    return Drawn(kind, truth, answer, tuple(scores))


def moving(objects: int, frames: int, random: np.random.RandomState, *, step: int) -> Bitmaps:
    """Rectangles that wander by up to `step` pixels a frame."""
    height, width = SIZE
    masks = np.zeros((objects, frames, height, width), bool)
    for track in masks:
        y, x, h, w = random.randint(0, height - 8), random.randint(0, width - 8), *random.randint(4, 14, 2)
        for mask in track:
            mask[max(y, 0) : y + h, max(x, 0) : x + w] = True
            y, x = (int(np.clip(at + random.randint(-step, step + 1), 0, 20)) for at in (y, x))
    return masks


def seen(masks: Bitmaps, random: np.random.RandomState, share: float) -> Bitmaps:
    """Which masks are seen: [N, T, 1, 1]."""
    return np.asarray(random.rand(*masks.shape[:2]) < share)[..., None, None]


def answered(kind: str, truth: Bitmaps, random: np.random.RandomState) -> Bitmaps:
    if kind == "silent":
        return truth[:0]
    if kind == "wrong":
        return np.roll(truth, 1, axis=1) & ~truth.any(0)
    answer = truth.copy()
    if kind not in ("perfect", "ties"):
        for index in np.ndindex(*answer.shape[:2]):
            answer[index] = np.roll(answer[index], random.randint(-2, 3, 2).tolist(), (0, 1))
    if kind in ("noisy", "hidden"):
        answer &= seen(answer, random, 0.8)
    middle = truth.shape[1] // 2
    if kind in ("swapped", "noisy") and len(answer) > 1:
        answer[[0, 1], middle:] = answer[[1, 0], middle:]
    if kind == "broken":
        early = np.arange(truth.shape[1])[:, None, None] < middle
        answer = np.concatenate((answer & early, answer & ~early))
    if kind == "ties":
        answer = np.repeat(answer, 2, axis=0)
    return answer[random.permutation(len(answer))]


def as_json(drawn: list[Drawn]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Truth and answers in the evaluator's formats: one video for each clip."""
    height, width = SIZE
    videos, truths, answers = [], [], []
    for number, clip in enumerate(drawn, 1):
        names = [f"{number}/{frame}.jpg" for frame in range(clip.truth.shape[1])]
        videos.append({"id": number, "height": height, "width": width, "file_names": names})
        common = {"video_id": number, "category_id": 1, "iscrowd": 0, "height": height, "width": width}
        truths += [common | masklet(masks, keep_empty=False) for masks in clip.truth]
        for masks, score in zip(clip.answer, clip.scores, strict=True):
            answers.append(common | masklet(masks, keep_empty=True) | {"score": score})
    for number, annotation in enumerate(truths, 1):
        annotation["id"] = number
    categories = [{"id": 1, "name": "thing"}]
    return {"videos": videos, "annotations": truths, "categories": categories}, answers


def masklet(masks: Bitmaps, *, keep_empty: bool) -> dict[str, list[Any]]:
    """One identity [T, H, W]. Answers keep masks without a pixel: the evaluator must drop them itself."""
    from pycocotools import mask as rle

    runs = [rle.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    kept = [keep_empty or bool(mask.any()) for mask in masks]
    shapes = [{"size": r["size"], "counts": r["counts"].decode()} for r in runs]
    return {
        "segmentations": [shape if keep else None for shape, keep in zip(shapes, kept, strict=True)],
        "bboxes": [rle.toBbox(r).tolist() if keep else None for r, keep in zip(runs, kept, strict=True)],
        "areas": [int(rle.area(r)) if keep else None for r, keep in zip(runs, kept, strict=True)],
    }


def official_scores(drawn: list[Drawn], folder: Path) -> tuple[Arrays, dict[str, float]]:
    """Each clip's mean scores and [19] counts (arrays over clips), and the scores of all clips together."""
    from sam3.eval.saco_veval_evaluators import VideoPhraseHotaEvaluator

    heard: dict[str, Any] = {}

    class Listener(VideoPhraseHotaEvaluator):  # type: ignore[misc]
        def extract_video_np_level_results(self, *_args: Any, **named: Any) -> None:
            heard.update(named)

    truth, answers = as_json(drawn)
    for name, content in (("truth", truth), ("answers", answers)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    judge = Listener(str(folder / "truth.json"), dataset_name="all", iou_types=["segm"])
    with contextlib.redirect_stdout(io.StringIO()):
        together, _ = judge.evaluate(str(folder / "answers.json"))
    by_clip: list[dict[str, Any]] = [{} for _ in drawn]
    for video in heard["remapped_gt"]["videos"]:
        scores = heard["raw_results"][f"remapped_vid_{video['id']:012d}"]["_REMAPPED_FOR_PHRASE_METRICS_"]
        by_clip[video["orig_video_id"] - 1] = scores["HOTA"]
    arrays = {name: np.array([clip[name].mean() for clip in by_clip]) for name in MEANS}
    arrays |= {name: np.array([clip[name] for clip in by_clip]) for name in COUNTS}
    return arrays, {name: together[f"all_mask_all_phrase_{name}"] for name in MEANS}


def record() -> tuple[Arrays, dict[str, Any]]:
    """The scores, and what hota.json says of them."""
    from .official_environment import prepare_imports

    prepare_imports()
    drawn = clips()
    with tempfile.TemporaryDirectory() as folder:
        arrays, together = official_scores(drawn, Path(folder))
    versions = {name: version(name) for name in ("sam3", "pycocotools", "scipy", "numpy")}
    return arrays, {"seed": SEED, "digest": digest(drawn), "versions": versions, "together": together}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the committed recording")
    options = parser.parse_args()
    arrays, info = record()
    if options.write:
        np.savez_compressed(FOLDER / "hota.npz", allow_pickle=False, **arrays)
        (FOLDER / "hota.json").write_text(json.dumps(info, indent=1) + "\n")
        return 0
    recorded = json.loads((FOLDER / "hota.json").read_text())
    if recorded["digest"] != info["digest"]:
        print("other clips than recorded: run with --write")
        return 1
    with np.load(FOLDER / "hota.npz", allow_pickle=False) as file:
        apart = max(float(np.abs(file[name] - values).max()) for name, values in arrays.items())
    apart = max(apart, *(abs(recorded["together"][name] - info["together"][name]) for name in MEANS))
    print(
        f"{len(arrays['HOTA'])} clips: scores at most {apart:.1e} from the recording; allowed {TOLERANCE:.0e}"
    )
    return int(apart > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
