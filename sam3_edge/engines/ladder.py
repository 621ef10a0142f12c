"""The ladder: engines are built, asked the golden questions, and built another way if they answer wrongly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from sam3_edge.agreement import PIXELS, Agreement
from sam3_edge.bundle import Bundle
from sam3_edge.engines.cache import Built
from sam3_edge.engines.rehearsal import worst
from sam3_edge.engines.rungs import RUNGS, Rung
from sam3_edge.errors import CheckError
from sam3_edge.golden import Case, read_golden, replay
from sam3_edge.golden_clip import ANSWERS, GoldenClip, read_clip, replay_clip
from sam3_edge.phrases import open_phrases
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import Session

# The gate of fp16: what masks may lose between two roundings of the same model.
MEAN_IOU, LEAST_IOU, RELATIVE = 0.995, 0.98, 2e-2
Say = Callable[[str], None]


class Builder(Protocol):
    """What builds and opens engines on this machine."""

    def build(self, path: Path, say: Say) -> bytes:
        """The engine of the graph at `path`."""
        ...

    def open(self, bundle: Bundle, engines: Mapping[str, bytes]) -> Session:
        """A session on engines of all graphs."""
        ...


@dataclass(frozen=True)
class Verdict:
    """How one rung was judged. `error` is why it could not be; `seconds` is one replay, clip and all.

    `tracked` is of single runs of the tracker's graphs, `clip` of the video loop on them.
    """

    rung: str
    seconds: float
    bytes: int
    answers: Agreement | None = None
    clip: Agreement | None = None
    tracked: Mapping[str, float] | None = None
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether these engines may be used."""
        if self.answers is None or not agrees(self.answers):
            return False
        if self.clip is not None and not agrees(self.clip):
            return False
        return self.tracked is None or (
            self.tracked["mask_iou"] >= LEAST_IOU and self.tracked["relative"] <= RELATIVE
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        answers, clip = (got and got.to_json() for got in (self.answers, self.clip))
        seconds = round(self.seconds, 3)
        return {**vars(self), "answers": answers, "clip": clip, "seconds": seconds, "passed": self.passed}


def agrees(got: Agreement) -> bool:
    """Whether answers are the golden ones but for rounding."""
    if got.missing or got.extra or got.mean_iou is None or got.min_iou is None:
        return False
    return got.mean_iou >= MEAN_IOU and (got.min_iou >= LEAST_IOU or got.pixels <= PIXELS)


def climb(bundle: Bundle, builder: Builder, say: Say = lambda text: None) -> Built:
    """Engines of the first rung whose answers are the golden ones.

    Raises `CheckError` if no rung's are, or if the bundle has nothing to judge by.
    """
    cases, clip = read_golden(bundle), golden_clip(bundle)
    if not any(len(answer) for case in cases for answer in case.answers):
        raise CheckError(
            f"bundle {bundle.path}: its golden answers name no object, so no engine can be judged: "
            "export a trained model"
        )
    verdicts: list[Verdict] = []
    engines: dict[str, tuple[bytes, bytes]] = {}  # by graph: the file it was built from, and the engine
    for rung in rungs_of(bundle):
        say(f"rung {rung.name}: {rung.what}")
        verdict = Verdict(rung.name, 0.0, 0)
        try:
            for name in bundle.graphs:
                engines[name] = build(bundle, name, rung, builder, engines.get(name), say)
            made = {name: engine for name, (_, engine) in engines.items()}
            verdict = replace(verdict, bytes=sum(map(len, made.values())))
            say(f"rung {rung.name}: asking the golden questions")
            session = builder.open(bundle, made)
            with Segmenter(bundle.config, session, open_phrases(bundle, session)) as model:
                verdict = judge(verdict, bundle, model, cases, clip)
        except CheckError as error:  # also answers that are no numbers: the next rung may do better
            verdict = replace(verdict, error=str(error))
        verdicts.append(verdict)
        if verdict.passed:
            return Built(made, rung.name, {"rungs": [verdict.to_json() for verdict in verdicts]})
    raise CheckError(f"no engine of {bundle.path} was kept, none answers as the model does: {told(verdicts)}")


def judge(
    verdict: Verdict, bundle: Bundle, model: Segmenter, cases: list[Case], clip: GoldenClip | None
) -> Verdict:
    """The verdict on the engines that `model` runs on. Raises `CheckError` for scores that are no numbers."""
    replay(model, cases[:1])  # the first run of an engine loads and captures
    if clip is not None:
        verdict = replace(verdict, tracked=worst(bundle, model.session))
    start = time.perf_counter()
    verdict = replace(verdict, answers=replay(model, cases))
    if clip is not None:
        verdict = replace(verdict, clip=replay_clip(model, clip))
    return replace(verdict, seconds=time.perf_counter() - start)


def golden_clip(bundle: Bundle) -> GoldenClip | None:
    """The clip that a tracker is judged by. Raises `CheckError` for a bundle that should have one."""
    clip = read_clip(bundle)
    if clip is None and bundle.config.tracks:
        raise CheckError(
            f"bundle {bundle.path}: it has no {ANSWERS}, so its tracker cannot be judged: export again"
        )
    return clip


def rungs_of(bundle: Bundle) -> list[Rung]:
    """The rungs that the bundle's scheme has."""
    listed = {file.path for file in bundle.files}
    return [r for r in RUNGS if any(f"{graph.folder}{r.file}" in listed for graph in bundle.graphs.values())]


def build(
    bundle: Bundle, name: str, rung: Rung, builder: Builder, before: tuple[bytes, bytes] | None, say: Say
) -> tuple[bytes, bytes]:
    """The engine of one graph on one rung. A graph that the rung does not change keeps its engine."""
    path = bundle.graph(name).with_name(rung.file)
    source = path.read_bytes()
    if before is not None and before[0] == source:
        return before
    say(f"building {name}")
    return source, builder.build(path, say)


def told(verdicts: list[Verdict]) -> str:
    """Every rung's failure, in one line."""
    facts = []
    for verdict in verdicts:
        parts = [verdict.error] if verdict.error else []
        for name, got in (("", verdict.answers), ("in the clip ", verdict.clip)):
            if got is not None:
                parts.append(
                    f"{name}of {got.objects} objects {got.missing} missing, {got.extra} extra, "
                    f"mean mask IoU {got.mean_iou}, worst {got.min_iou}"
                )
        if verdict.tracked:
            parts.append(f"tracked {dict(verdict.tracked)}")
        facts.append(f"{verdict.rung}: {', '.join(parts)}")
    return "; ".join(facts)
