"""Who stays: hot-start, keep-alive, and who gives way to whom. For the tracks of one concept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam3_edge.loop.association import Association
from sam3_edge.loop.regions import Bools, counts, overlap
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.track import Track

NEVER = -1
REMOVED = 10**9  # later than any frame: an object that goes on its first frame gives way to all others


def count(tracks: Sequence[Track], found: Association, frame: int, settings: Settings) -> None:
    """Bring the counters of the tracks up to `frame`."""
    for place in sorted({place for places in found.matched.values() for place in places}):
        tracks[place].keep_alive = min(settings.most_alive, tracks[place].keep_alive + 1)
    for place in found.unmatched:
        tracks[place].unmatched += 1
    for place in (*found.unmatched, *(found.empty if settings.tire_empty else ())):
        tracks[place].keep_alive = max(settings.least_alive, tracks[place].keep_alive - 1)
    for places in found.matched.values():
        oldest = min((tracks[place] for place in places), key=lambda track: track.born)
        for place in places:
            track = tracks[place]
            if track is not oldest and young(track, frame, settings):
                track.overlaps[oldest.id] = track.overlaps.get(oldest.id, 0) + 1
    for track in tracks:
        if track.overlaps and not young(track, frame, settings):
            track.overlaps.clear()  # nobody asks any more, and the counts would grow for ever


def young(track: Track, frame: int, settings: Settings) -> bool:
    """Whether hot-start may still say that the object was never there."""
    return track.born > frame - settings.hot_start and not track.pinned


def doubtful(tracks: Sequence[Track], frame: int, settings: Settings) -> dict[int, int | None]:
    """Ids of the tracks that hot-start removes: None for unmatched ones, the older id for duplicates.

    What counts against a track is counted where its concept was looked for; of fewer looks, fewer suffice.
    """
    gone: dict[int, int | None] = {}
    for track in tracks:
        if not young(track, frame, settings):
            continue
        duplicate, unmatched = settings.looks(settings.hot_duplicate), settings.looks(settings.hot_unmatched)
        twins = [id for id, times in track.overlaps.items() if times >= duplicate]
        if track.unmatched >= unmatched:
            gone[track.id] = None
        elif twins:
            gone[track.id] = twins[0]
    return gone


def tired(tracks: Sequence[Track], settings: Settings) -> list[int]:
    """Ids of the tracks that are kept and not shown: unmatched for too long, where the settings say so."""
    if not settings.hide_unmatched:
        return []
    return [track.id for track in tracks if track.unmatched and track.keep_alive <= 0 and not track.pinned]


def give_way(
    tracks: Sequence[Track], shown: Bools, frame: int, *, gone: Sequence[int], settings: Settings
) -> dict[int, tuple[int, ...]]:
    """Places of the tracks whose masks [N, S, S] are taken for another's, with the ids of those others.

    Of two that overlap, the one that was hidden later gives way, if the other was ever hidden at all. Also
    notes on every track whether it is hidden now.
    """
    if settings.occlusion == 0 or not tracks:
        return {}
    last = np.array(
        [
            (REMOVED if track.id in gone else NEVER) if track.last_hidden is None else track.last_hidden
            for track in tracks
        ]
    )
    pairs = overlap(shown, shown) >= settings.occlusion
    np.fill_diagonal(pairs, False)
    yields = pairs & (last[:, None] > last[None]) & (last[None] > NEVER)
    empty = counts(shown) == 0
    for place, track in enumerate(tracks):
        track.last_hidden = frame if empty[place] or yields[place].any() else int(last[place])
    return {
        place: tuple(tracks[other].id for other in np.flatnonzero(yields[place]).tolist())
        for place in np.flatnonzero(yields.any(1)).tolist()
    }
