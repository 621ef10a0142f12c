"""The frozen clips of `shapes`: what every tracker is judged on. Never edited, never tuned to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sam3_edge.concept import Concept
from sam3_edge.judge.case import Clip, ClipCase, Masklet, encode
from sam3_edge.judge.datasets import ClipQuestion, key_of
from sam3_edge.shapes.clips import Script, draw_clip, draw_masks
from sam3_edge.shapes.questions import some_of, spoken
from sam3_edge.shapes.scenes import COLOURS, SHAPES, UNSEEN
from sam3_edge.shapes.scripts import write_script

SEED = 20261123
FRAMES = 64
ROUNDS = 4
# What happens in the clips of one round; more than one thing at a time in most of them.
PLOTS = (
    ("crossing",),
    ("occlusion",),
    ("leaving",),
    ("scale",),
    ("look-alikes",),
    ("camera",),
    ("crossing", "look-alikes"),
    ("occlusion", "look-alikes"),
    ("leaving", "look-alikes"),
    ("scale", "look-alikes"),
    ("crossing", "camera"),
    ("occlusion", "camera"),
    ("leaving", "camera"),
    ("scale", "camera"),
    ("occlusion", "leaving"),
    ("crossing", "look-alikes", "camera"),
)
HASH = "c4edaa60d4e776b1fe33593b1a2db71ba1c11cabd8d5e220690ba2545de5d887"


@dataclass(frozen=True)
class FrozenClip:
    """A clip and the phrases asked of it, each with the words that it means."""

    name: str
    kinds: frozenset[str]
    script: Script
    phrases: tuple[tuple[str, frozenset[str]], ...]

    @property
    def frames(self) -> NDArray[np.uint8]:
        """Every picture [T, S, S, 3], drawn anew at each call."""
        return np.stack([frame.picture for frame in draw_clip(self.script)])

    @cached_property
    def masklets(self) -> tuple[Masklet, ...]:
        """What is visible of every actor, asked for or not."""
        drawn = [draw_masks(self.script, index) for index in range(self.script.frames)]
        seen = [[encode(mask) if mask.any() else None for mask in masks] for masks in drawn]
        return tuple(zip(*seen, strict=True))

    @cached_property
    def cases(self) -> tuple[ClipCase, ...]:
        """A case for every phrase, tagged with what happens to its objects; identities are actors."""
        return tuple(self.case(phrase, words) for phrase, words in self.phrases)

    def case(self, phrase: str, words: frozenset[str]) -> ClipCase:
        """The masklets of the actors that have all the words and are seen at all."""
        asked = [i for i in self.script.answers(words) if any(self.masklets[i])]
        truth = Clip(
            (self.script.size, self.script.size), self.script.frames, {i: self.masklets[i] for i in asked}
        )
        happens = frozenset().union(*(self.script.actors[i].events for i in asked))
        return ClipCase(key_of(self.name, phrase), truth, happens | (self.kinds & {"camera"}))


def phrase_for(rng: np.random.Generator, words: frozenset[str]) -> tuple[str, frozenset[str]]:
    """A part of an actor's attributes as a phrase, with a colour or a shape: a bar is a plain thing too."""
    while not (chosen := some_of(rng, words)) & {*SHAPES, *COLOURS}:
        pass
    return spoken(rng, chosen), chosen


def ask_about(rng: np.random.Generator, script: Script) -> tuple[tuple[str, frozenset[str]], ...]:
    """Two phrases: one for whom the clip is about, one for anyone else; no phrase twice."""
    named = [actor for actor in script.actors if actor.words]
    happening = [actor for actor in named if actor.events] or named[-1:]
    first = phrase_for(rng, happening[0].words)
    while (second := phrase_for(rng, named[int(rng.integers(len(named)))].words))[1] == first[1]:
        pass
    return first, second


def clip(number: int) -> FrozenClip:
    """One clip of the set."""
    kinds = PLOTS[number % len(PLOTS)]
    rng = np.random.default_rng((SEED, number))
    script = write_script(rng, kinds, frames=FRAMES, withheld=UNSEEN)
    return FrozenClip(f"clip_{number:03}", frozenset(kinds), script, ask_about(rng, script))


def clips() -> Iterator[FrozenClip]:
    """Every clip, one after the other: all their pixels are 600 MB."""
    return (clip(number) for number in range(ROUNDS * len(PLOTS)))


def cases() -> list[ClipCase]:
    """Every case of the set."""
    return [case for one in clips() for case in one.cases]


def questions() -> Iterator[ClipQuestion]:
    """Every case with its clip's frames and what to ask of them, those of one clip in a row."""
    for one in clips():
        frames = one.frames
        for case, (phrase, _) in zip(one.cases, one.phrases, strict=True):
            yield case, frames, Concept(phrase)


def content_hash(chosen: Iterable[FrozenClip] | None = None) -> str:
    """SHA-256 over every pixel, question, tag and true mask, in order; of all clips if none are given."""
    digest = hashlib.sha256()
    for one in clips() if chosen is None else chosen:
        digest.update(one.name.encode() + one.frames.tobytes())
        for case in one.cases:
            digest.update(repr((case.key, sorted(case.tags))).encode())
            for number, masklet in case.truth.objects.items():
                digest.update(repr((number, masklet)).encode())
    return digest.hexdigest()
