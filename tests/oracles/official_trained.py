"""Records what the official video session decides with the built-in weights, or checks that it still does.

    python -m trained_clips FILE.npz                         (from tests/, in our environment)
    python -m oracles.official_trained FILE.npz [--write]    (from tests/, in the one that run.sh makes)

As `official_video`, with Meta's classes at the built-in model's sizes and nothing between the networks.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .official_environment import prepare_imports
from .official_video import column_of, counted, record_clip, same_clips, summed, write

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Clip:
    """One clip of the file."""

    name: str
    pictures: NDArray[np.uint8]
    phrase: str
    token_ids: NDArray[np.int32]
    script: None = None


@dataclass
class Spoken:
    """Stands in for the tokenizer: the ids of the phrase that is asked."""

    token_ids: NDArray[np.int32]

    def __call__(self, texts: list[str], context_length: int) -> torch.Tensor:
        assert len(self.token_ids) == context_length
        return torch.from_numpy(self.token_ids).long().expand(len(texts), -1)


def below(arrays: Arrays, place: str) -> Arrays:
    """The arrays whose names start with a folder, without it."""
    return {name[len(place) :]: array for name, array in arrays.items() if name.startswith(place)}


def clips_of(arrays: Arrays) -> Iterator[Clip]:
    """The clips of the file."""
    for name in sorted({name.split("/")[0] for name in below(arrays, "clips/")}):
        clip = below(arrays, f"clips/{name}/")
        yield Clip(name, clip["pictures"], str(clip["phrase"]), clip["token_ids"])


def sizes(kind: type, arrays: Arrays) -> Any:
    """The numbers of the detector or of the tracker."""
    config = below(arrays, "config/")
    values = {f.name: config[f.name].tolist() for f in fields(kind) if f.name in config}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def record(arrays: Arrays) -> tuple[Arrays, dict[str, Any]]:
    """All clips: the arrays of trained.npz, and what trained.json says."""
    from .official_model import Sizes
    from .official_tracker import TrackerSizes
    from .official_video_model import SETTINGS, TRACKER, build_video, pour
    from .official_video_taps import Listener

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    detector, tracker = sizes(Sizes, arrays), sizes(TrackerSizes, arrays)
    model = build_video(detector, tracker)
    pour(model, below(arrays, "weights/"), all_of_them=False)
    listener, recorded = Listener(model), []
    for clip in clips_of(arrays):
        model.detector.backbone.language_backbone.tokenizer = Spoken(clip.token_ids)
        rows, info = record_clip(listener, clip, clip.phrase)
        recorded.append((rows, info | {"phrase": clip.phrase}))
        print(clip.name, clip.phrase, counted(rows), flush=True)
    joined = {name: column_of([rows[name] for rows, _ in recorded]) for name in recorded[0][0]}
    return joined, {
        "config": asdict(detector) | TRACKER | asdict(tracker),
        "settings": SETTINGS,
        "digest": digest(arrays),
        "versions": {name: version(name) for name in ("sam3", "torch", "numpy", "pillow")},
        "counts": {"trained": summed([counted(rows) for rows, _ in recorded])},
        "clips": [info for _, info in recorded],
    }


def digest(arrays: Arrays) -> str:
    """Names exactly what was shown: weights, pictures and phrases."""
    whole = hashlib.sha256()
    for name in sorted(arrays):
        whole.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return whole.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shown", type=Path, help="what `trained_clips` wrote")
    parser.add_argument("--write", action="store_true", help="replace the committed recording")
    options = parser.parse_args()
    prepare_imports()
    from .official_video_model import InSession

    with np.load(options.shown, allow_pickle=False) as file:
        shown = dict(file)
    with InSession():
        arrays, info = record(shown)
    if options.write:
        write(arrays, info, "trained")
        return 0
    return same_clips(arrays, info["digest"], "trained")


if __name__ == "__main__":
    sys.exit(main())
