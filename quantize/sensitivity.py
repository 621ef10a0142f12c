"""What each part costs when it alone is compressed, and the parts to keep so that the rest passes the gate.

A part is a block of a graph, or a module outside of blocks. Costs are shares of what the gate allows: 1 is at
a threshold, 0 changes nothing. They are measured on the gate's own questions, one part after the other.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3_edge import console
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError

from . import gate
from .feeds import read_feeds
from .job import Job, Settled, settle
from .keep import Keep, Row, pattern_of
from .mixed import Reference, seal_graph, share
from .pipeline import calibrate, find_calibration

BLOCK = re.compile(r"(encoder|layers|blocks)[._](\d+)")


@dataclass(frozen=True, order=True)
class Part:
    """A module of a graph, as `--keep` names it."""

    graph: str
    module: str

    @classmethod
    def of(cls, place: str) -> Part:
        """The part in which `GRAPH/MODULE` lies. Core ML's names have underscores."""
        graph, _, module = place.partition("/")
        if block := BLOCK.match(module):
            return cls(graph, f"{block[1]}.{block[2]}")
        return cls(graph, module.split("." if "." in module else "_")[0])

    @property
    def keep(self) -> str:
        """The words that keep it."""
        return f"{self.graph}.{self.module}=fp32"

    @property
    def pattern(self) -> str:
        """Of its places."""
        return pattern_of(self.graph, self.module)


@dataclass(frozen=True)
class Cost:
    """One part compressed alone: bytes that are saved, and the largest share of a threshold that is used."""

    part: Part
    saved: int
    share: float
    figures: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        used = {"bytes_saved": self.saved, "share": round(self.share, 4)}
        return {"part": self.part.keep.partition("=")[0], **used, "figures": dict(self.figures)}


@dataclass(frozen=True)
class Findings:
    """All costs, the least harmful last; parts to keep, and how the bundle without and with them does."""

    costs: tuple[Cost, ...]
    kept: tuple[Part, ...]
    whole: gate.Verdict
    proposed: gate.Verdict
    bytes_whole: int
    bytes_proposed: int
    questions: str

    def to_json(self) -> dict[str, Any]:
        return {
            "questions": self.questions,
            "parts": [cost.to_json() for cost in self.costs],
            "all_compressed": {"bytes": self.bytes_whole, "gate": self.whole.to_json()},
            "proposal": {
                "keep": [part.keep for part in self.kept],
                "bytes": self.bytes_proposed,
                "gate": self.proposed.to_json(),
            },
        }


class Listening:
    """A keep-list that remembers the parts of which something is compressed."""

    def __init__(self, keep: Keep) -> None:
        self.keep, self.parts = keep, set[Part]()

    def of(self, place: str) -> Row | None:
        row = self.keep.of(place)
        whole = place.endswith("/")  # asked of a graph, before its parts
        if not whole and (row is None or row.level != "fp32"):
            self.parts.add(Part.of(place))
        return row


class Laboratory:
    """The uncompressed bundle and its answers, graphs compressed in various ways, and what they answer."""

    def __init__(self, job: Job, settled: Settled, folder: Path) -> None:
        self.job, self.settled, self.folder = job, settled, folder
        bundle, shown = settled.bundle, find_calibration(job, settled)
        questions = gate.questions_for(
            bundle, job.words, pictures=job.pictures, clips=job.clips, folder=job.folder
        )
        self.reference = Reference(bundle, questions, job.thresholds, job.threads)
        if shown is not None:
            calibrate(bundle, self.reference.segmenter.session, shown, folder / "feeds")
        self.made: dict[tuple[str, str], Bundle] = {}

    def compress(self, graph: str, keep: Any, label: str) -> Bundle:
        """A bundle of one graph, compressed as `keep` says, which `label` stands for."""
        settled, key = self.settled, (graph, label)
        if key not in self.made:
            bundle, place = settled.bundle, self.folder / f"{len(self.made):04}"
            shutil.copytree(bundle.path / bundle.graphs[graph].folder, place / bundle.graphs[graph].folder)
            path = place / bundle.graph(graph).relative_to(bundle.path)
            feeds = read_feeds(self.folder / "feeds", graph)
            settled.scheme.compress(path, settled.config, keep=keep, feeds=feeds)
            self.made[key] = seal_graph(bundle, graph, place)
        return self.made[key]

    def keeping(self, kept: Sequence[Part]) -> dict[str, Bundle]:
        """Every graph, compressed but for these parts."""
        made = {}
        for graph in self.settled.bundle.specs:
            mine = tuple(sorted(part for part in kept if part.graph == graph))
            rows = [Row(part.pattern, "fp32", part.keep) for part in mine]
            label = ",".join(part.keep for part in mine)
            made[graph] = self.compress(graph, Keep((*rows, *self.settled.keep.rows)), label)
        return made

    def alone(self, part: Part) -> Cost:
        """A part compressed, and nothing else."""
        others = Row(f"(?!(?:{part.pattern})$).*/.+", "fp32", "another part")
        bundle = self.compress(part.graph, Keep((others, *self.settled.keep.rows)), f"only {part.keep}")
        verdict = self.reference.judge({part.graph: bundle}, part.keep.partition("=")[0])
        saved = size_of(self.settled.bundle, part.graph) - size_of(bundle, part.graph)
        return Cost(part, saved, share(verdict), {f.name: f.to_json()["value"] for f in verdict.figures})

    def parts(self) -> list[Part]:
        """Every part of which the scheme compresses something."""
        found: set[Part] = set()
        for graph in self.settled.bundle.specs:
            ear = Listening(self.settled.keep)
            self.compress(graph, ear, "")
            found |= ear.parts
        return sorted(found)


def size_of(bundle: Bundle, graph: str) -> int:
    """Bytes of a graph."""
    size: int = bundle.to_json()["graphs"][graph]["bytes"]
    return size


def find(job: Job) -> Findings:
    """Measure every part, then the fewest to keep, the most harmful for their bytes first, so that all pass.

    Raises what `quantize` raises before it compresses, and `CheckError` if the scheme compresses nothing.
    """
    settled = settle(job)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Laboratory(job, settled, Path(scratch))
        parts = bench.parts()
        if not parts:
            raise CheckError(f"scheme {job.scheme} compresses nothing of {job.bundle}: keep fewer parts")
        with console.progress("parts", len(parts)) as advance:
            costs = []
            for part in parts:
                costs.append(bench.alone(part))
                advance(1)
        costs.sort(key=lambda cost: cost.share / max(cost.saved, 1), reverse=True)
        return propose(bench, costs)


def propose(bench: Laboratory, costs: Sequence[Cost]) -> Findings:
    """By halving: with the first so many of `costs` kept all passes, with one fewer it does not."""
    tried: dict[int, tuple[gate.Verdict, int]] = {}

    def passes(count: int) -> bool:
        graphs = bench.keeping([cost.part for cost in costs[:count]])
        size = sum(size_of(made, name) for name, made in graphs.items())
        tried[count] = bench.reference.judge(graphs, f"{count} parts kept"), size
        return not tried[count][0].failures()

    low, high = -1, len(costs)  # fails, and passes: with everything kept nothing is changed
    if passes(0):
        high = 0
    else:
        low = 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if passes(middle) else (middle, high)
    if high not in tried:
        passes(high)
    kept = tuple(cost.part for cost in costs[:high])
    (whole, bytes_whole), (proposed, bytes_proposed) = tried[0], tried[high]
    about = bench.reference.questions.about
    return Findings(tuple(costs), kept, whole, proposed, bytes_whole, bytes_proposed, about)
