"""`sam3-edge run` on a video: frames in, a folder of results out, in which nothing is ever half-written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from sam3_edge import __version__
from sam3_edge.concept import Concept
from sam3_edge.doctor import installed
from sam3_edge.errors import EdgeError, UsageError
from sam3_edge.loop.prompts import Prompt
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.tracker import Tracker
from sam3_edge.segmenter import Segmenter
from sam3_edge.video.asking import Ask, Asking
from sam3_edge.video.backward import check_backward, look_back
from sam3_edge.video.following import follow
from sam3_edge.video.frames import Span, Video, VideoFrame
from sam3_edge.video.outputs import (
    RESULTS,
    STATES,
    SUMMARY,
    forget_earlier,
    put_back,
    refuse_taken,
    remove,
    set_aside,
    taken,
)
from sam3_edge.video.recording import Recording
from sam3_edge.video.results import SCHEMA, as_line, read_header, read_lines, result_of
from sam3_edge.video.states import EVERY, States
from sam3_edge.writing import write_file


@dataclass(frozen=True)
class Plan:
    """How a video is run. `bundle` is the hash of the bundle; `live` shows objects at once."""

    output: Path
    bundle: str
    ask: Ask
    span: Span = field(default_factory=Span)
    settings: Settings = field(default_factory=Settings)
    live: bool = False
    backward: bool = False  # also before the first frame that something is drawn on
    save: frozenset[str] = frozenset({"json"})
    overwrite: bool = False
    resume: bool = False
    every: int = EVERY  # frames between saved states

    def header(self, video: Video, first: VideoFrame) -> dict[str, Any]:
        """The first line of the results: the same for the same question to the same video."""
        height, width = first.pixels.shape[:2]
        name = Path(video.name).name
        return {
            "schema": SCHEMA,
            "bundle": self.bundle,
            "source": {"name": name, "width": width, "height": height, "fps": round(video.fps, 6)},
            "span": {"start": self.span.start, "stop": self.span.stop, "stride": self.span.stride},
            "backward": self.backward,
            "ask": self.ask.to_json(),
            "policy": "live" if self.live else "offline",
            "settings": self.settings.to_json(),
        }


def run_video(
    model: Segmenter, video: Video, plan: Plan, *, advance: Callable[[int], object] = lambda count: None
) -> dict[str, Any]:
    """Follow what is asked through a video, and write it down. Returns what `run.json` says.

    Nothing is touched before the first frame was decoded and everything was found to be askable. What stops
    the run later leaves whole files and a `run.json` that says so, from which `resume` goes on as if nothing
    had been; or, with `overwrite`, the files of the earlier run.

    Raises `UsageError` for what is there already, what cannot be asked, or another run's files to resume;
    `SourceError` for a video that cannot be read; `ResourceError` when the disk is full.
    """
    tracker = Tracker(model.session, model.config, model.phrases, settings=plan.settings)
    if not (plan.overwrite or plan.resume):
        refuse_taken(plan.output)
    for phrase in plan.ask.phrases:
        tracker.check(Concept(phrase))
    plan.ask.check(plan.span, video)
    if plan.backward:
        check_backward(plan.ask, video, live=plan.live)
    frames = video.frames(plan.span)
    first = next(frames, None)
    if first is None:
        raise UsageError(f"{video.name} has no frame from {plan.span.start} on: change --start or --end")
    check_places(plan.ask, model, first)
    header = plan.header(video, first)
    done = earlier_summary(plan, header)
    if done.get("complete") is True:
        return done
    if plan.overwrite:
        set_aside(plan.output)
    run, fresh = Run(plan, tracker, header, video), not plan.output.exists()
    try:
        summary = run.through(chain([first], frames), advance)
    except Exception:
        # Not KeyboardInterrupt: who stops a run wants what there is of it.
        if not put_back(plan.output) and not run.told:
            remove([plan.output] if fresh else taken(plan.output))
        raise
    finally:
        frames.close()
    forget_earlier(plan.output)
    return summary


def check_places(ask: Ask, model: Segmenter, first: VideoFrame) -> None:
    """Raises `UsageError` for a box or a point that lies outside the frames."""
    height, width = first.pixels.shape[:2]
    for boxes in ask.boxes.values():
        model.check(Concept(ask.phrase, boxes))
        for box in boxes:
            box.relative(height, width)
    for clicks in ask.clicks.values():
        Prompt(tuple(click.point for click in clicks)).check((height, width))


def earlier_summary(plan: Plan, header: dict[str, Any]) -> dict[str, Any]:
    """The `run.json` of the run that is resumed, empty without one. Raises `UsageError` for another's."""
    if not plan.resume or not (plan.output / RESULTS).exists():
        return {}
    if read_header(plan.output / RESULTS) != json.loads(as_line(header)):
        raise UsageError(
            f"{plan.output / RESULTS} is of another bundle, video or question: pass --overwrite or another -o"
        )
    path = plan.output / SUMMARY
    try:
        summary = json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError:
        return {}
    return summary if isinstance(summary, dict) else {}


class Run:
    """One run that writes into its folder."""

    def __init__(self, plan: Plan, tracker: Tracker, header: dict[str, Any], video: Video) -> None:
        self.plan, self.tracker, self.header, self.video = plan, tracker, header, video
        self.states = States(plan.output / STATES, every=plan.every)
        self.asking = Asking(plan.ask, tracker)
        self.start, self.told, self.next_id = time.perf_counter(), 0, 0

    def through(self, frames: Iterator[VideoFrame], advance: Callable[[int], object]) -> dict[str, Any]:
        """All frames. The summary is written before them and after, whatever comes in between."""
        kept, size = self.rewind()
        rate = self.video.fps / self.plan.span.stride
        with Recording(self.plan.output, self.plan.save, fps=rate, kept=size) as recording:
            if not size:
                recording.lines.add(as_line(self.header))
            self.tell(recording, complete=False)
            error: BaseException | None = None
            try:
                self.redraw(recording, kept, frames, advance)
                if self.plan.backward:
                    self.look_back(recording, frames, advance)
                for frame, result in follow(self.asking, frames, live=self.plan.live, stepped=self.keep):
                    recording.add(frame, result)
                    self.told = recording.frames
                    advance(1)
            except BaseException as stopped:
                error = stopped
                raise
            finally:
                if error is None or isinstance(error, (EdgeError, KeyboardInterrupt)):
                    recording.finish()
                    summary = self.tell(recording, complete=error is None, error=error)
        remove([self.plan.output / STATES])
        return summary

    def keep(self) -> None:
        """Save the tracker's state every so often. A run that began with a look back begins anew instead."""
        if self.plan.backward:
            roster = self.tracker.roster
            roster.next_id = max(roster.next_id, self.next_id)
        else:
            self.states.keep(self.tracker, self.told)

    def look_back(
        self, recording: Recording, frames: Iterator[VideoFrame], advance: Callable[[int], object]
    ) -> None:
        """The frames before the first that something is drawn on, by a tracker of their own."""
        tracker = Tracker(
            self.tracker.session, self.tracker.config, self.tracker.phrases, settings=self.plan.settings
        )
        asking = Asking(self.plan.ask.first(), tracker)
        lines = look_back(asking, self.video, self.plan.span, advance=advance)
        self.next_id = tracker.roster.next_id
        for line, frame in zip(lines, frames, strict=False):
            size = (frame.pixels.shape[0], frame.pixels.shape[1])
            recording.add(frame, result_of(line, size))
            self.told = recording.frames
            advance(1)

    def rewind(self) -> tuple[list[dict[str, Any]], int]:
        """Put the tracker where an earlier run can go on: the lines that stay, and their bytes."""
        path = self.plan.output / RESULTS
        if not self.plan.resume or not path.exists():
            remove([self.plan.output / STATES])
            return [], 0
        lines = list(read_lines(path))
        count = 0 if self.plan.backward else self.states.usable(len(lines))
        if count:
            self.tracker.restore(self.states.path(count))
            self.states.last = count
            self.told = count
            self.asking.recall([line["frame"] for line in lines[:count]])
        with path.open("rb") as file:
            size = sum(len(file.readline()) for _ in range(count + 1))
        return lines[:count], size

    def redraw(
        self,
        recording: Recording,
        lines: list[dict[str, Any]],
        frames: Iterator[VideoFrame],
        advance: Callable[[int], object],
    ) -> None:
        """Go over the frames that were told before the run was interrupted, for masks and overlay."""
        for line, frame in zip(lines, frames, strict=False):
            size = (frame.pixels.shape[0], frame.pixels.shape[1])
            recording.draw(frame, result_of(line, size), overwrite=False)
            advance(1)

    def tell(
        self, recording: Recording, *, complete: bool, error: BaseException | None = None
    ) -> dict[str, Any]:
        """Write `run.json`."""
        seconds = time.perf_counter() - self.start
        concepts = list(recording.ids.values())
        summary = {
            "complete": complete,
            "error": None if error is None else str(error) or type(error).__name__,
            "frames": recording.frames,
            "objects": {str(name): concepts.count(name) for name in dict.fromkeys(concepts)},
            "without_colour": recording.unpainted,
            "seconds": round(seconds, 3),
            "frames_per_second": round(recording.frames / seconds, 3) if complete else None,
            "results": RESULTS,
            "saved": sorted(self.plan.save),
            "versions": {"sam3-edge": __version__, **installed()},
            **self.header,
        }
        data = (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
        write_file(self.plan.output / SUMMARY, data, overwrite=True)
        return summary
