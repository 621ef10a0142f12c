"""Replays every recorded clip and writes what was compared: `python -m replay_all`, from tests/."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import trained_clips
from comparison import LIMIT, Apart, compare
from oracles.official_video_script import draw
from oracles.video_recording import VideoClip, VideoRecording, load_video
from replay import Seams, Step, official_model, played

from sam3_edge.export.model import fold

Row = dict[str, Any]
KINDS = ("scripted", "real")  # with seeded weights; "trained" has those that ship


def replay_clip(steps: Iterable[Step], recorded: VideoClip) -> Row:
    """One clip, to its end whatever differs: our events, the largest differences, and what was not equal."""
    apart, events, unequal = Apart(), Counter[str](), []
    for step in steps:
        events.update(event.kind for event in step.ours.events)
        try:
            apart.add(compare(step, exact=recorded.name.startswith("scripted")))
        except AssertionError as difference:
            unequal.append(str(difference))
    counts = dict(sorted(events.items()))
    frames = len(recorded.frames)
    return {
        "clip": recorded.name,
        "frames": frames,
        "events": counts,
        "apart": asdict(apart),
        "mismatches": unequal,
    }


def rows_of(recording: VideoRecording, folder: Path) -> Iterator[Row]:
    """All clips, one by one."""
    for kind in KINDS:
        session = Seams(official_model(recording, folder, kind=kind))
        for clip in recording.clips:
            if clip.name.startswith(kind):
                yield replay_clip(played(session, draw(clip.name), clip), clip)


def trained_rows(recording: VideoRecording) -> Iterator[Row]:
    """All clips of the built-in model."""
    session = Seams(fold(trained_clips.trained().model))
    for number, clip in enumerate(recording.clips):
        yield replay_clip(trained_clips.replayed(session, trained_clips.draw(number), clip), clip)


def summary(rows: list[Row], recording: VideoRecording, trained: VideoRecording) -> dict[str, Any]:
    """What is committed: by kind of clip, and clip by clip."""
    kinds: dict[str, Any] = {}
    for kind in (*KINDS, "trained"):
        mine = [row for row in rows if row["clip"].startswith(kind)]
        apart, events = Apart(), Counter[str]()
        for row in mine:
            apart.add(Apart(**row["apart"]))
            events.update(row["events"])
        kinds[kind] = {
            "clips": len(mine),
            "frames": sum(row["frames"] for row in mine),
            "mismatches": sum(len(row["mismatches"]) for row in mine),
            "largest_differences": asdict(apart),
            "our_events": dict(sorted(events.items())),
            "official_events": (recording.counts | trained.counts)[kind],
        }
    digests = {"recording": recording.digest, "trained_recording": trained.digest}
    return {**digests, "limit": LIMIT, **kinds, "clips": rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the JSON to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recording, trained, rows = load_video(), load_video("trained"), []
    with tempfile.TemporaryDirectory() as folder:
        for row in chain(rows_of(recording, Path(folder)), trained_rows(trained)):
            print(row["clip"], row["apart"], row["mismatches"] or "equal", flush=True)
            rows.append(row)
    options.output.write_text(json.dumps(summary(rows, recording, trained), indent=1) + "\n")
    return int(any(row["mismatches"] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
