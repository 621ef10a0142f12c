"""What a student gets wrong beside its teacher. Each loss is a sum and what it is a sum over.

Sums, because processes with pictures of their own must give the gradient of one process with all of them:
the counts are added over the processes before anything is divided. The weights and the shape of the losses of
`outputs` follow SAM 3's own for labels (Carion et al. 2025: box 5, GIoU 2) and EdgeSAM's for masks of a
teacher (Zhou et al. 2023: cross-entropy 5, Dice 5); those of `features` are EfficientSAM3's (trunk: error 1,
cosine 1) and DART's (neck, finest first: 0.15, 0.2, 0.65). SAM 3 weighs scores and presence 20, as focal
losses, which are small where the model is right. Soft targets have plain entropies, whose gradients at 20
are 157 and 235 beside 6 at most of any other output (benchmarks/results/distill_signal.json): here 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .detector import to_corners
from .losses import Match, Truth, dice, match, overlap
from .model import Sam3
from .shapes_batch import Answers

Loss = tuple[Tensor, float]
KEPT = 0.5  # what scores above it is an object of the teacher's
NECK = (0.15, 0.2, 0.65)
FEATURES = {"trunk": 1.0, "cosine": 1.0, "neck": 1.0, "tracker neck": 1.0}
OUTPUTS = {
    "encoded": 1.0,
    "presence": 1.0,
    "scores": 1.0,
    "boxes": 5.0,
    "overlap": 2.0,
    "masks": 5.0,
    "dice": 5.0,
    "semantic": 5.0,
}


def weights_of(kind: str, anchor: float) -> dict[str, float]:
    """How much each loss counts in a pass of a kind. `anchor`: what features count for beside outputs."""
    if kind == "features":
        return FEATURES
    return OUTPUTS | {name: anchor * weight for name, weight in FEATURES.items()}


@dataclass(frozen=True)
class Seen:
    """The trunk feature [P, G * G, C] of pictures, and what the detector's neck makes of it."""

    trunk: Tensor
    levels: tuple[Tensor, ...]


def feature_losses(teacher: Sam3, want: Seen, got: Seen) -> dict[str, Loss]:
    """The trunk feature, as it is and through the teacher's necks."""
    count = float(len(want.trunk))
    # Channels differ in scale by a hundred: each counts by its own spread over the picture.
    spread = want.trunk.var(1, keepdim=True) + 1e-6
    losses = {
        "trunk": (((got.trunk - want.trunk) ** 2 / spread).mean((1, 2)).sum(), count),
        "cosine": ((1 - F.cosine_similarity(got.trunk, want.trunk, dim=2)).mean(1).sum(), count),
        "neck": (neck_loss(want.levels, got.levels), count),
    }
    if teacher.config.tracks:
        neck = teacher.tracker.features.neck
        with torch.no_grad():
            wanted = neck(want.trunk)
        losses["tracker neck"] = (neck_loss(wanted, neck(got.trunk)), count)
    return losses


def neck_loss(want: tuple[Tensor, ...], got: tuple[Tensor, ...]) -> Tensor:
    """Three levels [P, D, s, s], each beside its own spread."""
    errors = [
        weight * ((b - a) ** 2 / (a.var((2, 3), keepdim=True) + 1e-6)).mean((1, 2, 3)).sum()
        for weight, a, b in zip(NECK, want, got, strict=True)
    ]
    return torch.stack(errors).sum()


def added(a: dict[str, Loss], b: dict[str, Loss]) -> dict[str, Loss]:
    """The losses of two batches together."""
    return {name: (a[name][0] + b[name][0], a[name][1] + b[name][1]) for name in a}


@dataclass(frozen=True)
class Taught:
    """The teacher's objects of each question, with the queries that found them."""

    queries: list[Tensor]
    truths: list[Truth]


@torch.no_grad()
def taught(answers: Answers) -> Taught:
    """Boxes of what the teacher keeps, and its soft masks where they were drawn."""
    boxes, logits, presence = answers.layers[-1]
    kept = (logits.sigmoid() * presence.sigmoid() > KEPT).cpu()
    queries, truths = [], []
    for n, row in enumerate(kept):
        found = row.nonzero()[:, 0].to(boxes.device)
        drawn = answers.masks is not None and n < len(answers.masks)
        masks = answers.masks[n, found].sigmoid() if answers.masks is not None and drawn else boxes[:0, 0]
        queries.append(found)
        truths.append(Truth(boxes[n, found], masks))
    return Taught(queries, truths)


def output_losses(want: Answers, got: Answers) -> dict[str, Loss]:
    """What both said through the same heads, about the same questions."""
    count, drawn = float(len(want.encoded)), float(len(want.semantic))
    error = ((got.encoded - want.encoded) ** 2).mean((1, 2)) / (want.encoded.var((1, 2)) + 1e-6)
    boxes, logits, presence = got.layers[-1]
    there = want.layers[-1][2].sigmoid()
    semantic = F.binary_cross_entropy_with_logits(got.semantic, want.semantic.sigmoid(), reduction="none")
    return {
        "encoded": (error.sum(), count),
        "presence": (F.binary_cross_entropy_with_logits(presence, there, reduction="sum"), count),
        "semantic": (semantic.mean((1, 2, 3)).sum(), drawn),
        **object_losses(want, taught(want), boxes, logits, got.masks),
    }


def object_losses(
    want: Answers, objects: Taught, boxes: Tensor, logits: Tensor, masks: Tensor | None
) -> dict[str, Loss]:
    """Each of the teacher's objects beside the student's query that is nearest to it.

    Scores are learned where the teacher finds something; elsewhere presence alone says no, as in SAM 3.
    """
    pairs, _ = match(boxes, logits, objects.truths)
    target, present = torch.zeros_like(logits), torch.zeros_like(logits[:, :1])
    for n, query, item in zip(pairs.sample, pairs.query, pairs.item, strict=True):
        target[n, query] = want.layers[-1][1][n, objects.queries[n][item]].sigmoid()
        present[n] = 1
    scores = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * present
    nothing, count = boxes.sum() * 0, float(len(pairs))
    losses = {"scores": (scores.sum(), count), "boxes": (nothing, count), "overlap": (nothing, count)}
    if pairs:
        rows = zip(pairs.sample, pairs.item, strict=True)
        wanted = torch.stack([objects.truths[n].boxes[i] for n, i in rows])
        found = boxes[pairs.sample, pairs.query]
        losses["boxes"] = ((found - wanted).abs().sum(), count)
        losses["overlap"] = ((1 - overlap(to_corners(found), to_corners(wanted))).sum(), count)
    return losses | mask_losses(masks, objects, pairs, nothing)


def mask_losses(masks: Tensor | None, objects: Taught, pairs: Match, nothing: Tensor) -> dict[str, Loss]:
    """Masks of the pairs whose question was drawn."""
    drawn = [k for k, n in enumerate(pairs.sample) if masks is not None and n < len(masks)]
    if masks is None or not drawn:
        return {"masks": (nothing, 0.0), "dice": (nothing, 0.0)}
    sample, query, item = ([column[k] for k in drawn] for column in (pairs.sample, pairs.query, pairs.item))
    want = torch.stack([objects.truths[n].masks[i] for n, i in zip(sample, item, strict=True)])
    got, count = masks[sample, query], float(len(drawn))
    entropy = F.binary_cross_entropy_with_logits(got, want, reduction="none").mean((1, 2)).sum()
    return {"masks": (entropy, count), "dice": (dice(got, want).sum(), count)}
