"""Verb `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3_edge.verbs.export import export_job, show_export
from sam3_edge.verbs.options import FOLDER

if TYPE_CHECKING:
    from sam3_edge.demo_clip import Followed


@click.command("demo")
@click.option(
    "--run-only", is_flag=True, help="Do not export: use the bundle that is installed. Needs no torch."
)
@click.option(
    "-o", "--output", type=FOLDER, default=Path("demo"), show_default=True, help="Folder of the results."
)
def command(run_only: bool, output: Path) -> None:
    """Export the built-in model, prove it, let it find shapes by phrase and by example, and follow some.

    Leaves a contact sheet, an animation, and with OpenCV a video that can be asked again.
    """
    from PIL import Image

    from sam3_edge import console, load
    from sam3_edge.builtin import builtin_bundle
    from sam3_edge.demo import ask_all, contact_sheet
    from sam3_edge.demo_clip import follow_clip
    from sam3_edge.overlay import png
    from sam3_edge.writing import write_file

    bundle = builtin_bundle()
    if not run_only:
        show_export(export_job(output / "shapes-onnx", target="onnx", overwrite=True))
        bundle = output / "shapes-onnx"
    with load(bundle) as segmenter:
        answers = ask_all(segmenter)
        followed = follow_clip(segmenter)
    rows = [
        (a.caption, f"{a.found.presence:.2f}", " ".join(f"{s:.2f}" for s in a.found.scores)) for a in answers
    ]
    console.table(
        "Asked of three generated pictures", ("question: right of wanted", "presence", "scores"), rows
    )
    sheet = write_file(output / "contact_sheet.png", png(contact_sheet(answers)), overwrite=True)
    first = answers[0]
    picture = write_file(output / "picture.png", png(Image.fromarray(first.picture)), overwrite=True)
    phrase = first.found.concept
    made = [sheet, *show_clip(followed, output)]
    console.note("Next:")
    name = "" if run_only else f" --bundle {bundle}"
    console.note(f"  sam3-edge run {picture} --prompt '{phrase}' -o {output / 'results'}{name}")
    console.note("  sam3-edge doctor --selftest")
    console.note(
        "  sam3-edge export --checkpoint facebook/sam3 --target onnx   # needs access, see the README"
    )
    for path in made:
        click.echo(path)


def show_clip(followed: Followed, output: Path) -> list[Path]:
    """Say how the clip was followed; the animation of it, and the video where OpenCV can write one."""
    from sam3_edge import console
    from sam3_edge.demo_clip import film, gif
    from sam3_edge.errors import BackendError
    from sam3_edge.writing import write_file

    console.note(f"Followed through {len(followed.frames)} frames: {followed.caption}")
    images = list(followed.drawn())
    made = [write_file(output / "clip.gif", gif(images), overwrite=True)]
    try:
        made += film(images, output / "clip.overlay.mp4"), film(followed.frames, output / "clip.mp4")
    except BackendError as error:
        console.note(f"No clip.mp4: {error}")
    return made
