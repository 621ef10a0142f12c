"""A recipe from its start, or from where it was stopped, to its student, in one process or several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sam3_edge import console

from .distillation import Distillation
from .distillation_log import LOG, plot
from .distillation_recipe import Recipe
from .processes import rank, speaks, together


def distil(recipe: Recipe) -> dict[str, Any]:
    """Run all passes; the report names the student and what each pass reached."""
    together(work, recipe, processes=recipe.processes, device=recipe.device)
    folder = Path(recipe.folder)
    if speaks():
        (folder / "curve.svg").write_text(plot((folder / LOG).read_text()))
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def work(recipe: Recipe) -> None:
    """One process's part; the first shows how far it is, and writes the report."""
    run = Distillation(recipe)
    run.resume()
    if rank() > 0:
        run.run()
        return
    done = sum(it.steps for it in recipe.passes[: run.place]) + run.step
    with console.progress("distill", recipe.steps) as advance:
        if done:
            advance(done)
        run.run(lambda: advance(1))
    passes = [json.loads((run.folder / f"pass_{n + 1}.json").read_text()) for n in range(len(recipe.passes))]
    report = {"student": str(run.folder / "student.safetensors"), "passes": passes}
    (run.folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
