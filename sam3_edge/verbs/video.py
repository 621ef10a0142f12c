"""`run` on videos: its options, and what it does with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sam3_edge.verbs.options import COUNT

KINDS = ("json", "masks", "video")
OPTIONS = (
    click.option("--video", is_flag=True, help="Take a folder of pictures, or any file, as one video."),
    click.option(
        "--save", help=f"Of {','.join(KINDS)}; results.jsonl is always written.  [default: json,video]"
    ),
    click.option("--max-objects", type=COUNT, help="At most so many at a time.  [default: 64]"),
    click.option(
        "--detect-every", type=COUNT, help="Look for phrases on every n-th frame only.  [default: 1]"
    ),
    click.option("--stride", type=COUNT, help="Take every n-th frame.  [default: 1]"),
    click.option(
        "--start", type=click.IntRange(min=0), help="The first frame, counted from 0.  [default: 0]"
    ),
    click.option("--end", type=COUNT, help="The frame to stop before.  [default: none]"),
    click.option("--backward", is_flag=True, help="Also back in time from the first frame drawn on."),
    click.option("--live", is_flag=True, help="Tell objects at once, and take some back later."),
    click.option("--size", help="WIDTHxHEIGHT of raw RGB frames on standard input."),
    click.option("--fps", type=float, help="Frames a second, for sources that do not tell."),
    click.option("--resume", is_flag=True, help="Go on with a run that was interrupted."),
)
ONLY_VIDEO = {
    name.replace("-", "_"): f"--{name}"
    for name in (
        *("save", "max-objects", "detect-every", "stride", "start"),
        *("end", "backward", "live", "size", "fps", "resume"),
    )
}


def video_options(command: Callable[..., None]) -> Callable[..., None]:
    """All options that only videos have."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def run(
    sources: tuple[Path, ...],
    *,
    bundle: Path | None,
    threshold: float,
    threads: int | None,
    device: str | None,
    size: str | None,
    fps: float | None,
    max_objects: int | None,
    detect_every: int | None,
    json_: bool,
    **options: Any,
) -> None:
    """One video into one folder."""
    from sam3_edge import builtin_bundle, console, load
    from sam3_edge.bundle import Bundle
    from sam3_edge.errors import UsageError
    from sam3_edge.loop.settings import Settings
    from sam3_edge.video.reading import open_video
    from sam3_edge.video.running import run_video

    if len(sources) > 1:
        raise UsageError(f"{len(sources)} videos: run one at a time, each into its own -o")
    settings = Settings(detection=threshold, max_objects=max_objects or 64, detect_every=detect_every or 1)
    opened = Bundle.open(bundle or builtin_bundle())
    plan = plan_of(opened.hash, settings, **options)
    video = open_video(sources[0], size=size_of(size), fps=fps, note=warn)
    total = None if video.count is None else plan.span.count(video.count)
    if total is not None and plan.backward and plan.ask.frames:
        total += plan.span.count(plan.ask.frames[0])
    with load(opened.path, threads=threads, device=device) as model:
        for lost in model.phrases.truncated(plan.ask.phrases):
            warn(lost)
        with console.progress("run", total, unit="frames") as advance:
            summary = run_video(model, video, plan, advance=advance)
    if left := summary["without_colour"]:
        warn(f"{left} objects have ids above 253 and no colour in the masks: they are in results.jsonl")
    if json_:
        console.emit(summary)
    else:
        show(summary, plan.output)


def plan_of(
    bundle: str,
    settings: Any,
    *,
    prompt: tuple[str, ...],
    box: tuple[str, ...],
    point: tuple[str, ...],
    save: str | None,
    start: int | None,
    end: int | None,
    stride: int | None,
    **options: Any,
) -> Any:
    """The plan that the command line describes."""
    from sam3_edge.errors import UsageError
    from sam3_edge.video.asking import parse_ask
    from sam3_edge.video.frames import Span
    from sam3_edge.video.running import Plan

    kinds = [kind.strip() for kind in (save or "json,video").split(",")]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"--save {unknown[0]!r}: choose from {', '.join(KINDS)}")
    if options["overwrite"] and options["resume"]:
        raise UsageError("--overwrite and --resume: one begins anew, the other goes on; give one of them")
    span = Span(start or 0, end, stride or 1)
    ask = parse_ask(prompt, box, point, first=span.start)
    return Plan(bundle=bundle, ask=ask, span=span, settings=settings, save=frozenset(kinds), **options)


def size_of(text: str | None) -> tuple[int, int] | None:
    """Height and width from `WIDTHxHEIGHT`."""
    from sam3_edge.errors import UsageError
    from sam3_edge.picture import MOST_PIXELS

    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) * int(height) <= MOST_PIXELS):
        raise UsageError(f"--size {text!r}: want WIDTHxHEIGHT in pixels, such as 640x480")
    return int(height), int(width)


def warn(text: str) -> None:
    """A remark that is no error."""
    from sam3_edge import console

    console.note(f"warning: {text}")


def show(summary: dict[str, Any], output: Path) -> None:
    """What people read: how much, how fast, and where it is."""
    counts = ", ".join(f"{count} x {name:.80}" for name, count in summary["objects"].items()) or "no object"
    click.echo(f"{summary['frames']} frames, {summary['seconds']:.1f} s: {counts}")
    for name in ("results.jsonl", "masks", "overlay.mp4", "run.json"):
        if (output / name).exists():
            click.echo(output / name)
