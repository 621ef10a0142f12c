"""What goes into each graph while a model works, kept on disk: for calibration and for timing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam3_edge.session import Session, Value

Feeds: TypeAlias = "Mapping[str, NDArray[Any]]"


class Recorder:
    """A session that hands everything on and keeps the first `most` feeds of each graph in `folder`.

    On disk, because the detector's features of one 1008 px picture are 120 MB.
    """

    def __init__(self, session: Session, folder: Path, *, most: int) -> None:
        self.session, self.folder, self.most = session, folder, most
        self.counts: dict[str, int] = {}
        self.recording = True
        self.fetch, self.alloc, self.write = session.fetch, session.alloc, session.write
        self.rows, self.close = session.rows, session.close

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        number = self.counts.get(graph, 0)
        if self.recording and number < self.most:
            place = self.folder / graph / f"{number:03}"
            place.mkdir(parents=True)
            for name, value in feeds.items():
                np.save(place / f"{name}.npy", self.session.fetch(value), allow_pickle=False)
            self.counts[graph] = number + 1
        return self.session.run(graph, feeds)


def read_feeds(folder: Path, graph: str) -> list[Feeds]:
    """The kept feeds of a graph, mapped; [] if it never ran."""
    return [
        {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in sorted(place.iterdir())}
        for place in sorted((folder / graph).glob("*"))
    ]
