"""Verb `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge.verbs.options import COUNT, FOLDER, as_json, overwrite
from sam3_edge.verbs.video import ONLY_VIDEO, video_options

ONLY_PICTURES = {"polygons": "--polygons"}


@click.command("run")
@click.argument("sources", nargs=-1, required=True, type=FOLDER)
@click.option("--bundle", type=FOLDER, help="Default: the built-in model.")
@click.option("--prompt", multiple=True, help="A phrase to look for; may be repeated.")
@click.option(
    "--box",
    multiple=True,
    help="Exemplar x0,y0,x1,y1[:neg] in pixels, on a video FRAME:x0,y0,x1,y1[:neg]; may be repeated.",
)
@click.option(
    "--point",
    multiple=True,
    help="A click x,y[:neg] on the one object to cut out; on a video FRAME:x,y[:neg][@ID], an object to "
    "follow, or a correction of object ID.",
)
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
@video_options
@as_json
def command(sources: tuple[Path, ...], **options: Any) -> None:
    """Find every object of a concept in SOURCES.

    Pictures, and folders of them: overlays and results.json (COCO). A video, - for one on standard input, or
    with --video a folder of frames: every object with its identity, in results.jsonl, masks and an overlay.
    """
    from sam3_edge import run as runs
    from sam3_edge.errors import UsageError
    from sam3_edge.verbs import video

    moving = options.pop("video") or runs.is_video(sources)
    strange = ONLY_PICTURES if moving else ONLY_VIDEO
    if wrong := [flag for name, flag in strange.items() if is_given(options[name])]:
        kind = "pictures" if moving else "videos: name one, or pass --video for a folder of frames"
        raise UsageError(f"{wrong[0]} is for {kind}")
    if moving:
        video.run(sources, **{name: value for name, value in options.items() if name not in ONLY_PICTURES})
    else:
        pictures(sources, **{name: value for name, value in options.items() if name not in ONLY_VIDEO})


def is_given(value: object) -> bool:
    """Whether an option was set on the command line."""
    return value is not None and value is not False and value != ()


def pictures(
    sources: tuple[Path, ...],
    *,
    bundle: Path | None,
    prompt: tuple[str, ...],
    box: tuple[str, ...],
    point: tuple[str, ...],
    json_: bool,
    **options: Any,
) -> None:
    """Overlays of every picture and one COCO document."""
    from sam3_edge import console, load
    from sam3_edge import run as runs

    wanted = runs.wanted_of(prompt, box, point)
    found = runs.find_pictures(sources)
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
