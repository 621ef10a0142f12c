"""The built-in model and what must fail, on the frozen sets: `python -m sam3_edge.benchmarks.judge`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console, registry
from sam3_edge.builtin import builtin_bundle, builtin_checkpoint
from sam3_edge.bundle import Bundle
from sam3_edge.concept import Concept
from sam3_edge.judge import frozen_clips, frozen_pictures
from sam3_edge.judge.answering import answer_pictures
from sam3_edge.judge.baselines import by_colour, by_overlap
from sam3_edge.judge.case import Clip, ClipCase, Masks, PictureAnswer, PictureCase
from sam3_edge.judge.measures import ClipJudge, PictureJudge, Samples
from sam3_edge.judge.report import score_of
from sam3_edge.phrases import open_phrases
from sam3_edge.segmenter import Segmenter, load
from sam3_edge.shapes.scenes import COLOURS, SHAPES, TEXTURES
from sam3_edge.verbs.options import COUNT
from sam3_edge.writing import write_file

PYTORCH, ONNX = "shapes, PyTorch", "shapes, ONNX Runtime"
COLOUR, OVERLAP = "baseline: colour patches", "baseline: detection + IoU"
PICTURE_SCORES = ("pm_f1@0.5", "pm_f1", "il_mcc", "cg_f1")
CLIP_SCORES = ("j_and_f", "p_hota", "ass_a", "id_switches")
STRATA = {
    "phrase": {"phrase", "seen"},
    "phrase, pairs never trained": {"phrase", "unseen"},
    "example box": {"exemplar", "seen"},
    "example box, pairs never trained": {"exemplar", "unseen"},
    "phrase, partly hidden": {"phrase", "seen", "occluded"},
}
CLASSES = (*SHAPES, *COLOURS, *TEXTURES)


@dataclass(frozen=True)
class Row:
    """One program on one stratum; each score with its 95 % interval (none for switches: they are a count)."""

    program: str
    stratum: str
    cases: int
    scores: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"program": self.program, "stratum": self.stratum, "cases": self.cases, **self.scores}


def scores_of(samples: Samples, names: Iterable[str]) -> dict[str, Any]:
    """Value and interval of the named scores, rounded to what 2000 cases can tell."""
    made = {}
    for name in names:
        score = score_of(samples[name], None)
        rounded = [None if end is None else round(end, 4) for end in (score.value, *(score.interval or ()))]
        made[name] = {"value": rounded[0], "interval": rounded[1:]}
    return made


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


def reference(bundle: Bundle) -> Segmenter:
    """The built-in model in PyTorch, behind the same host code."""
    checkpoint = registry.load_module("export", "checkpoint")
    place = builtin_checkpoint()
    model = checkpoint.load(place / "model.safetensors", tokenizer=place / "merges.txt").model
    session = registry.load_module("export", "eager").EagerSession(model)
    return Segmenter(bundle.config, session, open_phrases(bundle, session))


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


def judge_clips(bundle: Bundle, count: int, *, threads: int | None) -> list[Row]:
    """The first `count` frozen clips: detection on every frame, joined by overlap alone."""
    cases: list[ClipCase] = []
    answers: dict[str, Clip] = {}
    chosen = list(islice(frozen_clips.clips(), count))
    with load(bundle.path, threads=threads) as segmenter, console.progress(OVERLAP, count) as advance:
        for clip in chosen:
            concepts = [Concept(phrase) for phrase, _ in clip.phrases]
            frames = [segmenter.segment(frame, concepts) for frame in clip.frames]
            for place, case in enumerate(clip.cases):
                found = [
                    PictureAnswer(Masks.of(each[place].masks), tuple(each[place].scores.tolist()))
                    for each in frames
                ]
                answers[case.key] = by_overlap(found, case.truth.size)
                cases.append(case)
            advance(1)
    judge, rows = ClipJudge(cases, answers), []
    strata = {"all": set[str](), **{tag: {tag} for tag in sorted({t for case in cases for t in case.tags})}}
    for name, tags in strata.items():
        where = [i for i, case in enumerate(cases) if tags <= case.tags]
        rows.append(Row(OVERLAP, name, len(where), scores_of(judge.score(where), CLIP_SCORES)))
    return rows


def markdown(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A table for the README: a value and its interval in each cell."""
    lines = [f"| | questions | n | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
    for row in rows:
        cells = [cell(row.scores[name]) for name in names]
        lines.append(f"| {row.program} | {row.stratum} | {row.cases} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(score: Mapping[str, Any]) -> str:
    value, ends = score["value"], score["interval"]
    if value is None:
        return "-"
    if float(value).is_integer() and value > 1:
        return str(int(value))
    return f"{value:.3f}" + (f" ({ends[0]:.2f}-{ends[1]:.2f})" if ends else "")


def tables(of_pictures: Sequence[Row], of_clips: Sequence[Row]) -> str:
    """Programs on the pictures, the bundle word by word, the clips."""
    shown = [row for row in of_pictures if row.stratum in STRATA]
    words = [row for row in of_pictures if row.program == ONNX and row.stratum not in STRATA]
    parts = [
        ("Frozen pictures", markdown(shown, PICTURE_SCORES)),
        ("Word by word", markdown(words, PICTURE_SCORES)),
        ("Frozen clips", markdown(of_clips, CLIP_SCORES)),
    ]
    return "\n".join(f"## {title}\n\n{table}" for title, table in parts)


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
    of_pictures = judge_pictures(bundle, pictures, threads=threads)
    of_clips = judge_clips(bundle, clips, threads=threads) if clips else []
    text = tables(of_pictures, of_clips)
    click.echo(text)
    apart = worst_difference(of_pictures)
    click.echo(f"ONNX Runtime and PyTorch differ by {apart:.4f} at most")
    if output is None:
        return
    document = {
        "bundle": bundle.hash,
        "pictures": {"hash": frozen_pictures.HASH, "count": pictures},
        "clips": {"hash": frozen_clips.HASH, "count": clips},
        "onnx_pytorch_difference": round(apart, 5),
        "rows": [row.to_json() for row in (*of_pictures, *of_clips)],
    }
    write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    write_file(output.with_suffix(".md"), text.encode(), overwrite=True)


if __name__ == "__main__":
    main()
