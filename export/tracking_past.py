"""What is remembered of objects while training: the loop's own rules, and memories that carry gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sam3_edge.loop.history import History, Memory
from sam3_edge.loop.settings import Settings
from sam3_edge.spec import ModelConfig

from .memory_attention import Slots


class Past:
    """The memory bank of B objects. Slots are chosen by `loop.history`, as at run time.

    A memory is [T, M], a pointer [D]; a slot that nothing lies in is zeros, hidden by its bias.
    """

    def __init__(self, config: ModelConfig, objects: int) -> None:
        self.span = Settings().pointer_span
        self.histories = [History(config) for _ in range(objects)]
        nothing, nowhere = torch.zeros(config.memory_tokens, config.memory_dim), torch.zeros(config.dim)
        self.memories = [[nothing] * config.memory_slots for _ in range(objects)]
        self.pointers = [[nowhere] * config.pointer_slots for _ in range(objects)]

    def write(self, place: int, memory: Memory, features: Tensor, pointer: Tensor) -> None:
        """Put a memory and a pointer where the object's history wants them."""
        assert memory.slot is not None and memory.pointer is not None
        self.memories[place][memory.slot], self.pointers[place][memory.pointer] = features, pointer

    def condition(self, frame: int, features: Tensor, pointers: Tensor, *, where: Tensor) -> None:
        """Conditioning memories [B, T, M] and pointers [B, D] of the objects `where` [B] is true."""
        for place in where.nonzero().flatten().tolist():
            memory = self.histories[place].condition(frame)
            self.write(place, memory, features[place], pointers[place])

    def remember(self, frame: int, features: Tensor, pointers: Tensor, *, valid: Tensor) -> None:
        """A tracked frame of every object. `valid` [B]: worth to be remembered for long."""
        for place, history in enumerate(self.histories):
            memory = history.remember(frame, valid=bool(valid[place]))
            self.write(place, memory, features[place], pointers[place])

    def see(self, frame: int) -> tuple[Slots, Slots]:
        """Memories and pointers as `frame` sees them; slots that no object uses are left out."""
        choices = [history.choose(frame, span=self.span) for history in self.histories]
        frames = Slots(
            torch.stack([torch.stack(row) for row in self.memories]),
            stacked([choice.memory_time for choice in choices]),
            stacked([choice.memory_bias for choice in choices]),
        )
        pointers = Slots(
            torch.stack([torch.stack(row) for row in self.pointers]),
            stacked([choice.pointer_time for choice in choices]),
            stacked([choice.pointer_bias for choice in choices]),
        )
        return used(frames), used(pointers)


def stacked(rows: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(rows))


def used(slots: Slots) -> Slots:
    """Without the slots that count for no object: attention is exactly the same, and cheaper."""
    places = (slots.bias == 0).any(0).nonzero().flatten()
    return Slots(slots.values[:, places], slots.time[:, places], slots.bias[:, places])
