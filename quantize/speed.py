"""How fast a compressed graph runs beside the uncompressed one: the same feeds, in turns, in one process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sam3_edge.bundle import Bundle
from sam3_edge.engines.rehearsal import rehearse
from sam3_edge.golden import read_golden
from sam3_edge.session import Session

from .feeds import Recorder, read_feeds
from .gate import segmenter_of

PAIRS = 5
PRESENT = "the processor, by its own clock"


@dataclass(frozen=True)
class Speed:
    """Median processor seconds of a graph, uncompressed and compressed, over pairs of runs."""

    before: float
    after: float
    ratio: float

    def to_json(self) -> dict[str, float]:
        return {name: float(f"{value:.4g}") for name, value in vars(self).items()}


def record(bundle: Bundle, session: Session, folder: Path, *, most: int = 1) -> None:
    """Feeds of every graph, from the golden pictures and one object that is tracked."""
    recorder = Recorder(session, folder, most=most)
    segmenter = segmenter_of(bundle, recorder)
    trunks = []
    for case in read_golden(bundle):
        segmenter.segment(case.picture, case.concepts, threshold=0.0)
        trunks.append(segmenter.look(case.picture)["trunk_feature"])
    if bundle.config.tracks and trunks:
        rehearse(recorder, bundle.config, [trunks[0], trunks[-1]], 1)


def compare(before: Session, after: Session, folder: Path, graphs: Mapping[str, Any]) -> dict[str, Speed]:
    """The speed of each graph that has feeds: `ratio`, a median over pairs, is above 1 if faster."""
    found = {}
    for name in graphs:
        for feeds in read_feeds(folder, name)[:1]:
            arrays = {key: np.array(value) for key, value in feeds.items()}
            times: tuple[list[float], list[float]] = ([], [])
            for turn in range(PAIRS + 1):
                for place, session in list(enumerate((before, after)))[:: -1 if turn % 2 else 1]:
                    start = time.process_time()
                    session.run(name, arrays)
                    times[place].append(time.process_time() - start)
            a, b = (one[1:] for one in times)  # the first turn loads
            ratio = median(x / max(y, 1e-9) for x, y in zip(a, b, strict=True))
            found[name] = Speed(median(a), median(b), ratio)
    return found
