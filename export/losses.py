"""Losses of the detector: one concept in one picture against the items that answer it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .detector import to_corners

HELPERS = 3  # queries beside the matched one that learn an item's shape


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
    """The semantic head [M, 1, s, s] of the first M questions against the union of all items."""
    truths = truths[: len(semantic)]
    side = semantic.shape[-1]
    unions = torch.stack(
        [t.masks.amax(0) if len(t.masks) else semantic.new_zeros(t.masks.shape[1:]) for t in truths]
    )
    target = shrink(unions, side)
    has = (target.flatten(1).amax(1) > 0).float()
    bce = F.binary_cross_entropy_with_logits(semantic[:, 0], target, pos_weight=semantic.new_tensor(3.0))
    return 4 * bce + (dice(semantic[:, 0], target) * has).sum() / has.sum().clamp(min=1)


@dataclass(frozen=True)
class Match:
    """Queries paired with items: row k says that `query[k]` of question `sample[k]` stands for `item[k]`."""

    sample: list[int]
    query: list[int]
    item: list[int]

    def __len__(self) -> int:
        return len(self.query)


@torch.no_grad()
def match(boxes: Tensor, logits: Tensor, truths: list[Truth]) -> tuple[Match, Match]:
    """Pairs at the least cost (Carion et al. 2020), and up to `HELPERS` more queries near each item."""
    pairs, helpers = Match([], [], []), Match([], [], [])
    for n, truth in enumerate(truths):
        if not len(truth.boxes):
            continue
        far = torch.cdist(boxes[n], truth.boxes, p=1)
        alike = overlap(to_corners(boxes[n])[:, None], to_corners(truth.boxes)[None])
        cost = 5 * far - 2 * alike - 2 * logits[n].sigmoid()[:, None]
        best = [(int(q), int(i)) for q, i in zip(*linear_sum_assignment(cost.cpu().numpy()), strict=True)]
        taken, nearest = {q for q, _ in best}, cost.argmin(1)
        near = cost.topk(min(HELPERS + 1, len(cost)), dim=0, largest=False).indices.T.tolist()
        more = [(q, i) for i, row in enumerate(near) for q in row if q not in taken and nearest[q] == i]
        for found, rows in ((pairs, best), (helpers, more)):
            found.sample.extend([n] * len(rows))
            found.query.extend(q for q, _ in rows)
            found.item.extend(i for _, i in rows)
    return pairs, helpers


def shape_loss(boxes: Tensor, masks: Tensor | None, truths: list[Truth], rows: Match) -> Tensor:
    """Boxes of the paired queries, and masks of those whose question has any: a mean over the pairs."""
    wanted = torch.stack([truths[n].boxes[i] for n, i in zip(rows.sample, rows.item, strict=True)])
    found = boxes[rows.sample, rows.query]
    alike = overlap(to_corners(found), to_corners(wanted))
    loss = (5 * (found - wanted).abs().sum(1) + 2 * (1 - alike)).mean()
    drawn = [k for k, n in enumerate(rows.sample) if masks is not None and n < len(masks)]
    if masks is not None and drawn:
        sample, query, item = ([column[k] for k in drawn] for column in (rows.sample, rows.query, rows.item))
        true = torch.stack([truths[n].masks[i] for n, i in zip(sample, item, strict=True)])
        true, found = shrink(true, masks.shape[-1]), masks[sample, query]
        loss = loss + (20 * focal(found, true).mean((1, 2)) + 2 * dice(found, true)).mean()
    return loss


def layer_loss(boxes: Tensor, logits: Tensor, masks: Tensor | None, truths: list[Truth]) -> Tensor:
    """One decoder layer: boxes [N, Q, 4], logits [N, Q]; of the last also mask logits [M, Q, s, s]."""
    pairs, helpers = match(boxes, logits, truths)
    if not pairs:
        return logits.sum() * 0
    loss = shape_loss(boxes, masks, truths, pairs)
    if helpers:
        # Neighbours learn the same shape but not the score: four times the signal for boxes, no duplicates.
        loss = loss + shape_loss(boxes, masks, truths, helpers)
    target = torch.zeros_like(logits)
    target[pairs.sample, pairs.query] = 1
    # Where the concept is absent presence alone says so; scores are not trained there.
    present = logits.new_tensor([[float(len(truth.boxes) > 0)] for truth in truths])
    return loss + 4 * (focal(logits, target) * present).sum() / len(pairs)


def cell_box_loss(extents: Tensor, truths: list[Truth]) -> Tensor:
    """Dense boxes: every grid cell inside an item says how far the item's box reaches from it.

    extents [N, G * G, 4]: logarithms of left, top, right, bottom in units of 1.5 cells. Training only: once
    cells know the extent of what they lie in, queries only have to read it (as in FCOS, Tian et al. 2019).
    """
    grid = math.isqrt(extents.shape[1])
    found, wanted = [], []
    for n, truth in enumerate(truths):
        step = truth.masks.shape[-1] // grid
        item, y, x = (truth.masks[:, step // 2 :: step, step // 2 :: step] > 0.5).nonzero().unbind(1)
        reach = extents[n, y * grid + x].clamp(-3, 3).exp() * 1.5 / grid
        centre = (torch.stack([x, y], dim=1) + 0.5) / grid
        found.append(torch.cat([centre - reach[:, :2], centre + reach[:, 2:]], dim=1))
        wanted.append(to_corners(truth.boxes)[item])
    boxes, target = torch.cat(found), torch.cat(wanted)
    if not len(boxes):
        return extents.sum() * 0
    return (5 * (boxes - target).abs().sum(1) + 2 * (1 - overlap(boxes, target))).mean()


def detection_loss(layers: list[tuple[Tensor, Tensor, Tensor]], masks: Tensor, truths: list[Truth]) -> Tensor:
    """All decoder layers, each (boxes, logits, presence [N, 1]); masks belong to the last."""
    present = masks.new_tensor([[float(len(t.boxes) > 0)] for t in truths])
    loss = masks.new_zeros(())
    for i, (boxes, logits, presence) in enumerate(layers):
        last = i == len(layers) - 1
        loss = loss + layer_loss(boxes, logits, masks if last else None, truths)
        loss = loss + 2 * F.binary_cross_entropy_with_logits(presence, present)
    return loss
