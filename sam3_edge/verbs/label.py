"""Verb `label`."""

from __future__ import annotations

from pathlib import Path

import click

from sam3_edge.verbs.options import COUNT, FOLDER, as_json, overwrite


@click.command("label")
@click.argument("sources", nargs=-1, required=True, type=FOLDER)
@click.option("--phrases", type=FOLDER, required=True, help="A text file, a phrase per line.")
@click.option("--bundle", type=FOLDER, help="The teacher. Default: the built-in model.")
@click.option(
    "--margin", default=0.15, show_default=True, help="How far every score must be from the threshold 0.5."
)
@click.option(
    "--absence", default=0.3, show_default=True, help="The same where a phrase is to count as absent."
)
@click.option(
    "--agreement", default=0.75, show_default=True, help="IoU with the same object in the mirror image."
)
@click.option("--negatives", default=3, show_default=True, help="Absent phrases kept of each.")
@click.option("--clips", is_flag=True, help="SOURCES are videos, folders of frames, or folders of either.")
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option(
    "-o", "--output", type=FOLDER, default=Path("labels.json"), show_default=True, help="The document."
)
@overwrite
@as_json
def command(
    sources: tuple[Path, ...],
    phrases: Path,
    bundle: Path | None,
    margin: float,
    absence: float,
    agreement: float,
    negatives: int,
    clips: bool,
    threads: int | None,
    output: Path,
    overwrite: bool,
    json_: bool,
) -> None:
    """Label pictures in SOURCES, or clips, for a list of phrases, as a SA-Co document.

    `distill` learns from it, and `eval` judges by it.
    """
    import json

    from sam3_edge import console, load
    from sam3_edge.clip_labelling import find_clips, label_clips
    from sam3_edge.clip_labels import ClipLabels
    from sam3_edge.errors import UsageError
    from sam3_edge.labelling import Gates, Labels, label
    from sam3_edge.phrases import read_phrases
    from sam3_edge.run import VIDEOS, find_pictures
    from sam3_edge.writing import write_file

    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists: pass --overwrite or another -o")
    gates = Gates(margin=margin, absence=absence, agreement=agreement, negatives=negatives)
    words = read_phrases(phrases)
    pictures = [] if clips else find_pictures(sources)
    if video := next((path for path in pictures if path.suffix.lower() in VIDEOS), None):
        raise UsageError(f"{video} is a video: pass --clips")
    moving = find_clips(sources) if clips else {}
    with (
        load(bundle, threads=threads) as segmenter,
        console.progress("label", len(pictures) + len(moving)) as advance,
    ):
        made: Labels | ClipLabels
        if clips:
            made = label_clips(segmenter, moving, words, gates, advance=advance)
        else:
            made = label(segmenter, pictures, words, gates, advance=advance)
    write_file(output, json.dumps(made.to_json()).encode(), overwrite=overwrite)
    for name, reason in (row.values() for row in made.skipped):
        console.note(f"skipped {name}: {reason}")
    report = {"labels": str(output), **dict(sorted(made.counts.items()))}
    if json_:
        console.emit(report)
    else:
        click.echo(", ".join(f"{name} {value}" for name, value in report.items()))
