"""A bundle with some of its graphs in another form, asked the gate's questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sam3_edge.bundle import Bundle
from sam3_edge.manifest import Manifest
from sam3_edge.session import Session, Value, open_session
from sam3_edge.staging import seal

from . import gate
from .job import FIELDS

UNCHANGED = {"mask_iou_mean": 1.0, "mask_iou_p5": 1.0, "box_iou_mean": 1.0, "kept_f1": 1.0}  # others: 0


class Mixed:
    """A session with some graphs of other sessions. Values are arrays of the host in all of them."""

    def __init__(self, base: Session, others: Mapping[str, Session]) -> None:
        self.base, self.others = base, others
        self.fetch, self.alloc, self.write = base.fetch, base.alloc, base.write
        self.rows, self.close = base.rows, base.close

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        return self.others.get(graph, self.base).run(graph, feeds)


def seal_graph(bundle: Bundle, graph: str, place: Path) -> Bundle:
    """A bundle of one graph, whose files lie in `place` as they do in `bundle`."""
    facts = {name: getattr(bundle, name) for name in FIELDS}
    seal(place, Manifest(**{**facts, "graphs": {graph: bundle.graphs[graph]}, "report": {}}))
    return Bundle.open(place)


class Reference:
    """The uncompressed bundle at work, what it was asked, and what it said."""

    def __init__(
        self,
        bundle: Bundle,
        questions: gate.Questions,
        thresholds: gate.Thresholds,
        threads: int | None,
        answers: gate.Answers | None = None,
    ) -> None:
        self.bundle, self.questions, self.thresholds, self.threads = bundle, questions, thresholds, threads
        self.segmenter = gate.segmenter_of(bundle, threads=threads)
        self.answers = answers or gate.ask(self.segmenter, questions, "uncompressed")

    def judge(self, graphs: Mapping[str, Bundle], label: str) -> gate.Verdict:
        """How the bundle does with these graphs in the place of its own."""
        opened = {
            name: open_session(made, threads=self.threads, emulate=True) for name, made in graphs.items()
        }
        mixed = gate.segmenter_of(self.bundle, Mixed(self.segmenter.session, opened))
        answers = gate.ask(mixed, self.questions, label)
        for session in opened.values():
            session.close()
        return gate.judge(self.questions, self.answers, answers, self.thresholds)


def share(verdict: gate.Verdict) -> float:
    """The largest share of what a threshold allows that is used: 0 changes nothing, 1 is at a threshold."""
    return max(
        (best - figure.value) / max(best - figure.least, 1e-9)
        for figure in verdict.figures
        if figure.value is not None
        for best in [UNCHANGED.get(figure.name, 0.0)]
    )
