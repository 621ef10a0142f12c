"""Rows of the judge's tables: a program on a part of a frozen set, its scores and their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam3_edge import registry
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.bundle import Bundle
from sam3_edge.judge.measures import Samples
from sam3_edge.judge.report import score_of
from sam3_edge.phrases import open_phrases
from sam3_edge.segmenter import Segmenter

PYTORCH, ONNX = "shapes, PyTorch", "shapes, ONNX Runtime"


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


def reference(bundle: Bundle) -> Segmenter:
    """The built-in model in PyTorch, behind the same host code."""
    checkpoint = registry.load_module("export", "checkpoint")
    place = builtin_checkpoint()
    model = checkpoint.load(place / "model.safetensors", tokenizer=place / "merges.txt").model
    session = registry.load_module("export", "eager").EagerSession(model)
    return Segmenter(bundle.config, session, open_phrases(bundle, session))


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
