"""One frame of our loop against the same frame of the official session."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from oracles.video_recording import glimpsed
from replay import Step

from sam3_edge.loop.events import Event

LIMIT = 1e-4  # of mask logits and pointers
# Memories are rounded to bfloat16: where two frameworks differ by 1e-6, a value may be rounded the other way.
MEMORY_LIMIT = 1e-3
FEW, LEAST = 4, 0.99  # masks are the same up to so many pixels, or to this IoU

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass
class Apart:
    """The largest differences so far."""

    logits: float = 0.0
    pointers: float = 0.0
    memories: float = 0.0
    pixels: int = 0  # of one shown mask

    def add(self, other: Apart) -> None:
        for f in fields(self):
            setattr(self, f.name, max(getattr(self, f.name), getattr(other, f.name)))


def compare(step: Step, *, exact: bool = True) -> Apart:
    """What was attended to, seen, decided, remembered and shown. Raises `AssertionError` at a difference.

    Unless `exact`, masks may differ in few pixels, and what is computed from them is not compared; scores may
    differ by 1e-4: a trained model's logits are sharper, and its scores were 3e-5 apart.
    """
    apart, ids = Apart(), compare_decisions(step, 1e-5 if exact else 1e-4)
    compare_masks(step, ids, apart, exact=exact)
    compare_memories(step, ids, apart, exact=exact)
    compare_shown(step, apart)
    return apart


def compare_decisions(step: Step, limit: float) -> list[int]:
    """Who is tracked, since when, what happens, who is shown (scores to `limit`); the ids of the tracks."""
    t, tracks = step.index, step.theirs.tracks
    ids = [int(i) for i in tracks.id]
    assert sorted(step.before) == ids, f"frame {t}: objects {sorted(step.before)}, want {ids}"
    for row, id in enumerate(ids):
        for name, frames in step.before[id].items():
            theirs = getattr(tracks, name)[row].tolist()
            assert frames == theirs, f"frame {t}, object {id}: {name} {frames}, want {theirs}"
    compare_events(step, ids)
    for ours, theirs in step.shown:
        mine, wants = ours.ids.tolist(), theirs.id.tolist()
        assert mine == wants, f"frame {ours.index} shows {mine}, want {wants}"
        assert np.allclose(ours.scores, theirs.score, rtol=0, atol=limit), f"frame {ours.index}: scores shown"
    return ids


def told(step: Step, kind: str) -> dict[int, tuple[int, ...]]:
    """Our events of one kind on a frame: what they are about, by object."""
    return {event.id: event.about for event in step.ours.events if event.kind == kind}


def wanted(step: Step, ids: list[int]) -> set[Event]:
    """What the official session decided, as events of ours, of the kinds whose subjects are recorded."""
    tracks, births = step.theirs.tracks, step.theirs.births
    events = {Event("birth", int(i), (int(d),)) for i, d in zip(births.id, births.detection, strict=True)}
    if len(lost := np.flatnonzero(~step.theirs.detections.kept).tolist()):
        events.add(Event("nms", about=tuple(lost)))
    for row, id in enumerate(ids):
        if found := tuple(d for d in range(16) if tracks.matches[row] >> d & 1):
            events.add(Event("match", id, found))
        if tracks.reconditioned[row]:
            events.add(Event("recondition", id, (int(tracks.strong[row]),)))
    return events


def compare_events(step: Step, ids: list[int]) -> None:
    t, tracks = step.index, step.theirs.tracks
    kinds = {"birth", "nms", "match", "recondition"}
    ours = {Event(e.kind, e.id, e.about) for e in step.ours.events if e.kind in kinds}
    official = wanted(step, ids)
    assert ours == official, f"frame {t}: only one has {ours ^ official}"
    for kind, flags in (
        ("unmatched", tracks.unmatched),
        ("empty", tracks.empty),
        ("hole", (tracks.filled > 0) | (tracks.cleared > 0)),
        ("suppression", tracks.suppressed),
        ("shrink", tracks.shrunk),
        ("retraction", tracks.removed > 0),
    ):
        theirs = [id for id, flag in zip(ids, flags, strict=True) if flag]
        mine = sorted(told(step, kind))
        assert mine == theirs, f"frame {t}: {kind} of {mine}, want {theirs}"
    twins = [id for id, why in zip(ids, tracks.removed, strict=True) if why == 2]
    duplicates = sorted(id for id, about in told(step, "retraction").items() if about)
    assert duplicates == twins, f"frame {t}: duplicates {duplicates}, want {twins}"
    for row, id in enumerate(ids):
        if not tracks.removed[row]:
            for name in ("keep_alive", "last_occluded"):
                count, want = step.after[id][name], int(getattr(tracks, name)[row])
                assert count == want, f"frame {t}, object {id}: {name} {count}, want {want}"


def compare_masks(step: Step, ids: list[int], apart: Apart, *, exact: bool) -> None:
    """Logits where they are recorded, and all signs; not of masks that were taken away by suppression."""
    tracks = step.theirs.tracks
    rows = np.flatnonzero(~tracks.suppressed).tolist()
    if not rows:
        return
    logits = np.stack([step.ours.objects[ids[row]].logits for row in rows])
    apart.logits = float(np.abs(glimpsed(logits, step.index) - tracks.logits[rows]).max())
    theirs = np.unpackbits(tracks.positive[rows], axis=-1).astype(bool)
    if exact:
        assert apart.logits <= LIMIT, f"frame {step.index}: mask logits {apart.logits:.1e} apart"
        sure = np.abs(logits) > LIMIT
        assert ((logits > 0) == theirs)[sure].all(), f"frame {step.index}: pixels of tracked masks"
    else:
        for row, one, other in zip(rows, logits > 0, theirs, strict=True):
            assert alike(one, other), f"frame {step.index}, object {ids[row]}: another mask"


def alike(one: Bools, other: Bools) -> bool:
    """Whether two masks are the same but for few pixels."""
    different, union = int((one != other).sum()), int((one | other).sum())
    return different <= FEW or 1 - different / union >= LEAST


def compare_memories(step: Step, ids: list[int], apart: Apart, *, exact: bool) -> None:
    """What is remembered of this frame, by those who stay and those who are born."""
    tracks, births = step.theirs.tracks, step.theirs.births
    for theirs, objects, stay in ((tracks, ids, tracks.removed == 0), (births, births.id, births.id >= 0)):
        for row in np.flatnonzero(stay):
            ours = step.after[int(objects[row])]
            pointer = float(np.abs(ours["pointer"] - theirs.pointer[row]).max())
            memory = float(np.abs(ours["memory"] - theirs.memory[row]).max())
            apart.add(Apart(pointers=pointer, memories=memory))
    if exact:
        assert apart.pointers <= LIMIT, f"frame {step.index}: pointers {apart.pointers:.1e} apart"
        assert apart.memories <= MEMORY_LIMIT, f"frame {step.index}: memories {apart.memories:.1e} apart"


def compare_shown(step: Step, apart: Apart) -> None:
    """What users get."""
    for ours, theirs in step.shown:
        for id, one, other in zip(theirs.id.tolist(), ours.masks, theirs.masks, strict=True):
            assert alike(one, other), f"frame {ours.index} shows another mask of object {id}"
            apart.pixels = max(apart.pixels, int((one != other).sum()))
