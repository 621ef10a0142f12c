"""Losses of the detector: one concept in one picture against the items that answer it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .detector import to_corners


@dataclass(frozen=True)
class Truth:
    """The items that answer one question: boxes [M, 4] cxcywh in [0, 1], masks [M, S, S] 0..1. M may be 0."""

    boxes: Tensor
    masks: Tensor


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal binary cross-entropy, elementwise (Lin et al. 2017)."""
    p = logits.sigmoid()
    wrong = (1 - p) * target + p * (1 - target)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none") * wrong**gamma


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice of masks [N, ...]: [N]."""
    p, t = logits.sigmoid().flatten(1), target.flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of xyxy boxes that broadcast against each other (Rezatofighi et al. 2019)."""
    inner = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    outer = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return inner / union.clamp(min=1e-6) - (outer - union) / outer.clamp(min=1e-6)


def shrink(masks: Tensor, side: int) -> Tensor:
    """Ground-truth masks [N, S, S] at the resolution of mask logits."""
    return F.interpolate(masks[:, None], size=(side, side), mode="area")[:, 0]


def concept_loss(semantic: Tensor, truths: list[Truth]) -> Tensor:
    """The semantic head [N, 1, s, s] against the union of all items."""
    side = semantic.shape[-1]
    unions = torch.stack(
        [t.masks.amax(0) if len(t.masks) else semantic.new_zeros(t.masks.shape[1:]) for t in truths]
    )
    target = shrink(unions, side)
    has = (target.flatten(1).amax(1) > 0).float()
    bce = F.binary_cross_entropy_with_logits(semantic[:, 0], target, pos_weight=semantic.new_tensor(3.0))
    return 4 * bce + (dice(semantic[:, 0], target) * has).sum() / has.sum().clamp(min=1)


@torch.no_grad()
def match(boxes: Tensor, logits: Tensor, truth: Truth) -> tuple[list[int], list[int]]:
    """Pair queries with items at the least cost (Carion et al. 2020): query indices, item indices."""
    near = torch.cdist(boxes, truth.boxes, p=1)
    alike = overlap(to_corners(boxes)[:, None], to_corners(truth.boxes)[None])
    queries, items = linear_sum_assignment((5 * near - 2 * alike - 2 * logits.sigmoid()[:, None]).numpy())
    return np.asarray(queries).tolist(), np.asarray(items).tolist()


def layer_loss(boxes: Tensor, logits: Tensor, masks: Tensor | None, truths: list[Truth]) -> Tensor:
    """One decoder layer: boxes [N, Q, 4], logits [N, Q] and, for the last layer, mask logits [N, Q, s, s]."""
    rows: list[tuple[int, int, int]] = []
    for n, truth in enumerate(truths):
        if len(truth.boxes):
            rows += [(n, q, i) for q, i in zip(*match(boxes[n], logits[n], truth), strict=True)]
    present = logits.new_tensor([float(len(t.boxes) > 0) for t in truths])
    target = torch.zeros_like(logits)
    if not rows:
        return logits.sum() * 0
    sample, query, _ = (torch.tensor(column) for column in zip(*rows, strict=True))
    wanted = torch.stack([truths[n].boxes[i] for n, _, i in rows])
    found = boxes[sample, query]
    alike = overlap(to_corners(found), to_corners(wanted))
    # Scores learn to be the quality of the box, so that of two queries on one item the better one wins.
    target[sample, query] = alike.detach().clamp(min=0.1)
    loss = (5 * (found - wanted).abs().sum() + 2 * (1 - alike).sum()) / len(rows)
    # Where the concept is absent presence alone says so; scores are not trained there.
    loss = loss + 4 * (focal(logits, target) * present[:, None]).sum() / len(rows)
    if masks is not None:
        true = shrink(torch.stack([truths[n].masks[i] for n, _, i in rows]), masks.shape[-1])
        drawn = masks[sample, query]
        loss = loss + (20 * focal(drawn, true).mean((1, 2)) + 2 * dice(drawn, true)).sum() / len(rows)
    return loss


def detection_loss(layers: list[tuple[Tensor, Tensor, Tensor]], masks: Tensor, truths: list[Truth]) -> Tensor:
    """All decoder layers, each (boxes, logits, presence [N, 1]); masks belong to the last."""
    present = masks.new_tensor([[float(len(t.boxes) > 0)] for t in truths])
    loss = masks.new_zeros(())
    for i, (boxes, logits, presence) in enumerate(layers):
        last = i == len(layers) - 1
        loss = loss + layer_loss(boxes, logits, masks if last else None, truths)
        loss = loss + 2 * F.binary_cross_entropy_with_logits(presence, present)
    return loss
