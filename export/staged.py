"""Where a training is among its stages, what its optimisers know there, and what is kept of a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .muon import optimisers

DECAY, BETAS = 1e-3, (0.9, 0.98)


class Manner(Protocol):
    """How a stage learns.

    `muon`: matrices by Muon, otherwise all is by AdamW. `halfway`: it ends with the mean of where it started
    and where it came, which keeps more of what it was not about (Wortsman et al. 2022, arXiv 2109.01903).
    """

    @property
    def muon(self) -> bool: ...
    @property
    def halfway(self) -> bool: ...


class Staged:
    """A training of `learner`: its `stage` counts from 0, `len(stages)` once it has ended.

    `average`: of the weights on their way, which is what a stage ends with.
    """

    def __init__(self, stages: Sequence[Manner], learner: nn.Module, average: dict[str, Tensor]) -> None:
        self.stages, self.learner, self.average = stages, learner, average
        self.start: dict[str, Tensor] = {}
        self.stage = self.step = 0
        self.optimisers = self.new_optimisers()

    @property
    def manner(self) -> Manner:
        """Of the current stage, or of the last."""
        return self.stages[min(self.stage, len(self.stages) - 1)]

    def new_optimisers(self) -> list[torch.optim.Optimizer]:
        """Without any knowledge of gradients."""
        if self.manner.muon:
            return optimisers(self.learner, decay=DECAY, betas=BETAS)
        return [torch.optim.AdamW(self.learner.parameters(), lr=1e-3, weight_decay=DECAY, betas=BETAS)]

    def enter(self, stage: int) -> None:
        """Begin a stage. What the optimisers know goes on with it, unless they are of another kind."""
        before = self.manner.muon
        self.stage, self.step = stage, 0
        if self.manner.muon != before:
            self.optimisers = self.new_optimisers()

    def begin(self) -> None:
        """Before the first step of a stage: what it starts with, if it ends halfway."""
        if not self.step:
            self.start = copied(self.average) if self.manner.halfway else {}

    def end(self) -> None:
        """After the last step of a stage: the average becomes what is kept of it."""
        for name, weight in self.start.items():
            self.average[name].lerp_(weight, 0.5)

    def move(self) -> None:
        """One step along the gradients."""
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1

    def place(self) -> dict[str, Any]:
        """What `go_back` needs."""
        states = [optimiser.state_dict() for optimiser in self.optimisers]
        return {"stage": self.stage, "step": self.step, "optimisers": states, "start": self.start}

    def go_back(self, place: dict[str, Any]) -> None:
        """To where a training was stopped."""
        self.stage, self.step, self.start = place["stage"], place["step"], place["start"]
        self.optimisers = self.new_optimisers()
        for optimiser, known in zip(self.optimisers, place["optimisers"], strict=True):
            optimiser.load_state_dict(known)


def copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that do not change with the others."""
    return {name: weight.clone() for name, weight in weights.items()}
