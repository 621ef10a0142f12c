"""What clicks are worth on the frozen sets: `python -m sam3_edge.benchmarks.clicks`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console, load
from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.judge import frozen_clips, frozen_pictures
from sam3_edge.judge.bootstrap import draws, interval
from sam3_edge.verbs.options import COUNT
from sam3_edge.writing import write_file

from .clicked_clips import AFTER, COUNTS, Corrected, on_clips
from .clicked_pictures import CLICKS, Floats, on_pictures
from .document import write_document

BOX = "box"


def mean(values: Sequence[float] | Floats) -> dict[str, Any]:
    """The mean, and its 95 % bootstrap interval."""
    array = np.asarray(values, np.float64)
    samples = np.array([counts @ array / len(array) for counts in draws(len(array))])
    ends = interval(samples) or ()
    return {"value": round(float(array.mean()), 4), "interval": [round(end, 4) for end in ends]}


def summary(pictures: Floats, followed: int, drifted: Sequence[Corrected]) -> dict[str, Any]:
    """All numbers: IoU by clicks, J after corrections; a `gain` is of the same tracks, in pairs."""
    after = {str(n + 1): mean(pictures[:, n]) for n in range(CLICKS)} if len(pictures) else {}
    if len(pictures):
        after[BOX] = mean(pictures[:, CLICKS])
    document: dict[str, Any] = {"objects": len(pictures), "iou_after": after, "followed": followed}
    document["drifted"] = len(drifted)
    if drifted:
        alone = [one.alone for one in drifted]
        document |= {"alone": mean(alone), "corrected": {}, "gain": {}}
        for count in COUNTS:
            helped = [one.corrected[count] for one in drifted]
            document["corrected"][str(count)] = mean(helped)
            document["gain"][str(count)] = mean(np.subtract(helped, alone))
    return document


def verdict(document: Mapping[str, Any]) -> str:
    """`pass`, or what does not hold of what clicks promise."""
    means = [document["iou_after"][count]["value"] for count in ("1", "3", "5") if document["objects"]]
    if means != sorted(set(means)):
        return "mean IoU does not rise from 1 to 3 to 5 clicks"
    if document["drifted"] and any(gain["interval"][0] <= 0 for gain in document["gain"].values()):
        return "a correction does not surely raise J on the frames after it"
    return "pass"


def markdown(document: Mapping[str, Any]) -> str:
    """Two tables."""
    lines = [f"| {document['objects']} objects of frozen pictures | mean IoU |", "|---|---|"]
    for name, score in document["iou_after"].items():
        prompt = "a box" if name == BOX else clicks_of(name)
        lines.append(f"| after {prompt} | {cell(score)} |")
    drifted = f"{document['drifted']} of {document['followed']} tracks that drift"
    lines += ["", f"| {drifted} | mean J of the {AFTER} frames after |", "|---|---|"]
    if document["drifted"]:
        lines.append(f"| left alone | {cell(document['alone'])} |")
        for count, gain in document["gain"].items():
            helped = document["corrected"][count]
            lines.append(f"| {clicks_of(count)} on the frame where it drifts | {cell(helped)} |")
            lines.append(f"| gain by {clicks_of(count)}, track by track | {cell(gain)} |")
    return "\n".join(lines) + "\n"


def clicks_of(count: str) -> str:
    return "1 click" if count == "1" else f"{count} clicks"


def cell(score: Mapping[str, Any]) -> str:
    low, high = score["interval"]
    return f"{score['value']:.3f} ({low:.2f} to {high:.2f})"


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the built-in model.")
@click.option("--pictures", type=click.IntRange(0), default=128, show_default=True)
@click.option("--clips", type=click.IntRange(0), default=64, show_default=True)
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write JSON, and the tables beside it as .md."
)
def main(bundle: Path | None, pictures: int, clips: int, threads: int | None, output: Path | None) -> None:
    """Simulate clicks on the first frozen pictures, and corrections on the first frozen clips.

    Exits 1 if IoU does not rise with the clicks, or corrections do not help.
    """
    place = builtin_bundle() if bundle is None else bundle
    with load(place, threads=threads) as model:
        model.check_clicks()
        with console.progress("pictures", pictures) as advance:
            rows = on_pictures(model, frozen_pictures.frozen_pictures(pictures), advance)
        with console.progress("clips", clips) as advance:
            followed, drifted = on_clips(model, islice(frozen_clips.clips(), clips), advance)
    document = {
        "bundle": Bundle.open(place).hash,
        "pictures": {"hash": frozen_pictures.HASH, "count": pictures},
        "clips": {"hash": frozen_clips.HASH, "count": clips},
        **(found := summary(rows, followed, drifted)),
        "verdict": verdict(found),
        "tracks": [vars(one) for one in drifted],
    }
    click.echo(text := markdown(document))
    if output is not None:
        write_document(output, document)
        write_file(output.with_suffix(".md"), text.encode(), overwrite=True)
    click.echo(document["verdict"])
    sys.exit(document["verdict"] != "pass")


if __name__ == "__main__":
    main()
