"""Verb `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge.verbs.camera import ONLY_CAMERA, camera_options
from sam3_edge.verbs.options import COUNT, FOLDER, as_json, overwrite
from sam3_edge.verbs.video import ONLY_VIDEO, video_options

ONLY_PICTURES = {"polygons": "--polygons"}
BOTH_MOVING = ("save", "max_objects", "detect_every", "size", "fps", "live")  # of videos and of live sources
DRAWN = {"box": "--box", "point": "--point", "overwrite": "--overwrite"}
ONLY_FILES = {name: flag for name, flag in ONLY_VIDEO.items() if name not in BOTH_MOVING}


@click.command("run")
@click.argument("sources", nargs=-1, required=True)
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
@camera_options
@as_json
def command(sources: tuple[str, ...], **options: Any) -> None:
    """Find every object of a concept in SOURCES.

    Pictures, and folders of them: overlays and results.json (COCO). A video, - for one on standard input, or
    with --video a folder of frames: every object with its identity, in results.jsonl, masks and an overlay.
    Cameras (csi://0, /dev/video0, rtsp://..., http://...), or with --view anything that moves: live, until it
    is stopped.
    """
    from sam3_edge import run as runs
    from sam3_edge.camera.address import is_address
    from sam3_edge.verbs import camera, video

    paths = tuple(map(Path, sources))
    if options["view"] is not None or any(map(is_address, sources)):
        options.pop("video")
        camera.run(
            sources, **allowed(options, ONLY_PICTURES | ONLY_FILES | DRAWN, "files, not for live runs")
        )
    elif options.pop("video") or runs.is_video(paths):
        rest = allowed(options, ONLY_CAMERA, "live runs: name a camera, or pass --view")
        video.run(paths, **allowed(rest, ONLY_PICTURES, "pictures"))
    else:
        rest = allowed(options, ONLY_CAMERA, "live runs: name a camera, or pass --view")
        pictures(
            paths, **allowed(rest, ONLY_VIDEO, "videos: name one, or pass --video for a folder of frames")
        )


def allowed(options: dict[str, Any], others: dict[str, str], kind: str) -> dict[str, Any]:
    """The options without those of other kinds of sources. Raises `UsageError` if one of them was given."""
    from sam3_edge.errors import UsageError

    if wrong := [flag for name, flag in others.items() if is_given(options[name])]:
        raise UsageError(f"{wrong[0]} is for {kind}")
    return {name: value for name, value in options.items() if name not in others}


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
