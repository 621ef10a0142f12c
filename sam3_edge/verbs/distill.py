"""Verb `distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge import registry
from sam3_edge.verbs.options import FOLDER, as_json


@click.command("distill")
@click.option("--config", "path", type=FOLDER, required=True, help="The recipe, a TOML file.")
@click.option("--dry-run", is_flag=True, help="Print what it would cost, timed on a few steps, and stop.")
@as_json
def command(path: Path, dry_run: bool, json_: bool) -> None:
    """Teach a smaller trunk to serve a teacher's heads, as a recipe says; goes on where it was stopped."""
    from sam3_edge import console

    recipe = registry.load_module("export", "distillation_recipe").read_recipe(path)
    if dry_run:
        console.emit(registry.load_module("export", "distillation_cost").estimate(recipe))
        return
    report = registry.load_module("export", "distillation_run").distil(recipe)
    if not registry.load_module("export", "processes").speaks():
        return
    show(report)
    if json_:
        console.emit(report)
    else:
        click.echo(report["student"])


def show(report: dict[str, Any]) -> None:
    """What each pass reached."""
    from sam3_edge import console

    columns = ("pass", "cosine", "f1", "presence", "bias")
    rows = [[f"{row[c]:.3f}" if c != "pass" else row[c] for c in columns] for row in report["passes"]]
    console.table("Beside the teacher, on pictures of no batch", columns, rows)
