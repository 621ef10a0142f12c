"""Losses of the tracker, with the weights that SAM 2 publishes (Ravi et al. 2024, appendix D).

But for two: the guessed IoU is judged by cross-entropy, not by distance. Behind a sigmoid, a guess far off
has almost no gradient of its distance, and masks with an IoU of 0.9 went on being guessed at 0.01. And frames
on which an object is gone weigh more in its score.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .losses import dice, focal
from .mask_decoder import Decoded, draw

FOCAL, DICE, IOU, SCORE = 20.0, 1.0, 1.0, 1.0
# Of frames without the object, one in six: weighed alike, 60 % of them went on showing something else.
GONE = 4.0
SMALL = 1e-6


def iou_of(masks: Tensor, target: Tensor) -> Tensor:
    """IoU [B, N] of mask logits [B, N, s, s] with a target [B, s, s], 0..1."""
    found, true = masks > 0, target[:, None] > 0.5
    union = (found | true).sum((2, 3))
    return (found & true).sum((2, 3)) / union.clamp(min=1)


def cost(masks: Tensor, target: Tensor) -> Tensor:
    """What each mask [B, N, s, s] costs: [B, N]."""
    true = target[:, None].expand_as(masks)
    shapes = dice(masks.flatten(0, 1), true.flatten(0, 1)).unflatten(0, masks.shape[:2])
    return FOCAL * focal(masks, true).mean((2, 3)) + DICE * shapes


def mask_loss(masks: Tensor, iou: Tensor, target: Tensor) -> Tensor:
    """The cheapest of N masks, and what the decoder thinks of each of them: [B].

    Masks [B, N, s, s] with their estimated IoUs [B, N]; target [B, s, s], 0..1.
    """
    wrong = F.binary_cross_entropy(iou.clamp(SMALL, 1 - SMALL), iou_of(masks, target), reduction="none").mean(
        1
    )
    return cost(masks, target).amin(1) + IOU * wrong


def decoded_loss(found: Decoded, target: Tensor, *, single: bool) -> Tensor:
    """One answer of the decoder for B objects: a mean over them.

    `single`: the first mask learns too, which is for what is asked by more than one click. Objects that are
    out of sight teach the object's score alone.
    """
    present = (target.flatten(1).amax(1) > 0).float()
    masks = draw(found.weights, found.pixels)
    each = mask_loss(masks[:, 1:], found.iou[:, 1:], target)
    if single:
        each = each + mask_loss(masks[:, :1], found.iou[:, :1], target)
    weight = torch.where(present > 0, 1.0, GONE)
    score = F.binary_cross_entropy_with_logits(found.score, present, weight)
    return (each * present).sum() / present.sum().clamp(min=1) + SCORE * score
