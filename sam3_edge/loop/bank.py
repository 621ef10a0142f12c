"""The memory bank: every object's memories and pointers, in two arenas that stay with the session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.loop.history import Choice
from sam3_edge.session import Session, Value
from sam3_edge.spec import ModelConfig, TensorSpec, tracker_specs

FIRST = 4  # rows at the start: 53 MB at full size; doubled when they are full


class MemoryBank:
    """An object is a row, a memory a slot of it. Objects lie in rows 0 to `rows` - 1, without gaps.

    What is in slots that no history names is garbage of the past, finite, and hidden by the bias.
    """

    def __init__(self, session: Session, config: ModelConfig) -> None:
        self.session = session
        step = next(spec for spec in tracker_specs(config) if spec.name == "tracker_step")
        self.specs = {t.name: t for t in step.inputs if t.name in ("memory", "pointers")}
        self.arenas: dict[str, Value] = {}
        self.rows = self.capacity = 0

    def open(self) -> int:
        """A row for a new object."""
        if self.rows == self.capacity:
            self.grow(max(FIRST, 2 * self.capacity))
        self.rows += 1
        return self.rows - 1

    def free(self, row: int) -> int:
        """Give a row back; the last row moves there. Returns the row that moved, `row` itself if none did."""
        self.rows -= 1
        if row != self.rows:
            for arena in self.arenas.values():
                last = self.session.rows(arena, self.rows, self.rows + 1)
                self.session.write(arena, (slice(row, row + 1),), last)
        return self.rows

    def grow(self, capacity: int) -> None:
        """More rows, with what is in the old ones."""
        for name, spec in self.specs.items():
            arena = self.session.alloc(TensorSpec(spec.name, spec.sized(capacity), spec.dtype))
            if self.rows:
                old = self.session.rows(self.arenas[name], 0, self.rows)
                self.session.write(arena, (slice(0, self.rows),), old)
            self.arenas[name] = arena
        self.capacity = capacity

    def clear(self) -> None:
        """No objects, and no arena."""
        self.arenas.clear()
        self.rows = self.capacity = 0

    def write(self, name: str, value: Value, *, row: int, slot: int) -> None:
        """One memory [G*G, M], or one pointer [D]."""
        self.session.write(self.arenas[name], (row, slot), value)

    def feeds(self, choices: Sequence[Choice], *, start: int) -> dict[str, Value]:
        """The bank's inputs of `tracker_step` for as many objects as choices, in rows from `start` on."""
        stop = start + len(choices)
        views = {n: self.session.rows(arena, start, stop) for n, arena in self.arenas.items()}
        names = ("memory_time", "memory_bias", "pointer_time", "pointer_bias")
        return views | {name: np.stack([getattr(choice, name) for choice in choices]) for name in names}

    def slots(self, name: str, row: int) -> NDArray[Any]:
        """All slots of one row, on the host."""
        one: NDArray[Any] = self.session.fetch(self.session.rows(self.arenas[name], row, row + 1))[0]
        return one


def as_bfloat16(memory: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy, rounded to the nearest bfloat16, ties to even: what the reference stores of a memory."""
    bits = np.array(memory, np.float32).view(np.uint32)
    odd = bits >> np.uint32(16)
    odd &= np.uint32(1)
    odd += np.uint32(0x7FFF)
    bits += odd
    bits &= np.uint32(0xFFFF0000)
    return bits.view(np.float32)
