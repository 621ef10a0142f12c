"""`sam3-edge run`: pictures in, overlays and one COCO document out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam3_edge.boxes import Box
from sam3_edge.coco import CocoDocument
from sam3_edge.concept import Concept
from sam3_edge.errors import EdgeError, SourceError, UsageError
from sam3_edge.loop.prompts import Point, Prompt
from sam3_edge.overlay import draw, png
from sam3_edge.picture import read_picture
from sam3_edge.segmentation import Segmentation
from sam3_edge.segmenter import Segmenter
from sam3_edge.writing import write_file

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv", ".y4m"),
)
RESULTS, OVERLAY = "results.json", ".overlay.png"


@dataclass(frozen=True)
class Outcome:
    """One picture: what was found and where it was drawn, or why it could not be asked."""

    picture: Path
    overlay: Path | None
    found: Sequence[Segmentation]
    error: EdgeError | None

    def to_json(self) -> dict[str, Any]:
        """A row of `--json`."""
        if self.error is not None:
            return {"picture": str(self.picture), "error": str(self.error)}
        objects = [
            {
                "concept": str(part.concept),
                "score": round(float(s), 4),
                "box": [round(float(v), 1) for v in box],
            }
            for part in self.found
            for s, box in zip(part.scores, part.boxes, strict=True)
        ]
        return {"picture": str(self.picture), "overlay": str(self.overlay), "objects": objects}


Wanted = Sequence[Concept] | Prompt
"""What to look for: concepts, or the one object that is pointed out."""


def wanted_of(prompts: Sequence[str], boxes: Sequence[str], points: Sequence[str]) -> Wanted:
    """What `--prompt`, `--box` and `--point` ask for.

    Boxes belong to the one prompt, or stand alone; with points, one is drawn around the object.
    """
    drawn = tuple(Box.parse(text) for text in boxes)
    if points:
        clicks = tuple(Point.parse(text) for text in points)
        if prompts or len(drawn) > 1:
            raise UsageError(
                "--point is for one object: give --box once at most, and look for --prompt in another run"
            )
        return Prompt(clicks, drawn[0] if drawn else None)
    if not prompts and not drawn:
        raise UsageError("nothing to look for: give --prompt 'a phrase', --box x0,y0,x1,y1, or --point x,y")
    if len(prompts) > 1 and drawn:
        raise UsageError(
            "--box with several --prompt: run once per phrase, so that it is clear whose the box is"
        )
    return [Concept(phrase, drawn) for phrase in prompts] or [Concept(None, drawn)]


def is_video(sources: Sequence[Path]) -> bool:
    """Whether one of the sources is a video by its name, or standard input."""
    return any(str(path) == "-" or path.suffix.lower() in VIDEOS for path in sources)


def find_pictures(sources: Sequence[Path]) -> list[Path]:
    """Files as given, folders as the pictures in them. Raises `SourceError` for what is not there."""
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            # Not the overlays of an earlier run into the same folder.
            inside = sorted(
                p for p in source.iterdir() if p.suffix.lower() in PICTURES and not p.name.endswith(OVERLAY)
            )
            if not inside:
                raise SourceError(f"{source}: no pictures in this folder (looked for {', '.join(PICTURES)})")
            found += inside
        elif source.exists():
            found.append(source)
        else:
            raise SourceError(f"{source}: no such file or folder")
    return found


def name_overlays(pictures: Sequence[Path], folder: Path) -> list[Path]:
    """An overlay file for each picture; two pictures of one name get numbers."""
    names: dict[Path, None] = {}
    for picture in pictures:
        name, number = folder / f"{picture.stem}{OVERLAY}", 2
        while name in names:
            name, number = folder / f"{picture.stem}-{number}{OVERLAY}", number + 1
        names[name] = None
    return list(names)


def look(
    segmenter: Segmenter, picture: NDArray[np.uint8], wanted: Wanted, *, threshold: float
) -> list[Segmentation]:
    """What is found in one picture. Of an object that is pointed out, the best candidate."""
    if not isinstance(wanted, Prompt):
        return segmenter.segment(picture, list(wanted), threshold=threshold)
    wanted.check((picture.shape[0], picture.shape[1]))  # before the backbone runs
    selection = segmenter.click(picture)
    selection.ask(wanted)
    return [selection.found]


def run_pictures(
    segmenter: Segmenter,
    pictures: Sequence[Path],
    wanted: Wanted,
    *,
    output: Path,
    threshold: float,
    polygons: bool = False,
    overwrite: bool = False,
    advance: Callable[[int], object] = lambda count: None,
) -> list[Outcome]:
    """Segment every picture. One that cannot be asked is reported and the rest go on.

    Raises `UsageError` before any work if an output exists and `overwrite` is not set, or if the model does
    not know a concept, or answers no clicks.
    """
    if isinstance(wanted, Prompt):
        segmenter.check_clicks()
    else:
        for concept in wanted:
            segmenter.check(concept)
    overlays = name_overlays(pictures, output)
    if not overwrite and (taken := [p for p in (*overlays, output / RESULTS) if p.exists()]):
        raise UsageError(f"{taken[0]} exists: pass --overwrite or another -o")
    document, outcomes = CocoDocument(polygons=polygons), []
    for picture, overlay in zip(pictures, overlays, strict=True):
        advance(1)
        try:
            pixels = read_picture(picture)
            found = look(segmenter, pixels, wanted, threshold=threshold)
        except SourceError as error:
            outcomes.append(Outcome(picture, None, (), error))
            continue
        except UsageError as error:  # a box or a point that lies in one picture may be outside the next
            outcomes.append(Outcome(picture, None, (), UsageError(f"picture {picture}: {error}")))
            continue
        write_file(overlay, png(draw(pixels, found)), overwrite=overwrite)
        document.add(picture.name, (pixels.shape[0], pixels.shape[1]), found)
        outcomes.append(Outcome(picture, overlay, found, None))
    if any(outcome.error is None for outcome in outcomes):
        write_file(output / RESULTS, document.to_bytes(), overwrite=overwrite)
    return outcomes


def failures(outcomes: Sequence[Outcome]) -> Iterator[EdgeError]:
    """Why pictures were left out."""
    return (outcome.error for outcome in outcomes if outcome.error is not None)


def show(outcomes: Sequence[Outcome], output: Path) -> None:
    """What `run` prints for people: a line per picture that was asked, the document last."""
    for outcome in outcomes:
        if outcome.error is None:
            counts = ", ".join(f"{len(part)} x {part.concept!s:.80}" for part in outcome.found)
            click.echo(f"{outcome.picture}: {counts} -> {outcome.overlay}")
    if any(outcome.error is None for outcome in outcomes):
        click.echo(output / RESULTS)
