"""The built-in model before training: its size, and its first weights.

What ships was trained at 224 px; the stages `enlarged` go on at 336, and those weights wait in
`benchmarks/results/shapes_next`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from sam3_edge.spec import ModelConfig

from .layers import inverse_sigmoid
from .model import Sam3
from .tracking_start import prepare

SHAPES_CONFIG = ModelConfig(
    image_size=336,
    trunk_dim=128,
    trunk_mlp=384,
    trunk_layers=4,
    trunk_heads=4,
    window=8,
    global_layers=(1, 3),
    pretrain_size=112,
    text_vocab=595,
    text_dim=64,
    text_mlp=256,
    text_layers=2,
    text_heads=4,
    dim=64,
    heads=4,
    mlp=256,
    exemplar_layers=1,
    encoder_layers=2,
    decoder_layers=3,
    queries=25,
    mask_queries=25,
    max_boxes=4,
    memory_layers=0,
    memory_dim=16,
)

# The same with a tracker. Small where SAM 3 is wide, as long a memory as SAM 3's.
TRACKING_CONFIG = replace(
    SHAPES_CONFIG,
    memory_layers=2,
    memory_mlp=64,
    fuser_layers=1,
    sam_heads=4,
    sam_mlp=48,
    sam_score_dim=32,
)


def first_model(config: ModelConfig, seed: int) -> Sam3:
    """Random weights, with the queries' first boxes laid out over the picture instead of at random."""
    model = Sam3(config).initialise(seed)
    side = math.isqrt(config.queries)
    centre = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    boxes = torch.stack(
        [x.flatten(), y.flatten(), torch.full((side**2,), 0.3), torch.full((side**2,), 0.3)], dim=1
    )
    with torch.no_grad():
        model.detector.reference.copy_(inverse_sigmoid(boxes))
        for weight in model.detector.box_head.layers[-1].parameters():
            weight.zero_()  # the first answer is the query's own box, not a random one
        # What the encoder gives the decoder at its start has a standard deviation of 8. With plain weights
        # attention's logits are 12, the boxes' bias of 1 is drowned, and 400 steps taught it nothing.
        for name, weight in model.detector.named_parameters():
            if name.endswith(("image_attention.key.weight", "image_attention.value.weight")):
                weight.mul_(0.125)
            elif name.startswith("box_bias") and name.endswith("layers.1.weight"):
                weight.mul_(3)
    return model


def resized(model: Sam3, image_size: int) -> Sam3:
    """The same weights in a model for another picture size: positions tile and stretch, no weight changes."""
    other = Sam3(replace(model.config, image_size=image_size), model.student)
    other.load_state_dict(model.state_dict())
    return other


def with_tracker(model: Sam3, config: ModelConfig, seed: int) -> Sam3:
    """The same detector in a model with a new tracker; `config` differs from the model's in that alone.

    The tracker's neck starts as the detector's: both make three levels of one trunk feature, and masks are
    drawn from both. Its other weights are random. A tracker that `model` has is left behind.
    """
    other = Sam3(config, model.student).initialise(seed)
    for name, part in model.named_children():
        if name != "tracker":
            other.get_submodule(name).load_state_dict(part.state_dict())
    other.tracker.features.neck.load_state_dict(model.detector_features.state_dict())
    prepare(other.tracker, config, torch.Generator().manual_seed(seed))
    return other
