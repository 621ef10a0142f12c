"""What is remembered of objects while training: the loop's own rules, and memories that carry gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam3_edge.loop.history import History, Memory
from sam3_edge.loop.settings import Settings
from sam3_edge.spec import ModelConfig

from .attention_loss import UNKNOWN
from .memory_attention import Slots


@dataclass(frozen=True)
class Remembered:
    """Memories and pointers as a frame sees them; `marks` [B, S * T]: what each token of a memory is of."""

    frames: Slots
    pointers: Slots
    marks: Tensor


class Past:
    """The memory bank of B objects. Slots are chosen by `loop.history`, as at run time.

    A memory is [T, M], a pointer [D]; a slot that nothing lies in is zeros, hidden by its bias. With every
    memory go marks [T]: `attention_loss` says what they mean.
    """

    def __init__(self, config: ModelConfig, objects: int) -> None:
        self.span = Settings().pointer_span
        self.histories = [History(config) for _ in range(objects)]
        nothing, nowhere = torch.zeros(config.memory_tokens, config.memory_dim), torch.zeros(config.dim)
        unknown = torch.full((config.memory_tokens,), float(UNKNOWN))
        self.memories = [[nothing] * config.memory_slots for _ in range(objects)]
        self.marks = [[unknown] * config.memory_slots for _ in range(objects)]
        self.pointers = [[nowhere] * config.pointer_slots for _ in range(objects)]

    def write(self, place: int, memory: Memory, features: Tensor, pointer: Tensor, marks: Tensor) -> None:
        """Put a memory and a pointer where the object's history wants them."""
        assert memory.slot is not None and memory.pointer is not None
        self.memories[place][memory.slot], self.pointers[place][memory.pointer] = features, pointer
        self.marks[place][memory.slot] = marks

    def condition(
        self, frame: int, features: Tensor, pointers: Tensor, *, marks: Tensor, where: Tensor
    ) -> None:
        """Conditioning memories [B, T, M] and pointers [B, D] of the objects `where` [B] is true."""
        for place in where.nonzero().flatten().tolist():
            memory = self.histories[place].condition(frame)
            self.write(place, memory, features[place], pointers[place], marks[place])

    def remember(
        self, frame: int, features: Tensor, pointers: Tensor, *, marks: Tensor, valid: Tensor
    ) -> None:
        """A tracked frame of every object. `valid` [B]: worth to be remembered for long."""
        for place, history in enumerate(self.histories):
            memory = history.remember(frame, valid=bool(valid[place]))
            self.write(place, memory, features[place], pointers[place], marks[place])

    def see(self, frame: int) -> Remembered:
        """What `frame` sees; slots that no object uses are left out."""
        choices = [history.choose(frame, span=self.span) for history in self.histories]
        frames = Slots(
            grid(self.memories),
            stacked([choice.memory_time for choice in choices]),
            stacked([choice.memory_bias for choice in choices]),
        )
        pointers = Slots(
            grid(self.pointers),
            stacked([choice.pointer_time for choice in choices]),
            stacked([choice.pointer_bias for choice in choices]),
        )
        marks = torch.where(frames.bias[..., None] == 0, grid(self.marks), UNKNOWN)[:, taken(frames)]
        return Remembered(used(frames), used(pointers), marks.flatten(1))


def grid(rows: list[list[Tensor]]) -> Tensor:
    """One tensor [B, S, ...] of what lies in the slots of B objects."""
    return torch.stack([torch.stack(row) for row in rows])


def stacked(rows: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(rows))


def taken(slots: Slots) -> Tensor:
    """The slots that count for any object."""
    return (slots.bias == 0).any(0).nonzero().flatten()


def used(slots: Slots) -> Slots:
    """Without the slots that count for no object: attention is exactly the same, and cheaper."""
    places = taken(slots)
    return Slots(slots.values[:, places], slots.time[:, places], slots.bias[:, places])
