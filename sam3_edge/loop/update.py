"""What one frame changes: all rules of the loop, in the reference's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sam3_edge.loop.association import Association, associate, room
from sam3_edge.loop.detections import Detections
from sam3_edge.loop.events import Event, Kind
from sam3_edge.loop.frame import Sight
from sam3_edge.loop.lifecycle import count, doubtful, give_way, tired
from sam3_edge.loop.propagation import Propagated, as_drawn, as_logits, memorize, point_at, propagate
from sam3_edge.loop.regions import GONE, Bools, Floats, crowded, tidy
from sam3_edge.loop.render import Draft, Shown
from sam3_edge.loop.roster import Roster
from sam3_edge.loop.track import Track, of
from sam3_edge.query import sigmoid
from sam3_edge.stopwatch import timed


def some(masks: Floats, places: Sequence[int]) -> Floats:
    """The masks [N, S, S] in some places, rising; no copy if that is all of them."""
    return masks if len(places) == len(masks) else masks[list(places)]


class Update:
    """One frame of a session. `found`: the detections of each concept that was looked for on it.

    Concepts do not touch each other: detections are matched with tracks of their concept only, and only
    objects of one concept give way to each other. Objects without a concept are a group of their own.
    """

    def __init__(
        self,
        roster: Roster,
        sight: Sight,
        draft: Draft,
        *,
        found: Mapping[str, Detections],
        names: Mapping[str, str],
    ) -> None:
        """`names`: the concepts as they were written."""
        self.roster, self.settings, self.config = roster, roster.settings, roster.config
        self.sight, self.draft, self.found, self.names = sight, draft, found, names
        self.tracks = tuple(roster.tracks)  # those that were there before this frame
        self.groups = {name: of(self.tracks, name) for name in dict.fromkeys(t.concept for t in self.tracks)}
        self.raw: dict[int, Floats] = {}  # mask logits by id, before specks were taken out

    def run(self) -> None:
        """Where objects are, which detections are theirs, who goes, what is remembered, who comes."""
        seen = propagate(self.tracks, self.roster.bank, self.sight, self.settings) if self.tracks else None
        pairs = self.associate(seen.masks > 0 if seen else None)
        gone = self.doubt(pairs)
        if seen:
            self.show(seen, self.remember(seen, pairs, gone))
        self.bear(pairs)
        for track in [track for track in self.tracks if track.id in gone]:
            self.roster.end(track)

    def tell(self, kind: Kind, about: Sequence[int] = (), *, of: Track | str | None) -> None:
        """Note an event, of a track or of a concept as a whole."""
        id, name = (of.id, of.concept) if isinstance(of, Track) else (-1, of)
        self.draft.events.append(Event(kind, id, tuple(about), self.named(name)))

    def named(self, name: str | None) -> str | None:
        """A concept as the user wrote it."""
        return None if name is None else self.names[name]

    def group(self, name: str) -> list[Track]:
        """The tracks of a concept."""
        return [self.tracks[place] for place in self.groups.get(name, [])]

    @timed("associate")
    def associate(self, shown: Bools | None) -> dict[str, Association]:
        """Each concept's detections with its tracks; new ones only as far as there is room for them."""
        pairs: dict[str, Association] = {}
        free = self.roster.free
        for name, found in self.found.items():
            if found.lost:
                self.tell("nms", found.lost, of=name)
            none = np.zeros((0, *found.logits.shape[1:]), np.bool_)
            tracked = none if shown is None else shown[self.groups.get(name, [])]
            pair = associate(found.scores, found.logits > 0, tracked, self.settings)
            taken = room(pair.new, found.scores, free=free)
            if dropped := sorted(set(pair.new) - set(taken)):
                self.tell("dropped", dropped, of=name)
            free -= len(taken)
            pairs[name] = Association(taken, pair.matched, pair.unmatched, pair.empty, pair.sure)
        return pairs

    @timed("decide")
    def doubt(self, pairs: Mapping[str, Association]) -> set[int]:
        """Count what speaks for and against each track; the ids of those that hot-start removes."""
        gone: set[int] = set()
        for name, pair in pairs.items():
            tracks = self.group(name)
            self.tell_pairs(tracks, pair)
            count(tracks, pair, self.sight.index, self.settings)
            removed = doubtful(tracks, self.sight.index, self.settings)
            hidden = set(tired(tracks, self.settings)) - removed.keys()
            for track in tracks:
                if track.id in removed:
                    twin = removed[track.id]
                    self.tell("retraction", () if twin is None else (twin,), of=track)
                elif track.id in hidden:
                    self.tell("hidden", of=track)
            self.draft.hidden |= hidden | removed.keys()
            gone |= removed.keys()
        # Who is hidden stays so while nobody looks.
        self.draft.hidden |= set(tired([t for t in self.tracks if t.concept not in pairs], self.settings))
        return gone

    def tell_pairs(self, tracks: Sequence[Track], pair: Association) -> None:
        """Note what became of each track of a concept."""
        for place, track in enumerate(tracks):
            if hits := pair.detections(place):
                self.tell("match", hits, of=track)
            if place in pair.unmatched:
                self.tell("unmatched", of=track)
            if place in pair.empty:
                self.tell("empty", of=track)

    @timed("remember")
    def remember(self, seen: Propagated, pairs: Mapping[str, Association], gone: set[int]) -> Floats:
        """Write this frame into the bank; the masks [N, S, S] as they are shown."""
        for place in np.flatnonzero(seen.changed).tolist():
            self.tell("hole", of=self.tracks[place])
        anew = self.recondition(seen, pairs, gone)
        masks = self.suppress(seen.masks, gone)
        faint, present = self.crowd(masks)
        kept = [place for place, track in enumerate(self.tracks) if track.id not in gone]
        remembered = masks
        if faint.any() or gone:
            remembered = masks[kept]
            remembered[faint[kept]] = np.minimum(remembered[faint[kept]], GONE)
        memories = memorize(
            remembered, (present & ~faint)[kept], self.sight, hard=False, batch=self.settings.batch
        )
        for place, features in zip(kept, memories, strict=True):
            track, pointer = self.tracks[place], seen.pointers[place]
            if place in anew:
                memory, pointer = track.history.condition(self.sight.index), anew[place]
            else:
                valid = bool(seen.quality[place] > np.float32(self.settings.memory_score))
                memory = track.history.remember(self.sight.index, valid=valid)
            self.roster.write(track, memory, features, pointer)
        return masks

    def recondition(
        self, seen: Propagated, pairs: Mapping[str, Association], gone: set[int]
    ) -> dict[int, Floats]:
        """Every so often, the pointers of tracks with a sure detection, made anew from it, by place.

        When nothing is looked for on the frame that it is due on, the next on which something is takes its
        place. Told of those who go on this very frame too, as the reference reconditions them before they go.
        """
        every = self.settings.recondition_every
        if not every or self.sight.index % every >= self.settings.detect_every:
            return {}
        drawn: dict[int, Floats] = {}
        for name, pair in pairs.items():
            for near, detection in pair.sure.items():
                place = self.groups[name][near]
                if not seen.scores[place] > np.float32(self.settings.sure_object):
                    continue
                self.tell("recondition", (detection,), of=self.tracks[place])
                if self.tracks[place].id not in gone:
                    drawn[place] = as_drawn(self.found[name].logits[detection])
        if not drawn:
            return {}
        pointers = point_at(list(drawn.values()), self.sight, batch=self.settings.batch)
        return dict(zip(drawn, pointers, strict=True))

    def suppress(self, masks: Floats, gone: set[int]) -> Floats:
        """Take away the masks of objects that give way to others of their concept."""
        out = masks
        for places in self.groups.values():
            tracks = [self.tracks[place] for place in places]
            yields = give_way(
                tracks, some(masks, places) > 0, self.sight.index, gone=list(gone), settings=self.settings
            )
            for near, others in yields.items():
                out = masks.copy() if out is masks else out
                out[places[near]] = GONE
                self.tell("suppression", others, of=tracks[near])
        return out

    def crowd(self, masks: Floats) -> tuple[Bools, Bools]:
        """Which masks are too little among the others of their concept, and which have a pixel, both [N]."""
        faint, present = np.zeros(len(masks), np.bool_), np.zeros(len(masks), np.bool_)
        for places in self.groups.values():
            faint[places], present[places] = crowded(some(masks, places), self.settings.shrink)
        for place in np.flatnonzero(faint & present).tolist():
            self.tell("shrink", of=self.tracks[place])
        return faint, present

    def show(self, seen: Propagated, masks: Floats) -> None:
        """Put the tracks into the draft."""
        presence = sigmoid(np.clip(seen.scores, -80, 80))
        for place, track in enumerate(self.tracks):
            shown = Shown(self.named(track.concept), masks[place], track.score, float(presence[place]))
            self.draft.objects[track.id] = shown
            self.raw[track.id] = seen.raw[place]

    @timed("bear")
    def bear(self, pairs: Mapping[str, Association]) -> None:
        """Begin an object for every new detection, remembered from its mask."""
        new = [(name, detection) for name, pair in pairs.items() for detection in pair.new]
        if not new:
            return
        drawn = [as_drawn(self.found[name].logits[detection]) for name, detection in new]
        pointers = point_at(drawn, self.sight, batch=self.settings.batch)
        size = self.sight.size if self.settings.through_video else None
        logits = np.stack([as_logits(mask, self.config, size) for mask in drawn])
        present = np.array([mask.any() for mask in drawn])
        memories = memorize(logits, present, self.sight, hard=True, batch=self.settings.batch)
        for (name, detection), pointer, features, raw in zip(new, pointers, memories, logits, strict=True):
            found = self.found[name]
            score = float(found.scores[detection])
            track = self.roster.begin(name, self.sight.index, score=score)
            self.tell("birth", (detection,), of=track)
            self.roster.write(track, track.history.condition(self.sight.index), features, pointer)
            shown = tidy(found.logits[detection][None], self.settings.speck)[0][0]
            self.draft.objects[track.id] = Shown(self.named(name), shown, score, score)
            self.raw[track.id] = raw
