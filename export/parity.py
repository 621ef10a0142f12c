"""Receipts: every lowered graph against PyTorch on real feeds, and whole answers against whole answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sam3_edge.agreement import PIXELS, Agreement
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError
from sam3_edge.golden import Case, replay
from sam3_edge.golden_clip import read_clip, replay_clip
from sam3_edge.phrases import open_phrases
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import Session

from .eager import Arrays, Call


@dataclass(frozen=True)
class Gate:
    """What a bundle must reach to exist.

    `relative`: ||a - b|| / ||b|| of each output; IoUs are over all objects. `exact`: the same for arithmetic
    in fp32 on what was written, where that can be computed beside what a device computes.
    """

    relative: float
    mean_iou: float
    min_iou: float
    exact: float | None = None

    def to_json(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Trial:
    """How a bundle is measured. `open_session` is given the bundle and the processor's threads, and
    `exact=True` where the gate asks for that.
    """

    open_session: Callable[..., Session]
    gate: Gate
    threads: int | None = None


@dataclass(frozen=True)
class OutputError:
    """One output of one graph, the worst of all calls."""

    graph: str
    output: str
    relative: float
    largest: float

    def to_json(self) -> dict[str, Any]:
        return {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Parity:
    """The receipt of one export. `clip` is of a model with a tracker."""

    outputs: tuple[OutputError, ...]
    answers: Agreement
    gate: Gate
    exact: tuple[OutputError, ...] = ()
    clip: Agreement | None = None

    @property
    def judged(self) -> dict[str, Agreement]:
        """Whole answers: to the golden questions, and to the golden clip."""
        return {"answers": self.answers, **({} if self.clip is None else {"clip": self.clip})}

    def failures(self) -> list[str]:
        """What misses the gate, in words; empty if the bundle may exist."""
        gate = self.gate
        bad = too_far(self.outputs, gate.relative)
        if gate.exact is not None:
            bad += [f"in fp32 arithmetic {fact}" for fact in too_far(self.exact, gate.exact)]
        return bad + [f"{name}: {fact}" for name, got in self.judged.items() for fact in wrong(got, gate)]

    def to_json(self) -> dict[str, Any]:
        """For `report.json`."""
        return {
            "reference": "PyTorch fp32 on the CPU",
            "outputs": [output.to_json() for output in self.outputs],
            **{name: got.to_json() for name, got in self.judged.items()},
            "gate": self.gate.to_json(),
            **({"exact": [output.to_json() for output in self.exact]} if self.exact else {}),
        }


def too_far(outputs: Sequence[OutputError], limit: float) -> list[str]:
    """The outputs over the limit, in words."""
    return [
        f"{o.graph}.{o.output} differs by {o.relative:.2e}, want at most {limit:.0e}"
        for o in outputs
        if not o.relative <= limit  # NaN fails as well
    ]


def wrong(got: Agreement, gate: Gate) -> list[str]:
    """What is wrong with whole answers, in words."""
    bad = []
    if got.missing or got.extra:
        bad.append(f"of {got.objects} objects {got.missing} are missing, and {got.extra} are extra")
    if got.mean_iou is not None and got.mean_iou < gate.mean_iou:
        bad.append(f"mean mask IoU is {got.mean_iou:.4f}, want {gate.mean_iou}")
    if got.min_iou is not None and got.min_iou < gate.min_iou and got.pixels > PIXELS:
        bad.append(f"the worst mask has IoU {got.min_iou:.4f}, want {gate.min_iou}")
    return bad


def measure(call: Call, got: Arrays) -> list[OutputError]:
    """Compare one run of a graph to the reference's."""
    rows = []
    for name, want in call.answers.items():
        difference = got[name].astype(np.float64) - want
        scale = max(float(np.linalg.norm(want)), 1e-12)
        relative = float(np.linalg.norm(difference)) / scale
        rows.append(OutputError(call.graph, name, relative, float(np.abs(difference).max())))
    return rows


def compare_graph(bundle: Bundle, calls: Sequence[Call], trial: Trial, **how: bool) -> list[OutputError]:
    """Run one graph on recorded feeds. A session of its own: at 1008 px the backbone takes 5 GB."""
    session = trial.open_session(bundle, threads=trial.threads, **how)
    worst: dict[str, OutputError] = {}
    for call in calls:
        answers = session.run(call.graph, call.feeds)
        for row in measure(call, {name: session.fetch(value) for name, value in answers.items()}):
            if row.output not in worst or not row.relative <= worst[row.output].relative:
                worst[row.output] = row
    session.close()
    return list(worst.values())


def prove(bundle: Bundle, calls: dict[str, list[Call]], cases: Sequence[Case], trial: Trial) -> Parity:
    """Measure a sealed bundle. Raises `CheckError` if the reference never ran one of its graphs."""
    outputs: list[OutputError] = []
    exact: list[OutputError] = []
    for name in bundle.specs:
        if not calls[name]:
            raise CheckError(f"parity: no example reaches graph {name}: nothing would be proved about it")
        outputs += compare_graph(bundle, calls[name], trial)
        if trial.gate.exact is not None:
            exact += compare_graph(bundle, calls[name], trial, exact=True)
    session = trial.open_session(bundle, threads=trial.threads)
    model = Segmenter(bundle.config, session, open_phrases(bundle, session))
    answers, golden = replay(model, cases), read_clip(bundle)
    clip = None if golden is None else replay_clip(model, golden)
    session.close()
    return Parity(tuple(outputs), answers, trial.gate, tuple(exact), clip)
