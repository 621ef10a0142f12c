"""Verb `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge.verbs.options import COUNT, FOLDER, as_json, overwrite


@click.command("run")
@click.argument("pictures", nargs=-1, required=True, type=FOLDER)
@click.option("--bundle", type=FOLDER, help="Default: the built-in model.")
@click.option("--prompt", multiple=True, help="A phrase to look for; may be repeated.")
@click.option("--box", multiple=True, help="Exemplar x0,y0,x1,y1[:neg] in pixels; may be repeated.")
@click.option("--point", multiple=True, help="A click x,y[:neg] in pixels on the one object to cut out.")
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Objects score above it."
)
@click.option("--polygons", is_flag=True, help="Corners instead of run lengths in the COCO document.")
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option("--device", help="cpu, cuda or trt, for an onnx bundle: never another one than asked for.")
@click.option(
    "-o", "--output", type=FOLDER, default=Path("results"), show_default=True, help="Folder of the results."
)
@overwrite
@as_json
def command(
    pictures: tuple[Path, ...],
    bundle: Path | None,
    prompt: tuple[str, ...],
    box: tuple[str, ...],
    point: tuple[str, ...],
    json_: bool,
    **options: Any,
) -> None:
    """Find every object of a concept in PICTURES, or the one that is pointed at.

    Writes an overlay of each picture, and results.json (COCO) of all.
    """
    from sam3_edge import console, load
    from sam3_edge import run as runs

    wanted = runs.wanted_of(prompt, box, point)
    found = runs.find_pictures(pictures)
    where = {name: options.pop(name) for name in ("threads", "device")}
    with load(bundle, **where) as segmenter, console.progress("run", len(found)) as advance:
        for lost in segmenter.phrases.truncated(prompt):
            console.note(f"warning: {lost}")
        outcomes = runs.run_pictures(segmenter, found, wanted, advance=advance, **options)
    if json_:
        console.emit(
            {"results": str(options["output"] / runs.RESULTS), "pictures": [o.to_json() for o in outcomes]}
        )
    else:
        runs.show(outcomes, options["output"])
    if bad := list(runs.failures(outcomes)):
        for error in bad[1:]:
            console.note(f"error: {error}")
        raise bad[0]
