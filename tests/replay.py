"""The official video recording, played through our modules and our loop, with the same script and seams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from oracles.official_video_script import MIX, PROMPTED_SCORE, Clip
from oracles.recording import load_recording
from oracles.video_recording import Frame, VideoClip, VideoRecording, projected, video_weights
from oracles.video_recording import Shown as TheirShown

from sam3_edge.export import checkpoint
from sam3_edge.export.eager import EagerSession
from sam3_edge.export.mask_decoder import Decoded
from sam3_edge.export.model import Sam3, fold
from sam3_edge.loop.bank import MemoryBank
from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.render import Draft, render
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.track import Track
from sam3_edge.loop.tracker import Tracker
from sam3_edge.phrases import Phrases
from sam3_edge.session import Value
from sam3_edge.spec import ModelConfig

PHRASE = "red circle"
Floats = NDArray[np.float32]


def official_model(recording: VideoRecording, folder: Path, *, kind: str) -> Sam3:
    """The recorded session's checkpoint, through the loader for `sam3.pt`."""
    state = {name: torch.from_numpy(weight) for name, weight in video_weights(kind).items()}
    constants = load_recording().constants
    state |= {name: torch.zeros(shape, dtype=torch.complex64) for name, shape in constants.items()}
    torch.save({"model": state}, folder / f"{kind}.pt")
    config = ModelConfig.from_json(recording.config)
    return fold(checkpoint.load(folder / f"{kind}.pt", official=True, config=config).model)


class Seams(EagerSession):
    """Our modules, with a clip's script right behind the detector and the mask decoder."""

    def __init__(self, model: Sam3) -> None:
        super().__init__(model)
        self.tracker: Tracker | None = None
        self.clip: Clip | None = None
        self.actors: tuple[int, ...] = ()
        self.queries: Floats = np.zeros((0, 1), np.float32)
        self.bias: torch.Tensor | None = None
        self.done = 0  # objects of this frame that were tracked already
        model.tracker.decoder.register_forward_hook(self.decode)

    def begin(self, tracker: Tracker, clip: Clip, recorded: VideoClip) -> None:
        self.tracker, self.clip, self.actors = tracker, clip, recorded.actors

    def decode(self, _module: Any, _inputs: Any, found: Decoded) -> Decoded:
        if self.bias is None:
            return found
        return replace(found, score=float(MIX) * found.score + self.bias)

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        if graph == "backbone":
            self.done = 0
        if self.clip is None or self.clip.script is None or self.tracker is None:
            return super().run(graph, feeds)
        script, t = self.clip.script, self.tracker.index
        rows: list[int] = []
        self.bias = None
        if graph == "tracker_init":
            self.bias = torch.tensor(PROMPTED_SCORE)
        if graph == "tracker_step":
            rows = self.script_rows(len(feeds["memory"]))
            self.bias = torch.from_numpy(script.tracked_scores[t, rows])
        out = super().run(graph, feeds)
        if graph == "tracker_step":
            there = out["object_score"][:, None, None] > 0
            out["mask"] = np.where(there, MIX * out["mask"] + script.tracked_masks[t, rows], out["mask"])
        if graph == "detector":
            self.queries = out["queries"][0]
            scores = np.clip(script.detected_scores[t].astype(np.float64), 1e-9, 1)
            out["logits"] = np.log(scores / (1 - scores)).astype(np.float32)[None]
            out["presence"] = np.full_like(out["presence"], 40)
        if graph == "masks":
            chosen = [int(np.abs(self.queries - q).sum(1).argmin()) for q in feeds["queries"][0]]
            out["masks"] = MIX * out["masks"] + script.detected_masks[t, chosen][None]
        return out

    def script_rows(self, count: int) -> list[int]:
        """Whose rows of the script the next objects of this frame have: the bank's order."""
        assert self.tracker is not None
        ids = [track.id for track in sorted(self.tracker.tracks, key=lambda track: track.row)]
        mine = ids[self.done : self.done + count]
        self.done += count
        return [self.actors[i] for i in mine]


@dataclass(frozen=True, eq=False)
class Step:
    """One frame of ours beside one of theirs. `before` and `after`: what is known of the tracks, by id.

    `shown`: what users get by now, of this frame or earlier ones, beside what they got there.
    """

    index: int
    ours: Draft
    theirs: Frame
    before: dict[int, dict[str, Any]]
    after: dict[int, dict[str, Any]]
    shown: tuple[tuple[FrameResult, TheirShown], ...]


def played(
    session: Seams, clip: Clip, recorded: VideoClip, settings: Settings | None = None
) -> Iterator[Step]:
    """Step by step through one clip of the seeded networks."""
    case = next(case for case in load_recording().cases if case.phrase == PHRASE)
    return followed(session, clip, recorded, phrase=PHRASE, token_ids=case.token_ids, settings=settings)


def followed(
    session: Seams,
    clip: Clip,
    recorded: VideoClip,
    *,
    phrase: str,
    token_ids: NDArray[np.int32],
    settings: Settings | None = None,
) -> Iterator[Step]:
    """Step by step through one clip. `token_ids` [1, L] of the phrase, as the official session had them."""
    config = session.model.config
    tokens = session.fetch(session.run("text", {"token_ids": token_ids})["text_tokens"])[0]
    phrases = Phrases(session, length=config.text_length, pack={phrase: (tokens, token_ids[0] != 0)})
    tracker = Tracker(session, config, phrases, settings=settings)
    session.begin(tracker, clip, recorded)
    tracker.add(phrase)
    delayed = Delayed(tracker)
    for index, (picture, theirs) in enumerate(zip(clip.pictures, recorded.frames, strict=True)):
        before = {track.id: attended(track, index) for track in tracker.tracks}
        ripe = delayed.step(picture)
        results = [] if ripe is None else [ripe]
        if index == len(recorded.frames) - 1:
            results += delayed.finish()
        draft = tracker.last()[1]
        # The official session shows the frame of the prompt at once.
        results = [render(draft)] if index == 0 else [result for result in results if result.index]
        bank = tracker.roster.bank
        after = {track.id: state_of(track, bank, index) for track in tracker.tracks}
        shown = tuple((result, recorded.frames[result.index].shown) for result in results)
        yield Step(index, draft, theirs, before, after, shown)


def attended(track: Track, frame: int) -> dict[str, Any]:
    """The frames that a track will look at, as the recording has them."""
    history = track.history
    seen = {rank: memory.frame for memory, rank in history.seen(frame)}
    last = len(history.ranked(frame))
    return {
        "conditioning": padded(sorted(memory.frame for memory in history.conditioning), 4),
        "recent": [seen.get(rank, -1) for rank in range(1, 7)],
        "pointers": [seen.get(rank, -1) if rank < last else -1 for rank in range(1, 16)],
    }


def padded(frames: list[int], length: int) -> list[int]:
    return frames + [-1] * (length - len(frames))


def state_of(track: Track, bank: MemoryBank, frame: int) -> dict[str, Any]:
    """Counters after a frame, and what was remembered of it, as the recording has them."""
    history = track.history
    memory = next(m for m in (*history.conditioning, *history.recent) if m.frame == frame)
    stored = bank.slots("memory", track.row)[memory.slot].T
    pointer = bank.slots("pointers", track.row)[memory.pointer]
    hidden = -1 if track.last_hidden is None else track.last_hidden
    return {
        "keep_alive": track.keep_alive,
        "last_occluded": hidden,
        "pointer": projected(pointer[None])[0],
        "memory": projected(stored[None])[0],
    }
