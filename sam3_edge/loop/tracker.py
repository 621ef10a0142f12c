"""The video loop: detect, track, associate, remember, frame by frame, with one identity for each object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box
from sam3_edge.concept import Asked, Concept, as_concepts
from sam3_edge.errors import UsageError
from sam3_edge.loop import state
from sam3_edge.loop.detections import Detections, find
from sam3_edge.loop.events import Event, FrameResult
from sam3_edge.loop.frame import Sight, check_frame, prepare_frame
from sam3_edge.loop.prompts import Clicks, Prompt, as_points, draw
from sam3_edge.loop.propagation import memorize
from sam3_edge.loop.regions import Floats, tidy
from sam3_edge.loop.render import Draft, Shown, render
from sam3_edge.loop.roster import Roster
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.track import Track
from sam3_edge.loop.update import Update
from sam3_edge.phrases import Phrases
from sam3_edge.query import Query
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import Session
from sam3_edge.spec import ModelConfig
from sam3_edge.tokenizer import clean


class Tracker:
    """Follows every object that matches a concept through a video, and objects that are drawn by hand.

    Owns nothing but its state, which stays bounded: at most `settings.max_objects` objects, ten memories
    each. Objects are shown at once, and may be taken back by a `retraction` within the hot-start window;
    `Delayed` shows them later and takes nothing back. Ids are never used again.
    """

    def __init__(
        self,
        session: Session,
        config: ModelConfig,
        phrases: Phrases,
        *,
        settings: Settings | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        """`size`: height and width of the frames; the first frame's if None.

        Raises `UsageError` for a model that cannot track.
        """
        if not config.tracks:
            raise UsageError("this model has no tracker: export the bundle again from a checkpoint with one")
        self.session, self.config, self.phrases = session, config, phrases
        self.settings = settings or Settings()
        self.size = self.given = size
        self.roster = Roster(session, config, self.settings)
        self.concepts: dict[str, Concept] = {}
        self.fresh: set[str] = set()  # concepts asked since the last frame: their boxes speak for the next
        self.index = 0
        self.pending: list[Event] = []  # for the next frame
        self.sight: Sight | None = None
        self.draft: Draft | None = None
        self.raw: dict[int, Floats] = {}  # of the last frame, before specks were taken out

    def step(self, frame: NDArray[np.uint8]) -> FrameResult:
        """The next frame, uint8 [H, W, 3]: all its objects. Raises `UsageError` for a frame that is none."""
        return render(self.advance(frame))

    def advance(self, frame: NDArray[np.uint8]) -> Draft:
        """`step`, without drawing the masks. What was hidden after all is told by later drafts' events.

        What cannot be looked at or detected, or followed, changes nothing: the next frame takes its place.
        """
        pixels = check_frame(frame, self.size)
        size = (pixels.shape[0], pixels.shape[1])
        image = prepare_frame(pixels, self.config.image_size)
        sight = Sight(self.session, image, index=self.index, size=size)
        draft = Draft(self.index, size, events=list(self.pending))
        update = Update(self.roster, sight, draft, found=self.detect(sight), names=self.names)
        update.run()
        self.size, self.sight, self.draft, self.raw = size, sight, draft, update.raw
        self.pending.clear()
        self.fresh.clear()
        self.index += 1
        return draft

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The objects, by rising id: what the next frame knows of them."""
        return tuple(self.roster.tracks)

    @property
    def names(self) -> dict[str, str]:
        """The concepts as they were written."""
        return {name: str(concept) for name, concept in self.concepts.items()}

    def detect(self, sight: Sight) -> dict[str, Detections]:
        """The detections of each concept that is looked for on this frame.

        A phrase is looked for on every `detect_every`-th frame and on the first after it was asked, boxes
        alone where they were drawn only.
        """
        found: dict[str, Detections] = {}
        query: Query | None = None
        due = sight.index % self.settings.detect_every == 0
        for name, concept in self.concepts.items():
            boxed = name in self.fresh or (self.settings.carry_boxes and due)
            if boxed or (concept.phrase is not None and due):
                query = query or Query(self.config, self.phrases, sight.embedding)
                asked = concept if boxed else Concept(concept.phrase)
                found[name] = find(query, asked, self.settings)
        return found

    def add(self, asked: Asked) -> None:
        """Look for more concepts from the next frame on. Boxes are drawn on that frame.

        Raises `UsageError` for what cannot be asked, and for a phrase that is looked for already.
        """
        concepts = {clean(concept.text): concept for concept in as_concepts(asked)}
        if len(concepts) < len(as_concepts(asked)):
            raise UsageError("the same phrase twice: give it once, with all its boxes")
        for name, concept in concepts.items():
            if name in self.concepts:
                raise UsageError(f"{str(concept)!r:.80} is looked for already: remove it first to ask anew")
            self.check(concept)
        self.concepts |= concepts
        self.fresh |= concepts.keys()

    def show(self, concept: Concept) -> None:
        """Give a concept other boxes, drawn on the next frame; its objects go on. Like `add` for a new one.

        Raises `UsageError` for what cannot be asked.
        """
        self.check(concept)
        self.concepts[clean(concept.text)] = concept
        self.fresh.add(clean(concept.text))

    def check(self, concept: Concept) -> None:
        """Raises `UsageError` for a concept that cannot be asked of the next frame."""
        Segmenter(self.config, self.session, self.phrases).check(concept)
        if self.size is not None:
            for box in concept.boxes:
                box.relative(*self.size)

    def remove(self, phrase: str | Concept) -> None:
        """Stop looking for a concept, and forget its objects. Raises `UsageError` if it is not looked for."""
        name = clean(str(phrase))
        if name not in self.concepts:
            known = ", ".join(map(repr, self.concepts)) or "none"
            raise UsageError(f"{name!r:.80} is not looked for: there is {known}")
        for track in [track for track in self.tracks if track.concept == name]:
            self.forget(track)
        del self.concepts[name]
        self.fresh.discard(name)

    def add_object(
        self,
        *,
        points: Clicks = (),
        box: Box | None = None,
        mask: NDArray[np.bool_] | None = None,
        concept: str | None = None,
    ) -> FrameResult:
        """Follow what is drawn on the last frame; that frame again, with the new object, the last of its ids.

        Clicks, a box, or both, or a mask bool [H, W]; in pixels of the frame. `concept`: a phrase that is
        looked for, whose detections are then this object's too. Hot-start never removes what was drawn.
        Raises `UsageError` for what cannot be drawn, and when there are as many objects as there may be.
        """
        prompt, (sight, draft) = Prompt(as_points(points), box, mask), self.last()
        prompt.check(sight.size)
        name = None if concept is None else clean(concept)
        if name is not None and name not in self.concepts:
            raise UsageError(f"{concept!r:.80} is not looked for: add it first, or leave the concept out")
        if self.roster.free <= 0:
            raise UsageError(
                f"there are {len(self.tracks)} objects already: remove one, or raise max_objects"
            )
        drawn = draw(prompt, sight, None, config=self.config, settings=self.settings)
        track = self.roster.begin(name, sight.index, score=1.0)
        draft.events.append(Event("birth", track.id, concept=self.phrase(track)))
        return self.keep(track, drawn.logits, drawn.pointer, present=drawn.present)

    def correct(
        self,
        id: int,
        *,
        points: Clicks = (),
        box: Box | None = None,
        mask: NDArray[np.bool_] | None = None,
    ) -> FrameResult:
        """Say again where an object is on the last frame; that frame again, with the object as it is now.

        What the detector said of it in the last 16 frames is forgotten (`Settings.correction_window`); where
        it was followed to is not, unless `mistaken_window` says so. Raises `UsageError` for an object that
        there is not, and for what cannot be drawn.
        """
        prompt, (sight, draft), track = (
            Prompt(as_points(points), box, mask),
            self.last(),
            self.roster.track(id),
        )
        prompt.check(sight.size)
        drawn = draw(prompt, sight, self.raw.get(id), config=self.config, settings=self.settings)
        draft.events.append(Event("correction", track.id, concept=self.phrase(track)))
        draft.hidden.discard(track.id)
        track.history.forget_detected(sight.index, window=self.settings.correction_window)
        track.history.forget_recent(sight.index, window=self.settings.mistaken_window)
        return self.keep(track, drawn.logits, drawn.pointer, present=drawn.present)

    def keep(self, track: Track, logits: Floats, pointer: Floats, *, present: bool) -> FrameResult:
        """Remember an object as it was drawn on the last frame, and show that frame again."""
        sight, draft = self.last()
        track.score, track.pinned = 1.0, True
        memory = next(memorize(logits[None], np.array([present]), sight, hard=True, batch=1))
        self.roster.write(track, track.history.condition(sight.index, by_hand=True), memory, pointer)
        self.raw[track.id] = logits
        shown = tidy(logits[None], self.settings.speck)[0][0]
        draft.objects[track.id] = Shown(self.phrase(track), shown, 1.0, 1.0)
        return render(draft)

    def remove_object(self, id: int) -> None:
        """Forget an object; the next frame's events tell. Raises `UsageError` for one that there is not."""
        self.forget(self.roster.track(id))

    def forget(self, track: Track) -> None:
        """End a track: when the last frame is drawn on, it is not there any more."""
        self.roster.end(track)
        self.pending.append(Event("removal", track.id, concept=self.phrase(track)))
        if self.draft is not None:
            self.draft.hidden.add(track.id)

    def reset(self) -> None:
        """Forget all objects, concepts and frames. The next frame may have another size; ids go on."""
        self.roster.clear()
        self.concepts.clear()
        self.fresh.clear()
        self.raw.clear()
        self.index, self.size, self.pending, self.sight, self.draft = 0, self.given, [], None, None

    def save(self, path: str | Path) -> Path:
        """Write the state into one file (`loop.state`), or over it. The last frame is no part of it."""
        return state.save(self, path)

    def restore(self, path: str | Path) -> None:
        """Go on from a saved state, in the place of this one. Raises what `loop.state.restore` does."""
        state.restore(self, path)

    def last(self) -> tuple[Sight, Draft]:
        """The last frame. Raises `UsageError` when there is none."""
        if self.sight is None or self.draft is None:
            raise UsageError("nothing can be drawn before the first frame: step first")
        return self.sight, self.draft

    def phrase(self, track: Track) -> str | None:
        """A track's concept as it was written."""
        return None if track.concept is None else self.names[track.concept]
