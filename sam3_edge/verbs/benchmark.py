"""Verb `benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge.errors import UsageError
from sam3_edge.verbs.options import COUNT, FOLDER, as_json, overwrite

MODES = ("frame", "component", "cold", "sustained")
FORMATS = ("table", "md", "csv", "json")


@click.command("benchmark")
@click.argument("bundle", type=FOLDER, required=False)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="frame",
    show_default=True,
    help="frame: camera frame in, masks out. component: each graph waited for. cold: fresh processes. "
    "sustained: ten minutes.",
)
@click.option("--quick", is_flag=True, help="A short look: 128 frames, at most two minutes each.")
@click.option(
    "--objects", metavar="N,...|found", help="How many objects to follow, run by run. Default: 1,5,10."
)
@click.option("--prompt", "phrases", multiple=True, help="A phrase to look for, objects as they are found.")
@click.option("--source", type=FOLDER, help="A video or a folder of pictures. Default: a generated clip.")
@click.option("--size", metavar="WxH", help="Of the generated clip's frames. Default: 1280x720.")
@click.option(
    "--live", type=click.FloatRange(0, min_open=True), metavar="FPS", help="A camera that drops frames."
)
@click.option("--frames", type=COUNT, help="At least so many frames. Default: 1024.")
@click.option("--min-duration", "seconds", type=click.FloatRange(0), help="At least so many seconds.")
@click.option("--warmup", type=COUNT, help="Exactly so many frames. Default: until steady, 100 at most.")
@click.option("--processes", type=COUNT, help="Of mode cold. Default: 5.")
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option("--device", help="cpu, cuda or trt, for an onnx bundle.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="On stdout."
)
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    help="Folder for report.json, report.html and row.md. Default: benchmark-MODE.",
)
@overwrite
@as_json
def command(
    bundle: Path | None,
    form: str,
    objects: str | None,
    size: str | None,
    output: Path | None,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Measure BUNDLE (default: the built-in model) on this machine, and report.

    Exit code 0 whatever the numbers are: what speaks against them is in the report's warnings.
    """
    from sam3_edge.builtin import builtin_bundle
    from sam3_edge.timing import output as outputs
    from sam3_edge.timing.report import benchmark
    from sam3_edge.timing.running import Plan

    plan = Plan(bundle or builtin_bundle(), objects=parse_objects(objects), size=parse_size(size), **options)
    folder = output or Path(f"benchmark-{plan.mode}")
    outputs.refuse(folder, overwrite=overwrite)
    document = benchmark(plan)
    outputs.write(document, folder, overwrite=overwrite)
    outputs.tell(document, "json" if json_ else form)


def parse_objects(text: str | None) -> tuple[int | None, ...] | None:
    """`1,5,10`, or `found`. Raises `UsageError` for anything else."""
    if text is None:
        return None
    words = text.split(",")
    if words == ["found"]:
        return (None,)
    if not all(word.isdecimal() and int(word) for word in words):
        raise UsageError(f"--objects {text}: want numbers above 0 such as 1,5,10, or found")
    return tuple(int(word) for word in words)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`1280x720` as (720, 1280). Raises `UsageError` for anything else."""
    if text is None:
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"--size {text}: want WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(height), int(width)
