"""Which frames of an object are remembered, in which slots, and which of them the next frame sees."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.spec import MASKED, ModelConfig


@dataclass
class Memory:
    """A remembered frame. `valid`: the tracker was sure of it. The slots are None once they were passed on.

    `by_hand`: a conditioning frame that the caller drew, not the detector.
    """

    frame: int
    valid: bool = True
    slot: int | None = None
    pointer: int | None = None
    by_hand: bool = False


@dataclass(frozen=True, eq=False)
class Choice:
    """What one object's next frame sees of its slots: the inputs of `tracker_step` of the same names."""

    memory_time: NDArray[np.int32]  # [S]
    memory_bias: NDArray[np.float32]  # [S]
    pointer_time: NDArray[np.float32]  # [P]
    pointer_bias: NDArray[np.float32]  # [P]


class History:
    """The bounded past of one object: conditioning frames, and recent ones the tracker was sure of."""

    def __init__(self, config: ModelConfig) -> None:
        self.slots, self.pointers, self.times = config.memory_slots, config.pointer_slots, config.memory_times
        self.recents = self.times - 1
        self.conditions = self.slots - self.recents
        self.spans = self.pointers - self.conditions
        self.conditioning: list[Memory] = []  # rising by frame, at most `conditions`
        self.recent: list[Memory] = []  # rising; valid ones, and the last frame whatever it was

    def ranked(self, frame: int) -> list[int]:
        """The frames that may be seen from `frame`, rising: the last `spans` valid ones and `frame` - 1.

        The last frame takes its place even if nothing of it is remembered here, as when it is conditioning.
        """
        frames = [memory.frame for memory in self.recent if memory.valid][-self.spans :]
        return frames if frame - 1 in frames else [*frames, frame - 1]

    def seen(self, frame: int) -> list[tuple[Memory, int]]:
        """The recent memories seen from `frame`, each with its rank: 1 for the latest."""
        at = {memory.frame: memory for memory in self.recent}
        ranked = self.ranked(frame)[::-1]
        return [(at[past], rank) for rank, past in enumerate(ranked, 1) if past in at]

    def choose(self, frame: int, *, span: float) -> Choice:
        """What `frame` sees: ranks are the times of recent frames, true distances those of conditioning ones.

        The oldest of the ranked frames gives no pointer: the reference stops one short of them.
        """
        choice = Choice(
            np.zeros(self.slots, np.int32),
            np.full(self.slots, MASKED, np.float32),
            np.zeros(self.pointers, np.float32),
            np.full(self.pointers, MASKED, np.float32),
        )
        last = len(self.ranked(frame))
        show: list[tuple[Memory, int | None, int | None]] = [
            (memory, self.times - 1, frame - memory.frame) for memory in self.conditioning
        ]
        show += [
            (m, r - 1 if r <= self.recents else None, r if r < last else None) for m, r in self.seen(frame)
        ]
        for memory, time, distance in show:
            if memory.slot is not None and time is not None:
                choice.memory_time[memory.slot], choice.memory_bias[memory.slot] = time, 0
            if memory.pointer is not None and distance is not None:
                choice.pointer_time[memory.pointer] = np.float32(distance) / np.float32(span)
                choice.pointer_bias[memory.pointer] = 0
        return choice

    def remember(self, frame: int, *, valid: bool) -> Memory:
        """Make room for a tracked frame, and say where it goes."""
        self.recent = [memory for memory in self.recent if memory.valid]
        # One more valid frame than `spans`: the newest may yet become conditioning, and is not ranked then.
        self.recent = self.recent[-self.spans :]
        self.recent.append(Memory(frame, valid))
        for memory in self.recent[: -self.recents]:
            memory.slot = None
        for memory in self.recent[: -self.spans]:
            memory.pointer = None
        return self.placed(self.recent[-1])

    def condition(self, frame: int, *, by_hand: bool = False) -> Memory:
        """Make room for a conditioning frame. It takes the place of whatever was remembered of this frame."""
        self.recent = [memory for memory in self.recent if memory.valid and memory.frame != frame]
        self.conditioning = [memory for memory in self.conditioning if memory.frame != frame]
        self.conditioning = self.conditioning[1 - self.conditions :] if self.conditions > 1 else []
        self.conditioning.append(Memory(frame, by_hand=by_hand))
        return self.placed(self.conditioning[-1])

    def forget_detected(self, frame: int, *, window: int) -> None:
        """Drop the detector's conditioning frames up to `window` frames from `frame`, but not that one."""
        self.conditioning = [
            m for m in self.conditioning if m.by_hand or m.frame == frame or abs(m.frame - frame) > window
        ]

    def forget_recent(self, frame: int, *, window: int) -> None:
        """Drop what the tracker made of the frames up to `window` frames from `frame`."""
        self.recent = [memory for memory in self.recent if abs(memory.frame - frame) > window]

    def placed(self, memory: Memory) -> Memory:
        """Give a memory the lowest slots that are free."""
        others = [m for m in (*self.conditioning, *self.recent) if m is not memory]
        memory.slot = min(set(range(self.slots)) - {m.slot for m in others})
        memory.pointer = min(set(range(self.pointers)) - {m.pointer for m in others})
        return memory

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "conditioning": [asdict(memory) for memory in self.conditioning],
            "recent": [asdict(memory) for memory in self.recent],
        }

    def load(self, values: dict[str, Any]) -> None:
        """The inverse of `to_json`."""
        self.conditioning = [Memory(**memory) for memory in values["conditioning"]]
        self.recent = [Memory(**memory) for memory in values["recent"]]
