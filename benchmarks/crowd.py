"""A crowd that comes and goes for ever, as a script for the loop: a birth every 20 frames.

Actor k is born on frame 20 k in one of nine places. Every other one is a ghost: seen once and never again, so
hot-start retracts it on the 8th frame after. The others are seen for 60 frames, but for six in the middle
when the tracker finds them absent, and are then removed by the caller. All repeats after `PERIOD` frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import numpy as np
from numpy.typing import NDArray

from sam3_edge import registry
from sam3_edge.loop.tracker import Tracker
from sam3_edge.phrases import Phrases
from sam3_edge.session import Value
from sam3_edge.spec import MASKED, ModelConfig

PHRASE = "visitor"
EVERY, STAY, PLACES = 20, 60, 9
AWAY = range(30, 36)  # frames after birth
PERIOD = 720  # births, places and the reconditioning of every 16th frame in step again
CONFIG = ModelConfig(
    image_size=56,
    window=2,
    pretrain_size=28,
    trunk_dim=8,
    trunk_layers=1,
    global_layers=(0,),
    text_length=4,
    dim=8,
    queries=8,
    mask_queries=4,
    max_boxes=1,
    memory_layers=1,
    memory_dim=4,
)
SIDE = CONFIG.mask_size  # 16
Answers = dict[str, NDArray[np.float32]]


def masks() -> NDArray[np.float32]:
    """Mask logits [9 + 1, S, S]: a square of four by four for each place, and nothing."""
    drawn = np.full((PLACES + 1, SIDE, SIDE), -8, np.float32)
    for place in range(PLACES):
        row, column = (5 * side for side in divmod(place, 3))
        drawn[place, row : row + 4, column : column + 4] = 8
    return drawn


MASKS = masks()


def last_born(place: int, frame: int) -> int:
    """The latest actor in a place; below 0 if there was none yet."""
    newest = frame // EVERY
    return newest - (newest - place) % PLACES


def ghost(actor: int) -> bool:
    return actor % 2 == 0


def seen(frame: int) -> list[int]:
    """The places with a detection."""
    found = []
    for place in range(PLACES):
        actor = last_born(place, frame)
        age = frame - EVERY * actor
        if actor >= 0 and (age == 0 or (not ghost(actor) and age < STAY and age not in AWAY)):
            found.append(place)
    return found


def absent(place: int, frame: int) -> bool:
    """Whether the tracker finds nobody in a place where somebody was."""
    actor = last_born(place, frame)
    return not ghost(actor) and frame - EVERY * actor in AWAY


def leaving(frame: int) -> int | None:
    """The frame of birth of the one who is removed before this frame."""
    born = frame - STAY
    return born if born >= 0 and born % EVERY == 0 and not ghost(born // EVERY) else None


def frames() -> Iterator[dict[str, object]]:
    """What the graphs answer, frame by frame, without end."""
    for frame in count():
        yield {"detector": detected(frame), "tracker_step": lambda feeds, frame=frame: followed(feeds, frame)}


ALWAYS = {
    "masks": lambda feeds: drawn(feeds),
    "tracker_init": lambda feeds: {"pointer": pointers(places_of(feeds["mask"]))},
    "memorize": lambda feeds: {"memory": remembered(feeds)},
}


def detected(frame: int) -> Answers:
    """A sure query for every place with a detection; it carries the place's number, counted from 1."""
    places = seen(frame)
    logits = np.full((1, CONFIG.queries), -12, np.float32)
    logits[0, : len(places)] = 4
    queries = np.zeros((1, CONFIG.queries, CONFIG.dim), np.float32)
    queries[0, : len(places), 0] = np.array(places, np.float32) + 1
    return {"logits": logits, "presence": np.full((1, 1), 12, np.float32), "queries": queries}


def drawn(feeds: Mapping[str, Value]) -> Answers:
    """The masks of the asked queries."""
    return {"masks": MASKS[feeds["queries"][0, :, 0].astype(np.int64) - 1][None]}


def places_of(shown: NDArray[np.float32]) -> NDArray[np.int64]:
    """The place that each mask prompt [B, 1, 4S, 4S] shows most of."""
    small = shown[:, 0, 2::4, 2::4]
    best: NDArray[np.int64] = np.einsum("bij,pij->bp", small, (MASKS > 0).astype(np.float32)).argmax(1)
    return best


def pointers(places: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pointers [B, D] that carry a place."""
    made = np.zeros((len(places), CONFIG.dim), np.float32)
    made[:, 0] = places
    return made


def followed(feeds: Mapping[str, Value], frame: int) -> Answers:
    """Each object in the place that its newest visible pointer carries."""
    age = np.where(feeds["pointer_bias"] > MASKED, feeds["pointer_time"], np.inf)
    places = feeds["pointers"][np.arange(len(age)), age.argmin(1), 0].astype(np.int64)
    gone = np.array([absent(int(place), frame) for place in places])
    return {
        "mask": MASKS[np.where(gone, PLACES, places)],
        "iou": np.full(len(places), 0.9, np.float32),
        "object_score": np.where(gone, -5, 5).astype(np.float32),
        "pointer": pointers(places),
    }


def remembered(feeds: Mapping[str, Value]) -> NDArray[np.float32]:
    """Memories [B, G * G, M] that tell how much of the object there is."""
    area = (feeds["mask"] > 0).mean((1, 2, 3))
    made = np.zeros((len(area), CONFIG.grid**2, CONFIG.memory_dim), np.float32)
    made[:] = area[:, None, None]
    return made


def tracker() -> Tracker:
    """A tracker on the script, before its first frame."""
    script = registry.load("runtime", "script")
    session = script.ScriptedSession(CONFIG, frames(), always=ALWAYS)
    tokens = np.zeros((CONFIG.text_length, CONFIG.dim), np.float32)
    pack = {PHRASE: (tokens, np.ones(CONFIG.text_length, np.bool_))}
    made = Tracker(session, CONFIG, Phrases(session, length=CONFIG.text_length, pack=pack))
    made.add(PHRASE)
    return made


def say_goodbye(tracker: Tracker) -> None:
    """Remove whoever leaves before the next frame."""
    born = leaving(tracker.index)
    for track in tracker.tracks:
        if track.born == born:
            tracker.remove_object(track.id)
