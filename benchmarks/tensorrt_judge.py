"""The built-in model typed for TensorRT, and in fp32: `python -m sam3_edge.benchmarks.tensorrt_judge`.

Without a GPU: fp16 values are rounded as hardware rounds them, by ONNX Runtime on the processor. What
TensorRT's own kernels do is judged on a device, by `sam3-edge build`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sam3_edge import console, registry
from sam3_edge.bundle import Bundle
from sam3_edge.judge import frozen_pictures
from sam3_edge.judge.answering import answer_pictures
from sam3_edge.judge.measures import PictureJudge
from sam3_edge.phrases import open_phrases
from sam3_edge.segmenter import Segmenter
from sam3_edge.verbs.options import COUNT
from sam3_edge.writing import write_file

from .judge import PICTURE_SCORES
from .judge_rows import reference, scores_of
from .machine import facts

FULL, TYPED = "fp32, PyTorch", "typed fp16, rounded"
POINTS = 0.5  # what typing may cost, of 100


def export(folder: Path) -> Bundle:
    """The built-in model for TensorRT, with its report."""
    pipeline = registry.load_module("export", "pipeline")
    job = pipeline.Job(output=folder / "bundle", target="tensorrt", threads=1)
    with console.status("export") as say:
        bundle: Bundle = pipeline.export(job, say)[0]
    return bundle


def judge(bundle: Bundle, count: int) -> dict[str, dict[str, Any]]:
    """Scores of both programs on the first `count` frozen pictures."""
    pictures = list(frozen_pictures.frozen_pictures(count))
    cases = [case for frozen in pictures for case in frozen.cases]
    asked = [
        (c, f.picture, concept) for f in pictures for c, concept in zip(f.cases, f.concepts, strict=True)
    ]
    session = registry.load("target", "tensorrt").open_session(bundle, threads=1)
    typed = Segmenter(bundle.config, session, open_phrases(bundle, session))
    scores = {}
    for program, segmenter in ((FULL, reference(bundle)), (TYPED, typed)):
        with segmenter, console.progress(program, len(asked)) as advance:
            answers = answer_pictures(segmenter, asked, advance=advance)
        scores[program] = scores_of(PictureJudge(cases, answers).score(range(len(cases))), PICTURE_SCORES)
    return scores


def report(count: int) -> dict[str, Any]:
    """The document."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = export(Path(scratch))
        exported = json.loads(bundle.file("report.json").read_bytes())
        scores = judge(bundle, count)
    lost = differences(scores)
    return {
        "what": "the built-in model typed for TensorRT, on the first frozen pictures; and its own report",
        "machine": facts("torch", "onnx", "onnxruntime", "tensorrt-rtx"),
        "weights": bundle.source.sha256,
        "pictures": count,
        "scores": scores,
        "points_lost": lost,
        "limit_points": POINTS,
        "verdict": "pass" if all(abs(points) <= POINTS for points in lost.values()) else "fail",
        **exported,
    }


def differences(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Points of 100 that the typed graphs lose, by score."""
    full, typed = scores[FULL], scores[TYPED]
    return {name: round(100 * (full[name]["value"] - typed[name]["value"]), 3) for name in full}


@click.command()
@click.option("--pictures", type=COUNT, default=60, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="The JSON. Default: print it.")
def main(pictures: int, output: Path | None) -> None:
    """Export the built-in model for TensorRT, and judge it beside its fp32 self."""
    document = report(pictures)
    if output is not None:
        write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    else:
        console.emit(document)
    rows = [
        (name, *(f"{document['scores'][p][name]['value']:.4f}" for p in (FULL, TYPED)), f"{lost:+.2f}")
        for name, lost in document["points_lost"].items()
    ]
    console.table(f"{pictures} pictures, {document['verdict']}", ("score", FULL, TYPED, "points lost"), rows)
    sys.exit(document["verdict"] != "pass")


if __name__ == "__main__":
    main()
