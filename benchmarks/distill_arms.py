"""What each pass of a distillation is worth: `python -m sam3_edge.benchmarks.distill_arms --help`.

The built-in model teaches the `toy` student, 23 % of its trunk's multiplications, in three ways with as many
steps: features alone (P1), outputs alone (P3), half of them features and half outputs beside features
(P1+P3). Each pass takes the best of the same rates, chosen by its own losses on a seed that is judged by
nothing. Then every way is taken with every seed, and each student is asked the frozen questions. Stop it at
any time; called again it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console, registry
from sam3_edge.judge import frozen_clips, frozen_pictures
from sam3_edge.verbs.options import COUNT
from sam3_edge.writing import write_file

from .distill_claims import claims, plot, summary
from .distill_scores import CLIPS, PICTURES, scores_of_student, scores_of_teacher, teacher_hash
from .distill_trunks import write_teacher, write_trunk
from .document import errors_told, write_document
from .machine import facts


@dataclass(frozen=True)
class Stage:
    """What a pass learns, and how much features count beside outputs."""

    kind: str
    anchor: float = 0.0


AFTER = "outputs after features"
STAGES = {"features": Stage("features"), "outputs": Stage("outputs"), AFTER: Stage("outputs", anchor=10.0)}
ARMS = {"P1": ("features",), "P3": ("outputs",), "P1+P3": ("features", AFTER)}
RATES = (1e-3, 3e-3, 1e-2)
POOL = 3000  # pictures
TUNING_SEED = 99
EVERY = 25  # steps that a line of the committed log sums up


@dataclass(frozen=True)
class Plan:
    """How much of it: `tuning` steps for each rate, frozen `pictures` and `clips` that students are asked."""

    arms: tuple[str, ...]
    steps: int
    tuning: int
    seeds: int
    pictures: int
    clips: int


def recipe_of(folder: Path, rates: Mapping[str, float], steps: int, seed: int, start: str = "") -> Any:
    """One distillation of the stages of `rates`, which share the steps; `start`: a student to go on from."""
    parts, few = registry.load_module("export", "distillation_recipe"), steps // len(rates)
    passes = tuple(
        parts.Pass(STAGES[stage].kind, few, rate, 4, 2, 1, anchor=STAGES[stage].anchor)
        for stage, rate in rates.items()
    )
    data = parts.Data(photographs=True, pool=POOL, cache=str(folder.parent / "teacher"))
    trunk = parts.Trunk("toy", weights=start)
    return parts.Recipe(str(folder), trunk, passes, data=data, seed=seed, save_every=50)


def distil(recipe: Any) -> Path:
    """To its end, from where it was stopped; returns its folder."""
    registry.load_module("export", "distillation_run").distil(recipe)
    return Path(recipe.folder)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The log of a run, a row for each step."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def last_loss(folder: Path, stage: Stage) -> float:
    """The weighted loss over the last quarter of the steps: all rates see the same pictures there."""
    rows = rows_of(folder)
    weights = registry.load_module("export", "distillation_losses").weights_of(stage.kind, stage.anchor)
    totals = [sum(weights[name] * row[name] for name in weights.keys() & row.keys()) for row in rows]
    return float(np.mean(totals[-max(1, len(totals) // 4) :]))


def tune(folder: Path, plan: Plan) -> dict[str, dict[str, float]]:
    """The last loss by what is tuned and rate."""
    found: dict[str, dict[str, float]] = {}
    for name, stage in STAGES.items():
        start = ""
        if name == AFTER:  # of a student that has had its steps of features
            own = {"features": best_rates(found)["features"]}
            half = distil(recipe_of(folder / "tuning_half", own, plan.steps // 2, TUNING_SEED))
            start = str(half / "student.safetensors")
        for rate in RATES:
            place = folder / f"tuning_{name.replace(' ', '_')}_{rate:g}"
            made = distil(recipe_of(place, {name: rate}, plan.tuning, TUNING_SEED, start))
            found.setdefault(name, {})[f"{rate:g}"] = round(last_loss(made, stage), 4)
    return found


def best_rates(tuned: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The rate with the least loss, by stage."""
    return {name: float(min(losses, key=losses.__getitem__)) for name, losses in tuned.items()}


def thinned(folder: Path) -> list[dict[str, Any]]:
    """The log as means over `EVERY` steps of one pass."""
    rows, made = rows_of(folder), []
    for kind in dict.fromkeys(row["pass"] for row in rows):
        own = [row for row in rows if row["pass"] == kind]
        for group in (own[i : i + EVERY] for i in range(0, len(own), EVERY)):
            means = {
                n: float(np.mean([row[n] for row in group])) for n in group[0] if n not in ("step", "pass")
            }
            made.append(
                {"step": group[-1]["step"], "pass": kind, **{n: round(v, 5) for n, v in means.items()}}
            )
    return made


def document_of(
    plan: Plan, tuned: Mapping[str, Any], teacher: Mapping[str, Any], runs: list[dict[str, Any]]
) -> dict[str, Any]:
    """Everything that was measured until now, and what follows from it."""
    return {
        "what": "three ways of distilling with equal steps, judged on frozen pictures and clips",
        "plan": asdict(plan),
        "teacher_sha256": teacher_hash(),
        PICTURES: {"hash": frozen_pictures.HASH, "count": plan.pictures},
        CLIPS: {"hash": frozen_clips.HASH, "count": plan.clips},
        "machine": facts("torch", "numpy"),
        "losses_by_rate": tuned,
        "rates": best_rates(tuned),
        "teacher": teacher,
        "runs": runs,
        "arms": summary(runs),
        "claims": claims(teacher, runs, plan.seeds),
    }


def write_all(output: Path, document: dict[str, Any], folder: Path) -> None:
    """The JSON, and beside it the students' logs and the plot, and a folder of their trunks and teacher."""
    for run in document["runs"]:
        name = f"{run['arm']}_{run['seed']}"
        place = output.with_suffix("") / f"{name}.safetensors"
        run["trunk_sha256"] = write_trunk(folder / name / "student.safetensors", place)
    write_teacher(output.with_suffix(""))
    write_document(output, document)
    lines = [
        json.dumps({"arm": run["arm"], "seed": run["seed"], **row})
        for run in document["runs"]
        for row in thinned(folder / f"{run['arm']}_{run['seed']}")
    ]
    write_file(output.with_suffix(".log"), ("\n".join(lines) + "\n").encode(), overwrite=True)
    write_file(
        output.with_suffix(".svg"), plot(document["teacher"], document["runs"]).encode(), overwrite=True
    )


def measure(folder: Path, plan: Plan, output: Path) -> dict[str, Any]:
    """All of the plan; what is known is written after each student."""
    tuned = tune(folder, plan)
    rates, teacher = best_rates(tuned), scores_of_teacher(folder, PICTURES, plan.pictures)
    runs: list[dict[str, Any]] = []
    document: dict[str, Any] = {}
    for seed in range(plan.seeds):
        for arm in plan.arms:
            own = {stage: rates[stage] for stage in ARMS[arm]}
            made = distil(recipe_of(folder / f"{arm}_{seed}", own, plan.steps, seed))
            passes = json.loads((made / "report.json").read_text())["passes"]
            scores = scores_of_student(made, PICTURES, plan.pictures)
            runs.append({"arm": arm, "seed": seed, "passes": passes, PICTURES: scores})
            document = document_of(plan, tuned, teacher, runs)
            write_all(output, document, folder)
    if plan.clips:
        teacher[CLIPS] = scores_of_teacher(folder, CLIPS, plan.clips)[CLIPS]
        for run in runs:
            run[CLIPS] = scores_of_student(folder / f"{run['arm']}_{run['seed']}", CLIPS, plan.clips)
            document = document_of(plan, tuned, teacher, runs)
            write_all(output, document, folder)
    return document


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the students go.")
@click.option(
    "--arm", "arms", type=click.Choice(list(ARMS)), multiple=True, default=list(ARMS), show_default=True
)
@click.option("--steps", type=COUNT, default=600, show_default=True, help="Of each student, all passes.")
@click.option("--tuning", type=COUNT, default=200, show_default=True, help="Steps for each rate.")
@click.option("--seeds", type=COUNT, default=3, show_default=True)
@click.option("--pictures", type=COUNT, default=frozen_pictures.PICTURES, show_default=True)
@click.option("--clips", type=click.IntRange(0), default=16, show_default=True, help="Of the 64 frozen ones.")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="JSON; log, plot, trunks beside it."
)
def main(folder: Path, output: Path, **options: Any) -> None:
    """Distil by features, by outputs and by both, and judge all students on the frozen sets."""
    with errors_told():
        document = measure(folder, Plan(**options), output)
    rows = [[name, *(f"{value:.3f}" for value in arm.values())] for name, arm in document["arms"].items()]
    names = list(next(iter(document["arms"].values())))
    console.table("Means and standard deviations", ["arm", *names], rows, out=True)
    for claim in document["claims"]:
        click.echo(f"{'holds' if claim['holds'] else 'does not hold'}: {claim['claim']} ({claim['value']})")


if __name__ == "__main__":
    main()
