"""What a judgement says: every score with its interval, beside a reference's, for all and by stratum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from sam3_edge import console
from sam3_edge.errors import UsageError
from sam3_edge.judge.bootstrap import RESAMPLES, SEED, interval
from sam3_edge.judge.case import ClipCase, PictureCase
from sam3_edge.judge.measures import ClipJudge, PictureJudge, Sample

ALL = "all"
Interval: TypeAlias = "tuple[float, float] | None"
# What the table by strata has room for, of each kind of dataset.
BRIEF = ("cg_f1", "pm_f1", "pm_f1@0.5", "il_mcc", "il_fpr", "ap", "j_and_f", "p_hota", "id_switches")


@dataclass(frozen=True)
class Score:
    """One score: value (None where undefined) and 95 % interval; a reference's, and the first minus that."""

    value: float | None
    interval: Interval
    reference: float | None = None
    reference_interval: Interval = None
    difference: float | None = None
    difference_interval: Interval = None


@dataclass(frozen=True)
class Stratum:
    """The scores by name over the cases that carry a tag."""

    tag: str
    cases: int
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Report:
    """A judgement of `results` on `dataset`; the stratum `all` comes first.

    `left_out`: cases whose truth is incomplete. `unasked`: objects that answer what no case asks.
    `bundle`: the hash of the bundle that was asked; None if the results are a file's.
    """

    dataset: str
    results: str
    reference: str | None
    strata: tuple[Stratum, ...]
    left_out: int = 0
    unasked: int = 0
    bundle: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, at full precision."""
        return asdict(self) | {"bootstrap": {"resamples": RESAMPLES, "seed": SEED, "level": 0.95}}

    def show(self) -> None:
        """Print it for people: all scores of all cases, then a line for each stratum."""
        first, *others = self.strata
        columns = ["score", "value", "95 % interval"]
        if self.reference is not None:
            columns += ["reference", "difference", "95 % interval"]
        rows = [line(name, score)[: len(columns)] for name, score in first.scores.items()]
        title = f"{self.results} on {self.dataset}: {first.tag}, {first.cases} cases"
        if self.reference is not None:
            title += f"; reference {self.reference}"
        console.table(title, columns, rows, out=True)
        if others:
            names = [name for name in BRIEF if name in first.scores]
            lines = [(s.tag, str(s.cases), *(number(s.scores[n].value) for n in names)) for s in others]
            console.table("By stratum", ("stratum", "cases", *names), lines, out=True)


def line(name: str, score: Score) -> list[str]:
    """One row of the table of scores."""
    shown = [name, number(score.value), span(score.interval), number(score.reference)]
    return [*shown, number(score.difference, sign=True), span(score.difference_interval, sign=True)]


def number(value: float | None, *, sign: bool = False) -> str:
    """Three digits behind the point, or a dash."""
    return "-" if value is None else f"{value:{'+' if sign else ''}.3f}"


def span(ends: Interval, *, sign: bool = False) -> str:
    return "-" if ends is None else " .. ".join(number(end, sign=sign) for end in ends)


def strata_of(cases: Sequence[PictureCase | ClipCase], tags: Sequence[str]) -> dict[str, list[int]]:
    """The places of the cases in each stratum: all, then the tags asked for, or every tag there is.

    Raises `UsageError` for a tag that no case carries.
    """
    known = sorted({tag for case in cases for tag in case.tags})
    for tag in tags:
        if tag not in known:
            raise UsageError(f"no case has the tag {tag!r:.80}: choose from {', '.join(known) or 'none'}")
    places = {tag: [i for i, case in enumerate(cases) if tag in case.tags] for tag in tags or known}
    return {ALL: list(range(len(cases))), **places}


def compare(
    judge: PictureJudge | ClipJudge,
    other: PictureJudge | ClipJudge | None,
    strata: Mapping[str, Sequence[int]],
) -> tuple[Stratum, ...]:
    """The scores of each stratum, with those of a reference's judge beside them."""
    made = []
    for tag, where in strata.items():
        mine, theirs = judge.score(where), other.score(where) if other is not None else {}
        scores = {name: score_of(sample, theirs.get(name)) for name, sample in mine.items()}
        made.append(Stratum(tag, len(where), scores))
    return tuple(made)


def score_of(mine: Sample, theirs: Sample | None) -> Score:
    """Value and interval; the difference is taken resample by resample."""
    ends = spread(mine)
    if theirs is None:
        return Score(known(mine.value), ends)
    difference = None
    if mine.resamples is not None and theirs.resamples is not None:
        difference = interval(mine.resamples - theirs.resamples)
    apart = known(mine.value - theirs.value)
    return Score(known(mine.value), ends, known(theirs.value), spread(theirs), apart, difference)


def spread(sample: Sample) -> Interval:
    return None if sample.resamples is None else interval(sample.resamples)


def known(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if np.isfinite(value) else None
