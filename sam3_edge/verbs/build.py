"""Verb `build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge import registry
from sam3_edge.errors import UsageError
from sam3_edge.verbs.options import FOLDER, as_json


@click.command("build")
@click.argument("bundle", type=FOLDER)
@click.option("--overwrite", is_flag=True, help="Build again, whatever is in the cache.")
@as_json
def command(bundle: Path, overwrite: bool, json_: bool) -> None:
    """Build BUNDLE's engines for this machine, and keep them only if they answer as the model does."""
    from sam3_edge import bundle as bundles
    from sam3_edge import console

    opened = bundles.Bundle.open(bundle)
    runtime = registry.load("runtime", opened.target)
    if not hasattr(runtime, "make_engines"):
        raise UsageError(f"target {opened.target} has no engines to build: run the bundle as it is")
    with console.status("build") as say:
        built = runtime.make_engines(opened, overwrite=overwrite, say=say)
    show(built.verdict["rungs"])
    sizes = {name: len(data) for name, data in built.engines.items()}
    if json_:
        facts = {"bundle": str(bundle), "hash": opened.hash, "rung": built.rung, "engines": sizes}
        console.emit({**facts, **built.verdict})
    else:
        click.echo(built.rung)


def show(rungs: list[dict[str, Any]]) -> None:
    """How every rung was judged, and what it costs beside the first."""
    from sam3_edge import console

    first, rows = next((rung["seconds"] for rung in rungs if rung["seconds"]), 0.0), []
    for rung in rungs:
        ious = [least(rung.get(name)) for name in ("answers", "clip")]
        cost = f"{rung['seconds'] / first:.2f}" if first and rung["seconds"] else "-"
        verdict = "passed" if rung["passed"] else rung["error"] or "wrong answers"
        rows.append((rung["rung"], verdict, *ious, cost, f"{rung['bytes'] / 1e6:.1f}"))
    columns = ("rung", "verdict", "worst mask IoU", "in the clip", "time beside the first", "MB")
    console.table("Engines", columns, rows)


def least(answers: dict[str, Any] | None) -> str:
    """The worst mask IoU, in words."""
    return "-" if answers is None or answers["min_iou"] is None else f"{answers['min_iou']:.4f}"
