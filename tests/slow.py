"""A model of scripted answers on a clock of its own: what a graph takes is what a test says it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scenes import CONFIG, PIXELS

from sam3_edge.phrases import Phrases
from sam3_edge.runtimes.on_script import ScriptedSession
from sam3_edge.segmenter import Segmenter
from sam3_edge.timing.footage import Footage
from sam3_edge.tokenizer import Tokenizer

TICK = 1e-6  # at every look: so that every part takes some time
Answers = dict[str, Any]


class Ticking:
    """A clock that goes on by a microsecond at every look, and by what it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += TICK
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class SlowSession(ScriptedSession):
    """Scripted zeros. Before each run of a graph `before` is told its name and the frame's number."""

    def __init__(self, before: Callable[[str, int], object]) -> None:
        super().__init__(CONFIG, repeat({}))
        self.before, self.number = before, -1

    def run(self, graph: str, feeds: Mapping[str, Any]) -> Answers:
        self.number += graph == "backbone"
        self.before(graph, self.number)
        return super().run(graph, feeds)


def slow_model(before: Callable[[str, int], object] = lambda graph, frame: None) -> Segmenter:
    """The scripted model."""
    session = SlowSession(before)
    return Segmenter(CONFIG, session, Phrases(session, length=CONFIG.text_length, tokenizer=Tokenizer({})))


def footage(before: Callable[[], object] = lambda: None) -> Footage:
    """Black frames; `before` each is decoded."""

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            before()
            yield PIXELS

    return Footage("black", (PIXELS.shape[0], PIXELS.shape[1]), "none", "0" * 64, None, endless)
