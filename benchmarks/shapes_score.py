"""How well a bundle answers questions about `shapes`: `python -m sam3_edge.benchmarks.shapes_score`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console
from sam3_edge.agreement import overlaps, pair
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.demo import concept_of
from sam3_edge.questions import Question, ask_by_box, ask_for, ask_in_vain
from sam3_edge.segmenter import Segmentation, Segmenter, load
from sam3_edge.shapes import Scene, draw_scene
from sam3_edge.writing import write_file

SEED = 990  # of scenes that no training has seen
KINDS = {"phrase": ask_for, "phrase in vain": ask_in_vain, "example box": ask_by_box}


@dataclass
class Score:
    """Right, wrong, missed objects at mask IoU 0.5; IoUs of the right ones; was presence told rightly?"""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    ious: list[float] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)

    def count(self, scene: Scene, question: Question, found: Segmentation) -> None:
        """Add one answer."""
        shape = scene.picture.shape[:2]
        truth = np.array([scene.items[i].mask for i in question.answer], bool).reshape(-1, *shape)
        iou = overlaps(truth, found.masks)
        pairs = pair(iou)
        self.right += len(pairs)
        self.wrong += len(found) - len(pairs)
        self.missed += len(truth) - len(pairs)
        self.ious += [float(iou[row, column]) for row, column in pairs]
        self.told.append((found.presence > 0.5) == bool(question.answer))

    @property
    def f1(self) -> float:
        """Of objects, 0 to 1; 0 if there was none to find."""
        return 2 * self.right / max(2 * self.right + self.wrong + self.missed, 1)

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        counts = {"right": self.right, "wrong": self.wrong, "missed": self.missed}
        iou = round(float(np.mean(self.ious)), 3) if self.ious else None
        return counts | {"f1": round(self.f1, 3), "iou": iou, "presence": round(float(np.mean(self.told)), 3)}


def score(segmenter: Segmenter, scenes: int) -> dict[str, Score]:
    """Ask one question of each kind about each scene."""
    rng, scores = np.random.default_rng(SEED), {kind: Score() for kind in KINDS}
    for _ in range(scenes):
        scene = draw_scene(rng)
        asked = [ask(rng, scene) for ask in KINDS.values()]
        answers = segmenter.segment(scene.picture, [concept_of(question) for question in asked])
        for kind, question, found in zip(KINDS, asked, answers, strict=True):
            scores[kind].count(scene, question, found)
    return scores


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the built-in model.")
@click.option("--scenes", default=200, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON.")
def main(bundle: Path | None, scenes: int, output: Path | None) -> None:
    """Score BUNDLE on scenes that no training has seen."""
    place = bundle or builtin_bundle()
    with load(place) as segmenter:
        found = {kind: counted.to_json() for kind, counted in score(segmenter, scenes).items()}
    columns = ("question", "right", "wrong", "missed", "f1", "iou", "presence")
    rows = [(kind, *(str(row[name]) for name in columns[1:])) for kind, row in found.items()]
    console.table(f"{scenes} scenes", columns, rows, out=True)
    if output is not None:
        document = {"bundle": Bundle.open(place).hash, "scenes": scenes, "seed": SEED, "scores": found}
        write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)


if __name__ == "__main__":
    main()
