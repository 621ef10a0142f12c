"""Records what Meta's official video session decides on small clips, or checks that it still does.

    python -m oracles.official_video [--write]     (from tests/, in the environment that run.sh makes)

The session runs as its users run it: `add_prompt` with a phrase on frame 0, then `propagate_in_video`, but
from frame 1 on. The documented flow starts on frame 0 again, which the prompt has already processed: it would
count twice, and be reconditioned at once. So what frame 0 shows is what `add_prompt` returned.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import asdict, fields
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .official_environment import prepare_imports
from .official_video_script import NAMES, Clip, draw
from .recording import FOLDER, compared
from .video_recording import PARTS, video_weights

Arrays = dict[str, NDArray[Any]]

PHRASE = "red circle"
SHAPES: dict[str, tuple[tuple[int, ...], type]] = {
    "detections/masks": ((4,), np.float32),
    "tracks/positive": ((64, 8), np.uint8),
    "tracks/logits": ((8, 8), np.float32),
    "tracks/conditioning": ((4,), np.int16),
    "tracks/recent": ((6,), np.int16),
    "tracks/pointers": ((15,), np.int16),
    "tracks/pointer": ((4,), np.float32),
    "tracks/memory": ((4,), np.float32),
    "births/pointer": ((4,), np.float32),
    "births/memory": ((4,), np.float32),
    "shown/boxes": ((4,), np.float32),
}
TYPES = {"Floats": np.float32, "Ints": np.int16, "Flags": np.bool_}


def digest() -> str:
    """Names exactly what was shown to the session and what its seams added."""
    whole = hashlib.sha256()
    for clip in map(draw, NAMES):
        whole.update(clip.name.encode() + clip.pictures.tobytes())
        for f in fields(clip.script) if clip.script else ():
            whole.update(getattr(clip.script, f.name).tobytes())
    return whole.hexdigest()


def open_session() -> Any:
    """The listener of a fresh model, without weights yet. Call inside `InSession`."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    from .official_model import Sizes
    from .official_video_model import build_video
    from .official_video_taps import Listener

    return Listener(build_video(Sizes()))


def record_seeded(listener: Any, clip: Clip) -> tuple[Arrays, dict[str, Any]]:
    """One of the clips that the networks with seeded weights see."""
    from .official_video_model import pour

    pour(listener.model, video_weights("scripted" if clip.script else "real"), all_of_them=True)
    return record_clip(listener, clip, PHRASE)


def record_clip(listener: Any, clip: Any, phrase: str) -> tuple[Arrays, dict[str, Any]]:
    """Run one clip. Returns the rows of its frames, and what the JSON says of it."""
    listener.begin(clip.script)
    model = listener.model
    state = model.init_state(resource_path=[Image.fromarray(picture) for picture in clip.pictures])
    _, first = model.add_prompt(state, frame_idx=0, text_str=phrase)
    frames = len(clip.pictures)
    shown = {0: first} | dict(
        model.propagate_in_video(state, start_frame_idx=1, max_frame_num_to_track=frames)
    )
    rows: dict[str, list[Any]] = {}
    for frame in listener.frames:
        for part, columns in parts_of(frame, shown[frame["t"]]).items():
            rows.setdefault(f"{part}/rows", []).append(
                np.array([len(columns["id" if part != "detections" else "query"])], np.int16)
            )
            for name, column in columns.items():
                rows.setdefault(f"{part}/{name}", []).append(column)
    info = {
        "name": clip.name,
        "size": list(clip.pictures.shape[1:3]),
        "frames": frames,
        "actors": listener.actors,
    }
    return {name: column_of(parts) for name, parts in rows.items()}, info


def column_of(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One column of several. Where nothing is, the side of masks is not known: those with rows say it."""
    return np.concatenate([part for part in parts if len(part)] or parts[:1])


def parts_of(frame: dict[str, Any], shown: dict[str, Any]) -> dict[str, Arrays]:
    """The columns of one frame, by part."""
    fillings = frame["fillings"]  # of the tracked masks, if any are tracked; then of the births'
    tracked, count = frame["rows"], len(frame["ids"])
    if count:
        memories = {
            k: np.array([m[k] for m in frame["memories"]], np.int16)
            for k in ("conditioning", "recent", "pointers")
        }
        flags = {
            name: np.broadcast_to(np.asarray(frame[name], bool), count)
            if len(frame[name])
            else np.zeros(count, bool)
            for name in ("suppressed", "shrunk")
        }
        tracked = tracked | memories | flags
        tracked = tracked | {
            "filled": fillings[0][0].astype(np.int16),
            "cleared": fillings[0][1].astype(np.int16),
            "reconditioned": np.isin(frame["ids"], frame["prompted"]),
        }
    born = [b | {"filled": f, "cleared": c} for b, f, c in zip(frame["births"], *fillings[-1], strict=True)]
    masks = np.packbits(shown["out_binary_masks"], axis=-1)
    seen = {
        "id": shown["out_obj_ids"].astype(np.int16),
        "score": shown["out_probs"],
        "boxes": shown["out_boxes_xywh"],
        "masks": masks.reshape(-1),
    }
    return {
        "detections": frame["detections"],
        "tracks": {
            f.name: tracked[f.name] if count else nothing("tracks", f) for f in fields(PARTS["tracks"])
        },
        "births": {f.name: listed("births", f, [b[f.name] for b in born]) for f in fields(PARTS["births"])},
        "shown": seen,
    }


def kind_of(part: str, field: Any) -> tuple[tuple[int, ...], Any]:
    """Shape of a row, and type, of a column."""
    small = np.uint16 if "uint16" in field.type else np.int8
    return SHAPES.get(f"{part}/{field.name}", ((), TYPES.get(field.type, small)))


def nothing(part: str, field: Any) -> NDArray[Any]:
    shape, kind = kind_of(part, field)
    return np.zeros((0, *shape), kind)


def listed(part: str, field: Any, values: list[Any]) -> NDArray[Any]:
    shape, kind = kind_of(part, field)
    return np.array(values, kind).reshape(-1, *shape)


def counted(arrays: Arrays) -> dict[str, int]:
    """How often each kind of event happened."""
    tracks = {name[7:]: column for name, column in arrays.items() if name.startswith("tracks/")}
    return {
        "birth": len(arrays["births/id"]),
        "match": int((tracks["matches"] > 0).sum()),
        "unmatched_removal": int((tracks["removed"] == 1).sum()),
        "duplicate_removal": int((tracks["removed"] == 2).sum()),
        "recondition": int(tracks["reconditioned"].sum()),
        "suppression": int(tracks["suppressed"].sum()),
        "shrink": int(tracks["shrunk"].sum()),
        "empty_track": int(tracks["empty"].sum()),
        "occlusion": int((tracks["score"] <= 0).sum()),
        "skipped_memory": int(skips(tracks).sum()),
        "hole_filled": int((tracks["filled"] > 0).sum() + (arrays["births/filled"] > 0).sum()),
        "sprinkle_removed": int((tracks["cleared"] > 0).sum() + (arrays["births/cleared"] > 0).sum()),
        "nms": int((~arrays["detections/kept"]).sum()),
    }


def skips(tracks: Arrays) -> NDArray[np.bool_]:
    """Where the frames attended to, latest first, leave one out that is not a conditioning frame."""
    skipped = np.zeros(len(tracks["id"]), bool)
    for row, (recent, conditioning) in enumerate(zip(tracks["recent"], tracks["conditioning"], strict=True)):
        frames = [f for f in recent.tolist() if f >= 0]
        between = set(range(min(frames, default=0), max(frames, default=-1) + 1))
        skipped[row] = bool(between - {*frames, *conditioning.tolist()})
    return skipped


def joined(recorded: list[tuple[Arrays, dict[str, Any]]]) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of video.npz, and what video.json says."""
    from .official_model import Sizes
    from .official_video_model import SETTINGS, TRACKER

    arrays = {name: np.concatenate([a[name] for a, _ in recorded]) for name in recorded[0][0]}
    kinds = {
        kind: [a for a, info in recorded if info["name"].startswith(kind)] for kind in ("scripted", "real")
    }
    counts = {kind: summed([counted(a) for a in members]) for kind, members in kinds.items()}
    versions = {name: version(name) for name in ("sam3", "torch", "numpy", "pillow", "scikit-image")}
    return arrays, {
        "config": asdict(Sizes()) | TRACKER,
        "settings": SETTINGS,
        "phrase": PHRASE,
        "digest": digest(),
        "versions": versions,
        "counts": counts,
        "clips": [info for _, info in recorded],
    }


def summed(counts: list[dict[str, int]]) -> dict[str, int]:
    return {event: sum(count[event] for count in counts) for event in counts[0]} if counts else {}


def write(arrays: Arrays, info: dict[str, Any], name: str = "video") -> None:
    np.savez_compressed(FOLDER / f"{name}.npz", allow_pickle=False, **arrays)
    lines = [f' "{key}": {json.dumps(value)}' for key, value in info.items() if key != "clips"]
    each = ",\n  ".join(json.dumps(clip) for clip in info["clips"])
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join([*lines, f' "clips": [\n  {each}\n ]']) + "\n}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the committed recording")
    options = parser.parse_args()
    prepare_imports()
    from .official_video_model import InSession

    with InSession():
        listener = open_session()
        recorded = [record_seeded(listener, clip) for clip in map(draw, NAMES)]
        arrays, info = joined(recorded)
    for kind, counts in info["counts"].items():
        print(f"{kind}: " + ", ".join(f"{count} {event}" for event, count in counts.items()))
    if options.write:
        write(arrays, info)
        return 0
    return same_clips(arrays, info["digest"], "video")


def same_clips(arrays: Arrays, digest: str, name: str) -> int:
    """0 if the committed recording of that name says the same, else 1."""
    if json.loads((FOLDER / f"{name}.json").read_text())["digest"] != digest:
        print("other clips than recorded: run with --write")
        return 1
    return compared(FOLDER / f"{name}.npz", arrays)


if __name__ == "__main__":
    sys.exit(main())
