"""What Label Studio's own SDK says to our tasks: `python -m oracles.label_studio [--write]`, in `tests/`.

It wants `label-studio-sdk`, half a gigabyte with what it needs, so it is no test dependency. The recording
holds what we wrote, after the SDK decoded every mask to the same pixels and accepted every prediction; the
tests then compare with the recording.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from results import MASKS, clip, disc, segmentation

from sam3_edge import labelstudio

RECORDING = Path(__file__).parent / "recordings" / "label_studio.json"
CLASSES = ("ring", "dog & cat", "object", "dog")


def written() -> dict[str, Any]:
    """What we write of results drawn by hand; the model's version aside, which changes."""
    found = [
        segmentation("ring", disc(30, 40, radius=12, hole=5), disc(30, 40, radius=3)),
        segmentation("dog & cat", disc(30, 40, radius=6, x=30)),
        segmentation("nothing"),
    ]
    tasks = {
        "picture": labelstudio.picture_task("/data/a.png", found),
        "frame": clip()[3].to_labelstudio("/data/frame.png"),
        "empty": segmentation("dog").to_labelstudio("/data/b.png"),
        "clip": labelstudio.clip_task("/data/a.mp4", clip(), rate=12.5),
    }
    for task in tasks.values():
        del task["predictions"][0]["model_version"]
    runs = {name: labelstudio.run_lengths(mask) for name, mask in MASKS.items()}
    configs = {
        "picture": labelstudio.picture_config(CLASSES),
        "clip": labelstudio.clip_config(CLASSES),
    }
    return {"runs": runs, "tasks": tasks, "configs": configs}


def refusals(ours: dict[str, Any]) -> list[str]:
    """What the SDK does not like, or reads otherwise."""
    from label_studio_sdk.converter import brush
    from label_studio_sdk.label_interface import LabelInterface

    said = []
    for name, runs in ours["runs"].items():
        pixels = np.asarray(brush.decode_rle(runs)).reshape(*MASKS[name].shape, 4)
        if not np.array_equal(pixels, np.repeat(MASKS[name][..., None] * 255, 4, axis=2)):
            said.append(f"{name}: other pixels")
    for name, task in ours["tasks"].items():
        interface = LabelInterface(ours["configs"]["clip" if name == "clip" else "picture"])
        for prediction in task["predictions"]:
            said += [f"{name}: {e}" for e in interface.validate_prediction(prediction, return_errors=True)]
        broken = json.loads(json.dumps(task["predictions"][0]))
        for region in broken["result"]:
            region["to_name"] = "elsewhere"
        if broken["result"] and interface.validate_prediction(broken):
            said.append(f"{name}: the SDK accepts anything")
    return said


def main() -> int:
    ours = written()
    if said := refusals(ours):
        print(*said, sep="\n", file=sys.stderr)
        return 1
    document = {"label_studio_sdk": version("label-studio-sdk"), **ours}
    text = json.dumps(document, separators=(",", ":")) + "\n"
    if "--write" in sys.argv:
        RECORDING.write_text(text, encoding="utf-8")
    return int(json.loads(RECORDING.read_text(encoding="utf-8")) != json.loads(text))


if __name__ == "__main__":
    sys.exit(main())
