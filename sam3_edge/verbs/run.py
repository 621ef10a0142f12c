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
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Objects score above it."
)
@click.option("--polygons", is_flag=True, help="Corners instead of run lengths in the COCO document.")
@click.option("--threads", type=COUNT, help="Processor threads.")
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
    json_: bool,
    **options: Any,
) -> None:
    """Find every object of a concept in PICTURES; write overlays and results.json (COCO)."""
    from sam3_edge import console, load
    from sam3_edge import run as runs

    concepts = runs.concepts_of(prompt, box)
    found = runs.find_pictures(pictures)
    threads = options.pop("threads")
    with load(bundle, threads=threads) as segmenter, console.progress("run", len(found)) as advance:
        for lost in segmenter.phrases.truncated(concept.text for concept in concepts):
            console.note(f"warning: {lost}")
        outcomes = runs.run_pictures(segmenter, found, concepts, advance=advance, **options)
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
