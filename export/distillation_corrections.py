"""Questions asked again with a box for what a student got wrong: prompts in the loop, as a person gives them.

Of each question one object is corrected: a teacher's object that the student misses becomes a positive
example box, else a student's object that the teacher does not know a negative one. Both are asked the same
again, so the student learns what a correction makes of its own mistakes (after EdgeSAM, Zhou et al. 2023,
whose prompts are points; a concept's are boxes).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sam3_edge.boxes import pooling_matrices
from sam3_edge.spec import ModelConfig

from .detector import to_corners
from .distillation_losses import KEPT
from .losses import overlap
from .shapes_batch import Answers, Asked

SAME = 0.5  # IoU of boxes from which on two objects are one


@torch.no_grad()
def corrected(batch: Asked, want: Answers, got: Answers, config: ModelConfig) -> Asked:
    """The same questions, each with one box more if there is a mistake and a slot that is free."""
    boxes, labels, bias, pool_y, pool_x = (x.clone() for x in batch.exemplars)
    for n in range(len(boxes)):
        free = (bias[n, 0, 0, :-1] < 0).nonzero()[:, 0]  # the last is the CLS token's
        mistake = mistake_of(kept(want, n), kept(got, n))
        if mistake is None or not len(free):
            continue
        slot, (box, positive) = int(free[0]), mistake
        boxes[n, slot], labels[n, slot], bias[n, 0, 0, slot] = box, float(positive), 0
        pools = pooling_matrices(boxes[n].cpu().numpy(), config.grid, config.roi_size)
        pool_y[n], pool_x[n] = (torch.from_numpy(side) for side in pools)
    return replace(batch, exemplars=(boxes, labels, bias, pool_y, pool_x), exemplar_bias=bias)


def kept(answers: Answers, n: int) -> Tensor:
    """The boxes [K, 4] that question `n` is answered with."""
    boxes, logits, presence = answers.layers[-1]
    return boxes[n, logits[n].sigmoid() * presence[n].sigmoid() > KEPT]


def mistake_of(want: Tensor, got: Tensor) -> tuple[Tensor, bool] | None:
    """The box to give, and whether it is a positive one; None if both have the same objects."""
    for these, others, positive in ((want, got, True), (got, want, False)):
        for box in these:
            alike = overlap(to_corners(box.expand_as(others)), to_corners(others)) if len(others) else others
            if not len(others) or float(alike.max()) < SAME:
                return box.clamp(0, 1), positive
    return None
