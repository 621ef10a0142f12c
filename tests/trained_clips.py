"""What the official session is shown of the built-in model: weights by official name, clips, a phrase each.

    python -m trained_clips FILE.npz     (from tests/), then `python -m oracles.official_trained FILE.npz`

in the environment of `oracles/run.sh`, which has nothing of ours: all it needs is in the file.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from oracles.official_video_script import Clip
from oracles.video_recording import VideoClip
from replay import Seams, Step, followed
from torch import Tensor

from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.export import checkpoint, names_official, weights_back
from sam3_edge.export.model import Sam3
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
    """A model's weights by their names in `sam3.pt`."""
    config = model.config
    tokens = 1 + (config.pretrain_size // config.patch_size) ** 2  # CLS first, then the grid in a row
    position = [1, tokens, config.trunk_dim]
    return weights_back.poured_back(model, names_official.LAYOUT, {"backbone.position": position})


OTHERS = {"memory_pool", "text_taps"}  # sizes of models that the official package does not have


def shown() -> Arrays:
    """Everything the official session needs."""
    model, words = trained().model, tokenizer()
    arrays: Arrays = {f"weights/{name}": w.numpy() for name, w in poured_back(model).items()}
    config = {
        name: value
        for name, value in model.config.to_json().items()
        if isinstance(value, int) and not isinstance(value, bool) and name not in OTHERS
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
