"""Films for the scripted model: frames whose grey says which moment of a scene they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scenes import CONFIG, SIDE, SIZE, A, B, C, Moment, Scene, disc, see

from sam3_edge import Segmenter
from sam3_edge.phrases import Phrases
from sam3_edge.runtimes.on_script import ScriptedSession
from sam3_edge.session import Value
from sam3_edge.tokenizer import Tokenizer
from sam3_edge.video.asking import Ask, parse_ask
from sam3_edge.video.frames import Span, Video, VideoFrame
from sam3_edge.video.running import Plan

STEP = 4  # levels of grey between two frames: encoders change them by one


class FilmSession(ScriptedSession):
    """Answers with the moment that the frame shows, so that a run may begin anywhere in the film."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        super().__init__(CONFIG, ())
        self.moments, self.scene, self.shown = moments, Scene([]), list[int]()

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        if graph == "backbone":
            level = float((feeds["image"].mean() + 1) / 2 * 255)
            self.shown.append(round(level / STEP))
            self.frames = iter([self.scene.frame(self.moments[self.shown[-1]])])
        return super().run(graph, feeds)


def model(moments: Sequence[Moment]) -> Segmenter:
    """The scripted model of these moments."""
    session = FilmSession(moments)
    return Segmenter(CONFIG, session, Phrases(session, length=CONFIG.text_length, tokenizer=Tokenizer({})))


def restless(count: int = 40) -> list[Moment]:
    """Births, a retraction, an absence, reconditionings, something that moves."""
    moments = [see((0.9, A), (0.9, B)), *[see((0.9, A), (0.8, C))] * 11]
    moments += [see((0.9, A), tracked={2: np.full((SIDE, SIDE), -1024, np.float32)}, scores={2: -1})] * 4
    moments += [
        see((0.9, A), (0.85, disc(16, 23 - i / 8)), tracked={2: disc(16, 23 - i / 8)}) for i in range(64)
    ]
    return moments[:count]


def film(count: int = 40) -> Video:
    """Its frames, without a file."""

    def read(span: Span) -> Iterator[VideoFrame | int]:
        for index in range(count):
            if span.wants(index):
                yield VideoFrame(index, index / 25, np.full((*SIZE, 3), STEP * index, np.uint8))
        if not span.over(count):
            yield count

    return Video("film.mp4", 25, count, True, read, print)


def plan(output: Path, ask: Ask | None = None, *, save: str = "json,masks", **more: Any) -> Plan:
    """One that looks for cats."""
    asked = ask or parse_ask(["cat"], [], [])
    return Plan(output, "0" * 64, asked, save=frozenset(save.split(",")), **more)
