"""Records what Meta's official image model answers on small pictures, or checks that it still does.

    python -m oracles.official_image [--write]     (from tests/, in the environment that run.sh makes)

Without --write nothing is written: the answers are compared with the committed recording, and the exit
status is 1 if they differ.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .official_environment import OnCpu, prepare_imports
from .recording import FOLDER, compared, thinned
from .seeded import seeded_weights

Arrays = dict[str, NDArray[Any]]
Box = tuple[float, float, float, float]

SEED = 38
PICTURES = ((96, 128), (150, 100), (224, 224))  # height, width


@dataclass(frozen=True)
class Question:
    """What is asked about a picture: a phrase, boxes (xyxy, pixels; liked or not), or both."""

    name: str
    picture: int
    phrase: str | None = None
    liked: tuple[Box, ...] = ()
    disliked: tuple[Box, ...] = ()


QUESTIONS = (
    Question("text", 0, "red circle"),
    Question("text_box", 0, "red circle", ((12, 16, 41, 44),)),
    Question("text_boxes", 0, "red circle", ((12, 16, 41, 44),), ((80.5, 40, 126, 95.25),)),
    Question("visual", 0, None, ((12, 16, 41, 44),)),
    Question("tall_text", 1, "small striped square"),
    Question("tall_nothing", 1, "green shape"),
    # A box on the border, and one smaller than a cell: RoIAlign widens it to one.
    Question("tall_boxes", 1, "small striped square", ((0, 0, 40, 60),), ((50, 90, 54, 93),)),
    Question("square_full", 2, " ".join(["very"] * 28 + ["blue", "triangle"])),  # 32 tokens: no padding
    Question("square_disliked", 2, "circle", (), ((30, 40, 150, 190),)),
    Question(
        "square_visual",
        2,
        None,
        ((10, 20, 90, 77), (100, 101, 160, 170), (5, 150, 80, 220)),
        ((140, 8, 219, 90),),
    ),
)


def draw(height: int, width: int) -> NDArray[np.uint8]:
    """A picture with gradients, stripes and discs; no randomness, so that it is the same everywhere."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([60 + x // 4, 80 + y // 3, 90 + (x + y) // 8], axis=-1)
    picture[(x // 5 + y // 3) % 4 == 0] -= 25
    for i, colour in enumerate(((230, 60, 50), (60, 210, 80), (70, 90, 230), (240, 220, 60))):
        cx, cy, radius = width * (0.2 + 0.21 * i), height * (0.3 + 0.45 * (i % 2)), 0.16 * min(height, width)
        picture[np.hypot(x - cx, y - cy) < radius] = colour
    return picture.astype(np.uint8)


def record() -> tuple[Arrays, dict[str, Any]]:
    """Ask every question. Returns the arrays of image.npz and the values of image.json."""
    pooling = prepare_imports()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    with OnCpu():
        from .official_model import Sizes, build_detector
        from .official_tracker import build_tracker

        sizes = Sizes()
        model = build_detector(sizes)
        state = {f"detector.{name}": tensor for name, tensor in model.state_dict().items()}
        tracker = {f"tracker.{name}": tensor for name, tensor in build_tracker(sizes).state_dict().items()}
        info = describe(state | tracker, asdict(sizes), pooling)
        pour(state)
        arrays = ask(model, sizes.image_size)
    return arrays, info


def pour(state: dict[str, torch.Tensor]) -> None:
    """Overwrite every learned tensor with its seeded value, in place."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if tensor.is_floating_point()}
    for name, weight in seeded_weights(SEED, shapes).items():
        state[name].copy_(torch.from_numpy(weight))


def describe(state: dict[str, torch.Tensor], config: dict[str, Any], pooling: str) -> dict[str, Any]:
    packages = ("sam3", "torch", "torchvision", "numpy", "pillow")
    versions = {name: version(name) for name in packages}
    machine = {
        "python": platform.python_version(),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "roi_align": pooling,
    }
    return {
        "seed": SEED,
        "config": config,
        "versions": versions | machine,
        "pictures": len(PICTURES),
        "cases": [{"name": q.name, "picture": q.picture, "phrase": q.phrase} for q in QUESTIONS],
        "constants": {name: list(t.shape) for name, t in state.items() if t.is_complex()},
        "shapes": {name: list(t.shape) for name, t in state.items() if t.is_floating_point()},
    }


def ask(model: Any, image_size: int) -> Arrays:
    """Run the official processor on every question, listening to the model inside it."""
    from sam3.model.sam3_image_processor import Sam3Processor

    heard: dict[str, Any] = {}
    answer = model.forward_grounding

    def listen(**inputs: Any) -> Any:
        outputs = answer(**inputs)
        heard.update(outputs)
        return outputs

    def hear_trunk(_module: Any, inputs: Any, outputs: Any) -> None:
        heard.update(image=inputs[0], trunk=outputs[-1])

    model.forward_grounding = listen
    model.backbone.vision_backbone.trunk.register_forward_hook(hear_trunk)
    processor = Sam3Processor(model, resolution=image_size, device="cpu", confidence_threshold=0.5)
    arrays: Arrays = {}
    for index, (height, width) in enumerate(PICTURES):
        pixels = draw(height, width)
        state = processor.set_image(Image.fromarray(pixels))
        levels = state["backbone_out"]["backbone_fpn"]
        seen = picture_arrays(pixels, heard["image"], heard["trunk"], levels)
        arrays.update({f"picture{index}/{key}": value for key, value in seen.items()})
        for question in (q for q in QUESTIONS if q.picture == index):
            processor.reset_all_prompts(state)
            given = put(processor, state, question)
            ids = model.backbone.language_backbone.tokenizer([question.phrase or "visual"], 32)
            given["token_ids"] = ids.numpy().astype(np.int32)
            answered = given | raw_arrays(heard, len(ids[0])) | found_arrays(state)
            arrays.update({f"{question.name}/{key}": value for key, value in answered.items()})
    return arrays


def put(processor: Any, state: dict[str, Any], question: Question) -> Arrays:
    """Give the phrase, then box by box, as a user of the official processor does; each call answers anew."""
    height, width = state["original_height"], state["original_width"]
    boxes = np.array([*question.liked, *question.disliked], np.float64).reshape(-1, 4)
    labels = np.arange(len(boxes)) < len(question.liked)
    corners = boxes / [width, height, width, height]
    centred = np.concatenate(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), axis=1)
    if question.phrase is not None:
        processor.set_text_prompt(question.phrase, state)
    for box, label in zip(centred.tolist(), labels.tolist(), strict=True):
        processor.add_geometric_prompt(box, label, state)
    return {
        "boxes": boxes.astype(np.float32),
        "centred_boxes": centred.astype(np.float32),
        "labels": labels,
    }


def picture_arrays(pixels: NDArray[np.uint8], image: Any, trunk: Any, levels: Any) -> Arrays:
    fine, middle, coarse = (level.numpy() for level in levels)
    return {
        "pixels": pixels,
        "image": image.numpy(),
        "trunk_feature": trunk.flatten(2).transpose(1, 2).contiguous().numpy(),
        "features_4x": thinned(fine),
        "features_2x": thinned(middle),
        "features_1x": coarse,
    }


def raw_arrays(heard: dict[str, Any], text_length: int) -> Arrays:
    """The official outputs, batch first. Prompt tokens arrive as text then geometry, sequence first."""
    encoder = heard["prev_encoder_out"]["encoder_out"]
    prompt = encoder["prompt_before_enc"].transpose(0, 1)
    raw = {
        "text_tokens": prompt[:, :text_length],
        "exemplar_tokens": prompt[:, text_length:],
        "encoded": heard["encoder_hidden_states"].transpose(0, 1),
        "queries": heard["queries"],
        "boxes": heard["pred_boxes"],
        "logits": heard["pred_logits"].squeeze(-1),
        "presence": heard["presence_logit_dec"],
        "masks": thinned(heard["pred_masks"]),
        "semantic": thinned(heard["semantic_seg"]),
    }
    return {f"raw/{key}": value.contiguous().numpy() for key, value in raw.items()}


def found_arrays(state: dict[str, Any]) -> Arrays:
    masks = state["masks"].flatten(1).numpy()
    return {
        "found/masks": np.packbits(masks, axis=1),
        "found/boxes": state["boxes"].numpy(),
        "found/scores": state["scores"].numpy(),
    }


def readable(info: dict[str, Any]) -> str:
    """JSON with a line per name, and a shape on one line."""
    return (
        re.sub(r"\[[\d,\s]+\]", lambda found: " ".join(found[0].split()), json.dumps(info, indent=1)) + "\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the committed recording")
    options = parser.parse_args()
    arrays, info = record()
    for question in QUESTIONS:
        found, logits = arrays[f"{question.name}/found/scores"], arrays[f"{question.name}/raw/logits"]
        print(f"{question.name:16} {len(found):2} of {logits.size} found")
    if options.write:
        np.savez_compressed(FOLDER / "image.npz", allow_pickle=False, **arrays)
        (FOLDER / "image.json").write_text(readable(info))
        return 0
    return compared(FOLDER / "image.npz", arrays)


if __name__ == "__main__":
    sys.exit(main())
