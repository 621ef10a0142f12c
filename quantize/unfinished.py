"""Graphs that are compressed already, kept beside the output until all are: an interrupted run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from sam3_edge.bundle import Bundle

from .tally import Tally

DONE = "tally.json"


class Unfinished:
    """A hidden folder beside `output`, for one bundle compressed in one way, which `key` tells."""

    def __init__(self, output: Path, key: str) -> None:
        self.root = output.absolute().parent / f".{output.name}.unfinished"
        self.folder = self.root / key

    def graph(self, bundle: Bundle, name: str, compress: Callable[[Path], Tally]) -> tuple[Path, Tally]:
        """The folder of a compressed graph and its tally: kept from before, or made now by `compress`.

        `compress` is given the path of a copy and rewrites it in place.
        """
        place = self.folder / name
        if not (place / DONE).exists():
            part = self.folder / f".{name}"
            shutil.rmtree(part, ignore_errors=True)
            source = bundle.graph(name)
            folder = bundle.path / bundle.graphs[name].folder
            shutil.copytree(folder, part / name)
            tally = compress(part / name / source.relative_to(folder))  # Core ML files do not say it
            (part / DONE).write_text(json.dumps(tally.to_json()), encoding="ascii")
            part.rename(place)  # what has this name is whole
        return place / name, Tally.of_json(json.loads((place / DONE).read_text(encoding="ascii")))

    def remove(self) -> None:
        """All is done, or will never be."""
        shutil.rmtree(self.root, ignore_errors=True)
