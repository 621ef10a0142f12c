"""Where a training is among its stages, and what its optimisers know there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from .muon import optimisers

DECAY, BETAS = 1e-3, (0.9, 0.98)


class ByMuon(Protocol):
    """A stage that says whether matrices are learned by Muon; otherwise all is by AdamW."""

    @property
    def muon(self) -> bool: ...


class Staged:
    """A training of `learner`: its `stage` counts from 0, `len(stages)` once it has ended."""

    def __init__(self, stages: Sequence[ByMuon], learner: nn.Module) -> None:
        self.stages, self.learner = stages, learner
        self.stage = self.step = 0
        self.optimisers = self.new_optimisers()

    @property
    def by_muon(self) -> bool:
        """Of the current stage, or of the last."""
        return self.stages[min(self.stage, len(self.stages) - 1)].muon

    def new_optimisers(self) -> list[torch.optim.Optimizer]:
        """Without any knowledge of gradients."""
        if self.by_muon:
            return optimisers(self.learner, decay=DECAY, betas=BETAS)
        return [torch.optim.AdamW(self.learner.parameters(), lr=1e-3, weight_decay=DECAY, betas=BETAS)]

    def enter(self, stage: int) -> None:
        """Begin a stage. What the optimisers know goes on with it, unless they are of another kind."""
        before = self.by_muon
        self.stage, self.step = stage, 0
        if self.by_muon != before:
            self.optimisers = self.new_optimisers()

    def move(self) -> None:
        """One step along the gradients."""
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1

    def place(self) -> dict[str, Any]:
        """What `go_back` needs."""
        states = [optimiser.state_dict() for optimiser in self.optimisers]
        return {"stage": self.stage, "step": self.step, "optimisers": states}

    def go_back(self, place: dict[str, Any]) -> None:
        """To where a training was stopped."""
        self.stage, self.step = place["stage"], place["step"]
        self.optimisers = self.new_optimisers()
        for optimiser, known in zip(self.optimisers, place["optimisers"], strict=True):
            optimiser.load_state_dict(known)
