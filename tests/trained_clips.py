"""What the official session is shown of the built-in model: weights by official name, clips, a phrase each.

    python -m trained_clips FILE.npz     (from tests/), then `python -m oracles.official_trained FILE.npz`

in the environment of `oracles/run.sh`, which has nothing of ours: all it needs is in the file.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from oracles.official_video_script import Clip
from oracles.video_recording import VideoClip
from replay import Seams, Step, followed
from torch import Tensor

from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.export import checkpoint, names_official
from sam3_edge.export.model import Sam3
from sam3_edge.export.weights import Source, convert
from sam3_edge.judge.frozen_clips import PLOTS, ask_about
from sam3_edge.shapes.clips import draw_clip
from sam3_edge.shapes.scripts import write_script
from sam3_edge.tokenizer import Tokenizer

SEED, CLIPS, FRAMES = 909, 10, 60
CUTS = (
    (224, 224),
    (168, 224),
    (224, 150),
)  # height, width of the pictures: the loop sees other shapes than squares
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class TrainedClip:
    """Pictures [T, H, W, 3] and what is looked for in them."""

    name: str
    pictures: NDArray[np.uint8]
    phrase: str


@cache
def draw(number: int) -> TrainedClip:
    """One of the clips: two events or look-alikes among bystanders, and a phrase about someone there."""
    rng = np.random.default_rng((SEED, number))
    script = write_script(rng, PLOTS[(3 * number + 1) % len(PLOTS)], frames=FRAMES)
    height, width = CUTS[number % len(CUTS)]
    pictures = np.stack([frame.picture[:height, :width] for frame in draw_clip(script)])
    return TrainedClip(f"trained{number:02}", pictures, ask_about(rng, script)[0][0])


@cache
def trained() -> checkpoint.Checkpoint:
    """The built-in model, as it ships."""
    return checkpoint.load(builtin_checkpoint())


def tokenizer() -> Tokenizer:
    """The built-in model's."""
    found = trained()
    assert found.merges is not None
    return Tokenizer.read(found.merges)


def poured_back(model: Sam3) -> dict[str, Tensor]:
    """A model's weights by their names in `sam3.pt`: what the loader reads, the other way round.

    The loader only moves numbers. So every number of the official tensors gets a number of its own, the
    loader moves these, and where each ends up tells where ours belong.
    """
    ours = model.state_dict()
    places: dict[str, Tensor] = {}
    count = 0
    for name, target in ours.items():
        for part in parts_of(name):
            if part not in places:
                shape = official_shape(name, target)
                places[part] = torch.arange(count, count := count + math.prod(shape)).reshape(shape)
    values = torch.zeros(count)
    for name, target in ours.items():
        source = names_official.LAYOUT.source(name)
        moved = convert(
            [places[part] for part in parts_of(name)], source, len(target), heads=model.config.trunk_heads
        )
        values[moved.reshape(-1)] = target.reshape(-1)
    return {part: values[place] for part, place in places.items()}


def parts_of(name: str) -> list[str]:
    """The official tensors behind one of ours."""
    source = names_official.LAYOUT.source(name)
    return [
        part[1:] if part.startswith("/") else names_official.LAYOUT.prefix + part for part in source.names
    ]


def official_shape(name: str, target: Tensor) -> list[int]:
    """The shape of each of the official tensors behind one of ours."""
    source: Source = names_official.LAYOUT.source(name)
    if name == "backbone.position":  # CLS first, then the grid in a row
        return [1, 1 + target.shape[1] * target.shape[2], target.shape[3]]
    return list(target.shape[1:]) if source.reshape else source.part_shape(target.shape)


def shown() -> Arrays:
    """Everything the official session needs."""
    model, words = trained().model, tokenizer()
    arrays: Arrays = {f"weights/{name}": w.numpy() for name, w in poured_back(model).items()}
    config = {
        k: v for k, v in model.config.to_json().items() if isinstance(v, int) and not isinstance(v, bool)
    }
    arrays |= {f"config/{name}": np.array(value) for name, value in config.items()}
    arrays["config/global_layers"] = np.array(model.config.global_layers)
    for clip in map(draw, range(CLIPS)):
        arrays[f"clips/{clip.name}/pictures"] = clip.pictures
        arrays[f"clips/{clip.name}/phrase"] = np.array(clip.phrase)
        ids, _ = words.encode(clip.phrase, model.config.text_length)
        arrays[f"clips/{clip.name}/token_ids"] = ids[0]
    return arrays


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Names exactly what was shown: weights, pictures and phrases."""
    whole = hashlib.sha256()
    for name in sorted(arrays):
        whole.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return whole.hexdigest()


def replayed(session: Seams, clip: TrainedClip, recorded: VideoClip) -> Iterator[Step]:
    """A clip through our loop, beside the official session's."""
    ids, _ = tokenizer().encode(clip.phrase, session.model.config.text_length)
    seen = Clip(clip.name, clip.pictures, None)
    return followed(session, seen, recorded, phrase=clip.phrase, token_ids=ids)


if __name__ == "__main__":
    np.savez(Path(sys.argv[1]), allow_pickle=False, **shown())
