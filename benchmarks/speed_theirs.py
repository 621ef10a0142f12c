"""`transformers`' side of `speed`: SAM 3 in PyTorch with fused attention (SDPA), fp32, inference mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge import registry
from sam3_edge.spec import ModelConfig

from .parity_full import random_model
from .speed_ours import MEMORIES, POINTERS, WORDS, Inputs, coarse_features, small
from .streaming_peer import made, opened

Array = NDArray[Any]


def save(found: Any, folder: Path) -> None:
    """One of our checkpoints in a folder that `from_pretrained` reads."""
    made(found).save_pretrained(folder)


def ready(folder: str) -> None:
    """Load all that a frame needs."""
    started(1)
    opened(Path(folder), ModelConfig.memory_dim)


def without_text(config: ModelConfig) -> ModelConfig:
    """The config with next to no text encoder: its answer is kept for each phrase, on either side."""
    return replace(config, text_layers=1, text_vocab=600, text_dim=64, text_mlp=64, text_heads=1)


def past(theirs: Any, inputs: Inputs, config: ModelConfig, one: int) -> dict[str, Any]:
    """What one object left behind, as their memory attention reads it."""
    import torch

    memories, pointers = torch.from_numpy(inputs.memories[one]), torch.from_numpy(inputs.pointers[one])
    grid = (1, config.memory_dim, config.grid, config.grid)
    place = theirs.memory_encoder.position_encoding(grid, "cpu", torch.float32).flatten(2).permute(2, 0, 1)
    # Their offset 0 is the last row of the temporal table; offset r is row r - 1.
    outputs = [
        (MEMORIES - i, {"maskmem_features": memory[:, None], "maskmem_pos_enc": place})
        for i, memory in enumerate(memories)
    ]
    values, positions = theirs._build_memory_attention_inputs(outputs, "cpu")
    ages = [float(age) for age in range(1, POINTERS + 1)]
    tokens, times = theirs._process_object_pointers(
        ages, [pointer[None] for pointer in pointers], 16, 1, theirs.hidden_dim, "cpu"
    )
    return {
        "memory": torch.cat((*values, tokens)),
        "memory_posision_embeddings": torch.cat((*positions, times)),
        "num_object_pointer_tokens": len(tokens),
    }


def started(threads: int) -> Any:
    """torch, ready to measure."""
    import torch

    from .peer_operators import prepare_torchvision

    prepare_torchvision()
    torch.set_num_threads(threads)
    return torch


class Frame:
    """Their model. Their code runs object by object, as their session does."""

    def __init__(self, folder: Path, config: ModelConfig, objects: int, threads: int) -> None:
        torch = started(threads)
        self.torch, self.config, self.model = torch, config, opened(folder, config.memory_dim)
        self.inputs = Inputs.random(config, objects)
        self.image = torch.from_numpy(self.inputs.image)
        self.words = SimpleNamespace(pooler_output=torch.from_numpy(self.inputs.words))
        self.valid = (torch.arange(config.text_length) < WORDS)[None].long()
        self.pasts = [past(self.model.tracker_model, self.inputs, config, i) for i in range(objects)]

    def picture(self) -> dict[str, Array]:
        """One phrase asked of the picture, masks of all queries."""
        with self.torch.inference_mode():
            return self.detect(self.model.detector_model.vision_encoder(self.image))

    def detect(self, vision: Any) -> dict[str, Array]:
        """Everything of the detector, on what the vision encoder gave."""
        found = self.model.detector_model(
            vision_embeds=vision, text_embeds=self.words, attention_mask=self.valid
        )
        return {"boxes": found.pred_boxes.numpy(), "logits": found.pred_logits.numpy()}

    def frame(self) -> dict[str, Array]:
        """A frame of a video: detection, every object followed from its memories, and remembered."""
        with self.torch.inference_mode():
            vision = self.model.detector_model.vision_encoder(self.image)
            self.detect(vision)
            maps, positions = self.model.get_vision_features_for_tracker(vision)
            return {"mask": np.concatenate([self.follow(maps, positions[-1], held) for held in self.pasts])}

    def follow(self, maps: Any, position: Any, held: Mapping[str, Any]) -> Array:
        """One object: its mask [1, S, S]."""
        theirs, grid = self.model.tracker_model, self.config.grid
        seen = theirs.memory_attention(
            current_vision_features=maps[-1], current_vision_position_embeddings=position, **held
        )
        pairs = zip(maps[:2], (4 * grid, 2 * grid), strict=True)
        levels = [x.permute(1, 2, 0).unflatten(2, (side, side)) for x, side in pairs]
        levels.append(seen.squeeze(1).transpose(1, 2).unflatten(2, (grid, grid)))
        out = theirs._single_frame_forward(image_embeddings=levels, multimask_output=True)
        theirs._encode_new_memory(maps[-1], out.high_res_masks, out.object_score_logits, False)
        mask: Array = out.pred_masks.reshape(1, 4 * grid, 4 * grid).numpy()
        return mask


def whole(folder: Path, config: ModelConfig, objects: int, threads: int) -> dict[str, Callable[[], Any]]:
    """The tasks of their model."""
    frame = Frame(folder, config, objects, threads)
    return {"picture": frame.picture, "check picture": frame.picture, "frame": frame.frame}


def attention(config: ModelConfig, threads: int) -> dict[str, Callable[[], Any]]:
    """The task of memory attention alone, one object."""
    torch = started(threads)
    less = small(config)
    theirs = made(SimpleNamespace(config=less, model=random_model(less))).tracker_model
    held = past(theirs, Inputs.random(config, 1), config, 0)
    flat = torch.from_numpy(coarse_features(config)).flatten(2).permute(2, 0, 1)
    encoding = registry.load_module("export", "layers").grid_position(config.grid, config.dim)
    place = encoding[:, None]

    def answers() -> dict[str, Array]:
        with torch.inference_mode():
            seen = theirs.memory_attention(
                current_vision_features=flat, current_vision_position_embeddings=place, **held
            )
            return {"seen": seen.transpose(0, 1).numpy()}

    return {"attention": answers}
