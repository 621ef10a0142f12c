"""What the students' scores say about the ways they were made: means, claims that hold or not, a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .markdown import table

RETAINED, MCC_DROP, DEVIATIONS = 0.85, 0.05, 2.0
SHOWN = (("pictures", "cg_f1"), ("pictures", "il_mcc"), ("pictures", "pm_f1"), ("clips", "j_and_f"))
WIDTH, HEIGHT, MARGIN = 640, 300, 50

Run = Mapping[str, Any]


def values(runs: Sequence[Run], arm: str, kind: str, name: str) -> list[float]:
    """A score of all students of an arm that were asked; an undefined one counts as 0."""
    return [float(run[kind][name]["value"] or 0) for run in runs if run["arm"] == arm and kind in run]


def summary(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over the seeds, by arm and score."""
    made: dict[str, dict[str, float]] = {}
    for arm in dict.fromkeys(run["arm"] for run in runs):
        row = made[arm] = {}
        for kind, name in SHOWN:
            if found := values(runs, arm, kind, name):
                row[name] = round(float(np.mean(found)), 4)
                row[f"{name} sd"] = round(deviation(found), 4)
    return made


def deviation(found: Sequence[float]) -> float:
    """Over seeds; 0 of a single one."""
    return float(np.std(found, ddof=1)) if len(found) > 1 else 0.0


def claims(teacher: Run, runs: Sequence[Run], seeds: int) -> list[dict[str, Any]]:
    """What was to be shown, each with what was found; nothing holds before all seeds are there."""
    made = [better(runs, seeds)]
    for kind, name in (("pictures", "cg_f1"), ("clips", "j_and_f")):
        found = values(runs, "P1+P3", kind, name)
        share = float(np.mean(found)) / teacher[kind][name]["value"] if found and kind in teacher else None
        made.append(
            {
                "claim": f"P1+P3 keeps {RETAINED:.0%} of the teacher's {name}",
                "value": None if share is None else round(share, 4),
                "holds": share is not None and share >= RETAINED and len(found) == seeds,
            }
        )
    found = values(runs, "P1+P3", "pictures", "il_mcc")
    drop = teacher["pictures"]["il_mcc"]["value"] - float(np.mean(found)) if found else None
    made.append(
        {
            "claim": f"P1+P3 loses at most {MCC_DROP} of il_mcc",
            "value": None if drop is None else round(drop, 4),
            "holds": drop is not None and drop <= MCC_DROP and len(found) == seeds,
        }
    )
    return made


def better(runs: Sequence[Run], seeds: int) -> dict[str, Any]:
    """Whether both passes beat features alone, in standard deviations of a student."""
    both, features = (values(runs, arm, "pictures", "cg_f1") for arm in ("P1+P3", "P1"))
    whole = len(both) == len(features) == seeds > 1
    spread = float(np.sqrt((deviation(both) ** 2 + deviation(features) ** 2) / 2))
    apart = float(np.mean(both) - np.mean(features)) / max(spread, 1e-9) if whole else None
    return {
        "claim": f"P1+P3 beats P1 by more than {DEVIATIONS:g} standard deviations of cg_f1",
        "value": None if apart is None else round(apart, 2),
        "holds": apart is not None and apart > DEVIATIONS,
    }


HEAD = ("way", "seeds", "cgF1, frozen pictures", "IL_MCC", "pmF1", "J&F, frozen clips")


def markdown(document: Mapping[str, Any]) -> str:
    """The table for a page: means over seeds, with their standard deviations."""
    teacher = [
        document["teacher"][kind][name]["value"] for kind, name in SHOWN if kind in document["teacher"]
    ]
    rows = [("teacher", "", *(f"{value:.3f}" for value in teacher))]
    for arm, means in document["arms"].items():
        count = sum(run["arm"] == arm for run in document["runs"])
        told = [f"{means[n]:.3f} ({means[f'{n} sd']:.3f})" for _, n in SHOWN if n in means]
        rows.append((arm, str(count), *told))
    return table(HEAD, rows)


def plot(teacher: Run, runs: Sequence[Run]) -> str:
    """An SVG: cgF1 of every student, by arm, under the teacher's."""
    arms = list(dict.fromkeys(run["arm"] for run in runs))
    top = float(teacher["pictures"]["cg_f1"]["value"])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for share, label in ((0.0, "0"), (RETAINED, f"{RETAINED:.0%}"), (1.0, f"teacher, cgF1 {top:.3f}")):
        y = height_of(share)
        line = f'<path d="M{MARGIN},{y:.1f}H{WIDTH - MARGIN}" stroke="#999" stroke-dasharray="4 3"/>'
        parts.append(f'{line}<text x="{MARGIN}" y="{y - 4:.1f}" fill="#555">{label}</text>')
    for place, arm in enumerate(arms):
        x = MARGIN + (WIDTH - 2 * MARGIN) * (place + 1) / (len(arms) + 1)
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - 18}" text-anchor="middle">{arm}</text>')
        for value in values(runs, arm, "pictures", "cg_f1"):
            parts.append(f'<circle cx="{x:.0f}" cy="{height_of(value / top):.1f}" r="4" fill="#2471a3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def height_of(share: float) -> float:
    """Where a share of the teacher's score is drawn."""
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share
