"""What is remembered: the bounded history against one that keeps everything, and the arena's rows."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import CONFIG

from sam3_edge.loop.bank import MemoryBank, as_bfloat16
from sam3_edge.loop.history import History
from sam3_edge.runtimes.on_script import ScriptedSession
from sam3_edge.spec import MASKED

RANDOM = np.random.default_rng(5)


class Everything:
    """All frames of an object, and the reference's rules for what is seen of them."""

    def __init__(self) -> None:
        self.conditioning: list[int] = []
        self.valid: dict[int, bool] = {}

    def ranked(self, frame: int) -> list[int]:
        last = sorted(f for f, valid in self.valid.items() if valid and 0 < f < frame)[-15:]
        return last if frame - 1 in last else [*last, frame - 1]

    def memories(self, frame: int) -> set[tuple[int, int]]:
        """(frame, row of the temporal table) of all that is seen."""
        ranked = self.ranked(frame)
        recent = {(ranked[-r], r - 1) for r in range(1, min(6, len(ranked)) + 1) if ranked[-r] in self.valid}
        return recent | {(f, 6) for f in sorted(self.conditioning)[-4:]}

    def pointers(self, frame: int) -> set[tuple[int, float]]:
        """(frame, distance) of all pointers that are seen."""
        ranked = self.ranked(frame)
        recent = {(ranked[-r], r) for r in range(1, 16) if r < len(ranked) and ranked[-r] in self.valid}
        return recent | {(f, frame - f) for f in sorted(self.conditioning)[-4:]}


def test_the_bounded_history_sees_what_the_whole_past_would() -> None:
    for sure in (1.0, 0.9, 0.5, 0.05):
        history, past = History(CONFIG), Everything()
        memories, pointers = np.full(10, -1), np.full(19, -1)  # the frame that lies in each slot
        for frame in range(150):
            if frame:
                assert history.ranked(frame) == past.ranked(frame)
                choice = history.choose(frame, span=15)
                seen = choice.memory_bias == 0
                assert set(zip(memories[seen], choice.memory_time[seen], strict=True)) == past.memories(frame)
                seen = choice.pointer_bias == 0
                times = (choice.pointer_time[seen] * 15).round(3)
                assert set(zip(pointers[seen], times, strict=True)) == past.pointers(frame)
            corrected = frame > 0 and RANDOM.random() < 0.1
            condition = frame == 0 or (not corrected and RANDOM.random() < 0.1)
            if not condition:
                valid = bool(RANDOM.random() < sure)
                memory = history.remember(frame, valid=valid)
                memories[memory.slot], pointers[memory.pointer] = frame, frame
                past.valid[frame] = valid
            if condition or corrected:  # a corrected frame was remembered as tracked before
                memory = history.condition(frame)
                memories[memory.slot], pointers[memory.pointer] = frame, frame
                past.valid.pop(frame, None)
                past.conditioning.append(frame)
            assert len(history.conditioning) <= 4 and len(history.recent) <= 16


def test_a_fresh_object_sees_its_birth_alone() -> None:
    history = History(CONFIG)
    memory = history.condition(4)
    choice = history.choose(5, span=15)
    assert history.ranked(5) == [4] and history.seen(5) == []
    assert (
        choice.memory_time[memory.slot] == 6 and choice.memory_bias.tolist() == [0] + [np.float32(MASKED)] * 9
    )
    assert choice.pointer_time[memory.pointer] == np.float32(1) / np.float32(15)
    assert np.count_nonzero(choice.pointer_bias == 0) == 1


def test_corrections_forget_what_the_detector_said_nearby() -> None:
    history = History(CONFIG)
    for frame, by_hand in ((0, False), (10, True), (12, False), (26, False)):
        history.condition(frame, by_hand=by_hand)
    history.forget_detected(28, window=16)
    assert [m.frame for m in history.conditioning] == [0, 10]  # 12 is 16 frames away, 0 is 28


@pytest.mark.parametrize(
    ("window", "kept", "shown"),
    [(0, [1, 2, 3, 4, 5, 6, 7, 8], [4, 5, 6, 7, 8]), (3, [1, 2, 3, 4, 5], [4, 5]), (99, [], [])],
)
def test_corrections_forget_what_was_followed_there(window: int, kept: list[int], shown: list[int]) -> None:
    history = History(CONFIG)
    history.condition(0)
    for frame in range(1, 10):
        history.remember(frame, valid=True)
    history.forget_recent(9, window=window)
    history.condition(9, by_hand=True)
    assert [m.frame for m in history.recent] == kept
    seen = np.flatnonzero(history.choose(10, span=15).memory_bias == 0)
    at = {m.slot: m.frame for m in (*history.conditioning, *history.recent)}
    assert sorted(at[slot] for slot in seen) == [0, *shown, 9]  # no older memories: they were passed on


def test_histories_survive_json() -> None:
    history = History(CONFIG)
    history.condition(0)
    for frame in range(1, 9):
        history.remember(frame, valid=frame != 8)
    other = History(CONFIG)
    other.load(history.to_json())
    for a, b in zip(
        vars(history.choose(9, span=15)).values(), vars(other.choose(9, span=15)).values(), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_rows_are_compact_and_arenas_grow_with_what_is_in_them() -> None:
    bank = MemoryBank(ScriptedSession(CONFIG, []), CONFIG)
    rows = [bank.open() for _ in range(9)]
    assert rows == list(range(9)) and bank.capacity == 16
    for row in rows:
        bank.write("pointers", np.full(CONFIG.dim, row, np.float32), row=row, slot=18)
    assert bank.free(3) == 8 and bank.free(7) == 7 and bank.rows == 7
    assert [bank.slots("pointers", row)[18, 0] for row in range(7)] == [0, 1, 2, 8, 4, 5, 6]
    history = History(CONFIG)
    history.condition(0)
    feeds = bank.feeds([history.choose(1, span=15)] * 2, start=3)
    assert feeds["pointers"].shape == (2, 19, CONFIG.dim) and feeds["pointers"][0, 18, 0] == 8
    assert feeds["pointers"].base is not None and feeds["memory"].flags.c_contiguous
    bank.clear()
    assert bank.open() == 0 and bank.capacity == 4


def test_rounding_is_to_the_nearest_bfloat16_ties_to_even() -> None:
    given = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-9, 0, -0.0], np.float32)
    want = np.array([1, 1 + 2**-6, 1 + 2**-7, -1, 0, -0.0], np.float32)
    got = as_bfloat16(given)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_array_equal(as_bfloat16(got), got)
    assert given[0] != got[0] and got is not given


@pytest.mark.parametrize("rounds", [300])
def test_rounding_equals_torch(rounds: int) -> None:
    import torch

    values = RANDOM.integers(0, 2**32, rounds, dtype=np.uint64).astype(np.uint32).view(np.float32)
    values = values[np.isfinite(values) & (np.abs(values) < 3e38)]
    want = torch.from_numpy(values.copy()).bfloat16().float().numpy()
    np.testing.assert_array_equal(as_bfloat16(values), want)
