"""What each way to be faster buys and costs: `python -m sam3_edge.benchmarks.tiers`.

The built-in model follows the same frozen clips in every tier, each in a process of its own: processor time
of a frame, peak memory, and J&F with the paired difference from the first tier.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import click

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.bundle import Bundle
from sam3_edge.judge import frozen_clips
from sam3_edge.judge.answering import by_medium
from sam3_edge.judge.case import Clip
from sam3_edge.judge.clip_answering import answer_clips
from sam3_edge.judge.measures import ClipJudge
from sam3_edge.judge.report import score_of
from sam3_edge.loop.settings import Settings
from sam3_edge.segmenter import load
from sam3_edge.verbs.options import COUNT

from .document import errors_told, write_document
from .machine import facts
from .markdown import table
from .parity_full import RSS_UNIT

HEAD = ("tier", "MB on disk", "processor ms a frame", "times the first", "peak MB", "J&F", "difference, 95 %")


@dataclass(frozen=True)
class Tier:
    """One way to run the built-in model: what its export is told, a scheme, and how often it looks."""

    name: str
    export: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    scheme: str = "fp32"
    every: int = 1

    @property
    def made(self) -> str:
        """Tiers with the same name here share a bundle."""
        told = [f"{name}-{value}" for name, value in {**self.export, **self.settings}.items()]
        return "-".join(("bundle", *told, self.scheme))


POOLED = {"memory_pool": 2}
TIERS = (
    Tier("224 px, fp32"),
    Tier("fused operators", settings={"fused": True}),
    Tier("pooled memories", POOLED),
    Tier("detection on every 2nd frame", every=2),
    Tier("detection on every 4th frame", every=4),
    Tier("int8 weights", scheme="w8"),
    Tier("112 px", {"image_size": 112}),
    Tier("int8 weights, pooled, every 4th", POOLED, scheme="w8", every=4),
)


def make(tier: Tier, folder: Path) -> Bundle:
    """The tier's bundle, exported, or compressed and judged, unless another tier has it."""
    place = folder / tier.made
    if not (place / "bundle.json").exists():
        if tier.scheme == "fp32":
            pipeline = registry.load_module("export", "pipeline")
            told = {"scheme": "fp32", "settings": dict(tier.settings), **tier.export}
            pipeline.export(pipeline.Job(output=place, target="onnx", **told))
        else:
            whole = make(replace(tier, scheme="fp32"), folder)
            pipeline = registry.load_module("quantize", "pipeline")
            pipeline.quantize(pipeline.Job(bundle=whole.path, scheme=tier.scheme, output=place))
    return Bundle.open(place)


def follow(tier: Tier, folder: Path, count: int) -> dict[str, Any]:
    """Follow the first `count` clips: what that takes, and what was found, to be judged elsewhere."""
    bundle, settings = Bundle.open(folder / tier.made), Settings(detect_every=tier.every)
    groups = list(islice(by_medium(frozen_clips.questions()), count))
    frames = sum(len(group[0][1]) for group in groups)
    with load(bundle.path, threads=1) as segmenter, console.progress(tier.name, len(groups)) as advance:
        answers: dict[str, Clip] = {}
        answer_clips(segmenter, groups[0], settings=settings)  # untimed: it loads what it needs
        start = time.process_time()
        for group in groups:
            answers |= answer_clips(segmenter, group, settings=settings)
            advance(1)
        seconds = time.process_time() - start
    return {
        "megabytes": round(sum(record.bytes for record in bundle.files) / 1e6, 2),
        "milliseconds": round(1000 * seconds / frames, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e6, 1),
        "frames": frames,
        "answers": answers,
    }


def judged(found: Sequence[tuple[Tier, dict[str, Any]]], count: int) -> list[dict[str, Any]]:
    """A row for each tier, J&F beside that of the first."""
    groups = islice(by_medium(frozen_clips.questions()), count)
    cases = [case for group in groups for case, _, _ in group]
    samples = [ClipJudge(cases, one["answers"]).score(range(len(cases)))["j_and_f"] for _, one in found]
    rows = []
    for (tier, one), sample in zip(found, samples, strict=True):
        score = score_of(sample, samples[0])
        told = {name: value for name, value in one.items() if name != "answers"}
        rows.append({"tier": tier.name, **told, "j_and_f": asdict(score)})
    return rows


def cells(row: Mapping[str, Any], first: Mapping[str, Any]) -> tuple[str, ...]:
    """Of one tier, for a page."""
    score, apart = row["j_and_f"], "-"
    if row is not first and (ends := score["difference_interval"]) is not None:
        apart = f"{score['difference']:+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f})"
    ratio = f"{first['milliseconds'] / row['milliseconds']:.2f}"
    sizes = (f"{row['megabytes']:.1f}", f"{row['milliseconds']:.1f}", ratio, f"{row['peak_mb']:.0f}")
    return (row["tier"], *sizes, f"{score['value']:.3f}", apart)


def markdown(document: Mapping[str, Any]) -> str:
    """The table for a page."""
    rows = document["rows"]
    return table(HEAD, [cells(row, rows[0]) for row in rows])


@click.command()
@click.option("--clips", type=COUNT, default=32, show_default=True, help="Of the 64 frozen ones.")
@click.option("--output", type=click.Path(path_type=Path), help="The JSON. Default: print.")
def main(clips: int, output: Path | None) -> None:
    """Follow the frozen clips in every tier, one after the other."""
    found: list[tuple[Tier, dict[str, Any]]] = []
    with errors_told(), tempfile.TemporaryDirectory() as scratch:
        for tier in TIERS:
            alone(make, tier, Path(scratch))
            found.append((tier, alone(follow, tier, Path(scratch), clips)))
            told = document(judged(found, clips), clips)
            if output is not None:
                write_document(output, told)
    if output is None:
        console.emit(told)
    click.echo(markdown(told), err=True)


def document(rows: Sequence[Mapping[str, Any]], clips: int) -> dict[str, Any]:
    """All that there is to say."""
    return {
        "what": "the built-in model on one thread of ONNX Runtime, the same frozen clips in every tier",
        "machine": facts("onnxruntime", "numpy"),
        "clips": {"hash": frozen_clips.HASH, "count": clips},
        "finished": len(rows) == len(TIERS),
        "rows": list(rows),
    }


if __name__ == "__main__":
    main()
