"""What a pass reached, on pictures of no batch: the student beside its teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from .detector import to_corners
from .distillation_corrections import kept
from .distillation_recipe import Pass
from .losses import Match, Truth, match, overlap
from .model import Sam3
from .processes import everywhere
from .shapes_batch import Answers

if TYPE_CHECKING:
    from .distillation import Distillation

BATCHES = 8


@torch.no_grad()
def measure(student: Sam3, run: Distillation, it: Pass) -> dict[str, float]:
    """Over a few batches: `cosine` of the trunk features, `f1` of the teacher's objects at a box IoU of 0.5,
    `presence`: the share of questions on which both say the same, and `bias`: how much more often yes."""
    from .distillation import HELD_OUT, trunk_of

    sums = torch.zeros(7)
    for number in range(BATCHES):
        batch = run.asked(it, HELD_OUT + number)
        want, got = run.wanted(batch), run.seen(trunk_of(student, batch.pictures))
        cosine = cosine_similarity(got.trunk, want.trunk, dim=2).mean(1)
        sums[:2] += torch.tensor([float(cosine.sum()), float(len(cosine))])
        sums[2:] += compare(*run.answers(batch, want, got))
    cosine, pictures, found, objects, same, more, questions = everywhere(sums).tolist()
    return {
        "cosine": cosine / pictures,
        "f1": 2 * found / max(1.0, objects),
        "presence": same / questions,
        "bias": more / questions,
    }


def compare(want: Answers, got: Answers) -> Tensor:
    """Objects that both have, objects of both together; questions answered alike, yes more often, all."""
    yes = [(a.layers[-1][2].sigmoid() > 0.5).float() for a in (want, got)]
    found, objects = 0, 0
    for n in range(len(want.encoded)):
        ours, theirs = (kept(a, n) for a in (got, want))
        objects += len(ours) + len(theirs)
        if len(ours) and len(theirs):
            pairs: Match = match(ours[None], ours[None, :, 0] * 0, [Truth(theirs, theirs[:, 0])])[0]
            alike = overlap(to_corners(ours[pairs.query]), to_corners(theirs[pairs.item]))
            found += int((alike > 0.5).sum())
    same, more = (yes[0] == yes[1]).sum(), (yes[1] - yes[0]).sum()
    return torch.tensor([float(found), float(objects), float(same), float(more), float(len(yes[0]))])
