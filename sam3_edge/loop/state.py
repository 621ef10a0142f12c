"""A tracker's state as one file: arrays and JSON, never pickle. Identities survive a restart."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.loop.events import Event
from sam3_edge.loop.history import History
from sam3_edge.loop.roster import Roster
from sam3_edge.loop.track import Track
from sam3_edge.writing import write_file

if TYPE_CHECKING:
    from sam3_edge.loop.tracker import Tracker

SCHEMA = 1
JSON, MEMORY, POINTERS = "state", "memory", "pointers"  # the arrays of the file
MEMORY_FIELDS = (("slot", MEMORY), ("pointer", POINTERS))


def save(tracker: Tracker, path: str | Path) -> Path:
    """Write all that the next frame needs into one npz. A file that is there is replaced.

    `state` holds JSON as bytes; `memory` [n, G*G, M], the upper halves of float32, which is all that a
    remembered bfloat16 has; `pointers` [m, D]. Both in the order of the tracks, of each track's conditioning
    frames and of its recent ones.
    """
    parts: dict[str, list[NDArray[Any]]] = {MEMORY: [], POINTERS: []}
    for track in tracker.tracks:
        for field, name in MEMORY_FIELDS:
            slots = tracker.roster.bank.slots(name, track.row)
            parts[name] += [np.array(slots[slot]) for slot in used(track, field)]
    memory = [np.ascontiguousarray(part).view(np.uint32) >> np.uint32(16) for part in parts[MEMORY]]
    arrays: dict[str, Any] = {
        JSON: np.frombuffer(json.dumps(described(tracker), default=as_number).encode(), np.uint8),
        MEMORY: np.array(memory, np.uint16),
        POINTERS: np.array(parts[POINTERS], np.float32),
    }
    data = io.BytesIO()
    np.savez(data, **arrays)
    return write_file(path, data.getvalue(), overwrite=True)


def as_number(value: Any) -> Any:
    """A number of numpy's, as a caller's box may have it, as Python's."""
    return value.item()


def used(track: Track, field: str) -> list[int]:
    """The slots of one kind that the track's history names."""
    memories = (*track.history.conditioning, *track.history.recent)
    return [slot for memory in memories if (slot := getattr(memory, field)) is not None]


def described(tracker: Tracker) -> dict[str, Any]:
    """Everything but the arrays."""
    return {
        "schema": SCHEMA,
        "config": tracker.config.to_json(),
        "settings": tracker.settings.to_json(),
        "size": tracker.size,
        "index": tracker.index,
        "next_id": tracker.roster.next_id,
        "concepts": {name: asdict(concept) for name, concept in tracker.concepts.items()},
        "fresh": sorted(tracker.fresh),
        "pending": [asdict(event) for event in tracker.pending],
        "tracks": [track.to_json() for track in tracker.tracks],
    }


def restore(tracker: Tracker, path: str | Path) -> None:
    """Put a saved state into a tracker of the same model and settings, in the place of its own.

    Raises `SourceError` for a file that cannot be read, `CheckError` for one that is no state, or another
    model's or other settings', `UsageError` for a phrase that this bundle does not know. The tracker is as it
    was then.
    """
    state, arrays = read(Path(path))
    check(tracker, state, path)
    roster = Roster(tracker.session, tracker.config, tracker.settings)
    try:
        fill(roster, state["tracks"], arrays)
        roster.next_id = state["next_id"]
        concepts = {name: concept_of(values) for name, values in state["concepts"].items()}
        pending = [Event(**{**values, "about": tuple(values["about"])}) for values in state["pending"]]
        size = None if state["size"] is None else (state["size"][0], state["size"][1])
        index, fresh = state["index"], set(state["fresh"])
    except (KeyError, TypeError, IndexError, StopIteration, UsageError) as error:
        raise damaged(path, f"a value is missing or wrong ({error})") from error
    for concept in concepts.values():
        tracker.phrases.prompt(concept.text)
    tracker.reset()
    tracker.roster, tracker.index, tracker.pending, tracker.size = roster, index, pending, size
    tracker.concepts, tracker.fresh = concepts, fresh


def fill(roster: Roster, tracks: list[dict[str, Any]], arrays: dict[str, NDArray[Any]]) -> None:
    """Put tracks and what is remembered of them into an empty roster."""
    rest = {name: iter(array) for name, array in arrays.items()}
    for values in tracks:
        track = Track.from_json(values, history=History(roster.config))
        track.row = roster.bank.open()
        roster.tracks.append(track)
        for field, name in MEMORY_FIELDS:
            for slot in used(track, field):
                roster.bank.write(name, next(rest[name]), row=track.row, slot=slot)
    if left := [name for name, array in rest.items() if next(array, None) is not None]:
        raise IndexError(f"more in {left[0]} than the objects remember")


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The JSON, and the arrays as float32."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (JSON, MEMORY, POINTERS)}
        state = json.loads(arrays.pop(JSON).tobytes())
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror or error}): save a state first") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, RecursionError) as error:
        raise damaged(path, "not a saved state") from error
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        raise damaged(path, f"not of schema {SCHEMA}")
    memory = arrays[MEMORY].astype(np.uint32) << np.uint32(16)
    return state, {MEMORY: memory.view(np.float32), POINTERS: arrays[POINTERS].astype(np.float32)}


def check(tracker: Tracker, state: dict[str, Any], path: str | Path) -> None:
    """Raises `CheckError` for a state of another model or of other settings."""
    for name, own in (("config", tracker.config.to_json()), ("settings", tracker.settings.to_json())):
        saved = state.get(name)
        # Through JSON once: there a tuple is a list.
        if saved != json.loads(json.dumps(own)):
            other = [key for key in own if not isinstance(saved, dict) or saved.get(key) != as_json(own[key])]
            raise CheckError(f"{path}: saved with another {name} ({', '.join(other[:3])}): open it with that")


def as_json(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return list(value) if isinstance(value, tuple) else value


def concept_of(values: dict[str, Any]) -> Concept:
    """The inverse of `asdict`."""
    return Concept(values["phrase"], tuple(Box(**box) for box in values["boxes"]))


def damaged(path: str | Path, fact: str) -> CheckError:
    """The error for a file that is there and no good."""
    return CheckError(f"{path}: {fact}; save the state again")
