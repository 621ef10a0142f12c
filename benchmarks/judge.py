"""The built-in model and what must fail, on the frozen sets: `python -m sam3_edge.benchmarks.judge`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np

from sam3_edge import console
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.judge import frozen_clips, frozen_pictures
from sam3_edge.judge.answering import answer_pictures
from sam3_edge.judge.baselines import by_colour
from sam3_edge.judge.case import PictureAnswer, PictureCase
from sam3_edge.judge.measures import PictureJudge
from sam3_edge.segmenter import load
from sam3_edge.shapes.scenes import COLOURS, SHAPES, TEXTURES
from sam3_edge.verbs.options import COUNT
from sam3_edge.writing import write_file

from .judge_clips import CLIP_SCORES, COMPARED, PER_OBJECT, clip_difference, follow_clips, rows_of_clips
from .judge_rows import ONNX, PYTORCH, Row, markdown, reference, scores_of

COLOUR = "baseline: colour patches"
PICTURE_SCORES = ("pm_f1@0.5", "pm_f1", "il_mcc", "cg_f1")
STRATA = {
    "phrase": {"phrase", "seen"},
    "phrase, pairs never trained": {"phrase", "unseen"},
    "example box": {"exemplar", "seen"},
    "example box, pairs never trained": {"exemplar", "unseen"},
    "phrase, partly hidden": {"phrase", "seen", "occluded"},
}
CLASSES = (*SHAPES, *COLOURS, *TEXTURES)


def picture_rows(
    program: str, cases: Sequence[PictureCase], answers: Mapping[str, PictureAnswer]
) -> list[Row]:
    """Every stratum that the cases have, and every word that phrases name."""
    judge, rows = PictureJudge(cases, answers), []
    strata = STRATA | {f"word: {word}": {"phrase", "seen", word} for word in CLASSES}
    for name, tags in strata.items():
        if where := [i for i, case in enumerate(cases) if tags <= case.tags]:
            scores = scores_of(judge.score(where), PICTURE_SCORES)
            rows.append(Row(program, name, len(where), scores))
    return rows


def judge_pictures(bundle: Bundle, count: int, *, threads: int | None) -> list[Row]:
    """The first `count` frozen pictures: the model twice, and the colour baseline."""
    pictures = list(frozen_pictures.frozen_pictures(count))
    cases = [case for frozen in pictures for case in frozen.cases]
    asked = [
        (c, f.picture, concept) for f in pictures for c, concept in zip(f.cases, f.concepts, strict=True)
    ]
    rows: list[Row] = []
    for program, segmenter in (
        (PYTORCH, reference(bundle)),
        (ONNX, load(bundle.path, threads=threads)),
    ):
        with segmenter, console.progress(program, len(asked)) as advance:
            rows += picture_rows(program, cases, answer_pictures(segmenter, asked, advance=advance))
    by_patches = {case.key: by_colour(picture, concept) for case, picture, concept in asked}
    return rows + picture_rows(COLOUR, cases, by_patches)


def judge_all(
    bundle: Bundle, pictures: int, clips: int, *, threads: int | None
) -> tuple[list[Row], list[Row]]:
    """Rows of the pictures and of the clips, in two processes: parts of the clips beside the pictures."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        of_pictures = pool.submit(judge_pictures, bundle, pictures, threads=threads)
        parts = [
            pool.submit(follow_clips, bundle, start, min(start + COMPARED, clips), threads=threads)
            for start in range(0, clips, COMPARED)
        ]
        return of_pictures.result(), rows_of_clips([part.result() for part in parts]) if clips else []


def tables(rows: Sequence[Row]) -> str:
    """Programs on the pictures, on the clips, and the bundle word by word."""
    words = [row for row in rows if row.program == ONNX and row.stratum.startswith("word: ")]
    parts = [
        ("Frozen pictures", [row for row in rows if row.stratum in STRATA], PICTURE_SCORES),
        ("Frozen clips", [row for row in rows if PER_OBJECT in row.scores], (*CLIP_SCORES, PER_OBJECT)),
        ("Word by word", words, PICTURE_SCORES),
    ]
    return "\n".join(f"## {title}\n\n{markdown(some, names)}" for title, some, names in parts)


def worst_difference(rows: Sequence[Row]) -> float:
    """Of ONNX Runtime from PyTorch, over all scores of the strata."""
    by_stratum = {(row.program, row.stratum): row.scores for row in rows}
    pairs = [
        (by_stratum[PYTORCH, name], by_stratum[ONNX, name]) for name in STRATA if (ONNX, name) in by_stratum
    ]
    apart = [
        abs(a[name]["value"] - b[name]["value"])
        for a, b in pairs
        for name in PICTURE_SCORES
        if a[name]["value"]
    ]
    return float(np.max(apart, initial=0.0))


@click.command()
@click.option("--pictures", type=COUNT, default=frozen_pictures.PICTURES, show_default=True)
@click.option("--clips", type=click.IntRange(0), default=len(list(frozen_clips.clips())), show_default=True)
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write JSON, and the tables beside it as .md."
)
def main(pictures: int, clips: int, threads: int | None, output: Path | None) -> None:
    """Judge the built-in model, its bundle, and the baselines on the frozen sets."""
    bundle = Bundle.open(builtin_bundle())
    of_pictures, of_clips = judge_all(bundle, pictures, clips, threads=threads)
    text = tables([*of_pictures, *of_clips])
    click.echo(text)
    apart = worst_difference(of_pictures)
    click.echo(f"ONNX Runtime and PyTorch differ by {apart:.4f} at most on pictures")
    if output is None:
        return
    document = {
        "bundle": bundle.hash,
        "pictures": {"hash": frozen_pictures.HASH, "count": pictures},
        "clips": {"hash": frozen_clips.HASH, "count": clips},
        "onnx_pytorch_difference": round(apart, 5),
        "onnx_pytorch_clip_difference": round(clip_difference(of_clips), 5) if clips else None,
        "rows": [row.to_json() for row in (*of_pictures, *of_clips)],
    }
    write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    write_file(output.with_suffix(".md"), text.encode(), overwrite=True)


if __name__ == "__main__":
    main()
