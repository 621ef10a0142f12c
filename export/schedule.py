"""How fast a training goes at each step, and the average of its weights that is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

WARM = 100  # steps of warm-up
KEPT = 0.998  # of the average at each step, less at first


def set_rate(optimisers: Iterable[torch.optim.Optimizer], top: float, step: int, steps: int) -> float:
    """Warm-up, then a cosine down to 3 % of the top rate at the last of the steps; returns the rate."""
    warm, done = min(1.0, (step + 1) / WARM), step / steps
    rate = top * warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * done)))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
    return rate


def average_into(average: dict[str, Tensor], model: nn.Module, step: int) -> None:
    """Move the average towards the weights after `step` steps, in place."""
    keep = min(KEPT, step / (step + 10))
    for name, weight in model.state_dict().items():
        average[name].lerp_(weight, 1 - keep)
